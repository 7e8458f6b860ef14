//! Writes evidence files.
//!
//! Checks little: the verifier is the authority. Invariant: equal calls give equal bytes, in whatever
//! order the entries were added.

use super::{EventEvidence, GroupEvidence, ITEM_MAX, ITEMS_MAX, MAGIC, MULTIPROOF_MAX, VERSION};
use crate::Hash;
use countersign_event::ENTRY_LEN;
use countersign_event::cbor::Writer;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Why an evidence file cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// An item, or the number of items, exceeds what a verifier reads.
    #[error("evidence exceeds the limit of {max} ({what}); split it into several files")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// The same index twice.
    #[error("entry {index} was added twice")]
    Duplicate {
        /// The index.
        index: u64,
    },
    /// No checkpoint: nothing could be proven.
    #[error("no checkpoint was added; wait until one covers the entries")]
    NoCheckpoint,
}

/// Collects the parts of one file. Add at least one checkpoint that covers all entries.
#[derive(Clone, Debug)]
pub struct EvidenceBuilder {
    header: Vec<u8>,
    heads: Vec<Vec<u8>>,
    counts: [u64; 6],
    entries: BTreeMap<u64, (Vec<u8>, Vec<u8>)>,
    multiproof: Option<Vec<Hash>>,
    duplicate: Option<u64>,
}

/// What a file says about itself.
#[derive(Clone, Debug)]
struct HeaderFields<'a> {
    origin: &'a str,
    purpose: &'a str,
    created_ns: u64,
    range: Option<(u64, u64)>,
}

impl EvidenceBuilder {
    /// An empty file. `created_ns` is Unix time; `purpose` is free text for its reader.
    pub fn new(origin: &str, purpose: &str, created_ns: u64) -> EvidenceBuilder {
        EvidenceBuilder::with_range(origin, purpose, created_ns, None)
    }

    /// An empty file that claims to hold every leaf of `range` (end exclusive).
    pub fn with_range(
        origin: &str,
        purpose: &str,
        created_ns: u64,
        range: Option<(u64, u64)>,
    ) -> EvidenceBuilder {
        EvidenceBuilder {
            header: header(&HeaderFields { origin, purpose, created_ns, range }),
            heads: Vec::new(),
            counts: [1, 0, 0, 0, 0, 0],
            entries: BTreeMap::new(),
            multiproof: None,
            duplicate: None,
        }
    }

    /// Adds a checkpoint note, verbatim. Later ones must not be smaller; the last one must cover the entries.
    #[must_use]
    pub fn checkpoint(mut self, note_text: &str) -> Self {
        let mut out = item(1, 1, note_text.len());
        out.uint(0);
        out.text(note_text);
        self.heads.push(out.into_bytes());
        self.counts[1] += 1;
        self
    }

    /// Adds the proof that the last checkpoint added extends the one before it.
    #[must_use]
    pub fn consistency(mut self, hashes: &[Hash]) -> Self {
        let mut out = item(2, 2, hashes.len() * 32);
        out.uint(0);
        out.uint(2);
        field_hashes(&mut out, hashes);
        self.heads.push(out.into_bytes());
        self.counts[2] += 1;
        self
    }

    /// Proves all entries by one multiproof; their own `inclusion` is then ignored.
    #[must_use]
    pub fn multiproof(mut self, hashes: Vec<Hash>) -> Self {
        self.multiproof = Some(hashes);
        self
    }

    /// Adds an event.
    #[must_use]
    pub fn event(mut self, event: EventEvidence) -> Self {
        let mut out = item(3, 4, 1024);
        out.uint(0);
        out.uint(event.index);
        out.uint(1);
        out.bytes(&event.entry);
        out.uint(2);
        out.uint(event.schema.into());
        out.uint(3);
        out.array(event.groups.len());
        for group in &event.groups {
            write_group(&mut out, group);
        }
        self.counts[3] += 1;
        self.place(event.index, out.into_bytes(), &event.inclusion);
        self
    }

    /// Adds an entry that is not an event, with its body.
    #[must_use]
    pub fn body(mut self, index: u64, entry: [u8; ENTRY_LEN], body: &[u8], inclusion: &[Hash]) -> Self {
        let out = body_item(index, &entry, Some(body));
        self.place(index, out, inclusion);
        self.counts[4] += 1;
        self
    }

    /// Adds an entry without anything of its content, for example one of an unknown kind.
    #[must_use]
    pub fn opaque(mut self, index: u64, entry: [u8; ENTRY_LEN], inclusion: &[Hash]) -> Self {
        let out = body_item(index, &entry, None);
        self.place(index, out, inclusion);
        self.counts[4] += 1;
        self
    }

