//! Integration tests of the sans-I/O parsers.

mod ambiguous;
mod framing;
mod fuzz;
mod support;
