//! `cargo fuzz run wire_redis_conversation`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::redis_conversation(data));
