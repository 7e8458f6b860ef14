//! Answers: rows of plain cells and an account of whether they are all. Knows how to be printed as text,
//! NDJSON, JSON and CSV; knows nothing of Arrow.
//!
//! Captured data is hostile: text output escapes control and direction characters, CSV defuses formulas.

use jiff::Timestamp;
use std::fmt::Write;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// A floating-point number.
    Float,
    /// A flag.
    Bool,
    /// Nanoseconds since 1970, UTC.
    Time,
    /// An id: printed as lower-case hex.
    Id,
    /// An event id: printed as a UUID.
    Uuid,
    /// Other bytes: printed as base64url.
    Bytes,
    /// Several values.
    List,
}

/// Name and kind of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// What it holds.
    pub kind: CellKind,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Absent.
    Null,
    /// Flag.
    Bool(bool),
    /// Signed number.
    Int(i64),
    /// Unsigned number.
    UInt(u64),
    /// Floating-point number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nanoseconds since 1970, UTC.
    TimeNs(i64),
    /// Several values.
    List(Vec<Cell>),
}

/// Whether an answer is all there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complete {
    /// Declared losses (GAP entries) in the ledger.
    pub gaps: u64,
    /// Groups erased in the range.
    pub erased: u64,
    /// Ranges retired.
    pub retired: u64,
    /// Segments that could not be read; their events are not in the answer.
    pub unreadable: Vec<String>,
    /// Rows were cut at the limit.
    pub truncated: bool,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Columns, in order.
    pub columns: Vec<Column>,
    /// Rows; each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
    /// Whether it is all.
    pub complete: Complete,
    /// Ledger size that it was computed at: every index below it was looked at.
    pub at: u64,
}

impl Rows {
    /// Cell of `row` in the column `name`.
    pub fn get(&self, row: usize, name: &str) -> Option<&Cell> {
        let at = self.columns.iter().position(|column| column.name == name)?;
        self.rows.get(row)?.get(at)
    }

    /// One JSON object a line, absent fields absent.
    pub fn to_ndjson(&self) -> String {
        let mut out = String::new();
        for row in 0..self.rows.len() {
            self.json_row(row, &mut out);
            out.push('\n');
        }
        out
    }

