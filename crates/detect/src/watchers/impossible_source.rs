//! Detector 9, `impossible-source`: one identity at two places at a time, or behind another one's certificate.
//!
//! A place is the zone that the observer knows, else the network of the address (/16, /48). Of each identity and of each
//! peer group the places are learned. A place that neither has used is a finding once the identity is seen at its old
//! one again after it, within [`TURN_NS`]: whoever moved is not there any more. Not one: another replica of a workload
//! that the group runs (autoscaling), an announced change, a change of address within a place. And a client certificate
//! that belongs to one identity does not speak for another (mutual TLS only: tokens travel over others' connections).
//! Invariants: at most [`PLACES_MAX`] places each; what had to leave is learned anew, and says nothing new.

use crate::bytes::{Reader, Saved, Writer};
use crate::quoted;
use crate::watch::keys::half;
use crate::watch::{Call, Draft, Opened, Table, Watcher, WatcherStats, span_text, without_replica};
use countersign_event::{Auth, Event, FindingState, Severity, Verified};
use std::net::IpAddr;

const ID: &str = "impossible-source";
const PLACE: u8 = 40;
const WORKLOAD: u8 = 41;
const CERTIFICATE: u8 = 42;
const IDENTITIES_MAX: usize = 131_072;
const CERTIFICATES_MAX: usize = 65_536;
/// Places remembered of one identity or group; the least recent is forgotten.
const PLACES_MAX: usize = 8;
/// So soon after the new place the old one must be seen again, ns.
const TURN_NS: i64 = 1_800_000_000_000;
/// And so much later at least, ns: events of two observers come in no exact order.
const MARGIN_NS: i64 = 1_000_000_000;
/// The old place was in use this shortly before the new one, ns.
const ACTIVE_NS: i64 = 7_200_000_000_000;
/// A group's or identity's first calls say what is usual.
const CALLS_MIN: u32 = 20;
/// A matter is over without the new place for so long, ns.
const OVER_NS: i64 = 86_400_000_000_000;
const OPEN_MAX: usize = 4_096;
const IDENTITY_BYTES: u64 = 256;
const NAME_MAX_BYTES: usize = 64;

/// See the module.
pub(crate) struct ImpossibleSource {
    identities: Table<Places>,
    groups: Table<Places>,
    /// By certificate: half of the identity's key.
    certificates: Table<Owner>,
    open: Table<Open>,
    checked_ns: i64,
}

#[derive(Default)]
struct Places {
    calls: u32,
    places: Vec<Place>,
    /// Halves of the keys of workloads that were seen, the oldest first.
    workloads: Vec<u64>,
    /// A new place that is undecided: which, and its first event.
    doubt: Option<Box<Doubt>>,
}

#[derive(Clone, Copy)]
struct Place {
    place: u64,
    last_ns: i64,
}

struct Doubt {
    place: u64,
    name: String,
    matter: Opened,
}

struct Owner {
    identity: u64,
    name: String,
}

struct Open {
    matter: Opened,
    /// The place that should not be, 0 = a certificate.
    place: u64,
}

impl ImpossibleSource {
    pub(crate) fn new(bytes: u64) -> ImpossibleSource {
        let most = usize::try_from(bytes / IDENTITY_BYTES / 2).unwrap_or(usize::MAX).min(IDENTITIES_MAX);
        ImpossibleSource {
            identities: Table::new(most),
            groups: Table::new(most),
            certificates: Table::new(most.min(CERTIFICATES_MAX)),
            open: Table::new(OPEN_MAX),
            checked_ns: i64::MIN,
        }
    }

    fn at_place(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let Some((place, workload)) = whereabouts(call) else { return };
        let at = call.event.core.t_event.unwrap_or(call.at_ns);
        if let Some(open) = self.open.get_mut(&call.who)
            && open.place == place
        {
            open.matter.again(call.index, at);
            return;
        }
        let (_, group) = self.groups.see(call.group, call.index, at, Places::default);
        let (usual, replica) = (group.knows(place), group.runs(workload));
        let (_, identity) = self.identities.see(call.who, call.index, at, Places::default);
        identity.settle(at);
        if identity.knows(place) {
            identity.touch(place, at);
            group.touch(place, at);
            group.note(workload);
            let returned = identity.returned(place, at);
            if let Some(doubt) = returned {
                let Doubt { place, name, mut matter } = *doubt;
                matter.again(call.index, at);
                out.push(elsewhere(call, &mut matter, &name));
                self.open.see(call.who, call.index, at, || Open { matter, place });
            }
            return;
        }
        let active = identity.places.iter().any(|known| at.saturating_sub(known.last_ns) <= ACTIVE_NS);
        let fine = usual || replica || call.changing || !active || identity.calls < CALLS_MIN;
        if fine {
            identity.touch(place, at);
            group.touch(place, at);
            group.note(workload);
        } else if identity.doubt.is_none() {
            let (name, matter) = (place_name(call.event), Opened::of(call, at));
            identity.doubt = Some(Box::new(Doubt { place, name, matter }));
        }
    }

