//! What a verification found: one line a check, what was not checked, verdicts, and one exit code.
//!
//! Not the checking itself. Invariants: the exit code is the worst status of any check; whatever came
//! from the file is escaped before it is shown; findings kept in full are bounded, all are counted.

use countersign_event::{GROUP_NAMES, GROUPS};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Findings of one check that are kept as text; the rest are only counted.
pub const FINDINGS_MAX: usize = 20;
/// Proven entries that are described one by one; the rest are only counted.
pub const SHOWN_MAX: usize = 20;

/// Outcome of a check. Its number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// Proven.
    Ok = 0,
    /// Nothing altered, but not enough.
    Insufficient = 1,
    /// Unreadable, malformed, truncated or over a limit.
    Malformed = 2,
    /// A hash, proof or signature is wrong, or a fork.
    Broken = 3,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Insufficient => "not enough",
            Status::Malformed => "malformed",
            Status::Broken => "BROKEN",
        }
    }
}

/// The checks, in the order they are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Well-formed, complete, unaltered as a file.
    File,
    /// The checkpoint is signed by a pinned log.
    Checkpoint,
    /// Enough witnesses cosigned.
    Quorum,
    /// All required signature algorithms are there.
    Algorithms,
    /// Checkpoints extend each other.
    Consistency,
    /// Leaves are in the tree.
    Inclusion,
    /// Contents are what was committed.
    Commitment,
    /// Group 0 agrees with the entry, the source and the event id.
    Core,
    /// Heartbeats are signed by their sources and their counts add up.
    Heartbeats,
    /// Ledger time never falls.
    Time,
    /// A claimed range is whole.
    Range,
    /// No group is missing.
    Verdicts,
}

impl Check {
    /// The name in the output.
    pub fn name(self) -> &'static str {
        match self {
            Check::File => "file",
            Check::Checkpoint => "checkpoint",
            Check::Quorum => "quorum",
            Check::Algorithms => "algorithms",
            Check::Consistency => "consistency",
            Check::Inclusion => "inclusion",
            Check::Commitment => "commitment",
            Check::Core => "core",
            Check::Heartbeats => "heartbeats",
            Check::Time => "time",
            Check::Range => "range",
            Check::Verdicts => "verdicts",
        }
    }

    /// What an `ok` means and what it does not, for `--explain`.
    pub fn meaning(self) -> &'static str {
        match self {
            Check::File => "every item was read, the end is there, and its digest covers all bytes before it",
            Check::Checkpoint => {
                "a log key that you pinned signed this size and root under its own name; \
                 who holds that key you must know from elsewhere"
            }
            Check::Quorum => {
                "witnesses that you pinned saw this tree grow; \
                 without them, the log's owner could show others another history"
            }
            Check::Algorithms => "every signature algorithm that your trust file requires was checked",
            Check::Consistency => "the later tree holds all of the earlier one, unchanged and in order",
            Check::Inclusion => {
                "the entry is at its place in the signed tree and cannot be moved or replaced"
            }
            Check::Commitment => {
                "the bytes shown are those committed when the event was recorded; \
                 withheld groups are bound by their commitments and shown by nobody"
            }
            Check::Core => "the event's own source, number and id agree with the log's",
            Check::Heartbeats => {
                "the sources themselves signed how much they saw, sent, refused and dropped, and the sums hold"
            }
            Check::Time => {
                "the log's receive times never run backwards; it is the log's clock, not the source's"
            }
            Check::Range => "no index and no number of a source is absent without a declared gap",
            Check::Verdicts => {
                "each group is shown, withheld, or removed by an entry of this log that says so"
            }
        }
    }
}

/// State of one group of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Shown, and it is what was committed.
    Disclosed,
    /// Not shown; its commitment is.
    Withheld,
    /// Erased by an entry of the log.
    Erased,
    /// Removed at policy age by an entry of the log.
    Retired,
    /// Gone, and nothing in the log says why.
    Missing,
}

impl Verdict {
    /// All verdicts, in the order of the counts.
    pub const ALL: [Verdict; 5] =
        [Verdict::Disclosed, Verdict::Withheld, Verdict::Erased, Verdict::Retired, Verdict::Missing];

