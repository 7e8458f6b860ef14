//! Shadows: calls that events tell of and no document expects, though documents speak of the service called.
//!
//! Invariants: told once for a caller and service (a caller that no document names) or an operation and service (one
//! that no document offers); at most [`SHADOWS_MAX`] are remembered, later ones are counted and not told.

use super::Coverage;
use super::detector::At;
use super::expected::Fit;
use super::observed::Edge;
use crate::finding::{Evidence, Finding, Flag, Rule, first_half, signed};
use crate::quoted;
use countersign_event::{FindingState, Severity};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Shadows remembered.
pub const SHADOWS_MAX: usize = 65_536;
const DAY_NS: u64 = 86_400_000_000_000;

/// See the module.
#[derive(Default)]
pub(super) struct Shadows {
    told: BTreeSet<[u8; 16]>,
    day: (u64, u64),
    pub(super) untold: u64,
}

/// What a restart needs.
pub(super) type Saved = (Vec<[u8; 16]>, (u64, u64), u64);

impl Shadows {
    pub(super) fn save(&self) -> Saved {
        (self.told.iter().copied().collect(), self.day, self.untold)
    }

    pub(super) fn load(&mut self, (told, day, untold): Saved) -> Option<()> {
        if told.len() > SHADOWS_MAX {
            return None;
        }
        *self = Shadows { told: told.into_iter().collect(), day, untold };
        Some(())
    }
}

const CALLER: &str = "{caller} called {operation} on {service}, and none of the {documents} documents about {service} \
     lets it call: {examples}; wrong if: the documents are older than the deployment, or call it by another name";
const OPERATION: &str = "{caller} called {operation} on {service}, which none of the {documents} documents about \
     {service} offers: {examples}; wrong if: the documents are older than the deployment, or {service} is another service";

impl Coverage {
    /// The finding of a new edge that is a shadow and was not told yet.
    pub(super) fn shadow(&mut self, at: At<'_>, edge: &Edge) -> Option<Finding> {
        let fit = self.expected.fit(edge);
        let (template, what) = match fit {
            Fit::Expected | Fit::Unmentioned => return None,
            Fit::Caller => (CALLER, &edge.caller),
            Fit::Operation => (OPERATION, &edge.operation),
        };
        let mut bytes = b"countersign-shadow-v1".to_vec();
        for part in [&at.event.core.tenant, template, &edge.callee, what] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        let group = first_half((self.hmac)(&bytes));
        if self.shadows.told.contains(&group) {
            return None;
        }
        if self.shadows.told.len() >= SHADOWS_MAX {
            self.shadows.untold = self.shadows.untold.saturating_add(1);
            return None;
        }
        self.shadows.told.insert(group);
        let day = self.now_ns / DAY_NS;
        self.shadows.day = if self.shadows.day.0 == day { (day, self.shadows.day.1 + 1) } else { (day, 1) };
        let capped = self.shadows.day.1 > self.config.allowance;
        let rule = &self.shadow_rule;
        Some(Finding {
            id: rule.finding_id(&self.hmac, &at.event.core.tenant, &group, at.index, 0),
            revision: 1,
            state: FindingState::Open,
            severity: if capped { Severity::Informational } else { Severity::Medium },
            confidence: 70,
            flags: if capped { vec![Flag::Capped] } else { Vec::new() },
            window: (signed(self.now_ns), signed(self.now_ns)),
            decided_ns: self.now_ns,
            evidence: Evidence::one(at.index, at.event),
            rule: Rule::clone(rule),
            template: Cow::Borrowed(template),
            values: self.shadow_values(edge),
            query: format!(
                "{} service:{}",
                if edge.id.is_empty() { "-who:*".to_owned() } else { format!("who:{}", quoted(&edge.id)) },
                quoted(&edge.callee)
            ),
            subject: Box::new(at.event.clone()),
        })
    }

    fn shadow_values(&self, edge: &Edge) -> Vec<(Cow<'static, str>, String)> {
        let callee = self.expected.callee_of(edge);
        let sources = callee.map(|callee| &callee.sources);
        let examples: Vec<&str> = sources.into_iter().flatten().take(3).map(String::as_str).collect();
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        vec![
            ("caller".into(), or(&edge.caller, "an unidentified caller")),
            ("operation".into(), or(&edge.operation, "an unnamed operation")),
            ("service".into(), edge.callee.clone()),
            ("documents".into(), sources.map_or(0, BTreeSet::len).to_string()),
            ("examples".into(), examples.join(", ")),
        ]
    }
}

/// The rule of these findings.
pub(super) fn rule(allowance: u64) -> Rule {
    Rule::new("coverage.shadow", "1", vec![("allowance", allowance.to_string())])
}
