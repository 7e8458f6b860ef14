//! The event's format against its golden vectors, a second implementation and random input.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod explain;
mod golden;
mod json;
mod map;
mod properties;
mod random;
mod registry;
mod rfc8949;
mod second;
mod vectors;
