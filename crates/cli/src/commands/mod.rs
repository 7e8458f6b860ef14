//! The commands, one file each: arguments in, output and exit code out.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod version;
