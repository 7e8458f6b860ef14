//! All detectors over made traffic with known attacks (docs/dev/scenarios.md), seeds for tuning only.

use crate::score::{GRACE_NS, run};
use countersign_testkit::scenario::score::{Judged, score};

/// What the statistical watchers are for, and what must notify nobody.
const MIXES: [&str; 6] =
    ["rate-shift", "enumeration", "exfiltration", "latency-shift", "noisy-neighbour", "night-batch"];

#[test]
fn attacks_are_found_and_the_background_is_quiet() {
    let full = std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|v| v == "full");
    let seeds = if full { 0..20 } else { 0..1 };
    let runs: Vec<Judged> = seeds.flat_map(|seed| MIXES.iter().map(move |mix| run(seed, mix).0)).collect();
    let score = score(&runs, GRACE_NS);
    let [staged, found] = score.attacks();
    assert!(found as f64 >= 0.9 * staged as f64, "{score}");
    assert!(score.false_per_10_000() <= 1.0, "{score}");
}
