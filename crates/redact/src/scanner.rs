//! One pass over a text finds beginnings and names, each candidate is then looked at; what an operator added is found
//! by a search automaton in a pass of its own.

use crate::assigned;
use crate::forms::{FORMS, TOKEN_MAX};
use crate::needles::Needles;
use crate::personal::{self, Wanted};
use crate::random::looks_random;
use crate::{HITS_MAX, Pseudonyms, REDACTED, TEXT_MAX};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex_automata::meta::Regex;
use regex_automata::{Input, Span};
use std::borrow::Cow;

/// A private key in armour ends within so many bytes, or everything behind its beginning counts.
const ARMOUR_MAX: usize = 16 << 10;
/// Longest beginning of an armour before the words "PRIVATE KEY": `-----BEGIN ENCRYPTED `, and room.
const ARMOUR_LABEL_MAX: usize = 32;
/// Window behind a keyword in which an operator's own rule must match, bytes.
const WINDOW: usize = 1_024;
/// Most rules of an operator, and longest expression, bytes.
const OWN_MAX: usize = 64;
const OWN_PATTERN_MAX: usize = 512;
/// Longest name of such a rule, bytes.
const OWN_NAME_MAX: usize = 64;

/// What is looked for besides secrets.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Kinds of personal data, by checksum: words of [`personal::KINDS`].
    pub personal: Vec<String>,
    /// An operator's own rules: name, keyword that must be there, linear-time regular expression.
    pub own: Vec<(String, String, String)>,
    /// What these two find is replaced by a pseudonym, so that it joins; secrets never are.
    pub pseudonyms: Option<Pseudonyms>,
}

/// An operator's rule cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("redaction rule {rule}: {why}")]
pub struct RuleError {
    /// Which.
    pub rule: String,
    /// Why, and what would be right.
    pub why: String,
}

/// A place that must not be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Rule that found it.
    pub rule: Cow<'static, str>,
    /// First byte.
    pub start: usize,
    /// One past the last.
    pub end: usize,
}

/// A text as it may be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// The text, [`REDACTED`] or a pseudonym in each place.
    pub text: String,
    /// Rule and hits, in order of rule.
    pub hits: Vec<(Cow<'static, str>, u64)>,
}

impl Cleaned {
    /// Hits of all rules.
    pub fn count(&self) -> u64 {
        self.hits.iter().map(|(_, n)| n).sum()
    }
}

/// What a needle stands for.
#[derive(Clone, Copy)]
enum Needle {
    Form(usize),
    Name,
    Armour,
    Userinfo,
    Jwt,
}

/// See the crate's documentation. Building one takes milliseconds; share it.
pub struct Scanner {
    needles: Needles,
    /// By number of the needle.
    meanings: Vec<Needle>,
    own: Vec<(String, Regex)>,
    /// Keywords of the operator's rules, by number of the rule.
    keywords: Option<AhoCorasick>,
    personal: Wanted,
    pseudonyms: Option<Pseudonyms>,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner").field("needles", &self.needles.count()).finish_non_exhaustive()
    }
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner::build()
    }
}

impl Scanner {
    /// Compiles all rules.
    ///
    /// # Errors
    /// The first kind that there is not, or rule of the operator that is too long, has no keyword, has the name
    /// of another, or does not compile.
    pub fn new(options: Options) -> Result<Scanner, RuleError> {
        let fail = |rule: &str, why: &str| RuleError { rule: rule.to_owned(), why: why.to_owned() };
        if options.own.len() > OWN_MAX {
            return Err(fail("(all)", "more than 64 own rules; join some of them"));
        }
        let mut wanted = Wanted::default();
        for kind in &options.personal {
            if !wanted.add(kind) {
                return Err(fail(
                    kind,
                    &format!("no kind of personal data; there are {}", personal::KINDS.join(", ")),
                ));
            }
        }
        let (mut own, mut keywords): (Vec<(String, Regex)>, Vec<String>) = Default::default();
        for (rule, keyword, pattern) in options.own {
            if keyword.len() < 2 || pattern.len() > OWN_PATTERN_MAX {
                return Err(fail(
                    &rule,
                    "needs a keyword of at least 2 bytes and an expression of at most 512",
                ));
            }
            if !named(&rule) || own.iter().any(|(other, _)| *other == rule) {
                return Err(fail(&rule, "needs a name of its own: 1 to 64 of a to z, 0 to 9, - and _"));
            }
            let regex = Regex::new(&pattern).map_err(|e| fail(&rule, &format!("{e}")))?;
            own.push((rule, regex));
            keywords.push(keyword);
        }
        let keywords = (!keywords.is_empty()).then(|| automaton(&keywords)).transpose();
        let keywords = keywords.map_err(|error| fail("(all)", &format!("{error}")))?;
        Ok(Scanner { own, keywords, personal: wanted, pseudonyms: options.pseudonyms, ..Scanner::build() })
    }

