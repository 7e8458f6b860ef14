//! Where policies are, what they apply to, and reading them. With `adopt`, the only place of this crate that
//! does I/O.

use crate::adopt::{Adoption, SIGNERS_MAX, admit};
use crate::entities::ENTITIES_FILE_MAX;
use crate::error::Problem;
use crate::rules::Sources;
use crate::statements::FILE_MAX;
use countersign_event::Mode;
use countersign_proof::note::VerifierKey;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most policy files.
pub const FILES_MAX: usize = 4_096;

/// How strictly policies act, by route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modes {
    /// For routes that `routes` does not name.
    pub default: Mode,
    /// By route.
    pub routes: BTreeMap<String, Mode>,
}

impl Default for Modes {
    /// Observe everywhere.
    fn default() -> Modes {
        Modes { default: Mode::Observe, routes: BTreeMap::new() }
    }
}

impl Modes {
    /// The mode of a route. A mode of a newer version enforces: a word that we do not know must not mean less.
    pub fn of(&self, route: &str) -> Mode {
        let mode = match self.routes.is_empty() {
            true => self.default,
            false => self.routes.get(route).copied().unwrap_or(self.default),
        };
        known(mode)
    }

    /// Whether any route enforces.
    pub fn any_enforces(&self) -> bool {
        self.routes.values().chain([&self.default]).any(|mode| known(*mode) == Mode::Enforce)
    }
}

fn known(mode: Mode) -> Mode {
    if matches!(mode, Mode::Other(_)) { Mode::Enforce } else { mode }
}

/// What to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyConfig {
    /// Files, and directories of `*.cedar` (not their subdirectories).
    pub policies: Vec<PathBuf>,
    /// Groups and services, JSON: see [`crate::Memberships`].
    pub entities: Option<PathBuf>,
    /// How strictly, by route.
    pub modes: Modes,
    /// Bound of the verdict cache, bytes.
    pub cache_bytes: usize,
    /// Keys whose signatures put proposals of learn mode in force: C2SP verifier keys of type 01, at most
    /// [`SIGNERS_MAX`]. Empty = no proposal is.
    pub signers: Vec<VerifierKey>,
}

impl Default for PolicyConfig {
    fn default() -> PolicyConfig {
        PolicyConfig {
            policies: Vec::new(),
            entities: None,
            modes: Modes::default(),
            cache_bytes: crate::cache::CACHE_BYTES,
            signers: Vec::new(),
        }
    }
}

impl PolicyConfig {
    /// Reads all texts, in the order of their names.
    ///
    /// # Errors
    /// Every file that cannot be read, is too large or is no UTF-8, and every proposal that nobody known signed.
    pub fn read(&self) -> Result<Sources, Vec<Problem>> {
        self.read_with(&mut Vec::new())
    }

    /// The same, with the proposals found: those in force, and those refused.
    pub(crate) fn read_with(&self, adoptions: &mut Vec<Adoption>) -> Result<Sources, Vec<Problem>> {
        let (mut sources, mut problems) = (Sources::default(), Vec::new());
        if self.signers.len() > SIGNERS_MAX {
            let why = format!("more than {SIGNERS_MAX} signers");
            problems.push(Problem::of_file("policy.signers", why, "leave out who no longer signs"));
        }
        for path in self.files(&mut problems) {
            match text(&path, FILE_MAX) {
                Ok(text) => {
                    match admit(&path, &text, &self.signers) {
                        Ok(adoption) => adoptions.extend(adoption),
                        Err(problem) => {
                            adoptions.push(Adoption::refusal(&problem));
                            problems.push(problem);
                        }
                    }
                    sources.policies.push((name(&path), text));
                }
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(path) = &self.entities {
            match text(path, ENTITIES_FILE_MAX) {
                Ok(text) => sources.entities = Some((name(path), text)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(sources) } else { Err(problems) }
    }

    fn files(&self, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for path in &self.policies {
            if !path.is_dir() {
                files.push(path.clone());
                continue;
            }
            let listed = std::fs::read_dir(path)
                .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>());
            match listed {
                Err(error) => problems.push(unread(path, &error)),
                Ok(mut found) => {
                    found.retain(|path| path.extension().is_some_and(|e| e == "cedar"));
                    files.append(&mut found);
                }
            }
        }
        files.sort();
        files.dedup();
        if files.len() > FILES_MAX {
            let why = format!("more than {FILES_MAX} policy files");
            problems.push(Problem::of_file("policies", why, "put several policies into one file"));
            files.clear();
        }
        files
    }
}

fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn unread(path: &Path, error: &std::io::Error) -> Problem {
    let next = "check that the path is right and readable by this user";
    Problem::of_file(&name(path), format!("cannot be read: {error}"), next)
}

/// A file's text, at most `max` bytes of it.
pub(crate) fn text(path: &Path, max: usize) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large, without reading all of it.
    File::open(path)
        .and_then(|file| file.take(max as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| unread(path, &error))?;
    if bytes.len() > max {
        return Err(Problem::of_file(&name(path), format!("larger than {max} bytes"), "split the file"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default()).into_owned();
        Problem::at(&name(path), &text, valid, "no UTF-8 text", "save the file as UTF-8")
    })
}
