//! `cargo fuzz run gateway_cleaning`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_gateway::fuzz::cleaning(data));