    /// The word of the design: upper case.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Disclosed => "DISCLOSED",
            Verdict::Withheld => "WITHHELD",
            Verdict::Erased => "ERASED",
            Verdict::Retired => "RETIRED",
            Verdict::Missing => "MISSING",
        }
    }
}

/// One check's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which check.
    pub check: Check,
    /// Its worst finding.
    pub status: Status,
    /// What was looked at, or what is wrong.
    pub text: String,
    /// Findings, at most [`FINDINGS_MAX`].
    pub findings: Vec<String>,
    /// Findings that were counted only.
    pub more: u64,
}

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Origin of the log, as signed; empty if no checkpoint was accepted.
    pub origin: String,
    /// Size of the last accepted checkpoint.
    pub size: u64,
    /// What the file says it is for. A statement of its writer, proven by nothing.
    pub purpose: String,
    /// The checks that were made.
    pub lines: Vec<Line>,
    /// What the file did not allow to check.
    pub not_checked: Vec<String>,
    /// Descriptions of proven entries, at most [`SHOWN_MAX`].
    pub entries: Vec<String>,
    /// Groups removed by an entry that says so, at most [`SHOWN_MAX`].
    pub removed: Vec<String>,
    /// Proven events.
    pub events: u64,
    /// Other entries, by name of their kind.
    pub others: BTreeMap<String, u64>,
    /// Counts by group and [`Verdict::ALL`].
    pub verdicts: [[u64; 5]; GROUPS],
}

impl Report {
    /// The worst status of all checks.
    pub fn status(&self) -> Status {
        // A report without a single check proves nothing and must not read as success.
        self.lines.iter().map(|line| line.status).max().unwrap_or(Status::Malformed)
    }

    /// 0, 1, 2 or 3, as in `docs/reference/evidence.md`.
    pub fn exit_code(&self) -> u8 {
        self.status() as u8
    }

    /// The count of one verdict over all groups.
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.verdicts.iter().filter_map(|group| group.get(verdict as usize)).sum()
    }

    /// For people. `explain` adds what each check means.
    pub fn to_text(&self, explain: bool) -> String {
        let mut out = String::new();
        for line in &self.lines {
            let _ = writeln!(out, "{:<11} {:<12} {}", line.status.word(), line.check.name(), line.text);
            for finding in &line.findings {
                let _ = writeln!(out, "{:24} - {finding}", "");
            }
            if line.more > 0 {
                let _ = writeln!(out, "{:24} - and {} more", "", line.more);
            }
            if explain {
                let _ = writeln!(out, "{:24} = {}", "", line.check.meaning());
            }
        }
        for text in &self.not_checked {
            let _ = writeln!(out, "not checked {text}");
        }
        for entry in &self.entries {
            let _ = writeln!(out, "proven      {entry}");
        }
        let hidden =
            (self.events + self.others.values().sum::<u64>()).saturating_sub(self.entries.len() as u64);
        if hidden > 0 {
            let _ = writeln!(out, "proven      and {hidden} more entries");
        }
        for text in &self.removed {
            let _ = writeln!(out, "removed     {text}");
        }
        if self.events > 0 && self.verdicts.iter().flatten().any(|count| *count > 0) {
            let _ = writeln!(out, "groups      {}", self.verdict_text());
        }
        let _ = writeln!(out, "result      {}", self.result_text());
        out
    }

    /// One JSON object, one line.
    pub fn to_json(&self) -> String {
        let mut out = String::from("{");
        let _ = write!(
            out,
            "\"exit\":{},\"result\":{},\"origin\":{},\"size\":{},\"purpose\":{},\"events\":{},\"checks\":[",
            self.exit_code(),
            quote(self.result_text()),
            quote(&self.origin),
            self.size,
            quote(&self.purpose),
            self.events,
        );
        for (n, line) in self.lines.iter().enumerate() {
            let _ = write!(
                out,
                "{}{{\"check\":{},\"status\":{},\"text\":{},\"findings\":{},\"more\":{}}}",
                comma(n),
                quote(line.check.name()),
                line.status as u8,
                quote(&line.text),
                quote_all(&line.findings),
                line.more,
            );
        }
        let _ = write!(out, "],\"not_checked\":{},", quote_all(&self.not_checked));
        let _ = write!(
            out,
            "\"entries\":{},\"removed\":{},\"others\":{{",
            quote_all(&self.entries),
            quote_all(&self.removed)
        );
        for (n, (kind, count)) in self.others.iter().enumerate() {
            let _ = write!(out, "{}{}:{count}", comma(n), quote(kind));
        }
        out.push_str("},\"groups\":{");
        for (n, (name, counts)) in GROUP_NAMES.iter().zip(&self.verdicts).enumerate() {
            let _ = write!(out, "{}{}:{{", comma(n), quote(name));
            for (m, (verdict, count)) in Verdict::ALL.iter().zip(counts).enumerate() {
                let _ = write!(out, "{}{}:{count}", comma(m), quote(verdict.name()));
            }
            out.push('}');
        }
        out.push_str("}}");
        out
    }

    fn verdict_text(&self) -> String {
        let mut parts = Vec::new();
        for verdict in Verdict::ALL {
            let groups: Vec<String> = GROUP_NAMES
                .iter()
                .zip(&self.verdicts)
                .filter_map(|(name, counts)| Some((name, *counts.get(verdict as usize)?)))
                .filter(|(_, count)| *count > 0)
                .map(
                    |(name, count)| {
                        if self.events == 1 { (*name).to_owned() } else { format!("{name} {count}") }
                    },
                )
                .collect();
            let list = if groups.is_empty() { String::new() } else { format!(" ({})", groups.join(", ")) };
            parts.push(format!("{} {}{list}", verdict.name(), self.count(verdict)));
        }
        parts.join(" · ")
    }

    fn result_text(&self) -> &'static str {
        match self.status() {
            Status::Ok => "proven: everything this file claims holds (exit 0)",
            Status::Insufficient => "nothing is altered, but it is not enough (exit 1)",
            Status::Malformed => "the file cannot be read as evidence (exit 2)",
            Status::Broken => "INTEGRITY FAILURE: do not rely on this file (exit 3)",
        }
    }
}

