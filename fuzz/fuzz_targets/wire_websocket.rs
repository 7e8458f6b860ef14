//! `cargo fuzz run wire_websocket`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::websocket(data));
