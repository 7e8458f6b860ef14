//! The store against a real ledger in a temporary directory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod damage;
mod differential;
mod queries;
mod sample;
mod sealing;
mod support;
