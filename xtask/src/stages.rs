//! Named stages with their times, printed at the end whether or not they passed.

use crate::XtaskError;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs stages in order and remembers how long each took.
#[derive(Default)]
pub(crate) struct Stages {
    done: Vec<(String, Duration, bool)>,
}

impl Stages {
    /// Runs one stage; its failure ends the run after the times are printed.
    pub(crate) fn run(
        &mut self,
        name: &str,
        stage: impl FnOnce() -> Result<(), XtaskError>,
    ) -> Result<(), XtaskError> {
        eprintln!("==> {name}");
        let start = Instant::now();
        let result = stage();
        self.done.push((name.to_owned(), start.elapsed(), result.is_ok()));
        if result.is_err() {
            self.print();
        }
        result
    }

    /// Prints a line a stage and the sum.
    pub(crate) fn print(&self) {
        eprintln!("stages:");
        for (name, time, passed) in &self.done {
            eprintln!(
                "  {:<12} {:>7.1} s  {}",
                name,
                time.as_secs_f64(),
                if *passed { "ok" } else { "FAILED" }
            );
        }
        let sum: Duration = self.done.iter().map(|(_, time, _)| *time).sum();
        eprintln!("  {:<12} {:>7.1} s", "all", sum.as_secs_f64());
    }
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    // What cargo says now, not what it said when this was compiled: clones may share a target directory.
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = here.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// The directory of built programs: beside this one.
pub(crate) fn programs() -> Result<PathBuf, XtaskError> {
    let me = std::env::current_exe().map_err(|error| XtaskError::Io("finding this program".into(), error))?;
    Ok(me.parent().map(PathBuf::from).unwrap_or_default())
}

/// What `cargo run` sets for the program that it runs.
const OF_THIS_PACKAGE: [&str; 5] =
    ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_CRATE_NAME", "CARGO_BIN_NAME", "CARGO_PRIMARY_PACKAGE"];

/// `cargo ARGS` in the root, output shown.
pub(crate) fn cargo(name: &str, args: &[&str], env: &[(&str, &str)]) -> Result<(), XtaskError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What cargo told this program of its own package is nothing to the packages built next; build scripts that look at
    // it (ring's does) would be run again, and with them most of the tree compiled again, for every clone's path.
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if OF_THIS_PACKAGE.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&key);
        }
    }
    command.args(args).envs(env.iter().copied()).current_dir(root());
    let status =
        command.status().map_err(|error| XtaskError::Io(format!("starting cargo for {name}"), error))?;
    if status.success() { Ok(()) } else { Err(XtaskError::Stage(name.to_owned())) }
}

/// How the collector's parsers do over the sample cases.
pub(crate) fn score(faults: bool) -> Result<(), XtaskError> {
    let run = ["run", "-q", "--profile", "quick", "-p", "countersign-collect", "--example", "score", "--"];
    let more: &[&str] = if faults { &["--faults"] } else { &[] };
    cargo("score", &[&run, more].concat(), &[])
}
