//! The story: ordinary traffic at a steady rate, and what goes wrong in it, at fixed times.
//!
//! One thread tells it, so a seed and a rate give one order of calls, as long as the machine keeps up.
//! Nothing is made up: the story only decides who calls whom; what is recorded is what happened on the
//! sockets. A milder chapter is told again and again, so that a long demo stays alive.

use super::fleet;
use super::network::{NO_ANSWER, Network, Trace};
use super::print::Say;
use super::random::Random;
use super::services::FIRST_ORDERS;
use crate::signals::Interrupt;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

/// Length of the chapter that is told again and again.
const CHAPTER: Duration = Duration::from_secs(30);
/// Calls per second of the opening, at least: it must show every ordinary edge while edges are learned.
const OPENING_RATE: u32 = 16;
/// Ordinary traffic that is further behind than this is not made up for.
const LATE_MAX: Duration = Duration::from_secs(1);

/// Everyday things, each the start of one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ordinary {
    Browse,
    Account,
    Look,
    Checkout,
    Stock,
    Report,
    Settle,
}

/// Each once; the seed shuffles them.
const OPENING: [Ordinary; 7] = [
    Ordinary::Browse,
    Ordinary::Account,
    Ordinary::Look,
    Ordinary::Checkout,
    Ordinary::Stock,
    Ordinary::Report,
    Ordinary::Settle,
];

/// Each as often as it happens.
const USUAL: [Ordinary; 13] = [
    Ordinary::Browse,
    Ordinary::Browse,
    Ordinary::Browse,
    Ordinary::Account,
    Ordinary::Account,
    Ordinary::Look,
    Ordinary::Look,
    Ordinary::Checkout,
    Ordinary::Checkout,
    Ordinary::Checkout,
    Ordinary::Stock,
    Ordinary::Report,
    Ordinary::Settle,
];

impl Ordinary {
    /// Calls through the gateway that it causes.
    fn calls(self) -> u32 {
        match self {
            Ordinary::Checkout => 6,
            Ordinary::Stock | Ordinary::Settle => 1,
            Ordinary::Browse | Ordinary::Account | Ordinary::Look | Ordinary::Report => 2,
        }
    }
}

/// What makes it a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beat {
    /// The order that somebody deletes.
    Delete(u64),
    Refused,
    CarrierDown,
    CarrierUp,
    /// Which of [`NEW_EDGES`].
    NewEdge(usize),
    Silence,
}

/// Calls that nobody makes in ordinary traffic: caller, door, verb, path, and how the story tells it.
const NEW_EDGES: [(&str, &str, &str, &str, &str); 6] = [
    (
        "cron",
        fleet::FORGOTTEN_DOOR,
        "GET",
        "/v1/customers/export",
        "cron, which proves no identity, exports all customers over plain text",
    ),
    ("reporting", "customers", "GET", "/v1/customers/7", "reporting begins to read customers"),
    ("storefront", "payments", "POST", "/v1/refunds", "storefront refunds money by itself"),
    ("shipping", "customers", "GET", "/v1/customers/9", "shipping reads a customer"),
    ("ops", "inventory", "PUT", "/v1/stock/204", "payments/ops changes the stock"),
    ("ingress", "orders", "GET", "/v1/orders", "the ingress goes to orders past the storefront"),
];

/// A deletion that was made and is worth a proof.
pub(super) struct Deletion {
    /// Its trace id, hex.
    pub(super) trace: String,
}

/// Who tells it, to whom.
pub(super) struct Story<'a> {
    /// The programs.
    pub(super) network: &'a Network,
    /// The words.
    pub(super) say: &'a Say,
    /// The end.
    pub(super) stop: &'a Interrupt,
    /// Deletions to prove.
    pub(super) deletions: SyncSender<Deletion>,
    /// Numbers.
    pub(super) random: Random,
    /// Calls per second of ordinary traffic.
    pub(super) rate: u32,
    /// The warehouse has fallen silent.
    pub(super) silent: bool,
}

