//! The handle that everybody else holds: open, ask, shut down.

use crate::engine::{Engine, Job};
use crate::error::StoreError;
use crate::filter::{self, Filter, ident};
use crate::hot::{Hot, Snapshot};
use crate::ingest::{Ingest, sealed_prefix};
use crate::request::{FindRequest, Order, QueryLimits, SqlRequest};
use crate::rows::{Cell, Rows, time_text};
use crate::schema::{self, Place};
use crate::seal::{QUEUE_PARTS, SealStats, Sealer};
use crate::segment;
use crate::tables::Range;
use crate::timeline::{Seed, timeline};
use crate::{DEFAULT_COLUMNS, ROWS_MAX};
use countersign_event::{Entry, EntryKind, Event, Frame, commit};
use countersign_ledger::{Committed, Ledger, Payload, RetiredInfo};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest wait for leaves that were acknowledged a moment ago.
const CATCH_UP: Duration = Duration::from_secs(2);
/// How often a waiting query looks again.
const LOOK: Duration = Duration::from_millis(5);
/// Most leaves of one [`Store::scan`].
pub(crate) const SCAN_MAX: u64 = 65_536;
/// Most columns of one grouping.
const BY_MAX: usize = 8;

/// One leaf and its content.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Leaf index.
    pub index: u64,
    /// The logged entry.
    pub entry: Entry,
    /// The event; `None` for another kind of entry.
    pub event: Option<Event>,
    /// The event's exact bytes, which open the entry's commitment.
    pub frame: Option<Frame>,
    /// Body of an entry that is no event.
    pub body: Option<Vec<u8>>,
}

/// How to open a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// Threads that answer queries; 0 = 2.
    pub query_threads: usize,
}

/// Counters of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// First index that cannot be queried yet.
    pub visible: u64,
    /// Sealed segments.
    pub segments: u64,
    /// Rows in memory.
    pub tail_rows: u64,
    /// Parts sealed by this process.
    pub sealed: u64,
    /// Closed parts waiting for sealing.
    pub waiting: u64,
    /// Rows sealed by this process.
    pub sealed_rows: u64,
    /// Time spent on making columns.
    pub build_time: Duration,
    /// Time spent on writing segments, their sync included.
    pub write_time: Duration,
    /// Time spent on reading segments back and checking every commitment.
    pub check_time: Duration,
    /// Attempts to seal that failed.
    pub failures: u64,
    /// Why the last attempt failed; `None` once one succeeds.
    pub last_error: Option<String>,
}

/// An open store. A cheap handle: clones share one store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<Engine>,
    ledger: Ledger,
    hot: Arc<Hot>,
    stop: Arc<AtomicBool>,
    stats: Arc<SealStats>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.engine.shutdown();
    }
}

type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

impl Store {
    /// Opens the store of a ledger. With a live ledger it follows and seals; with one that is only read it
    /// takes what is there and writes nothing.
    ///
    /// # Errors
    /// When threads cannot be started, or the tail of a ledger that is only read cannot be loaded.
    pub fn open(dir: &Path, ledger: Ledger, options: StoreOptions) -> Result<Store, StoreError> {
        let (segments, visible) = sealed_prefix(dir, &ledger);
        let hot =
            Arc::new(Hot::new(Snapshot { segments: Arc::new(segments), visible, ..Snapshot::default() }));
        let threads = if options.query_threads == 0 { 2 } else { options.query_threads };
        let engine = Arc::new(Engine::new(threads, ledger.clone(), Arc::clone(&hot))?);
        let inner = Inner {
            engine,
            ledger,
            hot,
            stop: Arc::default(),
            stats: Arc::default(),
            threads: Mutex::default(),
        };
        inner.start(dir.to_owned())?;
        Ok(Store { inner: Arc::new(inner) })
    }

    /// First index that cannot be queried yet.
    pub fn visible(&self) -> u64 {
        self.inner.hot.snapshot().visible
    }

    /// Waits until every index below `size` can be queried; `false` after `timeout`.
    pub fn wait_visible(&self, size: u64, timeout: Duration) -> bool {
        self.inner.hot.wait(timeout, |snapshot| snapshot.visible >= size)
    }

    /// Waits until every leaf below `size` is in a sealed segment; `false` after `timeout`.
    pub fn wait_sealed(&self, size: u64, timeout: Duration) -> bool {
        let sealed = |snapshot: &Snapshot| {
            snapshot.visible >= size && snapshot.tail.first().is_none_or(|piece| piece.first >= size)
        };
        self.inner.hot.wait(timeout, sealed)
    }

