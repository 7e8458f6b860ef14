//! Why a record could not be parsed: a place and a rule, never its content.

/// The first thing that was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule} at byte {offset}")]
pub struct Fault {
    /// Where in the record, bytes from its beginning.
    pub offset: usize,
    /// What was expected or broken, in fixed words.
    pub rule: &'static str,
}

impl Fault {
    /// `rule` broken at `offset`.
    pub fn new(offset: usize, rule: &'static str) -> Fault {
        Fault { offset, rule }
    }
}
