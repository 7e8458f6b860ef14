//! CloudTrail's digests over the log files of an input: which files are proven, which hours are not.
//!
//! The files are a copy of the bucket, under any directory. A digest file's signature is metadata of the object and
//! not in the file: it is taken from the next digest, which names it, or from a file beside it with `.sig` behind its
//! name. So the newest digest proves nothing before its successor has come, unless it has such a file.
//!
//! Whoever can write files here can leave digests out or put wrong ones: that is said with the hour concerned, and the
//! log files stay claimed. He cannot make a changed file proven: that needs the private key of a fingerprint that
//! the operator listed. Verification itself is [`crate::formats::cloudtrail::digest`].

use super::glob::Pattern;
use crate::formats::cloudtrail::digest::{Claims, File, Key, Verified, claims, verify};
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest digest file, unpacked, bytes.
pub const DIGEST_MAX: usize = 32 << 20;
/// Most log files that verified digests name, kept.
pub const LOGS_MAX: usize = 1_000_000;
/// Longest signature in a file of its own, bytes.
const SIGNATURE_MAX: u64 = 4_096;

/// How an input of CloudTrail's files is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailSettings {
    /// Keys that sign digests.
    pub keys: Vec<Key>,
    /// Patterns of digest files.
    pub digests: Vec<Pattern>,
    /// How long a log file waits for the digest that names it.
    pub wait: Duration,
}

/// Something that does not hold: the file it is about, and what.
pub(super) type Doubt = (PathBuf, String);

/// A digest that could not be verified yet.
#[derive(Debug)]
struct Pending {
    path: PathBuf,
    content: Vec<u8>,
    claims: Claims,
}

/// A digest that verified.
#[derive(Debug)]
struct Known {
    path: PathBuf,
    sha256: [u8; 32],
    signature: String,
    verified: Verified,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Trail {
    settings: TrailSettings,
    /// Digest files that were read.
    read: HashSet<PathBuf>,
    pending: BTreeMap<String, Pending>,
    known: BTreeMap<String, Known>,
    /// Signatures that digests and files beside them give, by the digest's object.
    signatures: HashMap<String, Vec<String>>,
    logs: HashMap<String, [u8; 32]>,
    told: HashSet<String>,
}

impl Trail {
    pub(super) fn new(settings: TrailSettings) -> Trail {
        Trail {
            settings,
            read: HashSet::new(),
            pending: BTreeMap::new(),
            known: BTreeMap::new(),
            signatures: HashMap::new(),
            logs: HashMap::new(),
            told: HashSet::new(),
        }
    }

    /// Reads new digest files and verifies what can be; gives what does not hold, each thing once.
    pub(super) fn refresh(&mut self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        let paths: Vec<PathBuf> =
            self.settings.digests.iter().flat_map(|pattern| pattern.expand().0).collect();
        for path in paths.into_iter().filter(|path| !path.to_string_lossy().ends_with(".sig")) {
            if !self.read.contains(&path) {
                doubts.extend(self.load(path));
            }
        }
        let waiting: Vec<String> = self.pending.keys().cloned().collect();
        for object in waiting {
            doubts.extend(self.verify(&object));
        }
        doubts.extend(self.broken_links());
        doubts.extend(self.missing_logs());
        doubts.retain(|(path, why)| self.told.insert(format!("{} {why}", path.display())));
        doubts
    }

    fn load(&mut self, path: PathBuf) -> Option<Doubt> {
        let content = match unpacked(&path) {
            Ok(content) => content,
            // It may still be on its way; the next look tries again.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            Err(error) => return Some((path, format!("a digest file cannot be read: {error}"))),
        };
        let claims = match claims(&content) {
            Ok(claims) => claims,
            Err(why) => {
                self.read.insert(path.clone());
                return Some((path, why.to_string()));
            }
        };
        if let Some((file, signature)) = &claims.previous {
            self.signatures.entry(file.object.clone()).or_default().push(signature.clone());
        }
        self.read.insert(path.clone());
        self.pending.insert(claims.object.clone(), Pending { path, content, claims });
        None
    }

