//! `cargo fuzz run collect_record`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_collect::fuzz::collect_record(data));
