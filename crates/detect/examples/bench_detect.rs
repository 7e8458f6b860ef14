//! Events a second on one core of all detectors, with and without our own rules, and what their state takes.
//!
//! `bench_detect [EVENTS]`: made traffic of a fixed seed (`testkit::scenario`), then a flood of invented names. Nothing
//! here decides anything; the numbers are printed for `cargo xtask bench detect`.

use countersign_detect::sigma::{Options, RuleSet, RuleText, pack};
use countersign_detect::{
    Baselines, BaselinesConfig, Collected, Detector, FirstSeen, FirstSeenConfig, Hmac, Rules,
};
use countersign_event::{Auth, Event, Principal, Rec, TimeBasis, Verified};
use countersign_testkit::scenario::{Mix, Scenario};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

/// Seed of the traffic.
const SEED: u64 = 7;
/// Events in one batch.
const BATCH: usize = 4_096;
const ROUNDS: usize = 5;

type Timed = Vec<(u64, u64, Event)>;
type Failed = Box<dyn Error>;

fn main() -> Result<(), Failed> {
    let wanted = std::env::args().nth(1).map_or(Ok(400_000), |text| text.parse::<usize>())?;
    let traffic = traffic(wanted);
    println!(
        "  made traffic, seed {SEED}: {} events, batches of {BATCH}, one core, median of {ROUNDS}",
        traffic.len()
    );
    let hmac = hmac();
    rate("all detectors, no rules", &traffic, &|| Ok(detectors(&hmac)))?;
    rate("all detectors and our own rules", &traffic, &|| {
        let mut all = detectors(&hmac);
        all.push(Box::new(rules(&hmac)?));
        Ok(all)
    })?;
    state("after the traffic", &traffic, &hmac);
    flood(&hmac);
    Ok(())
}

/// Stands in for the ledger's keyed hash, of the same cost.
fn hmac() -> Hmac {
    use sha2::{Digest, Sha256};
    Arc::new(|bytes: &[u8]| Sha256::new().chain_update([7; 64]).chain_update(bytes).finalize().into())
}

fn traffic(wanted: usize) -> Timed {
    let daily = u32::try_from(wanted / 8).unwrap_or(u32::MAX);
    let run = Scenario { daily, ..Scenario::new(SEED, Mix::default()) }.run();
    run.take(wanted).enumerate().map(|(at, record)| (at as u64, record.ledger_ns, record.event)).collect()
}

fn detectors(hmac: &Hmac) -> Vec<Box<dyn Detector>> {
    vec![
        Box::new(FirstSeen::new(FirstSeenConfig::default(), Arc::clone(hmac))),
        Box::new(Collected::new(Arc::clone(hmac))),
        Box::new(Baselines::new(BaselinesConfig::default(), Arc::clone(hmac))),
    ]
}

fn rules(hmac: &Hmac) -> Result<Rules, Failed> {
    let texts: Vec<RuleText<'_>> = pack().iter().map(|(source, text)| RuleText { source, text }).collect();
    let options = Options { hmac: Arc::clone(hmac), placeholders: Default::default() };
    let compiled = RuleSet::compile(&texts, &options);
    if let Some(refused) = compiled.refused.first() {
        return Err(refused.to_string().into());
    }
    Ok(Rules::new(compiled.rules, Arc::clone(hmac)))
}

fn run(detectors: &mut [Box<dyn Detector>], traffic: &Timed) -> usize {
    let all: Vec<(u64, u64, &Event)> =
        traffic.iter().map(|(index, ns, event)| (*index, *ns, event)).collect();
    let batches = all.chunks(BATCH);
    batches.map(|batch| detectors.iter_mut().map(|d| d.batch(batch).len()).sum::<usize>()).sum()
}

fn rate(
    name: &str,
    traffic: &Timed,
    fresh: &dyn Fn() -> Result<Vec<Box<dyn Detector>>, Failed>,
) -> Result<(), Failed> {
    let (mut rates, mut found) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let mut detectors = fresh()?;
        let begun = Instant::now();
        found = run(&mut detectors, traffic);
        rates.push(traffic.len() as f64 / begun.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let (low, median, high) = (rates[0], rates[ROUNDS / 2], rates[ROUNDS - 1]);
    println!("  {name:<34} {median:>9.0} events/s (bar 200,000; {low:.0} to {high:.0}), {found} findings");
    Ok(())
}

fn state(when: &str, traffic: &Timed, hmac: &Hmac) {
    let mut baselines = Baselines::new(BaselinesConfig::default(), Arc::clone(hmac));
    let all: Vec<(u64, u64, &Event)> =
        traffic.iter().map(|(index, ns, event)| (*index, *ns, event)).collect();
    baselines.batch(&all);
    print_state(when, &baselines);
}

fn print_state(when: &str, baselines: &Baselines) {
    println!("  state {when}:");
    let mut sum = 0;
    for (id, stats) in baselines.stats() {
        let each = stats.bytes.checked_div(stats.keys).unwrap_or(0);
        println!("    {id:<18} {:>9} keys {each:>6} B each, {:>9} forgotten", stats.keys, stats.evicted);
        sum += stats.bytes;
    }
    println!("    in all {:.1} MiB (bound 1,024)", sum as f64 / f64::from(1 << 20));
}

/// 100,000 identities over a million edges, then names that come once.
fn flood(hmac: &Hmac) {
    let mut baselines = Baselines::new(BaselinesConfig::default(), Arc::clone(hmac));
    let before = resident();
    let begun = Instant::now();
    let (mut events, mut index) = (Vec::with_capacity(BATCH), 0u64);
    let total = 1_200_000;
    while index < total {
        events.clear();
        for _ in 0..BATCH {
            // A million pairs of 100,000 callers and 1,000 services, then callers that come once.
            let (caller, service) = match index {
                0..1_000_000 => (format!("spiffe://made/{}", index % 100_000), (index / 100) % 1_000),
                _ => (format!("spiffe://invented/{index}"), index % 7),
            };
            events.push((index, call(index, &caller, service)));
            index += 1;
        }
        let batch: Vec<(u64, u64, &Event)> =
            events.iter().map(|(index, event)| (*index, event.core.t_obs, event)).collect();
        baselines.batch(&batch);
    }
    let rate = total as f64 / begun.elapsed().as_secs_f64();
    print_state("after 100,000 identities on 1,000,000 edges and 200,000 invented ones", &baselines);
    if let (Some(before), Some(after)) = (before, resident()) {
        println!("    resident +{:.1} MiB; {rate:.0} events/s", (after - before) as f64 / 1024.0);
    }
}

fn call(index: u64, caller: &str, service: u64) -> Event {
    let mut event = Event::default();
    let ns = 1_790_000_000_000_000_000 + index * 1_000_000;
    event.core.eid = u128::from(index + 1).to_be_bytes();
    event.core.agent = "spiffe://made/gateway".to_owned();
    (event.core.t_obs, event.core.t_event) = (ns, i64::try_from(ns).ok());
    (event.core.t_basis, event.core.rec) = (Some(TimeBasis::Measured), Some(Rec::Interaction));
    event.core.op = "GET".to_owned();
    event.core.dur = Some(1_000_000);
    let principal = Principal { auth: Some(Auth::SpiffeSvid), ..Principal::new(caller, Verified::Bound) };
    event.who.who = Some(principal);
    event.target.svc = format!("service-{service}");
    event.target.res = "/things/{id}".to_owned();
    event
}

/// Kibibytes of this process in memory.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
