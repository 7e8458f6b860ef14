//! `cargo fuzz run wire_postgres_login`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::postgres_login(data));
