//! `cargo fuzz run wire_postgres_conversation`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::postgres_conversation(data));
