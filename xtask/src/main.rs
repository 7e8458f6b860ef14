//! The project's own commands: `cargo xtask test`, `lint`, `bench`, `torture`, `score`, `scenario`, `tidy`.
//!
//! Each does its own set-up, prints how long its stages took, and ends with one line. Nothing here
//! ships, and nothing here is needed to build or run the product.

mod bench;
mod scenario;
mod stages;
mod test;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test               everything CI runs: packages, format, lints, build, all tests; prints each stage's time
  lint               format check and clippy only
  bench [WHAT]       ledger, gateway (of it alone: strict, slow), hostile, store, policy, framers, collect,
                     detect, verify or all (default); with
                     --quick the gateway's takes 90 s instead of 6 minutes, and says less exactly
  torture [--full]   the long repetitions: a seeded tenth, or with --full all of them
  score [--faults]   how the collector's parsers do over the sample cases; --faults lists each field not right
  scenario           made traffic as NDJSON, from --seed N, --days D, --mix NAME; --labels FILE for the truth; --help
  tidy               a report on the tree: lengths, unwraps, docs, tests; fails nothing

examples
  cargo xtask test
  cargo xtask bench gateway --quick
  cargo xtask torture --full
";

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XtaskError {
    /// A stage's command failed; it has printed why.
    #[error("stage `{0}` failed")]
    Stage(String),
    /// The machine lacks something that cannot be installed from here.
    #[error(transparent)]
    Testkit(#[from] countersign_testkit::TestkitError),
    /// Files could not be read or commands not started.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// A measurement did not hold what it must (a lost record, say).
    #[error("{0}")]
    Wrong(String),
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test"] => test::test(),
        ["lint"] => test::lint(),
        ["bench"] => bench::run("all", false),
        ["bench", "--quick"] => bench::run("all", true),
        ["bench", what] => bench::run(what, false),
        ["bench", what, "--quick"] | ["bench", "--quick", what] => bench::run(what, true),
        ["torture"] => test::torture(false),
        ["torture", "--full"] => test::torture(true),
        ["score"] => stages::score(false),
        ["score", "--faults"] => stages::score(true),
        ["scenario", rest @ ..] => scenario::run(rest),
        ["tidy"] => tidy::report(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprintln!("error: unknown command `{}`; cargo xtask --help lists them", other.join(" "));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
