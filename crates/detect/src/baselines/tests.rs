use super::allow::RECORDED_MAX;
use super::*;
use countersign_event::{Principal, TimeBasis, Verified};
use proptest::prelude::*;
use std::sync::Arc;

const S: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * S;

pub(crate) fn hmac() -> Hmac {
    use sha2::{Digest, Sha256};
    Arc::new(|bytes: &[u8]| Sha256::digest([b"test key".as_slice(), bytes].concat()).into())
}

fn event(n: u64, agent: &str, caller: &str, at_ns: u64, lag_ns: i64) -> Event {
    let mut event = Event::default();
    event.core.eid = u128::from(n + 1).to_be_bytes();
    event.core.agent = agent.to_owned();
    event.core.t_obs = at_ns;
    event.core.t_event = Some(at_ns as i64 - lag_ns);
    event.core.t_basis = Some(TimeBasis::Stated);
    event.core.rec = Some(Rec::Interaction);
    event.core.op = "GET".to_owned();
    event.who.who = Some(Principal::new(caller, Verified::Checked));
    event.target.svc = "orders".to_owned();
    event
}

/// Three hours of two sources, one of which runs ahead in the last one.
fn drifting() -> Vec<(u64, u64, Event)> {
    let mut all = Vec::new();
    for n in 0..2_160 {
        let at = DAY + n * 5 * S;
        let ahead = n >= 1_440 && n % 2 == 1;
        let agent = if n % 2 == 1 { "syslog:a" } else { "syslog:b" };
        all.push((
            n,
            at,
            event(n, agent, "spiffe://e.org/web", at, if ahead { -4 * S as i64 } else { S as i64 }),
        ));
    }
    all
}

fn run(detector: &mut Baselines, events: &[(u64, u64, Event)], cut: usize) -> Vec<Finding> {
    let all: Vec<(u64, u64, &Event)> = events.iter().map(|(i, ns, e)| (*i, *ns, e)).collect();
    all.chunks(cut.max(1)).flat_map(|part| detector.batch(part)).collect()
}

fn fresh() -> Baselines {
    let config = BaselinesConfig { learn_ns: 3600 * S, learn_events: 100, ..BaselinesConfig::default() };
    Baselines::new(config, hmac())
}

#[test]
fn a_clock_that_runs_ahead_is_found_once_and_names_its_source() {
    let found = run(&mut fresh(), &drifting(), 64);
    let skew: Vec<_> = found.iter().filter(|f| f.rule.id == "clock-skew").collect();
    assert_eq!(skew.len(), 1, "{found:#?}");
    let text = crate::explain(&skew[0].to_event()).unwrap();
    assert!(text.starts_with("the clock of syslog:a has been 5.00 s ahead of ours for 5 min"), "{text}");
    assert!(text.contains("wrong if"), "{text}");
    assert_eq!((skew[0].severity, skew[0].confidence), (Severity::Medium, 95));
    assert_eq!(found.iter().filter(|f| f.rule.id == "detector.learned").count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_cut_into_batches_and_any_restart_give_the_same_findings(cut in 1usize..500, stop in 0usize..2_160) {
        let events = drifting();
        let want = run(&mut fresh(), &events, 2_160);
        let mut first = fresh();
        let mut got = run(&mut first, &events[..stop], cut);
        let saved = first.save();
        let mut second = fresh();
        prop_assert!(second.load(&saved));
        got.extend(run(&mut second, &events[stop..], cut));
        prop_assert_eq!(got, want);
    }

    #[test]
    fn any_bytes_are_taken_up_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut detector = fresh();
        let _ = detector.load(&bytes);
        run(&mut detector, &drifting()[..10], 3);
    }
}

/// Says the same about everyone: for what is shared.
struct Always(&'static str, bool);

impl Watcher for Always {
    fn id(&self) -> &'static str {
        self.0
    }
    fn version(&self) -> &'static str {
        "1"
    }
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    fn statistical(&self) -> bool {
        self.1
    }
    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        out.push(Draft { severity: Severity::Critical, ..Draft::of(call, call.who, "{x}").with("x", "y") });
    }
    fn stats(&self) -> WatcherStats {
        WatcherStats::default()
    }
    fn write(&self, _: &mut crate::bytes::Writer) {}
    fn read(&mut self, _: &mut crate::bytes::Reader<'_>) -> Option<()> {
        Some(())
    }
}

fn with(watchers: Vec<Box<dyn Watcher>>) -> Baselines {
    let config = BaselinesConfig { learn_ns: 0, learn_events: 5, ..BaselinesConfig::default() };
    Baselines::with(config, hmac(), watchers)
}

fn calls(count: u64) -> Vec<(u64, u64, Event)> {
    (0..count).map(|n| (n, DAY + n * S, event(n, "a", "spiffe://e.org/web", DAY + n * S, 0))).collect()
}

#[test]
fn statistics_are_capped_and_silent_while_learning_facts_are_not() {
    let mut detector = with(vec![Box::new(Always("statistic", true)), Box::new(Always("fact", false))]);
    let found = run(&mut detector, &calls(8), 8);
    let of = |id: &str| found.iter().filter(|f| f.rule.id == id).collect::<Vec<_>>();
    assert!(of("statistic")[..4].iter().all(|f| f.flags.contains(&Flag::Learning) && !f.notifies()));
    assert!(of("statistic")[4..].iter().all(|f| f.severity == Severity::Medium && f.notifies()));
    assert!(of("fact").iter().all(|f| f.severity == Severity::Critical && f.notifies()));
    assert!(of("statistic")[6].flags.contains(&Flag::Suspect), "it was learned while facts were found");
}

#[test]
fn two_that_rest_on_different_numbers_agree_to_high() {
    let mut detector = with(vec![Box::new(Always("one", true)), Box::new(Always("two", true))]);
    let found = run(&mut detector, &calls(6), 8);
    let last = found.iter().rev().find(|f| f.rule.id == "two").unwrap();
    assert_eq!((last.severity, last.flags.as_slice()), (Severity::High, [Flag::Combined].as_slice()));
    assert!(crate::explain(&last.to_event()).unwrap().contains("one found the same caller"));
    let mut alone = with(vec![Box::new(Always("one", true))]);
    assert!(run(&mut alone, &calls(9), 8).iter().all(|f| f.severity <= Severity::Medium));
}

#[test]
fn what_no_allowance_covers_is_recorded_then_counted_then_summed_up_hourly() {
    let mut detector = with(vec![Box::new(Always("fact", false))]);
    let found = run(&mut detector, &calls(8_000), 500);
    let notify = found.iter().filter(|f| f.rule.id == "fact" && f.notifies()).count();
    let recorded = found.iter().filter(|f| f.rule.id == "fact").count();
    assert_eq!((notify, recorded), (A_DAY as usize, RECORDED_MAX as usize));
    let sums: Vec<_> = found.iter().filter(|f| f.rule.id == "detector.saturated").collect();
    assert_eq!(sums.len(), 2, "once an hour of 8,000 s");
    assert_eq!(detector.suppressed(), 7_000);
}

#[test]
fn findings_and_alerts_are_not_looked_at() {
    let mut events = calls(2);
    events[0].2.core.rec = Some(Rec::Finding);
    (events[1].2.core.rec, events[1].2.core.op) = (Some(Rec::Platform), "alert.delivered".into());
    assert!(run(&mut with(vec![Box::new(Always("fact", false))]), &events, 1).is_empty());
}
