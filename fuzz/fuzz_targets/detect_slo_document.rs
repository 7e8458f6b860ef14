//! `cargo fuzz run detect_slo_document`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_detect::fuzz::slo_document(data));
