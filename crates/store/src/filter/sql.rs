//! The SQL of a tree. Every predicate ends up true or false: where SQL would say null, `coalesce` or
//! `IS DISTINCT FROM` says false.

use super::fields::{FAILED, FAILURES, SEARCHED, UNKNOWN};
use super::{Field, Glob, Node, Pred, Test, Ty, Value, values};
use crate::rows::{hex, time_text};

pub(super) fn condition(root: &Node) -> String {
    node(root, false)
}

/// `strict`: must be true or false, never null, because something negates it.
fn node(n: &Node, strict: bool) -> String {
    match n {
        Node::All => "true".to_owned(),
        Node::And(nodes) => join(nodes.iter().map(|n| grouped(n, strict)).collect(), " AND "),
        Node::Or(nodes) => join(nodes.iter().map(|n| grouped(n, strict)).collect(), " OR "),
        Node::Not(inner) => negated(inner),
        Node::Pred(p) => pred(p, strict),
        Node::Entry(index) => format!("\"index\" = {index}"),
        Node::Text(glob) => text(glob),
    }
}

/// Parts side by side. The SQL parser takes all that follows `DISTINCT FROM` for its right side, so such a
/// part stands in parentheses unless it is the last.
fn join(mut parts: Vec<String>, between: &str) -> String {
    let last = parts.len().saturating_sub(1);
    for part in &mut parts[..last] {
        if part.contains(" DISTINCT FROM ") && !part.starts_with('(') {
            *part = format!("({part})");
        }
    }
    parts.join(between)
}

fn grouped(n: &Node, strict: bool) -> String {
    match n {
        Node::And(_) | Node::Or(_) => format!("({})", node(n, strict)),
        _ => node(n, strict),
    }
}

fn negated(inner: &Node) -> String {
    if let Node::Pred(p) = inner
        && !p.field.is_peer()
        && p.key.is_none()
    {
        match &p.test {
            Test::Present => return format!("{} IS NULL", ident(p.field.col)),
            Test::Any(values) => {
                if let [value] = values.as_slice()
                    && let Some(literal) = simple(p.field, value)
                {
                    return format!("{} IS DISTINCT FROM {literal}", ident(p.field.col));
                }
            }
            _ => {}
        }
    }
    format!("NOT ({})", node(inner, true))
}

fn text(glob: &Glob) -> String {
    let columns: Vec<_> = SEARCHED.iter().map(|col| ident(col)).collect();
    let found = format!("has_text({}, {})", quote(&glob.like()), columns.join(", "));
    match values::pasted_id(glob) {
        Some(id) => {
            format!("({found} OR coalesce(id = X'{0}', false) OR coalesce(trace = X'{0}', false))", hex(&id))
        }
        None => found,
    }
}

fn pred(p: &Pred, strict: bool) -> String {
    if p.field.is_peer() {
        let (src, dst) = (of_column(p, "src", strict), of_column(p, "dst", strict));
        return format!("({})", join(vec![src, dst], " OR "));
    }
    match &p.key {
        None => of_column(p, &ident(p.field.col), strict),
        Some(key) => of_column(p, &keyed(p.field, key), strict),
    }
}

/// The function that reads a key.
fn keyed(field: &Field, key: &str) -> String {
    match field.col {
        "detail" => format!("detail(content, kind, {})", quote(key)),
        "unmapped" => format!("unmapped(content, {})", quote(&pointer(key))),
        function => format!("{function}(content, {})", quote(key)),
    }
}

/// A key of `raw` as a JSON pointer.
pub(super) fn pointer(key: &str) -> String {
    if key.starts_with('/') { key.to_owned() } else { format!("/{key}") }
}

