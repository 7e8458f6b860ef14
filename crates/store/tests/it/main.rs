//! The store against a real ledger in a temporary directory.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules share helpers"
)]

mod damage;
mod differential;
mod queries;
mod sample;
mod sealing;
mod support;
mod timeline;
