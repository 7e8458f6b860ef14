//! `cargo fuzz run store_filter`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_store::filter::fuzz::filter(data));