    /// Whose certificate it is.
    fn certificate(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let Some(cert) = call.event.peer.tls.as_ref().and_then(|tls| tls.peer_cert) else { return };
        let key = call.keys.bytes(CERTIFICATE, &cert);
        let identity = half(&call.who);
        if let Some(owner) = self.certificates.get(&key) {
            if owner.identity != identity && self.open.get(&key).is_none() {
                let mut matter = Opened::of(call, call.at_ns);
                let draft = matter
                    .draft(key, FindingState::Open, CERTIFICATE_OF)
                    .and([("id", call.caller_name()), ("owner", owner.name.clone())]);
                let query = format!("who:{}", quoted(&call.caller_name()));
                out.push(Draft { severity: Severity::High, confidence: 90, query, ..draft });
                self.open.see(key, call.index, call.at_ns, || Open { matter, place: 0 });
            }
            return;
        }
        self.certificates.see(key, call.index, call.at_ns, || Owner {
            identity,
            name: crate::finding::clip(&call.caller_name(), NAME_MAX_BYTES * 4).to_owned(),
        });
    }
}

const ELSEWHERE: &str = "{id} was seen from {new}, where it never was, and {t} later still from {old}; wrong if: it has just \
                         been extended to a new place, or {new} is a new way out of an old one";
const CERTIFICATE_OF: &str = "{id} came with the client certificate of {owner}; wrong if: one certificate is meant to speak \
                              for both";
const OVER: &str = "not seen any more for {t}";

fn elsewhere(call: &Call<'_>, matter: &mut Opened, new: &str) -> Draft {
    let t = span_text(matter.last_ns.saturating_sub(matter.since_ns));
    let query = format!("who:{}", quoted(&call.caller_name()));
    let draft = matter.draft(call.who, FindingState::Open, ELSEWHERE).and([
        ("id", call.caller_name()),
        ("new", new.to_owned()),
        ("t", t),
        ("old", place_name(call.event)),
    ]);
    Draft { severity: Severity::High, confidence: 80, query, ..draft }
}

/// The place and the workload of a caller; `None` = not known.
fn whereabouts(call: &Call<'_>) -> Option<(u64, u64)> {
    let src = call.event.peer.src.as_ref()?;
    let keys = call.keys;
    let place = match (&*src.zone, src.ip.map(|ip| ip.to_canonical())) {
        ("", None) => return None,
        ("", Some(ip)) if ip.is_loopback() => return None,
        ("", Some(IpAddr::V4(ip))) => keys.bytes(PLACE, &ip.octets()[..2]),
        ("", Some(IpAddr::V6(ip))) => keys.bytes(PLACE, &ip.octets()[..6]),
        (zone, _) => keys.of(PLACE, &[zone]),
    };
    let workload = match &*src.workload {
        "" => 0,
        name => half(&keys.of(WORKLOAD, &[&src.ns, without_replica(name)])),
    };
    Some((half(&place), workload))
}

fn place_name(event: &Event) -> String {
    let name = match &event.peer.src {
        Some(src) if !src.zone.is_empty() => {
            let ip = src.ip.map_or_else(String::new, |ip| format!(" ({ip})"));
            format!("{}{ip}", src.zone)
        }
        Some(src) => src.ip.map_or_else(|| "an unknown place".to_owned(), |ip| ip.to_string()),
        None => "an unknown place".to_owned(),
    };
    crate::finding::clip(&name, NAME_MAX_BYTES).to_owned()
}

impl Places {
    fn knows(&self, place: u64) -> bool {
        self.places.iter().any(|known| known.place == place)
    }

    fn runs(&self, workload: u64) -> bool {
        workload != 0 && self.workloads.contains(&workload)
    }

    fn touch(&mut self, place: u64, at: i64) {
        self.calls = self.calls.saturating_add(1);
        if let Some(known) = self.places.iter_mut().find(|known| known.place == place) {
            known.last_ns = known.last_ns.max(at);
            return;
        }
        if self.places.len() >= PLACES_MAX {
            let oldest = self.places.iter().enumerate().min_by_key(|(_, known)| (known.last_ns, known.place));
            if let Some(n) = oldest.map(|(n, _)| n) {
                self.places.remove(n);
            }
        }
        self.places.push(Place { place, last_ns: at });
    }

    fn note(&mut self, workload: u64) {
        if workload == 0 || self.workloads.contains(&workload) {
            return;
        }
        if self.workloads.len() >= PLACES_MAX {
            self.workloads.remove(0);
        }
        self.workloads.push(workload);
    }

    /// A doubt that nobody confirmed was a move.
    fn settle(&mut self, at: i64) {
        let passed = |doubt: &mut Box<Doubt>| at.saturating_sub(doubt.matter.since_ns) > TURN_NS;
        if let Some(doubt) = self.doubt.take_if(passed) {
            self.touch(doubt.place, doubt.matter.since_ns);
        }
    }

