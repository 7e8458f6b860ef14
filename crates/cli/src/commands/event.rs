//! `event`: the format itself, without a ledger.

use crate::args::{EventArgs, EventCommand};
use crate::exit::{CliError, Exit};
use crate::output;
use countersign_event::{Frame, explain, map};
use std::io::{Read, Write};

/// Longest frame, bytes (docs/reference/fields.md).
const FRAME_MAX: u64 = 1 << 20;

/// Prints what is asked for.
pub(crate) fn run(args: &EventArgs) -> Result<Exit, CliError> {
    let mut out = std::io::stdout().lock();
    match &args.command {
        EventCommand::Map => write!(out, "{}", map::markdown())?,
        EventCommand::Explain { file } => {
            let place = file.as_ref().map_or("standard input".to_owned(), |path| path.display().to_string());
            let failed = |e: &dyn std::fmt::Display| {
                CliError::new(
                    format!("cannot explain {place}"),
                    e,
                    "give the bytes of one event's frame, as they were hashed",
                )
            };
            let mut bytes = Vec::new();
            let source: Box<dyn Read> = match file {
                Some(path) => Box::new(std::fs::File::open(path).map_err(|e| failed(&e))?),
                None => Box::new(std::io::stdin().lock()),
            };
            source.take(FRAME_MAX + 1).read_to_end(&mut bytes).map_err(|e| failed(&e))?;
            let frame = Frame::from_bytes(&bytes).map_err(|e| failed(&e))?;
            let text = explain::explain(&frame).map_err(|e| failed(&e))?;
            write!(out, "{}", output::escape(&text))?;
        }
    }
    Ok(Exit::Yes)
}
