//! Followers of the ledger: each reads committed batches at its own pace on its own thread, catches up after
//! a restart, and can delay nobody but itself.

use crate::config::Config;
use crate::exit::CliError;
use countersign_alert::Alerts;
use countersign_detect::{AGENT, Collected, Detector, Edge, FirstSeen, FirstSeenConfig, Hmac, Rules};
use countersign_event::Event;
use countersign_ledger::{Committed, Feed, Ledger, LedgerError, Payload, Reader, Source};
use countersign_store::{Cell, Rows, SqlRequest, Store};
use countersign_web::TailHub;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a reader waits for news before it looks whether to end.
const WAKE: Duration = Duration::from_millis(100);
/// How often the detectors' cursor is written.
const CURSOR_EVERY: Duration = Duration::from_secs(1);
/// Pause after a failed read, and how many in a row end a follower.
const RETRY: Duration = Duration::from_millis(500);
const RETRIES_MAX: u32 = 20;
/// Entries read from the store at once while catching up.
const SCAN: u64 = 4_096;

/// A thread that follows the ledger.
pub(crate) struct Follower {
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    fn spawn(name: &str, work: impl FnOnce(Control) + Send + 'static) -> Result<Follower, CliError> {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let control = Control { stop: Arc::clone(&stop), seen: Arc::clone(&seen) };
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || work(control));
        let thread = thread.map_err(|e| {
            CliError::new(format!("cannot start the {name} thread"), e, "close other programs and try again")
        })?;
        Ok(Follower { stop, seen, thread: Some(thread) })
    }

    /// Waits until `size` entries were seen, at most `longest`, then ends the thread.
    pub(crate) fn finish(&mut self, size: u64, longest: Duration) {
        let start = Instant::now();
        while self.seen.load(Ordering::Acquire) < size && start.elapsed() < longest {
            std::thread::sleep(WAKE / 10);
        }
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A follower that panicked has said so; the stop goes on.
            let _ = thread.join();
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.finish(0, Duration::ZERO);
    }
}

/// A follower's view of its handle.
struct Control {
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
}

impl Control {
    /// Gives every piece to `take` until the end is asked for or the ledger closes.
    fn follow(&self, mut reader: Reader, mut take: impl FnMut(Feed) -> Result<(), String>) {
        let mut failed = 0;
        while !self.stop.load(Ordering::Acquire) && failed < RETRIES_MAX {
            let result = match reader.next(WAKE) {
                Ok(Some(feed)) => take(feed),
                Ok(None) => Ok(()),
                Err(LedgerError::Closed) => return,
                Err(error) => Err(error.to_string()),
            };
            match result {
                Ok(()) => failed = 0,
                Err(error) => {
                    tracing::error!(error, "following the ledger failed");
                    failed += 1;
                    std::thread::sleep(RETRY);
                }
            }
            self.seen.store(reader.position(), Ordering::Release);
        }
    }
}

/// Feeds the live tail.
pub(crate) fn tail(ledger: &Ledger, hub: TailHub) -> Result<Follower, CliError> {
    let reader = ledger.reader(ledger.size());
    Follower::spawn("tail", move |control| {
        control.follow(reader, |feed| {
            if let Feed::Batch(batch) = feed {
                hub.publish(batch);
            }
            Ok(())
        });
    })
}

/// Runs the detectors: events in, findings to the ledger and then to delivery.
pub(crate) fn detect(
    config: &Config,
    ledger: &Ledger,
    store: &Store,
    alerts: Arc<Alerts>,
) -> Result<Follower, CliError> {
    let source = super::ledger::source(ledger, AGENT)?;
    let settings = FirstSeenConfig {
        learn_ns: u64::try_from(config.learning.0.as_nanos()).unwrap_or(u64::MAX),
        learn_events: config.learning.1,
        ..FirstSeenConfig::default()
    };
    let key = ledger.digest_key();
    let hmac: Hmac = Arc::new(move |bytes: &[u8]| key.hmac(bytes));
    let mut first_seen = FirstSeen::new(settings, Arc::clone(&hmac));
    let cursor = Cursor::open(&config.data.join("detect"), ledger.size())?;
    if cursor.next > 0 {
        warm(&mut first_seen, ledger, store, cursor.next)?;
    }
    let mut detectors: Vec<Box<dyn Detector>> =
        vec![Box::new(first_seen), Box::new(Collected::new(Arc::clone(&hmac)))];
    if !config.rules.is_empty() {
        detectors.push(Box::new(Rules::new(super::rules::load(config, Arc::clone(&hmac))?, hmac)));
    }
    for detector in &mut detectors {
        if !detector.load(cursor.state(detector.id())) {
            tracing::warn!(detector = detector.id(), "what it knew cannot be read: it begins anew");
        }
    }
    read_back(&mut detectors, ledger, store, cursor.next)?;
    let reader = ledger.reader(cursor.next);
    let mut worker = Detection { detectors, source, store: store.clone(), alerts, cursor };
    Follower::spawn("detect", move |control| {
        control.follow(reader, |feed| worker.take(feed));
        worker.write();
    })
}

