//! OCSF 1.8.0 and OpenTelemetry log records, both ways, from one table.
//!
//! [`ROWS`] names each place outside that a field of the event has, and how the value changes on the way. The
//! exporters, the importers and `docs/reference/mapping.md` are driven by it, so they cannot drift. What a schema
//! has no place for, or could not give back as it was, travels in an extension: `unmapped.countersign` in OCSF,
//! attributes `countersign.*` in OTel. So the way there and back gives the same event, byte for byte.
//!
//! Import checks the extension against the mapped twins. Where they disagree, neither is trusted: the twin's value
//! is taken, every identity falls to `claimed`, and the field is named in [`Import::disagreements`].
//!
//! What this module is not: re-observation. An imported event is what somebody says that somebody observed; the
//! collector gives it an observer, a number and a level of its own. Nothing here does I/O or reads a clock; time is
//! linear in the text, memory a small multiple of it.

mod classes;
mod conv;
mod fill;
mod markdown;
mod ocsf;
mod ocsf_import;
mod otel;
mod table;
mod tree;
mod twin;

pub use classes::{CLASSES, Class as OcsfClass};
pub use conv::Conv;
pub use markdown::markdown;
pub use ocsf::to_ocsf;
pub use ocsf_import::from_ocsf;
pub use otel::{OtelLog, OtelValue, from_otel, is_ours as is_our_otel, to_otel};
pub use table::{ROWS, Row};
pub(crate) use tree::spelled;

use crate::Event;

/// Version of OCSF that is written.
pub const OCSF_VERSION: &str = "1.8.0";
/// Longest OCSF text that is read, bytes. An event of 1 MiB may take more as JSON, where it is all control
/// characters.
pub const OCSF_MAX: usize = 16 << 20;

/// What an import made of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// The event. Of a record that is not our export, `eid`, `agent`, `stream`, `seq` and `t_obs` are all zero or
    /// empty: they are the importer's to give.
    pub event: Event,
    /// The record carries our extension.
    pub ours: bool,
    /// Fields whose extension and mapped twin disagree, by path as in the event's JSON.
    pub disagreements: Vec<String>,
    /// JSON pointers (RFC 6901) of the record that the event holds; the rest is in `content.unmapped`.
    pub taken: Vec<String>,
}

/// Why a record was not imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {rule}")]
pub struct MapError {
    /// Byte of the text, or path of the field.
    pub place: String,
    /// What is wrong.
    pub rule: String,
}

impl MapError {
    fn new(place: &str, rule: &str) -> MapError {
        MapError { place: place.to_owned(), rule: rule.to_owned() }
    }
}

impl From<crate::json::JsonError> for MapError {
    fn from(error: crate::json::JsonError) -> MapError {
        MapError { place: error.place, rule: error.rule }
    }
}

/// Every identity and hop claimed: what is said of an event that contradicts itself.
fn distrust(event: &mut Event) {
    use crate::Verified::Claimed;
    if let Some(who) = &mut event.who.who {
        who.verified = Claimed;
    }
    if !event.who.obo.is_empty() || !event.who.also.is_empty() {
        let who = &mut *event.who;
        who.obo.iter_mut().chain(&mut who.also).for_each(|principal| principal.verified = Claimed);
    }
    if !event.peer.hops.is_empty() {
        event.peer.hops.iter_mut().for_each(|(_, level)| *level = Claimed);
    }
}
