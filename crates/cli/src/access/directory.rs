//! Answers of the data directory itself, read-only, when no server runs on it.

use super::{Answer, EntryId, Pin, Search, server::default_columns};
use crate::config::Config;
use crate::exit::CliError;
use crate::output::Row;
use countersign_event::EntryKind;
use countersign_event::json::{base64url, hex, to_json};
use countersign_ledger::{Kek, Ledger, LedgerError};
use countersign_store::{
    FindRequest, QueryLimits, Rows, SqlRequest, Store, StoreError, StoreOptions, Stored,
};
use serde_json::{Value, json};
use std::future::Future;
use std::time::Duration;

/// Longest wait until the store has read the tail.
const VISIBLE_WAIT: Duration = Duration::from_secs(60);

/// An open data directory.
pub(crate) struct Directory {
    ledger: Ledger,
    store: Store,
    runtime: tokio::runtime::Runtime,
    limits: QueryLimits,
}

impl Directory {
    /// Opens ledger and store read-only.
    pub(crate) fn open(config: &Config) -> Result<Directory, CliError> {
        let kek = Kek::load(&config.kek).map_err(|e| {
            CliError::new(
                format!("cannot open {}", config.data.display()),
                e,
                "name the key's file with `kek` in --config; a copy of the data alone opens nothing",
            )
        })?;
        let (ledger, _) = Ledger::open_read_only(&config.data, kek).map_err(ledger_error)?;
        let store =
            Store::open(&config.data, ledger.clone(), StoreOptions::default()).map_err(store_error)?;
        store.wait_visible(ledger.size(), VISIBLE_WAIT);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| CliError::new("cannot start a query", e, "close other programs and try again"))?;
        let limits = QueryLimits {
            time: config.limits.query_time,
            memory_mib: usize::try_from(config.limits.query_memory >> 20).unwrap_or(usize::MAX),
            ..QueryLimits::default()
        };
        Ok(Directory { ledger, store, runtime, limits })
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    fn run<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, CliError> {
        self.runtime.block_on(question).map_err(store_error)
    }

    fn request(&self, search: &Search) -> Result<FindRequest, CliError> {
        Ok(FindRequest {
            from_ns: search.from_ns,
            to_ns: search.to_ns,
            at: self.size_of(search.at.as_ref())?,
            limits: self.limits,
            ..FindRequest::new(search.filter.clone())
        })
    }

    /// The size of a pin, once this log is seen to be the one that was meant.
    fn size_of(&self, pin: Option<&Pin>) -> Result<Option<u64>, CliError> {
        let Some(pin) = pin else { return Ok(None) };
        let ours = self.ledger.size();
        if pin.size > ours {
            let what = format!("the question is pinned at size {}, this log has {ours} entries", pin.size);
            return Err(match pin.root {
                Some(_) => CliError::Integrity(format!("{what}; it was rolled back, or is another log")),
                None => CliError::Failed(format!("{what}; ask at a smaller size")),
            });
        }
        if let Some(wanted) = &pin.root {
            let root = hex(&self.ledger.root_at(pin.size).map_err(ledger_error)?);
            if !root.starts_with(wanted.as_str()) {
                let found = root.get(..16).unwrap_or_default();
                return Err(CliError::Integrity(format!(
                    "at size {} the question names root {wanted}, this log has {found}; results are withheld: the log was replaced or changed",
                    pin.size
                )));
            }
        }
        Ok(Some(pin.size))
    }

    pub(super) fn find(&self, search: &Search, limit: usize, fields: &[String]) -> Result<Answer, CliError> {
        let columns = if fields.is_empty() { default_columns() } else { fields.to_vec() };
        let request = FindRequest { limit, columns: Some(columns), ..self.request(search)? };
        answer(&self.run(self.store.find(request))?)
    }

    pub(super) fn count(&self, search: &Search) -> Result<Answer, CliError> {
        let n = self.run(self.store.count(self.request(search)?))?;
        let row = Row::from_iter([("count".to_string(), json!(n))]);
        let complete = json!({ "gaps": self.ledger.gaps().len() });
        let at = search.at.as_ref().map_or_else(|| self.store.visible(), |pin| pin.size);
        Ok(Answer { columns: vec!["count".into()], rows: vec![row], complete, at })
    }