    /// Counters.
    pub fn stats(&self) -> StoreStats {
        let snapshot = self.inner.hot.snapshot();
        let stats = &self.inner.stats;
        StoreStats {
            visible: snapshot.visible,
            segments: snapshot.segments.len() as u64,
            tail_rows: snapshot.tail_rows(),
            sealed: stats.sealed.load(Ordering::Relaxed),
            waiting: stats.waiting.load(Ordering::Relaxed),
            sealed_rows: stats.rows.load(Ordering::Relaxed),
            build_time: Duration::from_nanos(stats.build_ns.load(Ordering::Relaxed)),
            write_time: Duration::from_nanos(stats.write_ns.load(Ordering::Relaxed)),
            check_time: Duration::from_nanos(stats.check_ns.load(Ordering::Relaxed)),
            failures: stats.failures.load(Ordering::Relaxed),
            last_error: stats.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Bytes on disk by column, over all sealed segments, largest first.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub fn column_bytes(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut sums = std::collections::BTreeMap::new();
        for sealed in self.inner.hot.snapshot().segments.iter() {
            for (name, bytes) in segment::column_bytes(&*sealed.footer()?) {
                *sums.entry(name).or_insert(0) += bytes;
            }
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        Ok(sums)
    }

    /// Answers a question in SQL: one `SELECT` or `EXPLAIN`.
    pub fn sql(&self, request: SqlRequest) -> Answer<Rows> {
        let engine = Arc::clone(&self.inner.engine);
        let limits = request.limits;
        let work = async move {
            let snapshot = at(&engine, request.at).await;
            let end = request.at.unwrap_or(u64::MAX).min(snapshot.visible);
            let range = Range { first: 0, end, from_ns: None, to_ns: None };
            engine.run(&snapshot, Job { sql: request.text, range, limits }).await
        };
        self.inner.engine.spawn(limits, work).boxed()
    }

    /// Searches by filter, in order of the index.
    pub fn find(&self, request: FindRequest) -> Answer<Rows> {
        let engine = Arc::clone(&self.inner.engine);
        let limits = request.limits;
        let work = async move {
            let search = Search::new(&request)?;
            let columns = columns(request.columns.as_deref())?;
            if request.limit == 0 || request.limit > ROWS_MAX {
                return Err(StoreError::Request(format!(
                    "the limit is 1 to {ROWS_MAX} rows, not {}",
                    request.limit
                )));
            }
            let snapshot = at(&engine, request.at).await;
            search.page(&engine, &snapshot, &request, &columns).await
        };
        self.inner.engine.spawn(limits, work).boxed()
    }

    /// Counts what matches, grouped by columns, largest group first, at most `top` groups. The last column,
    /// `count`, counts interactions: records times what is folded into them.
    pub fn count_by(&self, request: FindRequest, by: Vec<String>, top: usize) -> Answer<Rows> {
        let engine = Arc::clone(&self.inner.engine);
        let limits = request.limits;
        let work = async move {
            let search = Search::new(&request)?;
            if by.is_empty() || by.len() > BY_MAX {
                return Err(StoreError::Request(format!("group by 1 to {BY_MAX} columns, not {}", by.len())));
            }
            let by = columns(Some(&by))?.join(", ");
            let snapshot = at(&engine, request.at).await;
            let range = search.range(&request, &snapshot);
            let sql = format!(
                "SELECT {by}, sum(\"count\") AS \"count\" FROM events WHERE {} GROUP BY {by} ORDER BY \"count\" DESC, {by} LIMIT {}",
                search.condition,
                top.clamp(1, ROWS_MAX)
            );
            engine.run(&snapshot, Job { sql, range, limits }).await
        };
        self.inner.engine.spawn(limits, work).boxed()
    }

    /// Counts the events that match.
    pub fn count(&self, request: FindRequest) -> Answer<u64> {
        let engine = Arc::clone(&self.inner.engine);
        let limits = request.limits;
        let work = async move {
            let search = Search::new(&request)?;
            let snapshot = at(&engine, request.at).await;
            let range = search.range(&request, &snapshot);
            let sql = format!("SELECT count(*) AS n FROM events WHERE {}", search.condition);
            let rows = engine.run(&snapshot, Job { sql, range, limits }).await?;
            if let [file, ..] = rows.complete.unreadable.as_slice() {
                return Err(StoreError::Segment {
                    file: file.clone(),
                    what: "cannot be read, so cannot be counted".to_owned(),
                });
            }
            match rows.get(0, "n") {
                Some(Cell::Int(n)) => Ok(*n as u64),
                _ => Err(StoreError::Engine("a count without a number".to_owned())),
            }
        };
        self.inner.engine.spawn(limits, work).boxed()
    }

    /// What belongs to the event `event` at `index`, in order of time: rows of the same trace or request id, the
    /// requests that it was probably made for, and what was probably made for it or for them. `joined` says how
    /// (`this`, `trace`, `corr`, `cause`, `caused`); `score`, 0 to 999, is there where that is inferred. At most
    /// [`crate::TIMELINE_ROWS_MAX`] rows within [`crate::TIMELINE_SPAN_NS`] of the event.
    pub fn timeline(&self, index: u64, event: &Event, limits: QueryLimits) -> Answer<Rows> {
        let engine = Arc::clone(&self.inner.engine);
        let seed = Seed::new(index, event);
        let work = async move {
            let snapshot = at(&engine, Some(index.saturating_add(1))).await;
            timeline(&engine, &snapshot, seed, limits).await
        };
        self.inner.engine.spawn(limits, work).boxed()
    }

    /// The SQL that a search for this filter runs.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub fn explain_filter(&self, filter: &str) -> Result<String, StoreError> {
        let filter = filter::parse(filter)?;
        let columns = columns(None)?.join(", ");
        Ok(format!("SELECT {columns} FROM events{} ORDER BY \"index\" DESC LIMIT 50", where_clause(&filter)))
    }

    /// One leaf and its content, checked against its commitment; `None` at or beyond the end.
    ///
    /// # Errors
    /// [`StoreError::Integrity`] when the stored bytes do not open the commitment: nothing is returned then.
    pub fn get(&self, index: u64) -> Result<Option<Stored>, StoreError> {
        let Some(entry) = self.inner.ledger.entry(index)? else { return Ok(None) };
        if EntryKind::from_byte(entry.kind) != Some(EntryKind::Event) {
            let body = self.inner.ledger.body(index)?;
            return Ok(Some(Stored { index, entry, event: None, frame: None, body }));
        }
        self.wait_visible(index + 1, CATCH_UP);
        let frames = self.inner.frames(index, index + 1)?;
        let Some(Some(frame)) = frames.into_iter().next() else {
            return Err(match self.inner.retired(index) {
                Some(retired) => StoreError::Retired { index, entry: retired.entry },
                None => integrity(index, "its row is not an event"),
            });
        };
        self.inner.check(index, &entry, &frame)?;
        let event = Event::decode(&frame).map_err(|error| integrity(index, &error.to_string()))?;
        Ok(Some(Stored { index, entry, event: Some(event), frame: Some(frame), body: None }))
    }

    /// Index of the event with this id, the first if there are several. Blocks; not for async threads.
    ///
    /// # Errors
    /// As [`Store::sql`].
    pub fn find_eid(&self, eid: [u8; 16]) -> Result<Option<u64>, StoreError> {
        let sql = format!("SELECT min(\"index\") AS n FROM events WHERE id = X'{}'", crate::rows::hex(&eid));
        let rows = self.block(self.sql(SqlRequest::new(sql)))?;
        match rows.get(0, "n") {
            Some(Cell::Int(n)) => Ok(Some(*n as u64)),
            _ => Ok(None),
        }
    }

    /// Leaves `from..to` and their contents, at most 65,536 at once, cut at [`Store::visible`]; events whose contents
    /// were retired are left out. For consumers that fell behind the ledger's memory.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub fn scan(&self, from: u64, to: u64) -> Result<Vec<Committed>, StoreError> {
        let to = to.min(from.saturating_add(SCAN_MAX)).min(self.visible());
        if from >= to {
            return Ok(Vec::new());
        }
        let entries = self.inner.ledger.entries(from, to)?;
        let frames = self.inner.frames(from, to)?;
        let mut out = Vec::with_capacity(entries.len());
        for ((index, entry), frame) in (from..to).zip(entries).zip(frames) {
            let payload = match frame {
                Some(frame) => {
                    let event =
                        Event::decode(&frame).map_err(|error| integrity(index, &error.to_string()))?;
                    Payload::Event { event: Arc::new(event), frame: Arc::new(frame) }
                }
                None if EntryKind::from_byte(entry.kind) == Some(EntryKind::Event) => continue,
                None => Payload::Body(self.inner.ledger.body(index)?.unwrap_or_default().into()),
            };
            out.push(Committed { index, entry, payload });
        }
        Ok(out)
    }

    /// Stops following, sealing and answering. Call before the ledger is shut down; a part that is not
    /// sealed yet stays in the write-ahead log.
    pub fn shutdown(&self) {
        self.inner.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut *self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
        self.inner.engine.shutdown();
    }

    /// Runs a future of ours to its end on a plain thread.
    fn block<T: Send + 'static>(&self, answer: Answer<T>) -> Result<T, StoreError> {
        futures::executor::block_on(answer)
    }
}

