//! Patterns of paths: `*`, `?` and `[a-z]` within a name, `**` for any number of directories.
//!
//! A pattern is split at `/`; names are compared byte by byte. `*` matches names that begin with a dot too. `**` does
//! not follow symbolic links to directories, everything else does (the kubelet's logs are links). Bounds: [`ENTRIES_MAX`]
//! directory entries are looked at, [`DEPTH_MAX`] directories deep; more is left out, and the caller is told.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Most directory entries that one expansion looks at.
pub const ENTRIES_MAX: usize = 1_000_000;
/// Most directories that `**` descends.
pub const DEPTH_MAX: usize = 32;
/// Longest pattern, bytes.
pub const PATTERN_MAX: usize = 4_096;

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    absolute: bool,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Name(Vec<u8>),
    Wild(Vec<Token>),
    Directories,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Any,
    One,
    /// Whether it is negated, and inclusive ranges.
    Set(bool, Vec<(u8, u8)>),
}

/// Why a pattern is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(pub &'static str);

impl Pattern {
    /// Of its text.
    ///
    /// # Errors
    /// It is empty, too long, or a bracket is not closed.
    pub fn new(text: &str) -> Result<Pattern, BadPattern> {
        if text.is_empty() || text.len() > PATTERN_MAX {
            return Err(BadPattern("a pattern has 1 to 4,096 bytes"));
        }
        let mut parts = Vec::new();
        for name in text.split('/').filter(|name| !name.is_empty() && *name != ".") {
            parts.push(part(name.as_bytes())?);
        }
        if !matches!(parts.last(), Some(Part::Name(_) | Part::Wild(_))) {
            return Err(BadPattern("a pattern ends with the name of a file"));
        }
        Ok(Pattern { absolute: text.starts_with('/'), parts })
    }

    /// Whether it matches `path` as it is written.
    pub fn matches(&self, path: &Path) -> bool {
        let names: Vec<&[u8]> = path
            .components()
            .filter_map(|part| match part {
                std::path::Component::Normal(name) => Some(name.as_bytes()),
                _ => None,
            })
            .collect();
        self.absolute == path.is_absolute() && matches_parts(&self.parts, &names)
    }

    /// The existing paths that it matches, ascending; `false` = some were left out by a bound.
    pub fn expand(&self) -> (Vec<PathBuf>, bool) {
        let root = PathBuf::from(if self.absolute { "/" } else { "." });
        let mut walk = Walk { left: ENTRIES_MAX, found: Vec::new(), whole: true };
        walk.go(root, &self.parts, 0);
        walk.found.sort();
        walk.found.dedup();
        (walk.found, walk.whole)
    }
}

fn part(name: &[u8]) -> Result<Part, BadPattern> {
    if name == b"**" {
        return Ok(Part::Directories);
    }
    if !name.iter().any(|b| matches!(b, b'*' | b'?' | b'[')) {
        return Ok(Part::Name(name.to_vec()));
    }
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(byte) = name.get(at) {
        at += 1;
        match byte {
            b'*' if tokens.last() == Some(&Token::Any) => {}
            b'*' => tokens.push(Token::Any),
            b'?' => tokens.push(Token::One),
            b'[' => {
                let (set, length) = set(name.get(at..).unwrap_or_default())?;
                tokens.push(set);
                at += length;
            }
            byte => tokens.push(Token::Byte(*byte)),
        }
    }
    Ok(Part::Wild(tokens))
}

