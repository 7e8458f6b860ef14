//! `cargo fuzz run identity_api_key_file`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_identity::fuzz::api_key_file(data));
