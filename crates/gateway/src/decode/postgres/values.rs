//! Parameters of an Execute as text, for routes that opted in. Binary forms are read by type OID (server's
//! `pg_type.dat`); what is not known is a length.
//!
//! Invariants: every value goes through the secret scan; a text longer than [`VALUE_MAX`] is cut and says so.

use super::super::redact::{clean_text, cut_at, looks_secret};
use countersign_event::Event;
use countersign_wire::postgres::statement::{Kept, Statement};
use countersign_wire::postgres::values::text;

/// Longest parameter in a record, bytes.
const VALUE_MAX: usize = 1_024;
/// Most parameters in a record.
const VALUES_MAX: usize = 256;
/// `content.params`.
const PARAMS_FIELD: u64 = 5 * 256 + 3;

/// Puts the parameters in.
///
/// `count` = how many the Bind had, `bytes` = how long it was.
pub(super) fn set(event: &mut Event, kept: &Kept, statement: Option<&Statement>, (count, bytes): (u16, u64)) {
    let mut hits = 0;
    if kept.values.len().min(VALUES_MAX) < usize::from(count) {
        event.content.cut.push((PARAMS_FIELD, bytes));
    }
    for (at, value) in kept.values.iter().take(VALUES_MAX).enumerate() {
        let Some(value) = value else {
            event.content.params.push("NULL".to_owned());
            continue;
        };
        let binary = kept.formats.get(at) == Some(&1);
        let oid = statement.map_or(0, |s| s.parameter_type(at));
        let length = value.length as usize;
        let shown = text(oid, binary, &value.front, length, VALUE_MAX);
        let (mut clean, found) = clean_text(shown.as_bytes(), VALUE_MAX);
        if found == 0 && looks_secret(&clean) {
            clean = super::super::redact::REDACTED.to_owned();
            hits += 1;
        }
        hits += found;
        if shown.len() > VALUE_MAX || length > VALUE_MAX {
            event.content.cut.push((PARAMS_FIELD, u64::from(value.length)));
        }
        cut_at(&mut clean, VALUE_MAX);
        event.content.params.push(clean);
    }
    if hits > 0 {
        event.content.redacted.push(("parameter".to_owned(), hits));
    }
}
