//! `cargo fuzz run identity_spiffe_id`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_identity::fuzz::spiffe_id(data));