    /// One row as a JSON object.
    pub fn json_row(&self, row: usize, out: &mut String) {
        out.push('{');
        let mut first = true;
        for (column, cell) in self.columns.iter().zip(self.rows.get(row).into_iter().flatten()) {
            if *cell == Cell::Null {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            json_text(&column.name, out);
            out.push(':');
            json_cell(cell, column.kind, out);
        }
        out.push('}');
    }

    /// All rows as a JSON array.
    pub fn to_json(&self) -> String {
        let mut out = String::from("[");
        for row in 0..self.rows.len() {
            if row > 0 {
                out.push(',');
            }
            self.json_row(row, &mut out);
        }
        out.push(']');
        out
    }

    /// RFC 4180 with a header line. A leading `=`, `+`, `-`, `@`, tab or return in a text gets a `'` before
    /// it, or a spreadsheet would run it; `exact` leaves it as it is.
    pub fn to_csv(&self, exact: bool) -> String {
        let mut out = String::new();
        let names = self.columns.iter().map(|column| csv_field(&column.name));
        out.push_str(&names.collect::<Vec<_>>().join(","));
        out.push_str("\r\n");
        for row in &self.rows {
            let fields = row.iter().zip(&self.columns).map(|(cell, column)| {
                let text = plain(cell, column.kind);
                let risky = matches!(cell, Cell::Text(_) | Cell::List(_))
                    && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
                csv_field(&if risky && !exact { format!("'{text}") } else { text })
            });
            out.push_str(&fields.collect::<Vec<_>>().join(","));
            out.push_str("\r\n");
        }
        out
    }

    /// A table for a terminal: columns padded, each at most `width_max` characters, hostile characters escaped.
    pub fn to_text_table(&self, width_max: usize) -> String {
        let cut = |text: String| match text.char_indices().nth(width_max.max(4)) {
            Some(_) => text.chars().take(width_max.max(4) - 1).chain(['…']).collect(),
            None => text,
        };
        let mut lines: Vec<Vec<String>> =
            vec![self.columns.iter().map(|c| escape_terminal(&c.name)).collect()];
        lines.extend(self.rows.iter().map(|row| {
            row.iter()
                .zip(&self.columns)
                .map(|(cell, c)| cut(escape_terminal(&plain(cell, c.kind))))
                .collect()
        }));
        let mut widths = vec![0; self.columns.len()];
        for line in &lines {
            for (width, field) in widths.iter_mut().zip(line) {
                *width = (*width).max(field.chars().count());
            }
        }
        let right: Vec<bool> =
            self.columns.iter().map(|c| matches!(c.kind, CellKind::Int | CellKind::Float)).collect();
        let mut out = String::new();
        for line in lines {
            let mut text = String::new();
            for ((field, width), right) in line.iter().zip(&widths).zip(&right) {
                let pad = " ".repeat(width - field.chars().count());
                let (before, after) = if *right { (pad, String::new()) } else { (String::new(), pad) };
                let _ = write!(text, "{before}{field}{after}  ");
            }
            out.push_str(text.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Control, C1 and direction-changing characters as `\u{…}`: captured text must not drive a terminal.
pub fn escape_terminal(text: &str) -> String {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{061c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
            || matches!(c as u32, 0xe0000..=0xe007f)
    };
    if !text.contains(hostile) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if hostile(c) => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

/// RFC 3339 in UTC with nine digits; the bare number where no calendar has that year.
pub fn time_text(ns: i64) -> String {
    match Timestamp::from_nanosecond(i128::from(ns)) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => ns.to_string(),
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// `8-4-4-4-12` hex for 16 bytes; plain hex for any other length.
pub fn uuid(bytes: &[u8]) -> String {
    let hex = hex(bytes);
    if bytes.len() != 16 {
        return hex;
    }
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// base64url without padding (RFC 4648 section 5).
pub fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = (u32::from(chunk[0]) << 16)
            | (u32::from(chunk.get(1).copied().unwrap_or(0)) << 8)
            | u32::from(chunk.get(2).copied().unwrap_or(0));
        for digit in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    out
}

fn bytes_text(bytes: &[u8], kind: CellKind) -> String {
    match kind {
        CellKind::Uuid => uuid(bytes),
        CellKind::Bytes => base64url(bytes),
        _ => hex(bytes),
    }
}

/// A cell as plain text; absent is empty.
pub fn plain(cell: &Cell, kind: CellKind) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Bool(b) => b.to_string(),
        Cell::Int(n) => n.to_string(),
        Cell::UInt(n) => n.to_string(),
        Cell::Float(n) => n.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Bytes(bytes) => bytes_text(bytes, kind),
        Cell::TimeNs(ns) => time_text(*ns),
        Cell::List(items) => {
            items.iter().map(|item| plain(item, CellKind::Text)).collect::<Vec<_>>().join(" ")
        }
    }
}

/// A cell by the JSON rules of the API.
pub fn json_cell(cell: &Cell, kind: CellKind, out: &mut String) {
    match cell {
        Cell::Null => out.push_str("null"),
        Cell::Bool(b) => {
            let _ = write!(out, "{b}");
        }
        Cell::Int(n) => {
            let _ = write!(out, "{n}");
        }
        Cell::UInt(n) => {
            let _ = write!(out, "{n}");
        }
        Cell::Float(n) if n.is_finite() => {
            let _ = write!(out, "{n}");
        }
        Cell::Float(n) => json_text(&n.to_string(), out),
        Cell::Text(text) => json_text(text, out),
        Cell::Bytes(bytes) => json_text(&bytes_text(bytes, kind), out),
        Cell::TimeNs(ns) => json_text(&time_text(*ns), out),
        Cell::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                json_cell(item, kind, out);
            }
            out.push(']');
        }
    }
}

/// A JSON string.
pub fn json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || matches!(c, '\u{7f}' | '\u{2028}' | '\u{2029}') => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: Vec<(&str, CellKind, Cell)>) -> Rows {
        let columns =
            cells.iter().map(|(name, kind, _)| Column { name: (*name).to_owned(), kind: *kind }).collect();
        Rows { columns, rows: vec![cells.into_iter().map(|(_, _, cell)| cell).collect()], ..Rows::default() }
    }

    #[test]
    fn json_follows_the_rules_of_the_api() {
        let rows = rows(vec![
            ("index", CellKind::Int, Cell::Int(7)),
            ("time", CellKind::Time, Cell::TimeNs(1_790_000_000_000_000_001)),
            ("id", CellKind::Uuid, Cell::Bytes((0..16).collect())),
            ("trace", CellKind::Id, Cell::Bytes(vec![0xab; 16])),
            ("content", CellKind::Bytes, Cell::Bytes(vec![0xfb, 0xff])),
            ("error", CellKind::Text, Cell::Null),
            ("who", CellKind::Text, Cell::Text("a\"\u{1}\n".to_owned())),
            ("label", CellKind::List, Cell::List(vec![Cell::Text("pii".to_owned())])),
        ]);
        assert_eq!(
            rows.to_ndjson(),
            "{\"index\":7,\"time\":\"2026-09-21T14:13:20.000000001Z\",\"id\":\"00010203-0405-0607-0809-0a0b0c0d0e0f\",\
             \"trace\":\"abababababababababababababababab\",\"content\":\"-_8\",\"who\":\"a\\\"\\u0001\\n\",\"label\":[\"pii\"]}\n"
        );
    }

    #[test]
    fn csv_quotes_and_defuses_formulas() {
        let rows = rows(vec![
            ("a", CellKind::Text, Cell::Text("=cmd()".to_owned())),
            ("b", CellKind::Text, Cell::Text("x,\"y\"".to_owned())),
            ("n", CellKind::Int, Cell::Int(-3)),
        ]);
        assert_eq!(rows.to_csv(false), "a,b,n\r\n'=cmd(),\"x,\"\"y\"\"\",-3\r\n");
        assert_eq!(rows.to_csv(true), "a,b,n\r\n=cmd(),\"x,\"\"y\"\"\",-3\r\n");
    }

    #[test]
    fn captured_text_cannot_drive_a_terminal() {
        assert_eq!(
            escape_terminal("a\u{1b}[2Jb\u{202e}c\u{9b}\u{e0041}"),
            "a\\u{1b}[2Jb\\u{202e}c\\u{9b}\\u{e0041}"
        );
        let rows = rows(vec![
            ("who", CellKind::Text, Cell::Text("x\r\ny".to_owned())),
            ("n", CellKind::Int, Cell::Int(5)),
        ]);
        assert_eq!(rows.to_text_table(40), "who     n\nx\\r\\ny  5\n");
    }

    #[test]
    fn base64url_matches_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
    }
}
