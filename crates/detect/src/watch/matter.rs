//! Open matters: what a watcher has said and what is not over yet.
//!
//! One finding is open for a matter: it is told once, updated when it has doubled, resolved when it has been calm for
//! long enough, under the same window start and first evidence. Invariants: at most [`MATTERS_MAX`] are open, further
//! ones are counted; the subject of a resolution is built from the few names kept, so that a restart changes nothing.

use super::{Call, Draft, Key};
use crate::bytes::{Reader, Writer};
use crate::finding::Evidence;
use crate::first_seen::caller;
use crate::quoted;
use crate::watch::{caller_name, short, span_text};
use countersign_event::{Class, Event, FindingState, Kind, Principal, Severity, TimeBasis, Verified};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Matters open at once.
pub(crate) const MATTERS_MAX: usize = 4_096;
/// First pieces of evidence kept.
const EVIDENCE_MAX: usize = 10;
/// A matter is told again when it has grown by this factor.
const GROWTH: f64 = 2.0;

/// What is said of a matter when it opens or has doubled.
pub(crate) struct Said {
    pub(crate) confidence: u8,
    pub(crate) template: &'static str,
    pub(crate) values: Vec<(&'static str, String)>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Matters {
    open: BTreeMap<Key, Matter>,
    /// Not told since too many were open.
    untold: u64,
}

struct Matter {
    since_ns: i64,
    /// Over at this time if nothing more comes.
    over_ns: i64,
    last_ns: i64,
    revision: u64,
    evidence: Evidence,
    /// How much there was when it was told last, and at most.
    told: f64,
    most: f64,
    confidence: u8,
    subject: Box<Event>,
}

impl Matters {
    pub(crate) fn is_open(&self, about: &Key) -> bool {
        self.open.contains_key(about)
    }

    pub(crate) fn untold(&self) -> u64 {
        self.untold
    }

