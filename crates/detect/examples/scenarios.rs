//! Prints how all detectors score on made traffic: `scenarios [--mix NAME] [--seeds FROM TO] [--said]`.
//!
//! With `--said` also each sentence that notifies, and when, in minutes from the attack's start. Seeds below 1,000 are for tuning.

#![expect(clippy::unwrap_used, reason = "a tool of the tests")]

#[path = "../tests/score/mod.rs"]
mod score;

use countersign_detect::{Finding, explain};
use countersign_testkit::scenario::SCENARIOS;
use countersign_testkit::scenario::score::{Judged, score as judge};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs made at once.
const THREADS: usize = 2;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str, n: usize| {
        arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + n)).cloned()
    };
    let from: u64 = after("--seeds", 1).map_or(0, |n| n.parse().unwrap());
    let to: u64 = after("--seeds", 2).map_or(4, |n| n.parse().unwrap());
    let said = arguments.iter().any(|a| a == "--said");
    let mixes: Vec<String> = match after("--mix", 1) {
        Some(names) => names.split(',').map(str::to_owned).collect(),
        None => SCENARIOS.iter().map(|name| (*name).to_owned()).collect(),
    };
    let jobs: Vec<(String, u64)> =
        mixes.iter().flat_map(|mix| (from..to).map(move |seed| (mix.clone(), seed))).collect();
    let (next, runs) = (AtomicUsize::new(0), Mutex::new(Vec::<(usize, Judged)>::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((at, (mix, seed))) = take(&next, &jobs) {
                    let (judged, found) = score::run(*seed, mix);
                    let mut runs = runs.lock().unwrap();
                    if said {
                        show(mix, &judged, &found);
                    }
                    runs.push((at, judged));
                }
            });
        }
    });
    let mut runs = runs.into_inner().unwrap();
    runs.sort_by_key(|(at, _)| *at);
    let runs: Vec<Judged> = runs.into_iter().map(|(_, judged)| judged).collect();
    println!("{}", judge(&runs, score::GRACE_NS));
}

fn take<'j>(next: &AtomicUsize, jobs: &'j [(String, u64)]) -> Option<(usize, &'j (String, u64))> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(at).map(|job| (at, job))
}

fn show(mix: &str, judged: &Judged, found: &[Finding]) {
    for label in &judged.labels {
        println!(
            "{mix} {}: {} {:.2} {:?} -> {:?}, {} events: {}",
            judged.seed,
            if label.attack { "ATTACK" } else { "near miss" },
            label.strength,
            label.callers,
            label.services,
            label.events.len(),
            label.note
        );
    }
    for finding in found.iter().filter(|f| f.notifies() && f.revision == 1) {
        let attack = judged.labels.iter().find(|label| label.attack);
        let since = attack.map(|label| (finding.decided_ns as f64 - label.start as f64) / 6e10);
        let text = explain(&finding.to_event()).unwrap_or_default();
        println!("  {since:8.1?} min {}: {text}", finding.rule.id);
    }
}
