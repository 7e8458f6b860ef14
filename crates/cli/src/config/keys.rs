//! Every configuration key there is: one row each, in the order of the documentation.
//!
//! Only declarations; `schema` says what a row means. No key holds a secret: secrets are named by file or by
//! environment variable, and a test of `schema` looks.

mod edge;
mod identity;
mod input;
mod listener;
mod server;
mod watch;

use super::schema::{Key, Kind};

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default, required: false, secret: false, doc }
}

const fn required(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { path, kind, default: "", required: true, secret: false, doc }
}

/// Words of `log.level`.
pub(crate) const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    [GENERAL, listener::KEYS, input::KEYS, edge::KEYS, identity::KEYS, server::KEYS, watch::KEYS]
        .into_iter()
        .flatten()
}

const GENERAL: &[Key] = &[
    key(
        "role",
        Kind::Word(&["all", "edge"]),
        "\"all\"",
        "all: everything in one process. edge: gateway, inputs and ledger alone, in little memory; with [edge] it ships \
         what it records to a core, without it the records can be searched once a process with role all opens the same \
         data directory.",
    ),
    key(
        "data",
        Kind::Path,
        "($XDG_STATE_HOME/countersign)",
        "The data directory: ledger, segments and sources. It alone opens nothing; the key lies elsewhere.",
    ),
    key(
        "kek",
        Kind::Path,
        "($XDG_CONFIG_HOME/countersign/kek)",
        "File with the key that opens the data: 32 random bytes in base64, mode 0600, made at the first start. \
         Never under the data directory, or a copy of that directory would open itself.",
    ),
    key(
        "origin",
        Kind::Text,
        "(local/ + 16 random hex digits + /1, chosen at the first start)",
        "Name of this log in its checkpoints: organisation's domain, ledger id, epoch. It cannot change later.",
    ),
];
