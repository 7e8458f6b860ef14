//! `cargo fuzz run wire_http1_framer`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::http1_framer(data));
