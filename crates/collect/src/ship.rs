//! Ships the records of this log to a core, over mutual TLS, and goes on after any outage.
//!
//! The log itself is the spool: a reader of its own, at its own pace, that nobody waits for. What is read goes in
//! batches to the core, one in flight; the place up to which everything is durable there is kept in a file
//! ([`cursor`]), which only saves work: the core is asked, run by run, what it has, and nothing that it has is
//! sent, nothing that it lacks is left out. [`pick`] chooses, [`link`] speaks, this file goes round.
//!
//! Invariants: a place is passed when the core has said that everything before it is durable there; what the log
//! no longer holds and the core lacks is declared to it as a GAP, never skipped; no failure ends the shipping, it is
//! tried again with growing pauses; nothing here can delay a record of the log, and nothing leaves it that the core has
//! not said to be durable ([`trim`]).

pub mod cursor;
pub mod link;
mod pick;
pub mod trim;

use crate::receivers::now;
use countersign_identity::ClientTls;
use countersign_ledger::{Batch, Feed, Ledger, LedgerError, Reader};
use countersign_wire::edge::{Builder, Kind, Marks, STREAMS_MAX};
use cursor::Cursor;
use link::{Answer, Core, Link, Trouble};
use pick::{Pick, Picker};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use trim::Trim;

/// Bytes at which a batch is sent although more waits.
pub const BATCH_BYTES: usize = 4 << 20;
/// Longest wait for news of the log before the end is looked for.
const NEWS: Duration = Duration::from_millis(500);
/// How often the state is written while nothing is wrong; a crash repeats at most as much reading.
const SAVE: Duration = Duration::from_secs(1);
/// First pause after a failure; it doubles up to [`Settings::retry_max`].
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest pause that a core may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How to ship.
#[derive(Clone)]
pub struct Settings {
    /// Where the core listens.
    pub core: Core,
    /// Our certificate, and the core's authorities.
    pub tls: Arc<ClientTls>,
    /// File that says how far the core has everything.
    pub state: PathBuf,
    /// Longest pause between two attempts.
    pub retry_max: Duration,
    /// Bytes of write-ahead log that stay although the core has them; see [`trim`].
    pub keep: u64,
}

impl Settings {
    /// With a pause of at most 30 s, and 256 MiB kept.
    pub fn new(core: Core, tls: Arc<ClientTls>, state: PathBuf) -> Settings {
        Settings { core, tls, state, retry_max: Duration::from_secs(30), keep: trim::KEEP }
    }
}

/// How the shipping stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Every leaf of this log below this one is durable at the core.
    pub shipped: u64,
    /// Leaves of this log that are not.
    pub behind: u64,
    /// Age of the oldest of them, seconds.
    pub behind_s: u64,
    /// What went wrong last, if nothing was shipped since.
    pub error: Option<String>,
}

/// The running shipper. Ends when dropped, after the batch in flight or at once.
#[derive(Debug)]
pub struct Shipper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    status: Mutex<Status>,
}

