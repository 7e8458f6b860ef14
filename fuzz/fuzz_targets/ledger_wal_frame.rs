//! `cargo fuzz run ledger_wal_frame`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_ledger::fuzz::wal_frame(data));
