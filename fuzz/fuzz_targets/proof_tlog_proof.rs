//! `cargo fuzz run proof_tlog_proof`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_proof::fuzz::tlog_proof(data));
