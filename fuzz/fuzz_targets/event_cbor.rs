//! `cargo fuzz run event_cbor`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_event::fuzz::event_cbor(data));
