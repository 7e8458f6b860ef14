//! `cargo fuzz run proof_tile_path`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_proof::fuzz::tile_path(data));
