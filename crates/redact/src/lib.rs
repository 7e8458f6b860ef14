//! What must not be kept: secrets and personal data, found and counted, never quoted.
//!
//! A [`Scanner`] looks through a text once. Tokens are known by the forms that their issuers document
//! ([`forms`]), assigned secrets by the name before them ([`assigned`]), keys by their armour, the rest by its
//! randomness; personal data, when asked for, by checksums ([`personal`]). Not a parser of any protocol:
//! where a protocol says that a place holds a secret, its decoder drops it and never asks here.
//!
//! Invariants: time is linear in the text; a hit names a rule and a place, never the text; what replaces it
//! has no byte of it; at [`HITS_MAX`] hits the rest of the text counts as one more and is dropped whole.

pub mod assigned;
pub mod forms;
pub mod fuzz;
mod needles;
pub mod personal;
mod pseudonym;
mod random;
mod scanner;

pub use pseudonym::Pseudonyms;
pub use scanner::{Cleaned, Hit, Options, RuleError, Scanner};

/// Stands where a secret stood.
pub const REDACTED: &str = "{redacted}";
/// Hits in one text; the rest of the text is dropped.
pub const HITS_MAX: usize = 256;
/// Longest text that is looked at, bytes; longer ones are cut there before they are kept.
pub const TEXT_MAX: usize = 1 << 20;
