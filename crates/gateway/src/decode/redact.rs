//! What must not be kept: texts that look like secrets, wherever they stand. No text is decoded first, so
//! what is judged is what was on the wire.

/// Stands where a secret stood.
pub(crate) const REDACTED: &str = "{redacted}";
/// Shortest text that is judged by a known beginning.
const KNOWN_MIN: usize = 16;
/// Shortest text that is judged by its look, and shortest run of it without separators.
const LONG_MIN: usize = 32;
const RUN_MIN: usize = 20;
/// Least Shannon entropy of the run, bits a character.
const ENTROPY_MIN: f64 = 3.3;

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
    if KNOWN.iter().any(|k| text.starts_with(k)) {
        return true;
    }
    text.len() >= LONG_MIN && !is_hex_or_uuid(text) && longest_run(text).is_some_and(is_random)
}

/// Hex digits and hyphens only: an id, not a secret by our rule.
fn is_hex_or_uuid(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

fn longest_run(text: &str) -> Option<&str> {
    let separator = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '/');
    text.split(separator).max_by_key(|run| run.len()).filter(|run| run.len() >= RUN_MIN)
}

/// At least two classes of characters, mixed.
fn is_random(run: &str) -> bool {
    let has = |f: fn(&u8) -> bool| usize::from(run.as_bytes().iter().any(f));
    let classes = has(u8::is_ascii_uppercase) + has(u8::is_ascii_lowercase) + has(u8::is_ascii_digit);
    classes >= 2 && entropy(run) >= ENTROPY_MIN
}

fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for b in text.bytes() {
        if let Some(n) = counts.get_mut(usize::from(b)) {
            *n += 1;
        }
    }
    let total = text.len() as f64;
    counts.iter().filter(|n| **n > 0).map(|n| f64::from(*n) / total).map(|p| -p * p.log2()).sum()
}

/// `value` as text of at most `max` bytes, with what looks secret replaced; the second is how often.
pub(crate) fn clean_text(value: &[u8], max: usize) -> (String, u64) {
    let text = String::from_utf8_lossy(value.get(..max).unwrap_or(value));
    let mut out = String::with_capacity(text.len());
    let mut hits = 0;
    let part_of_token =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '=' | '~' | '%');
    let mut rest = text.as_ref();
    while !rest.is_empty() {
        let end = rest.find(|c| !part_of_token(c)).unwrap_or(rest.len());
        let (token, tail) = rest.split_at(end);
        if looks_secret(token) {
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
}
