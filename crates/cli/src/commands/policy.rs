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

/// Groups of calls, by caller, operation, resource and day. A finding names one event (`links.of`) and stands for more
/// of its kind, so all calls of the group on that day are flagged with it; whatever the severity, and also when it is
/// resolved, since that does not make them lawful.
const SEEN_SQL: &str = "select e.who, e.who_kind, e.verified, e.op, e.protocol, e.class, e.service, e.resource, \
    cast(to_unixtime(e.time) / 86400 as bigint) as day, sum(e.\"count\") as calls, count(f.id) as flagged \
    from events e left join (select distinct \"of\" as id from findings where \"of\" is not null) f on e.id = f.id \
    where e.rec in ('interaction', 'outcome') and e.who <> '' \
    group by e.who, e.who_kind, e.verified, e.op, e.protocol, e.class, e.service, e.resource, day \
    order by e.who, e.op, e.service, e.resource, day";

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
        "{} permits from {} calls at size {}: {} covered, {} not verified, {} flagged by findings, {} too rare, {} that other days alone would deny\n\
         read    {}\nnumbers {}\nsign    {}\nNothing is in force yet: read it, then countersign policy sign and countersign policy adopt.\n",
        proposal.permits,
        totals.seen,
        answer.at,
        totals.covered,
        totals.unverified,
        totals.flagged,
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
    flagged: bool,
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
            // An answer that does not say is no reason to trust.
            flagged: number("flagged") != Some(0),
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
            flagged: self.flagged,
            calls: self.calls,
        }
    }
}

pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::{Event, Kind, Outcome, Principal, Rec};
    use countersign_ledger::{Kek, Ledger, Options as LedgerOptions, Source, SourceSpec};
    use countersign_store::{SqlRequest, Store, StoreOptions};

    const DAY_NS: u64 = 86_400_000_000_000;

    fn call(op: &str, day: u64) -> Event {
        let mut event = Event::default();
        event.core.t_obs = (20_000 + day) * DAY_NS + 5;
        event.core.rec = Some(Rec::Interaction);
        event.core.kind = Some(Kind::Http);
        event.core.op = op.to_owned();
        event.core.outcome = Some(Outcome::Success);
        event.who.who = Some(Principal::new("spiffe://example.org/a", Verified::Bound));
        event.target.svc = "orders".to_owned();
        event
    }

    fn finding(of: [u8; 16]) -> Event {
        let mut event = call("detector", 9);
        event.core.rec = Some(Rec::Finding);
        event.links.of = Some(of);
        event
    }

    fn record(source: &Source, store: &Store, events: Vec<Event>) -> u64 {
        let ack = source.record_wait(events).unwrap();
        assert!(ack.rejected.is_empty(), "{:?}", ack.rejected);
        assert!(store.wait_visible(ack.first + ack.count, std::time::Duration::from_secs(60)));
        ack.first
    }

    #[test]
    fn what_a_finding_names_is_not_learned_from_and_what_none_names_is() {
        let dir = tempfile::tempdir().unwrap();
        let kek = Kek::from_bytes([42; 32]);
        let (ledger, _) = Ledger::open(dir.path(), kek, LedgerOptions::new("example.org/test/1")).unwrap();
        let store = Store::open(dir.path(), ledger.clone(), StoreOptions::default()).unwrap();
        let source = |agent: &str, n: u8| {
            ledger.register(SourceSpec { identity: agent.to_owned(), stream: [n; 16] }).unwrap()
        };
        let (gateway, detect) = (source("gw", 1), source("countersign:detect", 2));
        let calls = vec![call("GET", 0), call("GET", 0), call("GET", 1), call("DELETE", 0)];
        let first = record(&gateway, &store, calls);
        let eid = |index: u64| store.get(index).unwrap().unwrap().event.unwrap().core.eid;
        // Twice the same event: a finding and its revision.
        record(&detect, &store, vec![finding(eid(first + 1)), finding(eid(first + 1)), finding([9; 16])]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rows = runtime.block_on(store.sql(SqlRequest::new(SEEN_SQL))).unwrap();
        let rows: Vec<Row> = serde_json::from_str(&rows.to_json()).unwrap();
        let groups: Vec<_> = rows.iter().filter_map(Group::read).collect();
        let told: Vec<_> = groups.iter().map(|g| (g.op.as_str(), g.day, g.calls, g.seen().flagged)).collect();
        assert_eq!(told, [("DELETE", 20_000, 1, false), ("GET", 20_000, 2, true), ("GET", 20_001, 1, false)]);
        let options = Options { min_calls: 1, min_days: 1, ..Options::default() };
        let proposal = learn::propose(groups.iter().map(Group::seen), &options);
        assert_eq!((proposal.totals.seen, proposal.totals.flagged), (4, 2));
        store.shutdown();
        ledger.shutdown().unwrap();
    }
}
