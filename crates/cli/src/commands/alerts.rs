//! `alerts`: what people were told, who knows of it, what is silenced, and what was never delivered.
//!
//! All of it is the running server's: it holds the queues. What is done here is an event in the ledger.

use crate::access::directory::Directory;
use crate::access::http::Client;
use crate::access::{SOCKET, server};
use crate::args::{AlertsArgs, AlertsCommand, Format, Global};
use crate::config::units::parse_span_ms;
use crate::config::{self, Config};
use crate::exit::{CliError, Exit};
use crate::output::{self, Row};
use crate::stages::detect::events;
use crate::stages::rules::{compile, configured};
use countersign_detect::{Detector, Hmac, Rules};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

/// Entries read at once.
const SCAN: u64 = 4_096;

/// Runs the sub-command.
pub(crate) fn run(global: &Global, args: &AlertsArgs) -> Result<Exit, CliError> {
    let config = config::resolve(global)?;
    let server = Asked::open(&config)?;
    let by = std::env::var("USER").unwrap_or_default();
    match args.command.as_ref().unwrap_or(&AlertsCommand::List) {
        AlertsCommand::List => server.list(global, "open", Some("matters")),
        AlertsCommand::Receivers => server.list(global, "open", Some("receivers")),
        AlertsCommand::Sum => server.sum(),
        AlertsCommand::Dead => server.list(global, "dead", None),
        AlertsCommand::Silences => server.list(global, "silences", None),
        AlertsCommand::Precision => server.list(global, "precision", None),
        AlertsCommand::Resend { receiver, id } => {
            server.act("resend", json!({ "receiver": receiver, "id": id }), "queued again")
        }
        AlertsCommand::Ack { target, note } => {
            server.act("ack", json!({ "target": target, "note": note, "by": by }), "acknowledged")
        }
        AlertsCommand::Silence { rule, service, caller, label, tenant, severity, reason, time } => {
            let seconds = seconds(time)?;
            let body = json!({ "rule": rule, "service": service, "caller": caller, "label": label, "tenant": tenant,
                "severity": severity, "reason": reason, "seconds": seconds, "by": by });
            let made = server.post("silence", body)?;
            writeln!(std::io::stdout().lock(), "{}", output::plain(made.get("id")))?;
            Ok(Exit::Yes)
        }
        AlertsCommand::Change { service, reason, time } => {
            let body = json!({ "service": service, "reason": reason, "seconds": seconds(time)?, "by": by });
            server.act("change", body, "announced")
        }
        AlertsCommand::Expire { id } => server.act("expire", json!({ "id": id, "by": by }), "ended"),
        AlertsCommand::Feedback { index, answer, why } => {
            let body = json!({ "index": index, "answer": answer, "why": why, "by": by });
            server.act("feedback", body, "recorded")
        }
        AlertsCommand::Propose { rule, days } => propose(global, &config, &server, rule, *days),
    }
}

fn seconds(time: &str) -> Result<u64, CliError> {
    let ms = parse_span_ms(time);
    ms.map(|ms| ms / 1_000)
        .ok_or_else(|| CliError::Failed(format!("`{time}` is no time: write 30m, 2h or 7d")))
}

/// The server.
struct Asked(Client);

impl Asked {
    fn open(config: &Config) -> Result<Asked, CliError> {
        let client = Client::connect(&config.data.join(SOCKET)).ok_or_else(|| {
            CliError::new(
                format!("no server runs on {}", config.data.display()),
                "alerts are delivered by a running server",
                "start one with countersign run; what was found is shown without: countersign findings",
            )
        })?;
        Ok(Asked(client))
    }

    fn get(&self, what: &str) -> Result<Value, CliError> {
        let response = self.0.get(&format!("/api/v1/alerts/{what}"), "application/json")?;
        Ok(server::parsed(response)?["data"].take())
    }

    fn post(&self, deed: &str, body: Value) -> Result<Value, CliError> {
        let response =
            self.0.post(&format!("/api/v1/alerts/{deed}"), "application/json", &body.to_string())?;
        Ok(server::parsed(response)?["data"].take())
    }

    fn act(&self, deed: &str, body: Value, done: &str) -> Result<Exit, CliError> {
        self.post(deed, body)?;
        eprintln!("{done}");
        Ok(Exit::Yes)
    }

    /// A list as rows; what is nested stands flat.
    fn list(&self, global: &Global, what: &str, part: Option<&str>) -> Result<Exit, CliError> {
        let mut shown = self.get(what)?;
        let shown = part.map_or(shown.clone(), |part| shown[part].take());
        let rows: Vec<Row> = shown.as_array().into_iter().flatten().map(flat).collect();
        let format = output::format(global);
        if rows.is_empty() {
            if format == Format::Text && !global.quiet {
                eprintln!("none");
            }
            return Ok(Exit::No);
        }
        output::rows(&mut std::io::stdout().lock(), format, &[], &rows)?;
        Ok(Exit::Yes)
    }

