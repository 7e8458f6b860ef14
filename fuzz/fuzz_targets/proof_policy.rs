//! `cargo fuzz run proof_policy`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_proof::fuzz::policy(data));
