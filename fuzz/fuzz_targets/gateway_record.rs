//! `cargo fuzz run gateway_record`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_gateway::fuzz::record(data));
