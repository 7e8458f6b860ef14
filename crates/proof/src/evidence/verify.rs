//! Checks an evidence file front to back.
//!
//! Not a reader of content: it says what is proven, the bytes stay where they are. Invariants: a
//! structural fault ends the reading, an integrity fault does not, so that one report names all of
//! them; memory is bounded by the bytes of the file; nothing that the file says is believed before
//! the hash that binds it was computed.

use super::content::{Core, Removal};
use super::item::{EntryItem, Group, Item, read};
use super::range::RangeCheck;
use super::{FILE_MAX, ITEM_MAX, ITEMS_MAX, MULTIPROOF_MAX};
use crate::body::{Erase, Gap, Retire, SourceCkpt, SourceReg};
use crate::report::{Check, Findings, Report, SHOWN_MAX, Status, Verdict, rfc3339, shown};
use crate::{Checkpoint, Error, Hash, Policy, Trust};
use crate::{verify_inclusion, verify_multiproof};
use countersign_event::commit::body_commitment;
use countersign_event::{
    Commitment, ENTRY_LEN, Entry, EntryKind, GROUP_NAMES, GROUPS, SCHEMA, commitment, group_commitment,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Verifies the whole of `file` against pinned keys. Never panics; every fault is in the report.
pub fn verify_evidence(file: &[u8], policy: &Policy, trust: &Trust) -> Report {
    let mut verifier = Verifier::new(policy, trust);
    let outcome = if file.len() as u64 > FILE_MAX {
        Err("over the limit of 4 GiB".to_owned())
    } else {
        verifier.read_all(file)
    };
    verifier.conclude(file.len(), outcome)
}

/// Why reading stopped: the file is not well-formed.
pub(super) type Structural = String;

/// The proof that the next entries need.
pub(super) enum Pending<'a> {
    None,
    One { index: u64, path: &'a [Hash] },
    Many { indices: &'a [[u8; 8]], hashes: &'a [Hash], leaves: Vec<(u64, Hash)> },
}

impl Pending<'_> {
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Pending::None)
    }
}

/// A group that the file says was removed by an entry, to be settled when all entries are read.
pub(super) struct Claim {
    pub(super) index: u64,
    pub(super) group: u8,
    pub(super) by: u64,
    pub(super) retired: bool,
}

#[derive(Default)]
pub(super) struct Unchecked {
    pub(super) core_withheld: u64,
    pub(super) other_schema: u64,
    pub(super) import_id: u64,
    pub(super) unregistered: u64,
    pub(super) heartbeats: u64,
    pub(super) bodies: u64,
    pub(super) unread_bodies: u64,
    pub(super) consistency: u64,
    pub(super) commitments: u64,
    pub(super) unknown_lines: usize,
}

pub(super) struct Verifier<'a> {
    pub(super) policy: &'a Policy,
    pub(super) trust: &'a Trust,
    pub(super) report: Report,
    pub(super) findings: Findings,
    pub(super) unchecked: Unchecked,
    pub(super) counts: [u64; 6],
    pub(super) origin: Option<&'a str>,
    /// The last two checkpoints, older first; the flag: still waiting for a consistency proof.
    pub(super) heads: Vec<Checkpoint>,
    pub(super) linked: bool,
    pub(super) links: u64,
    pub(super) quorum: Vec<String>,
    pub(super) pending: Pending<'a>,
    pub(super) shared_proof: bool,
    pub(super) last: Option<(u64, u64)>,
    pub(super) leaves: u64,
    pub(super) groups: u64,
    pub(super) cores: u64,
    pub(super) heartbeats: u64,
    pub(super) registered: BTreeMap<u32, SourceReg>,
    pub(super) removals: BTreeMap<u64, Removal>,
    pub(super) claims: Vec<Claim>,
    pub(super) range: Option<RangeCheck>,
}

