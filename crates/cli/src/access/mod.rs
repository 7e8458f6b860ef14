//! One way to ask, two ways to be answered: by the running server through its local socket, or, when none
//! runs, by the data directory itself, read-only. Both give the same rows.

pub(crate) mod directory;
pub(crate) mod evidence;
pub(crate) mod http;
pub(crate) mod server;
pub(crate) mod time;

use crate::args::{Global, Range};
use crate::config::{self, Config};
use crate::exit::CliError;
use crate::output::Row;
use countersign_event::Event;
use countersign_event::codec::decode_group;
use serde_json::Value;
use std::path::Path;

/// Name of the server's socket in the data directory.
pub(crate) const SOCKET: &str = "api.sock";

/// Where answers come from.
pub(crate) enum Access {
    /// The running server.
    Server(server::Server),
    /// The data directory.
    Directory(Box<directory::Directory>),
}

/// A search, the same for both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    /// The filter; empty = everything.
    pub(crate) filter: String,
    /// Not before, UTC ns.
    pub(crate) from_ns: Option<i64>,
    /// Before, UTC ns.
    pub(crate) to_ns: Option<i64>,
    /// As of this ledger size.
    pub(crate) at: Option<Pin>,
}

/// A ledger size, and what the root there begins with: together they name one history of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    /// Entries.
    pub(crate) size: u64,
    /// First 16 hex digits of the root; a log that has another there is not the one that was meant.
    pub(crate) root: Option<String>,
}

impl std::str::FromStr for Pin {
    type Err = String;
    fn from_str(text: &str) -> Result<Pin, String> {
        let (size, root) = text.split_once('.').map_or((text, None), |(size, root)| (size, Some(root)));
        let size = size
            .parse()
            .map_err(|_| format!("`{size}` is no ledger size: write 131, or 131.9f3c01d2aa71be04"))?;
        let hex = |root: &str| {
            root.len() == 16 && root.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        match root {
            Some(root) if !hex(root) => {
                Err(format!("`{root}` is no root: write its first 16 hex digits, lower case"))
            }
            root => Ok(Pin { size, root: root.map(str::to_string) }),
        }
    }
}

impl Search {
    /// From the words of a filter and the flags of a range.
    pub(crate) fn new(words: &[String], range: &Range) -> Result<Search, CliError> {
        let now = time::now_ns();
        let read =
            |flag: &str, text: &Option<String>| text.as_ref().map(|t| time::parse(flag, t, now)).transpose();
        Ok(Search {
            filter: words.join(" ").trim().into(),
            from_ns: read("from", &range.from)?.or(read("since", &range.since)?),
            to_ns: read("to", &range.to)?,
            at: range.at.clone(),
        })
    }
}

/// Rows, whether they are all, and the size they were computed at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Columns in order; empty = as in the rows.
    pub(crate) columns: Vec<String>,
    /// The rows.
    pub(crate) rows: Vec<Row>,
    /// `gaps`, `erased`, `retired`, `truncated`, `unreadable`.
    pub(crate) complete: Value,
    /// Ledger size.
    pub(crate) at: u64,
}

impl Answer {
    /// One line for people: size, and what the answer lacks.
    pub(crate) fn footer(&self) -> String {
        let n = |name: &str| self.complete.get(name).and_then(Value::as_u64).unwrap_or(0);
        let mut notes = Vec::new();
        if n("gaps") > 0 {
            notes.push(format!("{} declared gap(s): countersign sql 'select * from gaps'", n("gaps")));
        }
        if n("erased") + n("retired") > 0 {
            notes.push(format!("{} erased, {} retired", n("erased"), n("retired")));
        }
        let unreadable = self.complete.get("unreadable").and_then(Value::as_array).map_or(0, Vec::len);
        if unreadable > 0 {
            notes.push(format!("{unreadable} segment(s) unreadable: run countersign fsck"));
        }
        if self.complete.get("truncated").and_then(Value::as_bool) == Some(true) {
            notes.push("cut at the row limit".into());
        }
        let whole = if notes.is_empty() { "nothing missing".into() } else { notes.join("; ") };
        format!("{} row(s) at ledger size {}; {whole}", self.rows.len(), self.at)
    }
}

impl Access {
    /// The server if one runs on this data directory, else the directory.
    pub(crate) fn open(global: &Global) -> Result<Access, CliError> {
        let config = config::resolve(global)?;
        Access::over(&config)
    }

    /// The same from a configuration.
    pub(crate) fn over(config: &Config) -> Result<Access, CliError> {
        if let Some(client) = http::Client::connect(&config.data.join(SOCKET)) {
            return Ok(Access::Server(server::Server::new(client)));
        }
        require_ledger(&config.data)?;
        Ok(Access::Directory(Box::new(directory::Directory::open(config)?)))
    }

    /// The newest events that match.
    pub(crate) fn find(&self, search: &Search, limit: usize, fields: &[String]) -> Result<Answer, CliError> {
        match self {
            Access::Server(server) => server.find(search, limit, fields),
            Access::Directory(directory) => directory.find(search, limit, fields),
        }
    }

    /// How many match.
    pub(crate) fn count(&self, search: &Search) -> Result<Answer, CliError> {
        match self {
            Access::Server(server) => server.count(search),
            Access::Directory(directory) => directory.count(search),
        }
    }

    /// How many match, by fields, most frequent first.
    pub(crate) fn count_by(&self, search: &Search, by: &[String], top: usize) -> Result<Answer, CliError> {
        match self {
            Access::Server(server) => server.count_by(search, by, top),
            Access::Directory(directory) => directory.count_by(search, by, top),
        }
    }