    /// The bytes of the file.
    pub fn finish(mut self) -> Result<Vec<u8>, BuildError> {
        if let Some(index) = self.duplicate {
            return Err(BuildError::Duplicate { index });
        }
        if self.counts[1] == 0 {
            return Err(BuildError::NoCheckpoint);
        }
        let mut parts = vec![std::mem::take(&mut self.header)];
        parts.append(&mut self.heads);
        let shared = self.multiproof.take().filter(|_| !self.entries.is_empty());
        let is_shared = shared.is_some();
        if let Some(hashes) = shared {
            parts.push(multiproof_item(self.entries.keys(), &hashes)?);
            self.counts[2] += 1;
        }
        for (proof, entry) in std::mem::take(&mut self.entries).into_values() {
            if !is_shared {
                parts.push(proof);
                self.counts[2] += 1;
            }
            parts.push(entry);
        }
        if parts.len() as u64 >= ITEMS_MAX {
            return Err(BuildError::Limit { what: "items", max: ITEMS_MAX });
        }
        if parts.iter().any(|part| part.len() > ITEM_MAX) {
            return Err(BuildError::Limit { what: "bytes of an item", max: ITEM_MAX as u64 });
        }
        let mut out = parts.concat();
        let end = end_item(&self.counts, &Sha256::digest(&out).into());
        out.extend_from_slice(&end);
        Ok(out)
    }

    fn place(&mut self, index: u64, entry: Vec<u8>, inclusion: &[Hash]) {
        let mut out = item(2, 3, 32 + inclusion.len() * 32);
        out.uint(0);
        out.uint(0);
        out.uint(1);
        out.uint(index);
        field_hashes(&mut out, inclusion);
        if self.entries.insert(index, (out.into_bytes(), entry)).is_some() {
            self.duplicate = Some(index);
        }
    }
}

fn header(fields: &HeaderFields<'_>) -> Vec<u8> {
    let mut out = item(0, 5 + usize::from(fields.range.is_some()), 128);
    out.uint(0);
    out.text(MAGIC);
    out.uint(1);
    out.uint(VERSION);
    out.uint(2);
    out.text(fields.origin);
    out.uint(3);
    out.text(fields.purpose);
    out.uint(4);
    out.uint(fields.created_ns);
    if let Some((first, end)) = fields.range {
        out.uint(5);
        out.array(2);
        out.uint(first);
        out.uint(end);
    }
    out.into_bytes()
}

fn body_item(index: u64, entry: &[u8; ENTRY_LEN], body: Option<&[u8]>) -> Vec<u8> {
    let mut out = item(4, 2 + usize::from(body.is_some()), body.map_or(0, <[u8]>::len));
    out.uint(0);
    out.uint(index);
    out.uint(1);
    out.bytes(entry);
    if let Some(body) = body {
        out.uint(2);
        out.bytes(body);
    }
    out.into_bytes()
}

fn multiproof_item<'a>(
    indices: impl Iterator<Item = &'a u64>,
    hashes: &[Hash],
) -> Result<Vec<u8>, BuildError> {
    let packed: Vec<u8> = indices.flat_map(|index| index.to_be_bytes()).collect();
    if packed.len() > MULTIPROOF_MAX * 8 {
        return Err(BuildError::Limit { what: "indices of a multiproof", max: MULTIPROOF_MAX as u64 });
    }
    let mut out = item(2, 3, packed.len() + hashes.len() * 32);
    out.uint(0);
    out.uint(1);
    out.uint(1);
    out.bytes(&packed);
    field_hashes(&mut out, hashes);
    Ok(out.into_bytes())
}

fn end_item(counts: &[u64; 6], digest: &Hash) -> Vec<u8> {
    let mut out = item(6, 2, 64);
    out.uint(0);
    out.array(counts.len());
    for count in counts {
        out.uint(*count);
    }
    out.uint(1);
    out.bytes(digest);
    out.into_bytes()
}

fn write_group(out: &mut Writer, group: &GroupEvidence) {
    let (tag, items) = match group {
        GroupEvidence::Disclosed { .. } => (0, 3),
        GroupEvidence::Withheld { .. } => (1, 2),
        GroupEvidence::Erased { .. } => (2, 3),
        GroupEvidence::Retired { .. } => (3, 3),
        GroupEvidence::Missing { commitment } => (4, 1 + usize::from(commitment.is_some())),
    };
    out.array(items);
    out.uint(tag);
    match group {
        GroupEvidence::Disclosed { bytes, salt } => {
            out.bytes(salt);
            out.bytes(bytes);
        }
        GroupEvidence::Withheld { commitment } | GroupEvidence::Missing { commitment: Some(commitment) } => {
            out.bytes(commitment);
        }
        GroupEvidence::Erased { commitment, entry } | GroupEvidence::Retired { commitment, entry } => {
            out.bytes(commitment);
            out.uint(*entry);
        }
        GroupEvidence::Missing { commitment: None } => {}
    }
}

fn item(kind: u64, pairs: usize, room: usize) -> Writer {
    let mut out = Writer::with_capacity(room + 32);
    out.array(2);
    out.uint(kind);
    out.map(pairs);
    out
}

fn field_hashes(out: &mut Writer, hashes: &[Hash]) {
    out.uint(3);
    out.bytes(hashes.as_flattened());
}
