//! Detector 2, `rare-operation`: a caller uses an operation, or gets a status, that hardly anyone does on this service.
//!
//! Of each service the calls are counted, and of them each operation (verb and resource template) and each status;
//! counts halve every [`HALF_DAYS`] days. Rare is a share below [`SHARE`] of at least [`CALLS`] calls, before the call
//! itself: of [`CALLS`] calls, none. An operation is told at its first call by a peer group (its replicas count as one);
//! a status at the [`STATUSES`]rd within an hour, since single odd answers happen. Silent: a group that is still learned,
//! an operation that others use often enough, what comes in an announced change of either side or within
//! [`AFTER_NS`] of one of the caller. Counts are exact, of keys that are bounded; a key that had to leave is unknown.

use crate::bytes::{Reader, Saved, Writer};
use crate::clock::Timely;
use crate::sketch::usual::float;
use crate::watch::{Call, Draft, Key, Matters, Said, Standing, Table, Watcher, WatcherStats, short};

const ID: &str = "rare-operation";
/// Share that is rare, and calls of the service from which it is one.
const SHARE: f64 = 1e-4;
const CALLS: f64 = 1_000.0;
/// Calls with a rare status within [`RECENT_NS`].
const STATUSES: u16 = 3;
const RECENT_NS: i64 = 3_600_000_000_000;
/// Days after which half of a count is left.
const HALF_DAYS: i64 = 15;
const DAY_NS: i64 = 86_400_000_000_000;
/// What a new version of the caller does may show hours after its change, ns.
const AFTER_NS: i64 = 6 * 3_600_000_000_000;
const CALM_NS: i64 = 3_600_000_000_000;
/// Kinds of keys: a status of a service, a caller of an operation, a caller that was changed.
const STATUS: u8 = 16;
const USE: u8 = 17;
const OVER: &str = "{caller} has not done again what is rare on {service}; it took {took}, {most} calls";

/// See the module.
pub(crate) struct RareOperation {
    /// By service, by operation and by status of it, by caller of an operation.
    counts: Table<Count>,
    /// When the caller was last seen while it changed, event time in ns.
    changed: Table<i64>,
    capacity: usize,
    matters: Matters,
}

/// Calls, decayed.
#[derive(Clone, Copy, Default)]
struct Count {
    n: f32,
    /// When it was halved last, in units of [`HALF_DAYS`].
    halved: i64,
    /// Calls since `recent_ns`.
    recent: u16,
    recent_ns: i64,
}

impl Count {
    /// Counts a call; how many there were before it.
    fn take(&mut self, at_ns: i64) -> f64 {
        let period = at_ns.div_euclid(HALF_DAYS * DAY_NS);
        if self.n == 0.0 {
            self.halved = period;
        }
        while self.halved < period && self.n > 0.0 {
            (self.n, self.halved) = (if self.n < 1e-3 { 0.0 } else { self.n / 2.0 }, self.halved + 1);
        }
        self.halved = self.halved.max(period);
        if at_ns.saturating_sub(self.recent_ns) > RECENT_NS {
            (self.recent, self.recent_ns) = (0, at_ns);
        }
        self.recent = self.recent.saturating_add(1);
        let before = f64::from(self.n);
        // Beyond that an f32 no longer counts single calls; shares of 1e-4 are known well before.
        self.n = (self.n + 1.0).min(16_000_000.0);
        before
    }

    /// Before the last hour.
    fn earlier(&self, before: f64) -> f64 {
        (before - f64::from(self.recent.saturating_sub(1))).max(0.0)
    }
}

/// A call against what is usual on its service.
struct Rare {
    about: Key,
    calls: f64,
    share: f64,
    status: Option<String>,
    many: u16,
}

impl RareOperation {
    /// Of at most `capacity` services, operations, statuses and callers of operations together.
    pub(crate) fn new(capacity: usize) -> RareOperation {
        let (counts, changed) = (Table::new(capacity), Table::new(capacity / 8));
        RareOperation { counts, changed, capacity, matters: Matters::default() }
    }

    /// Whether the caller or the service is being changed, or the caller was.
    fn quiet(&mut self, call: &Call<'_>) -> bool {
        if call.changing {
            *self.changed.see(call.group, call.index, call.at_ns, || call.at_ns).1 = call.at_ns;
        }
        let since = self.changed.get(&call.group);
        call.changing || since.is_some_and(|at| call.at_ns.saturating_sub(*at) <= AFTER_NS)
    }