    fn build() -> Scanner {
        let mut needles: Vec<&str> = Vec::new();
        let mut meanings = Vec::new();
        let mut add = |needle, meaning| {
            needles.push(needle);
            meanings.push(meaning);
        };
        for (i, form) in FORMS.iter().enumerate() {
            add(form.start, Needle::Form(i));
        }
        assigned::NAMES.iter().for_each(|name| add(name, Needle::Name));
        add("PRIVATE KEY-----", Needle::Armour);
        add("PRIVATE KEY BLOCK-----", Needle::Armour);
        add("://", Needle::Userinfo);
        add("eyJ", Needle::Jwt);
        Scanner {
            needles: Needles::new(&needles),
            meanings,
            own: Vec::new(),
            keywords: None,
            personal: Wanted::default(),
            pseudonyms: None,
        }
    }

    /// Every place in `text` that must not be kept, in order, not overlapping.
    pub fn find(&self, text: &[u8]) -> Vec<Hit> {
        let text = text.get(..TEXT_MAX).unwrap_or(text);
        let mut hits = Vec::new();
        self.known(text, &mut hits);
        if let Some(keywords) = &self.keywords {
            self.own_rules(keywords, text, &mut hits);
        }
        words(text, &mut hits);
        if self.personal.any() {
            numbers(text, self.personal, &mut hits);
        }
        settle(hits, text.len())
    }

    /// `text` without what must not be kept, at most `max` bytes.
    pub fn clean(&self, text: &[u8], max: usize) -> Cleaned {
        let shown = text.get(..max.min(TEXT_MAX)).unwrap_or(text);
        // A secret that the bound cuts in two is still found: what is searched is longer than what is shown.
        let searched = text.get(..(max.saturating_add(TOKEN_MAX)).min(TEXT_MAX)).unwrap_or(text);
        // Room for the text as it is, so that a long one is not copied to ever larger rooms.
        let mut out = Cleaned { text: String::with_capacity(shown.len()), hits: Vec::new() };
        let mut at = 0;
        for Hit { rule, start, end } in self.find(searched) {
            if start >= shown.len() {
                break;
            }
            out.text.push_str(&String::from_utf8_lossy(shown.get(at..start).unwrap_or_default()));
            match self.pseudonym(
                &rule,
                matches!(rule, Cow::Owned(_)),
                searched.get(start..end).unwrap_or_default(),
            ) {
                Some(pseudonym) => out.text.push_str(&pseudonym),
                None => out.text.push_str(REDACTED),
            }
            at = end;
            match out.hits.iter_mut().find(|(known, _)| *known == rule) {
                Some((_, n)) => *n += 1,
                None => out.hits.push((rule, 1)),
            }
        }
        out.text.push_str(&String::from_utf8_lossy(shown.get(at..).unwrap_or_default()));
        if out.text.len() > max {
            let cut = (0..=max).rev().find(|i| out.text.is_char_boundary(*i)).unwrap_or(0);
            out.text.truncate(cut);
        }
        out.hits.sort();
        out
    }

    /// What stands for `value`, where pseudonyms are wanted and `rule` is an operator's or of personal data, never
    /// one of secrets. Personal data is
    /// taken without the spaces and hyphens that people group it by.
    fn pseudonym(&self, rule: &str, operators: bool, value: &[u8]) -> Option<String> {
        let pseudonyms = self.pseudonyms.as_ref()?;
        if personal::KINDS.contains(&rule) {
            let compact: Vec<u8> = value.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
            return Some(pseudonyms.of(rule, &compact));
        }
        operators.then(|| pseudonyms.of(rule, value))
    }

    /// Whether anything in `text` must not be kept.
    pub fn is_secret(&self, text: &str) -> bool {
        !self.find(text.as_bytes()).is_empty()
    }

