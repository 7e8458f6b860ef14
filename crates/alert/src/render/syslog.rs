//! Syslog messages (RFC 5424), framed by octet counting (RFC 6587, RFC 5425).
//!
//! Invariants: at most [`MESSAGE_MAX_BYTES`]; no control character in any of them, so none can look like two; CEF headers
//! escape `\\` and `|`, extensions `\\`, `=` and line breaks; times in UTC with milliseconds.

use crate::config::SyslogBody;
use crate::notice::{Item, Kind, Notice};
use crate::render::webhook::event_link;
use crate::time::rfc3339;
use countersign_event::Severity;
use serde_json::json;

/// Largest message: what every receiver of RFC 5425 should take.
pub(crate) const MESSAGE_MAX_BYTES: usize = 8192;
/// Facility 13: log audit.
const FACILITY: u64 = 13;
/// Longest text: the first of these with which a message fits.
const TEXT_MAX_BYTES: [usize; 3] = [1024, 256, 64];

/// The frames of a notification: one for each finding in words, and one that says how many more there are.
pub(crate) fn frames(notice: &Notice, link: &str, body: SyslogBody) -> Vec<u8> {
    let mut out = Vec::new();
    let left = notice.count.saturating_sub(notice.items.len() as u64);
    for item in &notice.items {
        frame(&mut out, notice, Some(item), link, body);
    }
    if notice.items.is_empty() || left > 0 {
        frame(&mut out, notice, None, link, body);
    }
    out
}

fn frame(out: &mut Vec<u8>, notice: &Notice, item: Option<&Item>, link: &str, body: SyslogBody) {
    let severity =
        Severity::from_code(item.map_or(notice.severity, |i| i.severity)).unwrap_or(Severity::Medium);
    let priority = FACILITY * 8 + level(severity);
    let id = if notice.kind == Kind::Watchdog { "watchdog" } else { "finding" };
    let head = format!("<{priority}>1 {} - countersign - {id} - ", rfc3339(notice.made_ns));
    let mut message = String::new();
    for max in TEXT_MAX_BYTES {
        let mut item = item.cloned();
        item.iter_mut().for_each(|item| item.clip(max));
        let text = match body {
            // The byte order mark says that the text is UTF-8.
            SyslogBody::Text => format!("\u{feff}{}", sentence(notice, item.as_ref())),
            SyslogBody::Json => json_text(notice, item.as_ref(), link),
            SyslogBody::Cef => cef(notice, item.as_ref(), link, severity),
        };
        message = format!("{head}{}", text.replace(|c: char| c.is_control(), " "));
        if message.len() <= MESSAGE_MAX_BYTES {
            break;
        }
    }
    out.extend_from_slice(format!("{} {message}", message.len()).as_bytes());
}

fn sentence(notice: &Notice, item: Option<&Item>) -> String {
    match item {
        Some(item) => item.sentence(),
        None if notice.items.is_empty() => notice.headline(),
        None => format!(
            "{} findings of rule {} in all, ledger index {} to {}",
            notice.count,
            crate::message::clip(notice.rule(), 256),
            notice.first_index,
            notice.last_index
        ),
    }
}

fn json_text(notice: &Notice, item: Option<&Item>, link: &str) -> String {
    let severity = Severity::from_code(item.map_or(notice.severity, |i| i.severity)).map(Severity::word);
    json!({
        "severity": severity,
        "explanation": sentence(notice, item),
        "rule": item.map_or_else(|| crate::message::clip(notice.rule(), 256), |i| &i.rule),
        "finding": item.map(|i| &i.finding), "fingerprint": item.map(|i| &i.fingerprint),
        "who": item.and_then(|i| i.who.as_ref()).map(|w| &w.id), "service": item.map(|i| &i.service),
        "operation": item.map(|i| &i.operation), "resource": item.map(|i| &i.resource),
        "index": item.map_or(notice.first_index, |i| i.index), "query": item.and_then(|i| i.query.as_ref()),
        "group": notice.group, "count": item.is_none().then_some(notice.count),
        "link": event_link(link, item.map_or(notice.first_index, |i| i.index)),
    })
    .to_string()
}

fn cef(notice: &Notice, item: Option<&Item>, link: &str, severity: Severity) -> String {
    let rule = item.map_or_else(|| crate::message::clip(notice.rule(), 256), |i| &i.rule);
    let header =
        ["Countersign", "Countersign", env!("CARGO_PKG_VERSION"), rule, rule].map(cef_header).join("|");
    let mut extension = format!("rt={}", notice.made_ns / 1_000_000);
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            extension.push_str(&format!(" {key}={}", cef_value(value)));
        }
    };
    add("msg", &sentence(notice, item));
    if let Some(item) = item {
        add("externalId", &item.finding);
        add("suser", item.who.as_ref().map_or("", |w| &w.id));
        add("destinationServiceName", &item.service);
        add("act", &item.operation);
        add("request", &item.resource);
        custom(&mut add, 1, "fingerprint", &item.fingerprint);
        custom(&mut add, 2, "query", item.query.as_deref().unwrap_or(""));
        custom(&mut add, 3, "link", &event_link(link, item.index).unwrap_or_default());
    } else {
        add("cnt", &notice.count.to_string());
    }
    custom(&mut add, 4, "group", &notice.group);
    add("cn1", &item.map_or(notice.first_index, |i| i.index).to_string());
    add("cn1Label", "ledger index");
    format!("CEF:0|{header}|{}|{extension}", cef_severity(severity))
}

