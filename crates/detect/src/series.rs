//! How unusual each value of a plain series of numbers is: what the watchers do with counts, for any metric.
//!
//! A value is held against what is usual: at its hour of the day (weekdays and weekends apart) where that has predicted
//! better of late than the median of the last values, which is taken otherwise. The difference in units of its usual size is
//! one surprise; the two-sided cumulative sum of such differences, which tells a small change that lasts, is the other. How
//! surprising a surprise is, is told by the series' own past ones: the tail of their distribution above its 95th percentile
//! is extrapolated (B. M. Hill, 1975), because hardly any series is Gaussian. The score is the logarithm of that
//! probability. One incident is one alarm: after it scores stay below [`ALARM`] for a while, as a finding is revised
//! and not repeated.
//!
//! Not a watcher: it knows no events, makes no findings and saves nothing. Invariants: a score depends on this value and
//! those before it alone; it is finite and between 0 and 1; memory is bounded by [`SeriesConfig`] and [`STATE_MAX_BYTES`];
//! no wall clock, no randomness; additions, multiplications, divisions and comparisons only, so every machine computes
//! the same.

mod recent;
mod season;

use crate::sketch::cusum;
use crate::sketch::tail::ln;
use recent::Recent;
use season::Season;

/// Score from which on a value is an anomaly, unless configured; how it was fixed is in `docs/dev/nab.md`.
pub const ALARM: f64 = 0.3;
/// Surprise of score 1, nats: less than 1 in 10,000,000,000.
pub const NATS_MAX: f64 = 23.0;
/// Most values that any of the windows of [`SeriesConfig`] holds; more is cut to it.
pub const WINDOW_MAX: usize = 4_096;
/// Most memory of a series, bytes.
pub const STATE_MAX_BYTES: usize = 3 * 2 * 8 * WINDOW_MAX + 4_096;
/// Surprises that must be known before a score is above 0.
pub const LEARN_POINTS: usize = 100;
/// Largest magnitude of a value; beyond, it is cut to this.
const VALUE_MAX: f64 = 1e30;
/// Most units that a value is off.
const Z_MAX: f64 = 1e6;
/// Most units that one value adds to the cumulative sums: what a single one says is the other surprise.
const Z_SUM: f64 = 3.0;
/// Share of the newest error in its mean.
const NEWEST: f64 = 1.0 / 256.0;
/// Mean absolute deviation → standard deviation of a normal distribution.
const MEAN_ABS: f64 = 1.2533;
/// Interquartile range → the same.
const IQR: f64 = 1.0 / 1.349;

/// What a series is judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesConfig {
    /// Last values whose median is usual; 4 to [`WINDOW_MAX`].
    pub window: usize,
    /// Last surprises whose tail is the measure; [`LEARN_POINTS`] to [`WINDOW_MAX`].
    pub memory: usize,
    /// Values after an alarm whose score stays below that of an alarm.
    pub rest: u32,
    /// Score from which on a value is an anomaly, above 0.
    pub alarm: f64,
    /// Change of the mean that the cumulative sums look for, standard deviations.
    pub shift: f64,
}

impl Default for SeriesConfig {
    fn default() -> SeriesConfig {
        SeriesConfig { window: 72, memory: 1_500, rest: 288, alarm: ALARM, shift: 1.0 }
    }
}

/// What is said of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// How unusual, 0 to 1: `−ln` of the probability, as a share of [`NATS_MAX`]. From [`ALARM`] on an anomaly.
    pub score: f64,
    /// What was usual, in the unit of the series.
    pub expected: f64,
    /// How far off it was, in standard deviations; negative = below.
    pub z: f64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Series {
    config: SeriesConfig,
    values: Recent,
    season: Season,
    /// Mean absolute errors of the median and of the season.
    errors: (f64, f64),
    sums: (f32, f32),
    jumps: Recent,
    drifts: Recent,
    rest: u32,
}

impl Default for Series {
    fn default() -> Series {
        Series::new(SeriesConfig::default())
    }
}

impl Series {
    /// Nothing is known yet.
    pub fn new(config: SeriesConfig) -> Series {
        let memory = config.memory.clamp(LEARN_POINTS, WINDOW_MAX);
        Series {
            config: SeriesConfig { shift: config.shift.clamp(0.1, 10.0), memory, ..config },
            values: Recent::new(config.window.clamp(4, WINDOW_MAX)),
            season: Season::default(),
            errors: (0.0, 0.0),
            sums: (0.0, 0.0),
            jumps: Recent::new(memory),
            drifts: Recent::new(memory),
            rest: 0,
        }
    }

