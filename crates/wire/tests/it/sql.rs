//! SQL text: statements, classes, tables, effects, and text without literals.

mod fuzz;
mod linear;
mod normal;
mod properties;
mod session;

use countersign_wire::sql::{Statement, classify};
use countersign_wire::stream::OpClass;

/// `class | operation | tables | statement` of every line of the table.
pub(crate) fn table() -> impl Iterator<Item = (&'static str, &'static str, &'static str, &'static str)> {
    include_str!("sql/statements.txt").lines().filter(|l| !l.starts_with('#')).map(|line| {
        let mut parts = line.splitn(4, '|').map(str::trim);
        let mut part = || parts.next().unwrap_or("not four parts");
        (part(), part(), part(), part())
    })
}

fn class_name(statement: &Statement) -> String {
    let class = match statement.class {
        None => "-",
        Some(OpClass::Read) => "read",
        Some(OpClass::Create) => "create",
        Some(OpClass::Modify) => "modify",
        Some(OpClass::Delete) => "delete",
        Some(OpClass::Execute) => "execute",
        Some(OpClass::Admin) => "admin",
        Some(OpClass::Schema) => "schema",
        Some(OpClass::Meta) => "meta",
        Some(OpClass::Authenticate | OpClass::Connect) => "no class of SQL",
    };
    format!("{}{class}", if statement.incomplete { "!" } else { "" })
}

fn tables(statement: &Statement) -> String {
    let named: Vec<_> = statement
        .tables
        .iter()
        .map(|t| {
            let dot = if t.schema.is_empty() { "" } else { "." };
            format!("{}{}{dot}{}", if t.written { "*" } else { "" }, t.schema, t.name)
        })
        .collect();
    named.join(" ")
}

#[test]
fn every_statement_has_its_class_operation_and_tables() {
    let mut wrong = Vec::new();
    for (class, operation, named, text) in table() {
        let got = classify(text, true);
        let seen = (class_name(&got), got.operation, tables(&got));
        if seen != (class.to_owned(), operation, named.to_owned()) {
            wrong.push(format!(
                "{text}\n    wanted {class} | {operation} | {named}\n    got    {} | {} | {}",
                seen.0, seen.1, seen.2
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Comments and white space are no part of what a statement does.
#[test]
fn comments_between_all_tokens_change_nothing() {
    for (class, operation, named, text) in table().filter(|(class, ..)| !class.starts_with('!')) {
        let spaced = text.replace(' ', " /* a /* ' */ -- */\n ");
        if text.contains(['\'', '$']) || text.contains("--") || text.contains("/*") {
            continue;
        }
        let got = classify(&spaced, true);
        assert_eq!(
            (class_name(&got).as_str(), got.operation, tables(&got).as_str()),
            (class, operation, named),
            "{spaced}"
        );
    }
}

#[test]
fn case_of_keywords_changes_nothing() {
    for (class, operation, _, text) in table().filter(|(.., text)| !text.contains(['"', '\'', '$', '\\'])) {
        for text in [text.to_ascii_uppercase(), text.to_ascii_lowercase()] {
            let got = classify(&text, true);
            assert_eq!((class_name(&got).as_str(), got.operation), (class, operation), "{text}");
        }
    }
}

#[test]
fn a_final_semicolon_changes_nothing() {
    for (_, _, _, text) in
        table().filter(|(class, _, _, text)| !class.starts_with('!') && !text.contains("--"))
    {
        assert_eq!(classify(text, true), classify(&format!("{text} ;"), true), "{text}");
    }
}
