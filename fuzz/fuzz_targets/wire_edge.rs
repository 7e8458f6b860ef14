//! `cargo fuzz run wire_edge`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::edge(data));
