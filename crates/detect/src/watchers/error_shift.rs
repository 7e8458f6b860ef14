//! `error-shift`: more of a service's calls fail than is usual.
//!
//! Not an objective that was agreed (`burn-rate` measures that), only a change. Calls that end in an error of the server or in
//! a timeout count as failed, over all callers of the service; how surprising the failures of the newest 8 to 64 calls
//! are finds an outage, a cumulative sum finds the few per cent that last. Muted while a change of the service was
//! announced.

use crate::bytes::{Reader, Saved, Writer};
use crate::clock::Timely;
use crate::sketch::bits::LastBits;
use crate::sketch::cusum;
use crate::sketch::usual::float;
use crate::watch::{Call, Draft, Matters, Said, Table, Watcher, WatcherStats, short};
use countersign_event::Outcome;

const ID: &str = "error-shift";
/// Calls of a service before it is judged.
const CALLS: u32 = 200;
/// Surprise of a run of failures, in nats.
const NATS: f64 = 13.0;
/// Limit of the cumulative sum, nats, and the ratio of the share that it looks for.
const LIMIT: f64 = 9.0;
const RATIO: f64 = 4.0;
/// The usual share is taken to be between these.
const SHARE: (f64, f64) = (0.01, 0.2);
/// Fewest failures.
const LEAST: u32 = 4;
/// Over when it was so long as usual, ns: failures of a service with few calls are far apart.
const CALM_NS: i64 = 7_200_000_000_000;
const OVER: &str = "calls of {service} fail no more often than usual again; it took {took}";

/// See the module.
pub(crate) struct ErrorShift {
    services: Table<Service>,
    capacity: usize,
    matters: Matters,
}

#[derive(Default)]
struct Service {
    recent: LastBits,
    calls: u32,
    share: f32,
    sum: f32,
    /// Failures and calls since the sum was zero.
    since: [u32; 2],
}

impl ErrorShift {
    /// Of at most `capacity` services.
    pub(crate) fn new(capacity: usize) -> ErrorShift {
        ErrorShift { services: Table::new(capacity), capacity, matters: Matters::default() }
    }
}

impl Service {
    /// The usual share.
    fn usual(&self) -> f64 {
        f64::from(self.share).clamp(SHARE.0, SHARE.1)
    }

    /// Takes in a call; failures of how many calls are too many.
    fn take(&mut self, failed: bool, learn: bool) -> Option<(u32, u32, f64)> {
        let usual = self.usual();
        self.recent.push(failed);
        let sum = cusum::add(&mut self.sum, cusum::yes(failed, usual, (RATIO * usual).min(0.5)));
        let [failures, calls] = &mut self.since;
        (*failures, *calls) = if sum > 0.0 { (*failures + u32::from(failed), *calls + 1) } else { (0, 0) };
        let found = || {
            let run = self.recent.most_surprising(usual);
            let (failures, calls) = (self.since[0], self.since[1]);
            if run.nats >= NATS && run.hits >= LEAST {
                return Some((run.hits, run.of, run.nats));
            }
            (sum >= LIMIT && failures >= LEAST).then_some((failures, calls, sum + 4.0))
        };
        let found = (failed && self.calls >= CALLS).then(found).flatten();
        if learn && found.is_none() {
            self.calls = self.calls.saturating_add(1);
            let newest = (1.0 / self.calls as f32).max(1.0 / 2_000.0);
            self.share += (f32::from(u8::from(failed)) - self.share) * newest;
        }
        found
    }
}

impl Watcher for ErrorShift {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("calls", CALLS.to_string()),
            ("surprise_nats", NATS.to_string()),
            ("cusum_limit_nats", LIMIT.to_string()),
            ("cusum_ratio", RATIO.to_string()),
        ]
    }

    fn statistical(&self) -> bool {
        true
    }

    fn input(&self) -> &'static str {
        "errors"
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let Some(outcome) = call.event.core.outcome.filter(|_| call.is_call) else { return };
        let failed = matches!(outcome, Outcome::ServerError | Outcome::Timeout);
        let open = self.matters.is_open(&call.service);
        let (_, service) = self.services.see(call.service, call.index, call.at_ns, Service::default);
        if call.changing || call.timely != Timely::OnTime {
            return;
        }
        let Some((failures, of, nats)) = service.take(failed, !open) else { return };
        let usual = service.usual();
        self.matters.tell(call, call.service, call.at_ns, f64::from(failures), CALM_NS, out, || Said {
            confidence: if nats >= 2.0 * NATS { 80 } else { 65 },
            template: "{failures} of the last {of} calls of {service} failed, the newest by {caller}; usual are \
                       {usual}; wrong if: the failures are expected since a change that was not announced",
            values: vec![
                ("failures", failures.to_string()),
                ("of", of.to_string()),
                ("service", call.service_name()),
                ("caller", call.group_name()),
                ("usual", format!("{} %", short(100.0 * usual))),
            ],
        });
    }

    fn advance(&mut self, watermark_ns: i64, _ledger_ns: u64, out: &mut Vec<Draft>) {
        self.matters.settle(watermark_ns, OVER, out);
    }

    fn wake_ns(&self) -> Option<i64> {
        self.matters.wake_ns()
    }

    fn stats(&self) -> WatcherStats {
        let keys = self.services.len() as u64;
        let each = size_of::<Service>() + crate::watch::table::SLOT_BYTES;
        WatcherStats {
            keys,
            evicted: self.services.evicted() + self.matters.untold(),
            bytes: keys * each as u64,
        }
    }

    fn write(&self, out: &mut Writer) {
        self.services.write(out);
        self.matters.write(out);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        (self.services, self.matters) = (Table::read(self.capacity, from)?, Matters::read(from)?);
        Some(())
    }
}

impl Saved for Service {
    const MIN_BYTES: usize = LastBits::MIN_BYTES + 20;

    fn write(&self, out: &mut Writer) {
        self.recent.write(out);
        out.u32(self.calls);
        out.u32(self.share.to_bits());
        out.u32(self.sum.to_bits());
        self.since.iter().for_each(|n| out.u32(*n));
    }

    fn read(from: &mut Reader<'_>) -> Option<Service> {
        Some(Service {
            recent: LastBits::read(from)?,
            calls: from.u32()?,
            share: float(from)?,
            sum: float(from)?,
            since: [from.u32()?, from.u32()?],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use countersign_event::Outcome;

    /// Eight days of a call each 5 minutes of which 1 in 100 fails; then a day with `percent` failing.
    fn days(percent: u64) -> Traffic {
        let mut traffic = Traffic::new();
        for n in 0..9 * 288u64 {
            let percent = if n < 8 * 288 { 1 } else { percent };
            let failed = n * 37 % 100 < percent;
            traffic.call(n * 5 * MINUTE, |e| {
                e.core.outcome = Some(if failed { Outcome::ServerError } else { Outcome::Success });
            });
        }
        traffic
    }

    #[test]
    fn an_outage_and_a_few_per_cent_that_last_are_found_once() {
        for percent in [12, 100] {
            let found = days(percent).findings("error-shift");
            assert_eq!(found.iter().filter(|f| f.revision == 1).count(), 1, "{percent}");
            assert!(
                said(&found[0]).contains("calls of orders failed, the newest by web; usual are 1"),
                "{}",
                said(&found[0])
            );
        }
    }

    #[test]
    fn the_usual_share_is_silent() {
        assert!(days(1).findings("error-shift").is_empty());
        assert!(days(2).findings("error-shift").is_empty());
    }

    #[test]
    fn any_cut_and_any_restart_give_the_same() {
        days(30).holds_together("error-shift");
    }
}
