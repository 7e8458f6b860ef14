//! `cargo fuzz run redact_scan`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_redact::fuzz::scan(data));
