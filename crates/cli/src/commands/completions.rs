//! `completions` and `reference`: a completion script and the reference page, made from the declarations in
//! `args.rs`.

use crate::args::{Cli, CompletionsArgs, page};
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

/// Prints the reference page.
pub(crate) fn reference() -> Result<Exit, CliError> {
    std::io::stdout().lock().write_all(page().as_bytes())?;
    Ok(Exit::Yes)
}
