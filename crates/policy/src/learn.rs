//! Learn mode: from what was seen, permits for a person to read and sign.
//!
//! Not a policy in force: nothing here is loaded by itself. Nothing is learned from an identity below
//! [`LEARNED_FROM`], nor from what a detector flagged: a proposal must not make an intruder's calls lawful.
//! Pure: events come in as data, texts go out; the same events give the same bytes, in any order.

use crate::names::{self, PROTOCOLS, Type};
use crate::rules::hex;
use crate::schema::{OPERATION_MAX, quote};
use countersign_event::{Class, PrincipalKind, Verified};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Lowest identity level that is learned from.
pub const LEARNED_FROM: Verified = Verified::Checked;
/// Most groups (caller, operation, resource) kept; events of further ones are counted, not proposed.
pub const GROUPS_MAX: usize = 100_000;
/// First line of the text that a person signs.
pub const NOTE_HEADER: &str = "countersign/policy-proposal/v1";

/// How the policy text of a proposal begins. A file that begins so is in force only when it is signed.
pub const PROPOSED: &str = "// Proposed from the ledger";

/// One recorded call, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// `who.id`.
    pub principal: &'a str,
    /// `who.kind`.
    pub kind: Option<PrincipalKind>,
    /// `who.verified`.
    pub verified: Verified,
    /// `core.op`.
    pub operation: &'a str,
    /// `core.proto`.
    pub protocol: &'a str,
    /// `core.class`.
    pub class: Option<Class>,
    /// `target.svc`.
    pub service: &'a str,
    /// `target.res`.
    pub resource: &'a str,
    /// Days since 1970, UTC.
    pub day: u32,
    /// Whether a finding names the event.
    pub flagged: bool,
    /// Calls that the record stands for: `core.n`, at least 1.
    pub calls: u64,
}

/// How to learn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Fewest calls of a group to be proposed; at least 1.
    pub min_calls: u64,
    /// Fewest different days on which a group was seen; at least 1.
    pub min_days: u32,
    /// Principal id to group of the entities file: callers of one group are proposed together.
    pub classes: BTreeMap<String, String>,
}

impl Default for Options {
    /// One call on one day, every caller for itself.
    fn default() -> Options {
        Options { min_calls: 1, min_days: 1, classes: BTreeMap::new() }
    }
}

/// Callers of a permit: one, or a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Caller {
    One(Type, String),
    Group(String),
}

/// What a permit is for: callers, action, resource.
type Key = (Caller, String, String);

#[derive(Clone, Debug, Default)]
struct Group {
    by_day: BTreeMap<u32, u64>,
    class: &'static str,
}

impl Group {
    fn calls(&self) -> u64 {
        self.by_day.values().sum()
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls seen.
    pub seen: u64,
    /// Of these, not learned from: the identity was below [`LEARNED_FROM`].
    pub unverified: u64,
    /// Not learned from: flagged.
    pub flagged: u64,
    /// Not learned from: more than [`GROUPS_MAX`] groups, or a protocol or operation that no policy can name.
    pub beyond: u64,
    /// In a group seen too rarely.
    pub rare: u64,
    /// Covered by the proposed permits.
    pub covered: u64,
    /// Learned calls that permits from all other days would have denied.
    pub left_out_denials: u64,
}

/// What is put to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The permits, with comments.
    pub cedar: String,
    /// The same with numbers, for machines: one JSON object, keys in fixed order.
    pub report: String,
    /// Number of permits.
    pub permits: usize,
    /// Counts behind it.
    pub totals: Totals,
}

/// Proposes permits.
pub fn propose<'a>(events: impl IntoIterator<Item = Seen<'a>>, options: &Options) -> Proposal {
    let mut totals = Totals::default();
    let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
    for event in events {
        let calls = event.calls.max(1);
        totals.seen = totals.seen.saturating_add(calls);
        let counter = match take(&event, options, &mut groups, calls) {
            Taken::Learned => continue,
            Taken::Unverified => &mut totals.unverified,
            Taken::Flagged => &mut totals.flagged,
            Taken::Beyond => &mut totals.beyond,
        };
        *counter = counter.saturating_add(calls);
    }
    let enough = |calls: u64, days: usize| {
        calls >= options.min_calls.max(1) && days as u64 >= u64::from(options.min_days.max(1))
    };
    let mut denials: BTreeMap<u32, u64> = BTreeMap::new();
    for group in groups.values() {
        let (calls, days) = (group.calls(), group.by_day.len());
        for (day, here) in &group.by_day {
            if !enough(calls - here, days - 1) {
                let denied = denials.entry(*day).or_default();
                *denied = denied.saturating_add(*here);
            }
        }
    }
    totals.left_out_denials = denials.values().fold(0, |a, b| a.saturating_add(*b));
    let (kept, rare): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(|(_, g)| enough(g.calls(), g.by_day.len()));
    totals.covered = kept.iter().map(|(_, g)| g.calls()).sum();
    totals.rare = rare.iter().map(|(_, g)| g.calls()).sum();
    Proposal {
        cedar: cedar(&kept, &totals),
        report: report(&kept, &totals, &denials, options).to_string(),
        permits: kept.len(),
        totals,
    }
}

enum Taken {
    Learned,
    Unverified,
    Flagged,
    Beyond,
}

