//! Decisions with 1,000 policies, remembered and not, and how long policies take to load.

use super::{output, program};
use crate::XtaskError;
use std::process::Command;

pub(super) fn run() -> Result<(), XtaskError> {
    let output = output("bench_policy", &mut Command::new(program("examples/bench_policy")?))?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    if output.status.success() {
        return Ok(());
    }
    Err(XtaskError::Wrong(String::from_utf8_lossy(&output.stderr).into_owned()))
}
