//! `tail`: events as they are committed. A broken stream is taken up again after the last index seen, so
//! every index comes once; Ctrl-C ends it with its counters.

use crate::access::http::{Client, Line, encode};
use crate::access::server::problem;
use crate::access::{SOCKET, require_ledger};
use crate::args::{Format, Global, TailArgs};
use crate::config::{self, units};
use crate::exit::{CliError, Exit};
use crate::output::{self, Row, escape_line};
use crate::signals::Interrupt;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// How long one read waits before the stop is looked for.
const WAKE: Duration = Duration::from_millis(200);
/// Pause between attempts to take the stream up again, and how many there are.
const RETRY: Duration = Duration::from_millis(500);
const RETRIES_MAX: u32 = 120;

/// Follows the server's stream.
pub(crate) fn run(global: &Global, args: &TailArgs) -> Result<Exit, CliError> {
    let config = config::resolve(global)?;
    let socket = config.data.join(SOCKET);
    if Client::connect(&socket).is_none() {
        require_ledger(&config.data)?;
        return Err(CliError::new(
            format!("no server runs on {}", config.data.display()),
            "a tail follows a running one",
            "start it with countersign run, or look at what there is with countersign q",
        ));
    }
    let interrupt = Interrupt::install()?;
    let mut tail = Tail {
        format: output::format(global),
        filter: args.filter.join(" ").trim().into(),
        after: args.after,
        shown: 0,
        filtered: 0,
        skipped: 0,
    };
    let result = tail.follow(&socket, &interrupt);
    if !global.quiet {
        eprintln!(
            "{} shown, {} skipped; go on with --after {}",
            tail.shown,
            tail.skipped,
            tail.after.unwrap_or(0)
        );
    }
    result.map(|()| Exit::Yes)
}

struct Tail {
    format: Format,
    filter: String,
    /// Last index seen.
    after: Option<u64>,
    shown: u64,
    filtered: u64,
    skipped: u64,
}

impl Tail {
    fn follow(&mut self, socket: &Path, interrupt: &Interrupt) -> Result<(), CliError> {
        let mut failed = 0;
        while !interrupt.is_asked() {
            let Some(client) = Client::connect(socket) else {
                failed += 1;
                if failed > RETRIES_MAX {
                    return Err(CliError::new(
                        "the tail broke off",
                        "the server is gone",
                        "start it again and go on with --after",
                    ));
                }
                interrupt.wait(RETRY);
                continue;
            };
            failed = 0;
            self.stream(&client, interrupt)?;
            interrupt.wait(RETRY);
        }
        Ok(())
    }

    /// One connection, until it breaks or an end is asked for.
    fn stream(&mut self, client: &Client, interrupt: &Interrupt) -> Result<(), CliError> {
        let mut target = format!("/api/v1/tail?q={}", encode(&self.filter));
        if let Some(after) = self.after {
            target.push_str(&format!("&after={after}"));
        }
        let Ok(response) = client.get(&target, "application/x-ndjson") else { return Ok(()) };
        if response.status != 200 {
            let status = response.status;
            return Err(problem(status, &response.bytes()?));
        }
        let Ok(mut lines) = response.lines(WAKE) else { return Ok(()) };
        while !interrupt.is_asked() {
            match lines.next() {
                Ok(Line::Text(line)) => self.line(&line)?,
                Ok(Line::Quiet) => {}
                Ok(Line::End) | Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), CliError> {
        let Ok(Value::Object(row)) = serde_json::from_str::<Value>(line) else { return Ok(()) };
        if let Some(index) = row.get("index").and_then(Value::as_u64) {
            self.after = Some(index);
            self.shown += 1;
            return self.print(&row);
        }
        if let Some(after) = row.get("after").and_then(Value::as_u64) {
            self.after = Some(self.after.map_or(after, |seen| seen.max(after)));
        }
        if let Some(skip) = row.get("skip") {
            let count = skip["count"].as_u64().unwrap_or(0);
            self.skipped += count;
            eprintln!(
                "skipped {count} events: {}",
                escape_line(skip["reason"].as_str().unwrap_or("unknown reason"))
            );
        }
        if let Some(gap) = row.get("gap") {
            eprintln!("gap: {}", escape_line(&gap.to_string()));
        }
        self.filtered += row.get("filtered").and_then(Value::as_u64).unwrap_or(0);
        Ok(())
    }

    fn print(&self, row: &Row) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Text => writeln!(out, "{}", sentence(row))?,
            Format::Csv => output::rows(
                &mut out,
                Format::Csv,
                &crate::access::server::default_columns(),
                std::slice::from_ref(row),
            )?,
            Format::Ndjson | Format::Json => {
                output::rows(
                    &mut out,
                    Format::Ndjson,
                    &crate::access::server::default_columns(),
                    std::slice::from_ref(row),
                )?;
            }
        }
        out.flush()?;
        Ok(())
    }
}

/// A row on one line: `128 14:00:00.123Z payments-api DELETE orders /v1/orders/17 → success 204, 2.1 ms`.
pub(crate) fn sentence(row: &Row) -> String {
    let text = |name: &str| escape_line(&output::plain(row.get(name)));
    let time = text("time");
    let clock =
        time.split_once('T').map_or(time.clone(), |(_, clock)| clock.chars().take(12).collect::<String>());
    let who = Some(text("who")).filter(|w| !w.is_empty()).unwrap_or_else(|| "-".into());
    let outcome = Some(text("outcome")).filter(|o| !o.is_empty()).unwrap_or_else(|| text("rec"));
    let took = row
        .get("duration_ns")
        .and_then(Value::as_u64)
        .map_or(String::new(), |ns| format!(", {}", units::duration_rough(ns)));
    let parts = [
        text("index"),
        clock,
        who,
        text("op"),
        text("service"),
        text("resource"),
        "→".into(),
        outcome,
        text("status"),
    ];
    let words: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{}{took}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Row {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_row_is_one_line_whatever_it_holds() {
        let line = sentence(&row(
            r#"{"index":128,"time":"2026-03-01T14:00:00.123456789Z","who":"a\u001b[2J\nb","op":"GET","service":"orders","resource":"/x","outcome":"success","status":"200","duration_ns":2100000}"#,
        ));
        assert_eq!(line, "128 14:00:00.123 a\\u{1b}[2J\\nb GET orders /x → success 200, 2.10 ms");
    }

    #[test]
    fn the_cursor_follows_rows_and_notices() {
        let mut tail = Tail {
            format: Format::Ndjson,
            filter: String::new(),
            after: None,
            shown: 0,
            filtered: 0,
            skipped: 0,
        };
        tail.line(r#"{"beat":{"head":9},"after":8}"#).unwrap();
        assert_eq!(tail.after, Some(8));
        tail.line(r#"{"skip":{"count":3,"reason":"slow"},"after":12}"#).unwrap();
        assert_eq!((tail.after, tail.skipped), (Some(12), 3));
        tail.line("not json").unwrap();
        assert_eq!(tail.after, Some(12));
    }
}
