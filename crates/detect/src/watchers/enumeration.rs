//! Detector 7, `enumeration`: a caller goes through the objects of a route (OWASP API1:2023, API5:2023).
//!
//! Of each caller and route the different object ids are counted in two windows of ten minutes that overlap by half, so
//! that nothing falls on a border (`sketch/distinct.rs`: exact up to 64). A finding is more than [`TIMES`] the most that
//! the caller's peer group ever asked for at this hour or the ones beside it; or a run of ids that each follow the one
//! before, [`TIMES`] as long as theirs; or half as many while the calls that are refused or find nothing surprise
//! against their usual share. A sweep that a batch job does every night is so usual at its hour. State of the caller is small and
//! short; what is usual is kept by peer group, so that a new replica inherits it.

use crate::bytes::{Reader, Saved, Writer};
use crate::clock::Timely;
use crate::sketch::bits::LastBits;
use crate::sketch::distinct::{Distinct, ERROR_PERCENT};
use crate::sketch::usual::hour_of;
use crate::watch::{Call, Draft, Key, Matters, Said, Table, Watcher, WatcherStats};
use countersign_event::Outcome;

const ID: &str = "enumeration";
/// Length of a window, ns; another one begins in its middle.
const WINDOW_NS: i64 = 600_000_000_000;
/// Different objects in a window that are too many, at least.
const OBJECTS: u32 = 25;
/// Times the usual most.
const TIMES: f64 = 4.0;
/// Times the most at any hour.
const AT_ANY_HOUR: f64 = 1.5;
/// Ids in a row that are too many, at least.
const RUN: u16 = 20;
/// Largest step between two ids in a row.
const STEP_MAX: u64 = 3;
/// Surprise of refusals, nats.
const NATS: f64 = 18.0;
/// Share of calls that are refused, at least, however few it was learned from.
const REFUSED_MIN: f64 = 0.03;
const CALM_NS: i64 = 900_000_000_000;
const OVER: &str = "{caller} no longer goes through the objects of {service}; it took {took}, at most {most} objects \
                    in a window";

/// See the module.
pub(crate) struct Enumeration {
    callers: Table<Caller>,
    usual: Table<UsualOf>,
    capacity: usize,
    matters: Matters,
}

/// A caller on a route.
#[derive(Default)]
struct Caller {
    windows: [Window; 2],
    refused: LastBits,
    last_id: u64,
    run: u16,
}

#[derive(Default)]
struct Window {
    number: i64,
    seen: Distinct,
}

/// A peer group on a route: the most objects and the longest run by hour of the day, and the share refused.
#[derive(Default)]
struct UsualOf {
    most: [u16; 24],
    run: [u16; 24],
    calls: u32,
    refused: u32,
    /// The open hour, its most objects and longest run: learned when it is over and nothing was found in it.
    hour: i64,
    open: [u16; 2],
    tainted: bool,
}

impl Enumeration {
    /// Of at most `capacity` callers on a route, and as many peer groups.
    pub(crate) fn new(capacity: usize) -> Enumeration {
        let (callers, usual) = (Table::new(capacity), Table::new(capacity));
        Enumeration { callers, usual, capacity, matters: Matters::default() }
    }
}

impl Caller {
    /// Takes in an object; whether anything is new.
    fn take(&mut self, hash: u64, id: Option<u64>, refused: bool, at_ns: i64) -> bool {
        self.refused.push(refused);
        let mut new = false;
        for (half, window) in self.windows.iter_mut().enumerate() {
            let number = (at_ns + half as i64 * (WINDOW_NS / 2)).div_euclid(WINDOW_NS);
            if number > window.number {
                *window = Window { number, seen: Distinct::default() };
            }
            new |= window.seen.add(hash);
        }
        if let Some(id) = id {
            let step = id.abs_diff(self.last_id);
            // The same once more is neither a step nor the end of a walk.
            self.run = match step {
                0 => self.run,
                1..=STEP_MAX => self.run.saturating_add(1),
                _ => 0,
            };
            self.last_id = id;
        }
        new
    }

    fn objects(&self) -> (u32, bool) {
        let most = self.windows.iter().max_by_key(|window| window.seen.count());
        most.map_or((0, true), |window| (window.seen.count(), window.seen.is_exact()))
    }
}

