//! Making one event's evidence, and taking it apart again: to withhold groups, to write the standard
//! text for stock tools, or to look at the hashed bytes.

use crate::access::directory::{ledger_error, store_error};
use crate::exit::CliError;
use countersign_event::cbor::{CborError, Reader};
use countersign_event::{ENTRY_LEN, GROUP_NAMES, GROUPS, Salt, group_commitment};
use countersign_ledger::Ledger;
use countersign_proof::{EventEvidence, EvidenceBuilder, GroupEvidence, Hash, TlogProof};
use countersign_store::Store;
use std::time::Duration;

/// The evidence file of one entry, every group disclosed. Waits at most `wait` for a checkpoint over it.
pub(crate) fn build(ledger: &Ledger, store: &Store, index: u64, wait: Duration) -> Result<Vec<u8>, CliError> {
    let head = ledger
        .checkpoint()
        .filter(|head| head.size > index)
        .or_else(|| ledger.wait_checkpoint(index + 1, wait));
    let head = head.ok_or_else(|| {
        CliError::NotFound(format!("index {index} is not yet under a signed checkpoint; ask again in a second, or start the server once so that it signs"))
    })?;
    let stored = store.get(index).map_err(store_error)?.ok_or_else(|| {
        CliError::NotFound(format!(
            "index {index} is not in this ledger of {} entries; find one with countersign q",
            ledger.size()
        ))
    })?;
    let inclusion = ledger.inclusion(index, head.size).map_err(ledger_error)?;
    let created = u64::try_from(super::time::now_ns()).unwrap_or(0);
    let builder = EvidenceBuilder::new(ledger.origin(), "one event", created).checkpoint(&head.note);
    let entry = stored.entry.to_bytes();
    let built = match (&stored.frame, &stored.body) {
        (Some(frame), _) => {
            let salts = ledger.salts(index).map_err(ledger_error)?.ok_or_else(|| {
                CliError::NotFound(format!(
                    "the salts of index {index} were destroyed, so its groups cannot be disclosed"
                ))
            })?;
            let disclosed =
                |g: usize| GroupEvidence::Disclosed { bytes: frame.groups[g].to_vec(), salt: salts[g] };
            builder.event(EventEvidence {
                index,
                entry,
                schema: frame.schema,
                groups: std::array::from_fn(disclosed),
                inclusion,
            })
        }
        (None, Some(body)) => builder.body(index, entry, body, &inclusion),
        (None, None) => builder.opaque(index, entry, &inclusion),
    };
    built.finish().map_err(|e| CliError::Failed(e.to_string()))
}

/// One entry's evidence, taken apart. Nothing in it is trusted: the verifier judges what is made of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Single {
    origin: String,
    purpose: String,
    created_ns: u64,
    note: String,
    index: u64,
    entry: Option<[u8; ENTRY_LEN]>,
    schema: u16,
    groups: Vec<(Salt, Vec<u8>)>,
    body: Option<Vec<u8>>,
    path: Vec<Hash>,
}

impl Single {
    /// Reads a file of one entry, every group disclosed.
    pub(crate) fn read(file: &[u8]) -> Result<Single, CliError> {
        let mut single = Single::default();
        let mut reader = Reader::new(file);
        let read = || -> Result<(), CborError> {
            while reader.position() < file.len() {
                single.item(&mut reader)?;
            }
            Ok(())
        };
        let mut read = read;
        read().map_err(|e| {
            CliError::new("cannot take the evidence apart", e, "ask for it without --disclose and --format")
        })?;
        if single.entry.is_none() || single.note.is_empty() {
            return Err(CliError::Failed(
                "the evidence holds no entry or no checkpoint; ask for it again".into(),
            ));
        }
        Ok(single)
    }

    fn item(&mut self, reader: &mut Reader<'_>) -> Result<(), CborError> {
        reader.array_of(2)?;
        let kind = reader.uint()?;
        reader.fields(|reader, key| {
            match (kind, key) {
                (0, 2) => self.origin = reader.text()?.to_string(),
                (0, 3) => self.purpose = reader.text()?.to_string(),
                (0, 4) => self.created_ns = reader.uint()?,
                (1, 0) => self.note = reader.text()?.to_string(),
                (2, 3) => self.path = reader.bytes()?.as_chunks().0.to_vec(),
                (3 | 4, 0) => self.index = reader.uint()?,
                (3 | 4, 1) => self.entry = Some(reader.bytes_of()?),
                (3, 2) => self.schema = u16::try_from(reader.uint()?).unwrap_or(0),
                (3, 3) => self.read_groups(reader)?,
                (4, 2) => self.body = Some(reader.bytes()?.to_vec()),
                _ => {
                    reader.value()?;
                }
            }
            Ok(())
        })
    }

    fn read_groups(&mut self, reader: &mut Reader<'_>) -> Result<(), CborError> {
        reader.array_of(GROUPS)?;
        for _ in 0..GROUPS {
            let at = reader.position();
            if (reader.array()?, reader.uint()?) != (3, 0) {
                return Err(reader.error_at(at, "a group that is not disclosed"));
            }
            self.groups.push((reader.bytes_of()?, reader.bytes()?.to_vec()));
        }
        Ok(())
    }

    /// Salts and bytes of the seven groups; empty for an entry that is no event.
    pub(crate) fn groups(&self) -> &[(Salt, Vec<u8>)] {
        &self.groups
    }

