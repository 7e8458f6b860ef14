//! The place of the one mapping table to OCSF and OpenTelemetry.
//!
//! A row names a field, its places outside and how the value changes on the way; importer, exporter, the
//! documentation and the column comments will all be generated from the rows, so they cannot drift. The
//! rows come with the collector, which is the first to import anything; until then [`crate::fields`] has
//! the places as text, and nothing here pretends to convert.

/// How a value changes between the event and the outside, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conv {
    /// As it is.
    Copy,
    /// Nanoseconds here, milliseconds there; the rest travels in the extension.
    NsMs,
    /// Enum words or numbers, by the pairs (ours, theirs).
    Words(&'static [(u64, u64)]),
    /// Bytes here, lower-case hex there.
    Hex,
    /// Address bytes here, text there.
    IpText,
    /// Element by element.
    List,
    /// By JSON pointer, as in `unmapped`.
    Pointer,
}

/// One field's places outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Field id: group × 256 + key.
    pub field: u64,
    /// OCSF 1.8 path; empty = the extension.
    pub ocsf: &'static str,
    /// OTel attribute or log record field; empty = the extension.
    pub otel: &'static str,
    /// The change on the way.
    pub conv: Conv,
}
