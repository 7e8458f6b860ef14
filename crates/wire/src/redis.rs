//! RESP, versions 2 and 3: the protocol of Redis (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! [`Framer`] is the inline half, [`Session`] the decoder; both pair commands with replies by the same code, so
//! they count alike. What a command is and which keys it names says [`table`]. Not here: the cluster bus,
//! Sentinel's own commands, the contents of replication streams and snapshots (byte counts only).
//!
//! Invariants: memory does not grow with lengths that a peer writes; no value, password or script text is kept
//! in a result; a command that the table does not know has no class.

mod framer;
mod link;
mod number;
mod pairs;
mod reply;
mod request;
mod rules;
mod session;
pub mod table;

pub use framer::{DENIED_LINE_MAX, Framer, HOLD_MAX, NOPERM, OPEN_MAX, SUBSTITUTE};
pub use link::PROGRESS_BYTES;
pub use pairs::{How, QUEUED_MAX};
pub use reply::{DEPTH_MAX, ELEMENTS_MAX, REPLY_BULK_MAX, TEXT_MAX};
pub use request::{ARGS_MAX, BULK_MAX, INLINE_MAX};
pub use session::{Command, Found, KEY_MAX, KEYS_MAX, Message, OPEN_BYTES_MAX, Reply, Session, Verdict};
