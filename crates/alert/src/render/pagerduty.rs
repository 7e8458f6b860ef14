//! An event of PagerDuty's Events API v2, without its routing key, which is added when it is sent.
//!
//! Invariants: the `dedup_key` is the group's fingerprint, the same for every trigger and for the resolve; the summary
//! has at most 1,024 characters, the body far less than 512 KB.

use crate::notice::{Kind, Notice};
use crate::render::escaped;
use crate::render::webhook::event_link;
use crate::time::rfc3339;
use countersign_event::{FindingState, Severity};
use serde_json::{Value, json};

/// Longest summary, in characters.
const SUMMARY_MAX: usize = 1024;

/// The event with the routing key.
pub(crate) fn body(notice: &Notice, link: &str, routing_key: &str) -> Vec<u8> {
    let resolves = notice.kind == Kind::Findings && notice.state() == FindingState::Resolved;
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": if resolves { "resolve" } else { "trigger" },
        "dedup_key": key(notice),
        "client": "Countersign",
        "payload": {
            "summary": escaped(&notice.headline(), SUMMARY_MAX, |c| c.is_control().then_some(" ")),
            "source": "countersign",
            "severity": severity(notice.severity()),
            "timestamp": rfc3339(notice.made_ns),
            "component": notice.items.first().map(|item| item.service.as_str()).unwrap_or_default(),
            "group": notice.group,
            "class": notice.rule(),
            "custom_details": details(notice, link),
        },
    });
    if !link.is_empty() {
        let at = |index| json!({"href": event_link(link, index), "text": format!("ledger index {index}")});
        let links: Vec<Value> = notice.items.iter().map(|item| at(item.index)).collect();
        event["client_url"] = json!(crate::message::clip(link, 512));
        event["links"] = json!(links);
    }
    event.to_string().into_bytes()
}

fn key(notice: &Notice) -> String {
    match notice.kind {
        Kind::Findings => notice.group.clone(),
        Kind::Summary => "countersign-summary".to_owned(),
        Kind::Watchdog => "countersign-watchdog".to_owned(),
    }
}

fn details(notice: &Notice, link: &str) -> Value {
    let finding = |item: &crate::notice::Item| {
        json!({
            "explanation": item.sentence(), "finding": item.finding, "index": item.index, "query": item.query,
            "who": item.who.as_ref().map(|w| &w.id), "service": item.service, "link": event_link(link, item.index),
        })
    };
    json!({
        "count": notice.count, "total": notice.total, "note": notice.note,
        "first_index": notice.first_index, "last_index": notice.last_index,
        "findings": notice.items.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        _ => "info",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Item;

    /// The bound of the Events API.
    const BODY_MAX_BYTES: usize = 512 << 10;

    fn json(notice: &Notice) -> Value {
        serde_json::from_slice(&body(notice, "http://d", "0123456789abcdef0123456789abcdef")).unwrap()
    }

    #[test]
    fn the_key_is_the_groups_and_the_same_for_trigger_and_resolve() {
        let item = Item { explanation: Some("x".repeat(5000)), state: 1, ..Item::default() };
        let open = Notice {
            group: "ab".repeat(16),
            state: 1,
            severity: 5,
            count: 1,
            items: vec![item],
            ..Notice::default()
        };
        let resolved = Notice { state: 3, revision: 9, ..open.clone() };
        assert_eq!(json(&open)["event_action"], "trigger");
        assert_eq!(json(&resolved)["event_action"], "resolve");
        assert_eq!(json(&open)["dedup_key"], json(&resolved)["dedup_key"]);
        assert!(json(&open)["dedup_key"].as_str().unwrap().len() <= 255);
        assert!(json(&open)["payload"]["summary"].as_str().unwrap().chars().count() <= SUMMARY_MAX);
        assert_eq!(json(&open)["payload"]["severity"], "critical");
    }

    #[test]
    fn the_largest_body_is_within_the_bound() {
        let item = Item {
            explanation: Some("\u{1}".repeat(1024)),
            query: Some("\u{1}".repeat(1024)),
            ..Item::default()
        };
        let notice =
            Notice { count: 10, items: vec![item; 10], note: "\u{1}".repeat(1024), ..Notice::default() };
        assert!(body(&notice, &"h".repeat(600), "k").len() < BODY_MAX_BYTES);
    }

    #[test]
    fn severities_are_those_of_pagerduty() {
        use Severity::*;
        let all = [Critical, High, Medium, Low, Informational].map(severity);
        assert_eq!(all, ["critical", "error", "warning", "info", "info"]);
    }
}