impl<'a> Verifier<'a> {
    fn new(policy: &'a Policy, trust: &'a Trust) -> Verifier<'a> {
        Verifier {
            policy,
            trust,
            report: Report::default(),
            findings: Findings::default(),
            unchecked: Unchecked::default(),
            counts: [0; 6],
            origin: None,
            heads: Vec::new(),
            linked: true,
            links: 0,
            quorum: Vec::new(),
            pending: Pending::None,
            shared_proof: false,
            last: None,
            leaves: 0,
            groups: 0,
            cores: 0,
            heartbeats: 0,
            registered: BTreeMap::new(),
            removals: BTreeMap::new(),
            claims: Vec::new(),
            range: None,
        }
    }

    fn read_all(&mut self, file: &'a [u8]) -> Result<(), Structural> {
        let mut digest = Sha256::new();
        let (mut at, mut number) = (0usize, 0u64);
        loop {
            let rest = file.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return Err(format!("truncated: {number} items and no END"));
            }
            number += 1;
            if number > ITEMS_MAX {
                return Err(format!("over the limit of {ITEMS_MAX} items"));
            }
            let place = |why: String| format!("item {number} at byte {at}: {why}");
            let (item, length) = read(rest).map_err(|error| place(error.to_string()))?;
            if length > ITEM_MAX {
                return Err(place("over the limit of 16 MiB".to_owned()));
            }
            if let Item::End { counts, digest: stated } = item {
                if rest.len() > length {
                    return Err(place("bytes after the end".to_owned()));
                }
                return self.end(&counts, &stated, &digest.finalize().into()).map_err(place);
            }
            if let Some(count) = item.type_number().and_then(|kind| self.counts.get_mut(kind)) {
                *count += 1;
            }
            digest.update(rest.get(..length).unwrap_or_default());
            self.item(item).map_err(place)?;
            at += length;
        }
    }

    fn item(&mut self, item: Item<'a>) -> Result<(), Structural> {
        if self.origin.is_none() && !matches!(item, Item::Header { .. }) {
            return Err("the first item is not the header".to_owned());
        }
        match item {
            Item::Header { origin, purpose, range } => self.header(origin, purpose, range),
            Item::Checkpoint(note) => self.checkpoint(note),
            Item::Consistency(hashes) => self.consistency(hashes),
            Item::Inclusion { .. } | Item::Multiproof { .. } => self.proof(item),
            Item::Entry(item) => self.event(&item),
            Item::Body { index, entry, body } => self.other(index, &entry, body),
            Item::End { .. } => Ok(()),
        }
    }

    fn header(
        &mut self,
        origin: &'a str,
        purpose: &str,
        range: Option<(u64, u64)>,
    ) -> Result<(), Structural> {
        if self.origin.is_some() {
            return Err("a second header".to_owned());
        }
        self.origin = Some(origin);
        self.report.purpose = shown(purpose);
        self.range = range.map(|(first, end)| RangeCheck::new(first, end));
        Ok(())
    }

    fn proof(&mut self, item: Item<'a>) -> Result<(), Structural> {
        if self.heads.is_empty() {
            return Err("a proof before the first checkpoint".to_owned());
        }
        if self.shared_proof || !self.pending.is_none() {
            return Err("a proof that no entry follows".to_owned());
        }
        match item {
            Item::Inclusion { index, path } => self.pending = Pending::One { index, path },
            Item::Multiproof { indices, hashes } => {
                if self.leaves > 0 {
                    return Err("a multiproof after the first entry".to_owned());
                }
                if indices.len() > MULTIPROOF_MAX || indices.is_empty() {
                    return Err(format!("a multiproof over none or more than {MULTIPROOF_MAX} indices"));
                }
                self.shared_proof = true;
                self.pending = Pending::Many { indices, hashes, leaves: Vec::new() };
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts an entry into its tree: order, inclusion, time, and the claimed range.
    fn place(&mut self, index: u64, bytes: &[u8; ENTRY_LEN]) -> Result<Entry, Structural> {
        let entry =
            Entry::from_bytes(bytes).ok_or_else(|| format!("entry {index} has the invalid kind 0"))?;
        if let Some((before, time_ns)) = self.last {
            if index <= before {
                return Err(format!("entry {index} stands after entry {before}"));
            }
            if entry.time_ns < time_ns {
                self.findings.add(Check::Time, Status::Broken, || {
                    format!("entry {index} is older than entry {before}, which comes before it in the log")
                });
            }
        }
        self.last = Some((index, entry.time_ns));
        self.leaves += 1;
        self.include(index, entry.leaf())?;
        if let Some(range) = &mut self.range {
            range.entry(index, &entry);
        }
        Ok(entry)
    }

    fn include(&mut self, index: u64, leaf: Hash) -> Result<(), Structural> {
        let unproven = || format!("entry {index} has no inclusion proof");
        let head = self.heads.last().ok_or_else(unproven)?;
        let verdict = match &mut self.pending {
            Pending::None => return Err(unproven()),
            Pending::One { index: proven, path } => {
                if *proven != index {
                    return Err(format!("entry {index} follows the proof of entry {proven}"));
                }
                let verdict = verify_inclusion(&leaf, index, head.size, path, &head.root);
                self.pending = Pending::None;
                verdict
            }
            Pending::Many { indices, hashes, leaves } => {
                let expected = indices.get(leaves.len()).map(|bytes| u64::from_be_bytes(*bytes));
                if expected != Some(index) {
                    return Err(format!("entry {index} is not the next of the multiproof"));
                }
                leaves.push((index, leaf));
                if leaves.len() < indices.len() {
                    return Ok(());
                }
                let verdict = verify_multiproof(leaves, head.size, hashes, &head.root);
                self.pending = Pending::None;
                verdict
            }
        };
        match verdict {
            Ok(()) => Ok(()),
            Err(error @ Error::Malformed { .. }) => Err(error.to_string()),
            Err(error) => {
                self.findings.add(Check::Inclusion, Status::Broken, || format!("entry {index}: {error}"));
                Ok(())
            }
        }
    }

    fn event(&mut self, item: &EntryItem<'a>) -> Result<(), Structural> {
        let entry = self.place(item.index, &item.entry)?;
        if entry.kind != EntryKind::Event as u8 {
            return Err(format!("entry {} is not an event", item.index));
        }
        self.report.events += 1;
        let mut parts: [Commitment; GROUPS] = [[0; 32]; GROUPS];
        let mut whole = true;
        for (g, (group, part)) in item.groups.iter().zip(&mut parts).enumerate() {
            match self.group(item.index, g as u8, group) {
                Some(commitment) => *part = commitment,
                None => whole = false,
            }
        }
        if !whole {
            self.unchecked.commitments += 1;
        } else if commitment(item.schema, &parts) != entry.commitment {
            self.findings.add(Check::Commitment, Status::Broken, || {
                format!("the groups of event {} are not those that were committed", item.index)
            });
        }
        let agent = self.core(item, &entry);
        self.show(item.index, &entry, agent.as_deref());
        Ok(())
    }

    /// Counts a group and gives its commitment.
    fn group(&mut self, index: u64, group: u8, shown: &Group<'_>) -> Option<Commitment> {
        self.groups += 1;
        let (verdict, commitment) = match *shown {
            Group::Disclosed { salt, bytes } => {
                (Some(Verdict::Disclosed), Some(group_commitment(&salt, group, bytes)))
            }
            Group::Withheld(commitment) => (Some(Verdict::Withheld), Some(commitment)),
            Group::Erased { commitment, by } => {
                self.claims.push(Claim { index, group, by, retired: false });
                (None, Some(commitment))
            }
            Group::Retired { commitment, by } => {
                self.claims.push(Claim { index, group, by, retired: true });
                (None, Some(commitment))
            }
            Group::Missing(commitment) => {
                self.missing(index, group, "is missing");
                (None, commitment)
            }
        };
        if let Some(verdict) = verdict {
            self.tally(group, verdict);
        }
        commitment
    }

    pub(super) fn tally(&mut self, group: u8, verdict: Verdict) {
        let row = self.report.verdicts.get_mut(usize::from(group));
        if let Some(count) = row.and_then(|row| row.get_mut(verdict as usize)) {
            *count += 1;
        }
    }

    pub(super) fn missing(&mut self, index: u64, group: u8, why: &str) {
        self.tally(group, Verdict::Missing);
        self.findings.add(Check::Verdicts, Status::Insufficient, || {
            let name = GROUP_NAMES.get(usize::from(group)).copied().unwrap_or_default();
            format!("group {name} of event {index} {why}")
        });
    }

    /// Compares a disclosed group 0 with the entry; gives the agent for display.
    fn core(&mut self, item: &EntryItem<'_>, entry: &Entry) -> Option<String> {
        let Group::Disclosed { bytes, .. } = item.groups[0] else {
            self.unchecked.core_withheld += 1;
            return None;
        };
        if item.schema != SCHEMA {
            self.unchecked.other_schema += 1;
            return None;
        }
        let index = item.index;
        let mut wrong = |why: String| {
            self.findings.add(Check::Core, Status::Broken, || format!("event {index}: {why}"));
        };
        let core = match Core::read(bytes) {
            Ok(core) => core,
            Err(error) => {
                wrong(format!("group 0 is not readable: {error}"));
                return None;
            }
        };
        self.cores += 1;
        if core.seq != entry.source_seq {
            wrong(format!("it says number {}, its entry says {}", core.seq, entry.source_seq));
        }
        match self.registered.get(&entry.source_ref) {
            None => self.unchecked.unregistered += 1,
            Some(source) if source.identity != core.agent || source.stream != core.stream => {
                wrong(format!("its agent and stream are not those of source {}", entry.source_ref));
            }
            Some(_) => {}
        }
        let body = match item.groups[6] {
            Group::Disclosed { bytes, .. } => Some(bytes),
            _ => None,
        };
        match core.eid_follows(body) {
            Some(true) => {}
            Some(false) => wrong("its id does not follow from its source".to_owned()),
            None => self.unchecked.import_id += 1,
        }
        Some(shown(core.agent))
    }

    fn other(&mut self, index: u64, bytes: &[u8; ENTRY_LEN], body: Option<&[u8]>) -> Result<(), Structural> {
        let entry = self.place(index, bytes)?;
        let kind = EntryKind::from_byte(entry.kind);
        if kind == Some(EntryKind::Event) {
            return Err(format!("entry {index} is an event but shown as another kind"));
        }
        let name = kind.map_or_else(|| format!("unknown_{:02x}", entry.kind), |kind| kind.name().to_owned());
        *self.report.others.entry(name).or_default() += 1;
        self.show(index, &entry, None);
        let Some(body) = body else {
            self.unchecked.bodies += 1;
            return Ok(());
        };
        if body_commitment(body) != entry.commitment {
            self.findings.add(Check::Commitment, Status::Broken, || {
                format!("the body of entry {index} is not the one that was committed")
            });
            return Ok(());
        }
        if let Some(kind) = kind
            && self.learn(index, &entry, kind, body).is_err()
        {
            self.unchecked.unread_bodies += 1;
        }
        Ok(())
    }

    /// Takes from a proven body what later checks need.
    fn learn(&mut self, index: u64, entry: &Entry, kind: EntryKind, body: &[u8]) -> Result<(), Error> {
        match kind {
            EntryKind::SourceReg => {
                let source = SourceReg::decode(body)?;
                self.registered.insert(source.source_ref, source);
            }
            EntryKind::SourceCkpt => {
                let heartbeat = SourceCkpt::decode(body)?;
                if let Some(range) = &mut self.range {
                    range.heard(heartbeat.source_ref, entry.time_ns);
                }
                self.heartbeat(index, &heartbeat);
            }
            EntryKind::Gap => {
                let gap = Gap::decode(body)?;
                if let Some(range) = &mut self.range {
                    range.declare(&gap);
                }
            }
            EntryKind::Erase => drop(self.removals.insert(index, Removal::erased(&Erase::decode(body)?))),
            EntryKind::Retire => drop(self.removals.insert(index, Removal::retired(&Retire::decode(body)?))),
            _ => {}
        }
        Ok(())
    }

    fn heartbeat(&mut self, index: u64, heartbeat: &SourceCkpt) {
        let source_ref = heartbeat.source_ref;
        match self.registered.get(&source_ref) {
            None => self.unchecked.heartbeats += 1,
            Some(source) if heartbeat.is_signed_by(&source.public_key) => self.heartbeats += 1,
            Some(_) => self.findings.add(Check::Heartbeats, Status::Broken, || {
                format!("heartbeat {index} is not signed by source {source_ref}")
            }),
        }
        if !heartbeat.adds_up() {
            self.findings.add(Check::Heartbeats, Status::Insufficient, || {
                format!("heartbeat {index} of source {source_ref}: seen is not sent + rejected + dropped")
            });
        }
    }

    fn show(&mut self, index: u64, entry: &Entry, agent: Option<&str>) {
        if self.report.entries.len() >= SHOWN_MAX {
            return;
        }
        let kind = EntryKind::from_byte(entry.kind).map_or("unknown kind", EntryKind::name);
        let by = agent.map_or_else(String::new, |agent| format!(" by {agent}"));
        self.report.entries.push(format!(
            "entry {index}: {kind}, number {} of source {}{by}, received {}",
            entry.source_seq,
            entry.source_ref,
            rfc3339(entry.time_ns)
        ));
    }

    fn end(&mut self, counts: &[u64; 6], stated: &Hash, computed: &Hash) -> Result<(), Structural> {
        if self.heads.is_empty() {
            return Err("no checkpoint".to_owned());
        }
        if !self.pending.is_none() {
            return Err("a proof that no entry follows".to_owned());
        }
        if *counts != self.counts {
            self.findings.add(Check::File, Status::Broken, || {
                "the counts of END are not those of the file".to_owned()
            });
        }
        if stated != computed {
            self.findings.add(Check::File, Status::Broken, || {
                "the digest of END is not that of the file: a byte was changed".to_owned()
            });
        }
        Ok(())
    }
}
