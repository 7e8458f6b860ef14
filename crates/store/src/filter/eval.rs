//! The plain reading of a tree: one event, no columns, no shortcuts. Live tails use it, and the tests hold
//! the SQL against it.

use super::fields::{FAILED, FAILURES, SEARCHED, UNKNOWN};
use super::sql::pointer;
use super::{Node, Pred, Test, Ty, Value, fold, values};
use crate::content;
use crate::schema::{self, Get, plain_number};
use countersign_event::Event;
use std::borrow::Cow;

/// A column's value.
enum Val<'e> {
    Absent,
    Text(Cow<'e, str>),
    Int(i64),
    Bytes(&'e [u8]),
    List(Vec<&'e str>),
}

pub(super) fn matches(node: &Node, event: &Event, index: u64) -> bool {
    match node {
        Node::All => true,
        Node::And(nodes) => nodes.iter().all(|n| matches(n, event, index)),
        Node::Or(nodes) => nodes.iter().any(|n| matches(n, event, index)),
        Node::Not(inner) => !matches(inner, event, index),
        Node::Entry(entry) => *entry == index,
        Node::Pred(p) => pred(p, event, index),
        Node::Text(glob) => {
            let folded = glob.folded();
            let found = SEARCHED.iter().any(|col| match value(col, event, index) {
                Val::Text(text) => folded.within(&fold(&text)),
                _ => false,
            });
            found
                || values::pasted_id(glob).is_some_and(|id| {
                    id == event.core.eid || event.links.trace.is_some_and(|trace| id == trace)
                })
        }
    }
}

fn value<'e>(col: &str, event: &'e Event, index: u64) -> Val<'e> {
    let text = |text: &'e str| if text.is_empty() { Val::Absent } else { Val::Text(Cow::Borrowed(text)) };
    match schema::find(col).map(|col| &col.get) {
        Some(Get::Text(f)) => text(f(event)),
        Some(Get::Word(f)) => f(event).map_or(Val::Absent, text),
        Some(Get::Made(f)) => f(event).map_or(Val::Absent, Val::Text),
        Some(Get::Int(f) | Get::Time(f)) => f(event).map_or(Val::Absent, Val::Int),
        Some(Get::Fixed(_, f)) => f(event).map_or(Val::Absent, Val::Bytes),
        Some(Get::List(f)) => Some(f(event)).filter(|list| !list.is_empty()).map_or(Val::Absent, Val::List),
        Some(Get::Index) => Val::Int(index as i64),
        Some(Get::Bool(_) | Get::IsEvent | Get::Exact) | None => Val::Absent,
    }
}

fn pred(p: &Pred, event: &Event, index: u64) -> bool {
    if let Some(key) = &p.key {
        let found = match p.field.col {
            "header" => content::header(&event.content, key),
            "detail" => content::detail(&event.content, event.core.kind, key),
            _ => content::unmapped(&event.content, &pointer(key)),
        };
        return test(p, found.map_or(Val::Absent, |text| Val::Text(Cow::Owned(text))), event);
    }
    if p.field.is_peer() {
        return ["src", "dst"].iter().any(|col| test(p, value(col, event, index), event));
    }
    test(p, value(p.field.col, event, index), event)
}

fn test(p: &Pred, value: Val<'_>, event: &Event) -> bool {
    match &p.test {
        Test::Present => !matches!(value, Val::Absent),
        Test::Regex(re) => match value {
            Val::Text(text) => re.compiled.is_match(&text),
            Val::List(list) => list.iter().any(|text| re.compiled.is_match(text)),
            _ => false,
        },
        Test::Compare(op, n) => number(p, &value, event).is_some_and(|value| op.holds(value, *n)),
        Test::Between(low, high) => {
            number(p, &value, event).is_some_and(|value| *low <= value && value <= *high)
        }
        Test::Any(values) => values.iter().any(|wanted| equal(wanted, &value)),
    }
}

fn number(p: &Pred, value: &Val<'_>, event: &Event) -> Option<i64> {
    match (value, p.field.ty) {
        (Val::Int(n), _) => Some(*n),
        (_, Ty::Status) => event.core.status.as_ref().and_then(|(_, code)| plain_number(code)),
        (Val::Text(text), _) if p.key.is_some() => plain_number(text),
        _ => None,
    }
}

fn equal(wanted: &Value, value: &Val<'_>) -> bool {
    match (wanted, value) {
        (Value::Text(glob), Val::Text(text)) => glob.matches(text),
        (Value::Text(glob), Val::List(list)) => list.iter().any(|text| glob.matches(text)),
        (Value::Word(UNKNOWN), Val::Absent) => true,
        (Value::Word(FAILED), Val::Text(text)) => FAILURES.contains(&text.as_ref()),
        (Value::Word(word), Val::Text(text)) => *word == text.as_ref(),
        (Value::Int(n), Val::Int(value)) => n == value,
        (Value::Bytes(bytes), Val::Bytes(value)) => bytes == value,
        (Value::Net(block, prefix), Val::Text(text)) => {
            text.parse().is_ok_and(|ip| values::in_block(ip, *block, *prefix))
        }
        _ => false,
    }
}