    /// Verifies one digest with the signatures that are known for it; keeps it while there is none.
    fn verify(&mut self, object: &str) -> Option<Doubt> {
        let Pending { path, content, claims } = self.pending.get(object)?;
        let mut candidates = self.signatures.get(object).cloned().unwrap_or_default();
        candidates.extend(beside(path));
        if candidates.is_empty() {
            return None;
        }
        let place = if path.ends_with(object) { object } else { "" };
        let attempts = candidates.iter().map(|signature| {
            let found = verify(content, (&claims.bucket, place), signature, &self.settings.keys);
            (found, signature.clone())
        });
        let mut why = None;
        let mut found = None;
        for (result, signature) in attempts {
            match result {
                Ok(verified) => {
                    found = Some((verified, signature));
                    break;
                }
                Err(broken) => why = Some(broken),
            }
        }
        let sha256: [u8; 32] = digest(&SHA256, content).as_ref().try_into().unwrap_or_default();
        let Pending { path, claims, .. } = self.pending.remove(object)?;
        let Some((verified, signature)) = found else {
            let why = why.map(|why| why.to_string()).unwrap_or_default();
            return Some((path, format!("the hour that ends {} is not proven: {why}", claims.end)));
        };
        for log in verified.logs.iter().take(LOGS_MAX.saturating_sub(self.logs.len())) {
            self.logs.insert(log.object.clone(), log.sha256);
        }
        self.known.insert(object.to_owned(), Known { path, sha256, signature, verified });
        None
    }

    /// Digests whose predecessor is another one than they were chained to, or is not there although an older one is.
    fn broken_links(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        for known in self.known.values() {
            let Some((File { object: before, sha256, .. }, signature)) = &known.verified.previous else {
                continue;
            };
            let end = &known.verified.span.1;
            match self.known.get(before) {
                Some(link) if link.sha256 == *sha256 && link.signature.eq_ignore_ascii_case(signature) => {}
                Some(_) => doubts.push((
                    known.path.clone(),
                    format!("the digest of the hour that ends {end} is not chained to the one before it"),
                )),
                None if self.pending.contains_key(before) => {}
                None => {
                    let older = |other: &&Known| {
                        other.verified.span.1 < known.verified.span.0
                            && chain(&other.path) == chain(&known.path)
                    };
                    if self.known.values().any(|other| older(&other)) {
                        let start = &known.verified.span.0;
                        let what =
                            format!("the digest of the hour that ends {start} is missing or not proven");
                        doubts.push((known.path.clone(), what));
                    }
                }
            }
        }
        doubts
    }

    /// Log files that a digest names and that are not there, once they have been waited for.
    fn missing_logs(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        for (object, known) in &self.known {
            let late = age(&known.path).is_some_and(|age| age >= self.settings.wait);
            let Some(root) = known.path.to_str().and_then(|path| path.strip_suffix(object)).filter(|_| late)
            else {
                continue;
            };
            let end = &known.verified.span.1;
            for log in &known.verified.logs {
                let path = Path::new(root).join(&log.object);
                if !path.exists() {
                    let what = format!("a log file of the hour that ends {end} is missing");
                    doubts.push((path, what));
                }
            }
        }
        doubts
    }

    /// Whether a verified digest names the file at `path`.
    fn named(&self, path: &Path) -> Option<&[u8; 32]> {
        let text = path.to_str()?;
        let starts = std::iter::once(0).chain(text.match_indices('/').map(|(at, _)| at + 1));
        starts.filter_map(|at| self.logs.get(text.get(at..)?)).next()
    }

    /// Whether the log file at `path` should be read later: the digest that names it may still come.
    pub(super) fn waits(&self, path: &Path) -> bool {
        self.named(path).is_none() && age(path).is_some_and(|age| age < self.settings.wait)
    }

    /// Whether `content`, unpacked, is what a verified digest says of `path`; else why not.
    pub(super) fn prove(&self, path: &Path, content: &[u8]) -> Result<(), &'static str> {
        match self.named(path) {
            Some(sha256) if digest(&SHA256, content).as_ref() == sha256 => Ok(()),
            Some(_) => Err("the log file is not what its digest says: it was changed"),
            None => Err("no verified digest names this log file"),
        }
    }
}

/// What a digest's chain has in common: everything before the date, which begins behind the region.
fn chain(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let at = text.find("CloudTrail-Digest/")? + "CloudTrail-Digest/".len();
    let region = text.get(at..)?.split('/').next()?;
    text.get(..at + region.len())
}

fn age(path: &Path) -> Option<Duration> {
    let changed = std::fs::metadata(path).ok()?.modified().ok()?;
    Some(changed.elapsed().unwrap_or_default())
}

/// The signature in a file beside `path`.
fn beside(path: &Path) -> Option<String> {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    let file = std::fs::File::open(PathBuf::from(name)).ok()?;
    let mut text = String::new();
    file.take(SIGNATURE_MAX).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

/// A file's content, unpacked if it is packed, within the bound.
fn unpacked(path: &Path) -> io::Result<Vec<u8>> {
    let (mut body, _) = super::body::Body::open(path)?;
    let mut out = Vec::new();
    loop {
        let at = out.len();
        out.resize(at + (64 << 10), 0);
        let read = body.read(at as u64, out.get_mut(at..).unwrap_or_default())?;
        out.truncate(at + read);
        if out.len() > DIGEST_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 32 MiB"));
        }
        if read == 0 {
            return Ok(out);
        }
    }
}