    /// Judges the value at `at_ns` (UTC ns) and learns it. What is no number scores 0 and is not learned.
    pub fn push(&mut self, at_ns: i64, value: f64) -> Point {
        if !value.is_finite() {
            return Point::default();
        }
        let value = value.clamp(-VALUE_MAX, VALUE_MAX);
        let Some(median) = self.values.quantile(0.5) else {
            self.values.push(value);
            self.season.learn(at_ns, value);
            return Point { expected: value, ..Point::default() };
        };
        let (expected, scale) = self.usual(at_ns, value, median);
        let z = z_score(value - expected, scale);
        let drift = self.drift(z);
        let nats = surprise(&self.jumps, z.abs()).max(surprise(&self.drifts, drift));
        self.learn(at_ns, value, median);
        self.jumps.push(z.abs());
        self.drifts.push(drift);
        Point { score: self.once((nats / NATS_MAX).clamp(0.0, 1.0)), expected, z }
    }

    /// What is usual, and by how much it is usually missed.
    fn usual(&self, at_ns: i64, value: f64, median: f64) -> (f64, f64) {
        let (near, far) = self.errors;
        match self.season.expected(at_ns, value) {
            Some((mean, off)) if far < near => (mean, MEAN_ABS * off.max(far)),
            _ => {
                let quartile = |q: f64| self.values.quantile(q).unwrap_or(median);
                (median, (IQR * (quartile(0.75) - quartile(0.25))).max(MEAN_ABS * near))
            }
        }
    }

    /// The larger of the two cumulative sums after `z`: log-likelihood ratios of a mean that has moved by `shift`.
    fn drift(&mut self, z: f64) -> f64 {
        let shift = self.config.shift;
        let z = z.clamp(-Z_SUM, Z_SUM);
        let up = cusum::add(&mut self.sums.0, shift * z - shift * shift / 2.0);
        let down = cusum::add(&mut self.sums.1, -shift * z - shift * shift / 2.0);
        up.max(down)
    }

    fn learn(&mut self, at_ns: i64, value: f64, median: f64) {
        let share = NEWEST.max(1.0 / (self.jumps.len() as f64 + 1.0));
        let near = (value - median).abs();
        // Until the season is known it is taken to be as good as the median, and no better.
        let far = self.season.expected(at_ns, value).map_or(near, |(mean, _)| (value - mean).abs());
        self.errors.0 += (near - self.errors.0) * share;
        self.errors.1 += (far - self.errors.1) * share;
        self.season.learn(at_ns, value);
        self.values.push(value);
    }

    /// An alarm is raised once: the sums begin anew, and for a while no score is one.
    fn once(&mut self, score: f64) -> f64 {
        if self.rest > 0 {
            self.rest -= 1;
            return score.min(self.config.alarm / 2.0);
        }
        if score >= self.config.alarm {
            (self.rest, self.sums) = (self.config.rest, (0.0, 0.0));
        }
        score
    }
}

/// How many `scale`s off; where nothing was ever off, anything is far.
fn z_score(off: f64, scale: f64) -> f64 {
    if off == 0.0 {
        return 0.0;
    }
    (off / scale.max(1e-9)).clamp(-Z_MAX, Z_MAX)
}

/// `−ln` of the probability of a surprise of `x` or more, by those that were; 0 while too few are known.
fn surprise(past: &Recent, x: f64) -> f64 {
    let n = past.len();
    if n < LEARN_POINTS || x <= 0.0 {
        return 0.0;
    }
    let top = (n / 20).max(5);
    // A floor, so that a tail of zeros does not make anything infinitely surprising.
    let from = past.largest(top).unwrap_or(x).max(1.0);
    if x <= from {
        return 0.0;
    }
    let excess: f64 = (0..top).filter_map(|rank| past.largest(rank)).map(|y| ln(y.max(from) / from)).sum();
    let index = (excess / top as f64).max(0.1);
    ln(n as f64 / top as f64) + ln(x / from) / index
}

#[cfg(test)]
mod tests;
