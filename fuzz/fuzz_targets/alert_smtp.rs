//! `cargo fuzz run alert_smtp`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_alert::fuzz::smtp(data));