impl UsualOf {
    fn around(of: &[u16; 24], at_ns: i64) -> u32 {
        let hour = hour_of(at_ns);
        let at = |hour: i64| of.get(hour.rem_euclid(24) as usize).copied().unwrap_or(0);
        u32::from(at(hour).max(at(hour - 1)).max(at(hour + 1)))
    }

    /// What is not too much at this time: `times` the most at its hour, or [`AT_ANY_HOUR`] the most at any, since what
    /// somebody does each night it may do again by day.
    fn allowed(of: &[u16; 24], times: f64, at_ns: i64) -> f64 {
        let most = of.iter().copied().max().unwrap_or(0);
        (times * f64::from(UsualOf::around(of, at_ns))).max(AT_ANY_HOUR * f64::from(most))
    }

    fn close(&mut self, at_ns: i64) {
        let hour = hour_of(at_ns);
        if hour <= self.hour {
            return;
        }
        let at = self.hour.rem_euclid(24) as usize;
        if let (Some(most), Some(longest)) = (self.most.get_mut(at), self.run.get_mut(at))
            && !self.tainted
        {
            (*most, *longest) = ((*most).max(self.open[0]), (*longest).max(self.open[1]));
        }
        (self.hour, self.open, self.tainted) = (hour, [0; 2], false);
    }

    fn note(&mut self, objects: u32, run: u16) {
        self.open[0] = self.open[0].max(u16::try_from(objects).unwrap_or(u16::MAX));
        self.open[1] = self.open[1].max(run);
    }
}

