//! Event to groups and back. `decode` ends with re-encode and compare.
//!
//! Bounds are checked in one place, the encoder: what a decoder read is encoded again, so a broken bound
//! and any second spelling of the same meaning end in the same comparison. The encoder leaves out what
//! the schema says is never written (empty text, lists and maps, all-zero trace ids), sorts sets, and
//! writes an IPv4-mapped address as IPv4; it refuses, by field name, what no encoding exists for.

mod content;
mod context;
mod core;
mod dec;
mod enc;
mod groups;
mod who;

use crate::cbor::{CborError, Reader, Writer, head_len};
use crate::{EVENT_MAX, Event, GROUP_MAX, GROUP_NAMES, GROUPS, SCHEMA};
use enc::Enc;
pub use groups::Groups;

/// An encoded event: schema number and the exact bytes of its seven groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Schema number.
    pub schema: u16,
    /// Canonical CBOR of each group; an empty group is `a0`.
    pub groups: Groups,
}

/// Why an event cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A value breaks a bound or a rule of the schema.
    #[error("{field}: {rule}")]
    Rule {
        /// Field name, as in `docs/reference/fields.md`.
        field: &'static str,
        /// The rule, with the bound.
        rule: String,
    },
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

/// Room for a typical event, in bytes: an allocator keeps pieces of up to a kibibyte at hand.
const SCRATCH: usize = 1000;
/// The head of the frame's array of eight.
const FRAME_HEAD: u8 = 0x88;
const FRAME: &str = "frame";
/// An empty group: common, and canonical for every group but core.
const EMPTY: [u8; 1] = [0xa0];

impl Event {
    /// The canonical frame of this event.
    ///
    /// # Errors
    /// A value without an encoding or beyond its bound, by field name.
    pub fn encode(&self) -> Result<Frame, EncodeError> {
        let mut bytes = Vec::with_capacity(SCRATCH);
        let mut ends = [0; GROUPS];
        for (g, end) in ends.iter_mut().enumerate() {
            bytes = write_group(self, g, bytes).map_err(|(error, _)| error)?;
            *end = bytes.len();
        }
        let frame = Frame { schema: SCHEMA, groups: Groups::new(&bytes, ends) };
        if frame.encoded_len() > EVENT_MAX {
            let rule = format!("{} bytes, at most {EVENT_MAX}", frame.encoded_len());
            return Err(EncodeError::Rule { field: FRAME, rule });
        }
        Ok(frame)
    }

    /// Decodes and checks every rule.
    ///
    /// # Errors
    /// Any encoding but the canonical one, by group, offset and rule.
    pub fn decode(frame: &Frame) -> Result<Event, DecodeError> {
        if frame.schema != SCHEMA {
            return Err(frame_error(1, format!("schema {} is not known, only {SCHEMA}", frame.schema)));
        }
        frame.check_size()?;
        let mut event = Event::default();
        let largest = frame.groups.iter().map(<[u8]>::len).max().unwrap_or_default();
        let mut scratch = Vec::with_capacity(largest);
        for (g, bytes) in frame.groups.iter().enumerate() {
            scratch = decode_checked(g, bytes, &mut event, scratch)?;
        }
        Ok(event)
    }
}

/// Decodes group `g` alone into `into`, with every check; for events of which some groups are withheld.
///
/// # Errors
/// As [`Event::decode`]. After an error the group's fields in `into` are unspecified.
pub fn decode_group(g: usize, bytes: &[u8], into: &mut Event) -> Result<(), DecodeError> {
    clear_group(g, into);
    decode_checked(g, bytes, into, Vec::with_capacity(bytes.len().min(GROUP_MAX))).map(drop)
}

/// Encodes group `g` of `event` alone.
///
/// # Errors
/// As [`Event::encode`].
pub fn encode_group(event: &Event, g: usize) -> Result<Vec<u8>, EncodeError> {
    if g >= GROUPS {
        return Err(EncodeError::Rule { field: FRAME, rule: format!("there is no group {g}") });
    }
    write_group(event, g, Vec::new()).map_err(|(error, _)| error)
}

/// Writes group `g` behind `out`; with an error comes the offset in the group where it arose.
fn write_group(event: &Event, g: usize, out: Vec<u8>) -> Result<Vec<u8>, (EncodeError, usize)> {
    let start = out.len();
    let mut enc = Enc::new(Writer::behind(out));
    let done = match g {
        0 => core::write(&event.core, &mut enc),
        1 => who::write(&event.who, &mut enc),
        2 => context::write_peer(&event.peer, &mut enc),
        3 => context::write_target(&event.target, &mut enc),
        4 => context::write_links(&event.links, &mut enc),
        5 => content::write(&event.content, &mut enc),
        _ => content::write_body(&event.body, &mut enc),
    };
    let bytes = enc.into_bytes();
    let len = bytes.len() - start;
    let done = done.and_then(|()| match len {
        0..=GROUP_MAX => Ok(()),
        len => Err(EncodeError::Rule {
            field: GROUP_NAMES[g],
            rule: format!("{len} bytes, at most {GROUP_MAX}"),
        }),
    });
    done.map_err(|error| (error, len))?;
    Ok(bytes)
}