impl Shared {
    fn status(&self) -> std::sync::MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shipper {
    /// Begins where the state file says, else at the start of `ledger`.
    ///
    /// # Errors
    /// The state file is damaged or unreadable, or there is no thread.
    pub fn start(ledger: Ledger, settings: Settings) -> io::Result<Shipper> {
        let cursor = Cursor::load(&settings.state)?;
        let shared = Arc::new(Shared::default());
        let mut round = Round::new(ledger, settings, cursor, Arc::clone(&shared));
        round.tell(None);
        let thread = std::thread::Builder::new().name("ship".into()).spawn(move || round.run())?;
        Ok(Shipper { shared, thread: Some(thread) })
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.shared.status().clone()
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Why a round did not end in progress.
enum Stopped {
    /// Worth another try, after a pause.
    Trouble(Trouble),
    /// The log cannot be read.
    Ledger(LedgerError),
    /// An end was asked for.
    End,
}

impl From<Trouble> for Stopped {
    fn from(trouble: Trouble) -> Stopped {
        if trouble.ended { Stopped::End } else { Stopped::Trouble(trouble) }
    }
}

impl From<LedgerError> for Stopped {
    fn from(error: LedgerError) -> Stopped {
        Stopped::Ledger(error)
    }
}

/// The thread's own state.
struct Round {
    ledger: Ledger,
    settings: Settings,
    shared: Arc<Shared>,
    cursor: Cursor,
    saved: Option<Instant>,
    /// Something is not written yet.
    unsaved: bool,
    reader: Reader,
    /// Read, and not all picked yet: the batch, and the place of its next record.
    held: Option<(Arc<Batch>, usize)>,
    picker: Picker,
    link: Option<Link>,
    /// On this connection the core was asked about every ended run.
    swept: bool,
    /// Failures in a row.
    failures: u32,
    trim: Trim,
}

impl Round {
    fn new(ledger: Ledger, settings: Settings, cursor: Cursor, shared: Arc<Shared>) -> Round {
        let reader = ledger.reader(cursor.next);
        let picker = Picker::new(&ledger, cursor.next == 0);
        let trim = Trim::new(settings.keep);
        Round {
            ledger,
            settings,
            shared,
            cursor,
            saved: None,
            unsaved: true,
            reader,
            held: None,
            picker,
            link: None,
            swept: false,
            failures: 0,
            trim,
        }
    }

    fn run(&mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            let pause = match self.turn() {
                Ok(()) => continue,
                Err(Stopped::End) => break,
                Err(Stopped::Trouble(trouble)) => self.failed(&trouble),
                Err(Stopped::Ledger(error)) => {
                    let why = format!("the log of this edge cannot be read: {error}");
                    self.failed(&Trouble::new(why))
                }
            };
            self.pause(pause);
        }
        self.save(true);
    }

    /// One batch, from the log to the core's answer.
    fn turn(&mut self) -> Result<(), Stopped> {
        let Some(builder) = self.gather()? else {
            if self.unsaved {
                self.save(false);
            }
            self.trim.look(&self.ledger, self.cursor.next)?;
            return if self.swept { Ok(()) } else { self.sweep() };
        };
        let end = self.position();
        if !builder.is_empty() {
            let body = builder.finish(end);
            let sent = builder.records();
            drop(builder);
            let marks = self.send(&body)?;
            self.picker.answered(&marks).map_err(Trouble::new)?;
            (self.cursor.origin, self.cursor.size) = (marks.origin, marks.size);
            tracing::debug!(records = sent, end, "shipped");
        }
        self.cursor.next = end;
        self.failures = 0;
        self.tell(None);
        self.save(false);
        self.trim.look(&self.ledger, self.cursor.next)?;
        Ok(())
    }

    /// The next records that the core lacks; `None` = nothing is there to look at. Asks about runs that it meets.
    fn gather(&mut self) -> Result<Option<Builder>, Stopped> {
        let mut builder = Builder::new(self.ledger.origin(), self.cursor.next);
        let mut looked = false;
        let mut patience = NEWS;
        loop {
            let Some((batch, mut at)) = self.fill(patience)? else {
                return Ok(looked.then_some(builder));
            };
            patience = Duration::ZERO;
            self.meet(&batch, at)?;
            looked = true;
            let mut full = false;
            while let Some(record) = batch.records.get(at) {
                match self.picker.pick(record, &mut builder) {
                    Pick::Passed => at += 1,
                    Pick::Full => {
                        full = true;
                        break;
                    }
                    Pick::Hole => {
                        self.rewind("the core lacks records that were shipped before; all that is here is offered again");
                        return Ok(None);
                    }
                }
            }
            self.held = (at < batch.records.len()).then_some((batch, at));
            if full || builder.len() >= BATCH_BYTES {
                return Ok(Some(builder));
            }
        }
    }

    /// Nothing is left to read: asks about every run that has ended, once a connection. What the core lacks of one
    /// is nowhere ahead; it was not read yet, or is gone from this log and declared lost.
    fn sweep(&mut self) -> Result<(), Stopped> {
        self.greet()?;
        let mut ended: Vec<_> =
            self.ledger.sources().into_iter().filter(|source| !source.live && source.last_seq > 0).collect();
        // Of a run that was registered more than once the newest counts.
        ended.reverse();
        let mut known = std::collections::HashSet::new();
        ended.retain(|source| known.insert(source.stream));
        for part in ended.chunks(STREAMS_MAX) {
            let mut question = Builder::new(self.ledger.origin(), self.cursor.next);
            for source in part {
                question.stream(&source.agent, source.stream);
            }
            let marks = self.send(&question.finish(self.cursor.next))?;
            let has: std::collections::HashMap<[u8; 16], u64> = marks.marks.into_iter().collect();
            let mut lost = Builder::new(self.ledger.origin(), self.cursor.next);
            for source in part {
                let Some(mark) = has.get(&source.stream).filter(|mark| **mark < source.last_seq) else {
                    continue;
                };
                if !self.picker.is_from_start() {
                    self.rewind(
                        "the core lacks records of runs that have ended; all that is here is offered again",
                    );
                    return Ok(());
                }
                let body = pick::missing(mark + 1, source.last_seq);
                lost.stream(&source.agent, source.stream);
                lost.push(Kind::Gap, &source.stream, mark + 1, &body);
                tracing::warn!(agent = %source.agent, "records left this log before they were shipped: declared lost");
            }
            if !lost.is_empty() {
                self.send(&lost.finish(self.cursor.next))?;
            }
        }
        self.swept = true;
        Ok(())
    }

    /// Leaf of the next record that was not picked.
    fn position(&self) -> u64 {
        match &self.held {
            Some((batch, at)) => batch.first + *at as u64,
            None => self.reader.position(),
        }
    }

    /// What is held, else the next of the log; `None` after `patience`.
    fn fill(&mut self, patience: Duration) -> Result<Option<(Arc<Batch>, usize)>, Stopped> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.reader.next(left)? {
                None => return Ok(None),
                Some(Feed::Batch(batch)) => return Ok(Some((batch, 0))),
                // What left the log shows itself as a hole in the numbers.
                Some(Feed::Missed { from, to }) => {
                    tracing::warn!(from, to, "records left this log before they were shipped");
                }
                Some(Feed::PartClosed { .. }) => {}
            }
        }
    }

