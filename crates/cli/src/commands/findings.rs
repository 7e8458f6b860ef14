//! `findings`: what detection found, newest first, each as the sentence that it is.

use crate::access::{Access, Search};
use crate::args::{FindingsArgs, Format, Global};
use crate::exit::{CliError, Exit};
use crate::output::{self, Row};
use countersign_detect::{detail, explain};
use countersign_event::cbor::Value as Cbor;
use countersign_event::fields::sys::finding;
use countersign_event::json::hex;
use countersign_event::{Event, FindingState, Severity};
use serde_json::{Value, json};
use std::io::Write;

/// Columns of the table for people.
const SHORT: [&str; 6] = ["index", "time", "severity", "state", "rule", "what"];

/// Prints them.
pub(crate) fn run(global: &Global, args: &FindingsArgs) -> Result<Exit, CliError> {
    let mut search = Search::new(&args.filter, &args.range)?;
    search.filter = match search.filter.trim() {
        "" => "rec:finding".to_owned(),
        filter => format!("rec:finding ({filter})"),
    };
    let access = Access::open(global)?;
    if args.count {
        let answer = access.count(&search)?;
        let n = answer.rows.first().and_then(|row| row.get("count")).and_then(Value::as_u64).unwrap_or(0);
        writeln!(std::io::stdout().lock(), "{n}")?;
        return Ok(if n == 0 { Exit::No } else { Exit::Yes });
    }
    let mut answer = access.find(&search, args.limit as usize, &["index".to_owned(), "time".to_owned()])?;
    let mut rows = Vec::with_capacity(answer.rows.len());
    for row in &answer.rows {
        let Some(index) = row.get("index").and_then(Value::as_u64) else { continue };
        let Some(event) = access.event(index)? else { continue };
        rows.push(describe(index, row.get("time").cloned(), &event));
    }
    answer.rows = rows;
    let format = output::format(global);
    if format == Format::Text {
        answer.columns = SHORT.map(String::from).to_vec();
    } else {
        answer.columns.clear();
    }
    super::q::print(global, format, &answer)?;
    if format == Format::Text && !global.quiet && !answer.rows.is_empty() {
        eprintln!("countersign show INDEX says more, countersign prove INDEX proves one to anybody");
    }
    Ok(if answer.rows.is_empty() { Exit::No } else { Exit::Yes })
}

/// A finding as a row.
pub(crate) fn describe(index: u64, time: Option<Value>, event: &Event) -> Row {
    let number = |key: u64| event.core.sys.get(&key).and_then(Cbor::as_uint);
    let word = |word: Option<&str>| json!(word.unwrap_or("unknown"));
    let text = |key: u64| event.content.detail.get(&key).and_then(Cbor::as_text).unwrap_or_default();
    let id = event.core.sys.get(&finding::ID).and_then(Cbor::as_bytes).map(hex).unwrap_or_default();
    let mut row = Row::new();
    let mut put = |name: &str, value: Value| row.insert(name.to_owned(), value);
    put("index", json!(index));
    put("time", time.unwrap_or(Value::Null));
    put("severity", word(number(finding::SEVERITY).and_then(Severity::from_code).map(Severity::word)));
    put("state", word(number(finding::STATE).and_then(FindingState::from_code).map(FindingState::word)));
    put("rule", json!(text(detail::RULE)));
    put("what", json!(explain(event).unwrap_or_default()));
    put("confidence", json!(number(finding::CONFIDENCE)));
    put("finding", json!(id));
    put("revision", json!(number(finding::REVISION)));
    put("evidence", json!(event.links.of.map(|eid| hex(&eid))));
    put("query", json!(text(detail::QUERY)));
    row
}
