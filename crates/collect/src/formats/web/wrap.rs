//! What a container runtime or a syslog daemon put before a line of an access log.
//!
//! Inputs that know take it off themselves; a record that still has it is read all the same, and it is kept.

use crate::{Draft, time};

/// What stood before the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrap<'a> {
    text: &'a str,
}

impl Wrap<'_> {
    /// Keeps it in `unmapped`.
    pub(crate) fn keep(&self, draft: &mut Draft) {
        if !self.text.is_empty() {
            draft.rest("prefix", self.text);
        }
    }
}

/// `<RFC 3339> stdout|stderr P|F <line>` (Kubernetes, CRI), `<time> host [program[pid]:] <line>` (syslog as written
/// to files), or the line as it is.
pub(crate) fn unwrapped(text: &str) -> (Wrap<'_>, &str) {
    let split = |at: usize| {
        let (prefix, line) = text.split_at(at);
        (Wrap { text: prefix.trim_end() }, line.trim_start())
    };
    if let Some(at) = container(text).or_else(|| syslog(text)) { split(at) } else { (Wrap::default(), text) }
}

fn container(text: &str) -> Option<usize> {
    let mut words = text.splitn(4, ' ');
    let (at, stream, tag, line) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let is = matches!(stream, "stdout" | "stderr") && matches!(tag, "F" | "P") && time::rfc3339(at).is_some();
    is.then(|| text.len() - line.len())
}

/// `<134>Mar 13 12:08:33 host haproxy[12]: …`, the same without `<134>` or host, or an RFC 3339 time. 0 for `now`:
/// only the form counts.
fn syslog(text: &str) -> Option<usize> {
    let rest = match text.strip_prefix('<') {
        Some(rest) => rest.split_once('>').filter(|(number, _)| number.parse::<u8>().is_ok())?.1,
        None => text,
    };
    let traditional = rest.get(..15).is_some_and(|t| time::rfc3164(t, i64::MAX / 2).is_some());
    let behind = if traditional {
        rest.get(15..)?
    } else {
        let (word, behind) = rest.split_once(' ')?;
        time::rfc3339(word)?;
        behind
    };
    let program = program(behind.trim_start()).unwrap_or(behind);
    Some(text.len() - program.trim_start().len())
}

/// Behind `host program[pid]: `, `program[pid]: ` or `host `.
fn program(text: &str) -> Option<&str> {
    let (first, rest) = text.split_once(' ')?;
    if first.ends_with(':') {
        return Some(rest);
    }
    match rest.trim_start().split_once(' ') {
        Some((second, line))
            if second.ends_with("]:") || (second.ends_with(':') && !second.starts_with('[')) =>
        {
            Some(line)
        }
        _ => Some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_containers_and_syslog_come_off() {
        for (text, line) in [
            ("2025-12-31T19:00:00.310000000+01:00 stdout F [a] b", "[a] b"),
            ("Mar 13 12:08:33 lb1 haproxy[12]: 10.0.0.1:1 [x]", "10.0.0.1:1 [x]"),
            ("<134>Mar  3 12:08:33 haproxy[12]: 10.0.0.1:1 [x]", "10.0.0.1:1 [x]"),
            ("2021-11-12T16:59:46.613304+00:00 192.0.2.1  {\"a\":1}", "{\"a\":1}"),
            ("10.0.0.1:1 [x] y", "10.0.0.1:1 [x] y"),
        ] {
            assert_eq!(unwrapped(text).1, line, "{text}");
        }
    }
}