    fn known(&self, text: &[u8], hits: &mut Vec<Hit>) {
        let mut armoured = 0;
        self.needles.each(text, |start, number| {
            let end = start + self.needles.length(number);
            if hits.len() > HITS_MAX {
                hits.push(hit("too-many", start, text.len()));
                return false;
            }
            let hit = match self.meanings.get(number) {
                Some(Needle::Form(i)) => form(text, *i, start, end),
                Some(Needle::Name) => assigned_value(text, start, end),
                Some(Needle::Armour) if end > armoured => armour(text, start, end),
                Some(Needle::Userinfo) => userinfo(text, end),
                Some(Needle::Jwt) => jwt(text, start),
                Some(Needle::Armour) | None => None,
            };
            if let Some(hit) = hit {
                if hit.rule == "private-key" {
                    armoured = hit.end;
                }
                hits.push(hit);
            }
            true
        });
    }

    fn own_rules(&self, keywords: &AhoCorasick, text: &[u8], hits: &mut Vec<Hit>) {
        for found in keywords.find_overlapping_iter(text) {
            if hits.len() > 2 * HITS_MAX {
                return hits.push(hit("too-many", found.start(), text.len()));
            }
            hits.extend(self.own_rule(found.pattern().as_usize(), text, found.start()));
        }
    }

    fn own_rule(&self, index: usize, text: &[u8], start: usize) -> Option<Hit> {
        let (rule, regex) = self.own.get(index)?;
        let end = start.saturating_add(WINDOW).min(text.len());
        let found =
            regex.find(Input::new(text).span(Span { start, end })).filter(|found| !found.is_empty())?;
        Some(Hit { rule: Cow::Owned(rule.clone()), start: found.start(), end: found.end() })
    }
}

/// Overlapping matches: a keyword may be the end of another one.
fn automaton(keywords: &[String]) -> Result<AhoCorasick, aho_corasick::BuildError> {
    AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(keywords)
}

/// Whether an operator's rule has a name that may stand in records.
fn named(rule: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    (1..=OWN_NAME_MAX).contains(&rule.len()) && rule.chars().all(fits)
}

fn hit(rule: &'static str, start: usize, end: usize) -> Hit {
    Hit { rule: Cow::Borrowed(rule), start, end }
}

/// Whether a token may begin at `start`: not in the middle of a word.
fn begins(text: &[u8], start: usize) -> bool {
    !start.checked_sub(1).and_then(|i| text.get(i)).is_some_and(|b| b.is_ascii_alphanumeric())
}

fn form(text: &[u8], index: usize, start: usize, end: usize) -> Option<Hit> {
    let form = FORMS.get(index)?;
    let own_border = form.start.starts_with(|c: char| !c.is_ascii_alphanumeric());
    if text.get(start..end)? != form.start.as_bytes() || !(own_border || begins(text, start)) {
        return None;
    }
    let follows = text.get(end..)?.iter().take(form.max + 1).take_while(|b| form.chars.has(**b)).count();
    let all_one = text.get(end..end + follows)?.windows(2).all(|w| w.first() == w.last());
    let fits = (form.min..=form.max).contains(&follows) && !(all_one && follows > 1);
    fits.then(|| hit(form.rule, start, end + follows))
}

fn assigned_value(text: &[u8], start: usize, end: usize) -> Option<Hit> {
    // `secretary=` is no name of a secret, `db_secret=` is one.
    let inside = start.checked_sub(1).and_then(|i| text.get(i)).is_some_and(u8::is_ascii_lowercase)
        && text.get(start).is_some_and(u8::is_ascii_lowercase);
    if inside || text.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
        return None;
    }
    let (first, last) = assigned::value(text, end)?;
    Some(hit("assigned-secret", first, last))
}

/// From the beginning of the armour to its end.
fn armour(text: &[u8], start: usize, end: usize) -> Option<Hit> {
    let line = start.saturating_sub(ARMOUR_LABEL_MAX);
    let begin = find(text.get(line..end)?, b"-----BEGIN ")? + line;
    let window = text.get(end..end.saturating_add(ARMOUR_MAX).min(text.len()))?;
    let stop = find(window, b"-----END ").map_or(window.len(), |i| {
        let rest = window.get(i + 9..).unwrap_or_default();
        i + 9 + find(rest, b"-----").map_or(rest.len(), |n| n + 5)
    });
    Some(hit("private-key", begin, end + stop))
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|w| w == needle)
}

