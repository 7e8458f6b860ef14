//! Followers of the ledger: each reads committed batches at its own pace on its own thread, catches up after
//! a restart, and can delay nobody but itself. The live tail and delivery are here, detection is in `detect.rs`.

use crate::config::Config;
use crate::exit::CliError;
use countersign_alert::Alerts;
use countersign_event::Rec;
use countersign_ledger::{Committed, Feed, Ledger, LedgerError, Payload, Reader};
use countersign_store::Store;
use countersign_web::TailHub;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a reader waits for news before it looks whether to end.
const WAKE: Duration = Duration::from_millis(100);
/// How often the place of delivery is written.
const CURSOR_EVERY: Duration = Duration::from_secs(1);
/// Pause after a failed read, and how many in a row end a follower.
const RETRY: Duration = Duration::from_millis(500);
const RETRIES_MAX: u32 = 20;
/// Entries read from the store at once while catching up.
pub(super) const SCAN: u64 = 4_096;

/// A thread that follows the ledger.
pub(crate) struct Follower {
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    pub(super) fn spawn(
        name: &str,
        work: impl FnOnce(Control) + Send + 'static,
    ) -> Result<Follower, CliError> {
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
pub(super) struct Control {
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
}

impl Control {
    /// Gives every piece to `take` until the end is asked for or the ledger closes; `None` = nothing came for a while.
    pub(super) fn follow(
        &self,
        mut reader: Reader,
        mut take: impl FnMut(Option<Feed>) -> Result<(), String>,
    ) {
        let mut failed = 0;
        while !self.stop.load(Ordering::Acquire) && failed < RETRIES_MAX {
            let result = match reader.next(WAKE) {
                Ok(feed) => take(feed),
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
            if let Some(Feed::Batch(batch)) = feed {
                hub.publish(batch);
            }
            Ok(())
        });
    })
}

/// Hands every committed finding to delivery. It follows the ledger like everybody else, so that a finding is told of
/// whatever happened between its commit and now.
pub(crate) fn deliver(
    config: &Config,
    ledger: &Ledger,
    store: &Store,
    alerts: Arc<Alerts>,
) -> Result<Follower, CliError> {
    let mut cursor = Cursor::open(&config.data.join("alert"), ledger.size())?;
    // What delivery has taken in for certain is not handed over again.
    cursor.next = cursor.next.max(alerts.handled().min(ledger.size()));
    let (reader, store) = (ledger.reader(cursor.next), store.clone());
    Follower::spawn("deliver", move |control| {
        control.follow(reader, |feed| {
            match feed {
                Some(Feed::Batch(batch)) => cursor.fire(&alerts, &batch.records),
                Some(Feed::Missed { mut from, to }) => {
                    while from < to {
                        let end = from.saturating_add(SCAN).min(to);
                        cursor.fire(&alerts, &store.scan(from, end).map_err(|e| e.to_string())?);
                        from = end;
                    }
                }
                Some(Feed::PartClosed { .. }) | None => {}
            }
            Ok(())
        });
        cursor.write();
    })
}

/// The next index that delivery looks at, on disk. Not evidence: what is lost is told again.
struct Cursor {
    file: PathBuf,
    next: u64,
    written: Instant,
}

impl Cursor {
    /// Reads it; one beyond `size` belongs to a ledger that was longer. Without one, delivery begins with what comes
    /// now: an old ledger's findings are no news.
    fn open(dir: &Path, size: u64) -> Result<Cursor, CliError> {
        std::fs::create_dir_all(dir).map_err(|e| {
            CliError::new(format!("cannot make {}", dir.display()), e, "check its permissions")
        })?;
        let file = dir.join("cursor");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let next = text.trim().parse().ok().filter(|next| *next <= size).unwrap_or(size);
        let mut cursor = Cursor { file, next, written: Instant::now() };
        cursor.write();
        Ok(cursor)
    }

    fn fire(&mut self, alerts: &Alerts, records: &[Committed]) {
        for record in records {
            match &record.payload {
                Payload::Event { event, .. } if event.core.rec == Some(Rec::Finding) => {
                    alerts.fire(event, record.index);
                }
                Payload::Event { .. } | Payload::Body(_) => {}
            }
            self.next = record.index + 1;
        }
        if self.written.elapsed() >= CURSOR_EVERY {
            self.write();
        }
    }

    /// By a second file and a rename, so that a crash leaves the old or the new one.
    fn write(&mut self) {
        self.written = Instant::now();
        let fresh = self.file.with_extension("new");
        let result = std::fs::write(&fresh, format!("{}\n", self.next));
        if let Err(error) = result.and_then(|()| std::fs::rename(&fresh, &self.file)) {
            tracing::warn!(%error, "the place of delivery was not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_goes_on_where_it_was_and_begins_with_what_comes_now() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Cursor::open(dir.path(), 7).unwrap().next, 7);
        assert_eq!(Cursor::open(dir.path(), 90).unwrap().next, 7, "it was written at once");
        assert_eq!(Cursor::open(dir.path(), 6).unwrap().next, 6, "the ledger is another");
        std::fs::write(dir.path().join("cursor"), "garbage").unwrap();
        assert_eq!(Cursor::open(dir.path(), 40).unwrap().next, 40);
    }
}
