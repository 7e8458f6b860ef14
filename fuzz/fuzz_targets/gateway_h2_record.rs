//! `cargo fuzz run gateway_h2_record`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_gateway::fuzz::h2_record(data));
