//! `version`: this binary and the formats it writes.

use crate::args::{Format, Global};
use crate::exit::{CliError, Exit};
use crate::output;
use std::io::Write;

/// Prints version and formats.
pub(crate) fn run(global: &Global) -> Result<Exit, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    let schema = countersign_event::SCHEMA;
    let mut out = std::io::stdout().lock();
    match global.output {
        None | Some(Format::Text) => {
            writeln!(out, "countersign {version}\nevent schema {schema}, ledger format 1, evidence format 1")?
        }
        Some(format) => {
            let row = serde_json::json!({"version": version, "schema": schema, "ledger": 1, "evidence": 1});
            let columns = ["version", "schema", "ledger", "evidence"].map(String::from);
            output::rows(&mut out, format, &columns, &[row.as_object().cloned().unwrap_or_default()])?;
        }
    }
    Ok(Exit::Yes)
}
