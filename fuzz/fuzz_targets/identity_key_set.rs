//! `cargo fuzz run identity_key_set`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_identity::fuzz::key_set(data));
