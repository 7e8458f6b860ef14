//! `cargo xtask scenario`: made traffic on standard output, its truth in a file. The making is in the testkit.

use crate::XtaskError;
use countersign_event::json::to_json;
use countersign_testkit::scenario::{DAILY, DAYS, Faults, Mix, NODES, SCENARIOS, Scenario};
use std::io::{BufWriter, Write};
use std::time::Instant;

const HELP: &str = "\
cargo xtask scenario [OPTIONS] > events.ndjson

  --seed N          what all follows from (default 1; below 1,000 for tuning, from 1,000 on for reports)
  --mix NAME        background; all; or a scenario, with NAME/attack or NAME/near-miss for half of it
  --days D          days of the run (default 8); what is staged falls into the last
  --nodes N         services (default 40)
  --daily N         events a day, about (default 13000)
  --rough           records out of order, twice, late, and after holes
  --labels FILE     the truth, one JSON object a line
  --times FILE      the ledger's receive time of each event, ns since 1970, one a line
";

/// Runs the command with the words after it.
pub(crate) fn run(words: &[&str]) -> Result<(), XtaskError> {
    if matches!(words, ["help" | "--help" | "-h"]) {
        print!("{HELP}\nscenarios: {}\n", SCENARIOS.join(", "));
        return Ok(());
    }
    let mut scenario =
        Scenario { nodes: NODES, days: DAYS, daily: DAILY, ..Scenario::new(1, Mix::default()) };
    let (mut labels, mut times) = (None, None);
    let mut words = words.iter();
    while let Some(option) = words.next() {
        if *option == "--rough" {
            scenario.faults = Faults::ROUGH;
            continue;
        }
        let value = *words.next().ok_or_else(|| XtaskError::Wrong(format!("{option} needs a value")))?;
        match *option {
            "--seed" => scenario.seed = number(option, value)?,
            "--days" => scenario.days = number(option, value)?,
            "--nodes" => scenario.nodes = number(option, value)?,
            "--daily" => scenario.daily = number(option, value)?,
            "--mix" => scenario.mix = Mix::named(value).ok_or_else(|| unknown(value))?,
            "--labels" => labels = Some(value),
            "--times" => times = Some(file(value)?),
            _ => return Err(XtaskError::Wrong(format!("unknown option {option}\n\n{HELP}"))),
        }
    }
    print_all(&scenario, labels, times).map_err(|error| XtaskError::Io("writing the scenario".into(), error))
}

type Lines = BufWriter<std::fs::File>;

fn print_all(scenario: &Scenario, labels: Option<&str>, mut times: Option<Lines>) -> std::io::Result<()> {
    let (began, mut count) = (Instant::now(), 0_u64);
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let mut run = scenario.run();
    for record in run.by_ref() {
        out.write_all(to_json(&record.event).as_bytes())?;
        out.write_all(b"\n")?;
        if let Some(times) = &mut times {
            writeln!(times, "{}", record.ledger_ns)?;
        }
        count += 1;
    }
    out.flush()?;
    if let Some(mut times) = times {
        times.flush()?;
    }
    if let Some(path) = labels {
        let lines: Vec<String> = run.labels().iter().map(|label| label.to_json() + "\n").collect();
        std::fs::write(path, lines.concat())?;
    }
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("{count} events, {} labels, {seconds:.1} s", run.labels().len());
    Ok(())
}

fn file(path: &str) -> Result<Lines, XtaskError> {
    let file =
        std::fs::File::create(path).map_err(|error| XtaskError::Io(format!("creating {path}"), error))?;
    Ok(BufWriter::new(file))
}

fn number<T: std::str::FromStr>(option: &str, value: &str) -> Result<T, XtaskError> {
    value.parse().map_err(|_| XtaskError::Wrong(format!("{option} takes a whole number, not {value}")))
}

fn unknown(name: &str) -> XtaskError {
    XtaskError::Wrong(format!("no mix `{name}`; there are background, all, {}", SCENARIOS.join(", ")))
}
