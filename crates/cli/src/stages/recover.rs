//! What a dead run of a strict route left open: an intent without an outcome. Each is closed by a `cut` that
//! says that the outcome is unknown. A process that can search asks for them; an edge, which cannot, reads what it
//! still has of its own log, from end to end. An unclean end is noted in a file until that is done. Doing it twice adds
//! nothing, since the `cut` of the first time answers the question of the second.

use crate::access::directory::{ledger_error, store_error};
use crate::config::Config;
use crate::exit::CliError;
use countersign_event::{Event, Rec};
use countersign_ledger::{Feed, Ledger, Payload, Source};
use countersign_store::{SqlRequest, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Most intents closed at one start; the next start closes the next ones.
const CLOSED_MAX: usize = 100_000;
/// Longest wait for a part of the log that is there.
const FEED: Duration = Duration::from_secs(5);
/// Why the outcome is unknown.
const WHY: &str = "the gateway ended before the outcome was known";

/// File of the data directory: a run before this one did not end in order, and nobody has looked yet what it
/// left open.
const NOTE: &str = "unclosed";

/// Notes that the run before this one did not end in order.
pub(crate) fn note(config: &Config) -> Result<(), CliError> {
    let write = || -> std::io::Result<()> {
        std::fs::File::create(config.data.join(NOTE))?.sync_all()?;
        std::fs::File::open(&config.data)?.sync_all()
    };
    write().map_err(|e| fail(&config.data, e))
}

/// Closes what runs that did not end in order have left, when there is a note of one.
pub(crate) fn close(
    config: &Config,
    store: &Store,
    source: &Source,
    say: &dyn Fn(&str),
) -> Result<(), CliError> {
    let note = config.data.join(NOTE);
    if !note.exists() {
        return Ok(());
    }
    let closed = close_intents(store, source)?;
    told(&note, closed, closed < CLOSED_MAX, say)
}

/// Says how many were closed; the note goes when these were all.
fn told(note: &Path, closed: usize, all: bool, say: &dyn Fn(&str)) -> Result<(), CliError> {
    if closed > 0 {
        say(&format!("  recovery   {closed} calls of strict routes have no outcome: recorded as unknown"));
    }
    if all { std::fs::remove_file(note).map_err(|e| fail(note, e)) } else { Ok(()) }
}

/// As [`close`], for a process without search: from the log itself.
pub(crate) fn close_from_log(
    config: &Config,
    ledger: &Ledger,
    source: &Source,
    say: &dyn Fn(&str),
) -> Result<(), CliError> {
    let note = config.data.join(NOTE);
    if !note.exists() {
        return Ok(());
    }
    let (open, all) = open_intents(ledger)?;
    let mut cuts = Vec::with_capacity(open.len());
    for index in open.values() {
        let feed = ledger.reader(*index).next(FEED).map_err(ledger_error)?;
        let Some(Feed::Batch(batch)) = feed else { continue };
        let Some(record) = batch.records.iter().find(|record| record.index == *index) else { continue };
        if let Payload::Event { event, .. } = &record.payload {
            cuts.push(cut(event));
        }
    }
    let closed = cuts.len();
    if closed > 0 {
        source.record_wait(cuts).map_err(ledger_error)?;
    }
    told(&note, closed, all, say)
}

/// Where the intents without an outcome lie, by id, of what the log still holds; and whether these are all.
fn open_intents(ledger: &Ledger) -> Result<(BTreeMap<[u8; 16], u64>, bool), CliError> {
    let (mut open, mut all) = (BTreeMap::new(), true);
    let size = ledger.size();
    let mut reader = ledger.reader(0);
    while reader.position() < size {
        let Some(feed) = reader.next(FEED).map_err(ledger_error)? else { break };
        let Feed::Batch(batch) = feed else { continue };
        for record in &batch.records {
            let Payload::Event { event, .. } = &record.payload else { continue };
            match event.core.rec {
                Some(Rec::Intent) if open.len() < CLOSED_MAX => {
                    open.insert(event.core.eid, record.index);
                }
                Some(Rec::Intent) => all = false,
                Some(Rec::Outcome | Rec::Cut) => {
                    event.links.of.and_then(|of| open.remove(&of));
                }
                _ => {}
            }
        }
    }
    Ok((open, all && reader.position() >= size))
}

fn fail(path: &Path, error: std::io::Error) -> CliError {
    CliError::new(
        format!("cannot note what is to be recovered in {}", path.display()),
        error,
        "check its permissions",
    )
}

/// Closes open intents; gives their number. Those of edges are not ours to close: they run, and their outcomes come.
fn close_intents(store: &Store, source: &Source) -> Result<usize, CliError> {
    let question = format!(
        "select i.\"index\" from events i left anti join \
         (select \"of\" from events where rec in ('outcome', 'cut') and \"of\" is not null) o on i.id = o.\"of\" \
         left anti join (select stream from sources where via <> '') e on i.stream = e.stream \
         where i.rec = 'intent' order by i.\"index\" limit {CLOSED_MAX}"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| {
        CliError::new("cannot look for intents without an outcome", e, "close other programs and try again")
    })?;
    let rows = runtime.block_on(store.sql(SqlRequest::new(&question))).map_err(store_error)?;
    let mut cuts = Vec::new();
    for line in rows.to_ndjson().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let Some(index) = row.get("index").and_then(serde_json::Value::as_u64) else { continue };
        let stored = store.get(index).map_err(store_error)?;
        cuts.extend(stored.and_then(|s| s.event).map(|intent| cut(&intent)));
    }
    let closed = cuts.len();
    if closed > 0 {
        source.record_wait(cuts).map_err(ledger_error)?;
    }
    Ok(closed)
}

/// The same call to the same target by the same caller, whose end nobody saw.
fn cut(intent: &Event) -> Event {
    let mut event = Event::default();
    event.core.t_obs = u64::try_from(crate::access::time::now_ns()).unwrap_or(0);
    event.core.t_event = intent.core.t_event;
    event.core.t_basis = intent.core.t_basis;
    event.core.rec = Some(Rec::Cut);
    event.core.kind = intent.core.kind;
    event.core.proto.clone_from(&intent.core.proto);
    event.core.op.clone_from(&intent.core.op);
    event.core.class = intent.core.class;
    event.core.route.clone_from(&intent.core.route);
    event.who = intent.who.clone();
    event.target = intent.target.clone();
    event.links.of = Some(intent.core.eid);
    event.links.conn = intent.links.conn;
    event.links.conn_seq = intent.links.conn_seq;
    event.content.err = WHY.to_owned();
    event
}