/// Collects findings by check while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Findings(BTreeMap<Check, (Status, Vec<String>, u64)>);

impl Findings {
    pub(crate) fn add(&mut self, check: Check, status: Status, text: impl FnOnce() -> String) {
        let (worst, kept, more) = self.0.entry(check).or_insert((status, Vec::new(), 0));
        *worst = status.max(*worst);
        if kept.len() < FINDINGS_MAX {
            kept.push(text());
        } else {
            *more += 1;
        }
    }

    /// Lines for all checks that still have findings.
    pub(crate) fn rest(&mut self) -> Vec<Line> {
        let left: Vec<Check> = self.0.keys().copied().collect();
        left.into_iter().map(|check| self.line(check, String::new())).collect()
    }

    pub(crate) fn has(&self, check: Check) -> bool {
        self.0.contains_key(&check)
    }

    /// The line of a check: `good` when nothing was found against it.
    pub(crate) fn line(&mut self, check: Check, good: String) -> Line {
        match self.0.remove(&check) {
            None => Line { check, status: Status::Ok, text: good, findings: Vec::new(), more: 0 },
            Some((status, mut findings, more)) => {
                let text = if findings.len() == 1 && more == 0 { findings.pop() } else { None };
                let count = findings.len() as u64 + more;
                let text = text.unwrap_or_else(|| format!("{count} findings"));
                Line { check, status, text, findings, more }
            }
        }
    }
}

/// Text from a file, safe for a terminal: control, C1 and bidirectional characters are escaped.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let unsafe_char = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if unsafe_char {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Unix nanoseconds as RFC 3339 in UTC.
pub(crate) fn rfc3339(unix_ns: u64) -> String {
    let (seconds, nanos) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, in eras of 400 years (Howard Hinnant's civil_from_days).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (date, month_of_year) =
        (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month_of_year <= 2);
    let (hour, minute, second) = (rest / 3600, rest % 3600 / 60, rest % 60);
    format!("{year:04}-{month_of_year:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

fn comma(position: usize) -> &'static str {
    if position == 0 { "" } else { "," }
}

fn quote_all(texts: &[String]) -> String {
    let all: Vec<String> = texts.iter().map(|text| quote(text)).collect();
    format!("[{}]", all.join(","))
}

fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
