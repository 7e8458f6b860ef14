//! `cargo fuzz run alert_text`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_alert::fuzz::text(data));
