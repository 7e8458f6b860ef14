//! `cargo fuzz run wire_sse`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::sse(data));
