//! C2SP tlog-proof: one inclusion proof and its checkpoint as text, for stock tools.
//!
//! Shows no content of an event. The 53-byte entry travels in the unauthenticated `extra` line; it
//! counts only because its hash must be the proven leaf.

use crate::checkpoint::parse_decimal;
use crate::policy::Accepted;
use crate::report::{Check, Findings, Report, Status, rfc3339, shown};
use crate::tree::PROOF_MAX;
use crate::{Error, Hash, Policy, Require, Trust, leaf_hash, verify_inclusion};
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_event::{ENTRY_LEN, Entry, EntryKind};

const WHAT: &str = "tlog-proof";
/// The first line.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Largest file in bytes: a note, 65 hashes and an entry.
pub const FILE_MAX: usize = 256 << 10;

/// A parsed file. Nothing in it is trusted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Unauthenticated extra data: here, the log entry.
    pub extra: Option<Vec<u8>>,
    /// Index of the leaf.
    pub index: u64,
    /// Inclusion path, the leaf's sibling first.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub note: String,
}

impl TlogProof {
    /// The text of the file (`.tlog-proof`).
    pub fn to_text(&self) -> String {
        let mut out = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            out.push_str(&format!("extra {}\n", STANDARD.encode(extra)));
        }
        out.push_str(&format!("index {}\n", self.index));
        for hash in &self.path {
            out.push_str(&STANDARD.encode(hash));
            out.push('\n');
        }
        out.push('\n');
        out.push_str(&self.note);
        out
    }

    /// From the bytes of a file.
    pub fn parse(bytes: &[u8]) -> Result<TlogProof, Error> {
        if bytes.len() > FILE_MAX {
            return Err(Error::Limit { what: "size of a tlog-proof in bytes", max: FILE_MAX as u64 });
        }
        let bad = |why: &str| Error::malformed(WHAT, why);
        let text = str::from_utf8(bytes).map_err(|_| bad("not UTF-8"))?;
        let (head, note) =
            text.split_once("\n\n").ok_or_else(|| bad("no blank line before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(bad("the first line is not c2sp.org/tlog-proof@v1"));
        }
        let extra = lines
            .next_if(|line| line.starts_with("extra "))
            .and_then(|line| line.strip_prefix("extra "))
            .map(|text| STANDARD.decode(text).map_err(|_| bad("extra is not base64")));
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(parse_decimal)
            .ok_or_else(|| bad("no index line"))?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() >= PROOF_MAX {
                return Err(Error::Limit { what: "hashes of an inclusion proof", max: PROOF_MAX as u64 });
            }
            let hash = STANDARD.decode(line).ok().and_then(|hash| Hash::try_from(hash).ok());
            path.push(hash.ok_or_else(|| bad("a line of the path is not the base64 of 32 bytes"))?);
        }
        Ok(TlogProof { extra: extra.transpose()?, index, path, note: note.to_owned() })
    }

    /// Checks that `entry` is the leaf at this index of a checkpoint that the policy accepts.
    ///
    /// Whether the quorum was met is in the answer, not an error.
    pub fn verify(&self, entry: &[u8], policy: &Policy) -> Result<Accepted, Error> {
        let accepted = policy.accept(self.note.as_bytes())?;
        let head = &accepted.checkpoint;
        verify_inclusion(&leaf_hash(entry), self.index, head.size, &self.path, &head.root)?;
        Ok(accepted)
    }
}

/// Verifies the bytes of a `.tlog-proof` file whose `extra` line holds the entry.
pub fn verify_tlog_proof(bytes: &[u8], policy: &Policy, trust: &Trust) -> Report {
    let (mut report, mut findings) = (Report::default(), Findings::default());
    if let Err(error) = check(bytes, policy, &mut report, &mut findings) {
        let (check, status) = match error {
            ref error if !error.is_integrity() => (Check::File, Status::Malformed),
            Error::BadSignature { .. } | Error::NoKnownSignature => (Check::Checkpoint, Status::Broken),
            _ => (Check::Inclusion, Status::Broken),
        };
        findings.add(check, status, || shown(&error.to_string()));
        report.lines = findings.rest();
        return report;
    }
    if trust.require == Require::Both {
        findings.add(Check::Algorithms, Status::Insufficient, || {
            "ML-DSA-44 is required and this version cannot check it".to_owned()
        });
    }
    let quorum = if policy.is_unwitnessed() {
        "none asked for: this log is unwitnessed".to_owned()
    } else {
        format!("{} met", shown(&policy.quorum_name()))
    };
    let head = format!("{}, size {}, signed by a pinned key", report.origin, report.size);
    for (check, good) in [
        (Check::File, "a tlog-proof with its entry".to_owned()),
        (Check::Checkpoint, head),
        (Check::Quorum, quorum),
        (Check::Algorithms, "Ed25519, as required".to_owned()),
        (Check::Inclusion, "the entry is in the tree".to_owned()),
    ] {
        let line = findings.line(check, good);
        report.lines.push(line);
    }
    report.not_checked = vec!["contents: this format shows none; ask for a .csne file".to_owned()];
    report
}

fn check(bytes: &[u8], policy: &Policy, report: &mut Report, findings: &mut Findings) -> Result<(), Error> {
    let proof = TlogProof::parse(bytes)?;
    let extra = proof.extra.as_deref().and_then(|extra| <&[u8; ENTRY_LEN]>::try_from(extra).ok());
    let entry = extra
        .and_then(Entry::from_bytes)
        .ok_or_else(|| Error::malformed(WHAT, "the extra line does not hold the 53 bytes of the entry"))?;
    let accepted = proof.verify(&entry.to_bytes(), policy)?;
    if !accepted.quorum_met {
        findings.add(Check::Quorum, Status::Insufficient, || {
            format!("quorum {} is not met", shown(&policy.quorum_name()))
        });
    }
    (report.origin, report.size) = (shown(&accepted.checkpoint.origin), accepted.checkpoint.size);
    let kind = EntryKind::from_byte(entry.kind);
    let name = kind.map_or_else(|| format!("unknown_{:02x}", entry.kind), |kind| kind.name().to_owned());
    report.entries.push(format!(
        "entry {}: {name}, number {} of source {}, received {}",
        proof.index,
        entry.source_seq,
        entry.source_ref,
        rfc3339(entry.time_ns)
    ));
    if kind == Some(EntryKind::Event) {
        report.events = 1;
    } else {
        report.others.insert(name, 1);
    }
    Ok(())
}