/// The snapshot that covers `size`, after a short wait for what was acknowledged just now.
async fn at(engine: &Engine, size: Option<u64>) -> Arc<Snapshot> {
    let mut left = CATCH_UP;
    loop {
        let snapshot = engine.hot().snapshot();
        if size.is_none_or(|size| snapshot.visible >= size) || left.is_zero() {
            return snapshot;
        }
        tokio::time::sleep(LOOK).await;
        left = left.saturating_sub(LOOK);
    }
}

fn integrity(index: u64, what: &str) -> StoreError {
    StoreError::Integrity { what: format!("leaf {index}: {what}") }
}

impl Inner {
    fn start(&self, dir: PathBuf) -> Result<(), StoreError> {
        let (ledger, hot) = (self.ledger.clone(), Arc::clone(&self.hot));
        let (stop, stats) = (Arc::clone(&self.stop), Arc::clone(&self.stats));
        let ingest = Ingest { dir: dir.clone(), ledger, hot, stop, stats };
        if self.ledger.is_read_only() {
            return ingest.load();
        }
        segment::remove_temps(&dir).map_err(|error| StoreError::Segment {
            file: segment::DIR.to_owned(),
            what: format!("left-over temporary files cannot be removed: {error}"),
        })?;
        let (ledger, hot) = (self.ledger.clone(), Arc::clone(&self.hot));
        let (stop, stats) = (Arc::clone(&self.stop), Arc::clone(&self.stats));
        let sealer = Sealer { dir, ledger, hot, stop, stats };
        let (send, receive) = mpsc::sync_channel(QUEUE_PARTS);
        let failed = |error| StoreError::Engine(format!("cannot start a thread: {error}"));
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(failed)
        };
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.push(spawn("store-ingest", Box::new(move || ingest.run(&send)))?);
        threads.push(spawn("store-seal", Box::new(move || sealer.run(&receive)))?);
        Ok(())
    }

    /// The RETIRE that covers this leaf.
    fn retired(&self, index: u64) -> Option<RetiredInfo> {
        self.ledger.retired().into_iter().find(|range| range.first <= index && index < range.end)
    }

    /// Where in `from..to` a hole that begins at `from` ends, if its contents were retired.
    fn hole(&self, snapshot: &Snapshot, from: u64, to: u64) -> Option<u64> {
        let end = self.retired(from)?.end.min(to);
        let tail = snapshot.tail.iter().map(|piece| piece.first).find(|first| *first > from);
        let segment = snapshot.segments.iter().map(|segment| segment.info.first).find(|first| *first > from);
        Some(end.min(tail.unwrap_or(end)).min(segment.unwrap_or(end)))
    }

    /// Frames of `from..to`, from memory or segments; `None` where there is none: own entries, and what was retired.
    fn frames(&self, from: u64, to: u64) -> Result<Vec<Option<Frame>>, StoreError> {
        let snapshot = self.hot.snapshot();
        let mut out = Vec::with_capacity((to - from) as usize);
        let mut next = from;
        while next < to {
            if let Some(sealed) = snapshot.segment_of(next) {
                let end = sealed.info.end.min(to);
                out.extend(sealed.frames(next, end)?);
                next = end;
                continue;
            }
            let Some(piece) = snapshot.tail.iter().find(|piece| piece.first <= next && next < piece.end())
            else {
                let Some(end) = self.hole(&snapshot, next, to) else {
                    return Err(StoreError::Request(format!(
                        "leaf {next} cannot be read yet: try again in a moment"
                    )));
                };
                out.extend((next..end).map(|_| None));
                next = end;
                continue;
            };
            let Some(piece) = piece.slice(next, to) else { break };
            out.extend(segment::frames(&piece.batch)?);
            next = piece.end();
        }
        Ok(out)
    }

    /// The frame must open the commitment that was logged.
    fn check(&self, index: u64, entry: &Entry, frame: &Frame) -> Result<(), StoreError> {
        match self.ledger.salts(index)? {
            Some(salts) if commit::event_commitment(&salts, &frame.groups.each()) == entry.commitment => {
                Ok(())
            }
            Some(_) => Err(integrity(index, "the stored bytes do not open its commitment")),
            None => Err(integrity(index, "its salts are gone, so its bytes cannot be checked")),
        }
    }
}

