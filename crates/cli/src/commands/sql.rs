//! `sql`: one SELECT or EXPLAIN, from the command line or standard input.

use crate::access::Access;
use crate::args::{Global, SqlArgs};
use crate::commands::q::print;
use crate::exit::{CliError, Exit};
use crate::output;
use std::io::{IsTerminal, Read};

/// Longest statement, bytes.
const TEXT_MAX: u64 = 64 << 10;

/// Runs the statement.
pub(crate) fn run(global: &Global, args: &SqlArgs) -> Result<Exit, CliError> {
    let text = statement(args)?;
    let mut answer = Access::open(global)?.sql(&text, args.at.as_ref())?;
    answer.rows.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
    print(global, output::format(global), &answer)?;
    Ok(if answer.rows.is_empty() { Exit::No } else { Exit::Yes })
}

fn statement(args: &SqlArgs) -> Result<String, CliError> {
    if !args.text.is_empty() {
        return Ok(args.text.join(" "));
    }
    let mut input = std::io::stdin();
    if input.is_terminal() {
        eprintln!("type one SELECT, then Ctrl-D");
    }
    let mut text = String::new();
    let read = (&mut input).take(TEXT_MAX + 1).read_to_string(&mut text);
    read.map_err(|e| {
        CliError::new("cannot read the statement from standard input", e, "give it as an argument")
    })?;
    if text.trim().is_empty() {
        return Err(CliError::Failed(
            "no statement: give one, like countersign sql \"select count(*) from events\"".into(),
        ));
    }
    if text.len() as u64 > TEXT_MAX {
        return Err(CliError::Failed("the statement is longer than 64 KiB; shorten it".into()));
    }
    Ok(text)
}