/// A custom string with its label: one without the other says nothing.
fn custom(add: &mut impl FnMut(&str, &str), n: u8, label: &str, value: &str) {
    if !value.is_empty() {
        add(&format!("cs{n}"), value);
        add(&format!("cs{n}Label"), label);
    }
}

fn cef_header(text: &str) -> String {
    super::escaped(text, usize::MAX, |c| match c {
        '\\' => Some("\\\\"),
        '|' => Some("\\|"),
        c if c.is_control() => Some(" "),
        _ => None,
    })
}

fn cef_value(text: &str) -> String {
    super::escaped(text, usize::MAX, |c| match c {
        '\\' => Some("\\\\"),
        '=' => Some("\\="),
        '\n' => Some("\\n"),
        '\r' => Some("\\r"),
        c if c.is_control() => Some(" "),
        _ => None,
    })
}

/// 0 to 10.
fn cef_severity(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 10,
        Severity::High => 8,
        Severity::Medium => 5,
        Severity::Low => 3,
        _ => 1,
    }
}

/// Severity of RFC 5424.
fn level(severity: Severity) -> u64 {
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn notice(explanation: &str, rule: &str) -> Notice {
        let item = Item {
            explanation: Some(explanation.into()),
            rule: rule.into(),
            severity: 4,
            index: 7,
            fingerprint: "ab".into(),
            service: "a=b\\c\nd".into(),
            ..Item::default()
        };
        Notice {
            count: 1,
            severity: 4,
            items: vec![item],
            made_ns: 1_790_000_000_123_456_789,
            ..Notice::default()
        }
    }

    /// Splits frames as a receiver does.
    fn split(mut bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let space = bytes.iter().position(|b| *b == b' ').unwrap();
            let length: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
            let (message, rest) = bytes[space + 1..].split_at(length);
            found.push(String::from_utf8(message.to_vec()).unwrap());
            bytes = rest;
        }
        found
    }

    #[test]
    fn cef_is_escaped_where_each_part_wants_it() {
        let message = split(&frames(&notice("x = y\nz\\", "a|b\\c"), "http://d", SyslogBody::Cef)).remove(0);
        let (head, cef) = message.split_once("CEF:0|").unwrap();
        assert_eq!(head, "<107>1 2026-09-21T14:13:20.123Z - countersign - finding - ");
        let version = env!("CARGO_PKG_VERSION");
        assert!(
            cef.starts_with(&format!(
                r"Countersign|Countersign|{version}|a\|b\\c|a\|b\\c|8|rt=1790000000123 msg=x \= y\nz\\ "
            )),
            "{cef}"
        );
        assert!(cef.contains(r" destinationServiceName=a\=b\\c\nd "));
        assert!(
            cef.contains(" cs1=ab cs1Label=fingerprint ")
                && cef.contains(" cs3=http://d/events/7 cs3Label=link ")
        );
        assert!(!cef.contains("cs2"), "no label without its value");
    }

    #[test]
    fn a_group_is_a_message_for_each_finding_in_words_and_one_for_the_rest() {
        let mut group = notice("x", "r");
        group.items = vec![group.items[0].clone(); 3];
        (group.count, group.first_index, group.last_index) = (100, 7, 106);
        let messages = split(&frames(&group, "", SyslogBody::Text));
        assert_eq!(messages.len(), 4);
        assert!(messages[0].ends_with("finding - \u{feff}x"));
        assert!(messages[3].ends_with("100 findings of rule r in all, ledger index 7 to 106"));
        let json = split(&frames(&group, "", SyslogBody::Json)).remove(3);
        let json: serde_json::Value =
            serde_json::from_str(json.split_once(" - {").map(|(_, j)| format!("{{{j}")).unwrap().as_str())
                .unwrap();
        assert_eq!(json["count"], 100);
    }

    proptest! {
        #[test]
        fn every_message_is_one_line_within_the_bound(text in "(\n|\r|\u{0}|\\\\|=|.){0,300}", grow in 1..5usize) {
            let mut notice = notice(&text.repeat(grow), &text);
            notice.items[0].query = Some(text.repeat(grow));
            notice.group = "g".into();
            for body in [SyslogBody::Text, SyslogBody::Json, SyslogBody::Cef] {
                for message in split(&frames(&notice, "http://d", body)) {
                    prop_assert!(message.len() <= MESSAGE_MAX_BYTES);
                    prop_assert!(!message.chars().any(char::is_control));
                }
            }
        }
    }
}