struct Detection {
    detectors: Vec<Box<dyn Detector>>,
    source: Source,
    store: Store,
    alerts: Arc<Alerts>,
    cursor: Cursor,
}

impl Detection {
    fn take(&mut self, feed: Feed) -> Result<(), String> {
        match feed {
            Feed::Batch(batch) => self.look(&batch.records),
            Feed::PartClosed { .. } => Ok(()),
            Feed::Missed { mut from, to } => {
                while from < to {
                    let end = from.saturating_add(SCAN).min(to);
                    let records = self.store.scan(from, end).map_err(|e| e.to_string())?;
                    self.look(&records)?;
                    from = end;
                }
                Ok(())
            }
        }
    }

    fn look(&mut self, records: &[Committed]) -> Result<(), String> {
        let events = events(records);
        let findings: Vec<_> =
            self.detectors.iter_mut().flat_map(|detector| detector.batch(&events)).collect();
        for finding in findings {
            self.report(finding.to_event())?;
        }
        if let Some(last) = records.last() {
            self.cursor.next = last.index + 1;
        }
        if self.cursor.written.elapsed() >= CURSOR_EVERY {
            self.write();
        }
        Ok(())
    }

    /// Place and state of all detectors, as they are between two pieces.
    fn write(&mut self) {
        let state = self.detectors.iter().map(|detector| (detector.id(), detector.save()));
        self.cursor.state =
            state.filter(|(_, saved)| !saved.is_empty()).map(|(id, s)| (id.to_owned(), s)).collect();
        self.cursor.write();
    }

    /// A finding is in the ledger before anybody is told. After a crash the same one comes up again.
    fn report(&self, event: Event) -> Result<(), String> {
        let known = self.store.find_eid(event.core.eid).map_err(|e| e.to_string())?;
        if known.is_some() && event.core.eid != [0; 16] {
            return Ok(());
        }
        let ack = self.source.record_wait(vec![event.clone()]).map_err(|e| e.to_string())?;
        match ack.rejected.first() {
            None => self.alerts.fire(&event, ack.first),
            Some((_, why)) => tracing::error!(why, "a finding was rejected by the ledger"),
        }
        Ok(())
    }
}

/// Shows detectors the events before the cursor that windows of theirs began with. About these everything was said.
fn read_back(
    detectors: &mut [Box<dyn Detector>],
    ledger: &Ledger,
    store: &Store,
    next: u64,
) -> Result<(), CliError> {
    let back = detectors.iter().map(|detector| detector.looks_back_ns()).max().unwrap_or(0);
    let Some(last) = next.checked_sub(1).filter(|_| back > 0) else { return Ok(()) };
    let fail = |e: &dyn std::fmt::Display| {
        CliError::new("cannot read back for the rules", e, "run countersign fsck")
    };
    let time = |index| -> Result<u64, CliError> {
        Ok(ledger.entry(index).map_err(|e| fail(&e))?.map_or(0, |entry| entry.time_ns))
    };
    let since = time(last)?.saturating_sub(back);
    // Times of the ledger never decrease.
    let (mut from, mut to) = (0, next);
    while from < to {
        let middle = from + (to - from) / 2;
        if time(middle)? < since { from = middle + 1 } else { to = middle }
    }
    store.wait_visible(next, Duration::from_secs(60));
    while from < next {
        let end = from.saturating_add(SCAN).min(next);
        let records = store.scan(from, end).map_err(|e| fail(&e))?;
        let events = events(&records);
        detectors.iter_mut().filter(|detector| detector.looks_back_ns() > 0).for_each(|d| d.warm(&events));
        from = end;
    }
    Ok(())
}

/// The events among these records.
fn events(records: &[Committed]) -> Vec<(u64, u64, &Event)> {
    records
        .iter()
        .filter_map(|record| match &record.payload {
            Payload::Event { event, .. } => Some((record.index, record.entry.time_ns, event.as_ref())),
            Payload::Body(_) => None,
        })
        .collect()
}

