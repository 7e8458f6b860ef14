//! A notification: what its receivers are told, before it takes the form of any of them.
//!
//! Invariants: bounded (at most [`ITEMS_MAX`] findings in words, [`OTHERS_MAX`] by their index, texts clipped); every
//! text in it may come from the wire, so each form escapes it in its own way; it is kept until it is delivered, and
//! rendered anew for each attempt with the same bytes.

use crate::config::Explain;
use crate::message::{Alert, QUERY, clip, hex};
use crate::subject::Subject;
use countersign_event::fields::sys;
use countersign_event::{FindingState, Severity};
use serde::{Deserialize, Serialize};

/// Most findings in words.
pub(crate) const ITEMS_MAX: usize = 10;
/// Most findings beyond these that are named by their ledger index.
pub(crate) const OTHERS_MAX: usize = 40;
/// Longest text of the first finding, and of the others, in bytes.
const TEXT_MAX_BYTES: usize = 1024;
const TEXT_OTHERS_MAX_BYTES: usize = 256;

/// One finding in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) finding: String,
    pub(crate) fingerprint: String,
    /// Event id, hexadecimal.
    pub(crate) eid: String,
    pub(crate) revision: Option<u64>,
    pub(crate) state: u64,
    pub(crate) severity: u64,
    pub(crate) confidence: Option<u64>,
    pub(crate) rule: String,
    pub(crate) explanation: Option<String>,
    pub(crate) tenant: String,
    pub(crate) who: Option<Caller>,
    pub(crate) service: String,
    pub(crate) operation: String,
    pub(crate) resource: String,
    pub(crate) source: String,
    pub(crate) index: u64,
    pub(crate) evidence: Option<u64>,
    pub(crate) query: Option<String>,
    /// Repeats of the same matter since people were last told of it.
    pub(crate) repeats: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Caller {
    pub(crate) id: String,
    pub(crate) verified: u64,
    pub(crate) auth: Option<String>,
    pub(crate) name: String,
}

/// What kind of notification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    #[default]
    Findings,
    /// The sum of what found a queue full.
    Summary,
    /// "I am alive."
    Watchdog,
}

/// One notification of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Notice {
    pub(crate) kind: Kind,
    /// The group's fingerprint.
    pub(crate) group: String,
    pub(crate) revision: u64,
    /// Open, updated or resolved: the group's.
    pub(crate) state: u64,
    /// The worst of its findings.
    pub(crate) severity: u64,
    /// Findings in this notification.
    pub(crate) count: u64,
    /// Findings since the group began.
    pub(crate) total: u64,
    /// When the group began, and when this notification was made, Unix ns.
    pub(crate) started_ns: u64,
    pub(crate) made_ns: u64,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) items: Vec<Item>,
    /// Ledger indices of findings beyond the items.
    pub(crate) others: Vec<u64>,
    pub(crate) first_index: u64,
    pub(crate) last_index: u64,
    /// Revision and first finding of the group's first notification, if this is a later one.
    pub(crate) root: Option<(u64, String)>,
    /// Id of that notification's message at this receiver; empty for the first.
    pub(crate) thread: String,
    /// Why this receiver gets it, where that needs a word.
    pub(crate) note: String,
}

impl Item {
    pub(crate) fn of(
        alert: &Alert<'_>,
        subject: &Subject,
        fingerprint: &str,
        explain: Option<Explain>,
        repeats: u64,
    ) -> Item {
        let event = alert.event;
        let number = |key: u64| event.core.sys.get(&key).and_then(|v| v.as_uint());
        let evidence =
            event.core.sys.get(&sys::finding::EVIDENCE).and_then(|v| v.as_array()).and_then(|a| a.first());
        let text = |text: &str| clip(text, TEXT_MAX_BYTES).to_owned();
        let who = event.who.who.as_ref().map(|p| Caller {
            id: text(&p.id),
            verified: p.verified.code(),
            auth: p.auth.map(|a| a.word().to_owned()),
            name: text(&p.name),
        });
        Item {
            finding: alert.finding().unwrap_or_default(),
            fingerprint: fingerprint.to_owned(),
            eid: hex(&event.core.eid),
            revision: number(sys::finding::REVISION),
            state: subject.state.code(),
            severity: subject.severity.code(),
            confidence: number(sys::finding::CONFIDENCE),
            rule: text(&subject.rule),
            explanation: explain.and_then(|explain| explain(event)).map(|e| text(&e)),
            tenant: text(&subject.tenant),
            who,
            service: text(&subject.service),
            operation: text(&subject.operation),
            resource: text(&subject.resource),
            source: text(&subject.source),
            index: alert.index,
            evidence: evidence.and_then(|v| v.as_uint()),
            query: event.content.detail.get(&QUERY).and_then(|v| v.as_text()).map(text),
            repeats,
        }
    }

    /// As one of several, of which none may fill the message.
    pub(crate) fn short(mut self) -> Item {
        self.clip(TEXT_OTHERS_MAX_BYTES);
        self
    }

    pub(crate) fn clip(&mut self, max: usize) {
        let cut = |text: &mut String| text.truncate(clip(text, max).len());
        [
            &mut self.rule,
            &mut self.tenant,
            &mut self.service,
            &mut self.operation,
            &mut self.resource,
            &mut self.source,
        ]
        .into_iter()
        .for_each(cut);
        self.explanation.iter_mut().chain(self.query.iter_mut()).for_each(cut);
        if let Some(who) = &mut self.who {
            cut(&mut who.id);
            cut(&mut who.name);
        }
    }

    /// One line: the explanation, or what is known without it.
    pub(crate) fn sentence(&self) -> String {
        let over = if self.state == FindingState::Resolved.code() { "resolved: " } else { "" };
        match &self.explanation {
            Some(explanation) => format!("{over}{explanation}"),
            None => format!("{over}finding of rule {} at ledger index {}", self.rule, self.index),
        }
    }
}

impl Notice {
    /// Something from the platform itself.
    pub(crate) fn of_platform(
        kind: Kind,
        note: String,
        count: u64,
        range: (u64, u64),
        now_ns: u64,
    ) -> Notice {
        Notice {
            kind,
            note,
            count,
            total: count,
            severity: Severity::Informational.code(),
            state: FindingState::Open.code(),
            started_ns: now_ns,
            made_ns: now_ns,
            first_index: range.0,
            last_index: range.1,
            ..Notice::default()
        }
    }

    pub(crate) fn severity(&self) -> Severity {
        Severity::from_code(self.severity).unwrap_or(Severity::Medium)
    }

    pub(crate) fn state(&self) -> FindingState {
        FindingState::from_code(self.state).unwrap_or(FindingState::Open)
    }

    /// The rule's id, where all findings have the same.
    pub(crate) fn rule(&self) -> &str {
        let labelled = self.labels.iter().find(|(name, _)| name == "rule").map(|(_, rule)| rule.as_str());
        labelled.or(self.items.first().map(|item| item.rule.as_str())).unwrap_or("")
    }

    /// One line for the whole.
    pub(crate) fn headline(&self) -> String {
        match (self.kind, self.items.first()) {
            (Kind::Watchdog | Kind::Summary, _) | (_, None) => self.note.clone(),
            (_, Some(item)) if self.count <= 1 => item.sentence(),
            (_, Some(item)) => format!(
                "{}{} findings of rule {}, the worst {}: {}",
                if self.state() == FindingState::Resolved { "resolved: " } else { "" },
                self.count,
                self.rule(),
                self.severity().word(),
                item.sentence()
            ),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Notice> {
        serde_json::from_slice(bytes).ok()
    }
}
