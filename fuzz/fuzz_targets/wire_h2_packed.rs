//! `cargo fuzz run wire_h2_packed`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_wire::fuzz::h2_packed(data));
