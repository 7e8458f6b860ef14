//! The dashboard over a real ledger and store, asked over real loopback sockets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod access;
mod api;
mod assets;
mod browser;
mod devtools;
mod hostile;
mod pages;
mod support;
mod tail;
mod unix;