    fn count(&mut self, key: Key, call: &Call<'_>) -> (Standing, f64, Count) {
        let (standing, count) = self.counts.see(key, call.index, call.at_ns, Count::default);
        let before = count.take(call.at_ns);
        (standing, before, *count)
    }

    /// What of this call is rare.
    fn judge(&mut self, call: &Call<'_>) -> [Option<Rare>; 2] {
        let (_, calls, _) = self.count(call.service, call);
        let (operation, before, _) = self.count(call.route, call);
        let about = call.keys.pair(USE, &call.group, &call.route);
        let (standing, _, used) = self.count(about, call);
        let rare = |share: f64| calls >= CALLS && share < SHARE;
        let share = before / calls.max(1.0);
        let new = standing == Standing::New && operation != Standing::Unknown;
        let open = self.matters.is_open(&about);
        let of = |status, share, about, many| Rare { about, calls, share, status, many };
        let operation = (open || new && rare(share)).then(|| of(None, share, about, used.recent));
        let Some(code) = call.event.core.status.as_ref().map(|(_, code)| code.clone()) else {
            return [operation, None];
        };
        let status = call.keys.of(STATUS, &[&code]);
        let about = call.keys.pair(STATUS, &call.service, &status);
        let (standing, before, count) = self.count(about, call);
        let share = count.earlier(before) / calls.max(1.0);
        let often = standing != Standing::Unknown && count.recent >= STATUSES && rare(share);
        [operation, often.then(|| of(Some(code), share, about, count.recent))]
    }
}

fn say(call: &Call<'_>, rare: &Rare) -> Said {
    let mut values = vec![
        ("caller", call.group_name()),
        ("service", call.service_name()),
        ("operation", format!("{} {}", call.operation_name(), call.event.target.res).trim_end().to_owned()),
        ("n", rare.many.to_string()),
        ("calls", short(rare.calls)),
        ("share", short(rare.share)),
    ];
    let (confidence, template) = match &rare.status {
        None => (
            60,
            "{caller} called {operation} on {service}, which it never did and hardly anyone does: {n} of {calls} calls \
             there (older ones count less), usual share {share}; wrong if: a seldom task, such as a repair or a clean-up, was not announced",
        ),
        Some(code) => {
            values.push(("status", code.clone()));
            (
                50,
                "{service} answered {status} {n} times within an hour, last to {caller}: of {calls} calls there (older ones count less) the \
                 usual share is {share}; wrong if: the service began to answer so without an announcement",
            )
        }
    };
    Said { confidence, template, values }
}

impl Watcher for RareOperation {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("share", SHARE.to_string()),
            ("calls", CALLS.to_string()),
            ("statuses", STATUSES.to_string()),
            ("half_days", HALF_DAYS.to_string()),
        ]
    }

    fn statistical(&self) -> bool {
        true
    }

    fn input(&self) -> &'static str {
        "operations"
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        if !call.is_call || call.timely != Timely::OnTime {
            return;
        }
        let quiet = self.quiet(call);
        let found = self.judge(call);
        if call.learning || quiet {
            return;
        }
        for rare in found.iter().flatten() {
            let much = f64::from(rare.many);
            self.matters.tell(call, rare.about, call.at_ns, much, CALM_NS, out, || say(call, rare));
        }
    }

    fn advance(&mut self, watermark_ns: i64, _ledger_ns: u64, out: &mut Vec<Draft>) {
        self.matters.settle(watermark_ns, OVER, out);
    }

    fn wake_ns(&self) -> Option<i64> {
        self.matters.wake_ns()
    }

    fn stats(&self) -> WatcherStats {
        let slot = crate::watch::table::SLOT_BYTES;
        let (counts, changed) = (self.counts.len() as u64, self.changed.len() as u64);
        WatcherStats {
            keys: counts,
            evicted: self.counts.evicted() + self.changed.evicted() + self.matters.untold(),
            bytes: counts * (size_of::<Count>() + slot) as u64 + changed * (8 + slot) as u64,
        }
    }

    fn write(&self, out: &mut Writer) {
        self.counts.write(out);
        self.changed.write(out);
        self.matters.write(out);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let counts = Table::read(self.capacity, from)?;
        let changed = Table::read(self.capacity / 8, from)?;
        (self.counts, self.changed, self.matters) = (counts, changed, Matters::read(from)?);
        Some(())
    }
}

