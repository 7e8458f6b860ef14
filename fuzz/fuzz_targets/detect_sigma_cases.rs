//! `cargo fuzz run detect_sigma_cases`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_detect::fuzz::sigma_cases(data));
