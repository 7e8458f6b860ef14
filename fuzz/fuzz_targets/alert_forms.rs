//! `cargo fuzz run alert_forms`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_alert::fuzz::forms(data));