    /// Asks the core about the runs of `batch`, from `at` on, that it was not asked about on this connection.
    fn meet(&mut self, batch: &Batch, at: usize) -> Result<(), Stopped> {
        let records = batch.records.get(at..).unwrap_or_default();
        loop {
            // The greeting of a new connection forgets what an older one was told.
            self.greet()?;
            let unknown = self.picker.unknown(records, STREAMS_MAX);
            if unknown.is_empty() {
                return Ok(());
            }
            let mut question = Builder::new(self.ledger.origin(), self.cursor.next);
            for (agent, stream) in &unknown {
                if !question.stream(agent, *stream) {
                    let why = format!("the name of agent {agent} is longer than may be shipped");
                    return Err(Trouble::new(why).into());
                }
            }
            let marks = self.send(&question.finish(self.cursor.next))?;
            self.picker.learn(&marks);
            if unknown.iter().any(|(_, stream)| !self.picker.knows(stream)) {
                let why =
                    "the core did not answer what it was asked; check that it is a core of this version";
                return Err(Trouble::new(why.to_owned()).into());
            }
        }
    }

    /// Connects, where there is no connection, and compares the core with the one that was shipped to before.
    fn greet(&mut self) -> Result<(), Stopped> {
        if self.link.is_some() {
            return Ok(());
        }
        let link = Link::connect(&self.settings.core, &self.settings.tls, &self.shared.stop)?;
        self.link = Some(link);
        self.swept = false;
        self.picker.forget();
        let marks =
            self.send(&Builder::new(self.ledger.origin(), self.cursor.next).finish(self.cursor.next))?;
        let before = &self.cursor;
        let another = !before.origin.is_empty() && before.origin != marks.origin;
        if before.next > 0 && (another || marks.size < before.size) {
            self.rewind("the core is another one, or an older copy of it; all that is here is offered again");
            (self.cursor.origin, self.cursor.size) = (marks.origin, marks.size);
            return Err(Stopped::Trouble(Trouble::at_once()));
        }
        (self.cursor.origin, self.cursor.size) = (marks.origin, marks.size);
        Ok(())
    }

