//! Integration tests of the sans-I/O parsers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod ambiguous;
mod framing;
mod fuzz;
mod support;
