//! A matter that is open: what its updates and its end have to say again.
//!
//! A finding is opened once, updated when its count has grown tenfold, and resolved when it is over, with the same id:
//! so the first evidence, the window's start and the names in group 0 to 3 are kept with it. Bounded by the table that
//! holds it, and by [`NAME_MAX_BYTES`] a name.

use super::{Call, Draft, Key};
use crate::bytes::{Reader, Saved, Writer};
use crate::finding::{Evidence, clip};
use countersign_event::{Event, FindingState, Principal, Severity, TimeBasis, Verified};
use std::borrow::Cow;

/// Longest name kept, bytes; that of an identity in an event.
const NAME_MAX_BYTES: usize = 1_024;
/// Evidence kept: the first and the last ones.
const SHOWN: usize = 10;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Evidence that came first: its index in the ledger and event id.
    pub(crate) first: u64,
    pub(crate) eid: [u8; 16],
    /// First ones, then last ones, at most [`SHOWN`] each.
    early: Vec<u64>,
    late: Vec<u64>,
    /// Events that are evidence.
    pub(crate) count: u64,
    /// Start of the window, and the last evidence, event time, ns.
    pub(crate) since_ns: i64,
    pub(crate) last_ns: i64,
    revision: u64,
    said: u64,
    tenant: String,
    /// Empty = nobody.
    pub(crate) caller: String,
    /// Its service: the peer group follows from it.
    group: String,
    verified: Verified,
    pub(crate) service: String,
    operation: String,
}

impl Opened {
    /// One that this call opens.
    pub(crate) fn of(call: &Call<'_>, since_ns: i64) -> Opened {
        let event = call.event;
        let who = event.who.who.as_ref();
        let name = |text: &str| clip(text, NAME_MAX_BYTES).to_owned();
        Opened {
            caller: who.map_or_else(String::new, |who| name(&who.id)),
            group: who.map_or_else(String::new, |who| name(&who.svc)),
            verified: who.map_or(Verified::Claimed, |who| who.verified),
            service: name(&event.target.svc),
            operation: name(&event.core.op),
            ..Opened::nobodys(&event.core.tenant, call.index, event.core.eid, since_ns)
        }
    }

    /// One that is about nobody: a source.
    pub(crate) fn nobodys(tenant: &str, first: u64, eid: [u8; 16], since_ns: i64) -> Opened {
        Opened {
            first,
            eid,
            early: vec![first],
            late: Vec::new(),
            count: 1,
            since_ns,
            last_ns: since_ns,
            revision: 0,
            said: 1,
            tenant: clip(tenant, NAME_MAX_BYTES).to_owned(),
            caller: String::new(),
            group: String::new(),
            verified: Verified::Claimed,
            service: String::new(),
            operation: String::new(),
        }
    }

    /// With evidence that came before what opened it, in the ledger.
    pub(crate) fn after(mut self, index: u64) -> Opened {
        if index < self.first {
            self.early.insert(0, index);
            self.first = index;
            self.count += 1;
            self.said = self.count;
        }
        self
    }

    /// About an edge: no operation.
    pub(crate) fn of_edge(mut self) -> Opened {
        self.operation.clear();
        self
    }

    /// About the same as `other`.
    pub(crate) fn named_as(self, other: &Opened) -> Opened {
        Opened {
            caller: other.caller.clone(),
            group: other.group.clone(),
            verified: other.verified,
            service: other.service.clone(),
            operation: other.operation.clone(),
            ..self
        }
    }

    /// More evidence; whether it has become so much that it should be said.
    pub(crate) fn again(&mut self, index: u64, at_ns: i64) -> bool {
        self.count += 1;
        self.last_ns = self.last_ns.max(at_ns);
        if self.early.len() < SHOWN {
            self.early.push(index);
        } else {
            if self.late.len() >= SHOWN {
                self.late.remove(0);
            }
            self.late.push(index);
        }
        let due = self.count >= self.said.saturating_mul(10);
        if due {
            self.said = self.count;
        }
        due
    }

    /// What is to be said of it now. Its own names are the subject; `query`, severity and values are the watcher's.
    pub(crate) fn draft(&mut self, about: Key, state: FindingState, template: &'static str) -> Draft {
        self.revision += 1;
        let indices: Vec<u64> = self.early.iter().chain(&self.late).copied().collect();
        let last = indices.last().copied().unwrap_or(self.first);
        Draft {
            about,
            state,
            revision: self.revision,
            window: (self.since_ns, self.last_ns.max(self.since_ns)),
            severity: Severity::Medium,
            confidence: 60,
            evidence: Evidence { indices, count: self.count, first: self.first, last, eid: self.eid },
            template: Cow::Borrowed(template),
            values: Vec::new(),
            query: String::new(),
            subject: Box::new(self.subject()),
        }
    }

    fn subject(&self) -> Event {
        let mut event = Event::default();
        event.core.tenant.clone_from(&self.tenant);
        event.core.op.clone_from(&self.operation);
        event.core.t_event = Some(self.since_ns);
        event.core.t_obs = u64::try_from(self.since_ns).unwrap_or(0);
        event.core.t_basis = Some(TimeBasis::Derived);
        if !self.caller.is_empty() {
            let who = Principal::new(self.caller.clone(), self.verified);
            event.who.who = Some(Principal { svc: self.group.clone(), ..who });
        }
        if !self.service.is_empty() {
            event.target.svc.clone_from(&self.service);
        }
        event
    }
}

impl Saved for Opened {
    const MIN_BYTES: usize = 100;

    fn write(&self, out: &mut Writer) {
        out.u64(self.first);
        out.key(&self.eid);
        for list in [&self.early, &self.late] {
            out.len(list.len());
            list.iter().for_each(|index| out.u64(*index));
        }
        out.u64(self.count);
        out.i64(self.since_ns);
        out.i64(self.last_ns);
        out.u64(self.revision);
        out.u64(self.said);
        out.u64(self.verified.code());
        for text in [&self.tenant, &self.caller, &self.group, &self.service, &self.operation] {
            out.text(text);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Opened> {
        let (first, eid) = (from.u64()?, from.key()?);
        let mut list = || -> Option<Vec<u64>> {
            let many = from.len(8)?;
            (many <= SHOWN + 1).then(|| (0..many).map(|_| from.u64()).collect())?
        };
        let (early, late) = (list()?, list()?);
        Some(Opened {
            first,
            eid,
            early,
            late,
            count: from.u64()?,
            since_ns: from.i64()?,
            last_ns: from.i64()?,
            revision: from.u64()?,
            said: from.u64()?,
            verified: Verified::from_code(from.u64()?)?,
            tenant: from.text()?,
            caller: from.text()?,
            group: from.text()?,
            service: from.text()?,
            operation: from.text()?,
        })
    }
}
