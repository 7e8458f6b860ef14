//! Texts that no person wrote: long, of mixed classes, and of high entropy.

/// Shortest text that is judged by its look, and shortest run of it without separators.
const LONG_MIN: usize = 32;
const RUN_MIN: usize = 20;
/// Least Shannon entropy of the run, bits a character.
const ENTROPY_MIN: f64 = 3.3;

/// Most changes of case in a run of words, of letters: 3 in 10.
const CASE_CHANGES_MAX: (usize, usize) = (3, 10);

/// Whether `text`, a word without spaces, looks like a key rather than a name or an id. Hex digits and
/// hyphens alone are an id (digest, UUID), not a secret by this rule.
pub(crate) fn looks_random(text: &str) -> bool {
    let id = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    text.len() >= LONG_MIN && !id && longest_run(text).is_some_and(is_random)
}

fn longest_run(text: &str) -> Option<&str> {
    let separator = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '/');
    text.split(separator).max_by_key(|run| run.len()).filter(|run| run.len() >= RUN_MIN)
}

/// At least two classes of characters, mixed.
fn is_random(run: &str) -> bool {
    let has = |f: fn(&u8) -> bool| usize::from(run.as_bytes().iter().any(f));
    let classes = has(u8::is_ascii_uppercase) + has(u8::is_ascii_lowercase) + has(u8::is_ascii_digit);
    classes >= 2 && entropy(run) >= ENTROPY_MIN && !is_worded(run)
}

/// Letters only, in words that begin with capitals: `InvalidDeliveryChannelNameException`. In a random text about
/// every second letter changes case.
fn is_worded(run: &str) -> bool {
    let bytes = run.as_bytes();
    let change = |pair: &&[u8]| matches!(pair, [a, b] if a.is_ascii_uppercase() != b.is_ascii_uppercase());
    let changes = bytes.windows(2).filter(change).count();
    bytes.iter().all(u8::is_ascii_alphabetic)
        && changes * CASE_CHANGES_MAX.1 <= bytes.len() * CASE_CHANGES_MAX.0
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
