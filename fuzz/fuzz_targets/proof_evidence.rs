//! `cargo fuzz run proof_evidence`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_proof::fuzz::evidence(data));
