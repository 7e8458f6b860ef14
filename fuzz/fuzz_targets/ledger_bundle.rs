//! `cargo fuzz run ledger_bundle`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_ledger::fuzz::bundle(data));