    /// One request; success is marks.
    fn send(&mut self, body: &[u8]) -> Result<Marks, Stopped> {
        let Some(link) = &mut self.link else {
            return Err(Trouble::new("there is no connection".to_owned()).into());
        };
        let Answer { status, body, after } = link.exchange(body, &self.shared.stop)?;
        if status == 200 {
            let marks = Marks::parse(&body)
                .map_err(|fault| Trouble::new(format!("the core's answer cannot be read: {fault}")))?;
            return Ok(marks);
        }
        if status == 409 {
            // What it was told to have is not there; it is asked again, from what is known to be safe.
            self.picker.forget();
            return Err(Trouble::new("the core lacks records before those that were sent".to_owned()).into());
        }
        let text: String = String::from_utf8_lossy(&body).chars().take(link::WHY_MAX).collect();
        let what =
            if (400..500).contains(&status) && status != 429 { "refuses" } else { "cannot take more now" };
        let why = format!("the core {what} ({status}): {}", text.trim());
        Err(Trouble { after, ..Trouble::new(why) }.into())
    }

    /// Begins again at the start of the log.
    fn rewind(&mut self, why: &'static str) {
        tracing::warn!(why, "shipping begins again");
        self.cursor.next = 0;
        self.reread();
        self.save(true);
    }

    /// Goes back to the last place that the core has answered for.
    fn reread(&mut self) {
        self.held = None;
        self.reader = self.ledger.reader(self.cursor.next);
        self.picker.again(self.cursor.next == 0);
    }

    /// After a failure: what was read is read again; gives the pause.
    fn failed(&mut self, trouble: &Trouble) -> Duration {
        self.link = None;
        self.reread();
        if trouble.at_once {
            return Duration::ZERO;
        }
        if self.shared.status().error.as_ref() != Some(&trouble.why) {
            tracing::warn!(core = %self.settings.core, why = trouble.why, "cannot ship; trying again");
        }
        self.failures = self.failures.saturating_add(1);
        self.tell(Some(trouble.why.clone()));
        self.save(false);
        let ceiling = RETRY_FIRST.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
        let ceiling = ceiling.min(self.settings.retry_max);
        let least = trouble.after.unwrap_or_default().min(RETRY_AFTER_MAX).min(self.settings.retry_max);
        link::jitter(ceiling).max(least)
    }

    fn pause(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while !self.shared.stop.load(Ordering::Acquire) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(link::STEP));
        }
    }

    fn tell(&self, error: Option<String>) {
        let size = self.ledger.size();
        let next = self.cursor.next;
        let oldest = self
            .ledger
            .entries(next, next.saturating_add(1))
            .ok()
            .and_then(|entries| entries.first().copied());
        let behind_s = oldest.map_or(0, |entry| now().saturating_sub(entry.time_ns) / 1_000_000_000);
        *self.shared.status() = Status { shipped: next, behind: size.saturating_sub(next), behind_s, error };
    }

    /// Writes the state, not more often than needed unless `now`.
    fn save(&mut self, at_once: bool) {
        self.unsaved = true;
        if !at_once && self.saved.is_some_and(|saved| saved.elapsed() < SAVE) {
            return;
        }
        (self.saved, self.unsaved) = (Some(Instant::now()), false);
        let status = self.shared.status().clone();
        if let Err(error) = self.cursor.save(&self.settings.state, &self.settings.core.to_string(), &status) {
            // Only work is lost: the core is asked what it has.
            tracing::warn!(%error, "the state of shipping could not be written");
        }
    }
}
