//! `cargo fuzz run ledger_meta`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_ledger::fuzz::meta(data));
