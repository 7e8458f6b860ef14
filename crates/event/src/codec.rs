//! Event to groups and back. `decode` ends with re-encode and compare.

use crate::{Event, GROUPS};

/// An encoded event: schema number and the exact bytes of its seven groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Schema number.
    pub schema: u16,
    /// Canonical CBOR of each group; an empty group is `a0`.
    pub groups: [Vec<u8>; GROUPS],
}

/// Why an event cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A value breaks a bound or a rule of the schema.
    #[error("{field}: {rule}")]
    Rule { /** field name */ field: &'static str, /** rule */ rule: String },
}

/// Why bytes are not a canonical event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not canonical at byte {offset} of {place}: {rule}")]
pub struct DecodeError {
    /// Byte offset inside `place`.
    pub offset: usize,
    /// `frame`, or a group's name.
    pub place: &'static str,
    /// The rule that was broken.
    pub rule: String,
}

impl Event {
    /// The canonical frame of this event.
    pub fn encode(&self) -> Result<Frame, EncodeError> {
        unimplemented!()
    }
    /// Decodes and checks every rule.
    pub fn decode(_frame: &Frame) -> Result<Event, DecodeError> {
        unimplemented!()
    }
}

impl Frame {
    /// CBOR array of 8: schema and seven byte strings.
    pub fn to_bytes(&self) -> Vec<u8> {
        unimplemented!()
    }
    /// Length of [`Frame::to_bytes`] without making it.
    pub fn encoded_len(&self) -> usize {
        unimplemented!()
    }
    /// Reads the outer array only; groups stay unparsed.
    pub fn from_bytes(_bytes: &[u8]) -> Result<Frame, DecodeError> {
        unimplemented!()
    }
}