fn of_column(p: &Pred, col: &str, strict: bool) -> String {
    match &p.test {
        Test::Present => format!("{col} IS NOT NULL"),
        Test::Regex(re) if matches!(p.field.ty, Ty::List) => format!("any_match({col}, {})", quote(&re.text)),
        Test::Regex(re) => format!("coalesce(regexp_like({col}, {}), false)", quote(&re.text)),
        Test::Compare(op, n) => {
            format!("coalesce({} {} {}, false)", numeric(p, col), op.text(), number(p.field, *n))
        }
        Test::Between(low, high) => {
            let (low, high) = (number(p.field, *low), number(p.field, *high));
            format!("coalesce({} BETWEEN {low} AND {high}, false)", numeric(p, col))
        }
        Test::Any(values) => any(p, col, values, strict),
    }
}

/// The numeric view of a text column.
fn numeric(p: &Pred, col: &str) -> String {
    match p.field.ty {
        Ty::Status => "status_code".to_owned(),
        _ if p.key.is_some() => format!("number({col})"),
        _ => col.to_owned(),
    }
}

fn number(field: &Field, n: i64) -> String {
    match field.ty {
        Ty::Time => format!("TIMESTAMP {}", quote(&time_text(n))),
        _ => n.to_string(),
    }
}

fn any(p: &Pred, col: &str, values: &[Value], strict: bool) -> String {
    let literals: Option<Vec<String>> = values.iter().map(|value| simple(p.field, value)).collect();
    match literals.as_deref() {
        Some([one]) if strict => format!("{col} IS NOT DISTINCT FROM {one}"),
        Some([one]) => format!("{col} = {one}"),
        Some(many) if strict => format!("coalesce({col} IN ({}), false)", many.join(", ")),
        Some(many) => format!("{col} IN ({})", many.join(", ")),
        None => {
            let parts: Vec<_> = values.iter().map(|value| one(p, col, value, strict)).collect();
            if parts.len() == 1 { parts.concat() } else { format!("({})", join(parts, " OR ")) }
        }
    }
}

/// A literal for `=`, where equality is all there is to it.
fn simple(field: &Field, value: &Value) -> Option<String> {
    match (field.ty, value) {
        (Ty::List, _) => None,
        (_, Value::Text(glob)) => glob.as_text().map(quote),
        (_, Value::Word(word)) => (!matches!(*word, FAILED | UNKNOWN)).then(|| quote(word)),
        (_, Value::Int(n)) => Some(number(field, *n)),
        (_, Value::Bytes(bytes)) => Some(format!("X'{}'", hex(bytes))),
        (_, Value::Net(ip, prefix)) => {
            (*prefix == if ip.is_ipv4() { 32 } else { 128 }).then(|| quote(&ip.to_string()))
        }
    }
}

fn one(p: &Pred, col: &str, value: &Value, strict: bool) -> String {
    match (p.field.ty, value) {
        (Ty::List, Value::Text(glob)) => match glob.as_text() {
            Some(text) => format!("coalesce(array_has({col}, {}), false)", quote(text)),
            None => format!("any_like({col}, {})", quote(&glob.like())),
        },
        (_, Value::Text(glob)) if glob.as_text().is_none() => {
            format!("coalesce({col} LIKE {}, false)", quote(&glob.like()))
        }
        (_, Value::Word(word)) if *word == UNKNOWN => format!("{col} IS NULL"),
        (_, Value::Word(word)) if *word == FAILED => {
            let failures: Vec<_> = FAILURES.iter().map(|word| quote(word)).collect();
            format!("coalesce({col} IN ({}), false)", failures.join(", "))
        }
        (_, Value::Net(ip, prefix)) if simple(p.field, value).is_none() => {
            format!("in_cidr({col}, {})", quote(&format!("{ip}/{prefix}")))
        }
        _ => match simple(p.field, value) {
            Some(literal) if strict => format!("{col} IS NOT DISTINCT FROM {literal}"),
            Some(literal) => format!("{col} = {literal}"),
            None => "false".to_owned(),
        },
    }
}

/// A SQL string.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A column's name; quoted where SQL has another use for the word.
pub(crate) fn ident(name: &str) -> String {
    if matches!(name, "index" | "of" | "type" | "session") { format!("\"{name}\"") } else { name.to_owned() }
}
