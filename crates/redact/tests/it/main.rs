//! What is found, what is not, and that nothing found stays.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod personal;
mod scanning;
