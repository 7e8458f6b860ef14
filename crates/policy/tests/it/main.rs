//! Tests of the policies from outside, one module a subject.

mod decisions;
mod fuzzing;
mod learning;
mod loading;
mod modes;
mod remembered;
mod sliced;
mod support;
