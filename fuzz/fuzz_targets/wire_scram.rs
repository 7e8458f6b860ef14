//! `cargo fuzz run wire_scram`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::scram(data));
