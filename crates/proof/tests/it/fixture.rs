//! A small log with everything an evidence file can hold: two sources, a gap, an erasure, a retirement.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use countersign_event::cbor::{Value, Writer, encode};
use countersign_event::commit::body_commitment;
use countersign_event::{Entry, EntryKind, commitment, eid, group_commitment};
use countersign_proof::body::{Erase, Gap, GapReason, Retire, SourceReg};
use countersign_proof::*;
use ed25519_dalek::{Signer as _, SigningKey};

pub(crate) const ORIGIN: &str = "log.example/7f3a/1";
pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const START: u64 = 1_763_700_000 * SECOND;

/// One leaf with all that is known about it.
#[expect(clippy::large_enum_variant, reason = "a dozen of them, in a test")]
pub(crate) enum Known {
    Event { groups: [Vec<u8>; 7], salts: [[u8; 16]; 7] },
    Body(Vec<u8>),
}

pub(crate) struct Log {
    pub(crate) tree: MemoryTree,
    pub(crate) entries: Vec<Entry>,
    pub(crate) known: Vec<Known>,
    own: u64,
}

pub(crate) fn log_signer() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap()
}

pub(crate) fn witness(n: u8) -> NoteSigner {
    NoteSigner::cosigner_from_seed(&format!("witness.example/w{n}"), &[100 + n; 32]).unwrap()
}

pub(crate) fn policy() -> Policy {
    Policy::parse(Policy::unwitnessed(&log_signer().verifier()).as_bytes()).unwrap()
}

pub(crate) fn trust() -> Trust {
    Trust::parse(b"require = \"ed25519\"\nmax_silence_s = 100").unwrap()
}

pub(crate) fn stream(source: u32) -> [u8; 16] {
    [source as u8; 16]
}

pub(crate) fn agent(source: u32) -> String {
    format!("spiffe://example.org/gw{source}")
}

pub(crate) fn core(agent: &str, stream: &[u8; 16], seq: u64, id: &[u8; 16]) -> Vec<u8> {
    let mut out = Writer::with_capacity(128);
    out.map(6);
    out.uint(0);
    out.uint(1);
    out.uint(1);
    out.bytes(id);
    out.uint(2);
    out.text(agent);
    out.uint(3);
    out.bytes(stream);
    out.uint(4);
    out.uint(seq);
    out.uint(5);
    out.uint(START);
    out.into_bytes()
}

pub(crate) fn source_key(source: u32) -> SigningKey {
    SigningKey::from_bytes(&[source as u8; 32])
}

/// A heartbeat body: `seen` events, 4 sent, 1 rejected, `dropped` dropped.
pub(crate) fn heartbeat(source: u32, seen: u64, dropped: u64, key: &SigningKey) -> Vec<u8> {
    let count = |name: Value, count: u64| Value::Map(vec![(name, Value::Uint(count))]);
    let mut fields: Vec<(Value, Value)> = vec![
        (0u64.into(), u64::from(source).into()),
        (1u64.into(), 1u64.into()),
        (2u64.into(), 6u64.into()),
        (3u64.into(), seen.into()),
        (4u64.into(), 4u64.into()),
        (5u64.into(), count("too long".into(), 1)),
        (6u64.into(), count(3u64.into(), dropped)),
        (7u64.into(), 1u64.into()),
        (8u64.into(), Value::Bytes(vec![5; 32])),
        (9u64.into(), false.into()),
    ];
    let mut signed = b"countersign/source/1\n".to_vec();
    signed.extend(encode(&Value::Map(fields.clone())).unwrap());
    fields.push((10u64.into(), Value::Bytes(key.sign(&signed).to_bytes().to_vec())));
    encode(&Value::Map(fields)).unwrap()
}

impl Log {
    pub(crate) fn new() -> Log {
        Log { tree: MemoryTree::new(), entries: Vec::new(), known: Vec::new(), own: 0 }
    }

    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    fn push(&mut self, entry: Entry, known: Known) -> u64 {
        self.tree.push(entry.leaf());
        self.entries.push(entry);
        self.known.push(known);
        self.size() - 1
    }

    pub(crate) fn other(&mut self, kind: EntryKind, body: Vec<u8>) -> u64 {
        self.own += 1;
        let entry = Entry {
            kind: kind as u8,
            source_ref: 0,
            source_seq: self.own,
            time_ns: START + self.size() * SECOND,
            commitment: body_commitment(&body),
        };
        self.push(entry, Known::Body(body))
    }

    pub(crate) fn register(&mut self, source: u32) -> u64 {
        let body = SourceReg {
            source_ref: source,
            identity: agent(source),
            stream: stream(source),
            boot_epoch: 1,
            public_key: source_key(source).verifying_key().to_bytes(),
            previous: None,
            heartbeat_s: 10,
        };
        self.other(EntryKind::SourceReg, body.encode())
    }

