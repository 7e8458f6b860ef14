//! `cargo fuzz run ledger_key_ring`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_ledger::fuzz::key_ring(data));
