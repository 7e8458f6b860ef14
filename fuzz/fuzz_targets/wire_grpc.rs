//! `cargo fuzz run wire_grpc`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::grpc(data));
