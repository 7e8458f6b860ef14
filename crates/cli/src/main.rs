//! The `countersign` binary: configuration, roles, commands. The data path itself is `pipeline.rs`;
//! everything it is made of lives in the crates below.
//!
//! Results go to standard output, all else to standard error. Exit codes: `exit.rs`.

mod args;
mod commands;
mod config;
mod exit;
mod output;

use args::{Cli, Command};
use clap::Parser;
use exit::{CliError, Exit};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            if !error.is_silent() {
                eprintln!("error: {}", output::escape(&error.to_string()));
            }
            ExitCode::from(error.code())
        }
    }
}

fn dispatch(cli: Cli) -> Result<Exit, CliError> {
    let global = &cli.global;
    match cli.command {
        Command::Check(args) => commands::check::run(global, &args),
        Command::Version => commands::version::run(global),
        Command::Completions(args) => commands::completions::run(&args),
        _ => Err(CliError::Failed("not built yet".into())),
    }
}
