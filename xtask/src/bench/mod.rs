//! `bench`: rates and sizes beside the machine's own limits, and beside the peer in the same run.
//!
//! Timing decides nothing here: bars are printed next to results. What does fail a bench is a lost
//! record, because a lossy run has no rate.

mod collect;
mod detect;
mod gateway;
mod ledger;
mod machine;
mod policy;
mod verify;

use crate::XtaskError;
use crate::stages::{cargo, programs};
use countersign_testkit::TempDir;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs one bench, or all; `quick` = the long ones with fewer and shorter rounds.
pub(crate) fn run(what: &str, quick: bool) -> Result<(), XtaskError> {
    let known = [
        "all", "ledger", "gateway", "strict", "slow", "hostile", "store", "verify", "policy", "framers",
        "collect", "detect",
    ];
    if !known.contains(&what) {
        return Err(XtaskError::Wrong(format!("no bench named `{what}`; known: {}", known.join(", "))));
    }
    build(what)?;
    machine::print()?;
    if matches!(what, "all" | "ledger" | "store") {
        ledger::run()?;
    }
    if matches!(what, "all" | "gateway") {
        gateway::run(gateway::Scale { quick })?;
    }
    if matches!(what, "strict" | "slow") {
        gateway::part(what, gateway::Scale { quick })?;
    }
    if matches!(what, "all" | "hostile") {
        gateway::hostile()?;
    }
    if matches!(what, "all" | "policy") {
        policy::run()?;
    }
    if matches!(what, "all" | "framers") {
        example("framers")?;
    }
    if matches!(what, "all" | "collect") {
        collect::run()?;
    }
    if matches!(what, "all" | "detect") {
        detect::run(quick)?;
    }
    if matches!(what, "all" | "verify") {
        verify::run()?;
    }
    Ok(())
}

/// Builds what a bench runs. The gateway's needs only light crates; the product is measured beside them where
/// it has been built before.
fn build(what: &str) -> Result<(), XtaskError> {
    let quick = ["build", "--profile", "quick"];
    let targets: &[&str] = match what {
        "gateway" | "strict" | "slow" | "hostile" => &["-p", "countersign-gateway", "--example", "edge"],
        "framers" => &["-p", "countersign-wire", "--example", "framers"],
        "collect" => &["-p", "countersign-collect", "--example", "bench_collect"],
        _ => &["--workspace", "--bins", "--examples"],
    };
    cargo("build", &[&quick, targets].concat(), &[])
}

/// Runs an example that measures one thread's work by itself: framers' bytes a second, records to events.
fn example(name: &str) -> Result<(), XtaskError> {
    let output = output(name, &mut Command::new(program(&format!("examples/{name}"))?))?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    if output.status.success() {
        return Ok(());
    }
    Err(XtaskError::Wrong(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// What is being measured now, for whoever waits.
fn progress(what: &str) {
    eprintln!("==> {what}");
}

/// One result beside its bar.
fn row(name: &str, result: &str, bar: &str) {
    println!("  {name:<44} {result:>26}   bar: {bar}");
}

/// A `countersign` with state and key in `home`, never the user's own.
fn countersign(home: &Path) -> Result<Command, XtaskError> {
    let mut command = Command::new(program("countersign")?);
    command.env("XDG_CONFIG_HOME", home.join("config")).env("XDG_STATE_HOME", home.join("state"));
    Ok(command)
}

fn program(name: &str) -> Result<PathBuf, XtaskError> {
    Ok(programs()?.join(name))
}

fn output(what: &str, command: &mut Command) -> Result<Output, XtaskError> {
    command.output().map_err(|error| XtaskError::Io(format!("starting {what}"), error))
}

fn temp(label: &str) -> Result<TempDir, XtaskError> {
    Ok(TempDir::new(label)?)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