    pub(crate) fn event(&mut self, source: u32, seq: u64) -> u64 {
        let id = eid(&agent(source), &stream(source), seq);
        self.event_with(source, seq, core(&agent(source), &stream(source), seq, &id), vec![0xa0])
    }

    pub(crate) fn event_with(&mut self, source: u32, seq: u64, core: Vec<u8>, body: Vec<u8>) -> u64 {
        let mut groups: [Vec<u8>; 7] = std::array::from_fn(|g| vec![0xa1, 0x00, g as u8]);
        groups[0] = core;
        groups[6] = body;
        let index = self.size();
        let salts: [[u8; 16]; 7] =
            std::array::from_fn(|g| leaf_hash(&[index as u8, g as u8])[..16].try_into().unwrap());
        let parts = std::array::from_fn(|g| group_commitment(&salts[g], g as u8, &groups[g]));
        let entry = Entry {
            kind: EntryKind::Event as u8,
            source_ref: source,
            source_seq: seq,
            time_ns: START + index * SECOND,
            commitment: commitment(1, &parts),
        };
        self.push(entry, Known::Event { groups, salts })
    }

    pub(crate) fn head(&self, size: u64) -> Checkpoint {
        Checkpoint { origin: ORIGIN.to_owned(), size, root: tree_root(size, &self.tree).unwrap() }
    }

    pub(crate) fn note(&self) -> String {
        self.head(self.size()).sign(0, &[&log_signer()]).unwrap().to_string()
    }

    /// The groups of an event, disclosing those in `mask`.
    pub(crate) fn groups(&self, index: u64, mask: u8) -> [GroupEvidence; 7] {
        let Known::Event { groups, salts } = &self.known[index as usize] else { panic!("not an event") };
        std::array::from_fn(|g| {
            if mask >> g & 1 == 1 {
                GroupEvidence::Disclosed { bytes: groups[g].clone(), salt: salts[g] }
            } else {
                GroupEvidence::Withheld { commitment: group_commitment(&salts[g], g as u8, &groups[g]) }
            }
        })
    }

    pub(crate) fn event_evidence(&self, index: u64, groups: [GroupEvidence; 7]) -> EventEvidence {
        EventEvidence {
            index,
            entry: self.entries[index as usize].to_bytes(),
            schema: 1,
            groups,
            inclusion: inclusion_proof(index, self.size(), &self.tree).unwrap(),
        }
    }

    /// Adds a leaf as it is known, events with the groups of `mask`.
    pub(crate) fn add(&self, builder: EvidenceBuilder, index: u64, mask: u8) -> EvidenceBuilder {
        match &self.known[index as usize] {
            Known::Event { .. } => builder.event(self.event_evidence(index, self.groups(index, mask))),
            Known::Body(body) => {
                let inclusion = inclusion_proof(index, self.size(), &self.tree).unwrap();
                builder.body(index, self.entries[index as usize].to_bytes(), body, &inclusion)
            }
        }
    }

    pub(crate) fn builder(&self) -> EvidenceBuilder {
        EvidenceBuilder::new(ORIGIN, "test", START).checkpoint(&self.note())
    }
}

/// Index 0: registration of source 1; 1..=3: its events 1 to 3; 4: registration of source 2; 5: its event 1;
/// 6: gap of source 1, numbers 4 and 5; 7: event 6 of source 1; 8: erasure of groups 1 and 2 of leaf 2;
/// 9: retirement of leaves 0..2; 10: a heartbeat of source 1.
pub(crate) fn small_log() -> Log {
    let mut log = Log::new();
    log.register(1);
    for seq in 1..=3 {
        log.event(1, seq);
    }
    log.register(2);
    log.event(2, 1);
    let gap = Gap {
        source_ref: 1,
        range: Some((4, 5)),
        reason: GapReason::Crash,
        count: 2,
        exact: true,
        declared_by: 0,
    };
    log.other(EntryKind::Gap, gap.encode());
    log.event(1, 6);
    let erase = Erase {
        ranges: vec![(2, 3)],
        mask: 0b110,
        ground: "gdpr-17".to_owned(),
        approvers: vec!["p1".to_owned(), "p2".to_owned()],
        request: [3; 32],
    };
    log.other(EntryKind::Erase, erase.encode());
    let root = subtree_root(0, 2, &log.tree).unwrap();
    let retire = Retire { policy: "p".to_owned(), first: 0, end: 2, root, level: 0, no_hold: true };
    log.other(EntryKind::Retire, retire.encode());
    log.other(EntryKind::SourceCkpt, heartbeat(1, 6, 1, &source_key(1)));
    log
}