/// What stands behind an opening bracket, and its length with the closing one. A bracket that comes first is meant.
fn set(rest: &[u8]) -> Result<(Token, usize), BadPattern> {
    let negated = matches!(rest.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let mut ranges = Vec::new();
    let mut at = start;
    loop {
        let Some(low) = rest.get(at) else { return Err(BadPattern("a bracket is not closed")) };
        if *low == b']' && at > start {
            return Ok((Token::Set(negated, ranges), at + 1));
        }
        match (rest.get(at + 1), rest.get(at + 2)) {
            (Some(b'-'), Some(high)) if *high != b']' => {
                ranges.push((*low, *high));
                at += 3;
            }
            _ => {
                ranges.push((*low, *low));
                at += 1;
            }
        }
    }
}

/// Whether `name` is one of `tokens`. Goes back to the last `*` alone: at most the product of both lengths.
fn matches_name(tokens: &[Token], name: &[u8]) -> bool {
    let (mut t, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() || t < tokens.len() {
        let byte = name.get(n);
        let fits = match (tokens.get(t), byte) {
            (Some(Token::Any), _) => {
                back = Some((t, n));
                t += 1;
                continue;
            }
            (Some(Token::One), Some(_)) => true,
            (Some(Token::Byte(want)), Some(byte)) => want == byte,
            (Some(Token::Set(negated, ranges)), Some(byte)) => {
                ranges.iter().any(|(low, high)| (low..=high).contains(&byte)) != *negated
            }
            _ => false,
        };
        if fits {
            (t, n) = (t + 1, n + 1);
            continue;
        }
        match back {
            Some((star, from)) if from < name.len() => {
                back = Some((star, from + 1));
                (t, n) = (star + 1, from + 1);
            }
            _ => return false,
        }
    }
    true
}

fn fits(part: &Part, name: &[u8]) -> bool {
    match part {
        Part::Name(want) => want == name,
        Part::Wild(tokens) => matches_name(tokens, name),
        Part::Directories => true,
    }
}

/// As a name's `*`, one level up: back to the last `**` alone.
fn matches_parts(parts: &[Part], names: &[&[u8]]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < names.len() || p < parts.len() {
        match (parts.get(p), names.get(n)) {
            (Some(Part::Directories), _) => {
                back = Some((p, n));
                p += 1;
            }
            (Some(part), Some(name)) if fits(part, name) => (p, n) = (p + 1, n + 1),
            _ => match back {
                Some((star, from)) if from < names.len() => {
                    back = Some((star, from + 1));
                    (p, n) = (star + 1, from + 1);
                }
                _ => return false,
            },
        }
    }
    true
}

struct Walk {
    left: usize,
    found: Vec<PathBuf>,
    whole: bool,
}

impl Walk {
    fn go(&mut self, at: PathBuf, parts: &[Part], depth: usize) {
        let Some((part, rest)) = parts.split_first() else {
            self.found.push(at);
            return;
        };
        match part {
            Part::Name(name) => {
                let next = at.join(OsStr::from_bytes(name));
                if next.exists() {
                    self.go(next, rest, depth);
                }
            }
            Part::Wild(tokens) => {
                for (name, _) in self.entries(&at) {
                    if matches_name(tokens, name.as_bytes()) {
                        self.go(at.join(name), rest, depth);
                    }
                }
            }
            Part::Directories => {
                self.go(at.clone(), rest, depth);
                for (name, is_dir) in self.entries(&at) {
                    match is_dir {
                        true if depth < DEPTH_MAX => self.go(at.join(name), parts, depth + 1),
                        true => self.whole = false,
                        false => {}
                    }
                }
            }
        }
    }

    /// Names in a directory, and whether each is one itself. What cannot be read has none.
    fn entries(&mut self, dir: &Path) -> Vec<(std::ffi::OsString, bool)> {
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let mut out = Vec::new();
        for entry in entries.flatten() {
            let Some(left) = self.left.checked_sub(1) else {
                self.whole = false;
                break;
            };
            self.left = left;
            out.push((entry.file_name(), entry.file_type().is_ok_and(|kind| kind.is_dir())));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(Path::new(path))
    }

    #[test]
    fn stars_marks_and_brackets_match_within_a_name() {
        assert!(fits("/var/log/*.log", "/var/log/a.log") && fits("/var/log/*.log", "/var/log/.log"));
        assert!(!fits("/var/log/*.log", "/var/log/x/a.log") && !fits("/var/log/*.log", "/var/log/a.log.1"));
        assert!(fits("/l/a?[0-9][!x]", "/l/ab7y") && !fits("/l/a?[0-9][!x]", "/l/ab7x"));
        assert!(fits("/l/[]]", "/l/]") && fits("/l/a*b*c", "/l/aXbXbXc") && !fits("/l/a*b", "/l/abc"));
    }

    #[test]
    fn two_stars_match_any_number_of_directories() {
        for path in ["/var/a.log", "/var/x/a.log", "/var/x/y/a.log"] {
            assert!(fits("/var/**/a.log", path), "{path}");
        }
        assert!(!fits("/var/**/a.log", "/opt/a.log") && fits("/**/x/**/b", "/q/x/y/x/z/b"));
    }

    #[test]
    fn a_pattern_without_a_file_or_with_an_open_bracket_is_refused() {
        for text in ["", "/", "/var/**", "/a/[b"] {
            assert!(Pattern::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_exists_is_found_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.log", "b.txt", "x/a.log", "x/y/c.log"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        let found = |pattern: &str| {
            let (found, whole) =
                Pattern::new(&format!("{}/{pattern}", dir.path().display())).unwrap().expand();
            assert!(whole);
            let short = |path: &PathBuf| path.strip_prefix(dir.path()).unwrap().display().to_string();
            found.iter().map(short).collect::<Vec<_>>()
        };
        assert_eq!(found("*.log"), ["a.log"]);
        assert_eq!(found("**/*.log"), ["a.log", "x/a.log", "x/y/c.log"]);
        assert_eq!(found("x/*/c.log"), ["x/y/c.log"]);
        assert!(found("z/*").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_a_pattern_or_refused_and_plain_names_match_themselves(text in "[a-c*?\\[\\]!/-]{0,20}", name in "[a-z]{1,8}") {
            if let Ok(pattern) = Pattern::new(&text) {
                let _ = pattern.matches(Path::new("/abc/abcabc"));
            }
            let path = format!("/{name}");
            let itself = fits(&path, &path);
            prop_assert!(itself);
        }
    }
}
