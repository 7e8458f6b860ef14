//! `coverage`: what should be on record, what is, and what only a witness saw; `slo`: what was promised, and what became
//! of it.
//!
//! Answered by the running server's detection; without one, by running the same detector over the ledger.

use crate::access::directory::Directory;
use crate::access::http::Client;
use crate::access::{SOCKET, server};
use crate::args::{CoverageArgs, Format, Global};
use crate::config::{self, Config};
use crate::exit::{CliError, Exit};
use crate::output::{self, Row};
use crate::stages::detect::{events, expected, levels as slos};
use countersign_detect::coverage::{Coverage, CoverageConfig};
use countersign_detect::slo::{BurnRate, BurnRateConfig};
use countersign_detect::{Detector, Hmac};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;

/// Entries read at once.
const SCAN: u64 = 4_096;

/// Prints the report; exit code 1 while there are blind spots, or nobody looks.
pub(crate) fn run(global: &Global, args: &CoverageArgs) -> Result<Exit, CliError> {
    let config = config::resolve(global)?;
    let report = report(&config, "coverage", |config, hmac| {
        let documents = expected(config)?;
        if documents.is_empty() && config.coverage.witnesses.is_empty() {
            return Ok(None);
        }
        Ok(Some(Box::new(Coverage::new(CoverageConfig::default(), Arc::new(documents), hmac))))
    })?;
    if report.is_null() {
        return Err(CliError::new(
            "coverage is unknown",
            "neither a witness nor what is expected is configured",
            "add [[witness]] or coverage.expected: countersign check explain witness[].kind",
        ));
    }
    if output::format(global) != Format::Text {
        writeln!(std::io::stdout().lock(), "{report}")?;
    } else {
        text(&report, args.all)?;
    }
    let blind = report["blind_spots"].as_array().is_some_and(|spots| !spots.is_empty());
    Ok(if blind || report["coverage"].is_null() { Exit::No } else { Exit::Yes })
}

/// Prints the promises; exit code 1 if the budget of one is gone.
pub(crate) fn levels(global: &Global) -> Result<Exit, CliError> {
    let config = config::resolve(global)?;
    let report = report(&config, "service-levels", |config, hmac| {
        let promises = slos(config)?;
        if promises.slos.is_empty() {
            return Ok(None);
        }
        Ok(Some(Box::new(BurnRate::new(BurnRateConfig::default(), Arc::new(promises), hmac))))
    })?;
    let rows: Vec<Row> =
        report.as_array().into_iter().flatten().filter_map(Value::as_object).cloned().collect();
    if rows.is_empty() {
        return Err(CliError::new(
            "no service level is promised",
            "slo.files is empty",
            "write an OpenSLO document and name it there: docs/guide/slo.md has one",
        ));
    }
    let gone =
        rows.iter().any(|row| row.get("budget_left").and_then(Value::as_f64).is_some_and(|left| left <= 0.0));
    let rows: Vec<Row> = match output::format(global) {
        // Callers are a table of their own: in the other forms.
        Format::Text => rows
            .into_iter()
            .map(|mut row| {
                row.remove("callers");
                row
            })
            .collect(),
        _ => rows,
    };
    output::rows(&mut std::io::stdout().lock(), output::format(global), &[], &rows)?;
    Ok(if gone { Exit::No } else { Exit::Yes })
}

type Made = Result<Option<Box<dyn Detector>>, CliError>;

/// What the running detection says under `name`; without a server, what `fresh` says after it saw the whole ledger.
fn report(config: &Config, name: &str, fresh: impl FnOnce(&Config, Hmac) -> Made) -> Result<Value, CliError> {
    if let Some(client) = Client::connect(&config.data.join(SOCKET)) {
        let response = client.get(&format!("/api/v1/detection/{name}"), "application/json")?;
        return Ok(server::parsed(response)?["data"].take());
    }
    let directory = Directory::open(config)?;
    let key = directory.ledger().digest_key();
    let hmac: Hmac = Arc::new(move |bytes: &[u8]| key.hmac(bytes));
    let Some(mut detector) = fresh(config, hmac)? else { return Ok(Value::Null) };
    let (mut at, size) = (0, directory.ledger().size());
    while at < size {
        let end = at.saturating_add(SCAN).min(size);
        let records = directory
            .store()
            .scan(at, end)
            .map_err(|e| CliError::new("cannot read the ledger", e, "run countersign fsck"))?;
        detector.batch(&events(&records));
        at = end;
    }
    Ok(detector.reports().into_iter().next().map_or(Value::Null, |(_, report)| report))
}

fn text(report: &Value, all: bool) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    let share = |name: &str| match report[name].as_f64() {
        Some(share) => format!("{:.2} %", share * 100.0),
        None => "unknown".to_owned(),
    };
    writeln!(
        out,
        "connections with an event   {}  (of those that witnesses saw in 24 h)",
        share("coverage")
    )?;
    writeln!(out, "the same by bytes           {}", share("coverage_bytes"))?;
    writeln!(out, "calls understood            {}", share("understood"))?;
    for witness in report["witnesses"].as_array().into_iter().flatten() {
        let recent = if witness[2] == json!(true) { "looks" } else { "has said nothing lately" };
        writeln!(
            out,
            "witness                     {} {recent}",
            output::escape(witness[0].as_str().unwrap_or_default())
        )?;
    }
    for (class, count) in report["classes"].as_object().into_iter().flatten() {
        writeln!(out, "{:<27} {count}", class.to_lowercase())?;
    }
    let rows = |name: &str| -> Vec<Row> {
        report[name].as_array().into_iter().flatten().filter_map(Value::as_object).cloned().collect()
    };
    let spots = rows("blind_spots");
    writeln!(out, "\nblind spots: {}", spots.len())?;
    if !spots.is_empty() {
        let columns =
            ["witness", "src", "dst", "user", "caller", "callee", "connections", "bytes", "finding"];
        output::rows(&mut out, Format::Text, &columns.map(String::from), &spots)?;
    }
    if all {
        writeln!(out, "\nexpected and seen")?;
        output::rows(&mut out, Format::Text, &[], &rows("lines"))?;
    }
    Ok(())
}
