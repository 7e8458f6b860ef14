//! Scores the parsers over the sample cases that other projects made (`../shared/corpora`, not part of the project).
//!
//! A field is right, wrong or missing by the rules of that directory's README; a case is right when every field is.
//! Used by the tests, which hold the bars, and by `cargo xtask score`, which prints the table.

mod disputed;
mod fields;
mod syslog;

use countersign_collect::{Input, Keeper, formats, observe};
use countersign_event::{CaptureConf, Event, Verified};
use countersign_redact::Scanner;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Our clock while scoring, UTC ns: 2024-06-01, so that times without a year are near those expected.
const NOW: u64 = 1_717_200_000_000_000_000;

/// Their name of a format, ours, and whether it is of the first order (P0).
const NAMES: &[(&str, &str, bool)] = &[
    ("AWS.CloudTrail", "cloudtrail", true),
    ("Amazon.EKS.Audit", "k8s-audit", true),
    ("AWS.VPCDns", "aws-resolver", false),
    ("AWS.WAFWebACL", "aws-waf", false),
    ("Azure.MonitorActivity", "azure", false),
    ("Gravitational.TeleportAudit", "teleport", false),
    ("MongoDB.OrganizationEvent", "mongodb-atlas", false),
    ("MongoDB.ProjectEvent", "mongodb-atlas", false),
    ("authentik-logs", "authentik", false),
    ("grafana-logs", "grafana", false),
    ("keycloak-logs", "keycloak", false),
    ("sftpgo-logs", "sftpgo", false),
    ("GCP.AuditLog", "gcp-audit", false),
    ("GCP.HTTPLoadBalancer", "gcp-lb", false),
    ("apache2-logs", "combined", false),
    ("AWS.S3ServerAccess", "aws-s3-access", false),
    ("AWS.VPCFlow", "aws-vpc-flow", false),
    ("aws-alb-logs", "aws-alb", false),
    ("bunkerweb-logs", "bunkerweb", false),
    ("caddy-logs", "caddy", true),
    ("couchdb-logs", "couchdb", false),
    ("envoy-logs", "envoy", true),
    ("fastly-logs", "fastly", false),
    ("modsecurity-logs-nginx", "nginx-error", false),
    ("nginx_http-logs", "combined", true),
    ("nginx-proxy-manager-logs", "combined", true),
    ("npmplus-logs", "npmplus", false),
    ("zoraxy-http-logs", "zoraxy", false),
    ("bind9-logs", "bind9", false),
    ("iptables-logs", "syslog", true),
    ("mariadb-logs", "mysql-error", false),
    ("mongodb-logs", "mongodb", false),
    ("mssql-text-logs", "mssql", false),
    ("pgsql-logs", "postgres", true),
    ("sshd-logs", "syslog", true),
    ("sshd-success-logs", "syslog", true),
    ("suricata-logs-evelog", "suricata-eve", false),
    ("suricata-logs-fastlog", "suricata-fast", false),
    ("vsftpd-logs", "vsftpd", false),
];

/// One line of a set.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its name in the set.
    pub(crate) id: String,
    /// The set's name of its format.
    pub(crate) format: String,
    /// The source record.
    pub(crate) raw: Vec<u8>,
    /// What must come out.
    pub(crate) key: BTreeMap<String, Value>,
}

/// Sums of one format.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// Ours; empty = no parser.
    pub(crate) ours: &'static str,
    /// Of the first order.
    pub(crate) first: bool,
    pub(crate) cases: u64,
    pub(crate) right: u64,
    pub(crate) fields: u64,
    pub(crate) wrong: u64,
    pub(crate) missing: u64,
    /// Told the format: accepted, yet neither an interaction nor flagged raw.
    pub(crate) lost: u64,
    /// Untold: found right, and found wrong with full confidence.
    pub(crate) found: u64,
    pub(crate) mistaken: u64,
    /// Fields whose expectation contradicts its own record: not judged.
    pub(crate) disputed: u64,
    /// What was not right: case, field, expected, got.
    pub(crate) faults: Vec<String>,
}

/// Where the sets are, if they are there.
pub(crate) fn corpora() -> Option<PathBuf> {
    let root = countersign_testkit::crate_dir(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    root.is_dir().then_some(root)
}

/// All cases with expectations by field.
fn cases(root: &Path) -> Vec<Case> {
    let mut all = Vec::new();
    for set in ["crowdsec-hub", "panther-analysis"] {
        let text = std::fs::read_to_string(root.join(format!("{set}.cases.jsonl"))).unwrap();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let Some(key) = value["key"].as_object() else { continue };
            let raw = match &value["raw"] {
                Value::String(text) => text.clone().into_bytes(),
                other => other.to_string().into_bytes(),
            };
            all.push(Case {
                id: value["id"].as_str().unwrap_or_default().to_owned(),
                format: value["format"].as_str().unwrap_or_default().to_owned(),
                raw,
                key: key.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            });
        }
    }
    all
}