    /// The SQL of a filter.
    pub(crate) fn explain(&self, filter: &str) -> Result<String, CliError> {
        match self {
            Access::Server(server) => server.explain(filter),
            Access::Directory(directory) => directory.explain(filter),
        }
    }

    /// An answer in SQL.
    pub(crate) fn sql(&self, text: &str, at: Option<&Pin>) -> Result<Answer, CliError> {
        match self {
            Access::Server(server) => server.sql(text, at),
            Access::Directory(directory) => directory.sql(text, at),
        }
    }

    /// One entry with everything: `index`, `entry`, and `event` or `body`.
    pub(crate) fn document(&self, id: &EntryId) -> Result<Value, CliError> {
        match self {
            Access::Server(server) => server.document(id),
            Access::Directory(directory) => directory.document(id),
        }
    }

    /// What belongs to one event, in order of time; `joined` and `score` say how.
    pub(crate) fn timeline(&self, id: &EntryId) -> Result<Answer, CliError> {
        match self {
            Access::Server(server) => server.timeline(id),
            Access::Directory(directory) => directory.timeline(id),
        }
    }

    /// The evidence file of one entry, everything disclosed.
    pub(crate) fn evidence(&self, index: u64) -> Result<Vec<u8>, CliError> {
        match self {
            Access::Server(server) => server.evidence(index),
            Access::Directory(directory) => directory.evidence(index),
        }
    }

    /// The event at `index`, of its hashed bytes; `None` = it is none.
    pub(crate) fn event(&self, index: u64) -> Result<Option<Event>, CliError> {
        let single = evidence::Single::read(&self.evidence(index)?)?;
        if single.groups().is_empty() {
            return Ok(None);
        }
        let mut event = Event::default();
        for (g, (_, bytes)) in single.groups().iter().enumerate() {
            decode_group(g, bytes, &mut event)
                .map_err(|e| CliError::Integrity(format!("index {index} holds no event: {e}")))?;
        }
        Ok(Some(event))
    }

    /// The log's verifier key.
    pub(crate) fn vkey(&self) -> Result<String, CliError> {
        match self {
            Access::Server(server) => server.vkey(),
            Access::Directory(directory) => Ok(directory.vkey()),
        }
    }
}

/// An entry as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryId {
    /// Index in the ledger.
    Index(u64),
    /// Event id.
    Event([u8; 16]),
}

impl EntryId {
    /// From `128`, `#128`, 32 hex digits or a UUID.
    pub(crate) fn parse(text: &str) -> Result<EntryId, CliError> {
        let digits = text.strip_prefix('#').unwrap_or(text);
        // 32 digits are an event id even when all are decimal: no index is that long.
        if digits.len() < 20
            && let Ok(index) = digits.parse()
        {
            return Ok(EntryId::Index(index));
        }
        let bytes = countersign_event::json::unhex(&text.replace('-', "").to_lowercase());
        match bytes.and_then(|b| <[u8; 16]>::try_from(b).ok()) {
            Some(eid) => Ok(EntryId::Event(eid)),
            None => Err(CliError::Failed(format!(
                "`{text}` is no entry: give an index like 128, or an event id of 32 hex digits; find one with countersign q"
            ))),
        }
    }
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EntryId::Index(index) => write!(f, "index {index}"),
            EntryId::Event(eid) => write!(f, "event {}", countersign_event::json::hex(eid)),
        }
    }
}

/// Refuses a directory without a ledger, with what to do.
pub(crate) fn require_ledger(data: &Path) -> Result<(), CliError> {
    if data.join("wal").is_dir() || data.join("log").is_dir() {
        return Ok(());
    }
    Err(CliError::new(
        format!("no ledger in {}", data.display()),
        "nothing was ever recorded there",
        "start one with `countersign run` or `countersign demo --keep DIR`, or name another with --data",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_named_by_index_or_id() {
        assert_eq!(EntryId::parse("128").unwrap(), EntryId::Index(128));
        assert_eq!(EntryId::parse("#7").unwrap(), EntryId::Index(7));
        let eid = EntryId::parse("00112233-4455-6677-8899-AABBCCDDEEFF").unwrap();
        assert_eq!(eid.to_string(), "event 00112233445566778899aabbccddeeff");
        assert!(matches!(EntryId::parse(&"1".repeat(32)).unwrap(), EntryId::Event(_)));
        assert!(EntryId::parse("x").is_err() && EntryId::parse("99999999999999999999").is_err());
    }

    #[test]
    fn a_pin_is_a_size_and_perhaps_a_root() {
        assert_eq!("131".parse(), Ok(Pin { size: 131, root: None }));
        let pin: Pin = "131.9f3c01d2aa71be04".parse().unwrap();
        assert_eq!(pin.root.as_deref(), Some("9f3c01d2aa71be04"));
        for bad in ["x", "131.", "131.9f3c", "131.9F3C01D2AA71BE04", "-1"] {
            assert!(bad.parse::<Pin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_footer_says_what_is_missing() {
        let answer = Answer {
            complete: serde_json::json!({"gaps": 2, "truncated": true}),
            at: 9,
            ..Answer::default()
        };
        assert_eq!(
            answer.footer(),
            "0 row(s) at ledger size 9; 2 declared gap(s): countersign sql 'select * from gaps'; cut at the row limit"
        );
    }
}
