//! Breaches that are open, and the finding of one.
//!
//! Invariants: one finding for a caller, service, operation and what is wrong with it; resolved after it has stayed away
//! for `AWAY_NS`; at most [`OPEN_MAX`] open, later ones are counted.

use super::{AWAY_NS, Breach, What};
use crate::coverage::operation;
use crate::finding::{Evidence, Finding, Flag, Rule, first_half, signed};
use crate::first_seen::{edge_query, nobody};
use crate::{Hmac, quoted};
use countersign_event::{Event, FindingState, Severity};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Breaches open at once.
pub const OPEN_MAX: usize = 10_000;
const DAY_NS: u64 = 86_400_000_000_000;
/// What stays away is looked for this often, ns.
const EVERY_NS: u64 = 3_600_000_000_000;

/// One open breach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    id: [u8; 16],
    tenant: String,
    /// Caller (name, id), service, operation and its verb.
    names: [String; 5],
    what: What,
    got: String,
    want: String,
    document: String,
    first_ns: u64,
    last_ns: u64,
    first: (u64, [u8; 16]),
    last: u64,
    count: u64,
    capped: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Breaches {
    open: BTreeMap<[u8; 16], Open>,
    day: (u64, u64),
    looked: u64,
    pub(super) beyond: u64,
}

/// What a restart needs.
pub(super) type Saved = (Vec<([u8; 16], Open)>, (u64, u64), u64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Open,
    Over,
}

impl Breaches {
    /// Takes a breach; gives it back when it is to be told.
    pub(super) fn note(
        &mut self,
        hmac: &Hmac,
        rule: &Rule,
        breach: &Breach,
        (index, event): (u64, &Event),
        now_ns: u64,
        allowance: u64,
    ) -> Option<Open> {
        let names = names(event);
        let tenant = &event.core.tenant;
        let what = format!("{:?}", breach.what);
        let mut bytes = b"countersign-contract-v1".to_vec();
        for part in [tenant, &names[0], &names[2], &names[3], &what, &breach.got, &breach.document] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        let group = first_half(hmac(&bytes));
        if let Some(open) = self.open.get_mut(&group) {
            (open.last_ns, open.last) = (now_ns, index);
            open.count = open.count.saturating_add(1);
            return None;
        }
        if self.open.len() >= OPEN_MAX {
            self.beyond = self.beyond.saturating_add(1);
            return None;
        }
        let day = now_ns / DAY_NS;
        self.day = if self.day.0 == day { (day, self.day.1 + 1) } else { (day, 1) };
        let open = Open {
            id: rule.finding_id(hmac, tenant, &group, index, 0),
            tenant: tenant.clone(),
            names,
            what: breach.what,
            got: breach.got.clone(),
            want: breach.want.clone(),
            document: breach.document.clone(),
            first_ns: now_ns,
            last_ns: now_ns,
            first: (index, event.core.eid),
            last: index,
            count: 1,
            capped: self.day.1 > allowance,
        };
        self.open.insert(group, open.clone());
        Some(open)
    }

    /// Those that have stayed away.
    pub(super) fn turn(&mut self, now_ns: u64) -> Vec<Open> {
        if now_ns / EVERY_NS <= self.looked {
            return Vec::new();
        }
        self.looked = now_ns / EVERY_NS;
        let mut over = Vec::new();
        self.open.retain(|_, open| {
            let gone = now_ns.saturating_sub(open.last_ns) >= AWAY_NS;
            if gone {
                over.push(open.clone());
            }
            !gone
        });
        over
    }

    pub(super) fn save(&self) -> Saved {
        (self.open.clone().into_iter().collect(), self.day, self.looked, self.beyond)
    }

    pub(super) fn load((open, day, looked, beyond): Saved) -> Option<Breaches> {
        let good = open.len() <= OPEN_MAX;
        good.then(|| Breaches { open: open.into_iter().collect(), day, looked, beyond })
    }
}

fn names(event: &Event) -> [String; 5] {
    let who = event.who.who.as_ref();
    let id = who.map_or("", |who| who.id.as_str());
    let caller = who.map_or("", |who| if who.svc.is_empty() { &who.id } else { &who.svc });
    let names = [caller, id, &event.target.svc, &operation(event), &event.core.op];
    names.map(|name| crate::finding::clip(name, 512).to_owned())
}

