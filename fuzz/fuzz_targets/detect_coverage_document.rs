//! `cargo fuzz run detect_coverage_document`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_detect::fuzz::coverage_document(data));
