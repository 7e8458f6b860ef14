//! `cargo fuzz run policy_text`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_policy::fuzz::policy_text(data));
