//! `q`: search, count, or say what would be asked.

use crate::access::{Access, Answer, Search};
use crate::args::{Format, Global, QueryArgs};
use crate::exit::{CliError, Exit};
use crate::output;
use std::io::Write;

/// Columns of the table for people: who, what, when, how it ended, how long, how much.
const SHORT: [&str; 12] = [
    "index",
    "time",
    "who",
    "verified",
    "op",
    "service",
    "resource",
    "outcome",
    "status",
    "duration_ns",
    "req_size",
    "rsp_size",
];

/// The filter of an empty question: all but the platform's records of itself.
const FIRST_LOOK: &str = "-rec:platform";

/// Runs the query.
pub(crate) fn run(global: &Global, args: &QueryArgs) -> Result<Exit, CliError> {
    let mut search = Search::new(&args.filter, &args.range)?;
    let format = output::format(global);
    // A first look shows what passed, not our own notes about looking; whoever asks for anything gets it all.
    let first_look = search.filter.trim().is_empty() && !args.count && args.by.is_empty();
    if first_look {
        search.filter = FIRST_LOOK.into();
    }
    let access = Access::open(global)?;
    if args.explain {
        writeln!(std::io::stdout().lock(), "{}", output::escape(&access.explain(&search.filter)?))?;
        return Ok(Exit::Yes);
    }
    let answer = if args.count {
        access.count(&search)?
    } else if !args.by.is_empty() {
        access.count_by(&search, &args.by, args.top as usize)?
    } else {
        let mut answer = access.find(&search, args.limit as usize, &fields(args, format))?;
        if args.fields.is_empty() && format == Format::Text {
            answer.columns = SHORT.map(String::from).to_vec();
        }
        answer
    };
    if args.count && format == Format::Text {
        let n = answer.rows.first().and_then(|row| row.get("count"));
        writeln!(std::io::stdout().lock(), "{}", output::plain(n))?;
    } else {
        print(global, format, &answer)?;
        if first_look && format == Format::Text && !global.quiet {
            eprintln!(
                "records of countersign itself (who read what) are left out: countersign q rec:platform"
            );
        }
    }
    let none = match args.count {
        true => {
            answer.rows.first().and_then(|row| row.get("count")).and_then(serde_json::Value::as_u64)
                == Some(0)
        }
        false => answer.rows.is_empty(),
    };
    Ok(if none { Exit::No } else { Exit::Yes })
}

fn fields(args: &QueryArgs, format: Format) -> Vec<String> {
    match format {
        _ if !args.fields.is_empty() => args.fields.clone(),
        Format::Text => SHORT.map(String::from).to_vec(),
        _ => Vec::new(),
    }
}

/// Rows to standard output; in text, what the answer lacks to standard error.
pub(crate) fn print(global: &Global, format: Format, answer: &Answer) -> Result<(), CliError> {
    if !(answer.rows.is_empty() && format == Format::Text) {
        output::rows(&mut std::io::stdout().lock(), format, &answer.columns, &answer.rows)?;
    }
    if format == Format::Text && !global.quiet {
        eprintln!("{}", output::escape(&answer.footer()));
    }
    Ok(())
}
