//! `cargo fuzz run collect_split`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_collect::fuzz::split(data));
