//! Proposals of learn mode that a person signed: signing, checking, taking over, and what is recorded of it.
//!
//! Not a key store: keys come in as data, and who may sign is the configuration's (`PolicyConfig::signers`).
//! A proposal is three files of one name: `.cedar` (the permits), `.json` (the numbers behind them) and
//! `.note` (C2SP signed-note over the digest of both). Invariants: a policy file that says it is a proposal, or
//! has a note beside it, is in force only with a signature by a known signer over exactly these bytes;
//! nothing is written before all of it was checked; a wrong signature by a known key refuses the whole note.

use crate::config::{PolicyConfig, text};
use crate::error::{PolicyError, Problem};
use crate::learn::{PROPOSED, is_note_of, note};
use crate::set::check;
use countersign_event::{Class, Event, Kind, Outcome, Principal, Rec, Unmapped, Verified};
use countersign_proof::note::{KeyType, NOTE_MAX, Note, NoteSigner, VerifierKey};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Largest file of numbers behind a proposal, bytes.
pub const REPORT_MAX: usize = 64 << 20;
/// Most keys that may sign.
pub const SIGNERS_MAX: usize = 64;

/// The three texts of a proposal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// The permits.
    pub cedar: String,
    /// The numbers behind them.
    pub report: String,
    /// The text to sign, or the signed note.
    pub note: String,
}

/// A proposal in force, or refused: what the record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// The policy file, as it is configured.
    pub file: String,
    /// Hex SHA-256 of the proposal; empty when it was refused before it was known.
    pub digest: String,
    /// Names of the keys whose signatures hold.
    pub signers: Vec<String>,
    /// Permits that it says it has.
    pub permits: u64,
    /// Why it was refused; empty = it is in force.
    pub refused: String,
}

impl Bundle {
    /// Reads `base.cedar`, `base.json` and `base.note`.
    ///
    /// # Errors
    /// The file that cannot be read or is too large.
    pub fn read(base: &Path) -> Result<Bundle, Problem> {
        Ok(Bundle {
            cedar: text(&base.with_extension("cedar"), crate::FILE_MAX)?,
            report: text(&base.with_extension("json"), REPORT_MAX)?,
            note: text(&base.with_extension("note"), NOTE_MAX)?,
        })
    }

    /// Adds a signature. A note that was signed before keeps its signatures; they need not be by a key that
    /// is known here.
    ///
    /// # Errors
    /// The note is about other texts, or has too many signatures; a key that signs something else.
    pub fn sign(&mut self, file: &str, signer: &NoteSigner) -> Result<(), Problem> {
        let wrong = |why: String, next: &str| Problem::of_file(file, why, next);
        if signer.verifier().kind() != KeyType::Ed25519 {
            return Err(wrong("a witness's key cannot sign a proposal".into(), "make a key for this person"));
        }
        let wanted = note(&self.cedar, &self.report);
        let signature = signer.sign(&wanted, 0);
        let signed = if self.note == wanted {
            Note::new(&wanted, vec![signature])
        } else {
            Note::parse(self.note.as_bytes()).and_then(|mut note| {
                if note.signatures().iter().all(|s| *s != signature) {
                    note.add(signature)?;
                }
                Ok(note)
            })
        };
        let signed = signed.map_err(|error| wrong(error.to_string(), "propose again"))?;
        if signed.text() != wanted {
            return Err(wrong("the note is about other texts than these".into(), CHANGED));
        }
        self.note = signed.to_string();
        Ok(())
    }

    /// The names of the known keys whose signatures hold, at least one.
    ///
    /// # Errors
    /// There is none; a signature is wrong; the texts are not those that were signed.
    pub fn verify(&self, file: &str, signers: &[VerifierKey]) -> Result<Vec<String>, Problem> {
        let wrong = |why: String, next: &str| Problem::of_file(file, why, next);
        let note = Note::parse(self.note.as_bytes())
            .map_err(|error| wrong(format!("its note is not signed: {error}"), SIGN))?;
        if !is_note_of(note.text(), &self.cedar, &self.report) {
            return Err(wrong("it is not what was signed".into(), CHANGED));
        }
        let keys: Vec<VerifierKey> =
            signers.iter().filter(|key| key.kind() == KeyType::Ed25519).cloned().collect();
        let verified = note.verify(&keys).map_err(|error| wrong(format!("its signature: {error}"), KNOW))?;
        Ok(verified.iter().filter_map(|v| keys.get(v.key)).map(|key| key.name().to_owned()).collect())
    }

    /// Writes the three files; the policy file last, and each whole or not at all.
    ///
    /// # Errors
    /// What could not be written.
    pub fn write(&self, base: &Path) -> Result<(), Problem> {
        for (extension, text) in [("json", &self.report), ("note", &self.note), ("cedar", &self.cedar)] {
            let (path, draft) =
                (base.with_extension(extension), base.with_extension(format!("{extension}.new")));
            let written = fs::write(&draft, text)
                .and_then(|()| fs::File::open(&draft)?.sync_all())
                .and_then(|()| fs::rename(&draft, &path));
            written.map_err(|error| {
                let _ = fs::remove_file(&draft);
                let why = format!("cannot be written: {error}");
                Problem::of_file(&path.to_string_lossy(), why, "check place and rights")
            })?;
        }
        Ok(())
    }

