//! `cargo fuzz run alert_stored`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_alert::fuzz::stored(data));
