//! `cargo fuzz run identity_certificate`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_identity::fuzz::certificate(data));
