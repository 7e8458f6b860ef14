//! `cargo fuzz run policy_entities`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_policy::fuzz::entities_json(data));
