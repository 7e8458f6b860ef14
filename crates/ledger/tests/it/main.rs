//! Tests of the ledger from outside, one module a subject.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod basic;
mod support;
