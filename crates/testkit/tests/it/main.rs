//! Behaviour of what the tests of other crates rely on.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scenario;
