//! `export`: events in the words of others, for tools that know OCSF or OpenTelemetry.
//!
//! The events are found as `q` finds them, and each is made of the bytes that were hashed, not of columns. In the order
//! of the ledger; in memory are the indexes alone.

use crate::access::{Access, Search};
use crate::args::{ExportArgs, ExportFormat, Global};
use crate::exit::{CliError, Exit};
use countersign_collect::otlp;
use countersign_event::Event;
use countersign_event::map::to_ocsf;
use std::io::{BufWriter, Write};

/// Indexes that one question gives.
const PAGE: usize = 1_000;
/// Events in one OTLP request.
const BATCH: usize = 100;
/// Progress is told so often.
const TELL: usize = 10_000;

/// Writes the events to standard output, what was written to standard error.
pub(crate) fn run(global: &Global, args: &ExportArgs) -> Result<Exit, CliError> {
    let search = Search::new(&args.filter, &args.range)?;
    let access = Access::open(global)?;
    let indexes = indexes(&access, &search)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let (mut batch, mut done) = (Vec::new(), 0);
    for index in indexes {
        // A record that is no event (a gap, a checkpoint) has no place in those schemas.
        let Some(event) = access.event(index)? else { continue };
        match args.format {
            ExportFormat::Ocsf => writeln!(out, "{}", to_ocsf(&event))?,
            ExportFormat::Otel => batch.push(event),
        }
        if batch.len() == BATCH {
            requests(&mut out, &mut batch)?;
        }
        done += 1;
        if done % TELL == 0 && !global.quiet {
            eprintln!("{done} events");
        }
    }
    requests(&mut out, &mut batch)?;
    out.flush()?;
    if !global.quiet {
        eprintln!("{done} events");
    }
    Ok(if done == 0 { Exit::No } else { Exit::Yes })
}

fn requests(out: &mut impl Write, batch: &mut Vec<Event>) -> Result<(), CliError> {
    if !batch.is_empty() {
        writeln!(out, "{}", otlp::to_json(&otlp::export(batch)))?;
        batch.clear();
    }
    Ok(())
}

/// Indexes of all that match, ascending. What is committed meanwhile is not among them.
fn indexes(access: &Access, search: &Search) -> Result<Vec<u64>, CliError> {
    let mut all: Vec<u64> = Vec::new();
    loop {
        let mut page = search.clone();
        if let Some(last) = all.last() {
            page.filter = match search.filter.trim() {
                "" => format!("index:<{last}"),
                filter => format!("({filter}) index:<{last}"),
            };
        }
        let answer = access.find(&page, PAGE, &["index".to_owned()])?;
        let found = answer.rows.iter().filter_map(|row| row.get("index")?.as_u64());
        let before = all.len();
        all.extend(found);
        if all.len() - before < PAGE {
            break;
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}
