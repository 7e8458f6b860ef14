//! The desk where people ask about alerts and act on them: translation between the interface's JSON and `alert`.
//!
//! Every deed is an event of `alert`'s own before it is answered. `by` in a body names the person; who was signed in stands
//! beside it, so that nobody acts under another's name alone.

use super::reports::Reports;
use countersign_alert::{AlertError, Alerts, Answer, Match, Silence};
use countersign_event::{
    Core, Decision, Event, Kind, Outcome, Principal, Rec, Severity, TimeBasis, Verified,
};
use countersign_ledger::Source;
use countersign_store::Store;
use countersign_web::{Desk, DeskError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const SECOND_NS: u64 = 1_000_000_000;

/// Over running delivery.
pub(crate) struct AlertDesk {
    alerts: Arc<Alerts>,
    store: Store,
    reports: Reports,
    platform: Source,
}

impl AlertDesk {
    pub(crate) fn new(alerts: Arc<Alerts>, store: Store, reports: Reports, platform: Source) -> AlertDesk {
        AlertDesk { alerts, store, reports, platform }
    }
}

impl Desk for AlertDesk {
    fn show(&self, what: &str) -> Result<Value, DeskError> {
        let alerts = &self.alerts;
        Ok(match what {
            "open" => {
                json!({ "matters": self.matters(), "sums": self.sums(), "receivers": self.receivers() })
            }
            "dead" => {
                let letters = alerts.dead().into_iter().map(|letter| {
                    json!({ "receiver": letter.receiver, "id": letter.id, "created_ns": letter.created_ns,
                        "index": letter.index, "findings": letter.count, "attempts": letter.attempts, "why": letter.why })
                });
                letters.collect()
            }
            "silences" => alerts.silences().iter().map(silence).collect(),
            "opinions" => json!(alerts.opinions()),
            "precision" => {
                let rules = alerts.precision().into_iter().map(|rule| {
                    let share = rule.share.map(|(share, low, high)| json!([share, low, high]));
                    json!({ "rule": rule.rule, "true": rule.answers.yes, "false": rule.answers.no,
                        "benign": rule.answers.benign, "duplicate": rule.answers.duplicate, "precision": share })
                });
                rules.collect()
            }
            "coverage" | "service-levels" | "detectors" => self.reports.ask(what).unwrap_or(Value::Null),
            _ => return Err(DeskError::Unknown),
        })
    }

    fn act(&self, deed: &str, body: &Value, signed_in: &str) -> Result<Value, DeskError> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let need = |name: &str| match text(name) {
            "" => Err(DeskError::Bad(format!("`{name}` is needed"))),
            text => Ok(text),
        };
        let by = match text("by") {
            "" => signed_in.to_owned(),
            by => format!("{by} ({signed_in})"),
        };
        let alerts = &self.alerts;
        match deed {
            "ack" => alerts.acknowledge(need("target")?, &by, text("note")).map_err(failed)?,
            "silence" => {
                let hours = body.get("seconds").and_then(Value::as_u64);
                let seconds = hours.ok_or_else(|| DeskError::Bad("`seconds` is needed: how long".into()))?;
                let ends = now_ns().saturating_add(seconds.saturating_mul(SECOND_NS));
                let id = alerts.silence(matching(body)?, &by, need("reason")?, ends).map_err(failed)?;
                return Ok(json!({ "id": id }));
            }
            "expire" => alerts.expire(need("id")?, &by).map_err(failed)?,
            "resend" => alerts.resend(need("receiver")?, need("id")?).map_err(failed)?,
            "feedback" => self.feedback(body, &by, need("answer")?, text("why"))?,
            "propose" => return self.propose(body, need("rule")?),
            "change" => self.change(body, text("service"), &by, need("reason")?)?,
            _ => return Err(DeskError::Unknown),
        }
        Ok(json!({}))
    }
}

impl AlertDesk {
    fn matters(&self) -> Value {
        let matters = self.alerts.matters().into_iter().map(|matter| {
            json!({ "fingerprint": matter.fingerprint, "finding": matter.finding, "rule": matter.rule,
                "told_ns": matter.told_ns, "repeats": matter.repeats, "ack": matter.ack })
        });
        matters.collect()
    }

    fn sums(&self) -> Value {
        sums(&self.alerts.counters())
    }

    fn receivers(&self) -> Value {
        let all = self.alerts.status().into_iter().map(|status| {
            json!({ "name": status.name, "sums": sums(&status.counters), "disabled": status.disabled,
                "last_error": status.last_error })
        });
        all.collect()
    }

