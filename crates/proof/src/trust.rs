//! `trust.toml`: what a tlog-policy file cannot say. Own reader of `key = value` lines, nothing more of TOML.
//!
//! Small on purpose: every line of a verifier is a line to audit. An unknown key is refused with the
//! nearest right one, and `require` has no default, because a default would be a guess about trust.

use crate::Error;
use crate::policy::FILE_MAX;

const WHAT: &str = "trust file";
const KEYS: [&str; 2] = ["require", "max_silence_s"];

/// Which signatures of the log a checkpoint needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Require {
    /// Ed25519.
    Ed25519,
    /// Ed25519 and ML-DSA-44.
    Both,
}

/// A parsed trust file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Which signatures are needed.
    pub require: Require,
    /// Longest silence of a source inside a claimed range, in seconds; `None` = not checked.
    pub max_silence_s: Option<u64>,
}

impl Trust {
    /// From the bytes of a trust file.
    pub fn parse(bytes: &[u8]) -> Result<Trust, Error> {
        if bytes.len() > FILE_MAX {
            return Err(Error::Limit { what: "size of a trust file in bytes", max: FILE_MAX as u64 });
        }
        let text = str::from_utf8(bytes).map_err(|_| Error::malformed(WHAT, "not UTF-8"))?;
        let (mut require, mut silence) = (None, None);
        for (number, line) in text.lines().enumerate() {
            let bad = |why: String| Error::malformed(WHAT, format!("line {}: {why}", number + 1));
            let Some((key, value)) = split_line(line).map_err(&bad)? else { continue };
            let taken = match key {
                "require" => require.replace(parse_require(value).map_err(&bad)?).is_some(),
                "max_silence_s" => silence.replace(parse_seconds(value).map_err(&bad)?).is_some(),
                other => {
                    let near = nearest(other, &KEYS);
                    return Err(bad(format!("unknown key {}; did you mean {near}?", other.escape_debug())));
                }
            };
            if taken {
                return Err(bad(format!("{key} is given twice")));
            }
        }
        let require = require.ok_or_else(|| {
            Error::malformed(WHAT, "require is missing; write require = \"ed25519\" or \"both\"")
        })?;
        Ok(Trust { require, max_silence_s: silence })
    }

    /// The usual trust file of this version: one algorithm, no bound on silence.
    pub fn ed25519_text() -> &'static str {
        "require = \"ed25519\"\n"
    }
}

/// Key and value of a line without its comment; `None` for a line without either.
fn split_line(line: &str) -> Result<Option<(&str, &str)>, String> {
    // Values hold no '#', so the first one begins the comment.
    let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
    if line.is_empty() {
        return Ok(None);
    }
    let (key, value) = line.split_once('=').ok_or("not key = value")?;
    Ok(Some((key.trim(), value.trim())))
}

fn parse_require(value: &str) -> Result<Require, String> {
    match value {
        "\"ed25519\"" => Ok(Require::Ed25519),
        "\"both\"" => Ok(Require::Both),
        other => Err(format!("require is \"ed25519\" or \"both\", not {}", other.escape_debug())),
    }
}

fn parse_seconds(value: &str) -> Result<u64, String> {
    crate::checkpoint::parse_decimal(value)
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| format!("max_silence_s is a number of seconds above 0, not {}", value.escape_debug()))
}

/// The name of `names` with the smallest edit distance to `word`; `names` must not be empty.
pub fn nearest<'a>(word: &str, names: &[&'a str]) -> &'a str {
    names.iter().copied().min_by_key(|name| distance(word, name)).unwrap_or_default()
}

/// Levenshtein distance; a word is looked at up to 64 characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().take(64).enumerate() {
        let mut corner = i;
        let mut before = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&right) {
            let best = (corner + usize::from(a != *b)).min(before + 1).min(*cell + 1);
            corner = *cell;
            *cell = best;
            before = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
