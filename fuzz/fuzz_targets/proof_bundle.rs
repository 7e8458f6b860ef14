//! `cargo fuzz run proof_bundle`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_proof::fuzz::bundle(data));