/// Column names for SQL, each known; names of `event.md` and of the filter are accepted.
fn columns(names: Option<&[String]>) -> Result<Vec<String>, StoreError> {
    let Some(names) = names else { return Ok(DEFAULT_COLUMNS.iter().map(|name| ident(name)).collect()) };
    let known = |name: &String| {
        let shown =
            |name: &str| schema::find(name).filter(|col| col.place != Place::Hidden).map(|col| col.name);
        let column = shown(name).or_else(|| filter::column_of(name)).map(ident);
        column.ok_or_else(|| StoreError::Sql {
            message: format!("there is no column `{name}`"),
            suggestions: crate::error::nearest(name, schema::COLS.iter().map(|col| col.name)),
        })
    };
    names.iter().map(known).collect()
}

fn where_clause(filter: &Filter) -> String {
    if filter.is_empty() { String::new() } else { format!(" WHERE {}", filter.to_sql()) }
}

/// A filter and a time range as one condition.
struct Search {
    condition: String,
}

impl Search {
    fn new(request: &FindRequest) -> Result<Search, StoreError> {
        let filter = filter::parse(&request.filter)?;
        let mut parts = Vec::new();
        if !filter.is_empty() {
            parts.push(format!("({})", filter.to_sql()));
        }
        parts.extend(request.from_ns.map(|ns| format!("time >= TIMESTAMP '{}'", time_text(ns))));
        parts.extend(request.to_ns.map(|ns| format!("time < TIMESTAMP '{}'", time_text(ns))));
        Ok(Search { condition: if parts.is_empty() { "true".to_owned() } else { parts.join(" AND ") } })
    }

