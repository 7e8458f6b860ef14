//! The canonical audit event, schema 1: its fields, its one byte encoding, its seven salted groups.
//!
//! One interaction between machines is one [`Event`]. Its bytes ([`Frame`]) are what is hashed,
//! stored, searched and proven; JSON, OCSF and OpenTelemetry exist only at the edges. The format is a
//! one-way door: `docs/schema/event.cddl` is its text, `tests/vectors/` its golden examples.
//!
//! What this crate must never do: I/O, read a clock, know a runtime. Time, ids and salts come in
//! through parameters.

pub mod cbor;
pub mod codec;
pub mod commit;
pub mod enums;
pub mod explain;
pub mod fields;
pub mod fuzz;
pub mod id;
pub mod json;
pub mod map;
pub mod model;
pub mod sha;
mod shared;
pub mod witness;

pub use codec::{DecodeError, EncodeError, Frame};
pub use commit::{Commitment, ENTRY_LEN, Entry, EntryKind, Salt, commitment, group_commitment};
pub use enums::*;
pub use id::{eid, import_eid};
pub use model::*;
pub use shared::{Other, Shared};

/// Schema number of this crate's events: the first element of every [`Frame`].
pub const SCHEMA: u16 = 1;
/// Number of groups in an event, each committed on its own.
pub const GROUPS: usize = 7;
/// Largest encoded event frame, in bytes.
pub const EVENT_MAX: usize = 1 << 20;
/// Largest encoded group, in bytes.
pub const GROUP_MAX: usize = 512 << 10;
/// Deepest nesting of arrays and maps inside one group.
pub const NESTING_MAX: usize = 8;
/// Most items in one array, or pairs in one map.
pub const ITEMS_MAX: usize = 4096;
/// Names of the groups, by number.
pub const GROUP_NAMES: [&str; GROUPS] = ["core", "who", "peer", "target", "links", "content", "body"];
