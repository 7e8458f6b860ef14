//! The wires between the demo's programs: who calls with which credential, and the gateway's door of
//! each service. Nothing goes past the gateway: a service's own port is known to its listener alone.

use super::client::{Caller, Request};
use super::random::Random;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The status that stands for "no answer came".
pub(super) const NO_ANSWER: u16 = 0;

/// One trace as it goes from call to call, hex: W3C trace context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace(String);

impl Trace {
    /// From a `traceparent` header.
    pub(super) fn of(traceparent: Option<&str>) -> Option<Trace> {
        let id = traceparent?.split('-').nth(1)?;
        (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| Trace(id.to_owned()))
    }

    /// The trace id in hex.
    pub(super) fn id(&self) -> &str {
        &self.0
    }
}

/// Callers, doors and the state of the world that the story changes.
pub(super) struct Network {
    callers: HashMap<&'static str, Caller>,
    doors: OnceLock<HashMap<String, SocketAddr>>,
    random: Mutex<Random>,
    unanswered: AtomicU64,
    /// The carrier's own system is down.
    pub(super) carrier_down: AtomicBool,
}

impl Network {
    /// A network whose doors are not open yet.
    pub(super) fn new(callers: HashMap<&'static str, Caller>, random: Random) -> Network {
        Network {
            callers,
            doors: OnceLock::new(),
            random: Mutex::new(random),
            unanswered: AtomicU64::new(0),
            carrier_down: AtomicBool::new(false),
        }
    }

    /// Makes the gateway's listeners known, by name.
    pub(super) fn open(&self, doors: Vec<(String, SocketAddr)>) {
        // A second opening changes nothing: there is one gateway.
        let _ = self.doors.set(doors.into_iter().collect());
    }

    /// A new trace.
    pub(super) fn trace(&self) -> Trace {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        // Never all zero, as W3C asks.
        Trace(format!("{:016x}{:016x}", random.next() | 1, random.next()))
    }

    /// A number of `from..to`.
    pub(super) fn range(&self, from: u64, to: u64) -> u64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).range(from, to)
    }

    /// `caller` calls through `door`; the status of the answer, [`NO_ANSWER`] without one.
    pub(super) fn call(
        &self,
        caller: &str,
        door: &str,
        trace: &Trace,
        (method, path, body): (&str, &str, &str),
    ) -> u16 {
        let to = self.doors.get().and_then(|doors| doors.get(door));
        let (Some(caller), Some(to)) = (self.callers.get(caller), to) else { return NO_ANSWER };
        let span = self.range(1, u64::MAX);
        let traceparent = format!("00-{}-{span:016x}-01", trace.0);
        let request = Request { method, path, traceparent: &traceparent, body };
        match caller.call(*to, &request) {
            Ok((status, _)) => status,
            Err(_) => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                NO_ANSWER
            }
        }
    }

    /// Calls that were answered, and calls that were not.
    pub(super) fn calls(&self) -> (u64, u64) {
        let answered = self.callers.values().map(Caller::calls).sum();
        (answered, self.unanswered.load(Ordering::Relaxed))
    }

    /// Everybody hangs up.
    pub(super) fn close(&self) {
        self.callers.values().for_each(Caller::close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_over_from_the_header() {
        let network = Network::new(HashMap::new(), Random::new(7, 0));
        let trace = network.trace();
        let header = format!("00-{}-00000000000000aa-01", trace.id());
        assert_eq!(Trace::of(Some(&header)), Some(trace.clone()));
        assert_eq!(Trace::of(Some("nonsense")), None);
        assert_eq!(network.call("nobody", "nowhere", &trace, ("GET", "/", "")), NO_ANSWER);
    }
}
