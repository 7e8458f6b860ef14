//! Certificates and keys that end soon and are still in use.
//!
//! What renews itself is left alone: credentials of a day or less, and those of an identity that renewed its last one
//! with about as much left. Invariant: each of the three borders is told once a credential, and only when it was seen
//! before the border, or for twice as long as it has left.

use crate::bytes::{Reader, Saved, Writer};
use crate::quoted;
use crate::watch::{Call, Draft, Key, Opened, Table, span_text};
use countersign_event::{FindingState, Principal, Severity, Verified};

const CREDENTIAL: u8 = 34;
const CREDENTIALS_MAX: usize = 65_536;
const IDENTITIES_MAX: usize = 65_536;
const DAY_S: i64 = 86_400;
const SECOND_NS: i64 = 1_000_000_000;
/// Days left at which it is told, and how gravely.
const BORDERS: [(i64, Severity); 3] =
    [(30 * DAY_S, Severity::Low), (7 * DAY_S, Severity::Medium), (DAY_S, Severity::High)];

pub(super) struct Expiry {
    credentials: Table<Credential>,
    identities: Table<Renewal>,
}

#[derive(Default)]
struct Credential {
    end_s: i64,
    /// Left at the first sight, seconds, and when that was.
    first_left_s: i64,
    first_s: i64,
    /// Borders told.
    told: u8,
    matter: Option<Opened>,
}

/// How an identity renews its credential.
#[derive(Default)]
struct Renewal {
    end_s: i64,
    /// Left of the one before when the present one was first seen, seconds; below 0 = not known.
    left_s: i64,
}

impl Expiry {
    pub(super) fn new() -> Expiry {
        Expiry { credentials: Table::new(CREDENTIALS_MAX), identities: Table::new(IDENTITIES_MAX) }
    }

    pub(super) fn len(&self) -> usize {
        self.credentials.len() + self.identities.len()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.credentials.evicted() + self.identities.evicted()
    }

    pub(super) fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let Some(who) = call.event.who.who.as_ref().filter(|who| ends(who)) else { return };
        let Some(end_s) = who.cred_exp else { return };
        let now_s = call.at_ns.div_euclid(SECOND_NS);
        let left_s = end_s.saturating_sub(now_s);
        let key = call.keys.of(CREDENTIAL, &[&call.event.core.tenant, &who.cred]);
        if left_s <= DAY_S && self.credentials.get(&key).is_none() {
            return;
        }
        let renewed_left = self.renewed(call, end_s, now_s);
        let (_, credential) = self.credentials.see(key, call.index, call.at_ns, || Credential {
            end_s,
            first_left_s: left_s,
            first_s: now_s,
            ..Credential::default()
        });
        let passed = BORDERS.iter().filter(|(border, _)| left_s <= *border).count();
        let Some(&(border, severity)) = passed.checked_sub(1).and_then(|n| BORDERS.get(n)) else { return };
        if passed <= usize::from(credential.told) {
            return;
        }
        let seen_s = now_s.saturating_sub(credential.first_s);
        let came_to_it = credential.first_left_s > border;
        let long_enough = seen_s >= DAY_S && seen_s >= left_s.saturating_mul(2);
        // Half of what was left the last time: this time it is late.
        let renews = renewed_left >= 0 && left_s > renewed_left / 2;
        if (came_to_it || long_enough) && !renews {
            credential.told = passed as u8;
            out.push(credential.say(key, call, who, (severity, left_s)));
        }
    }

    /// How much was left when this identity renewed last, seconds; below 0 = not known.
    fn renewed(&mut self, call: &Call<'_>, end_s: i64, now_s: i64) -> i64 {
        let fresh = || Renewal { end_s, left_s: -1 };
        let (_, renewal) = self.identities.see(call.who, call.index, call.at_ns, fresh);
        // Replicas renew within minutes of each other: only what is new by an hour is the next one.
        if end_s > renewal.end_s.saturating_add(3_600) {
            renewal.left_s = renewal.end_s.saturating_sub(now_s).max(0);
            renewal.end_s = end_s;
        }
        renewal.left_s
    }

    /// What has ended is forgotten.
    pub(super) fn advance(&mut self, watermark_ns: i64) {
        let now_s = watermark_ns.div_euclid(SECOND_NS);
        self.credentials.retain(|_, credential| credential.end_s > now_s.saturating_sub(DAY_S));
    }

    pub(super) fn write(&self, out: &mut Writer) {
        self.credentials.write(out);
        self.identities.write(out);
    }

    pub(super) fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let credentials = Table::read(CREDENTIALS_MAX, from)?;
        self.identities = Table::read(IDENTITIES_MAX, from)?;
        self.credentials = credentials;
        Some(())
    }
}

/// Whether it is a credential whose end somebody has to see to.
fn ends(who: &Principal) -> bool {
    who.cred_exp.is_some()
        && !super::is_token(who.auth)
        && !who.cred.is_empty()
        && who.verified >= Verified::Checked
}

const ENDS: &str =
    "credential {key} of {id} is in use and ends in {left}; wrong if: its successor is already in place";

impl Credential {
    fn say(
        &mut self,
        key: Key,
        call: &Call<'_>,
        who: &Principal,
        (severity, left_s): (Severity, i64),
    ) -> Draft {
        let (state, mut matter) = match self.matter.take() {
            Some(matter) => (FindingState::Updated, matter),
            None => (FindingState::Open, Opened::of(call, call.at_ns)),
        };
        if state == FindingState::Updated {
            matter.again(call.index, call.at_ns);
        }
        let draft = matter.draft(key, state, ENDS).and([
            ("key", who.cred.clone()),
            ("id", call.caller_name()),
            ("left", span_text(left_s.max(0).saturating_mul(SECOND_NS))),
        ]);
        self.matter = Some(matter);
        Draft { severity, confidence: 95, query: format!("cred:{}", quoted(&who.cred)), ..draft }
    }
}

impl Saved for Credential {
    const MIN_BYTES: usize = 26;

    fn write(&self, out: &mut Writer) {
        out.i64(self.end_s);
        out.i64(self.first_left_s);
        out.i64(self.first_s);
        out.u8(self.told);
        out.bool(self.matter.is_some());
        if let Some(matter) = &self.matter {
            matter.write(out);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Credential> {
        let (end_s, first_left_s, first_s, told) = (from.i64()?, from.i64()?, from.i64()?, from.u8()?);
        let matter = match from.bool()? {
            true => Some(Opened::read(from)?),
            false => None,
        };
        Some(Credential { end_s, first_left_s, first_s, told, matter })
    }
}

impl Saved for Renewal {
    const MIN_BYTES: usize = 16;

    fn write(&self, out: &mut Writer) {
        out.i64(self.end_s);
        out.i64(self.left_s);
    }

    fn read(from: &mut Reader<'_>) -> Option<Renewal> {
        Some(Renewal { end_s: from.i64()?, left_s: from.i64()? })
    }
}
