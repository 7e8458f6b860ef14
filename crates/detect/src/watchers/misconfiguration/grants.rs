//! Grants of which less is used than was granted.
//!
//! The list of grants is configuration (`BaselinesConfig::grants`); which operations of each are used is seen. Invariant:
//! nothing is said before a grant was watched for its whole time, and then once.

use crate::bytes::{Reader, Writer};
use crate::quoted;
use crate::watch::{Call, Draft, Key, Keys, Opened, span_text};
use countersign_event::{FindingState, Severity};
use std::sync::Arc;

/// Kind of names in keys.
const GRANT: u8 = 35;
/// Grants looked at; further ones are not.
pub(crate) const GRANTS_MAX: usize = 4_096;
/// Operations of one grant looked at.
pub(crate) const OPERATIONS_MAX: usize = 256;
/// Operations named in a sentence.
const NAMED_MAX: usize = 8;

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Principal id; `*` stands for any run.
    pub principal: String,
    /// Service called.
    pub service: String,
    /// Operations (`core.op`) granted on it.
    pub operations: Vec<String>,
}

pub(super) struct Grants {
    grants: Arc<[Grant]>,
    watch_ns: i64,
    /// By grant.
    used: Vec<Used>,
    keys: Option<Keys>,
}

#[derive(Clone, Default)]
struct Used {
    /// When it was watched first, ns; 0 = not yet.
    since_ns: i64,
    operations: Vec<bool>,
    /// Index and id of the first event seen under it.
    first: Option<(u64, [u8; 16])>,
    told: bool,
}

impl Grants {
    pub(super) fn new(grants: &Arc<[Grant]>, watch_ns: u64) -> Grants {
        let used = |grant: &Grant| Used {
            operations: vec![false; grant.operations.len().min(OPERATIONS_MAX)],
            ..Used::default()
        };
        Grants {
            used: grants.iter().take(GRANTS_MAX).map(used).collect(),
            grants: Arc::clone(grants),
            watch_ns: i64::try_from(watch_ns).unwrap_or(i64::MAX),
            keys: None,
        }
    }

    /// Of what the state belongs to.
    pub(super) fn digest(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(self.watch_ns.to_be_bytes());
        for grant in self.grants.iter() {
            let texts = [&grant.principal, &grant.service].into_iter().chain(&grant.operations);
            hash.update((grant.operations.len() as u64).to_be_bytes());
            for text in texts {
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text);
            }
        }
        let bytes: [u8; 32] = hash.finalize().into();
        bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn see(&mut self, call: &Call<'_>) {
        if self.used.is_empty() {
            return;
        }
        self.keys = Some(call.keys);
        let event = call.event;
        let caller = event.who.who.as_ref().map_or("", |who| who.id.as_str());
        for (grant, used) in self.grants.iter().zip(&mut self.used) {
            if used.since_ns == 0 {
                used.since_ns = call.at_ns;
            }
            if grant.service != event.target.svc || !matches(&grant.principal, caller) {
                continue;
            }
            used.first.get_or_insert((call.index, event.core.eid));
            let operation = grant.operations.iter().position(|op| op.eq_ignore_ascii_case(&event.core.op));
            if let Some(seen) = operation.and_then(|at| used.operations.get_mut(at)) {
                *seen = true;
            }
        }
    }

    pub(super) fn advance(&mut self, watermark_ns: i64, out: &mut Vec<Draft>) {
        let Some(keys) = self.keys else { return };
        for (n, (grant, used)) in self.grants.iter().zip(&mut self.used).enumerate() {
            let watched = watermark_ns.saturating_sub(used.since_ns);
            if used.told || used.since_ns == 0 || watched < self.watch_ns {
                continue;
            }
            used.told = true;
            if used.operations.iter().any(|seen| !seen) {
                let about = keys.of(GRANT, &[&grant.principal, &grant.service, &n.to_string()]);
                out.push(used.say(about, grant, watched));
            }
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.len(self.used.len());
        for used in &self.used {
            out.i64(used.since_ns);
            used.operations.iter().for_each(|seen| out.bool(*seen));
            out.bool(used.first.is_some());
            if let Some((index, eid)) = &used.first {
                out.u64(*index);
                out.key(eid);
            }
            out.bool(used.told);
        }
        out.bool(self.keys.is_some());
        if let Some(keys) = self.keys {
            keys.write(out);
        }
    }

    pub(super) fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        if from.len(10)? != self.used.len() {
            return None;
        }
        let mut all = self.used.clone();
        for used in &mut all {
            used.since_ns = from.i64()?;
            for seen in &mut used.operations {
                *seen = from.bool()?;
            }
            used.first = if from.bool()? { Some((from.u64()?, from.key()?)) } else { None };
            used.told = from.bool()?;
        }
        self.keys = if from.bool()? { Some(Keys::read(from)?) } else { None };
        self.used = all;
        Some(())
    }
}

const BROAD: &str = "{principal} was granted {n} operations on {svc} and used {m} of them in {t}; never used: {unused}; wrong \
                     if: it needs them seldom, or uses them where nobody sees it";

impl Used {
    fn say(&self, about: Key, grant: &Grant, watched: i64) -> Draft {
        let (index, eid) = self.first.unwrap_or_default();
        let mut matter = Opened::nobodys("", index, eid, self.since_ns);
        matter.last_ns = self.since_ns.saturating_add(watched);
        let (all, used) = (self.operations.len(), self.operations.iter().filter(|seen| **seen).count());
        let unused = grant.operations.iter().zip(&self.operations).filter(|(_, seen)| !**seen);
        let mut names: Vec<&str> = unused.map(|(op, _)| op.as_str()).collect();
        if names.len() > NAMED_MAX {
            names.truncate(NAMED_MAX);
            names.push("…");
        }
        let draft = matter.draft(about, FindingState::Open, BROAD).and([
            ("principal", grant.principal.clone()),
            ("svc", grant.service.clone()),
            ("source", format!("{} on {}", grant.principal, grant.service)),
            ("n", all.to_string()),
            ("m", used.to_string()),
            ("t", span_text(watched)),
            ("unused", names.join(", ")),
        ]);
        let severity = if used * 2 < all { Severity::Low } else { Severity::Informational };
        let query = format!("service:{}", quoted(&grant.service));
        Draft { severity, confidence: 80, query, ..draft }
    }
}

/// `*` in a pattern stands for any run of characters. Linear in the text for each `*`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let Some(last) = pattern.contains('*').then(|| pattern.rsplit('*').next().unwrap_or("")) else {
        return rest.is_empty();
    };
    let middle: Vec<&str> = parts.collect();
    for part in middle.iter().take(middle.len().saturating_sub(1)) {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or(""),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    #[test]
    fn stars_stand_for_any_run() {
        for (pattern, text, want) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*c", "abbc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("*", "", true),
            ("ab*b", "ab", false),
        ] {
            assert_eq!(super::matches(pattern, text), want, "{pattern} {text}");
        }
    }
}