fn take(event: &Seen<'_>, options: &Options, groups: &mut BTreeMap<Key, Group>, calls: u64) -> Taken {
    if event.verified.code() < LEARNED_FROM.code() || matches!(event.verified, Verified::Other(_)) {
        return Taken::Unverified;
    }
    if event.flagged {
        return Taken::Flagged;
    }
    if !PROTOCOLS.contains(&names::family(event.protocol))
        || !(1..=OPERATION_MAX).contains(&event.operation.len())
    {
        return Taken::Beyond;
    }
    let caller = match options.classes.get(event.principal) {
        Some(group) => Caller::Group(group.clone()),
        None => Caller::One(Type::of_kind(event.kind), event.principal.to_owned()),
    };
    let action = names::action(event.protocol, event.operation);
    let key = (caller, action, names::resource(event.service, event.resource));
    if !groups.contains_key(&key) && groups.len() >= GROUPS_MAX {
        return Taken::Beyond;
    }
    let group = groups.entry(key).or_default();
    let class = names::class_word(event.class);
    group.class = if group.by_day.is_empty() || group.class == class { class } else { "mixed" };
    let day = group.by_day.entry(event.day).or_default();
    *day = day.saturating_add(calls);
    Taken::Learned
}

/// Hundredths of a per cent as text: `99.87`. All of nothing is 100.
fn percent(part: u64, whole: u64) -> String {
    let hundredths = (u128::from(part) * 10_000).checked_div(u128::from(whole)).unwrap_or(10_000);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn learned(totals: &Totals) -> u64 {
    totals.covered.saturating_add(totals.rare)
}

/// Id of a permit: the same for the same group, whenever it is proposed.
fn id(key: &Key) -> String {
    let mut hash = Sha256::new();
    let caller = match &key.0 {
        Caller::One(ty, id) => [ty.name(), id],
        Caller::Group(group) => [Type::Group.name(), group],
    };
    for text in [caller[0], caller[1], &key.1, &key.2] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    format!("learned-{}", hex(hash.finalize().get(..8).unwrap_or_default()))
}

/// Ids stand in quoted strings alone, escaped; comments hold numbers only. So nothing that a caller chose
/// can become policy text.
fn cedar(kept: &[(Key, Group)], totals: &Totals) -> String {
    let mut out = format!(
        "{PROPOSED}; not in force until someone has read, signed and installed it.\n\
         // {} permits cover {} of {} calls learned from ({} %).\n",
        kept.len(),
        totals.covered,
        learned(totals),
        percent(totals.covered, learned(totals)),
    );
    out.push_str(&format!(
        "// Not learned from: {} unverified, {} flagged, {} beyond the bounds. A day left out: {} denials.\n",
        totals.unverified, totals.flagged, totals.beyond, totals.left_out_denials
    ));
    for (key, group) in kept {
        let (caller, action, resource) = key;
        let principal = match caller {
            Caller::One(ty, id) => format!("principal == {}::{}", ty.name(), quote(id)),
            Caller::Group(group) => format!("principal in {}::{}", Type::Group.name(), quote(group)),
        };
        out.push_str(&format!(
            "\n// {} calls on {} days, {} to {}\n@id({})\npermit(\n  {principal},\n  action == {}::{},\n  \
             resource == {}::{}\n) when {{ principal.verified >= {} }};\n",
            group.calls(),
            group.by_day.len(),
            day_text(group.by_day.keys().next()),
            day_text(group.by_day.keys().next_back()),
            quote(&id(key)),
            Type::Action.name(),
            quote(action),
            Type::Resource.name(),
            quote(resource),
            LEARNED_FROM.code(),
        ));
    }
    out
}

fn day_text(day: Option<&u32>) -> String {
    day.map(|day| crate::call::date(u64::from(*day))).unwrap_or_default()
}

fn report(kept: &[(Key, Group)], totals: &Totals, denials: &BTreeMap<u32, u64>, options: &Options) -> Value {
    let permits: Vec<Value> = kept
        .iter()
        .map(|(key, group)| {
            let (kind, caller) = match &key.0 {
                Caller::One(ty, id) => (ty.name(), id),
                Caller::Group(group) => (Type::Group.name(), group),
            };
            json!({
                "id": id(key), "principal_type": kind, "principal": caller, "action": key.1,
                "class": group.class, "resource": key.2, "calls": group.calls(), "days": group.by_day.len(),
                "first": day_text(group.by_day.keys().next()), "last": day_text(group.by_day.keys().next_back()),
                "coverage_percent": percent(group.calls(), learned(totals)),
            })
        })
        .collect();
    let left_out: Vec<Value> =
        denials.iter().map(|(day, n)| json!({ "day": day_text(Some(day)), "denials": n })).collect();
    json!({
        "format": NOTE_HEADER,
        "min_calls": options.min_calls, "min_days": options.min_days, "learned_from_verified": LEARNED_FROM.code(),
        "seen": totals.seen, "unverified": totals.unverified, "flagged": totals.flagged,
        "beyond": totals.beyond, "rare": totals.rare, "covered": totals.covered,
        "coverage_percent": percent(totals.covered, learned(totals)),
        "left_out_denials": totals.left_out_denials, "left_out_by_day": left_out,
        "permits": permits,
    })
}

impl Proposal {
    /// Hex SHA-256 over both texts.
    pub fn digest(&self) -> String {
        digest(&self.cedar, &self.report)
    }

    /// The text of the note that a person signs (C2SP signed-note: lines, the last one ended).
    pub fn note(&self) -> String {
        note(&self.cedar, &self.report)
    }
}

/// The text to sign for a proposal's two files.
pub fn note(cedar: &str, report: &str) -> String {
    format!("{NOTE_HEADER}\nsha256 {}\n", digest(cedar, report))
}

/// Whether a signed text is about exactly these two files. Who signed it, and whether the signature is
/// right, is for the caller to check.
pub fn is_note_of(text: &str, cedar: &str, report: &str) -> bool {
    text == note(cedar, report)
}

pub(crate) fn digest(cedar: &str, report: &str) -> String {
    let mut hash = Sha256::new();
    for text in [NOTE_HEADER, cedar, report] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hex(&hash.finalize())
}
