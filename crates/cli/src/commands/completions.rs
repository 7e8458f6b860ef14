//! `completions`: a completion script, made from the declarations in `args.rs`.

use crate::args::{Cli, CompletionsArgs};
use crate::exit::{CliError, Exit};
use clap::CommandFactory;
use std::io::Write;

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "countersign", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Yes)
}
