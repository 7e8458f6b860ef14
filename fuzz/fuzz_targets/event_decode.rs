//! `cargo fuzz run event_decode`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_event::fuzz::event_decode(data));
