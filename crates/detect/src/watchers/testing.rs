//! What the tests of watchers share: traffic made by hand, and the checks that hold for all.

use crate::baselines::{Baselines, BaselinesConfig};
use crate::{Detector, Finding};
use countersign_event::{Event, Outcome, Principal, Rec, TimeBasis, Verified};

pub(crate) const S: u64 = 1_000_000_000;
pub(crate) const MINUTE: u64 = 60 * S;
pub(crate) const DAY: u64 = 86_400 * S;
/// Monday, 2 March 2026, 00:00 UTC.
const START: u64 = 1_772_409_600 * S;

/// Events by their time; sorted when they are looked at.
pub(crate) struct Traffic(Vec<(u64, Event)>);

impl Traffic {
    pub(crate) fn new() -> Traffic {
        Traffic(Vec::new())
    }

    /// When it begins, UTC ns; all other times count from there.
    pub(crate) fn start(&self) -> u64 {
        START
    }

    /// A successful call of the web service to orders at `at`, changed by `with`.
    pub(crate) fn call(&mut self, at: u64, with: impl FnOnce(&mut Event)) {
        self.event(at, |event| {
            event.core.rec = Some(Rec::Interaction);
            event.core.op = "GET".to_owned();
            event.core.outcome = Some(Outcome::Success);
            let mut who = Principal::new("spiffe://e.org/ns/shop/sa/web", Verified::Bound);
            who.svc = "web".to_owned();
            event.who.who = Some(who);
            event.target.svc = "orders".to_owned();
            event.target.res = "/orders/{id}".to_owned();
            with(event);
        });
    }

    pub(crate) fn event(&mut self, at: u64, with: impl FnOnce(&mut Event)) {
        let mut event = Event::default();
        event.core.eid = (self.0.len() as u128 + 1).to_be_bytes();
        event.core.agent = "spiffe://e.org/gw/1".to_owned();
        event.core.t_obs = START + at;
        event.core.t_event = Some((START + at) as i64);
        event.core.t_basis = Some(TimeBasis::Measured);
        with(&mut event);
        self.0.push((START + at, event));
    }

    fn sorted(&self) -> Vec<(u64, u64, &Event)> {
        let mut all: Vec<_> = self.0.iter().map(|(at, event)| (*at, event)).collect();
        all.sort_by_key(|(at, event)| (*at, event.core.eid));
        all.into_iter().enumerate().map(|(n, (at, event))| (n as u64, at, event)).collect()
    }

    /// What the watcher `id` says of it that would notify, or ends what did.
    pub(crate) fn findings(&self, id: &str) -> Vec<Finding> {
        let found = fresh().batch(&self.sorted());
        found.into_iter().filter(|f| f.rule.id == id && f.notifies()).collect()
    }

    /// Small batches, and a restart every 13th part, change nothing; the state stays what it is when written again.
    pub(crate) fn holds_together(&self, id: &str) {
        let events = self.sorted();
        let of = |found: Vec<Finding>| found.into_iter().filter(|f| f.rule.id == id).collect::<Vec<_>>();
        let want = of(fresh().batch(&events));
        assert!(!want.is_empty(), "nothing to compare");
        let (mut detector, mut got) = (fresh(), Vec::new());
        for part in events.chunks(events.len() / 13 + 1) {
            let saved = detector.save();
            detector = fresh();
            assert!(detector.load(&saved));
            assert!(saved == detector.save(), "what is written again differs");
            part.chunks(7).for_each(|cut| got.extend(detector.batch(cut)));
        }
        assert_eq!(of(got), want);
    }
}

pub(crate) fn fresh() -> Baselines {
    let config = BaselinesConfig { learn_events: 200, ..BaselinesConfig::default() };
    Baselines::new(config, crate::baselines::test_hmac())
}

/// The sentence.
pub(crate) fn said(finding: &Finding) -> String {
    crate::explain(&finding.to_event()).unwrap_or_default()
}
