//! `cargo fuzz run detect_contract_document`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_detect::fuzz::contract_document(data));
