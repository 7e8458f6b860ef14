//! RFC 3164 as programs and files have it: `[<PRI>]TIME [HOST] [TAG[PID]:] TEXT`.
//!
//! The RFC only observes what was customary, so no rule of its is checked beyond the time: `Mar  3 12:08:33`, the
//! same with a year, or ISO 8601 as rsyslog and syslog-ng write to files. A host is missing on a local socket.

use super::Message;
use crate::text::given;
use crate::time::{self, Stamp};

/// Longest tag, bytes. The RFC says 32; systemd units are longer.
const TAG: usize = 128;
/// Words that stand where a host would, in lines that are no syslog.
const LEVELS: &[&str] =
    &["trace", "debug", "info", "notice", "warn", "warning", "error", "err", "fatal", "critical", "panic"];

/// The time at the beginning, and the text behind it.
pub(super) fn stamp(text: &str, now: i64) -> Option<(Stamp, &str)> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let (when, rest) = text.split_once(' ').unwrap_or((text, ""));
        return when.contains('T').then(|| time::rfc3339(when))?.map(|stamp| (stamp, rest));
    }
    let mut ends = word_ends(text);
    let (_month, day, third, fourth) = (ends.next()?, ends.next()?, ends.next()?, ends.next());
    if let Some(stamp) = time::rfc3164(&text[..third], now) {
        return Some((stamp, behind(text, third)));
    }
    // With a year, as Cisco writes it: `Mar  3 2024 12:08:33`.
    let fourth = fourth?;
    let year = text[day..third].trim();
    let clock = text[third..fourth].trim().trim_end_matches(':');
    let month = time::month(text.get(..3)?)?;
    let day: u8 = text[3..day].trim().parse().ok()?;
    let stamp = time::rfc3339(&format!("{year}-{month:02}-{day:02} {clock}"))?;
    Some((stamp, behind(text, fourth)))
}

/// Where each word of `text` ends; a run of blanks separates.
fn word_ends(text: &str) -> impl Iterator<Item = usize> {
    let bytes = text.as_bytes();
    (1..=bytes.len()).filter(move |at| bytes[at - 1] != b' ' && bytes.get(*at).is_none_or(|b| *b == b' '))
}

fn behind(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or_default();
    rest.strip_prefix(' ').unwrap_or(rest)
}

/// Whether a line without a priority is one that rsyslog or syslog-ng wrote to a file: an exact time, a host, a tag.
pub(super) fn is_file_line(text: &str) -> bool {
    let Some((_, rest)) = text.get(..40).and_then(|_| stamp(text, 0)) else { return false };
    let (host, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let level = LEVELS.contains(&host.trim_matches(['[', ']']).to_ascii_lowercase().as_str());
    !host.is_empty() && !host.ends_with(':') && !level && tag(rest).is_some()
}

/// Reads what stands behind the priority.
pub(super) fn read<'a>(text: &'a str, now: i64, message: &mut Message<'a>) {
    let Some((stamp, rest)) = stamp(text, now) else {
        message.breaks("a time is missing");
        // `<13>su: text`, as some programs send.
        match tag(text) {
            Some(found) => tagged(found, message),
            None => message.text = text,
        }
        return;
    };
    message.stamp = Some(stamp);
    if let Some(found) = tag(rest) {
        return tagged(found, message);
    }
    let (host, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    message.host = given(host).unwrap_or_default();
    match tag(rest) {
        Some(found) => tagged(found, message),
        None => message.text = rest.strip_prefix("- ").unwrap_or(rest),
    }
}

fn tagged<'a>((app, procid, text): (&'a str, &'a str, &'a str), message: &mut Message<'a>) {
    (message.app, message.procid, message.text) = (app, procid, text);
}

/// `name:`, `name[pid]:` or `name[pid]` and the text behind: a name without blanks, and then a blank or the end.
fn tag(text: &str) -> Option<(&str, &str, &str)> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let name = match word.strip_suffix(':') {
        Some(name) => name,
        None if word.ends_with(']') && !word.starts_with('[') => word,
        None => return None,
    };
    let (name, procid) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        Some((name, procid)) => (name, procid),
        None => (name, ""),
    };
    let fits = (1..=TAG).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_graphic() && !b"[]\"{}<>=,;".contains(&b));
    fits.then_some((name, procid, rest))
}
