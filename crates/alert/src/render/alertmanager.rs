//! Alerts of Alertmanager's `POST /api/v2/alerts`: one for the group.
//!
//! Invariants: labels hold what makes the group and nothing that changes over its life (counts, severity, sentences are
//! annotations), else each change would be another alert; a resolved one has `endsAt`, an open one has not and is
//! repeated by `watch.rs` before it would resolve by itself.

use crate::notice::{Kind, Notice};
use crate::time::rfc3339;
use countersign_event::FindingState;
use serde_json::{Map, Value, json};

/// Longest text of an annotation, in bytes.
const ANNOTATION_MAX_BYTES: usize = 4096;

pub(crate) fn body(notice: &Notice, link: &str) -> Vec<u8> {
    let sentences: Vec<String> = notice.items.iter().map(|item| item.sentence()).collect();
    let clip = |text: &str| crate::message::clip(text, ANNOTATION_MAX_BYTES).to_owned();
    let mut alert = json!({
        "labels": labels(notice),
        "annotations": {
            "summary": clip(&notice.headline()),
            "description": clip(&sentences.join("\n")),
            "severity": notice.severity().word(),
            "findings": notice.total.to_string(),
        },
        "startsAt": rfc3339(notice.started_ns),
    });
    if notice.kind == Kind::Findings && notice.state() == FindingState::Resolved {
        alert["endsAt"] = json!(rfc3339(notice.made_ns));
    }
    if !link.is_empty() {
        alert["generatorURL"] = json!(format!("{}/alerts", crate::message::clip(link, 512)));
    }
    json!([alert]).to_string().into_bytes()
}

fn labels(notice: &Notice) -> Value {
    let name = match notice.kind {
        Kind::Findings => notice.rule(),
        Kind::Summary => "CountersignSummary",
        Kind::Watchdog => "Watchdog",
    };
    let mut labels = Map::new();
    labels.insert("alertname".to_owned(), json!(if name.is_empty() { "countersign" } else { name }));
    labels.insert("source".to_owned(), json!("countersign"));
    if !notice.group.is_empty() {
        labels.insert("countersign_group".to_owned(), json!(notice.group));
    }
    // An empty label is the same as none there.
    for (name, value) in notice.labels.iter().filter(|(name, value)| name != "rule" && !value.is_empty()) {
        labels.insert(format!("countersign_{name}"), json!(value));
    }
    Value::Object(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Item;

    #[test]
    fn labels_stay_the_same_over_the_groups_life_and_the_end_has_a_time() {
        let item = |text: &str| Item { explanation: Some(text.into()), state: 1, ..Item::default() };
        let labels = vec![
            ("tenant".into(), String::new()),
            ("rule".into(), "silence".into()),
            ("service".into(), "orders".into()),
        ];
        let open = Notice {
            group: "g".into(),
            state: 1,
            severity: 3,
            count: 1,
            labels,
            items: vec![item("a")],
            ..Notice::default()
        };
        let later = Notice {
            state: 2,
            severity: 5,
            count: 40,
            total: 41,
            revision: 3,
            items: vec![item("b")],
            ..open.clone()
        };
        let resolved = Notice { state: 3, made_ns: 1_000_000_000, ..later.clone() };
        let json = |n: &Notice| serde_json::from_slice::<Value>(&body(n, "http://d")).unwrap()[0].clone();
        assert_eq!(json(&open)["labels"], json(&later)["labels"]);
        assert_eq!(json(&open)["labels"], json(&resolved)["labels"]);
        assert_eq!(json(&open)["labels"]["alertname"], "silence");
        assert_eq!(json(&open)["labels"].get("countersign_tenant"), None);
        assert_eq!(
            (json(&open).get("endsAt"), &json(&resolved)["endsAt"]),
            (None, &"1970-01-01T00:00:01.000Z".into())
        );
        assert_eq!(json(&open)["startsAt"], json(&resolved)["startsAt"]);
    }
}
