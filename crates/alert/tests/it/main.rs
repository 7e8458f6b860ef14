//! Delivery to real HTTP receivers on loopback: accepted, retried, given up, resumed, never lost.
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod delivery;
mod fuzzing;
mod grouping;
mod killed;
mod mail;
mod people;
mod receivers;
mod server;
mod storm;
mod syslog;
mod tls;

use countersign_alert::{AlertConfig, Alerts, Timing, Webhook};
use countersign_detect::{Detector, FirstSeen, FirstSeenConfig};
use countersign_event::fields::sys;
use countersign_event::{Event, FindingState, IdentityFrom, Principal, Rec, Verified};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A real finding of the real detector, about this caller.
fn finding(caller: &str) -> Event {
    let mut event = Event::default();
    event.core.rec = Some(Rec::Interaction);
    event.core.op = "DELETE".into();
    event.core.t_obs = 1_790_000_000_000_000_000;
    event.who.who =
        Some(Principal { from: Some(IdentityFrom::Tls), ..Principal::new(caller, Verified::Bound) });
    event.target.svc = "orders".into();
    event.target.res = "/v1/orders/{id}".into();
    let config = FirstSeenConfig { learn_ns: 0, learn_events: 0, ..FirstSeenConfig::default() };
    let hmac = Arc::new(|bytes: &[u8]| {
        let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"digest key"), bytes);
        tag.as_ref().try_into().unwrap_or([0; 32])
    });
    FirstSeen::new(config, hmac).batch(&[(40, event.core.t_obs, &event)]).remove(0).to_event()
}

fn webhook(url: &str) -> Webhook {
    Webhook { name: "ops".into(), url: url.into(), secrets: vec![SECRET.into()] }
}

fn config(dir: &Path, webhooks: Vec<Webhook>) -> AlertConfig {
    AlertConfig {
        dir: dir.join("alert"),
        key: [5; 32],
        webhooks,
        link: "http://127.0.0.1:8710".into(),
        ca: None,
        explain: Some(countersign_detect::explain),
        ..AlertConfig::default()
    }
}

/// The same finding in another state.
fn in_state(mut finding: Event, state: FindingState) -> Event {
    finding.core.sys.insert(sys::finding::STATE, state.code().into());
    finding.core.eid[0] ^= state.code() as u8;
    finding
}

/// The same finding of another rule.
fn of_rule(mut finding: Event, rule: &str) -> Event {
    finding.core.labels = vec![rule.to_owned()];
    finding.content.detail.insert(countersign_detect::detail::RULE, rule.into());
    let tag = ring::digest::digest(&ring::digest::SHA256, &[&finding.core.eid, rule.as_bytes()].concat());
    finding.core.eid.copy_from_slice(&tag.as_ref()[..16]);
    finding
}

/// Waits of a few milliseconds; every finding is a message of its own.
fn quick() -> Timing {
    Timing {
        group_wait: Duration::ZERO,
        group_interval: Duration::ZERO,
        retry_first: Duration::from_millis(2),
        retry_max: Duration::from_millis(10),
        jitter: Arc::new(|max| max),
        ..Timing::default()
    }
}

/// A clock that a test moves.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn forward(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }
    /// Waits of a few milliseconds, and groups as they are by default, by this clock.
    fn timing(&self) -> Timing {
        let (clock, usual) = (self.clone(), Timing::default());
        let now_ns = Arc::new(move || 1_790_000_000_000_000_000 + clock.0.load(Ordering::SeqCst));
        let (group_wait, group_interval) = (usual.group_wait, usual.group_interval);
        Timing { now_ns, group_wait, group_interval, ..quick() }
    }
}

/// Alerts, and the events of what became of them.
struct Running {
    alerts: Alerts,
    states: Arc<Mutex<Vec<Event>>>,
}

fn start(config: AlertConfig, timing: Timing) -> Running {
    let states: Arc<Mutex<Vec<Event>>> = Arc::default();
    let sink = states.clone();
    let on_state = Box::new(move |event| {
        if let Ok(mut states) = sink.lock() {
            states.push(event);
        }
    });
    match Alerts::start_with(config, timing, on_state) {
        Ok(alerts) => Running { alerts, states },
        Err(error) => panic!("{error}"),
    }
}

impl Running {
    /// Operations of the states so far, with their receivers.
    fn told(&self) -> Vec<(String, String)> {
        let states = self.states.lock().map(|s| s.clone()).unwrap_or_default();
        states.into_iter().map(|e| (e.core.op, e.core.route)).collect()
    }
    fn told_of(&self, operation: &str, receiver: &str) -> usize {
        self.told().iter().filter(|(o, r)| o == operation && r == receiver).count()
    }
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
