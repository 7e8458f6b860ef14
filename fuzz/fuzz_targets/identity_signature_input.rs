//! `cargo fuzz run identity_signature_input`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_identity::fuzz::signature_input(data));
