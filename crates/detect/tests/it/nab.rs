//! The Numenta Anomaly Benchmark: our score on it does not fall, and its scoring is computed as its authors describe.

#[path = "../nab/mod.rs"]
mod benchmark;

use benchmark::{File, PROFILES, Sum, detect, files, judge, probation, root};
use countersign_detect::series::{ALARM, SeriesConfig};

/// Standard profile over all files, slightly below what was measured (docs/dev/nab.md).
const FLOOR: f64 = 50.0;

#[test]
fn the_standard_profile_scores_no_less_than_it_did() {
    // The benchmark is not part of the project; beside it, where it is there.
    let Some(root) = root() else { return };
    let mut sums = [Sum::default(); PROFILES.len()];
    for file in files(&root) {
        let scores = detect(SeriesConfig::default(), &file);
        assert_eq!(scores.len(), file.points.len(), "{}", file.name);
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{}", file.name);
        for (sum, profile) in sums.iter_mut().zip(&PROFILES) {
            sum.add(&judge(&file, &scores, ALARM, profile));
        }
    }
    assert_eq!(sums[0].windows, 36, "another benchmark than that of the documentation");
    let standard = sums[0].scaled().unwrap();
    assert!(standard >= FLOOR, "{standard} on {}: {:?}", PROFILES[0].name, sums[0]);
}

/// 1,000 points, windows at 300..=399 and 700..=799.
fn file() -> File {
    let points = (0..1_000).map(|n| (n * 300_000_000_000, 0.0)).collect();
    File { name: "made".to_owned(), points, windows: vec![(300, 399), (700, 799)] }
}

fn scored(said: &[usize], profile: usize) -> f64 {
    let mut scores = vec![0.0; 1_000];
    said.iter().for_each(|at| scores[*at] = 1.0);
    judge(&file(), &scores, 0.5, &PROFILES[profile]).scaled().unwrap_or(f64::NAN)
}

#[test]
fn nothing_said_is_0_and_the_first_point_of_each_window_is_nearly_100() {
    for profile in 0..3 {
        assert_eq!(scored(&[], profile), 0.0);
        assert!((scored(&[300, 700], profile) - 100.0).abs() < 1e-9);
    }
}

#[test]
fn late_is_less_and_only_the_earliest_point_of_a_window_counts() {
    let at = |n| scored(&[n, 700], 0);
    assert!(at(300) > at(340) && at(340) > at(380) && at(380) > at(399));
    assert_eq!(scored(&[320, 321, 350, 399, 700], 0), at(320));
    assert!(at(399) > scored(&[700], 0), "late is better than never");
}

#[test]
fn false_alarms_cost_their_weight_and_little_right_after_a_window() {
    // Two windows are worth from -2 to 2 (standard), so a point is a quarter of 100.
    let cost = |said: &[usize], profile| scored(&[300, 700], profile) - scored(said, profile);
    assert!((cost(&[300, 700, 250], 0) - 11.0 / 4.0).abs() < 1e-9, "before any window");
    assert!((cost(&[300, 700, 250], 1) - 22.0 / 4.0).abs() < 1e-9);
    assert!((cost(&[300, 700, 250], 2) - 11.0 / 6.0).abs() < 1e-9);
    let (near, far) = (cost(&[300, 700, 402], 0), cost(&[300, 700, 650], 0));
    assert!(near < far / 5.0 && near > 0.0, "{near} {far}");
    assert!((scored(&[300], 0) - 50.0).abs() < 1e-9);
    assert!((scored(&[300], 2) - 50.0).abs() < 1e-9);
}

#[test]
fn the_begin_of_a_file_is_not_scored() {
    assert_eq!((probation(1_000), probation(4_032), probation(100_000)), (150, 604, 750));
    assert_eq!(scored(&[0, 149], 0), 0.0);
    assert!(scored(&[150], 0) < 0.0);
}
