//! `cargo fuzz run gateway_record_mcp`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_gateway::fuzz::record_mcp(data));