    pub(super) fn count_by(&self, search: &Search, by: &[String], top: usize) -> Result<Answer, CliError> {
        answer(&self.run(self.store.count_by(self.request(search)?, by.to_vec(), top))?)
    }

    pub(super) fn explain(&self, filter: &str) -> Result<String, CliError> {
        self.store.explain_filter(filter).map_err(store_error)
    }

    pub(super) fn sql(&self, text: &str, at: Option<&Pin>) -> Result<Answer, CliError> {
        let request = SqlRequest { at: self.size_of(at)?, limits: self.limits, ..SqlRequest::new(text) };
        answer(&self.run(self.store.sql(request))?)
    }

    pub(super) fn document(&self, id: &EntryId) -> Result<Value, CliError> {
        Ok(self.describe(&self.stored(id)?))
    }

    pub(super) fn timeline(&self, id: &EntryId) -> Result<Answer, CliError> {
        let stored = self.stored(id)?;
        let none = || CliError::Failed(format!("entry {} is no event: nothing belongs to it", stored.index));
        let event = stored.event.as_ref().ok_or_else(none)?;
        answer(&self.run(self.store.timeline(stored.index, event, self.limits))?)
    }

    fn stored(&self, id: &EntryId) -> Result<Stored, CliError> {
        let missing = || not_found(id, self.ledger.size());
        let index = match id {
            EntryId::Index(index) => *index,
            EntryId::Event(eid) => self.store.find_eid(*eid).map_err(store_error)?.ok_or_else(missing)?,
        };
        self.store.get(index).map_err(store_error)?.ok_or_else(missing)
    }

    fn describe(&self, stored: &Stored) -> Value {
        let kind = EntryKind::from_byte(stored.entry.kind);
        let time = i64::try_from(stored.entry.time_ns).unwrap_or(i64::MAX);
        let mut out = json!({ "index": stored.index, "entry": {
            "kind": kind.map_or("unknown", EntryKind::name),
            "source_ref": stored.entry.source_ref,
            "source_seq": stored.entry.source_seq,
            "time": super::time::rfc3339(time),
            "commitment": hex(&stored.entry.commitment),
            "bytes": hex(&stored.entry.to_bytes()),
        }});
        if let Some(event) = &stored.event {
            out["event"] = serde_json::from_str(&to_json(event)).unwrap_or(Value::Null);
        }
        if let Some(body) = &stored.body {
            out["body"] = json!(base64url(body));
        }
        let signed = self.ledger.checkpoint().is_some_and(|head| head.size > stored.index);
        out["proof"] = json!({ "state": if signed { "signed" } else { "durable" } });
        out
    }

    pub(super) fn evidence(&self, index: u64) -> Result<Vec<u8>, CliError> {
        super::evidence::build(&self.ledger, &self.store, index, Duration::ZERO)
    }

    pub(super) fn vkey(&self) -> String {
        self.ledger.log_vkey()
    }
}

fn not_found(id: &EntryId, size: u64) -> CliError {
    CliError::NotFound(format!("{id} is not in this ledger of {size} entries; find one with countersign q"))
}

fn answer(rows: &Rows) -> Result<Answer, CliError> {
    let parsed: Vec<Row> = serde_json::from_str(&rows.to_json())
        .map_err(|e| CliError::new("cannot read the store's answer", e, "this is a defect: report it"))?;
    let c = &rows.complete;
    let mut complete =
        json!({ "gaps": c.gaps, "erased": c.erased, "retired": c.retired, "truncated": c.truncated });
    if !c.unreadable.is_empty() {
        complete["unreadable"] = json!(c.unreadable);
    }
    let columns = rows.columns.iter().map(|column| column.name.clone()).collect();
    Ok(Answer { columns, rows: parsed, complete, at: rows.at })
}

/// A ledger's error with the exit code it deserves.
pub(crate) fn ledger_error(error: LedgerError) -> CliError {
    if error.is_integrity() {
        CliError::Integrity(error.to_string())
    } else {
        CliError::Failed(error.to_string())
    }
}

/// A store's error with the exit code it deserves.
pub(crate) fn store_error(error: StoreError) -> CliError {
    match error {
        StoreError::Integrity { .. } => CliError::Integrity(error.to_string()),
        StoreError::Ledger(inner) => ledger_error(inner),
        other => CliError::Failed(other.to_string()),
    }
}
