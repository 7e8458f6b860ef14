//! What an inline framer of a stream protocol (PostgreSQL, Redis) tells the pump that feeds it.
//!
//! Not HTTP, whose messages have heads and bodies of their own kind ([`crate::http1`]). Invariants: bytes
//! that a framer takes go to the other side unchanged unless it says otherwise; records are announced no
//! later than with the first byte that could let a client believe in the answer; a refusal is for ever.

use std::borrow::Cow;

/// Direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What kind of thing an operation does. The event's operation classes (event.md, `core.class`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OpClass {
    /// Reads.
    Read,
    /// Adds.
    Create,
    /// Changes.
    Modify,
    /// Removes.
    Delete,
    /// Runs code whose effect is its own affair.
    Execute,
    /// Configures or controls the server, grants and revokes.
    Admin,
    /// Proves an identity.
    Authenticate,
    /// Opens a connection.
    Connect,
    /// Changes the structure of data.
    Schema,
    /// Touches no data: settings, transaction control, pings.
    Meta,
}

/// A framer's judgement on the front of a direction's unread bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes taken off the front. 0 = hold them: see [`Step::wait`].
    pub len: usize,
    /// Records that these bytes will lead to, beyond those announced before.
    pub records: u32,
    /// What goes on in their place.
    pub out: Out,
    /// With `len` 0: not more bytes of this direction are needed, but movement in the other one. The
    /// pump then stops reading this direction and asks again after the other one has moved.
    pub wait: bool,
}

/// What goes to the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// The same bytes.
    Same,
    /// These bytes instead; may be empty.
    Instead(Vec<u8>),
}

impl Out {
    /// What goes on in the place of `taken`.
    pub fn bytes<B: Clone + From<Vec<u8>>>(&self, taken: &B) -> B {
        match self {
            Out::Same => taken.clone(),
            Out::Instead(other) => B::from(other.clone()),
        }
    }
}

impl Step {
    /// `len` bytes pass as they are and lead to `records` more records.
    pub fn pass(len: usize, records: u32) -> Step {
        Step { len, records, out: Out::Same, wait: false }
    }

    /// `bytes` take the place of `len` bytes.
    pub fn instead(len: usize, records: u32, bytes: Vec<u8>) -> Step {
        Step { len, records, out: Out::Instead(bytes), wait: false }
    }

    /// More bytes of this direction are needed.
    pub fn more() -> Step {
        Step::pass(0, 0)
    }

    /// The other direction must move first.
    pub fn wait() -> Step {
        Step { wait: true, ..Step::more() }
    }
}

/// Bytes that break the protocol. The connection must end: nothing held may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable name of the rule; stands in the record.
    pub rule: &'static str,
    /// What the client is told, in the protocol's own words; may be empty.
    pub answer: Vec<u8>,
}

/// Why the gateway itself ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Orderly shutdown of the gateway.
    Shutdown,
    /// The server could not be reached.
    Unreachable,
    /// A record cannot be kept, and this route does not serve without.
    Unrecorded,
    /// A limit of the gateway.
    Limit,
}

/// One operation that waits for a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call<'a> {
    /// Login name that the server accepted on this connection; empty = none.
    pub user: Cow<'a, str>,
    /// Native verb: `SELECT`, `SET`.
    pub operation: Cow<'a, str>,
    /// What it does; `None` = not known, which is never taken for a read.
    pub class: Option<OpClass>,
    /// Database.
    pub namespace: Cow<'a, str>,
    /// Type of the resources: `table`, `key`.
    pub resource_type: &'static str,
    /// Everything it touches, as far as known. All must be permitted.
    pub resources: Vec<String>,
}

/// Decides on operations before they reach the server.
pub trait Judge {
    /// Whether anything is asked. When not, a framer need not hold a message until it is complete.
    fn asks(&self) -> bool;
    /// Whether `call` must not reach the server.
    fn denies(&mut self, call: &Call<'_>) -> bool;
}

/// Nothing is asked, everything passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unjudged;

impl Judge for Unjudged {
    fn asks(&self) -> bool {
        false
    }
    fn denies(&mut self, _call: &Call<'_>) -> bool {
        false
    }
}

/// The inline half of a stream protocol. Time is linear in the bytes fed; any split of the streams gives the
/// same messages; state is bounded by named constants of the protocol's module.
pub trait Framer: Send {
    /// Judges the front of the client's unread bytes (never empty). One step may span many messages, but
    /// when `judge` asks, a judged message is a step of its own, so that its verdict can be told from others.
    ///
    /// # Errors
    /// The rule that the bytes break; repeated for ever.
    fn up(&mut self, buf: &[u8], judge: &mut dyn Judge) -> Result<Step, Refusal>;

    /// Judges the front of the server's unread bytes (never empty).
    ///
    /// # Errors
    /// As [`Framer::up`].
    fn down(&mut self, buf: &[u8]) -> Result<Step, Refusal>;

    /// Whether nothing is open, so that the connection may be ended here without harm to anyone.
    fn idle(&self) -> bool;

    /// What a client is told last when the gateway ends the connection; may be empty.
    fn farewell(&self, why: Farewell) -> Vec<u8>;

    /// As [`Framer::farewell`], when the youngest `withheld` operations were taken and never went to the server,
    /// because they could not be recorded.
    fn refuse_withheld(&self, _withheld: usize) -> Vec<u8> {
        self.farewell(Farewell::Unrecorded)
    }
}
