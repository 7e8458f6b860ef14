//! The Numenta Anomaly Benchmark and its own scoring (`../shared/corpora`, not part of the project).
//!
//! A. Lavin, S. Ahmad: Evaluating Real-time Anomaly Detection Algorithms – the Numenta Anomaly Benchmark, 2015. Each
//! window of a file is worth 1 if the detector says something in it, less the later it does (a scaled sigmoid), and
//! minus the weight of a miss otherwise; each point said outside of windows costs. The sum is scaled so that a detector
//! that says nothing has 0 and one that says exactly the first point of each window has 100. Shared by the test and
//! by `examples/nab.rs`; the method and numbers are in `docs/dev/nab.md`.

#![expect(clippy::unwrap_used, reason = "a tool of the tests")]

use countersign_detect::series::{Series, SeriesConfig};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Share of a file that is for learning and not scored.
const PROBATION: f64 = 0.15;
/// And the points that it has at most.
const PROBATION_MAX: usize = 750;
/// Widths of a window after it from which on a false alarm costs all.
const FAR: f64 = 3.0;

/// What an application pays for what.
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    hit: f64,
    miss: f64,
    false_alarm: f64,
}

/// Those of the benchmark (`config/profiles.json`), in its order.
pub(crate) const PROFILES: [Profile; 3] = [
    Profile { name: "standard", hit: 1.0, miss: 1.0, false_alarm: 0.11 },
    Profile { name: "reward_low_FP_rate", hit: 1.0, miss: 1.0, false_alarm: 0.22 },
    Profile { name: "reward_low_FN_rate", hit: 1.0, miss: 2.0, false_alarm: 0.11 },
];

/// A series with its labels.
pub(crate) struct File {
    /// Directory and name.
    pub(crate) name: String,
    /// UTC ns, value.
    pub(crate) points: Vec<(i64, f64)>,
    /// First and last point of each window, by index.
    pub(crate) windows: Vec<(usize, usize)>,
}

/// Sums over files, before they are scaled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    raw: f64,
    nothing: f64,
    perfect: f64,
    pub(crate) windows: usize,
    pub(crate) hits: usize,
    pub(crate) false_alarms: usize,
}

impl Sum {
    pub(crate) fn add(&mut self, other: &Sum) {
        self.raw += other.raw;
        self.nothing += other.nothing;
        self.perfect += other.perfect;
        self.windows += other.windows;
        self.hits += other.hits;
        self.false_alarms += other.false_alarms;
    }

    /// 0 as who says nothing, 100 as who is perfect; `None` where there is no window to find.
    pub(crate) fn scaled(&self) -> Option<f64> {
        let span = self.perfect - self.nothing;
        (span > 0.0).then(|| 100.0 * (self.raw - self.nothing) / span)
    }
}

/// Where the benchmark is, if it is there.
pub(crate) fn root() -> Option<PathBuf> {
    let root = countersign_testkit::crate_dir(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/corpora/detection/nab");
    root.is_dir().then_some(root)
}

/// All files, in the order of their names.
pub(crate) fn files(root: &Path) -> Vec<File> {
    let labels = std::fs::read_to_string(root.join("labels/combined_windows.json")).unwrap();
    let labels: BTreeMap<String, Vec<(String, String)>> = serde_json::from_str(&labels).unwrap();
    let read = |(name, windows): (String, Vec<(String, String)>)| {
        let text = std::fs::read_to_string(root.join("data").join(&name)).unwrap();
        let points: Vec<(i64, f64)> = text.lines().skip(1).map(point).collect();
        let index = |at: &str| points.iter().position(|(ns, _)| *ns == time(at)).unwrap();
        let windows = windows.iter().map(|(first, last)| (index(first), index(last))).collect();
        File { name, points, windows }
    };
    labels.into_iter().map(read).collect()
}

fn point(line: &str) -> (i64, f64) {
    let (at, value) = line.split_once(',').unwrap();
    (time(at), value.trim().parse().unwrap())
}

/// `2014-04-10 07:15:00` with or without a fraction, taken as UTC, in ns.
fn time(text: &str) -> i64 {
    let at: jiff::civil::DateTime = text.replace(' ', "T").parse().unwrap();
    at.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_nanosecond() as i64
}

/// The score of each point.
pub(crate) fn detect(config: SeriesConfig, file: &File) -> Vec<f64> {
    let mut series = Series::new(config);
    file.points.iter().map(|(at, value)| series.push(*at, *value).score).collect()
}

/// 0.987 at −1 (a window's begin), 0 at its end, −0.987 one width later.
fn sigmoid(position: f64) -> f64 {
    if position >= FAR { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

/// Points at the begin of a file that are not scored.
pub(crate) fn probation(points: usize) -> usize {
    ((PROBATION * points as f64).floor() as usize).min(PROBATION_MAX)
}

/// What a file adds to a profile's sum; a point is said from `threshold` on.
pub(crate) fn judge(file: &File, scores: &[f64], threshold: f64, profile: &Profile) -> Sum {
    let from = probation(scores.len());
    let mut sum = Sum::default();
    let mut said: Vec<Option<f64>> = vec![None; file.windows.len()];
    for (at, _) in scores.iter().enumerate().filter(|(at, score)| *at >= from && **score >= threshold) {
        if let Some(n) = file.windows.iter().position(|(first, last)| (*first..=*last).contains(&at)) {
            let (first, last) = file.windows[n];
            let position = -((last - at + 1) as f64) / (last - first + 1) as f64;
            let worth = profile.hit * sigmoid(position) / sigmoid(-1.0);
            said[n] = Some(said[n].map_or(worth, |best| best.max(worth)));
        } else {
            let before = file.windows.iter().rfind(|(_, last)| *last < at);
            let position = before.map_or(FAR, |(first, last)| (at - last) as f64 / (last - first) as f64);
            sum.raw += profile.false_alarm * sigmoid(position);
            sum.false_alarms += 1;
        }
    }
    for ((_, last), said) in file.windows.iter().zip(said) {
        // A window within the probation is not there.
        if *last >= from {
            sum.raw += said.unwrap_or(-profile.miss);
            sum.nothing -= profile.miss;
            sum.perfect += profile.hit;
            sum.windows += 1;
            sum.hits += usize::from(said.is_some());
        }
    }
    sum
}
