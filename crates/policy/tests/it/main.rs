//! Tests of the policies from outside, one module a subject.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adopting;
mod cases;
mod decisions;
mod expressions;
mod fuzzing;
mod learning;
mod loading;
mod modes;
mod remembered;
mod sliced;
mod support;