fn decode_checked(
    g: usize,
    bytes: &[u8],
    into: &mut Event,
    mut scratch: Vec<u8>,
) -> Result<Vec<u8>, DecodeError> {
    let Some(&place) = GROUP_NAMES.get(g) else {
        return Err(frame_error(0, format!("there is no group {g}")));
    };
    if g > 0 && bytes == EMPTY {
        return Ok(scratch);
    }
    let fail = |offset, rule| DecodeError { offset, place, rule };
    if bytes.len() > GROUP_MAX {
        return Err(fail(GROUP_MAX, format!("{} bytes, at most {GROUP_MAX}", bytes.len())));
    }
    read_group(g, bytes, into).map_err(|error| fail(error.offset, error.rule.to_owned()))?;
    scratch.clear();
    let again = write_group(into, g, scratch)
        .map_err(|(EncodeError::Rule { field, rule }, offset)| fail(offset, format!("{field}: {rule}")))?;
    if again != bytes {
        let same = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(fail(same, "not the one encoding of this meaning".to_owned()));
    }
    Ok(again)
}

/// Reads group `g` into its fields, which hold their defaults.
fn read_group(g: usize, bytes: &[u8], into: &mut Event) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes);
    match g {
        0 => core::read(&mut reader, &mut into.core)?,
        1 => who::read(&mut reader, &mut into.who)?,
        2 => context::read_peer(&mut reader, &mut into.peer)?,
        3 => context::read_target(&mut reader, &mut into.target)?,
        4 => context::read_links(&mut reader, &mut into.links)?,
        5 => content::read(&mut reader, &mut into.content)?,
        _ => content::read_body(&mut reader, &mut into.body)?,
    }
    reader.end()
}

fn clear_group(g: usize, event: &mut Event) {
    match g {
        0 => event.core = Default::default(),
        1 => event.who = Default::default(),
        2 => event.peer = Default::default(),
        3 => event.target = Default::default(),
        4 => event.links = Default::default(),
        5 => event.content = Default::default(),
        _ => event.body = Default::default(),
    }
}

impl Frame {
    /// CBOR array of 8: schema and seven byte strings.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.encoded_len());
        writer.array(1 + GROUPS);
        writer.uint(u64::from(self.schema));
        for group in self.groups.iter() {
            writer.bytes(group);
        }
        writer.into_bytes()
    }

    /// Length of [`Frame::to_bytes`] without making it.
    pub fn encoded_len(&self) -> usize {
        let groups = self.groups.iter().map(|group| head_len(group.len() as u64) + group.len());
        1 + head_len(u64::from(self.schema)) + groups.sum::<usize>()
    }

    /// Reads the outer array only; groups stay unparsed.
    ///
    /// # Errors
    /// Not an array of a schema number and seven byte strings, or beyond the bounds on size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Frame, DecodeError> {
        if bytes.len() > EVENT_MAX {
            return Err(frame_error(EVENT_MAX, format!("{} bytes, at most {EVENT_MAX}", bytes.len())));
        }
        if bytes.first() != Some(&FRAME_HEAD) {
            return Err(frame_error(0, "expected an array of 8".to_owned()));
        }
        let mut reader = Reader::new(bytes);
        let frame =
            read_frame(&mut reader).map_err(|error| frame_error(error.offset, error.rule.to_owned()))?;
        frame.check_size()?;
        Ok(frame)
    }

    fn check_size(&self) -> Result<(), DecodeError> {
        for (g, group) in self.groups.iter().enumerate() {
            if group.len() > GROUP_MAX {
                let rule = format!("{} bytes, at most {GROUP_MAX}", group.len());
                return Err(DecodeError { offset: GROUP_MAX, place: GROUP_NAMES[g], rule });
            }
        }
        match self.encoded_len() {
            0..=EVENT_MAX => Ok(()),
            len => Err(frame_error(EVENT_MAX, format!("{len} bytes, at most {EVENT_MAX}"))),
        }
    }
}

fn read_frame(reader: &mut Reader) -> Result<Frame, CborError> {
    reader.array_of(1 + GROUPS)?;
    let at = reader.position();
    let schema = match u16::try_from(reader.uint()?) {
        Ok(schema @ 1..) => schema,
        _ => return Err(reader.error_at(at, "schema number beyond 1 to 65535")),
    };
    let mut bytes = Vec::new();
    let mut ends = [0; GROUPS];
    for end in &mut ends {
        bytes.extend_from_slice(reader.bytes()?);
        *end = bytes.len();
    }
    reader.end()?;
    Ok(Frame { schema, groups: Groups::new(&bytes, ends) })
}

fn frame_error(offset: usize, rule: String) -> DecodeError {
    DecodeError { offset, place: FRAME, rule }
}
