//! The registry as the page `docs/reference/fields.md`.

use super::{FIELDS, Field, Key, detail, sys};
use crate::GROUP_NAMES;
use crate::enums::*;
use crate::map::{ROWS, Row};
use std::fmt::Write;

/// Name, number and word of every enum value, in the order of the documentation.
pub fn enums() -> Vec<(&'static str, u64, &'static str)> {
    let mut all = Vec::new();
    macro_rules! add {
        ($($name:ident),+) => {
            $(all.extend($name::ALL.iter().map(|value| (stringify!($name), value.code(), value.word())));)+
        };
    }
    add!(
        TimeBasis,
        Rec,
        Kind,
        Class,
        Outcome,
        StatusSpace,
        Verdict,
        Mode,
        Auth,
        Verified,
        PrincipalKind,
        Relation
    );
    add!(IdentityFrom, Transport, LinkVia, CaptureMode, CaptureConf, DigestAlg, FindingState, Severity);
    all
}

/// The whole page.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Fields of the event, schema 1\n\n\
         Generated from `crates/event/src/fields/`; a test compares the two. Types: `u`, `i` integers; `t` text; \
         `b` bytes (`bN`: exactly N); `e` enum; `[…]` array; `ns` nanoseconds, UTC for times. Bounds are bytes, or \
         items of a list. **R** = required wherever its map is present. Field id = group × 256 + key. A set is \
         sorted bytewise, without duplicates. Places in OCSF and OpenTelemetry: `mapping.md` has the rows; where none is \
         given, the value travels in the extension.\n",
    );
    let mut home = "";
    for field in FIELDS {
        if field.home != home {
            home = field.home;
            heading(&mut page, home);
        }
        row(&mut page, field);
    }
    keyed(&mut page, "detail", detail::TABLES);
    keyed(&mut page, "sys", sys::TABLES);
    enum_table(&mut page);
    page
}

fn heading(page: &mut String, home: &str) {
    let title = match GROUP_NAMES.iter().position(|name| *name == home) {
        Some(g) => format!("Group {g} {home}"),
        None => format!("Map {home}"),
    };
    let _ = write!(
        page,
        "\n## {title}\n\n| key | name | type | bound | filter, SQL | OCSF 1.8 | OTel | meaning |\n"
    );
    page.push_str("|---|---|---|---|---|---|---|---|\n");
}

fn row(page: &mut String, field: &Field) {
    let required = if field.required { " **R**" } else { "" };
    let bound = if field.bound == 0 { String::new() } else { field.bound.to_string() };
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let _ = writeln!(
        page,
        "| {} | {}{required} | {} | {bound} | {} | {} | {} | {} |",
        field.key,
        field.name,
        code(field.ty),
        code(field.column),
        places(field, |row| row.ocsf),
        places(field, |row| row.otel),
        field.meaning
    );
}

/// The places outside that the mapping has for a field of any map.
fn places(field: &Field, place: fn(&Row) -> &'static str) -> String {
    let mut all: Vec<&str> = Vec::new();
    for row in ROWS.iter().filter(|row| row.registered() == Some(field)) {
        if !place(row).is_empty() && !all.contains(&place(row)) {
            all.push(place(row));
        }
    }
    all.join(", ")
}

fn keyed(page: &mut String, name: &str, tables: &[(&str, &[Key])]) {
    let _ = write!(page, "\n## Keys of {name}\n\n| of | keys |\n|---|---|\n");
    for (kind, keys) in tables {
        let keys: Vec<String> =
            keys.iter().map(|key| format!("{} {} `{}`", key.key, key.name, key.ty)).collect();
        let _ = writeln!(page, "| {kind} | {} |", keys.join(" · "));
    }
}

fn enum_table(page: &mut String) {
    page.push_str("\n## Enums\n\n0 is unknown and never written; a number not listed is kept as it is.\n\n");
    page.push_str("| enum | values |\n|---|---|");
    let mut last = "";
    for (name, code, word) in enums() {
        if name == last {
            let _ = write!(page, " · {code} {word}");
        } else {
            let _ = write!(page, "{}\n| {name} | {code} {word}", if last.is_empty() { "" } else { " |" });
            last = name;
        }
    }
    page.push_str(" |\n");
}