    /// At an old place again: the doubt, if there is one.
    fn returned(&mut self, place: u64, at: i64) -> Option<Box<Doubt>> {
        let since = self.doubt.as_ref().filter(|doubt| doubt.place != place)?.matter.since_ns;
        if at <= since.saturating_add(MARGIN_NS) {
            return None;
        }
        self.doubt.take()
    }
}

impl Watcher for ImpossibleSource {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("turn_ns", TURN_NS.to_string()),
            ("active_ns", ACTIVE_NS.to_string()),
            ("calls", CALLS_MIN.to_string()),
        ]
    }

    fn statistical(&self) -> bool {
        true
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let Some(who) = &call.event.who.who else { return };
        if !call.is_call || who.id.is_empty() || who.verified < Verified::Checked {
            return;
        }
        if matches!(who.auth, Some(Auth::Mtls | Auth::SpiffeSvid)) {
            self.certificate(call, out);
        }
        self.at_place(call, out);
    }

    fn advance(&mut self, watermark_ns: i64, _: u64, out: &mut Vec<Draft>) {
        if watermark_ns < self.checked_ns.saturating_add(MARGIN_NS * 60) || self.open.len() == 0 {
            return;
        }
        self.checked_ns = watermark_ns;
        for about in self.open.keys() {
            let over = |open: &Open| watermark_ns.saturating_sub(open.matter.last_ns) > OVER_NS;
            if !self.open.get(&about).is_some_and(over) {
                continue;
            }
            let Some(mut open) = self.open.remove(&about) else { continue };
            let draft = open.matter.draft(about, FindingState::Resolved, OVER);
            out.push(
                Draft { severity: Severity::High, confidence: 80, ..draft }.with("t", span_text(OVER_NS)),
            );
        }
    }

    fn stats(&self) -> WatcherStats {
        let keys = (self.identities.len() + self.groups.len() + self.certificates.len()) as u64;
        let evicted = self.identities.evicted() + self.groups.evicted() + self.certificates.evicted();
        WatcherStats { keys, evicted: evicted + self.open.evicted(), bytes: keys * IDENTITY_BYTES }
    }

    fn write(&self, out: &mut Writer) {
        self.identities.write(out);
        self.groups.write(out);
        self.certificates.write(out);
        self.open.write(out);
        out.i64(self.checked_ns);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let identities = Table::read(self.identities.capacity(), from)?;
        let groups = Table::read(self.groups.capacity(), from)?;
        let certificates = Table::read(self.certificates.capacity(), from)?;
        self.open = Table::read(OPEN_MAX, from)?;
        self.checked_ns = from.i64()?;
        (self.identities, self.groups, self.certificates) = (identities, groups, certificates);
        Some(())
    }
}

impl Saved for Places {
    const MIN_BYTES: usize = 13;

    fn write(&self, out: &mut Writer) {
        out.u32(self.calls);
        out.len(self.places.len());
        for place in &self.places {
            out.u64(place.place);
            out.i64(place.last_ns);
        }
        out.len(self.workloads.len());
        self.workloads.iter().for_each(|workload| out.u64(*workload));
        out.bool(self.doubt.is_some());
        if let Some(doubt) = &self.doubt {
            out.u64(doubt.place);
            out.text(&doubt.name);
            doubt.matter.write(out);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Places> {
        let calls = from.u32()?;
        let each = |from: &mut Reader<'_>| Some(Place { place: from.u64()?, last_ns: from.i64()? });
        let places = (0..from.len(16)?).map(|_| each(from)).collect::<Option<Vec<_>>>()?;
        let workloads = (0..from.len(8)?).map(|_| from.u64()).collect::<Option<Vec<_>>>()?;
        let doubt = match from.bool()? {
            true => {
                Some(Box::new(Doubt { place: from.u64()?, name: from.text()?, matter: Opened::read(from)? }))
            }
            false => None,
        };
        let bounded = places.len() <= PLACES_MAX && workloads.len() <= PLACES_MAX;
        bounded.then_some(Places { calls, places, workloads, doubt })
    }
}

impl Saved for Owner {
    const MIN_BYTES: usize = 12;

    fn write(&self, out: &mut Writer) {
        out.u64(self.identity);
        out.text(&self.name);
    }

    fn read(from: &mut Reader<'_>) -> Option<Owner> {
        Some(Owner { identity: from.u64()?, name: from.text()? })
    }
}

impl Saved for Open {
    const MIN_BYTES: usize = Opened::MIN_BYTES + 8;

    fn write(&self, out: &mut Writer) {
        self.matter.write(out);
        out.u64(self.place);
    }

    fn read(from: &mut Reader<'_>) -> Option<Open> {
        Some(Open { matter: Opened::read(from)?, place: from.u64()? })
    }
}

#[cfg(test)]
mod tests;