    fn feedback(&self, body: &Value, by: &str, answer: &str, why: &str) -> Result<(), DeskError> {
        let answer = Answer::from_word(answer)
            .ok_or_else(|| DeskError::Bad("`answer` is true, false, benign or duplicate".into()))?;
        let index = body.get("index").and_then(Value::as_u64);
        let index = index.ok_or_else(|| DeskError::Bad("`index` of the finding is needed".into()))?;
        let stored = self.store.get(index).map_err(|e| DeskError::Failed(e.to_string()))?;
        let event = stored
            .and_then(|stored| stored.event)
            .ok_or_else(|| DeskError::Bad(format!("there is no event at ledger index {index}")))?;
        self.alerts.feedback(&event, index, answer, by, why).map_err(failed)
    }

    /// A change of a service (empty = all) is announced: detection mutes what judges by rates, sizes and times.
    fn change(&self, body: &Value, service: &str, by: &str, reason: &str) -> Result<(), DeskError> {
        let seconds = body.get("seconds").and_then(Value::as_u64).filter(|s| (1..=86_400).contains(s));
        let seconds = seconds.ok_or_else(|| DeskError::Bad("`seconds` is needed: 1 to 86400".into()))?;
        let now = now_ns();
        let core = Core {
            t_obs: now,
            t_event: i64::try_from(now).ok(),
            t_basis: Some(TimeBasis::Measured),
            rec: Some(Rec::Platform),
            kind: Some(Kind::Lifecycle),
            op: "change_window".to_owned(),
            outcome: Some(Outcome::Success),
            dur: Some(seconds.saturating_mul(SECOND_NS)),
            decision: Some(Box::new(Decision { purpose: reason.to_owned(), ..Decision::default() })),
            ..Core::default()
        };
        let mut event = Event { core, ..Event::default() };
        event.who.who = Some(Principal::new(format!("user:local/{by}"), Verified::Asserted));
        event.target.svc = service.to_owned();
        let ack = self.platform.record_wait(vec![event]).map_err(|e| DeskError::Failed(e.to_string()))?;
        ack.rejected.first().map_or(Ok(()), |(_, why)| Err(DeskError::Bad(why.to_string())))
    }

    fn propose(&self, body: &Value, rule: &str) -> Result<Value, DeskError> {
        let days = body.get("days").and_then(Value::as_u64).unwrap_or(30);
        let ends = now_ns().saturating_add(days.saturating_mul(86_400 * SECOND_NS));
        let made = self.alerts.propose_filter(rule, ends).map_err(|e| DeskError::Bad(e.to_string()))?;
        let opinions = self.alerts.opinions();
        countersign_alert::would_hide_true(&made, &opinions, |filter, opinion| filter.holds(opinion))
            .map_err(|e| DeskError::Bad(e.to_string()))?;
        Ok(
            json!({ "rule": made.rule, "fields": made.fields, "findings": made.findings, "ends_ns": made.ends_ns,
            "text": made.text, "opinions": opinions }),
        )
    }
}

fn sums(of: &countersign_alert::Counters) -> Value {
    json!({ "fired": of.fired, "delivered": of.delivered, "merged": of.merged, "inhibited": of.inhibited,
        "silenced": of.silenced, "dead": of.dead, "pending": of.pending, "summarised": of.summarised,
        "conserved": of.conserved() })
}

fn silence(of: &Silence) -> Value {
    json!({ "id": of.id, "by": of.by, "reason": of.reason, "matches": of.matches, "made_ns": of.made_ns,
        "ends_ns": of.ends_ns })
}

/// The conditions of a silence.
fn matching(body: &Value) -> Result<Match, DeskError> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let severity = match text("severity").as_str() {
        "" => 0,
        word => Severity::ALL
            .iter()
            .find(|severity| severity.word() == word)
            .map(|severity| severity.code())
            .ok_or_else(|| {
                DeskError::Bad(format!(
                    "`{word}` is no severity: informational, low, medium, high or critical"
                ))
            })?,
    };
    Ok(Match {
        rule: text("rule"),
        severity,
        label: text("label"),
        caller: text("caller"),
        service: text("service"),
        source: text("source"),
        tenant: text("tenant"),
    })
}

fn failed(error: AlertError) -> DeskError {
    match error {
        AlertError::Io { .. } | AlertError::Crypto(_) => DeskError::Failed(error.to_string()),
        other => DeskError::Bad(other.to_string()),
    }
}

fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    u64::try_from(now).unwrap_or(u64::MAX)
}
