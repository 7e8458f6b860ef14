//! What reaches a terminal or a pipe: text for people, NDJSON, JSON or CSV for programs. Captured data
//! is hostile: in text, control, C1 and bidirectional characters are shown as escapes.

use crate::args::{Format, Global};
use crate::exit::CliError;
use serde_json::{Map, Value};
use std::io::{IsTerminal, Write};

/// One answer row.
pub(crate) type Row = Map<String, Value>;

/// Widest text cell on a terminal, characters; longer ones end in an ellipsis.
const CELL_MAX: usize = 60;

/// The form asked for: text on a terminal, NDJSON in a pipe, unless said otherwise.
pub(crate) fn format(global: &Global) -> Format {
    global.output.unwrap_or(if std::io::stdout().is_terminal() { Format::Text } else { Format::Ndjson })
}

/// Text in which no character can steer a terminal.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            out.push_str(&format!("\\u{{{:x}}}", c as u32));
        } else {
            out.push(c);
        }
    }
    out
}

/// Control (but for line feed and tab, which callers place themselves), C1, bidi and line separators.
fn steers(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{061c}')
}

/// Text on one line: line feeds and tabs are escaped too.
pub(crate) fn escape_line(text: &str) -> String {
    escape(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Writes rows with the columns in order; `columns` empty = as they come.
pub(crate) fn rows(
    out: &mut dyn Write,
    format: Format,
    columns: &[String],
    rows: &[Row],
) -> Result<(), CliError> {
    let names = if columns.is_empty() { names_of(rows) } else { columns.to_vec() };
    match format {
        Format::Text => table(out, &names, rows)?,
        Format::Ndjson => {
            for row in rows {
                writeln!(out, "{}", object(&names, row))?;
            }
        }
        Format::Json => {
            let all: Vec<String> = rows.iter().map(|row| object(&names, row)).collect();
            writeln!(out, "[{}]", all.join(",\n "))?;
        }
        Format::Csv => {
            write!(out, "{}\r\n", names.iter().map(|n| csv_cell(n)).collect::<Vec<_>>().join(","))?;
            for row in rows {
                let cells: Vec<String> = names.iter().map(|n| csv_cell(&plain(row.get(n)))).collect();
                write!(out, "{}\r\n", cells.join(","))?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn names_of(rows: &[Row]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        for name in row.keys() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}

/// A JSON object with its members in the order of the columns.
fn object(names: &[String], row: &Row) -> String {
    let members: Vec<String> = names
        .iter()
        .filter_map(|name| {
            row.get(name).filter(|v| !v.is_null()).map(|v| format!("{}:{v}", Value::from(name.as_str())))
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A value as bare text.
pub(crate) fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// RFC 4180, with cells that a spreadsheet would run as a formula defused.
fn csv_cell(text: &str) -> String {
    let defused = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err() {
        format!("'{text}")
    } else {
        text.to_string()
    };
    if defused.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", defused.replace('"', "\"\""))
    } else {
        defused
    }
}

/// A plain table: columns as wide as their widest cell, empty columns left out.
fn table(out: &mut dyn Write, names: &[String], rows: &[Row]) -> Result<(), CliError> {
    let cell = |row: &Row, name: &String| clip(&escape_line(&human(name, row.get(name))));
    let shown: Vec<&String> =
        names.iter().filter(|name| rows.iter().any(|row| !cell(row, name).is_empty())).collect();
    let widths: Vec<usize> = shown
        .iter()
        .map(|name| rows.iter().map(|row| width(&cell(row, name))).chain([width(name)]).max().unwrap_or(0))
        .collect();
    let mut line = |cells: Vec<String>| -> Result<(), CliError> {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(c, w)| format!("{c}{}", " ".repeat(w.saturating_sub(width(c)))))
            .collect();
        writeln!(out, "{}", padded.join("  ").trim_end())?;
        Ok(())
    };
    line(shown.iter().map(|name| name.to_string()).collect())?;
    for row in rows {
        line(shown.iter().map(|name| cell(row, name)).collect())?;
    }
    Ok(())
}

/// Times to the millisecond and durations with a unit: the table is for eyes, other forms are exact.
fn human(name: &str, value: Option<&Value>) -> String {
    use crate::config::units;
    match (name, value) {
        ("duration" | "duration_ns", Some(Value::Number(n))) => {
            n.as_u64().map_or(n.to_string(), units::duration_rough)
        }
        ("time" | "seen", Some(Value::String(text))) => {
            let (head, fraction) = text.split_once('.').unwrap_or((text, ""));
            if fraction.len() >= 3 { format!("{head}.{}Z", &fraction[..3]) } else { text.clone() }
        }
        (_, value) => plain(value),
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn clip(text: &str) -> String {
    if width(text) <= CELL_MAX {
        return text.to_string();
    }
    let head: String = text.chars().take(CELL_MAX - 1).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Row {
        serde_json::from_str(text).unwrap()
    }

    fn printed(format: Format, columns: &[&str], all: &[Row]) -> String {
        let mut out = Vec::new();
        let columns: Vec<String> = columns.iter().map(|c| c.to_string()).collect();
        rows(&mut out, format, &columns, all).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_in_text_can_steer_a_terminal() {
        let hostile = "\u{1b}[31mred\u{7}\u{9b}2J\u{202e}evil\u{2066}\r\u{2028}";
        let shown = escape(hostile);
        assert!(shown.chars().all(|c| !steers(c)), "{shown:?}");
        assert_eq!(escape_line("a\nb\tc"), "a\\nb\\tc");
        let table = printed(Format::Text, &["who"], &[row(r#"{"who":"\u001b]0;x\u0007\nfake row"}"#)]);
        assert_eq!(table.lines().count(), 2, "{table:?}");
        assert!(!table.contains('\u{1b}'));
    }

    #[test]
    fn members_keep_the_order_of_the_columns_and_absent_ones_are_absent() {
        let all = [row(r#"{"b":1,"a":"x","c":null}"#)];
        assert_eq!(printed(Format::Ndjson, &["b", "c", "a"], &all), "{\"b\":1,\"a\":\"x\"}\n");
        assert_eq!(printed(Format::Json, &["a"], &all), "[{\"a\":\"x\"}]\n");
    }

    #[test]
    fn csv_quotes_and_defuses_formulas_but_not_numbers() {
        let all = [row(r#"{"a":"=cmd()","b":"x,\"y\"","c":-5}"#)];
        assert_eq!(printed(Format::Csv, &["a", "b", "c"], &all), "a,b,c\r\n'=cmd(),\"x,\"\"y\"\"\",-5\r\n");
    }

    #[test]
    fn the_table_leaves_out_empty_columns_and_speaks_units() {
        let all = [row(r#"{"index":1,"duration":1240000,"time":"2026-03-01T14:00:00.123456789Z"}"#)];
        let text = printed(Format::Text, &["index", "who", "duration", "time"], &all);
        assert_eq!(text.lines().next().unwrap(), "index  duration  time");
        assert!(text.contains("1.24 ms") && text.contains("14:00:00.123Z"), "{text}");
    }
}