/// The number at the end of an id, and a hash of the id under the key of the route.
fn read_id(id: &str, route: &Key) -> (u64, Option<u64>) {
    let mut hash =
        u64::from_le_bytes([route[0], route[1], route[2], route[3], route[4], route[5], route[6], route[7]]);
    for byte in id.bytes() {
        hash = (hash.rotate_left(7) ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let digits = id.bytes().rev().take_while(u8::is_ascii_digit).count().min(18);
    let number = id.get(id.len() - digits..).and_then(|digits| digits.parse().ok());
    (hash ^ hash >> 32, number)
}

/// Why it is too much.
enum Why {
    Objects,
    Row,
    Refused(u32, u32),
}

impl Why {
    fn say(&self, call: &Call<'_>, objects: (u32, bool), usual: u32, run: (u16, u32)) -> Said {
        let about = if objects.1 { String::new() } else { format!(" (±{ERROR_PERCENT} %)") };
        let mut values = vec![
            ("caller", call.caller_name()),
            ("n", format!("{}{about}", objects.0)),
            ("service", call.service_name()),
            ("route", format!("{} {}", call.operation_name(), call.event.target.res)),
            ("usual", usual.to_string()),
        ];
        let (confidence, template) = match self {
            Why::Objects => (
                65,
                "{caller} asked {service} for {n} different objects of {route} in 10 min; the most usual at this hour \
                 is {usual}; wrong if: a new job or a larger one has to read them",
            ),
            Why::Row => {
                values.push(("row", run.0.to_string()));
                values.push(("longest", run.1.to_string()));
                (
                    70,
                    "{caller} asked {service} for {row} objects of {route} one after the other by their numbers; the \
                     longest row usual at this hour is {longest}; wrong if: a new job has to read them in order",
                )
            }
            Why::Refused(refused, of) => {
                values.push(("refused", refused.to_string()));
                values.push(("of", of.to_string()));
                (
                    80,
                    "{caller} asked {service} for {n} different objects of {route} in 10 min, and {refused} of its last \
                     {of} calls were refused or found nothing; the most usual at this hour is {usual}; wrong if: the \
                     caller works off a list of what is no longer there",
                )
            }
        };
        Said { confidence, template, values }
    }
}

/// The place of a group's usual on a route.
fn usual_key(call: &Call<'_>) -> Key {
    mix(&call.group, &call.route)
}

/// Two keyed hashes as one: they are of different kinds, so none undoes another.
fn mix(a: &Key, b: &Key) -> Key {
    let (a, b) = (u128::from_le_bytes(*a), u128::from_le_bytes(*b));
    (a.rotate_left(31).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) ^ b).to_le_bytes()
}

impl Watcher for Enumeration {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("objects", OBJECTS.to_string()),
            ("times_usual", TIMES.to_string()),
            ("run", RUN.to_string()),
            ("window_ns", WINDOW_NS.to_string()),
        ]
    }

    fn statistical(&self) -> bool {
        true
    }

    fn input(&self) -> &'static str {
        "objects"
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let id = call.event.target.id.as_str();
        if !call.is_call || id.is_empty() {
            return;
        }
        let about = mix(&call.who, &call.route);
        let (hash, number) = read_id(id, &call.route);
        let refused = matches!(call.event.core.outcome, Some(Outcome::Denied | Outcome::CallerError));
        let (_, caller) = self.callers.see(about, call.index, call.at_ns, Caller::default);
        let new = caller.take(hash, number, refused, call.at_ns);
        let (_, usual) = self.usual.see(usual_key(call), call.index, call.at_ns, UsualOf::default);
        usual.close(call.at_ns);
        usual.calls = usual.calls.saturating_add(1);
        let open = self.matters.is_open(&about);
        usual.refused = usual.refused.saturating_add(u32::from(refused && !open));
        let objects = caller.objects();
        let (most, longest) =
            (UsualOf::around(&usual.most, call.at_ns), UsualOf::around(&usual.run, call.at_ns));
        let share = f64::from(usual.refused) / f64::from(usual.calls.max(1));
        let refusals = caller.refused.most_surprising(share.max(REFUSED_MIN));
        let many = UsualOf::allowed(&usual.most, TIMES, call.at_ns).max(f64::from(OBJECTS));
        let row = UsualOf::allowed(&usual.run, TIMES, call.at_ns).max(f64::from(RUN));
        let why = match () {
            () if refusals.nats >= NATS && f64::from(objects.0) >= (many / 2.0).min(f64::from(OBJECTS)) => {
                Some(Why::Refused(refusals.hits, refusals.of))
            }
            () if new && f64::from(caller.run) >= row => Some(Why::Row),
            () if new && f64::from(objects.0) >= many => Some(Why::Objects),
            () => None,
        };
        usual.note(objects.0, caller.run);
        // A group that is still learned has no usual yet: what it does is.
        usual.tainted |= !call.learning && (open || why.is_some());
        let Some(why) = why.filter(|_| call.timely == Timely::OnTime) else { return };
        let run = (caller.run, longest);
        let much = f64::from(objects.0.max(u32::from(caller.run)));
        let since = call.at_ns.saturating_sub(WINDOW_NS);
        self.matters.tell(call, about, since, much, CALM_NS, out, || why.say(call, objects, most, run));
    }

    fn advance(&mut self, watermark_ns: i64, _ledger_ns: u64, out: &mut Vec<Draft>) {
        self.matters.settle(watermark_ns, OVER, out);
    }

    fn wake_ns(&self) -> Option<i64> {
        self.matters.wake_ns()
    }

    fn stats(&self) -> WatcherStats {
        let (callers, groups) = (self.callers.len() as u64, self.usual.len() as u64);
        let evicted = self.callers.evicted() + self.usual.evicted() + self.matters.untold();
        let slot = crate::watch::table::SLOT_BYTES;
        let each = size_of::<Caller>() + slot + crate::sketch::distinct::BYTES_MAX;
        let bytes = callers * each as u64 + groups * (size_of::<UsualOf>() + slot) as u64;
        WatcherStats { keys: callers, evicted, bytes }
    }

    fn write(&self, out: &mut Writer) {
        self.callers.write(out);
        self.usual.write(out);
        self.matters.write(out);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let (callers, usual) = (Table::read(self.capacity, from)?, Table::read(self.capacity, from)?);
        (self.callers, self.usual, self.matters) = (callers, usual, Matters::read(from)?);
        Some(())
    }
}

impl Saved for Caller {
    const MIN_BYTES: usize = 2 * 13 + LastBits::MIN_BYTES + 10;

    fn write(&self, out: &mut Writer) {
        for window in &self.windows {
            out.i64(window.number);
            window.seen.write(out);
        }
        self.refused.write(out);
        out.u64(self.last_id);
        out.u16(self.run);
    }

    fn read(from: &mut Reader<'_>) -> Option<Caller> {
        let mut window = || Some(Window { number: from.i64()?, seen: Distinct::read(from)? });
        let windows = [window()?, window()?];
        Some(Caller { windows, refused: LastBits::read(from)?, last_id: from.u64()?, run: from.u16()? })
    }
}

impl Saved for UsualOf {
    const MIN_BYTES: usize = 117;