    /// The same evidence with only the groups of `keep` in clear.
    pub(crate) fn withhold(&self, keep: &[bool; GROUPS]) -> Result<Vec<u8>, CliError> {
        let entry = self.entry.unwrap_or([0; ENTRY_LEN]);
        let builder =
            EvidenceBuilder::new(&self.origin, &self.purpose, self.created_ns).checkpoint(&self.note);
        let built = match (self.groups.len(), &self.body) {
            (GROUPS, _) => {
                let groups = std::array::from_fn(|g| {
                    let (salt, bytes) = &self.groups[g];
                    if keep[g] {
                        GroupEvidence::Disclosed { bytes: bytes.clone(), salt: *salt }
                    } else {
                        GroupEvidence::Withheld { commitment: group_commitment(salt, g as u8, bytes) }
                    }
                });
                builder.event(EventEvidence {
                    index: self.index,
                    entry,
                    schema: self.schema,
                    groups,
                    inclusion: self.path.clone(),
                })
            }
            (_, Some(body)) => builder.body(self.index, entry, body, &self.path),
            (_, None) => builder.opaque(self.index, entry, &self.path),
        };
        built.finish().map_err(|e| CliError::Failed(e.to_string()))
    }

    /// The proof alone, as C2SP tlog-proof text.
    pub(crate) fn tlog_proof(&self) -> String {
        let extra = self.entry.map(|entry| entry.to_vec());
        TlogProof { extra, index: self.index, path: self.path.clone(), note: self.note.clone() }.to_text()
    }
}

/// Which groups `--disclose` names; all when it names none.
pub(crate) fn parse_groups(names: &[String]) -> Result<[bool; GROUPS], CliError> {
    if names.is_empty() {
        return Ok([true; GROUPS]);
    }
    let mut keep = [false; GROUPS];
    for name in names.iter().map(|name| name.trim()) {
        match GROUP_NAMES.iter().position(|known| *known == name) {
            Some(g) => keep[g] = true,
            None if name == "none" && names.len() == 1 => {}
            None => {
                let all = GROUP_NAMES.join(", ");
                return Err(CliError::Failed(format!(
                    "--disclose `{name}` is no group; the groups are {all}, and none"
                )));
            }
        }
    }
    Ok(keep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::{Entry, commitment};
    use countersign_proof::{Checkpoint, NoteSigner, Policy, Trust, verify_evidence};

    /// A log of one event, signed by a throw-away key: its evidence and its policy.
    fn evidence() -> (Vec<u8>, String) {
        let groups: Vec<(Salt, Vec<u8>)> = (0..GROUPS).map(|g| ([g as u8; 16], vec![0xa0])).collect();
        let commitments: [[u8; 32]; GROUPS] =
            std::array::from_fn(|g| group_commitment(&groups[g].0, g as u8, &groups[g].1));
        let entry = Entry {
            kind: 1,
            source_ref: 1,
            source_seq: 1,
            time_ns: 5,
            commitment: commitment(1, &commitments),
        };
        let signer = NoteSigner::from_seed("demo/test/1", &[7; 32]).unwrap();
        let head = Checkpoint { origin: "demo/test/1".into(), size: 1, root: entry.leaf() };
        let note = head.sign(5, &[&signer]).unwrap().to_string();
        let disclosed = |g: usize| GroupEvidence::Disclosed { bytes: groups[g].1.clone(), salt: groups[g].0 };
        let file = EvidenceBuilder::new("demo/test/1", "test", 9)
            .checkpoint(&note)
            .event(EventEvidence {
                index: 0,
                entry: entry.to_bytes(),
                schema: 1,
                groups: std::array::from_fn(disclosed),
                inclusion: vec![],
            })
            .finish()
            .unwrap();
        (file, Policy::unwitnessed(&signer.verifier()))
    }

    #[test]
    fn withholding_keeps_the_proof_and_hides_the_bytes() {
        let (file, policy) = evidence();
        let single = Single::read(&file).unwrap();
        assert_eq!(single.withhold(&[true; GROUPS]).unwrap(), file, "taken apart and put together again");
        let hidden = single.withhold(&[false; GROUPS]).unwrap();
        let policy = Policy::parse(policy.as_bytes()).unwrap();
        let trust = Trust::parse(Trust::ed25519_text().as_bytes()).unwrap();
        let report = verify_evidence(&hidden, &policy, &trust);
        assert_eq!(report.count(countersign_proof::Verdict::Withheld), 7);
        assert_eq!(report.exit_code(), 0, "{}", report.to_text(false));
    }

    #[test]
    fn cut_evidence_is_refused() {
        let (file, _) = evidence();
        for end in 0..file.len() {
            let _ = Single::read(&file[..end]);
        }
        assert!(Single::read(&file[..40]).is_err());
    }

    #[test]
    fn groups_are_named_or_refused() {
        let names = |list: &[&str]| parse_groups(&list.iter().map(|s| s.to_string()).collect::<Vec<_>>());
        assert_eq!(names(&[]).unwrap(), [true; GROUPS]);
        assert_eq!(names(&["core", "target"]).unwrap(), [true, false, false, true, false, false, false]);
        assert_eq!(names(&["none"]).unwrap(), [false; GROUPS]);
        assert!(names(&["headers"]).unwrap_err().to_string().contains("the groups are core, who"));
    }
}
