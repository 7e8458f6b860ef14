//! The sets of syslog and journal messages, whose cases are arguments of their projects' own tests: input, and the
//! fields that must come out, in each project's own spelling.

use super::{Row, trusted};
use countersign_collect::frame;
use countersign_collect::{Input, Keeper, formats, observe};
use countersign_event::{CaptureConf, Event, Unmapped};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Our clock for these sets, UTC ns: 2024-06-29, behind all of their times without a year.
const NOW: u64 = 1_719_700_000_000_000_000;

/// Rows of these sets.
pub(super) fn rows(root: &Path) -> BTreeMap<String, Row> {
    let (input, keeper) = trusted();
    let mut rows = BTreeMap::new();
    for set in ["go-syslog", "victorialogs"] {
        let text = std::fs::read_to_string(root.join(format!("{set}.cases.jsonl"))).unwrap();
        for line in text.lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let format = case["format"].as_str().unwrap_or_default();
            let judge: fn(&mut Judge<'_>, &Value) = match format {
                "syslog_rfc5424" => rfc5424,
                "syslog_parse" => parse,
                "syslog_stream" => stream,
                "journald_export" => journald,
                _ => continue,
            };
            let ours = if format == "journald_export" { "journald" } else { "syslog" };
            let row = rows.entry(format.to_owned()).or_insert(Row {
                ours,
                first: ours == "syslog",
                ..Row::default()
            });
            let id = case["id"].as_str().unwrap_or_default();
            let mut judge_case = Judge { row, id, right: true, input: &input, keeper: &keeper };
            judge(&mut judge_case, &case);
            let right = judge_case.right;
            row.cases += 1;
            row.right += u64::from(right);
        }
    }
    rows
}

struct Judge<'r> {
    row: &'r mut Row,
    id: &'r str,
    right: bool,
    input: &'r Input,
    keeper: &'r Keeper,
}

impl Judge<'_> {
    fn event(&mut self, bytes: &[u8]) -> Event {
        let ours = self.row.ours;
        let event = observe(bytes, formats::by_name(ours), self.input, self.keeper, NOW);
        let untold = observe(bytes, None, self.input, self.keeper, NOW);
        let capture = untold.body.cap.as_ref().unwrap();
        let found = capture.fmt.split('/').next() == Some(ours);
        self.row.found += u64::from(found);
        self.row.mistaken += u64::from(!found && capture.conf == Some(CaptureConf::Full));
        event
    }

    fn field(&mut self, name: &str, got: &str, want: &str) {
        self.row.fields += 1;
        if got == want {
            return;
        }
        self.right = false;
        if got.is_empty() {
            self.row.missing += 1;
        } else {
            self.row.wrong += 1;
        }
        self.row.faults.push(format!("{}: {name} is {got:?}, wanted {want:?}", self.id));
    }

    /// Whether what is not valid was marked and kept.
    fn flagged(&mut self, event: &Event, want: bool) {
        let full = event.body.cap.as_ref().and_then(|c| c.conf) == Some(CaptureConf::Full);
        self.field("flagged", if full { "no" } else { "yes" }, if want { "yes" } else { "no" });
        let kept = event.body.raw.as_ref().is_some_and(|raw| !raw.bytes.is_empty());
        self.row.lost += u64::from(want && !kept);
    }
}

