//! The `countersign` binary: configuration, roles, commands. The data path itself is `pipeline.rs`;
//! everything it is made of lives in the crates below.
//!
//! Results go to standard output, all else to standard error. Exit codes: `exit.rs`.

mod access;
mod args;
mod commands;
mod config;
mod demo;
mod exit;
mod local;
mod log;
mod output;
mod pipeline;
mod signals;
mod stages;
mod upgrade;

use args::{Cli, Command};
use clap::Parser;
use exit::{CliError, Exit};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse_from(args::words(std::env::args_os()));
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
        Command::Run(args) => commands::run::run(global, &args),
        Command::Demo(args) => commands::demo::run(global, &args),
        Command::Check(args) => commands::check::run(global, &args),
        Command::Q(args) => commands::q::run(global, &args),
        Command::Sql(args) => commands::sql::run(global, &args),
        Command::Tail(args) => commands::tail::run(global, &args),
        Command::Show(args) => commands::show::run(global, &args),
        Command::Prove(args) => commands::prove::run(global, &args),
        Command::Export(args) => commands::export::run(global, &args),
        Command::Event(args) => commands::event::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Fsck(args) => commands::fsck::run(global, &args),
        Command::Mcp(args) => commands::mcp::run(global, &args),
        Command::Parse(args) => commands::parse::run(global, &args),
        Command::Policy(args) => commands::policy::run(global, &args),
        Command::Rules(args) => commands::rules::run(global, &args),
        Command::Findings(args) => commands::findings::run(global, &args),
        Command::Alerts(args) => commands::alerts::run(global, &args),
        Command::Coverage(args) => commands::coverage::run(global, &args),
        Command::Slo => commands::coverage::levels(global),
        Command::Detect(args) => commands::detect::run(global, &args),
        Command::Doctor(args) => commands::doctor::run(global, &args),
        Command::Status(args) => commands::status::run(global, &args),
        Command::Version => commands::version::run(global),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Reference => commands::completions::reference(),
    }
}
