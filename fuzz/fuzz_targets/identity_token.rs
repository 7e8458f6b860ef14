//! `cargo fuzz run identity_token`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_identity::fuzz::token(data));
