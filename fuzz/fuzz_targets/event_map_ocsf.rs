//! `cargo fuzz run event_map_ocsf`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_event::fuzz::map_ocsf(data));
