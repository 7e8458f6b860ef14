//! `fsck`: every byte of the data directory recomputed and compared; whatever is wrong is named.

use crate::access::require_ledger;
use crate::args::{Format, FsckArgs, Global};
use crate::config::{self, units};
use crate::exit::{CliError, Exit};
use crate::output::{self, Row, escape_line};
use countersign_event::json::hex;
use countersign_ledger::{Finding, FsckProgress, FsckReport, Kek, fsck};
use countersign_store::SegmentStore;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Checks everything.
pub(crate) fn run(global: &Global, _args: &FsckArgs) -> Result<Exit, CliError> {
    let config = config::resolve(global)?;
    require_ledger(&config.data)?;
    let kek = Kek::load(&config.kek).map_err(|e| {
        CliError::new(
            format!("cannot open {}", config.data.display()),
            e,
            "name the key's file with `kek` in --config",
        )
    })?;
    let started = Instant::now();
    let mut shown = Instant::now();
    let watch = !global.quiet && std::io::stderr().is_terminal();
    let mut progress = |at: FsckProgress| {
        if watch && shown.elapsed() >= PROGRESS_EVERY {
            shown = Instant::now();
            eprint!("\r{}: {} of {}        ", at.stage, at.done, at.total);
        }
    };
    let report = fsck(&config.data, kek, &SegmentStore::new(&config.data), &mut progress);
    if watch {
        eprint!("\r                                        \r");
    }
    print(global, &report, started.elapsed())?;
    Ok(Exit::Code(report.exit_code()))
}

fn print(global: &Global, report: &FsckReport, took: Duration) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match output::format(global) {
        Format::Text => {
            for finding in &report.findings {
                writeln!(out, "{}", escape_line(&line(finding)))?;
            }
            for what in &report.not_checked {
                writeln!(out, "not checked: {}", escape_line(what))?;
            }
            writeln!(out, "{}", summary(report, took))?;
        }
        format => {
            let mut rows: Vec<Row> = report.findings.iter().map(row).collect();
            rows.push(summary_row(report, took));
            output::rows(&mut out, format, &[], &rows)?;
        }
    }
    Ok(())
}

/// `segment seg/….parquet, byte 12, index 7: what`.
fn line(finding: &Finding) -> String {
    let mut place = finding.file.clone();
    if let Some(offset) = finding.offset {
        place.push_str(&format!(", byte {offset}"));
    }
    if let Some(index) = finding.index {
        place.push_str(&format!(", index {index}"));
    }
    format!("{} {place}: {} (exit {})", finding.class.name(), finding.what, finding.exit_code)
}

fn summary(report: &FsckReport, took: Duration) -> String {
    let verdict = match report.exit_code() {
        0 => "all good",
        1 => "nothing altered, but something is missing",
        2 => "not readable",
        _ => "INTEGRITY FAILURE",
    };
    let seconds = took.as_secs_f64().max(1e-6);
    format!(
        "{verdict}: size {} (signed {}), root {}\n{} frames, {} commitments recomputed, {} segments, {} read in {:.2} s ({}/s), {} finding(s)",
        report.size,
        report.signed_size,
        hex(&report.root),
        report.frames,
        report.commitments,
        report.segments,
        units::size_rough(report.bytes),
        took.as_secs_f64(),
        units::size_rough((report.bytes as f64 / seconds) as u64),
        report.findings.len(),
    )
}

fn row(finding: &Finding) -> Row {
    let value = serde_json::json!({
        "class": finding.class.name(), "file": finding.file, "offset": finding.offset, "index": finding.index,
        "what": finding.what, "exit": finding.exit_code,
    });
    value.as_object().cloned().unwrap_or_default()
}

fn summary_row(report: &FsckReport, took: Duration) -> Row {
    let value = serde_json::json!({
        "end": true, "size": report.size, "signed_size": report.signed_size, "root": hex(&report.root),
        "frames": report.frames, "commitments": report.commitments, "segments": report.segments,
        "bytes": report.bytes, "findings": report.findings.len(), "exit": report.exit_code(),
        "not_checked": report.not_checked, "duration_ns": u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
    });
    value.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_ledger::FindingClass;

    #[test]
    fn a_finding_names_class_file_offset_and_index() {
        let finding = Finding {
            class: FindingClass::TornTail,
            file: "wal/1.wal".into(),
            offset: Some(128),
            index: Some(7),
            what: "cut there".into(),
            exit_code: 1,
        };
        assert_eq!(line(&finding), "torn_tail wal/1.wal, byte 128, index 7: cut there (exit 1)");
    }
}
