//! `cargo fuzz run collect_frame`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_collect::fuzz::collect_frame(data));
