//! The messages of `ingest.sock`: records that processes of one machine bring to the one that holds the ledger.
//!
//! A message is a kind, a length and that many bytes; numbers are big-endian:
//!
//! | kind | from | payload |
//! |---|---|---|
//! | 1 hello | client | version 1, then the name that the records' route gets |
//! | 2 owe | client | u64: so many more records than were promised before |
//! | 3 events | client | u16 count, then for each u32 length and the canonical frame (`docs/reference/fields.md`) |
//! | 4 bye | client | nothing: no more is owed |
//! | 129 welcome | server | version 1 |
//! | 130 owed | server | nothing; the promise survives a kill of the server |
//! | 131 durable | server | u16 recorded, u16 rejected: all of one `events`, in order |
//! | 132 refused | server | why, as text; then the end |
//!
//! Only the form: what a message means, and who may send it, is `countersign`'s `local`. Invariants: a payload is
//! refused by its announced length, before a byte of it is kept; what is kept is what has arrived.

/// Version of the messages.
pub const VERSION: u8 = 1;
/// Bytes before a payload: kind and length.
pub const HEAD: usize = 5;
/// Largest payload, bytes.
pub const PAYLOAD_MAX: usize = 4 << 20;
/// Most events of one message.
pub const EVENTS_MAX: usize = 1_024;
/// Longest name, bytes.
pub const NAME_MAX: usize = 64;

/// Kinds of messages.
pub mod kind {
    /// The client says which version it speaks and what its records' route is called.
    pub const HELLO: u8 = 1;
    /// The client promises records.
    pub const OWE: u8 = 2;
    /// Records.
    pub const EVENTS: u8 = 3;
    /// The client has nothing more.
    pub const BYE: u8 = 4;
    /// The server speaks that version.
    pub const WELCOME: u8 = 129;
    /// A promise is durable.
    pub const OWED: u8 = 130;
    /// Records are durable.
    pub const DURABLE: u8 = 131;
    /// The server ends the connection.
    pub const REFUSED: u8 = 132;
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// One of [`kind`], or of a newer version.
    pub kind: u8,
    /// At most [`PAYLOAD_MAX`] bytes.
    pub payload: Vec<u8>,
}

/// A message announces more than [`PAYLOAD_MAX`] bytes. The connection cannot go on: where the next one begins is
/// not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Finds messages in a stream of bytes. Keeps nothing beyond the end of the one that is being read.
#[derive(Debug, Default)]
pub struct Framer {
    head: [u8; HEAD],
    /// Bytes of the head that are there.
    have: usize,
    payload: Vec<u8>,
}

impl Framer {
    /// Bytes that are missing before anything can be said: of the head, else of the payload. 0 only for a message
    /// without a payload, which [`Framer::push`] then gives for no byte; that never happens between two calls.
    pub fn wants(&self) -> usize {
        match HEAD.saturating_sub(self.have) {
            0 => self.length().saturating_sub(self.payload.len()),
            missing => missing,
        }
    }

    /// Whether nothing of a message has arrived: the only place where a stream may end.
    pub fn is_between(&self) -> bool {
        self.have == 0
    }

    /// Takes bytes up to the end of a message; how many, and the message once it is whole. Call again with the rest.
    ///
    /// # Errors
    /// [`TooLong`], for good.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(usize, Option<Message>), TooLong> {
        let mut taken = 0;
        for (slot, byte) in self.head.iter_mut().skip(self.have).zip(bytes) {
            *slot = *byte;
            taken += 1;
        }
        self.have += taken;
        if self.have < HEAD {
            return Ok((taken, None));
        }
        if self.length() > PAYLOAD_MAX {
            return Err(TooLong);
        }
        let rest = bytes.get(taken..).unwrap_or_default();
        let part = rest.get(..self.wants()).unwrap_or(rest);
        self.payload.extend_from_slice(part);
        taken += part.len();
        if self.wants() > 0 {
            return Ok((taken, None));
        }
        let [kind, ..] = self.head;
        self.have = 0;
        Ok((taken, Some(Message { kind, payload: std::mem::take(&mut self.payload) })))
    }

    /// The announced length, of a whole head.
    fn length(&self) -> usize {
        let [_, a, b, c, d] = self.head;
        u32::from_be_bytes([a, b, c, d]) as usize
    }
}

/// The bytes of a message; `None` beyond [`PAYLOAD_MAX`].
pub fn message(kind: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= PAYLOAD_MAX)?;
    let mut bytes = Vec::with_capacity(payload.len() + HEAD);
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    Some(bytes)
}

/// The frames of an `events` payload; `None` when it is out of form.
pub fn frames(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let (count, mut rest) = payload.split_first_chunk::<2>()?;
    let count = usize::from(u16::from_be_bytes(*count));
    if count == 0 || count > EVENTS_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (frame, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        out.push(frame);
        rest = after;
    }
    rest.is_empty().then_some(out)
}

/// The payload of `frames`, at most [`EVENTS_MAX`] of them.
pub fn pack(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = u16::try_from(frames.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    for frame in frames {
        out.extend_from_slice(&u32::try_from(frame.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(frame);
    }
    out
}

/// Whether `name` may stand in a route: 1 to [`NAME_MAX`] of letters, digits, `.`, `-`, `_`.
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(fits)
}