    /// `fired = delivered + …`; exit 1 if it does not hold.
    fn sum(&self) -> Result<Exit, CliError> {
        let shown = self.get("open")?;
        let sums = &shown["sums"];
        let n = |name: &str| output::plain(sums.get(name));
        writeln!(
            std::io::stdout().lock(),
            "{} fired = {} delivered + {} merged + {} inhibited + {} silenced + {} dead + {} pending + {} summarised",
            n("fired"),
            n("delivered"),
            n("merged"),
            n("inhibited"),
            n("silenced"),
            n("dead"),
            n("pending"),
            n("summarised")
        )?;
        Ok(if sums["conserved"] == json!(true) { Exit::Yes } else { Exit::No })
    }
}

fn flat(of: &Value) -> Row {
    let mut row = Row::new();
    for (name, value) in of.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(inner) => {
                for (under, value) in inner.iter().filter(|(_, value)| !is_empty(value)) {
                    row.insert(
                        if name == "sums" { under.clone() } else { format!("{name}.{under}") },
                        value.clone(),
                    );
                }
            }
            None => {
                row.insert(name.clone(), value.clone());
            }
        }
    }
    row
}

fn is_empty(value: &Value) -> bool {
    value.as_str() == Some("") || value.as_u64() == Some(0)
}

/// A filter for what people called false, held against everything recorded: what it would have hidden. It is refused if
/// that is anything that people called true. Nothing is changed: a person puts the text beside the rules.
fn propose(
    global: &Global,
    config: &Config,
    server: &Asked,
    rule: &str,
    days: u64,
) -> Result<Exit, CliError> {
    let made = server.post("propose", json!({ "rule": rule, "days": days }))?;
    let text = made["text"].as_str().unwrap_or_default().to_owned();
    let directory = Directory::open(config)?;
    let key = directory.ledger().digest_key();
    let hmac: Hmac = Arc::new(move |bytes: &[u8]| key.hmac(bytes));
    let texts: Vec<(String, String)> =
        configured(config)?.into_iter().filter(|(_, text)| text.contains(rule)).collect();
    if texts.is_empty() {
        return Err(CliError::new(
            format!("{rule} is no Sigma rule"),
            "a filter narrows a rule; a detector is narrowed by its parameters or by a silence",
            "countersign alerts silence --rule RULE --for 7d --reason WHY",
        ));
    }
    let filtered = [texts.clone(), vec![("proposed filter".to_owned(), text.clone())]].concat();
    let set = |texts: &[(String, String)]| -> Result<Rules, CliError> {
        let compiled = compile(texts, config.placeholders.clone(), Arc::clone(&hmac));
        match compiled.refused.first() {
            Some(refused) => {
                Err(CliError::new("the filter does not run", refused, "report this; it is a defect"))
            }
            None => Ok(Rules::new(compiled.rules, Arc::clone(&hmac))),
        }
    };
    let (mut without, mut with) = (set(&texts)?, set(&filtered)?);
    let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
    let size = directory.ledger().size();
    let mut at = 0;
    while at < size {
        let end = at.saturating_add(SCAN).min(size);
        let records = directory
            .store()
            .scan(at, end)
            .map_err(|e| CliError::new("cannot read the ledger", e, "run countersign fsck"))?;
        let events = events(&records);
        // Evidence names a finding in both: a filter changes its rule's hash, and with it the id.
        let evidence = |rules: &mut Rules| -> Vec<u64> {
            rules.batch(&events).into_iter().filter(|f| f.rule.id == rule).map(|f| f.evidence.first).collect()
        };
        before.extend(evidence(&mut without));
        after.extend(evidence(&mut with));
        at = end;
    }
    let hidden: Vec<u64> = before.difference(&after).copied().collect();
    let truths = truths(&directory, &made["opinions"], rule)?;
    let wrongly: Vec<String> = hidden.iter().filter(|at| truths.contains(at)).map(u64::to_string).collect();
    if !wrongly.is_empty() {
        return Err(CliError::Failed(format!(
            "refused: over {size} entries the filter would have hidden findings that people called true, evidence at {}",
            wrongly.join(", ")
        )));
    }
    write!(std::io::stdout().lock(), "{}", output::escape(&text))?;
    if !global.quiet {
        eprintln!(
            "over {size} entries it would have hidden {} of {} findings, none of which people called true; to use it, \
             put it into a file that detect.rules names",
            hidden.len(),
            before.len()
        );
    }
    Ok(Exit::Yes)
}

/// Evidence of the findings of this rule that people called true.
fn truths(directory: &Directory, opinions: &Value, rule: &str) -> Result<BTreeSet<u64>, CliError> {
    let mut out = BTreeSet::new();
    for opinion in opinions.as_array().into_iter().flatten() {
        if opinion["rule"] != json!(rule) || opinion["answer"] != json!("true") {
            continue;
        }
        let Some(index) = opinion["index"].as_u64() else { continue };
        let found = directory
            .store()
            .get(index)
            .map_err(|e| CliError::new("cannot read a finding", e, "run countersign fsck"))?;
        let of = found.and_then(|stored| stored.event).and_then(|event| event.links.of);
        if let Some(eid) = of {
            let at = directory.store().find_eid(eid).map_err(|e| {
                CliError::new("cannot read the evidence of a finding", e, "run countersign fsck")
            })?;
            out.extend(at);
        }
    }
    Ok(out)
}