impl Saved for i64 {
    const MIN_BYTES: usize = 8;

    fn write(&self, out: &mut Writer) {
        out.i64(*self);
    }

    fn read(from: &mut Reader<'_>) -> Option<i64> {
        from.i64()
    }
}

impl Saved for Count {
    const MIN_BYTES: usize = 22;

    fn write(&self, out: &mut Writer) {
        out.u32(self.n.to_bits());
        out.i64(self.halved);
        out.u16(self.recent);
        out.i64(self.recent_ns);
    }

    fn read(from: &mut Reader<'_>) -> Option<Count> {
        let (n, halved, recent) = (float(from)?, from.i64()?, from.u16()?);
        Some(Count { n, halved, recent, recent_ns: from.i64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use countersign_event::{Event, Rec, StatusSpace};

    /// Eight days of calls each five minutes, and of another service.
    fn days() -> Traffic {
        let mut traffic = Traffic::new();
        for n in 0..8 * 288u64 {
            traffic.call(n * 5 * MINUTE, |_| {});
            traffic.call(n * 5 * MINUTE + S, by("shop"));
        }
        traffic
    }

    fn by(service: &str) -> impl FnOnce(&mut Event) {
        move |event| {
            let who = event.who.who.as_mut().unwrap();
            (who.id, who.svc) = (format!("spiffe://e.org/ns/shop/sa/{service}"), service.to_owned());
        }
    }

    fn purge(event: &mut Event) {
        (event.core.op, event.target.res) = ("POST".to_owned(), "/admin/purge".to_owned());
    }

    #[test]
    fn an_operation_that_nobody_used_is_found_at_its_first_call() {
        let mut traffic = days();
        (0..6).for_each(|n| traffic.call(8 * DAY + n * 30 * S, purge));
        traffic.call(8 * DAY + 7_200 * S, |_| {});
        let found = traffic.findings("rare-operation");
        let text = said(&found[0]);
        assert!(text.starts_with("web called POST /admin/purge on orders, which it never did"), "{text}");
        assert!(
            text.contains("1 of 2880 calls there (older ones count less), usual share 0; wrong if: "),
            "{text}"
        );
        assert_eq!(found.iter().filter(|f| f.revision == 1).count(), 1);
        assert_eq!(found.last().unwrap().state.word(), "resolved");
    }

    #[test]
    fn what_others_do_what_was_announced_and_what_was_learned_is_silent() {
        let mut others = days();
        (0..8).for_each(|day| {
            others.call(day * DAY + 7 * S, |event| {
                by("shop")(event);
                purge(event);
            });
        });
        others.call(8 * DAY, purge);
        assert!(others.findings("rare-operation").is_empty());
        let mut announced = days();
        announced.event(8 * DAY, |event| {
            event.core.rec = Some(Rec::Platform);
            event.core.op = "deploy".to_owned();
            event.target.svc = "web".to_owned();
        });
        announced.call(8 * DAY + MINUTE, |_| {});
        announced.call(8 * DAY + 10_000 * S, purge);
        assert!(announced.findings("rare-operation").is_empty());
        let mut learned = days();
        learned.call(DAY, purge);
        learned.call(8 * DAY, purge);
        assert!(learned.findings("rare-operation").is_empty());
    }

    #[test]
    fn a_status_that_never_was_is_found_when_it_comes_again_and_again() {
        let answers = |many: u64| {
            let mut traffic = days();
            (0..many).for_each(|n| {
                traffic.call(8 * DAY + n * 60 * S, |event| {
                    event.core.status = Some((StatusSpace::Http, "507".to_owned()));
                });
            });
            traffic.findings("rare-operation")
        };
        assert!(answers(2).is_empty());
        assert!(said(&answers(3)[0]).starts_with("orders answered 507 3 times within an hour, last to web"));
    }

    #[test]
    fn any_cut_and_any_restart_give_the_same() {
        let mut traffic = days();
        (0..6).for_each(|n| traffic.call(8 * DAY + n * 30 * S, purge));
        traffic.call(8 * DAY + 7_200 * S, |_| {});
        traffic.holds_together("rare-operation");
    }
}
