//! Delivery to real HTTP receivers on loopback: accepted, retried, given up, resumed, never lost.
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod delivery;
mod fuzzing;
mod server;
mod storm;
mod tls;

use countersign_alert::{AlertConfig, Alerts, Timing, Webhook};
use countersign_detect::{Detector, FirstSeen, FirstSeenConfig};
use countersign_event::{Event, IdentityFrom, Principal, Rec, Verified};
use std::path::Path;
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
    }
}

/// Waits of a few milliseconds.
fn quick() -> Timing {
    Timing {
        retry_first: Duration::from_millis(2),
        retry_max: Duration::from_millis(10),
        jitter: Arc::new(|max| max),
        ..Timing::default()
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
