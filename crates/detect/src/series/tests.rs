//! What series score, and what they must not.

use super::*;
use proptest::prelude::*;

const STEP_NS: i64 = 300_000_000_000;
/// A Monday.
const START: i64 = 1_789_948_800_000_000_000;

/// Noise of about one standard deviation, from a seed.
fn noise(n: u64) -> f64 {
    let one = |k: u64| {
        let mixed = (n * 12 + k).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1u64 << 24) as f64
    };
    (0..12).map(one).sum::<f64>() - 6.0
}

fn run(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut series = Series::default();
    values.enumerate().map(|(n, value)| series.push(START + n as i64 * STEP_NS, value).score).collect()
}

fn alarms(scores: &[f64]) -> Vec<usize> {
    scores.iter().enumerate().filter(|(_, score)| **score >= ALARM).map(|(n, _)| n).collect()
}

/// [`ALARM`] is about 1 in 1,000: so many are by chance alone.
fn by_chance(alarms: &[usize], points: usize) {
    assert!(alarms.len() <= 1 + 2 * points / 1_000, "{alarms:?} in {points}");
}

#[test]
fn a_spike_in_noise_is_one_alarm() {
    let usual = alarms(&run((0..10_000).map(|n| 50.0 + noise(n))));
    by_chance(&usual, 10_000);
    let scores = run((0..3_000u64).map(|n| 50.0 + noise(n) + if n == 2_500 { 60.0 } else { 0.0 }));
    assert!(scores[2_500] > 0.9, "{}", scores[2_500]);
    assert_eq!(alarms(&scores[2_499..2_700]), [1]);
}

#[test]
fn a_level_that_lasts_is_one_alarm_and_then_usual() {
    let scores = run((0..4_000u64).map(|n| 50.0 + noise(n) + if n >= 2_500 { 20.0 } else { 0.0 }));
    assert_eq!(alarms(&scores[2_499..2_900]), [1]);
    by_chance(&alarms(&scores[2_900..]), 1_100);
}

#[test]
fn a_day_without_its_usual_rise_is_seen_though_no_value_is_new() {
    let value = |n: u64, silent: bool| {
        let busy = (108..204).contains(&(n % 288)) && !silent;
        (if busy { 80.0 } else { 20.0 }) + noise(n)
    };
    let days = 12 * 288u64;
    let usual = alarms(&run((0..days).map(|n| value(n, false)))[2_000..]);
    by_chance(&usual, days as usize - 2_000);
    // One that begins in the rest after an alarm by chance is not said; so all days from the second week on.
    let silent = |day: u64| alarms(&run((0..days).map(|n| value(n, n / 288 == day))));
    let seen =
        |day: u64| silent(day).iter().any(|n| (day * 288 + 108..day * 288 + 204).contains(&(*n as u64)));
    let days_seen: Vec<u64> = (7..12).filter(|day| seen(*day)).collect();
    assert!(days_seen.len() >= 3, "{days_seen:?}, by chance {usual:?}");
}

#[test]
fn a_flat_line_scores_nothing_and_what_breaks_it_does() {
    let scores = run((0..2_000).map(|n| if n == 1_500 { 7.0 } else { 45.0 }));
    assert_eq!(alarms(&scores), [1_500]);
    assert!(scores[..1_500].iter().all(|score| *score == 0.0));
}

#[test]
fn what_is_no_number_is_not_learned() {
    let (mut one, mut other) = (Series::default(), Series::default());
    for n in 0..500u64 {
        let at = START + n as i64 * STEP_NS;
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(one.push(at, bad), Point::default());
        }
        assert_eq!(one.push(at, noise(n)), other.push(at, noise(n)));
    }
}

#[test]
fn state_stays_within_its_bound() {
    let config = SeriesConfig { window: usize::MAX, memory: usize::MAX, ..SeriesConfig::default() };
    let mut series = Series::new(config);
    for n in 0..10_000u64 {
        series.push(START + n as i64 * STEP_NS, noise(n));
    }
    let held = 2 * 8 * (series.values.len() + series.jumps.len() + series.drifts.len());
    assert_eq!(held, 3 * 2 * 8 * WINDOW_MAX);
    assert!(held + size_of::<Series>() <= STATE_MAX_BYTES, "{}", size_of::<Series>());
}

proptest! {
    #[test]
    fn any_numbers_at_any_times_score_finitely_and_the_same_twice(
        points in proptest::collection::vec((any::<i64>(), any::<f64>()), 1..400),
        scale in prop_oneof![Just(1.0), Just(0.0), Just(f64::MIN_POSITIVE)],
    ) {
        let (mut one, mut other) = (Series::default(), Series::default());
        for (at, value) in points {
            let got = one.push(at, value * scale);
            prop_assert!((0.0..=1.0).contains(&got.score));
            prop_assert!(got.expected.is_finite() && got.z.is_finite());
            prop_assert_eq!(got, other.push(at, value * scale));
        }
    }

    #[test]
    fn a_score_does_not_depend_on_what_comes_later(cut in 1usize..600, later in -1e6..1e6f64) {
        let whole = run((0..600u64).map(|n| 10.0 * noise(n)));
        let other = run((0..600u64).map(|n| if n < cut as u64 { 10.0 * noise(n) } else { later }));
        prop_assert_eq!(&whole[..cut], &other[..cut]);
    }

    #[test]
    fn the_unit_of_the_series_does_not_matter(power in -8i32..8) {
        // Powers of two, so that nothing is rounded.
        let factor = 2f64.powi(power);
        let plain = run((0..400u64).map(|n| 50.0 + 10.0 * noise(n) * noise(n + 1)));
        let scaled = run((0..400u64).map(|n| factor * (50.0 + 10.0 * noise(n) * noise(n + 1))));
        prop_assert_eq!(plain, scaled);
    }
}
