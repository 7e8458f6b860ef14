//! When machines are busy: by the hour of the day and the day of the week, in UTC.

use super::{DAY, HOUR};

/// How much an edge follows people's hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rhythm {
    /// The same at every hour.
    Flat,
    /// Follows people, with half the swing.
    Mixed,
    /// Follows people.
    People,
}

/// Calls in each hour of a day against the day's mean, in thousandths.
const HOURS: [u16; 24] = [
    420, 360, 330, 320, 340, 420, 600, 860, 1150, 1370, 1480, 1500, 1430, 1470, 1520, 1500, 1440, 1370, 1290,
    1230, 1130, 960, 760, 560,
];
/// Calls on each day of a week against the week's mean, Monday first, in thousandths.
const DAYS: [u16; 7] = [1080, 1110, 1120, 1110, 1090, 790, 700];
/// No factor is larger.
pub(super) const PEAK: f64 = 1.75;

impl Rhythm {
    /// Rate at `t` (UTC ns) against the mean of the week.
    pub(super) fn at(self, t: u64) -> f64 {
        let hour = ((t / HOUR) % 24) as usize;
        let within = (t % HOUR) as f64 / HOUR as f64;
        let here = f64::from(HOURS[hour]) / 1000.0;
        let next = f64::from(HOURS[(hour + 1) % 24]) / 1000.0;
        let people = (here + (next - here) * within) * f64::from(DAYS[weekday(t)]) / 1000.0;
        match self {
            Rhythm::Flat => 1.0,
            Rhythm::Mixed => 0.5 + 0.5 * people,
            Rhythm::People => people,
        }
    }
}

/// Day of the week, Monday = 0. 1 January 1970 was a Thursday.
pub(super) fn weekday(t: u64) -> usize {
    ((t / DAY + 3) % 7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_week_is_one_and_no_hour_is_above_the_peak() {
        for rhythm in [Rhythm::Flat, Rhythm::Mixed, Rhythm::People] {
            let all: Vec<f64> = (0..7 * 24 * 4).map(|quarter| rhythm.at(quarter * HOUR / 4)).collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            assert!((mean - 1.0).abs() < 0.03, "{rhythm:?} {mean}");
            assert!(all.iter().all(|f| *f <= PEAK && *f > 0.1), "{rhythm:?}");
        }
    }

    #[test]
    fn the_second_of_march_2026_is_a_monday() {
        assert_eq!(weekday(1_772_409_600 * 1_000_000_000), 0);
    }
}
