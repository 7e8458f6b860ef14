//! `cargo fuzz run ledger_wal_payload`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_ledger::fuzz::wal_payload(data));