    fn write(&self, out: &mut Writer) {
        self.most.iter().chain(&self.run).for_each(|n| out.u16(*n));
        out.u32(self.calls);
        out.u32(self.refused);
        out.i64(self.hour);
        self.open.iter().for_each(|n| out.u16(*n));
        out.bool(self.tainted);
    }

    fn read(from: &mut Reader<'_>) -> Option<UsualOf> {
        let mut of = UsualOf::default();
        for n in of.most.iter_mut().chain(&mut of.run) {
            *n = from.u16()?;
        }
        (of.calls, of.refused) = (from.u32()?, from.u32()?);
        (of.hour, of.open, of.tainted) = (from.i64()?, [from.u16()?, from.u16()?], from.bool()?);
        Some(of)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use countersign_event::Outcome;

    /// Eight days of calls for some of 40 orders; at 2 in the night a job goes through 300 in a row.
    fn days(nights: u64) -> Traffic {
        let mut traffic = Traffic::new();
        for n in 0..8 * 288u64 {
            traffic.call(n * 5 * MINUTE, |e| e.target.id = (n * n % 41 * 17).to_string());
        }
        for night in 0..nights {
            (0..300).for_each(|n| {
                traffic.call(night * DAY + 7200 * S + n * S, |e| e.target.id = (5_000 + n).to_string());
            });
        }
        traffic
    }

    #[test]
    fn a_walk_through_the_numbers_is_found_after_twenty() {
        let mut traffic = days(0);
        (0..60).for_each(|n| traffic.call(8 * DAY + n * 2 * S, |e| e.target.id = (900 + n).to_string()));
        traffic.call(8 * DAY + 7200 * S, |_| {});
        let found = traffic.findings("enumeration");
        assert!(found[0].decided_ns <= traffic.start() + 8 * DAY + 45 * S);
        assert!(
            said(&found[0]).contains("20 objects of GET /orders/{id} one after the other"),
            "{}",
            said(&found[0])
        );
        assert_eq!(found.iter().filter(|f| f.revision == 1).count(), 1);
        assert_eq!(found.last().unwrap().state.word(), "resolved");
    }

    #[test]
    fn many_scattered_ids_and_refused_guesses_are_found() {
        let mut traffic = days(0);
        (0..200).for_each(|n| traffic.call(8 * DAY + n * S, |e| e.target.id = format!("u-{:x}", n * 7919)));
        assert!(said(&traffic.findings("enumeration")[0]).contains("different objects"));
        let mut traffic = days(0);
        (0..16).for_each(|n| {
            traffic.call(8 * DAY + n * S, |e| {
                e.target.id = (n * 7919).to_string();
                e.core.outcome = Some(Outcome::Denied);
            });
        });
        assert!(said(&traffic.findings("enumeration")[0]).contains("were refused or found nothing"));
    }

    #[test]
    fn the_sweep_of_every_night_is_silent_also_from_a_new_replica() {
        let mut traffic = days(8);
        (0..300).for_each(|n| {
            traffic.call(8 * DAY + 7900 * S + n * S, |e| {
                e.target.id = (5_000 + n).to_string();
                e.who.who.as_mut().unwrap().id = "spiffe://e.org/ns/shop/pod/web-7d9f8c6b5d-x2x9q".to_owned();
            });
        });
        assert!(traffic.findings("enumeration").is_empty());
        let mut more = days(8);
        (0..900).for_each(|n| {
            more.call(8 * DAY + 12 * 3600 * S + n * S, |e| e.target.id = (5_000 + n).to_string());
        });
        assert!(!more.findings("enumeration").is_empty(), "thrice as many at another hour are not usual");
    }

    #[test]
    fn the_same_objects_again_and_again_are_silent() {
        let mut traffic = days(0);
        (0..500).for_each(|n| traffic.call(8 * DAY + n * S, |e| e.target.id = (n % 12 * 5).to_string()));
        assert!(traffic.findings("enumeration").is_empty());
    }

    #[test]
    fn any_cut_and_any_restart_give_the_same() {
        let mut traffic = days(3);
        (0..400).for_each(|n| traffic.call(8 * DAY + n * S, |e| e.target.id = (900 + n).to_string()));
        traffic.call(8 * DAY + 7200 * S, |_| {});
        traffic.holds_together("enumeration");
    }
}
