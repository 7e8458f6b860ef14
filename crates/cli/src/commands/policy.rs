//! `policy`: the schema, a check of the files, expected verdicts, and permits proposed from the ledger.

use super::signing;
use crate::access::Access;
use crate::args::{Global, PolicyArgs, PolicyCommand};
use crate::config;
use crate::exit::{CliError, Exit};
use crate::output::Row;
use countersign_event::{Class, PrincipalKind, Verified};
use countersign_policy::learn::{self, Options, Seen};
use countersign_policy::{Modes, PolicyConfig, PolicySet, cases, check, schema_text};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Largest file of cases that is read, bytes.
const CASES_MAX: u64 = 8 << 20;

/// Groups of calls, by caller, operation, resource and day. Findings name events, so a flagged group is one
/// that any finding names.
const SEEN_SQL: &str = "select who, who_kind, verified, op, protocol, class, service, resource, \
    cast(to_unixtime(time) / 86400 as bigint) as day, sum(count) as calls \
    from events where rec in ('interaction', 'outcome') and who <> '' \
    group by who, who_kind, verified, op, protocol, class, service, resource, day \
    order by who, op, service, resource, day";

/// Runs the sub-command.
pub(crate) fn run(global: &Global, args: &PolicyArgs) -> Result<Exit, CliError> {
    match &args.command {
        PolicyCommand::Schema => {
            print(schema_text())?;
            Ok(Exit::Yes)
        }
        PolicyCommand::Check => check_files(global),
        PolicyCommand::Test { cases } => test(global, cases),
        PolicyCommand::Keygen { name, out } => signing::keygen(name, out),
        PolicyCommand::Sign { proposal, with } => signing::sign(proposal, with),
        PolicyCommand::Adopt { proposal, to } => signing::take_over(global, proposal, to.as_deref()),
        PolicyCommand::Learn { out, min_calls, min_days } => {
            let options = Options {
                min_calls: (*min_calls).max(1),
                min_days: (*min_days).max(1),
                ..Options::default()
            };
            propose(global, out, &options)
        }
    }
}

pub(super) fn configured(global: &Global) -> Result<PolicyConfig, CliError> {
    let config = config::resolve(global)?;
    if config.policies.is_empty() {
        return Err(CliError::Failed(
            "no policies are configured: name files with `policy.files` in --config".into(),
        ));
    }
    Ok(PolicyConfig {
        policies: config.policies,
        entities: config.entities,
        modes: Modes::default(),
        signers: config.signers,
        ..PolicyConfig::default()
    })
}

fn check_files(global: &Global) -> Result<Exit, CliError> {
    let found = configured(global)?.read().and_then(|sources| check(&sources));
    match found {
        Ok(warnings) => {
            for warning in &warnings {
                print(&format!("warning: {warning}\n"))?;
            }
            print("the policies are valid\n")?;
            Ok(if warnings.is_empty() { Exit::Yes } else { Exit::No })
        }
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Err(CliError::Failed(lines.join("\n")))
        }
    }
}

fn test(global: &Global, path: &Path) -> Result<Exit, CliError> {
    let set = PolicySet::load(configured(global)?).map_err(|e| CliError::Failed(e.to_string()))?;
    let text = config::read_bounded(path, CASES_MAX)?;
    let name = path.display().to_string();
    let results = cases::run(&set, &name, &text).map_err(|e| CliError::Failed(e.to_string()))?;
    let failed = results.iter().filter(|r| !r.passed).count();
    for result in &results {
        let word = if result.passed { "ok  " } else { "FAIL" };
        let decision = &result.decision;
        print(&format!(
            "{word} {}: expected {}, is {} ({})\n",
            result.name,
            result.expected,
            decision.verdict.map_or("none", |v| v.word()),
            decision.reason
        ))?;
    }
    print(&format!("{} cases, {failed} failed\n", results.len()))?;
    Ok(if failed == 0 { Exit::Yes } else { Exit::No })
}

/// Writes the proposal beside each other: the permits, the numbers behind them, and the text that a person signs.
fn propose(global: &Global, out: &Path, options: &Options) -> Result<Exit, CliError> {
    let answer = Access::open(global)?.sql(SEEN_SQL, None)?;
    let rows: Vec<Group> = answer.rows.iter().filter_map(Group::read).collect();
    let proposal = learn::propose(rows.iter().map(Group::seen), options);
    let write = |extension: &str, text: &str| -> Result<PathBuf, CliError> {
        let path = out.with_extension(extension);
        std::fs::write(&path, text).map_err(|e| {
            CliError::new(format!("cannot write {}", path.display()), e, "choose another place with --out")
        })?;
        Ok(path)
    };
    let cedar = write("cedar", &proposal.cedar)?;
    let report = write("json", &proposal.report)?;
    let note = write("note", &proposal.note())?;
    let totals = proposal.totals;
    print(&format!(
        "{} permits from {} calls at size {}: {} covered, {} not verified, {} too rare, {} that other days alone would deny\n\
         read    {}\nnumbers {}\nsign    {}\nNothing is in force yet: read it, then countersign policy sign and countersign policy adopt.\n",
        proposal.permits,
        totals.seen,
        answer.at,
        totals.covered,
        totals.unverified,
        totals.rare,
        totals.left_out_denials,
        cedar.display(),
        report.display(),
        note.display()
    ))?;
    Ok(if proposal.permits == 0 { Exit::No } else { Exit::Yes })
}

/// One row of the question.
struct Group {
    who: String,
    kind: Option<PrincipalKind>,
    verified: Verified,
    op: String,
    proto: String,
    class: Option<Class>,
    svc: String,
    res: String,
    day: u32,
    calls: u64,
}

impl Group {
    /// `None` for a row without a verified level: nothing can be learned from it.
    fn read(row: &Row) -> Option<Group> {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| row.get(name).and_then(Value::as_u64);
        Some(Group {
            who: text("who"),
            kind: PrincipalKind::from_word(&text("who_kind")),
            verified: Verified::from_code(number("verified")?)?,
            op: text("op"),
            proto: text("protocol"),
            class: Class::from_word(&text("class")),
            svc: text("service"),
            res: text("resource"),
            day: u32::try_from(number("day")?).ok()?,
            calls: number("calls").unwrap_or(1),
        })
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            principal: &self.who,
            kind: self.kind,
            verified: self.verified,
            operation: &self.op,
            protocol: &self.proto,
            class: self.class,
            service: &self.svc,
            resource: &self.res,
            day: self.day,
            flagged: false,
            calls: self.calls,
        }
    }
}

pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush())?)
}
