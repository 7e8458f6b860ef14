//! Tests of the ledger from outside, one module a subject.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod basic;
mod counts;
mod faults;
mod flips;
mod formats;
mod forward;
mod kill;
mod passing;
mod recovery;
mod retire;
mod signing;
mod support;
mod urgent;
