//! Durable ingest with sealing on, and what an event weighs on disk.

use super::{output, program, temp};
use crate::XtaskError;
use std::process::Command;

pub(super) fn run() -> Result<(), XtaskError> {
    let dir = temp("bench-ledger")?;
    let mut command = Command::new(program("examples/bench_ingest")?);
    command.arg(dir.path());
    let output = output("bench_ingest", &mut command)?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    if output.status.success() {
        return Ok(());
    }
    Err(XtaskError::Wrong(String::from_utf8_lossy(&output.stderr).into_owned()))
}