    fn adoption(&self, file: &str, signers: Vec<String>) -> Adoption {
        let report: Value = serde_json::from_str(&self.report).unwrap_or_default();
        let permits = report.get("permits").and_then(Value::as_array).map_or(0, |p| p.len() as u64);
        let digest = crate::learn::digest(&self.cedar, &self.report);
        Adoption { file: file.to_owned(), digest, signers, permits, refused: String::new() }
    }
}

const SIGN: &str = "read it, then sign it: countersign policy sign";
const CHANGED: &str = "sign the changed texts again, or put the signed ones back";
const KNOW: &str = "the signer's key must stand in `policy.signers`";

/// Judges a policy file that was read: `None` = written by hand, not a proposal.
///
/// # Errors
/// A proposal that nobody known has signed.
pub(crate) fn admit(path: &Path, cedar: &str, signers: &[VerifierKey]) -> Result<Option<Adoption>, Problem> {
    let file = path.to_string_lossy();
    let has_note = path.with_extension("note").exists();
    if !has_note && !cedar.starts_with(PROPOSED) {
        return Ok(None);
    }
    if !has_note {
        let why = "this is a proposal from the ledger, and nobody has signed it";
        return Err(Problem::of_file(&file, why, SIGN));
    }
    let bundle = Bundle {
        cedar: cedar.to_owned(),
        report: text(&path.with_extension("json"), REPORT_MAX)?,
        note: text(&path.with_extension("note"), NOTE_MAX)?,
    };
    let names = bundle.verify(&file, signers)?;
    Ok(Some(bundle.adoption(&file, names)))
}

/// Takes a signed proposal over: checks signature and policies, together with those in `config`, and writes
/// the three files as `base.cedar`, `base.json` and `base.note`. They count when `config.policies` names the
/// file or its directory; a running installation reads them at its next reload, and records it.
///
/// # Errors
/// The signature, or a problem of the policies; nothing was written then.
pub fn adopt(bundle: &Bundle, base: &Path, config: &PolicyConfig) -> Result<Adoption, PolicyError> {
    let refuse = |problems| PolicyError::new(problems, "the proposal was not adopted");
    let path = base.with_extension("cedar");
    let file = path.to_string_lossy().into_owned();
    let names = bundle.verify(&file, &config.signers).map_err(|problem| refuse(vec![problem]))?;
    let mut sources = config.read().map_err(refuse)?;
    // An earlier version of the same file is replaced.
    sources.policies.retain(|(name, _)| Path::new(name) != path);
    sources.policies.push((file.clone(), bundle.cedar.clone()));
    check(&sources).map_err(refuse)?;
    bundle.write(base).map_err(|problem| refuse(vec![problem]))?;
    Ok(bundle.adoption(&file, names))
}

impl Adoption {
    pub(crate) fn refusal(problem: &Problem) -> Adoption {
        Adoption {
            file: problem.file.clone(),
            digest: String::new(),
            signers: Vec::new(),
            permits: 0,
            refused: problem.why.clone(),
        }
    }

    /// The record of it: `rec` platform, `kind` policy, `op` `policy.adopt`. `now_ns` is UTC; agent, stream
    /// and number are the source's.
    pub fn event(&self, now_ns: u64) -> Event {
        let mut event = Event::default();
        event.core.t_obs = now_ns;
        (event.core.rec, event.core.kind) = (Some(Rec::Platform), Some(Kind::Policy));
        event.core.op = "policy.adopt".to_owned();
        event.core.class = Some(Class::Admin);
        let refused = !self.refused.is_empty();
        event.core.outcome = Some(if refused { Outcome::Denied } else { Outcome::Success });
        // We checked the signature; the key is not bound to any connection.
        event.who.who =
            self.signers.first().map(|name| Principal::new(format!("signer:{name}"), Verified::Checked));
        event.target.svc = "countersign".to_owned();
        let name = PathBuf::from(&self.file);
        event.target.res =
            format!("policy/{}", name.file_stem().map(|s| s.to_string_lossy()).unwrap_or_default());
        let resource = &mut event.target.res;
        resource.truncate(resource.floor_char_boundary(RESOURCE_MAX));
        event.target.id.clone_from(&self.digest);
        event.content.err.clone_from(&self.refused);
        if !refused {
            let names = serde_json::json!(self.signers).to_string();
            event.content.unmapped.insert("/signers".to_owned(), Unmapped::Token(names));
            event.content.unmapped.insert("/permits".to_owned(), Unmapped::Token(self.permits.to_string()));
        }
        event
    }
}

/// Longest `target.res` of an adoption, bytes.
const RESOURCE_MAX: usize = 512;
