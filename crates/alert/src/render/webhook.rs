//! The body of a Standard Webhook: `{type, timestamp, data}`, at most 20,000 bytes.

use crate::notice::{Item, Kind, Notice};
use crate::time::rfc3339;
use countersign_event::{FindingState, Severity};
use serde_json::{Value, json};

/// Largest body (Standard Webhooks recommends 20 KB).
pub(crate) const BODY_MAX_BYTES: usize = 20_000;
/// Longest text in a body: the first of these with which the body fits.
const TEXT_MAX_BYTES: [usize; 4] = [1024, 256, 64, 16];

pub(crate) fn body(notice: &Notice, link: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let mut notice = notice.clone();
    for max in TEXT_MAX_BYTES {
        notice.items.iter_mut().for_each(|item| item.clip(max));
        if max < TEXT_MAX_BYTES[1] {
            // Long addresses: the first and the last index name the others.
            notice.others.clear();
        }
        for (_, value) in &mut notice.labels {
            value.truncate(crate::message::clip(value, max).len());
        }
        body = json(&notice, link).to_string().into_bytes();
        if body.len() <= BODY_MAX_BYTES {
            break;
        }
    }
    body
}

fn json(notice: &Notice, link: &str) -> Value {
    let (kind, data) = match (notice.kind, notice.items.as_slice()) {
        (Kind::Watchdog, _) => {
            ("countersign.alert.watchdog".to_owned(), json!({ "explanation": notice.note }))
        }
        (Kind::Summary, _) | (_, []) => ("countersign.alert.summary".to_owned(), summary(notice)),
        (_, [item]) if notice.count == 1 => {
            (format!("countersign.finding.{}", state(item)), single(notice, item, link))
        }
        (_, items) => ("countersign.alert.group".to_owned(), group(notice, items, link)),
    };
    json!({ "type": kind, "timestamp": rfc3339(notice.made_ns), "data": data })
}

fn summary(notice: &Notice) -> Value {
    json!({
        "explanation": notice.note,
        "count": notice.count, "first_index": notice.first_index, "last_index": notice.last_index,
    })
}

fn single(notice: &Notice, item: &Item, link: &str) -> Value {
    let mut data = json!({
        "finding": item.finding,
        "revision": item.revision,
        "state": state(item),
        "severity": severity(item.severity),
        "confidence": item.confidence,
        "rule": item.rule,
        "explanation": item.explanation,
        "tenant": item.tenant,
        "who": item.who.as_ref().map(|w| json!({"id": w.id, "verified": w.verified, "auth": w.auth, "name": w.name})),
        "service": item.service,
        "operation": item.operation,
        "resource": item.resource,
        "index": item.index,
        "evidence": item.evidence,
        "query": item.query,
        "repeats": item.repeats,
        "link": event_link(link, item.index),
        "fingerprint": item.fingerprint,
        "group": notice.group,
        "group_revision": notice.revision,
        "group_findings": notice.total,
    });
    add_note(&mut data, notice);
    data
}

fn group(notice: &Notice, items: &[Item], link: &str) -> Value {
    let finding = |item: &Item| {
        json!({
            "explanation": item.sentence(),
            "severity": severity(item.severity),
            "state": state(item),
            "rule": item.rule,
            "finding": item.finding,
            "fingerprint": item.fingerprint,
            "who": item.who.as_ref().map(|w| &w.id),
            "service": item.service,
            "index": item.index,
            "link": event_link(link, item.index),
        })
    };
    let others: Vec<Value> = match link.is_empty() {
        true => notice.others.iter().map(|index| json!(index)).collect(),
        false => notice.others.iter().map(|index| json!(event_link(link, *index))).collect(),
    };
    let mut data = json!({
        "group": notice.group,
        "group_revision": notice.revision,
        "group_findings": notice.total,
        "state": notice.state().word(),
        "severity": notice.severity().word(),
        "explanation": notice.headline(),
        "labels": notice.labels.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<serde_json::Map<_, _>>(),
        "count": notice.count,
        "findings": items.iter().map(finding).collect::<Vec<_>>(),
        "others": others,
        "first_index": notice.first_index,
        "last_index": notice.last_index,
        "link": if link.is_empty() { None } else { Some(format!("{}/alerts", short(link))) },
    });
    add_note(&mut data, notice);
    data
}

fn add_note(data: &mut Value, notice: &Notice) {
    if let (false, Some(data)) = (notice.note.is_empty(), data.as_object_mut()) {
        data.insert("note".to_owned(), json!(notice.note));
    }
}

fn state(item: &Item) -> &'static str {
    FindingState::from_code(item.state).map_or("open", FindingState::word)
}

fn severity(code: u64) -> Option<&'static str> {
    Severity::from_code(code).map(Severity::word)
}

fn short(link: &str) -> &str {
    crate::message::clip(link, 512)
}

/// The address of a finding's page; `None` without a dashboard.
pub(crate) fn event_link(link: &str, index: u64) -> Option<String> {
    (!link.is_empty()).then(|| format!("{}/events/{index}", short(link)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::{ITEMS_MAX, OTHERS_MAX};

    #[test]
    fn the_largest_group_fits_the_body() {
        let item =
            Item { explanation: Some("\u{1}".repeat(1024)), rule: "\"".repeat(1024), ..Item::default() };
        let notice = Notice {
            count: 10_000,
            items: vec![item; ITEMS_MAX],
            others: (0..OTHERS_MAX as u64).collect(),
            labels: vec![("rule".into(), "\u{1}".repeat(1024)); 4],
            ..Notice::default()
        };
        let body = body(&notice, &"h".repeat(2000));
        assert!(body.len() <= BODY_MAX_BYTES, "{}", body.len());
    }

    #[test]
    fn a_group_tells_how_many_how_bad_and_where_the_rest_is() {
        let item = |index| Item {
            index,
            severity: 3,
            state: 1,
            explanation: Some(format!("f{index}")),
            ..Item::default()
        };
        let notice = Notice {
            group: "ab".into(),
            revision: 2,
            count: 3,
            total: 4,
            severity: 4,
            state: 2,
            labels: vec![("rule".into(), "r".into())],
            items: vec![item(1), item(2)],
            others: vec![3],
            first_index: 1,
            last_index: 3,
            ..Notice::default()
        };
        let json: Value = serde_json::from_slice(&body(&notice, "http://d")).unwrap();
        let data = &json["data"];
        assert_eq!(json["type"], "countersign.alert.group");
        assert_eq!(
            (&data["count"], &data["severity"], &data["state"]),
            (&3.into(), &"high".into(), &"updated".into())
        );
        assert_eq!(data["explanation"], "3 findings of rule r, the worst high: f1");
        assert_eq!(
            (&data["findings"][1]["link"], &data["others"][0]),
            (&"http://d/events/2".into(), &"http://d/events/3".into())
        );
        assert_eq!((&data["group"], &data["group_revision"]), (&"ab".into(), &2.into()));
    }
}