/// The finding of a breach, at `event`.
pub(super) fn finding(rule: &Rule, open: &Open, said: Said, now_ns: u64, event: &Event) -> Finding {
    let over = said == Said::Over;
    let written = !open.document.is_empty();
    // An answer that the caller does not expect breaks it; an error that nobody wrote down is common.
    let error = open.what == What::Status && open.got.starts_with(['4', '5']);
    let severity = match (open.capped, error) {
        (true, _) => Severity::Informational,
        (false, true) => Severity::Low,
        (false, false) => Severity::Medium,
    };
    let [caller, id, service, operation, verb] = &open.names;
    let or = |text: &String, other: &str| if text.is_empty() { other.to_owned() } else { text.clone() };
    let term = match open.what {
        What::Status => format!(" status:{}", quoted(&open.got)),
        What::Answer => format!(" rsp.type:{}", quoted(&open.got)),
        What::Request => format!(" req.type:{}", quoted(&open.got)),
        What::Method => String::new(),
    };
    Finding {
        id: open.id,
        revision: if over { 2 } else { 1 },
        state: if over { FindingState::Resolved } else { FindingState::Open },
        severity,
        confidence: if written { 90 } else { 60 },
        flags: if open.capped { vec![Flag::Capped] } else { Vec::new() },
        window: (signed(open.first_ns), signed(now_ns)),
        decided_ns: now_ns,
        evidence: Evidence {
            indices: if open.last == open.first.0 { vec![open.last] } else { vec![open.first.0, open.last] },
            count: open.count,
            first: open.first.0,
            last: open.last,
            eid: open.first.1,
        },
        rule: rule.clone(),
        template: Cow::Borrowed(if over { OVER } else { template(open.what, written) }),
        values: vec![
            ("caller".into(), or(caller, "an unidentified caller")),
            ("service".into(), service.clone()),
            ("operation".into(), or(operation, "an unnamed operation")),
            ("got".into(), open.got.clone()),
            ("want".into(), or(&open.want, "nothing")),
            ("document".into(), open.document.clone()),
            ("count".into(), open.count.to_string()),
        ],
        query: format!("{}{term}", edge_query(id, service, verb)),
        subject: Box::new(if over { subject(event, open) } else { event.clone() }),
    }
}

/// Whom a breach was about, when the event at hand is another.
fn subject(event: &Event, open: &Open) -> Event {
    let mut subject = nobody(event);
    open.tenant.clone_into(&mut subject.core.tenant);
    open.names[2].clone_into(&mut subject.target.svc);
    if !open.names[1].is_empty() {
        let claimed = countersign_event::Verified::Claimed;
        subject.who.who = Some(countersign_event::Principal::new(open.names[1].clone(), claimed));
    }
    subject
}

const OVER: &str = "{service} and {caller} keep to their contract again on {operation}: {got} was not seen for a day, after \
     {count} calls with it; wrong if: {caller} has not called since";

fn template(what: What, written: bool) -> &'static str {
    match (what, written) {
        (What::Status, true) => {
            "{service} answered {caller} on {operation} with status {got}, which {document} does not have (it has {want}); \
             wrong if: the document is older than the deployment, or something between them answered"
        }
        (What::Answer, true) => {
            "{service} answered {caller} on {operation} with content type {got}, where {document} has {want}; wrong if: the \
             document is older than the deployment, or something between them answered"
        }
        (What::Request, _) => {
            "{caller} sent {service} content type {got} on {operation}, where {document} has {want}; wrong if: the document \
             is older than the deployment"
        }
        (What::Method, _) => {
            "{caller} called {got} of {operation} on {service}, and {document} has no such method (it has {want}); wrong if: \
             the document is older than the deployment"
        }
        (What::Status, false) => {
            "{service} answered {caller} on {operation} with status {got}, which it never did while it was learned (it was \
             {want}); wrong if: the operation was changed on purpose"
        }
        (What::Answer, false) => {
            "{service} answered {caller} on {operation} with content type {got}, which it never did while it was learned \
             (it was {want}); wrong if: the operation was changed on purpose"
        }
    }
}
