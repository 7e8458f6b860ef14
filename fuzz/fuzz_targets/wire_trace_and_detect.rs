//! `cargo fuzz run wire_trace_and_detect`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::trace_and_detect(data));
