//! `cargo fuzz run proof_checkpoint`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_proof::fuzz::checkpoint(data));
