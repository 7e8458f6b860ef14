//! Events for the tests of watchers, and how they are run: whole, cut, and stopped in the middle.

use crate::watch::Watcher;
use crate::{Baselines, BaselinesConfig, Detector, Finding, explain};
use countersign_event::{Auth, Event, Outcome, Principal, Rec, TimeBasis, Transport, Verified};
use std::net::IpAddr;

pub(super) const S: i64 = 1_000_000_000;
pub(super) const MINUTE: i64 = 60 * S;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;
/// Where tapes begin: a Monday, midnight UTC.
pub(super) const BEGIN: i64 = 1_750_636_800 * S;

/// Events in ledger order.
#[derive(Default)]
pub(super) struct Tape(pub(super) Vec<(u64, u64, Event)>);

/// A call by `caller`, measured, from 10.0.0.1, of `orders`.
pub(super) fn call(caller: &str, at_ns: i64) -> Event {
    let mut event = Event::default();
    event.core.agent = "gateway".to_owned();
    event.core.t_obs = at_ns as u64;
    event.core.t_event = Some(at_ns);
    event.core.t_basis = Some(TimeBasis::Measured);
    event.core.rec = Some(Rec::Interaction);
    event.core.op = "GET".to_owned();
    event.core.outcome = Some(Outcome::Success);
    event.who.who = Some(Principal::new(caller, Verified::Checked));
    event.target.svc = "orders".to_owned();
    event.peer.transport = Some(Transport::Tcp);
    from(event, "10.0.0.1", "")
}

/// From this address and workload.
pub(super) fn from(mut event: Event, ip: &str, workload: &str) -> Event {
    let mut src = event.peer.src.clone().unwrap_or_default();
    (src.ip, src.workload) = (ip.parse::<IpAddr>().ok(), workload.to_owned());
    event.peer.src = Some(src);
    event
}

/// With this credential.
pub(super) fn with_cred(mut event: Event, auth: Auth, cred: &str, ends_s: Option<i64>) -> Event {
    let mut who = event.who.who.clone().unwrap();
    (who.auth, who.cred, who.cred_exp) = (Some(auth), cred.to_owned(), ends_s);
    event.who.who = Some(who);
    event
}

/// A tick: time passes.
pub(super) fn tick(at_ns: i64) -> Event {
    let mut event = Event::default();
    event.core.agent = crate::AGENT.to_owned();
    event.core.t_obs = at_ns as u64;
    event.core.t_event = Some(at_ns);
    event.core.t_basis = Some(TimeBasis::Measured);
    event.core.rec = Some(Rec::Platform);
    event.core.op = "tick".to_owned();
    event
}

impl Tape {
    /// Appends, at the ledger time at which it was observed.
    pub(super) fn push(&mut self, mut event: Event) {
        let index = self.0.len() as u64;
        event.core.eid = u128::from(index + 1).to_be_bytes();
        let last = self.0.last().map_or(0, |(_, ns, _)| *ns);
        self.0.push((index, event.core.t_obs.max(last), event));
    }

    /// What `make` finds in it: the same whole, one by one, and stopped anywhere.
    pub(super) fn findings(&self, make: impl Fn() -> Box<dyn Watcher>) -> Vec<Finding> {
        self.findings_of(BaselinesConfig { learn_ns: 0, learn_events: 0, ..BaselinesConfig::default() }, make)
    }

    pub(super) fn findings_of(
        &self,
        config: BaselinesConfig,
        make: impl Fn() -> Box<dyn Watcher>,
    ) -> Vec<Finding> {
        let fresh = || Baselines::with(config.clone(), crate::baselines::test_hmac(), vec![make()]);
        let run = |detector: &mut Baselines, from: usize, to: usize, cut: usize| -> Vec<Finding> {
            let events: Vec<(u64, u64, &Event)> =
                self.0[from..to].iter().map(|(i, ns, e)| (*i, *ns, e)).collect();
            events.chunks(cut).flat_map(|part| detector.batch(part)).collect()
        };
        let end = self.0.len();
        let want = run(&mut fresh(), 0, end, end.max(1));
        for part in 1..6 {
            let stop = end * part / 6;
            let mut first = fresh();
            let mut got = run(&mut first, 0, stop, part * 7);
            let mut second = fresh();
            let saved = first.save();
            assert!(second.load(&saved));
            assert_eq!(second.save(), saved, "what was read is written the same");
            got.extend(run(&mut second, stop, end, 1 + part * 13));
            assert!(got == want, "stopped at {stop}: {:?} instead of {:?}", texts(&got), texts(&want));
            for cut in (0..saved.len()).step_by(1 + saved.len() / 40) {
                let _ = fresh().load(&saved[..cut]);
            }
        }
        want.into_iter().filter(|f| !f.rule.id.starts_with("detector.learned")).collect()
    }
}

/// How they read.
pub(super) fn texts(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|f| format!("{:?} {}", f.state, explain(&f.to_event()).unwrap_or_default())).collect()
}