/// The record and our name of the format of every sample with one, whether or not its fields are known.
#[allow(dead_code, reason = "the example that prints the score does not use it")]
pub(crate) fn samples(root: &Path) -> Vec<(Option<&'static str>, Vec<u8>)> {
    let mut all = Vec::new();
    for set in ["crowdsec-hub", "panther-analysis", "go-syslog", "victorialogs"] {
        let text = std::fs::read_to_string(root.join(format!("{set}.cases.jsonl"))).unwrap();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let format =
                NAMES.iter().find(|(theirs, _, _)| value["format"] == *theirs).map(|(_, ours, _)| *ours);
            let raw = match value.get("raw").or_else(|| value.get("args")?.get(0)) {
                Some(Value::String(text)) => text.clone().into_bytes(),
                Some(other) => other.to_string().into_bytes(),
                None => continue,
            };
            all.push((format, raw));
        }
    }
    all
}

/// An input that is trusted as far as an import can be.
pub(crate) fn trusted() -> (Input, Keeper) {
    let mut input = Input::new("score");
    input.level = Verified::Asserted;
    (input, Keeper::new(Scanner::default(), &[7; 32]))
}

/// Scores everything that the sets hold.
pub(crate) fn score_all(root: &Path) -> BTreeMap<String, Row> {
    let mut rows = score(&cases(root));
    rows.extend(syslog::rows(root));
    rows
}

/// Scores `cases`, by their format.
fn score(cases: &[Case]) -> BTreeMap<String, Row> {
    let (input, keeper) = trusted();
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for case in cases {
        let row = rows.entry(case.format.clone()).or_default();
        row.cases += 1;
        row.fields += case.key.len() as u64;
        let Some((_, ours, first)) = NAMES.iter().find(|(theirs, _, _)| *theirs == case.format) else {
            row.missing += case.key.len() as u64;
            continue;
        };
        (row.ours, row.first) = (ours, *first);
        let format = formats::by_name(ours).unwrap_or_else(|| panic!("no format {ours}"));
        let event = observe(&case.raw, Some(format), &input, &keeper, NOW);
        judge(row, case, &event);
        let untold = observe(&case.raw, None, &input, &keeper, NOW);
        let capture = untold.body.cap.as_ref().unwrap();
        // What came in an envelope has both names, as `syslog/sshd`.
        if capture.fmt.split('/').any(|name| name == *ours) {
            row.found += 1;
        } else if capture.conf == Some(CaptureConf::Full) {
            row.mistaken += 1;
            row.faults.push(format!("{}: taken for {}", case.id, capture.fmt));
        }
    }
    rows
}

fn judge(row: &mut Row, case: &Case, event: &Event) {
    let mut right = true;
    for (name, want) in &case.key {
        if disputed::is_disputed(&case.id, name) {
            row.disputed += 1;
            continue;
        }
        match fields::judge(name, want, event) {
            fields::Verdict::Right => {}
            fields::Verdict::Missing => {
                right = false;
                row.missing += 1;
                row.faults.push(format!("{}: {name} missing, wanted {want}", case.id));
            }
            fields::Verdict::Wrong(got) => {
                right = false;
                row.wrong += 1;
                row.faults.push(format!("{}: {name} is {got}, wanted {want}", case.id));
            }
        }
    }
    row.right += u64::from(right);
    let capture = event.body.cap.as_ref().unwrap();
    let raw_kept = event.body.raw.as_ref().is_some_and(|raw| !raw.bytes.is_empty());
    row.lost += u64::from(capture.conf == Some(CaptureConf::RawOnly) && !raw_kept);
}

/// The table that `cargo xtask score` prints.
pub(crate) fn table(rows: &BTreeMap<String, Row>) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<28} {:<20} {:>5} {:>6} {:>6} {:>6} {:>6} {:>7} {:>5} {:>6} {:>8}",
        "format of the set",
        "ours",
        "cases",
        "right",
        "%",
        "fields",
        "wrong",
        "missing",
        "lost",
        "found",
        "disputed"
    );
    let mut line = |name: &str, row: &Row| {
        let percent = 100.0 * row.right as f64 / row.cases.max(1) as f64;
        let ours = if row.ours.is_empty() { "-" } else { row.ours };
        let _ = writeln!(
            out,
            "{name:<28} {ours:<20} {:>5} {:>6} {percent:>6.1} {:>6} {:>6} {:>7} {:>5} {:>6} {:>8}",
            row.cases, row.right, row.fields, row.wrong, row.missing, row.lost, row.found, row.disputed
        );
    };
    for (name, row) in rows {
        line(name, row);
    }
    line("first order (P0)", &total(rows.values().filter(|row| row.first)));
    line("all", &total(rows.values()));
    out
}

/// Sums of some rows.
pub(crate) fn total<'r>(rows: impl Iterator<Item = &'r Row>) -> Row {
    rows.fold(Row::default(), |sum, row| Row {
        cases: sum.cases + row.cases,
        right: sum.right + row.right,
        fields: sum.fields + row.fields,
        wrong: sum.wrong + row.wrong,
        missing: sum.missing + row.missing,
        lost: sum.lost + row.lost,
        found: sum.found + row.found,
        mistaken: sum.mistaken + row.mistaken,
        disputed: sum.disputed + row.disputed,
        ..sum
    })
}
