//! What is usual at an hour of the day, weekdays and weekends apart, of values of any sign and size.
//!
//! The cells are those of `sketch/usual.rs`, which is for counts. An hour of which one kind of day is not known leans on the
//! other. Invariants: 48 cells; the same for the same values in the same order.

use crate::sketch::usual::{cell, hour_of};

/// Days after which an hour of the day is known.
const DAYS: u8 = 2;
/// Share of the newest value, at least.
const NEWEST: f64 = 1.0 / 64.0;
const HOUR_NS: i64 = 3_600_000_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    mean: f64,
    /// Mean absolute error.
    off: f64,
    seen: u32,
    days: u8,
    /// Day of the newest value, from 1 January 1970.
    day: i64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Season {
    cells: [Cell; 48],
}

impl Default for Season {
    fn default() -> Season {
        Season { cells: [Cell::default(); 48] }
    }
}

impl Season {
    /// What is usual at this moment that is nearest to `value`, and its mean absolute error; `None` = not known.
    ///
    /// Usual is all between the means of this hour and of the nearer one beside it: what recurs at its hour may be a little
    /// early or late, and a step at the full hour is no error.
    pub(super) fn expected(&self, at_ns: i64, value: f64) -> Option<(f64, f64)> {
        let hour = hour_of(at_ns);
        let here = self.known(hour)?;
        let second_half = at_ns.rem_euclid(HOUR_NS) >= HOUR_NS / 2;
        let beside = self.known(if second_half { hour + 1 } else { hour - 1 }).unwrap_or(here);
        let (low, high) = (here.mean.min(beside.mean), here.mean.max(beside.mean));
        Some((value.max(low).min(high), here.off))
    }

    fn known(&self, hour: i64) -> Option<&Cell> {
        let at = cell(hour);
        [at, (at + 24) % 48].iter().filter_map(|at| self.cells.get(*at)).find(|cell| cell.days >= DAYS)
    }

    /// Takes in a value.
    pub(super) fn learn(&mut self, at_ns: i64, value: f64) {
        let hour = hour_of(at_ns);
        let error = self.expected(at_ns, value).map(|(mean, _)| (value - mean).abs());
        let Some(cell) = self.cells.get_mut(cell(hour)) else { return };
        let share = NEWEST.max(1.0 / (f64::from(cell.seen) + 1.0));
        let error = error.unwrap_or((value - cell.mean).abs());
        if cell.seen > 0 {
            cell.off += (error - cell.off) * share;
        }
        cell.mean += (value - cell.mean) * share;
        let day = hour.div_euclid(24);
        if cell.seen == 0 || cell.day != day {
            (cell.day, cell.days) = (day, cell.days.saturating_add(1));
        }
        cell.seen = cell.seen.saturating_add(1);
    }
}