    /// Leaves of the whole request.
    fn range(&self, request: &FindRequest, snapshot: &Snapshot) -> Range {
        let end =
            request.at.unwrap_or(u64::MAX).min(snapshot.visible).min(request.before.unwrap_or(u64::MAX));
        let first = request.after.map_or(0, |after| after.saturating_add(1));
        Range { first: first.min(end), end, from_ns: request.from_ns, to_ns: request.to_ns }
    }

    /// One page: from the near end, in ever larger steps, until it is full. Far segments stay unread.
    async fn page(
        &self,
        engine: &Engine,
        snapshot: &Snapshot,
        request: &FindRequest,
        columns: &[String],
    ) -> Result<Rows, StoreError> {
        let whole = self.range(request, snapshot);
        let mut left = whole;
        let mut answer: Option<Rows> = None;
        let mut step = snapshot.tail_rows().max(SCAN_MAX);
        while answer.is_none()
            || (left.first < left.end && answer.as_ref().is_some_and(|a| a.rows.len() < request.limit))
        {
            let (now, direction) = match request.order {
                Order::NewestFirst => {
                    (Range { first: left.end.saturating_sub(step).max(left.first), ..left }, "DESC")
                }
                Order::OldestFirst => {
                    (Range { end: left.first.saturating_add(step).min(left.end), ..left }, "ASC")
                }
            };
            match request.order {
                Order::NewestFirst => left.end = now.first,
                Order::OldestFirst => left.first = now.end,
            }
            let limit = request.limit - answer.as_ref().map_or(0, |answer| answer.rows.len());
            let sql = format!(
                "SELECT {} FROM events WHERE {} ORDER BY \"index\" {direction} LIMIT {limit}",
                columns.join(", "),
                self.condition
            );
            let part = engine.run(snapshot, Job { sql, range: now, limits: request.limits }).await?;
            answer = Some(match answer {
                None => part,
                Some(mut all) => {
                    all.rows.extend(part.rows);
                    all.complete.unreadable.extend(part.complete.unreadable);
                    all.complete.truncated |= part.complete.truncated;
                    all
                }
            });
            step = step.saturating_mul(8);
        }
        let mut rows = answer.unwrap_or_default();
        rows.at = request.at.unwrap_or(u64::MAX).min(snapshot.visible);
        rows.complete.retired = engine.retired(whole);
        rows.complete.unreadable.sort();
        rows.complete.unreadable.dedup();
        Ok(rows)
    }
}
