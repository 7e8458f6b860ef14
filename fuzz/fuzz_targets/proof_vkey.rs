//! `cargo fuzz run proof_vkey`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_proof::fuzz::vkey(data));
