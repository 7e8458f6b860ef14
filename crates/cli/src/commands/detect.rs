//! `detect`: detection once more over what was recorded, with the code of the live stream.
//!
//! Read-only, beside a running server or without one. Since findings are a function of the ledger and the configuration,
//! what comes up must be what the ledger holds; a difference is told and is the exit code.

use crate::access::directory::Directory;
use crate::args::{DetectArgs, DetectCommand, Format, Global};
use crate::config::{self, Config};
use crate::exit::{CliError, Exit};
use crate::output;
use crate::stages::detect::{detectors, events, first_seen_config, read_back};
use crate::stages::rules::{compile, read};
use countersign_detect::{Detector, Finding, FirstSeen, Hmac, Rules};
use countersign_event::{Event, Rec};
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Progress is told so often.
const TELL: Duration = Duration::from_secs(5);

/// What is looked at, and how.
struct Span {
    from: u64,
    to: u64,
    batch: u64,
}

/// Runs the sub-command.
pub(crate) fn run(global: &Global, args: &DetectArgs) -> Result<Exit, CliError> {
    let DetectCommand::Replay { from, to, rules, batch } = &args.command;
    let config = config::resolve(global)?;
    let directory = Directory::open(&config)?;
    let size = directory.ledger().size();
    let span = Span { from: *from, to: to.unwrap_or(size).min(size), batch: *batch };
    if span.from > span.to {
        return Err(CliError::Failed(format!(
            "--from {} is behind the end, {}: give an index of the ledger",
            span.from, span.to
        )));
    }
    let replay = Replay::over(&config, &directory, rules)?;
    replay.run(global, span)
}

struct Replay<'d> {
    directory: &'d Directory,
    detectors: Vec<Box<dyn Detector>>,
    /// Whether the ledger must hold what is found.
    expected: bool,
}

impl<'d> Replay<'d> {
    fn over(config: &Config, directory: &'d Directory, rules: &[PathBuf]) -> Result<Replay<'d>, CliError> {
        let key = directory.ledger().digest_key();
        let hmac: Hmac = Arc::new(move |bytes: &[u8]| key.hmac(bytes));
        if rules.is_empty() {
            let mut all = detectors(config, &hmac)?;
            all.insert(0, Box::new(FirstSeen::new(first_seen_config(config), hmac)));
            return Ok(Replay { directory, detectors: all, expected: true });
        }
        let compiled = compile(&read(rules)?, config.placeholders.clone(), Arc::clone(&hmac));
        if let Some(refused) = compiled.refused.first() {
            return Err(CliError::new(
                "a rule does not run",
                refused,
                "countersign rules check PATH lists them all",
            ));
        }
        let rules: Box<dyn Detector> = Box::new(Rules::new(compiled.rules, hmac));
        Ok(Replay { directory, detectors: vec![rules], expected: false })
    }

    fn run(mut self, global: &Global, span: Span) -> Result<Exit, CliError> {
        let (ledger, store) = (self.directory.ledger(), self.directory.store());
        // Rules need only their windows before the range, baselines everything.
        let begin = if self.expected { 0 } else { span.from };
        read_back(&mut self.detectors, ledger, store, begin)?;
        let mut out = BufWriter::new(std::io::stdout().lock());
        let format = output::format(global);
        let mut sums = Sums::default();
        let (mut at, mut told) = (begin, Instant::now());
        while at < span.to {
            let end = at.saturating_add(span.batch).min(span.to);
            let records = store
                .scan(at, end)
                .map_err(|e| CliError::new("cannot read the ledger", e, "run countersign fsck"))?;
            let events = events(&records);
            sums.events += events.len() as u64;
            if self.expected {
                events.iter().for_each(|(_, _, event)| sums.recorded(event));
            }
            for detector in &mut self.detectors {
                for finding in detector.batch(&events) {
                    if finding.evidence.last >= span.from {
                        print(&mut out, format, &finding)?;
                    }
                    sums.came_up(&finding, span.from);
                }
            }
            at = end;
            if told.elapsed() >= TELL && !global.quiet {
                told = Instant::now();
                eprintln!("looked at {} of {} entries", at - begin, span.to - begin);
            }
        }
        out.flush()?;
        sums.tell(global, &span, self.expected)
    }
}

/// What came up, and what the ledger holds, by event id.
#[derive(Default)]
struct Sums {
    events: u64,
    found: BTreeMap<[u8; 16], String>,
    held: BTreeMap<[u8; 16], u64>,
}

impl Sums {
    /// A finding in the ledger.
    fn recorded(&mut self, event: &Event) {
        if event.core.rec == Some(Rec::Finding) && event.core.agent == countersign_detect::AGENT {
            self.held.insert(event.core.eid, 0);
        }
    }

    fn came_up(&mut self, finding: &Finding, from: u64) {
        if finding.evidence.last >= from {
            self.found.insert(finding.to_event().core.eid, finding.rule.id.to_string());
        }
    }

    fn tell(&self, global: &Global, span: &Span, expected: bool) -> Result<Exit, CliError> {
        let found = self.found.len();
        if !global.quiet {
            eprintln!("{found} findings in {} events, entries {} to {}", self.events, span.from, span.to);
        }
        if !expected || span.from > 0 {
            return Ok(Exit::Yes);
        }
        let lacking = self.found.keys().filter(|eid| !self.held.contains_key(*eid)).count();
        let gone = self.held.keys().filter(|eid| !self.found.contains_key(*eid)).count();
        if !global.quiet {
            eprintln!(
                "{} of them are in the ledger; {lacking} are not, {gone} of the ledger did not come up{}",
                found - lacking,
                if lacking + gone == 0 {
                    ""
                } else {
                    ": the configuration of detection is another, or the end was not yet looked at"
                }
            );
        }
        Ok(if lacking + gone == 0 { Exit::Yes } else { Exit::No })
    }
}

fn print(out: &mut impl Write, format: Format, finding: &Finding) -> Result<(), CliError> {
    let event = finding.to_event();
    let mut row = super::findings::describe(finding.evidence.last, None, &event);
    row.remove("time");
    row.insert("evidence_indices".to_owned(), serde_json::json!(finding.evidence.indices));
    let word = |name: &str| output::plain(row.get(name));
    if format == Format::Text {
        let line = format!(
            "{:>8}  {:<13} {:<8} {}: {}",
            word("index"),
            word("severity"),
            word("state"),
            word("rule"),
            word("what")
        );
        writeln!(out, "{}", output::escape_line(&line))?;
    } else {
        writeln!(out, "{}", serde_json::Value::Object(row.into_iter().collect()))?;
    }
    Ok(())
}
