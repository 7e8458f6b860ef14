//! `cargo fuzz run wire_proxy`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::proxy(data));
