//! `cargo fuzz run wire_jsonrpc`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::jsonrpc(data));
