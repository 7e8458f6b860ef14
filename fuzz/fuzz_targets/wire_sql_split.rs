//! `cargo fuzz run wire_sql_split`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::sql_split(data));
