//! The event's format against its golden vectors, a second implementation and random input.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod golden;
