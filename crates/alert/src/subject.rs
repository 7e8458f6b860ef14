//! What a finding is about, as far as routes, silences, inhibition and feedback look at it.
//!
//! Invariant: texts are copied from the finding's event, so they are as hostile as the wire.

use crate::message::{Alert, RULE, VALUES};
use crate::seal::Seal;
use countersign_event::cbor::Value;
use countersign_event::{Event, FindingState, Severity};

/// Names that detectors give the value that says which source they mean.
const SOURCE_VALUES: [&str; 3] = ["src", "source", "input"];

/// Whom and what a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Rule id.
    pub rule: String,
    /// How grave.
    pub severity: Severity,
    /// Open, updated or resolved.
    pub state: FindingState,
    /// Tenant.
    pub tenant: String,
    /// Canonical id of the caller; empty where there is none.
    pub caller: String,
    /// Service called.
    pub service: String,
    /// Operation.
    pub operation: String,
    /// Resource, as a template.
    pub resource: String,
    /// Input, observer or route that the evidence came by.
    pub source: String,
    /// Labels of the finding.
    pub labels: Vec<String>,
}

impl Default for Subject {
    fn default() -> Subject {
        Subject {
            rule: String::new(),
            severity: Severity::Medium,
            state: FindingState::Open,
            tenant: String::new(),
            caller: String::new(),
            service: String::new(),
            operation: String::new(),
            resource: String::new(),
            source: String::new(),
            labels: Vec::new(),
        }
    }
}

impl Subject {
    /// That of a finding's event; `None` for what is no finding that people are told of.
    pub fn of(event: &Event) -> Option<Subject> {
        Alert::of(event, 0).map(|alert| Subject::of_alert(&alert))
    }

    pub(crate) fn of_alert(alert: &Alert<'_>) -> Subject {
        let event = alert.event;
        Subject {
            rule: alert.rule.to_owned(),
            severity: alert.severity,
            state: alert.state(),
            tenant: event.core.tenant.clone(),
            caller: event.who.who.as_ref().map(|p| p.id.clone()).unwrap_or_default(),
            service: event.target.svc.clone(),
            operation: event.core.op.clone(),
            resource: event.target.res.clone(),
            source: source(event).to_owned(),
            labels: event.core.labels.clone(),
        }
    }

    /// What makes two findings the same matter: tenant, rule, identity and edge, or the source where there is
    /// neither; never a time, and not the state. Hexadecimal.
    pub(crate) fn fingerprint(&self, seal: &Seal) -> String {
        let source = if self.caller.is_empty() && self.service.is_empty() { &*self.source } else { "" };
        let texts = [&*self.tenant, &self.rule, &self.caller, &self.service, &self.operation, source];
        let mut parts = vec![b"fingerprint-2".as_slice()];
        parts.extend(texts.iter().map(|text| text.as_bytes()));
        crate::message::hex(&seal.id(&parts))
    }
}

fn source(event: &Event) -> &str {
    if let Some(Value::Map(values)) = event.content.detail.get(&VALUES) {
        let named =
            values.iter().find(|(name, _)| name.as_text().is_some_and(|n| SOURCE_VALUES.contains(&n)));
        if let Some(text) = named.and_then(|(_, value)| value.as_text()) {
            return text;
        }
    }
    &event.core.route
}

/// The rule id of a finding's event.
pub(crate) fn rule(event: &Event) -> &str {
    let rule = event.content.detail.get(&RULE).and_then(|v| v.as_text());
    rule.or(event.core.labels.first().map(String::as_str)).unwrap_or("unnamed")
}