/// Tells the detector what the ledger knew before the cursor, so that a restart makes nothing new again.
fn warm(first_seen: &mut FirstSeen, ledger: &Ledger, store: &Store, next: u64) -> Result<(), CliError> {
    const EDGES: &str = "SELECT tenant, who, service, op, max(\"index\") AS last_index, max(time) AS last_time, count(*) AS n \
                         FROM events WHERE rec IN ('interaction', 'intent', 'opaque', 'cut') GROUP BY tenant, who, service, op";
    store.wait_visible(next, Duration::from_secs(60));
    let fail =
        |e: &dyn std::fmt::Display| CliError::new("cannot warm the detectors", e, "run countersign fsck");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| fail(&e))?;
    let rows = runtime
        .block_on(store.sql(SqlRequest { at: Some(next), ..SqlRequest::new(EDGES) }))
        .map_err(|e| fail(&e))?;
    let first_ns = ledger.entry(0).map_err(|e| fail(&e))?.map_or(0, |entry| entry.time_ns);
    let edges: Vec<Edge> = (0..rows.rows.len()).map(|row| edge(&rows, row)).collect();
    let events = edges.iter().map(|edge| edge.count).sum();
    first_seen.warm(first_ns, events, edges);
    Ok(())
}

fn edge(rows: &Rows, row: usize) -> Edge {
    let text = |name: &str| match rows.get(row, name) {
        Some(Cell::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let number = |name: &str| match rows.get(row, name) {
        Some(Cell::Int(n) | Cell::TimeNs(n)) => u64::try_from(*n).unwrap_or(0),
        Some(Cell::UInt(n)) => *n,
        _ => 0,
    };
    Edge {
        tenant: text("tenant"),
        caller: text("who"),
        service: text("service"),
        operation: text("op"),
        last_index: number("last_index"),
        last_ns: number("last_time"),
        count: number("n"),
    }
}

/// Where the detectors are, on disk: the next index to look at, and what they knew there, each line behind its
/// detector's id. Not evidence: losing it costs a replay.
struct Cursor {
    file: PathBuf,
    next: u64,
    state: BTreeMap<String, String>,
    written: Instant,
}

impl Cursor {
    /// Reads the cursor; one beyond `size` belongs to a ledger that was longer and counts as none.
    fn open(dir: &Path, size: u64) -> Result<Cursor, CliError> {
        std::fs::create_dir_all(dir).map_err(|e| {
            CliError::new(format!("cannot make {}", dir.display()), e, "check its permissions")
        })?;
        let file = dir.join("cursor");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let read = first.trim().parse().ok().filter(|next: &u64| *next <= size);
        let mut state: BTreeMap<String, String> = BTreeMap::new();
        // Without the place the state is of nowhere.
        for (id, line) in rest.lines().filter_map(|line| line.split_once(' ')).filter(|_| read.is_some()) {
            let of = state.entry(id.to_owned()).or_default();
            of.push_str(line);
            of.push('\n');
        }
        Ok(Cursor { file, next: read.unwrap_or(0), state, written: Instant::now() })
    }

    /// What the detector with this id knew.
    fn state(&self, id: &str) -> &str {
        self.state.get(id).map_or("", String::as_str)
    }

    /// By a second file and a rename, so that a crash leaves the old or the new one.
    fn write(&mut self) {
        self.written = Instant::now();
        let fresh = self.file.with_extension("new");
        let mut text = format!("{}\n", self.next);
        for (id, state) in &self.state {
            state.lines().for_each(|line| text.push_str(&format!("{id} {line}\n")));
        }
        let result = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &self.file));
        if let Err(error) = result {
            tracing::warn!(%error, "the detectors' cursor was not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_and_one_beyond_the_ledger_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::open(dir.path(), 0).unwrap();
        assert_eq!(cursor.next, 0);
        cursor.next = 41;
        cursor.state = [("a".to_owned(), "x 1\ny\n".to_owned()), ("b".to_owned(), "z\n".to_owned())].into();
        cursor.write();
        let again = Cursor::open(dir.path(), 41).unwrap();
        assert_eq!(
            (again.next, again.state("a"), again.state("b"), again.state("c")),
            (41, "x 1\ny\n", "z\n", "")
        );
        let beyond = Cursor::open(dir.path(), 40).unwrap();
        assert_eq!((beyond.next, beyond.state("a")), (0, ""));
        std::fs::write(dir.path().join("cursor"), "garbage").unwrap();
        assert_eq!(Cursor::open(dir.path(), 40).unwrap().next, 0);
    }
}
