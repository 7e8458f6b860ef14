//! `cargo fuzz run proof_body`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_proof::fuzz::body(data));