/// `user:password@` behind `://`; the password, or all of it when there is no colon.
fn userinfo(text: &[u8], at: usize) -> Option<Hit> {
    let rest = text.get(at..at.saturating_add(TOKEN_MAX).min(text.len()))?;
    let ends =
        |b: &u8| b.is_ascii_whitespace() || matches!(b, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>');
    let authority = rest.get(..rest.iter().position(ends).unwrap_or(rest.len()))?;
    let host = authority.iter().rposition(|b| *b == b'@')?;
    let colon = authority.get(..host)?.iter().position(|b| *b == b':').map_or(0, |i| i + 1);
    (host > colon).then(|| hit("url-password", at + colon, at + host))
}

/// Three base64url parts, the first a JSON object (RFC 7519); five parts are an encrypted one.
fn jwt(text: &[u8], start: usize) -> Option<Hit> {
    if text.get(start..start + 3)? != b"eyJ" || !begins(text, start) {
        return None;
    }
    let token = |b: &&u8| b.is_ascii_alphanumeric() || matches!(**b, b'_' | b'-' | b'.' | b'=');
    let length = text.get(start..)?.iter().take(TOKEN_MAX * 4).take_while(token).count();
    let run = text.get(start..start + length)?;
    let dots = run.iter().filter(|b| **b == b'.').count();
    let parts = run.split(|b| *b == b'.').filter(|p| p.len() >= 4).count();
    ((dots >= 2 && parts >= 2) || length >= 40).then(|| hit("jwt", start, start + length))
}

/// Bytes of words.
const PART: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] =
            b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+' | b'=' | b'~' | b'%');
        byte += 1;
    }
    table
};
/// Shortest word that is looked at, bytes.
const WORD_MIN: usize = 32;

/// Words that look like keys although no rule knows them.
fn words(text: &[u8], hits: &mut Vec<Hit>) {
    let part = |b: &u8| PART.get(usize::from(*b)).is_some_and(|is| *is);
    let mut at = 0;
    while let Some(window) = text.get(at..at + WORD_MIN) {
        if hits.len() > 3 * HITS_MAX {
            return hits.push(hit("too-many", at, text.len()));
        }
        // No long word begins before the last border in the window, so most bytes are never looked at.
        if let Some(border) = window.iter().rposition(|b| !part(b)) {
            at += border + 1;
            continue;
        }
        let rest = text.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(|b| part(b)).count();
        let word = rest.get(..length).unwrap_or_default();
        if std::str::from_utf8(word).is_ok_and(looks_random) {
            hits.push(hit("random-text", at, at + length));
        }
        at += length;
    }
}

/// Numbers and accounts with checksums.
fn numbers(text: &[u8], wanted: Wanted, hits: &mut Vec<Hit>) {
    let mut at = 0;
    while at < text.len() {
        if hits.len() > 4 * HITS_MAX {
            return hits.push(hit("too-many", at, text.len()));
        }
        let Some(rest) = text.get(at..) else { return };
        let first = rest.first().copied().unwrap_or_default();
        if first.is_ascii_uppercase()
            && begins(text, at)
            && let Some(length) = personal::iban(rest, wanted)
        {
            hits.push(hit("iban", at, at + length));
            at += length;
            continue;
        }
        if first.is_ascii_digit() {
            let run = |b: &&u8| b.is_ascii_digit() || matches!(**b, b' ' | b'-');
            let mut length = rest.iter().take(personal::NUMBER_MAX).take_while(run).count();
            while length > 0 && !rest.get(length - 1).is_some_and(u8::is_ascii_digit) {
                length -= 1;
            }
            let alone = begins(text, at) && !rest.get(length).is_some_and(u8::is_ascii_alphanumeric);
            if let Some(rule) =
                rest.get(..length).filter(|_| alone).and_then(|run| personal::number(run, wanted))
            {
                hits.push(hit(rule, at, at + length));
            }
            at += length.max(1);
            continue;
        }
        at += 1;
    }
}

/// In order, the longest of overlapping ones, at most [`HITS_MAX`].
fn settle(mut hits: Vec<Hit>, len: usize) -> Vec<Hit> {
    hits.sort_by(|a, b| (a.start, b.end).cmp(&(b.start, a.end)));
    let mut out: Vec<Hit> = Vec::new();
    for hit in hits {
        if let Some(last) = out.last_mut()
            && hit.start < last.end
        {
            last.end = last.end.max(hit.end);
            continue;
        }
        if out.len() == HITS_MAX {
            out.push(Hit { rule: Cow::Borrowed("too-many"), start: hit.start, end: len });
            return out;
        }
        out.push(hit);
    }
    out
}
