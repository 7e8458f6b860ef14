//! What must not be kept: texts that look like secrets, wherever they stand. No text is decoded first, so
//! what is judged is what was on the wire. The rules are `redact`'s; here they meet header values, path
//! segments and names, where a known beginning alone is enough to drop a word.

mod clean;

use crate::config::Redaction;
use crate::error::GatewayError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_redact::{Cleaned, Options, Pseudonyms, Scanner};
use std::cell::OnceCell;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, LazyLock};

pub(crate) use countersign_redact::REDACTED;

/// The rules of secrets alone, compiled once a process.
static SECRETS: LazyLock<Arc<Scanner>> = LazyLock::new(Arc::default);

thread_local! {
    /// The rules of the gateway that this thread works for. Of the thread, so that nothing that makes a record can be
    /// given other rules than the rest of its gateway, or forget to be given any.
    static RULES: OnceCell<Arc<Scanner>> = const { OnceCell::new() };
}

/// Longest file with a key of pseudonyms, and the bounds of the key in it, bytes.
const KEY_FILE_MAX: u64 = 1 << 10;
const KEY_MIN: usize = 32;
const KEY_MAX: usize = 64;

/// Compiles the rules of a gateway.
///
/// # Errors
/// The first rule, kind or file that cannot be used.
pub(crate) fn rules(config: &Redaction) -> Result<Arc<Scanner>, GatewayError> {
    let Redaction { personal, own, pseudonym_key } = config.clone();
    if personal.is_empty() && own.is_empty() {
        return Ok(Arc::clone(&SECRETS));
    }
    let pseudonyms = pseudonym_key.map(|path| key(&path)).transpose().map_err(GatewayError::Redaction)?;
    let scanner = Scanner::new(Options { personal, own, pseudonyms });
    scanner.map(Arc::new).map_err(|e| GatewayError::Redaction(e.to_string()))
}

fn key(path: &Path) -> Result<Pseudonyms, String> {
    let fail = |why: &str| format!("{}: {why}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| fail(&e.to_string()))?;
    file.take(KEY_FILE_MAX).read_to_string(&mut text).map_err(|e| fail(&e.to_string()))?;
    let key = STANDARD.decode(text.trim()).unwrap_or_default();
    if !(KEY_MIN..=KEY_MAX).contains(&key.len()) {
        return Err(fail("holds no key of pseudonyms: 32 to 64 random bytes in base64"));
    }
    Ok(Pseudonyms::new(&key))
}

/// From here on this thread works by `rules`. The first call of a thread counts.
pub(crate) fn install(rules: Arc<Scanner>) {
    // A thread works for one gateway alone.
    let _ = RULES.with(|own| own.set(rules));
}

fn scanner<T>(ask: impl FnOnce(&Scanner) -> T) -> T {
    RULES.with(|own| ask(own.get_or_init(|| Arc::clone(&SECRETS))))
}

/// Free text of at most `max` bytes without what any rule knows, and which rules hit how often.
pub(crate) fn scan_text(text: &[u8], max: usize) -> Cleaned {
    scanner(|rules| rules.clean(text, max))
}

/// Shortest text that is judged by a known beginning.
const KNOWN_MIN: usize = 16;
/// Beginnings that issuers of tokens document.
const KNOWN: [&str; 26] = [
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "sk-",
    "sk_live_",
    "rk_live_",
    "pk_live_",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "eyJ",
    "SG.",
    "npm_",
    "hvs.",
    "dop_v1_",
    "shpat_",
    "whsec_",
    "csk_",
    "pypi-",
];

/// Whether `text` looks like a token, key or password rather than a name or an id.
pub(crate) fn looks_secret(text: &str) -> bool {
    if text.len() < KNOWN_MIN {
        return false;
    }
    KNOWN.iter().any(|k| text.starts_with(k)) || scanner(|rules| rules.is_secret(text))
}

/// `value` as text of at most `max` bytes, with what looks secret replaced; the second is how often.
pub(crate) fn clean_text(value: &[u8], max: usize) -> (String, u64) {
    if value.is_empty() {
        return (String::new(), 0);
    }
    let short = value.len() <= max.min(clean::TEXT_MAX);
    if short
        && clean::is_known(value)
        && let Ok(text) = std::str::from_utf8(value)
    {
        return (text.to_owned(), 0);
    }
    let (text, hits) = search_text(value, max);
    if short && hits == 0 && text.as_bytes() == value {
        clean::note(value);
    }
    (text, hits)
}

fn search_text(value: &[u8], max: usize) -> (String, u64) {
    let Cleaned { text, hits } = scan_text(value, max);
    let mut hits: u64 = hits.iter().map(|(_, n)| n).sum();
    let mut out = String::with_capacity(text.len());
    let part_of_token =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '=' | '~' | '%');
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let end = rest.find(|c| !part_of_token(c)).unwrap_or(rest.len());
        let (token, tail) = rest.split_at(end);
        if token.len() >= KNOWN_MIN && KNOWN.iter().any(|k| token.starts_with(k)) {
            hits += 1;
            out.push_str(REDACTED);
        } else {
            out.push_str(token);
        }
        let next = tail.find(part_of_token).unwrap_or(tail.len());
        let (between, tail) = tail.split_at(next);
        out.push_str(between);
        rest = tail;
    }
    cut_at(&mut out, max);
    (out, hits)
}

/// Cuts `text` to at most `max` bytes at a character's border.
pub(crate) fn cut_at(text: &mut String, max: usize) {
    if text.len() > max {
        let at = (0..=max).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_secrets_from_names_and_ids() {
        for secret in [
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "xJ8kQ2mN5vB7cL9zR4tY6wE3sA1dF0gHpOiUyTrE",
            "AKIAIOSFODNN7EXAMPLE",
        ] {
            assert!(looks_secret(secret), "{secret}");
        }
        for plain in [
            "orders",
            "550e8400-e29b-41d4-a716-446655440000",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "how-to-build-a-rather-long-slug-in-2026",
            "averyveryveryverylongwordwithoutanything",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1111",
        ] {
            assert!(!looks_secret(plain), "{plain}");
        }
    }

    #[test]
    fn cleans_texts_within_their_bound() {
        let (text, hits) = clean_text(b"agent/1.0 (token=ghp_16C7e42F292c6912E7710c838347Ae178B4a; x)", 200);
        assert_eq!((text.as_str(), hits), ("agent/1.0 ({redacted}; x)", 1));
        let (text, _) = clean_text(&[0xff; 100], 10);
        assert!(text.len() <= 10);
        let mut text = "aé".to_owned();
        cut_at(&mut text, 2);
        assert_eq!(text, "a");
    }

    #[test]
    fn a_text_that_was_clean_before_is_the_same_again_and_a_secret_is_found_every_time() {
        let (plain, secret) = (b"agent/1.0", b"token=ghp_16C7e42F292c6912E7710c838347Ae178B4a");
        for _ in 0..3 {
            assert_eq!(clean_text(plain, 100), ("agent/1.0".to_owned(), 0));
            assert_eq!(clean_text(plain, 5), ("agent".to_owned(), 0));
            assert_eq!(clean_text(b"", 100), (String::new(), 0));
            let (text, hits) = clean_text(secret, 100);
            assert!(hits > 0 && !text.contains("ghp_"), "{text}");
            assert!(!clean::is_known(secret));
        }
        assert!(clean::is_known(plain));
    }

    #[test]
    fn more_texts_than_are_known_at_once_are_still_cleaned() {
        for n in 0..1_000 {
            let text = format!("agent/{n}");
            assert_eq!(clean_text(text.as_bytes(), 100), (text, 0));
        }
    }
}
