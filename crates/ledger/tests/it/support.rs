//! Small ledgers and plain events for tests.

use countersign_event::{Event, Rec};
use countersign_ledger::{Kek, Ledger, Limits, Options, Source, SourceSpec, StartReport};
use std::path::Path;

pub(crate) const ORIGIN: &str = "example.org/test/1";

pub(crate) fn kek() -> Kek {
    Kek::from_bytes([7; 32])
}

pub(crate) fn options() -> Options {
    Options { limits: Limits::small(), ..Options::new(ORIGIN) }
}

pub(crate) fn open(dir: &Path) -> (Ledger, StartReport) {
    Ledger::open(dir, kek(), options()).unwrap()
}

/// A source with a stream made of `run`.
pub(crate) fn source(ledger: &Ledger, run: u8) -> Source {
    ledger.register(SourceSpec { identity: "spiffe://example.org/gw".into(), stream: [run; 16] }).unwrap()
}

/// An event that carries a number in its operation.
pub(crate) fn event(number: u64) -> Event {
    let mut event = Event::default();
    event.core.t_obs = 1_790_000_000_000_000_000;
    event.core.rec = Some(Rec::ALL[0]);
    event.core.op = format!("n{number}");
    event
}

pub(crate) fn events(numbers: std::ops::Range<u64>) -> Vec<Event> {
    numbers.map(event).collect()
}