impl Story<'_> {
    /// Tells it until the demo ends.
    pub(super) fn tell(mut self) {
        let start = Instant::now();
        let mut opening = OPENING;
        self.random.shuffle(&mut opening);
        let mut opening = opening.into_iter();
        let mut beats = beats(self.random.clone()).peekable();
        let mut ordinary = Duration::ZERO;
        while let Some(&(due, beat)) = beats.peek() {
            let now = start.elapsed();
            // A beat that is due is not kept waiting by traffic that is late.
            let is_beat = due <= ordinary || due <= now;
            let wait = if is_beat { due } else { ordinary };
            if self.stop.wait(wait.saturating_sub(now)) {
                return;
            }
            if is_beat {
                beats.next();
                self.play(beat);
                continue;
            }
            let (what, rate) = match opening.next() {
                Some(what) => (what, self.rate.max(OPENING_RATE)),
                None => (self.usual(), self.rate),
            };
            self.happen(what);
            ordinary += Duration::from_secs(1) * what.calls() / rate.max(1);
            if start.elapsed() > ordinary + LATE_MAX {
                ordinary = start.elapsed();
            }
            if self.say.closed() {
                self.stop.ask();
            }
        }
    }

    fn usual(&mut self) -> Ordinary {
        let at = self.random.range(0, USUAL.len() as u64) as usize;
        match USUAL.get(at).copied().unwrap_or(Ordinary::Browse) {
            Ordinary::Stock if self.silent => Ordinary::Browse,
            what => what,
        }
    }

    fn happen(&mut self, what: Ordinary) {
        let n = self.random.range(1, FIRST_ORDERS);
        let get = |caller: &str, door: &str, path: String| {
            self.call(caller, door, ("GET", &path, ""));
        };
        match what {
            Ordinary::Browse => get("ingress", "storefront", format!("/products/{}", 200 + n)),
            Ordinary::Account => get("ingress", "storefront", format!("/account/{n}")),
            Ordinary::Look => get("ingress", "storefront", format!("/orders/{n}")),
            Ordinary::Checkout => {
                self.checkout();
            }
            Ordinary::Stock => {
                let path = format!("/v1/stock/{}", 200 + n);
                self.call("warehouse", "inventory", ("PUT", &path, r#"{"in_stock":12}"#));
            }
            Ordinary::Report => {
                get("reporting", "orders", "/v1/orders".into());
                get("reporting", "payments", "/v1/charges".into());
            }
            Ordinary::Settle => get("ops", "payments", format!("/v1/charges/{n}")),
        }
    }

    fn checkout(&self) -> u16 {
        self.call("ingress", "storefront", ("POST", "/checkout", r#"{"basket":[204,211]}"#)).0
    }

    fn call(&self, caller: &str, door: &str, what: (&str, &str, &str)) -> (u16, Trace) {
        let trace = self.network.trace();
        (self.network.call(caller, door, &trace, what), trace)
    }

    fn play(&mut self, beat: Beat) {
        match beat {
            Beat::Delete(order) => self.delete(order),
            Beat::Refused => {
                let (status, _) = self.call("reporting", "payments", ("GET", "/v1/cards/9", ""));
                self.say.told(&format!("reporting asks payments for a card number: {}", words(status)));
            }
            Beat::CarrierDown => {
                self.network.carrier_down.store(true, Ordering::Relaxed);
                let status = self.checkout();
                self.say
                    .told(&format!("the carrier fails, and the shop with it; a checkout: {}", words(status)));
            }
            Beat::CarrierUp => {
                self.network.carrier_down.store(false, Ordering::Relaxed);
                let status = self.checkout();
                self.say.told(&format!("the carrier is back; a checkout: {}", words(status)));
            }
            Beat::NewEdge(which) => {
                let Some((caller, door, method, path, told)) = NEW_EDGES.get(which) else { return };
                let (status, _) = self.call(caller, door, (method, path, ""));
                self.say.told(&format!("{told}: {}", words(status)));
            }
            Beat::Silence => {
                self.silent = true;
                self.say.told("the warehouse falls silent: from here on it reports no stock any more");
            }
        }
    }

    fn delete(&self, order: u64) {
        let path = format!("/v1/orders/{order}");
        let (status, trace) = self.call("ops", "orders", ("DELETE", &path, ""));
        self.say.told(&format!("payments/ops deletes {path}: {}", words(status)));
        if status != NO_ANSWER {
            // Full = the prover is busy with earlier ones; this one can be proven by hand.
            let _ = self.deletions.try_send(Deletion { trace: trace.id().to_owned() });
        }
    }
}

/// All beats with their times, without end.
fn beats(mut random: Random) -> impl Iterator<Item = (Duration, Beat)> {
    let first = [
        (3_000, Beat::Delete(17)),
        (4_000, Beat::Refused),
        (5_000, Beat::CarrierDown),
        (6_000, Beat::NewEdge(0)),
        (8_000, Beat::CarrierUp),
        (12_000, Beat::Silence),
    ];
    let mut orders: Vec<u64> = (1..=FIRST_ORDERS).filter(|order| *order != 17).collect();
    random.shuffle(&mut orders);
    let again = (0_u32..).flat_map(move |chapter| {
        let order = orders.get(chapter as usize % orders.len().max(1)).copied().unwrap_or(1);
        let edge = (chapter as usize + 1) % NEW_EDGES.len();
        [
            (18_000, Beat::Delete(order)),
            (23_000, Beat::Refused),
            (28_000, Beat::NewEdge(edge)),
            (33_000, Beat::CarrierDown),
            (36_000, Beat::CarrierUp),
        ]
        .map(|(ms, beat)| (Duration::from_millis(ms) + CHAPTER * chapter, beat))
    });
    first.map(|(ms, beat)| (Duration::from_millis(ms), beat)).into_iter().chain(again)
}

/// A status in words.
fn words(status: u16) -> String {
    match status {
        NO_ANSWER => "no answer".into(),
        200 | 201 | 204 => format!("done ({status})"),
        403 => "refused (403)".into(),
        404 => "not found (404)".into(),
        503 => "failed (503)".into(),
        status => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_one_story_in_the_order_of_its_times() {
        let told = |seed| beats(Random::new(seed, 2)).take(200).collect::<Vec<_>>();
        assert_eq!(told(7), told(7));
        assert_ne!(told(7), told(8));
        assert!(told(7).windows(2).all(|w| w[0].0 <= w[1].0));
        assert_eq!(told(1)[0], (Duration::from_secs(3), Beat::Delete(17)));
        assert_eq!(told(1)[5].1, Beat::Silence);
    }

    #[test]
    fn the_opening_shows_every_ordinary_thing_within_the_learning() {
        assert!(USUAL.iter().all(|what| OPENING.contains(what)));
        let calls: u32 = OPENING.iter().map(|what| what.calls()).sum();
        let opening = Duration::from_secs(1) * calls / OPENING_RATE;
        assert!(opening < fleet::LEARNING / 2, "{opening:?}");
        let first_edge = beats(Random::new(7, 2)).find(|(_, beat)| *beat == Beat::NewEdge(0)).unwrap();
        assert!(first_edge.0 > fleet::LEARNING);
    }
}
