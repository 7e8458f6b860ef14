//! JSON of no format that is known here: an object with a time, a text, perhaps a record of a known format inside.
//!
//! Agents (Filebeat, Fluent Bit, Vector, container engines) wrap the line they read in an object: the text under
//! `message`, `log`, `msg` or `event.original` is looked at like a record of its own, and if a format understands
//! it whole, that is what happened. Otherwise the record says that something was logged, and no more: it counts as
//! `raw`, not as an interaction, and nothing is guessed from a name.

use super::{FORMATS, Format, Record};
use crate::json::Val;
use crate::time::{self, Stamp};
use crate::{Draft, Fault};
use countersign_event::Rec;

/// The row of the table; the last one, since it takes every object.
pub const JSON: Format = Format {
    name: "json",
    what: "JSON objects of any kind; the text inside is looked at as well",
    looks: |record| record.object().is_ok(),
    parse,
};

/// Where agents put the line that they read.
pub(crate) const TEXTS: &[&str] = &["message", "log", "msg", "event/original", "MESSAGE", "line"];
/// Where they put its time.
const TIMES: &[&str] = &["@timestamp", "timestamp", "time", "ts", "date", "eventTime", "datetime", "t"];
/// Numbers above these are milliseconds, microseconds, nanoseconds since 1970.
const UNITS: [(i64, i64); 3] =
    [(100_000_000_000_000_000, 1), (100_000_000_000_000, 1_000), (100_000_000_000, 1_000_000)];

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let object = record.object()?;
    let texts = || TEXTS.iter().filter_map(|path| object.at(path));
    for text in texts() {
        let Some(inner) = text.peek() else { continue };
        if let Some(mut draft) = inside(record, &inner) {
            text.take();
            if draft.event.core.t_event.is_none() {
                stamp(&object, &mut draft);
            }
            return Ok(draft);
        }
    }
    let mut draft = Draft::new();
    draft.event.core.rec = Some(Rec::Raw);
    stamp(&object, &mut draft);
    Ok(draft)
}

/// A line of text that a format of text understands whole. JSON inside JSON is not opened again: its members
/// would stand beside those of the object around it.
pub(crate) fn inside(record: &Record<'_>, text: &str) -> Option<Draft> {
    let text = text.trim_end();
    if text.starts_with('{') {
        return None;
    }
    let inner = Record { bytes: text.as_bytes(), text, json: None, ..*record };
    let formats = FORMATS.iter().filter(|format| format.name != JSON.name && (format.looks)(&inner));
    let mut drafts = formats.filter_map(|format| (format.parse)(&inner).ok());
    drafts.find(|draft| draft.partial.is_none() && draft.event.core.rec != Some(Rec::Raw))
}

fn stamp(object: &Val<'_, '_>, draft: &mut Draft) {
    for name in TIMES {
        let Some(value) = object.get(name) else { continue };
        let found = match value.peek() {
            Some(text) => time::rfc3339(&text).or_else(|| time::clf(&text)),
            None => epoch(value.spelled()),
        };
        if found.is_some() {
            value.take();
            return draft.time(found);
        }
    }
}

/// Seconds with or without decimals, or a whole number of a smaller unit, told by its size.
pub(crate) fn epoch(text: &str) -> Option<Stamp> {
    match text.parse::<i64>() {
        Ok(n) => match UNITS.iter().find(|(least, _)| n >= *least) {
            Some((_, unit)) => time::unix(n, *unit),
            None => time::unix(n, 1_000_000_000),
        },
        Err(_) => time::unix_seconds(text),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Input, Keeper, observe};
    use countersign_event::{CaptureConf, Event, Kind, Rec};

    fn seen(text: &str) -> Event {
        let keeper = Keeper::new(countersign_redact::Scanner::default(), &[7; 32]);
        observe(text.as_bytes(), None, &Input::new("t"), &keeper, 1_790_000_000_000_000_000)
    }

    #[test]
    fn a_line_in_an_agents_object_is_read_as_what_it_is() {
        let event = seen(
            r#"{"@timestamp":"2024-03-13T12:08:34Z","host":{"name":"n1"},"message":"192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] \"GET / HTTP/1.1\" 200 3"}"#,
        );
        assert_eq!((event.core.rec, event.core.kind), (Some(Rec::Interaction), Some(Kind::Http)));
        assert_eq!(event.core.t_event, Some(1_710_331_713_000_000_000));
        assert!(
            event.content.unmapped.contains_key("/host")
                && event.content.unmapped.contains_key("/@timestamp")
        );
    }

    #[test]
    fn an_object_of_no_known_format_is_kept_whole_and_is_no_interaction() {
        let event = seen(r#"{"ts":1710331713.5,"level":"info","caller":"x","status":200}"#);
        assert_eq!((event.core.rec, event.core.kind, event.core.outcome), (Some(Rec::Raw), None, None));
        assert_eq!(event.core.t_event, Some(1_710_331_713_500_000_000));
        assert_eq!(event.content.unmapped.len(), 3);
        assert_eq!(event.body.cap.as_ref().unwrap().conf, Some(CaptureConf::Full));
    }

    #[test]
    fn whole_numbers_are_times_of_the_unit_that_their_size_says() {
        for text in ["1710331713", "1710331713000", "1710331713000000", "1710331713000000000"] {
            let event = seen(&format!("{{\"time\":{text}}}"));
            assert_eq!(event.core.t_event, Some(1_710_331_713_000_000_000), "{text}");
        }
    }
}
