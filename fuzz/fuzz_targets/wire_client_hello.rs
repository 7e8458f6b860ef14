//! `cargo fuzz run wire_client_hello`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::client_hello(data));
