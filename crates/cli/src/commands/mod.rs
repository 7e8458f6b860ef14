//! The commands, one file each: arguments in, output and exit code out.

pub(crate) mod alerts;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod coverage;
pub(crate) mod demo;
pub(crate) mod detect;
pub(crate) mod doctor;
pub(crate) mod event;
pub(crate) mod export;
pub(crate) mod findings;
pub(crate) mod fsck;
pub(crate) mod mcp;
pub(crate) mod parse;
pub(crate) mod policy;
pub(crate) mod prove;
pub(crate) mod q;
pub(crate) mod rules;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod signing;
pub(crate) mod sql;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod verify;
pub(crate) mod version;
