//! Commitments, the 53-byte log entry and its leaf: all that the log itself ever sees of an event.
//!
//! Domain separation by first byte: `0x00` leaf and `0x01` node (RFC 6962, in `proof`), `0x02` group,
//! `0x03` event, `0x04` body of a non-event entry.

use crate::sha::sha256;
use crate::{GROUPS, SCHEMA};

/// Random bytes that hide one group of one event from guessing.
pub type Salt = [u8; 16];
/// A SHA-256 commitment.
pub type Commitment = [u8; 32];

/// `SHA-256(0x02 || salt || g || bytes)`: the commitment of group `g`.
pub fn group_commitment(salt: &Salt, g: u8, bytes: &[u8]) -> Commitment {
    let mut prefix = [0x02; 18];
    prefix[1..17].copy_from_slice(salt);
    prefix[17] = g;
    sha256(&prefix, bytes)
}

/// `SHA-256(0x03 || schema u16 BE || c_0 … c_6)`: the commitment of an event.
pub fn commitment(schema: u16, groups: &[Commitment; GROUPS]) -> Commitment {
    let mut message = [0x03; 3 + 32 * GROUPS];
    message[1..3].copy_from_slice(&schema.to_be_bytes());
    message[3..].copy_from_slice(groups.as_flattened());
    sha256(&message, &[])
}

/// Commitment of a whole event of schema [`SCHEMA`] from its seven groups and their salts.
pub fn event_commitment<B: AsRef<[u8]>>(salts: &[Salt; GROUPS], groups: &[B; GROUPS]) -> Commitment {
    let mut parts = [[0; 32]; GROUPS];
    for (g, part) in parts.iter_mut().enumerate() {
        *part = group_commitment(&salts[g], g as u8, groups[g].as_ref());
    }
    commitment(SCHEMA, &parts)
}

/// `SHA-256(0x04 || body)`: the commitment of a non-event entry.
pub fn body_commitment(body: &[u8]) -> Commitment {
    sha256(&[0x04], body)
}

/// Length of an encoded [`Entry`] in bytes.
pub const ENTRY_LEN: usize = 53;

/// What a log entry is. An unknown kind is an opaque leaf: proofs hold, verifiers count and name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EntryKind {
    /// An event of seven groups.
    Event = 0x01,
    /// A source's registration.
    SourceReg = 0x02,
    /// A source's heartbeat.
    SourceCkpt = 0x03,
    /// A named loss.
    Gap = 0x04,
    /// A sealed segment.
    SegmentManifest = 0x05,
    /// An event schema.
    Schema = 0x06,
    /// A key was added, rotated or revoked.
    KeyEvent = 0x07,
    /// Groups were erased.
    Erase = 0x08,
    /// Contents were retired.
    Retire = 0x09,
    /// A legal hold was set or lifted.
    LegalHold = 0x0a,
    /// An outside time stamp.
    Anchor = 0x0b,
    /// A new epoch after a rollback.
    Recovery = 0x0c,
    /// Audit data was read.
    Access = 0x0d,
    /// A configuration was applied.
    Config = 0x0e,
}

impl EntryKind {
    /// All kinds of this version.
    pub const ALL: [EntryKind; 14] = [
        EntryKind::Event,
        EntryKind::SourceReg,
        EntryKind::SourceCkpt,
        EntryKind::Gap,
        EntryKind::SegmentManifest,
        EntryKind::Schema,
        EntryKind::KeyEvent,
        EntryKind::Erase,
        EntryKind::Retire,
        EntryKind::LegalHold,
        EntryKind::Anchor,
        EntryKind::Recovery,
        EntryKind::Access,
        EntryKind::Config,
    ];
    /// From the byte in the entry; `None` for a kind this version does not know.
    pub fn from_byte(byte: u8) -> Option<EntryKind> {
        EntryKind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
    /// The name used by commands and tables, lower case.
    pub fn name(self) -> &'static str {
        match self {
            EntryKind::Event => "event",
            EntryKind::SourceReg => "source_reg",
            EntryKind::SourceCkpt => "source_ckpt",
            EntryKind::Gap => "gap",
            EntryKind::SegmentManifest => "segment_manifest",
            EntryKind::Schema => "schema",
            EntryKind::KeyEvent => "key_event",
            EntryKind::Erase => "erase",
            EntryKind::Retire => "retire",
            EntryKind::LegalHold => "legal_hold",
            EntryKind::Anchor => "anchor",
            EntryKind::Recovery => "recovery",
            EntryKind::Access => "access",
            EntryKind::Config => "config",
        }
    }
}

/// One leaf's content: `kind u8 | source_ref u32 | source_seq u64 | time_ns u64 | C[32]`, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Kind, as a byte: unknown kinds are kept. 0 is invalid.
    pub kind: u8,
    /// Registered (agent, stream); 0 = the ledger itself.
    pub source_ref: u32,
    /// From 1, +1 per event of that source.
    pub source_seq: u64,
    /// The ledger's receive time, UTC ns, never decreasing along the index.
    pub time_ns: u64,
    /// What is committed.
    pub commitment: Commitment,
}

impl Entry {
    /// The 53 bytes that are hashed and published.
    pub fn to_bytes(&self) -> [u8; ENTRY_LEN] {
        let mut out = [0; ENTRY_LEN];
        out[0] = self.kind;
        out[1..5].copy_from_slice(&self.source_ref.to_be_bytes());
        out[5..13].copy_from_slice(&self.source_seq.to_be_bytes());
        out[13..21].copy_from_slice(&self.time_ns.to_be_bytes());
        out[21..].copy_from_slice(&self.commitment);
        out
    }

    /// From 53 bytes; `None` if kind is 0.
    pub fn from_bytes(bytes: &[u8; ENTRY_LEN]) -> Option<Entry> {
        let mut rest = &bytes[..];
        let entry = Entry {
            kind: take::<1>(&mut rest)?[0],
            source_ref: u32::from_be_bytes(take(&mut rest)?),
            source_seq: u64::from_be_bytes(take(&mut rest)?),
            time_ns: u64::from_be_bytes(take(&mut rest)?),
            commitment: take(&mut rest)?,
        };
        (entry.kind != 0).then_some(entry)
    }

    /// RFC 6962 leaf hash: `SHA-256(0x00 || entry)`.
    pub fn leaf(&self) -> [u8; 32] {
        let mut message = [0x00; 1 + ENTRY_LEN];
        message[1..].copy_from_slice(&self.to_bytes());
        sha256(&message, &[])
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
