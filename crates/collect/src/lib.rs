//! What other software logged, turned into audit events: parsed, mapped, and never believed more than its source.
//!
//! [`formats`] holds the parsers: pure functions, bytes in, [`Draft`] out. [`seal()`] makes the event of a draft:
//! caps every identity at the level of the [`Input`], removes secrets, adds the digest of the bytes received and
//! how they were captured. [`observe()`] is the two together, and cannot fail: what no parser understood becomes a
//! `raw` record. Nothing of that opens a socket or a file, or
//! reads a clock: [`receivers`] do, and hand what they made to an [`intake`], which answers when it is durable.
//!
//! Invariants: one source record in, one event out (joins say how many they merged); an event never exceeds the
//! level of its input, and no input is above `asserted`; a field that no rule took is in `unmapped`; time and memory
//! are linear in the record.

pub mod consumers;
mod draft;
mod fault;
pub mod files;
pub mod formats;
pub mod frame;
pub mod fuzz;
pub mod http;
pub mod intake;
pub mod joins;
pub mod json;
pub mod mapper;
pub mod msgpack;
mod observe;
pub mod otlp;
pub mod plan;
pub mod proto;
pub mod receivers;
pub mod reobserve;
mod seal;
pub mod ship;
pub mod snappy;
pub mod spans;
pub mod sticky;
pub mod text;
pub mod time;
pub mod witness;

pub use draft::{Draft, Over};
pub use fault::Fault;
pub use observe::{Counts, detect, observe};
pub use seal::{Input, KeepRaw, Keeper, seal};

/// Longest source record that is parsed, bytes; a longer one is kept raw, cut, and counted.
pub const RECORD_MAX: usize = 1 << 20;
