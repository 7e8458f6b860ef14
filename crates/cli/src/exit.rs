//! The exit-code contract and the one error of this binary.
//!
//! 0 yes · 1 no match, warnings, not enough · 2 usage, configuration, network, malformed input ·
//! 3 bytes that do not verify. Worst wins: 3, 2, 1, 0. A broken pipe is success: the reader has seen
//! what it wanted.

use std::io;
use thiserror::Error;

/// How a command ends when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: it is so.
    Yes,
    /// 1: no match, warnings, or not enough.
    No,
    /// Another program's code, passed on as it is.
    Code(u8),
}

impl Exit {
    /// The process's exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Yes => 0,
            Exit::No => 1,
            Exit::Code(code) => code,
        }
    }
}

/// Why a command could not do its work. Messages: what, where, why; next step.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// The thing asked for is not there, or not yet: exit 1.
    #[error("{0}")]
    NotFound(String),
    /// Usage, configuration, network, malformed input: exit 2.
    #[error("{0}")]
    Failed(String),
    /// Bytes that do not verify: exit 3.
    #[error("{0}")]
    Integrity(String),
    /// Writing the output failed; a broken pipe among them is success.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// A failure from what was attempted, why it failed and what to do next.
    pub(crate) fn new(what: impl AsRef<str>, why: impl std::fmt::Display, next: impl AsRef<str>) -> CliError {
        CliError::Failed(format!("{}: {why}; {}", what.as_ref(), next.as_ref()))
    }

    /// The process's exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            CliError::NotFound(_) => 1,
            CliError::Failed(_) => 2,
            CliError::Integrity(_) => 3,
            CliError::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => 0,
            CliError::Output(_) => 2,
        }
    }

    /// Whether there is anything to tell the user.
    pub(crate) fn is_silent(&self) -> bool {
        self.code() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_is_success_and_silent() {
        let error = CliError::Output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.code(), 0);
        assert!(error.is_silent());
    }

    #[test]
    fn integrity_and_usage_have_their_own_codes() {
        assert_eq!(CliError::Integrity("x".into()).code(), 3);
        let error = CliError::new("cannot read a", "no such file", "create it");
        assert_eq!(error.code(), 2);
        assert_eq!(error.to_string(), "cannot read a: no such file; create it");
    }
}
