//! `cargo fuzz run identity_dpop`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_identity::fuzz::dpop(data));