/// The kept source field, as text.
fn kept(event: &Event, pointer: &str) -> String {
    match event.content.unmapped.get(pointer) {
        Some(Unmapped::Token(token)) => serde_json::from_str(token).unwrap_or_else(|_| token.clone()),
        Some(Unmapped::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        None => String::new(),
    }
}

fn time(event: &Event) -> String {
    event.core.t_event.map(|ns| ns.to_string()).unwrap_or_default()
}

fn ns(text: &str) -> String {
    countersign_collect::time::rfc3339(text).unwrap().ns.to_string()
}

/// The set spells some texts as Go literals: between backquotes, with `\uXXXX` for what Go does not print.
fn literal(text: &str) -> String {
    let text = text.strip_prefix('`').and_then(|t| t.strip_suffix('`')).unwrap_or(text);
    serde_json::from_str(&format!("\"{}\"", text.replace('"', "\\\""))).unwrap_or_else(|_| text.to_owned())
}

fn rfc5424(judge: &mut Judge<'_>, case: &Value) {
    let raw = case["raw"].as_str().unwrap_or_default();
    let valid = case["valid"] == true;
    // Octets that are no UTF-8 stand as Latin-1 in the set.
    let latin: Option<Vec<u8>> = raw.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    let bytes = latin.filter(|_| !valid).unwrap_or_else(|| raw.as_bytes().to_vec());
    let event = judge.event(&bytes);
    judge.flagged(&event, !valid);
    for (name, want) in case["expect"].as_object().into_iter().flatten() {
        let want = want.as_str().map_or_else(|| want.to_string(), literal);
        match name.as_str() {
            "timestamp" => judge.field(name, &time(&event), &ns(&want)),
            "message" => judge.field(name, &kept(&event, "/message"), &want),
            _ => judge.field(name, &kept(&event, &format!("/syslog/{name}")), &want),
        }
    }
}

fn parse(judge: &mut Judge<'_>, case: &Value) {
    let event = judge.event(case["args"][0].as_str().unwrap_or_default().as_bytes());
    let mut rest = case["args"][2].as_str().unwrap_or_default();
    while let Some((name, behind)) = rest.split_once('=') {
        let (want, behind) = match behind.strip_prefix('"') {
            // Their output does not escape: a text ends where the next name or the line does.
            Some(quoted) => quoted
                .split_once("\" ")
                .filter(|_| name != "message")
                .unwrap_or((quoted.trim_end_matches('"'), "")),
            None => behind.split_once(' ').unwrap_or((behind, "")),
        };
        rest = behind;
        let got = match name {
            "timestamp" => time(&event),
            "message" => kept(&event, "/message"),
            "hostname" | "priority" | "facility" | "severity" => kept(&event, &format!("/syslog/{name}")),
            "app_name" => kept(&event, "/syslog/appname"),
            "proc_id" => kept(&event, "/syslog/procid"),
            "msg_id" => kept(&event, "/syslog/msgid"),
            // Their words for numbers that are there, and for the grammar.
            "facility_keyword" | "level" | "format" => continue,
            _ => kept(
                &event,
                &format!(
                    "/syslog/sd/{}",
                    name.split_once('.').map_or(format!("/{name}"), |(id, name)| format!("{id}/{name}"))
                ),
            ),
        };
        let want = match (name, want) {
            ("timestamp", text) => ns(text),
            // The nil value, which is no name.
            (_, "-") => String::new(),
            (_, text) => text.to_owned(),
        };
        judge.field(name, &got, &want);
    }
}

fn stream(judge: &mut Judge<'_>, case: &Value) {
    let bytes = case["args"][0].as_str().unwrap_or_default().as_bytes();
    let (records, _, broken) = frame::collect(&mut frame::Octets::default(), bytes, bytes.len());
    let fails = case["test"].as_str().is_some_and(|test| test.ends_with("Failure"));
    judge.field("broken", &broken.is_some().to_string(), &fails.to_string());
    if let Some(wanted) = case["args"][1]["$go"].as_str() {
        let texts: Vec<_> = records.iter().map(|(record, _)| String::from_utf8_lossy(record)).collect();
        // Written as `[]string{["S", "text"], …}`, of which only the texts count.
        let want: Vec<&str> =
            wanted.split("[\"S\", \"").skip(1).filter_map(|part| part.split('"').next()).collect();
        judge.field("records", &texts.join("|"), &want.join("|"));
    }
}

fn journald(judge: &mut Judge<'_>, case: &Value) {
    let input = case["args"][0].as_str().unwrap_or_default();
    match case["test"].as_str().unwrap_or_default() {
        "TestIsValidFieldName" => {
            let got = formats::journald::is_name(input);
            judge.field("name", &got.to_string(), case["args"][1]["$go"].as_str().unwrap_or_default());
        }
        "TestPushJournald_Failure" => {
            let (_, _, broken) =
                frame::collect(&mut frame::Journal::default(), input.as_bytes(), input.len());
            judge.field("broken", &broken.is_some().to_string(), "true");
        }
        _ => {
            let (records, _, broken) =
                frame::collect(&mut frame::Journal::default(), input.as_bytes(), input.len());
            judge.field("broken", &broken.is_some().to_string(), "false");
            let event = judge.event(&records[0].0);
            judge.field("time", &time(&event), &case["args"][1][0].to_string());
            let want: BTreeMap<String, String> =
                serde_json::from_str(case["args"][2].as_str().unwrap()).unwrap();
            for (name, want) in want {
                let pointer = if name == "_msg" { "/message".to_owned() } else { format!("/journal/{name}") };
                judge.field(&name, &kept(&event, &pointer), &want);
            }
        }
    }
}
