//! `cargo fuzz run wire_http1_fields`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::http1_fields(data));
