//! `cargo fuzz run collect_loki`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_collect::fuzz::collect_loki(data));
