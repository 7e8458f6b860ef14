//! Container logs: CRI's text lines and docker's `json-file`, one text that may have come in parts.
//!
//! A record is the lines of one text as [`crate::frame::join`] gives them, LF between. The runtime says when and on
//! which stream; what the container wrote is a record of its own ([`super::envelope`]). Nothing in it says which
//! container it was: that is the path of the file, and the input's to tell. Sources: Kubernetes, "CRI container
//! log format" (kubelet's log reader); docker, "JSON File logging driver".

use super::envelope::{Around, note, open};
use super::{Format, Record};
use crate::json::{Doc, Val};
use crate::time::Stamp;
use crate::{Draft, Fault, time};

/// The row of CRI in the table.
pub const CRI: Format = Format {
    name: "cri",
    what: "container log of Kubernetes (containerd, CRI-O), and the records in it",
    looks: looks_cri,
    parse: parse_cri,
};

/// The row of docker in the table.
pub const DOCKER: Format = Format {
    name: "docker",
    what: "container log of docker (json-file), and the records in it",
    looks: looks_docker,
    parse: parse_docker,
};

/// What a text is put together from.
#[derive(Default)]
struct Parts {
    text: String,
    stamp: Option<Stamp>,
    stream: String,
    lines: u64,
    /// The last line said that more follows.
    open: bool,
}

impl Parts {
    fn draft(self, record: &Record<'_>) -> Draft {
        let around = Around { stamp: self.stamp, ..Around::default() };
        let mut draft = open(record, self.text.strip_suffix('\n').unwrap_or(&self.text), around);
        note(&mut draft, "/container/stream", &self.stream);
        draft.merged = self.lines.saturating_sub(1);
        if self.stamp.is_none() {
            draft.partial("a time could not be read");
        }
        if self.open {
            draft.partial("the end of a line that came in parts is missing");
        }
        draft
    }
}

fn looks_cri(record: &Record<'_>) -> bool {
    let mut words = record.bytes.splitn(4, |b| *b == b' ').skip(1);
    matches!(words.next(), Some(b"stdout" | b"stderr"))
        && words.next().is_some_and(|tags| matches!(tags.first(), Some(b'P' | b'F')))
}

/// `TIME STREAM TAGS TEXT`, one line or several.
fn parse_cri(record: &Record<'_>) -> Result<Draft, Fault> {
    let text = String::from_utf8_lossy(record.bytes);
    let mut parts = Parts::default();
    let mut at = 0;
    for line in text.split('\n') {
        let mut words = line.splitn(4, ' ');
        let (Some(when), Some(stream), Some(tags)) = (words.next(), words.next(), words.next()) else {
            return Err(Fault::new(at, "not a line of a container"));
        };
        if parts.lines == 0 {
            parts.stamp = Some(time::rfc3339(when).ok_or(Fault::new(at, "not a time"))?);
            stream.clone_into(&mut parts.stream);
        }
        parts.open = match tags.split(':').next() {
            Some("P") => true,
            Some("F") => false,
            _ => return Err(Fault::new(at, "a tag is neither P nor F")),
        };
        parts.text.push_str(words.next().unwrap_or_default());
        parts.lines += 1;
        at += line.len() + 1;
    }
    let mut draft = parts.draft(record);
    if record.text.is_empty() {
        draft.partial("the text is not UTF-8");
    }
    Ok(draft)
}

fn looks_docker(record: &Record<'_>) -> bool {
    record.text.starts_with("{\"log\":\"") && record.text.contains("\"time\":\"")
}

/// `{"log":"TEXT\n","stream":"stdout","time":"…"}`, one or several.
fn parse_docker(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut parts = Parts::default();
    if let Ok(root) = record.object() {
        docker_line(root, &mut parts)?;
        return Ok(parts.draft(record));
    }
    let mut rest = record.bytes;
    while !rest.is_empty() {
        let (doc, end) = Doc::parse_prefix(rest)?;
        docker_line(doc.root(), &mut parts)?;
        rest = rest.get(end..).unwrap_or_default().trim_ascii_start();
    }
    if parts.lines == 0 {
        return Err(Fault::new(0, "not a line of a container"));
    }
    Ok(parts.draft(record))
}

fn docker_line(line: Val<'_, '_>, parts: &mut Parts) -> Result<(), Fault> {
    let text = |name: &str| line.get(name).and_then(|value| value.text());
    let log = text("log").ok_or(Fault::new(0, "no text of a container"))?;
    let (stream, when) = (text("stream").unwrap_or_default(), text("time").unwrap_or_default());
    if parts.lines == 0 {
        parts.stamp = time::rfc3339(&when);
        parts.stream = stream.into_owned();
    }
    parts.open = !log.ends_with('\n');
    parts.text.push_str(&log);
    parts.lines += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::{CaptureConf, Verified};

    const ACCESS: &str = r#"192.0.2.1 - - [13/Mar/2024:12:08:30 +0000] "GET /a HTTP/1.1" 200 3"#;

    #[test]
    fn what_a_container_wrote_is_read_also_in_parts() {
        let (front, back) = ACCESS.split_at(20);
        let lines =
            format!("2024-03-13T12:08:33.1Z stdout P {front}\n2024-03-13T12:08:33.2Z stdout F {back}");
        let draft = parse_cri(&Record::new(lines.as_bytes(), 0)).unwrap();
        assert_eq!((draft.conf(), draft.inner, draft.merged), (CaptureConf::Full, "combined", 1));
        assert_eq!(draft.event.target.raw, "/a");
    }

    #[test]
    fn a_text_whose_end_never_came_is_partial() {
        let draft = parse_cri(&Record::new(b"2024-03-13T12:08:33Z stderr P open", 0)).unwrap();
        assert_eq!(
            (draft.conf(), draft.event.core.t_event),
            (CaptureConf::Partial, Some(1_710_331_713_000_000_000))
        );
        assert!(parse_cri(&Record::new(b"2024-03-13T12:08:33Z stdout X a", 0)).is_err());
    }

    #[test]
    fn docker_lines_are_put_together() {
        let (front, back) = (
            r#"{"log":"a \"","stream":"stdout","time":"2024-03-13T12:08:33Z"}"#,
            r#"{"log":"b\n","stream":"stdout","time":"2024-03-13T12:08:34Z"}"#,
        );
        let lines = format!("{front}\n{back}");
        let draft = parse_docker(&Record::new(lines.as_bytes(), 0)).unwrap();
        assert_eq!((draft.conf(), draft.merged), (CaptureConf::Full, 1));
        let message = &draft.event.content.unmapped["/message"];
        assert_eq!(message, &countersign_event::Unmapped::Token("\"a \\\"b\"".into()));
        assert!(draft.event.who.who.as_ref().is_none_or(|who| who.verified < Verified::Checked));
    }
}
