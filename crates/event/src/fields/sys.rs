//! Keys of 0.24 `sys`, which the platform alone writes. Append only.

use super::{Key, keys};
use crate::Rec;

keys! {
    /// `rec` finding.
    finding { ID = 0 "id" "b16", REVISION = 1 "revision" "u", STATE = 2 "state" "e", SEVERITY = 3 "severity" "e",
        CONFIDENCE = 4 "confidence" "u", WINDOW = 5 "window" "[i] ns", EVIDENCE = 6 "evidence" "[u]",
        WATERMARK = 7 "watermark" "i ns", FLAGS = 8 "flags" "[e] set" }
    /// `rec` platform: the result of a check.
    check { ID = 0 "id" "t", STATE = 1 "state" "e", LEVEL = 2 "level" "e", WINDOW = 3 "window" "[i] ns",
        EXPIRES = 4 "expires" "i ns" }
}

/// Name and keys of each table, in the order of the documentation.
pub const TABLES: &[(&str, &[Key])] = &[("finding", finding::KEYS), ("check", check::KEYS)];

/// The keys registered for `rec`; empty where there are none.
pub fn keys_of(rec: Option<Rec>) -> &'static [Key] {
    match rec {
        Some(Rec::Finding) => finding::KEYS,
        Some(Rec::Platform) => check::KEYS,
        _ => &[],
    }
}
