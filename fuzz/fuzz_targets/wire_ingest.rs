//! `cargo fuzz run wire_ingest`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::ingest(data));
