//! `cargo fuzz run proof_note`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_proof::fuzz::note(data));