    /// `call` shows a matter that began at `since_ns` and is `much` by now; it is over when nothing shows it for
    /// `calm_ns`.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is one fact about the matter; a struct would only name them again"
    )]
    pub(crate) fn tell(
        &mut self,
        call: &Call<'_>,
        about: Key,
        since_ns: i64,
        much: f64,
        calm_ns: i64,
        out: &mut Vec<Draft>,
        say: impl FnOnce() -> Said,
    ) {
        let over_ns = call.at_ns.saturating_add(calm_ns);
        let Some(matter) = self.open.get_mut(&about) else {
            if self.open.len() >= MATTERS_MAX {
                self.untold += 1;
                return;
            }
            let said = say();
            let matter = Matter {
                since_ns,
                over_ns,
                last_ns: call.at_ns,
                revision: 1,
                evidence: Evidence::one(call.index, call.event),
                told: much,
                most: much,
                confidence: said.confidence,
                subject: Box::new(slim(call.event)),
            };
            out.push(matter.draft(about, FindingState::Open, said));
            self.open.insert(about, matter);
            return;
        };
        matter.over_ns = matter.over_ns.max(over_ns);
        matter.last_ns = matter.last_ns.max(call.at_ns);
        matter.most = matter.most.max(much);
        matter.note(call.index);
        if much >= GROWTH * matter.told {
            let said = say();
            matter.told = much;
            matter.revision += 1;
            matter.confidence = matter.confidence.max(said.confidence);
            out.push(matter.draft(about, FindingState::Updated, said));
        }
    }

    /// Resolves what is over at `watermark_ns`. `template` may use `{caller}`, `{service}`, `{operation}`, `{took}` and
    /// `{most}`.
    pub(crate) fn settle(&mut self, watermark_ns: i64, template: &'static str, out: &mut Vec<Draft>) {
        let over: Vec<Key> =
            self.open.iter().filter(|(_, m)| m.over_ns <= watermark_ns).map(|(about, _)| *about).collect();
        for about in over {
            let Some(mut matter) = self.open.remove(&about) else { continue };
            matter.revision += 1;
            let said = Said {
                confidence: matter.confidence,
                template,
                values: vec![
                    ("caller", caller_name(&matter.subject)),
                    ("service", matter.subject.target.svc.clone()),
                    ("operation", matter.subject.core.op.clone()),
                    ("took", span_text(matter.last_ns.saturating_sub(matter.since_ns))),
                    ("most", short(matter.most)),
                ],
            };
            out.push(matter.draft(about, FindingState::Resolved, said));
        }
    }

    /// When the first of them is over if nothing more comes.
    pub(crate) fn wake_ns(&self) -> Option<i64> {
        self.open.values().map(|matter| matter.over_ns).min()
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u64(self.untold);
        out.len(self.open.len());
        for (about, matter) in &self.open {
            out.key(about);
            matter.write(out);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Matters> {
        let untold = from.u64()?;
        let mut open = BTreeMap::new();
        for _ in 0..from.len(100)? {
            open.insert(from.key()?, Matter::read(from)?);
        }
        (open.len() <= MATTERS_MAX).then_some(Matters { open, untold })
    }
}

impl Matter {
    fn note(&mut self, index: u64) {
        let evidence = &mut self.evidence;
        evidence.count += 1;
        evidence.last = evidence.last.max(index);
        if evidence.indices.len() < EVIDENCE_MAX {
            evidence.indices.push(index);
        }
    }

    fn draft(&self, about: Key, state: FindingState, said: Said) -> Draft {
        Draft {
            about,
            state,
            revision: self.revision,
            window: (self.since_ns, self.last_ns),
            severity: Severity::Medium,
            confidence: said.confidence,
            evidence: self.evidence.clone(),
            template: Cow::Borrowed(said.template),
            values: said.values,
            query: query(&self.subject),
            subject: self.subject.clone(),
        }
    }

    fn write(&self, out: &mut Writer) {
        out.i64(self.since_ns);
        out.i64(self.over_ns);
        out.i64(self.last_ns);
        out.u64(self.revision);
        out.f64(self.told);
        out.f64(self.most);
        out.u8(self.confidence);
        let evidence = &self.evidence;
        out.u64(evidence.count);
        out.u64(evidence.first);
        out.u64(evidence.last);
        out.key(&evidence.eid);
        out.len(evidence.indices.len());
        evidence.indices.iter().for_each(|index| out.u64(*index));
        write_slim(&self.subject, out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Matter> {
        let (since_ns, over_ns, last_ns) = (from.i64()?, from.i64()?, from.i64()?);
        let (revision, told, most, confidence) = (from.u64()?, from.f64()?, from.f64()?, from.u8()?);
        let (count, first, last, eid) = (from.u64()?, from.u64()?, from.u64()?, from.key()?);
        let indices = (0..from.len(8)?).map(|_| from.u64()).collect::<Option<Vec<_>>>()?;
        let evidence = Evidence { indices, count, first, last, eid };
        let subject = Box::new(read_slim(from)?);
        Some(Matter { since_ns, over_ns, last_ns, revision, evidence, told, most, confidence, subject })
    }
}

/// A filter for the caller's calls of the service.
fn query(subject: &Event) -> String {
    let term = |field: &str, value: &str| match value {
        "" => format!("-{field}:*"),
        value => format!("{field}:{}", quoted(value)),
    };
    format!("{} {}", term("who", caller(subject)), term("service", &subject.target.svc))
}

/// The names of `event`, and nothing else of it.
fn slim(event: &Event) -> Event {
    let mut slim = Event::default();
    let (core, kept) = (&event.core, &mut slim.core);
    (kept.t_obs, kept.t_event, kept.t_basis) = (core.t_obs, core.t_event, core.t_basis);
    (kept.op, kept.tenant) = (core.op.clone(), core.tenant.clone());
    (kept.kind, kept.class) = (core.kind, core.class);
    if let Some(who) = &event.who.who {
        let mut kept = Principal::new(who.id.clone(), who.verified);
        kept.svc.clone_from(&who.svc);
        slim.who.who = Some(kept);
    }
    slim.target.svc.clone_from(&event.target.svc);
    slim.target.res.clone_from(&event.target.res);
    if let Some(src) = event.peer.src.as_ref().filter(|_| slim.who.who.is_none()) {
        slim.peer.src = Some(countersign_event::Endpoint { ip: src.ip, ..Default::default() });
    }
    slim
}

fn write_slim(event: &Event, out: &mut Writer) {
    let core = &event.core;
    out.u64(core.t_obs);
    out.i64(core.t_event.unwrap_or(i64::MIN));
    out.u64(core.t_basis.map_or(0, TimeBasis::code));
    out.u64(core.kind.map_or(0, Kind::code));
    out.u64(core.class.map_or(0, Class::code));
    [&core.op, &core.tenant, &event.target.svc, &event.target.res]
        .into_iter()
        .for_each(|text| out.text(text));
    let who = event.who.who.as_ref();
    out.u64(who.map_or(0, |who| who.verified.code()));
    out.text(who.map_or("", |who| &who.id));
    out.text(who.map_or("", |who| &who.svc));
    let ip = event.peer.src.as_ref().and_then(|src| src.ip);
    out.text(&ip.map_or_else(String::new, |ip| ip.to_string()));
}

fn read_slim(from: &mut Reader<'_>) -> Option<Event> {
    let mut event = Event::default();
    let core = &mut event.core;
    core.t_obs = from.u64()?;
    core.t_event = Some(from.i64()?).filter(|at| *at != i64::MIN);
    core.t_basis = TimeBasis::from_code(from.u64()?);
    core.kind = Kind::from_code(from.u64()?);
    core.class = Class::from_code(from.u64()?);
    (core.op, core.tenant) = (from.text()?, from.text()?);
    (event.target.svc, event.target.res) = (from.text()?, from.text()?);
    let (verified, id, svc) = (Verified::from_code(from.u64()?), from.text()?, from.text()?);
    if let Some(verified) = verified {
        let mut who = Principal::new(id, verified);
        who.svc = svc;
        event.who.who = Some(who);
    }
    let ip = from.text()?;
    if !ip.is_empty() {
        event.peer.src =
            Some(countersign_event::Endpoint { ip: Some(ip.parse().ok()?), ..Default::default() });
    }
    Some(event)
}
