//! `cargo fuzz run identity_wimse`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_identity::fuzz::wimse(data));
