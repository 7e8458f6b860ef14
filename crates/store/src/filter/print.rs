//! The canonical text of a tree.

use super::lex::is_space;
use super::{Field, Glob, Node, Piece, Pred, Test, Ty, Value};
use crate::rows::{hex, time_text, uuid};

pub(super) fn print(root: &Node) -> String {
    let mut out = String::new();
    if *root != Node::All {
        node(root, Around::Nothing, &mut out);
    }
    out
}

/// What stands around a node decides whether it needs parentheses.
#[derive(Clone, Copy, PartialEq)]
enum Around {
    Nothing,
    Or,
    And,
    Not,
}

fn node(n: &Node, around: Around, out: &mut String) {
    let parens = match n {
        Node::All => true,
        Node::And(_) => matches!(around, Around::And | Around::Not),
        Node::Or(_) => around != Around::Nothing,
        _ => false,
    };
    if parens {
        out.push('(');
    }
    match n {
        Node::All => {}
        Node::And(nodes) => join(nodes, Around::And, " ", out),
        Node::Or(nodes) => join(nodes, Around::Or, " OR ", out),
        Node::Not(inner) => {
            out.push('-');
            node(inner, Around::Not, out);
        }
        Node::Pred(p) => pred(p, out),
        Node::Entry(index) => out.push_str(&format!("#{index}")),
        Node::Text(glob) => out.push_str(&text(glob, true)),
    }
    if parens {
        out.push(')');
    }
}

fn join(nodes: &[Node], around: Around, between: &str, out: &mut String) {
    for (at, n) in nodes.iter().enumerate() {
        if at > 0 {
            out.push_str(between);
        }
        node(n, around, out);
    }
}

fn pred(p: &Pred, out: &mut String) {
    out.push_str(p.field.name);
    if let Some(key) = &p.key {
        out.push('.');
        let plain =
            key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) && !key.is_empty();
        out.push_str(&if plain { key.clone() } else { quoted(key) });
    }
    out.push(':');
    match &p.test {
        Test::Present => out.push('*'),
        Test::Regex(re) => {
            out.push('~');
            out.push_str(&quoted(&re.text));
        }
        Test::Compare(op, n) => {
            out.push_str(op.text());
            out.push_str(&number(p.field, *n));
        }
        Test::Between(low, high) => {
            out.push_str(&format!("{}..{}", number(p.field, *low), number(p.field, *high)));
        }
        Test::Any(values) if values.len() == 1 => out.push_str(&value(p.field, &values[0])),
        Test::Any(values) => {
            let values: Vec<_> = values.iter().map(|v| value(p.field, v)).collect();
            out.push_str(&format!("({})", values.join(" OR ")));
        }
    }
}

fn value(field: &Field, value: &Value) -> String {
    match value {
        Value::Text(glob) => text(glob, false),
        Value::Word(word) => (*word).to_owned(),
        Value::Int(n) => number(field, *n),
        Value::Bytes(bytes) if field.name == "id" || field.name == "of" => uuid(bytes),
        Value::Bytes(bytes) => hex(bytes),
        Value::Net(ip, prefix) if *prefix == if ip.is_ipv4() { 32 } else { 128 } => ip.to_string(),
        Value::Net(ip, prefix) => format!("{ip}/{prefix}"),
    }
}

fn number(field: &Field, n: i64) -> String {
    match field.ty {
        Ty::Duration => {
            let unit = super::values::DURATIONS
                .iter()
                .find(|(_, factor)| (n as u64).is_multiple_of(*factor) && n != 0);
            match unit {
                Some((unit, factor)) => format!("{}{unit}", n as u64 / factor),
                None => format!("{n}ns"),
            }
        }
        // a number alone is read as nanoseconds: what no calendar holds stays one
        Ty::Time => time_text(n),
        _ => n.to_string(),
    }
}

/// As a word where that reads back the same, else in quotes; a pattern with stars as a word with escapes.
fn text(glob: &Glob, bare: bool) -> String {
    match glob.as_text() {
        Some(text) if !is_plain(text, bare) => quoted(text),
        Some(text) => text.to_owned(),
        None => {
            let mut out = String::new();
            for piece in &glob.0 {
                match piece {
                    Piece::Star => out.push('*'),
                    Piece::Text(text) => {
                        text.chars().for_each(|c| escape_in_word(c, out.is_empty(), &mut out))
                    }
                }
            }
            out
        }
    }
}

fn escape_in_word(c: char, first: bool, out: &mut String) {
    let needs = is_space(c)
        || c.is_control()
        || matches!(c, '(' | ')' | '"' | '\\' | '*' | ':')
        || (c == '.' && out.ends_with('.'))
        || (first && matches!(c, '-' | '#' | '~' | '<' | '>'));
    if needs {
        out.push('\\');
    }
    out.push(c);
}

/// Whether a word means just this text.
fn is_plain(text: &str, bare: bool) -> bool {
    let inside = |c: char| is_space(c) || c.is_control() || matches!(c, '(' | ')' | '"' | '\\' | '*');
    let special = text.is_empty()
        || text.contains(inside)
        || text.starts_with(['-', '#', '~', '<', '>'])
        || matches!(text, "OR" | "AND" | "NOT")
        || text.contains("..")
        || (bare && text.contains(':'));
    !special
}

pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
