//! A statement in a log: its class, tables and shape by the classifier that the gateway uses.
//!
//! Literals leave as `?`. The dialect is PostgreSQL's; another server's statement that it does not know is
//! incomplete, and then neither read nor meta.

use crate::Draft;
use countersign_event::cbor::Value;
use countersign_event::fields::{bound, detail};
use countersign_event::{Class, Kind, LinkVia, Target};
use countersign_wire::sql::{self, Table};
use countersign_wire::stream::OpClass;
use countersign_wire::trace;

/// The event's name for a class.
fn class(class: OpClass) -> Class {
    match class {
        OpClass::Read => Class::Read,
        OpClass::Create => Class::Create,
        OpClass::Modify => Class::Modify,
        OpClass::Delete => Class::Delete,
        OpClass::Execute => Class::Execute,
        OpClass::Admin => Class::Admin,
        OpClass::Authenticate => Class::Authenticate,
        OpClass::Connect => Class::Connect,
        OpClass::Schema => Class::Schema,
        OpClass::Meta => Class::Meta,
    }
}

/// How much a class changes: of several statements in one text the strongest stands for all.
fn strength(class: Class) -> u8 {
    match class {
        Class::Meta => 0,
        Class::Read => 1,
        Class::Create => 2,
        Class::Modify => 3,
        Class::Delete => 4,
        Class::Execute => 5,
        Class::Schema => 6,
        _ => 7,
    }
}

/// Sets operation, class, tables and normalised text of `text`. Operation and class that are known already stay.
pub(crate) fn statement(draft: &mut Draft, text: &str) {
    dialect(draft, text, true);
}

/// The same for MySQL's dialect: a text in double quotation marks is a literal, in backquotes a name, and a
/// backslash escapes.
pub(crate) fn mysql(draft: &mut Draft, text: &str) {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\'', '"', '`']) {
        let (before, behind) = rest.split_at(at);
        out.push_str(before);
        let (mark, inside) = behind.split_at(1);
        let end = closing(inside, mark.as_bytes().first().copied().unwrap_or_default());
        match (mark, end) {
            ("`", Some(end)) => {
                out.push('"');
                out.push_str(&inside[..end].replace('"', "\"\""));
                out.push('"');
            }
            // One that does not end is a literal to the end of the text.
            _ => out.push_str("''"),
        }
        rest = end.map_or("", |end| &inside[end + 1..]);
    }
    out.push_str(rest);
    dialect(draft, &out, false);
}

/// Where the mark that is open ends.
fn closing(text: &str, mark: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|b| *b == mark || *b == b'\\')?;
        match bytes.get(at) {
            Some(b'\\') if mark != b'`' => at += 2,
            Some(b'\\') => at += 1,
            _ if bytes.get(at + 1) == Some(&mark) => at += 2,
            _ => return Some(at),
        }
    }
}

fn dialect(draft: &mut Draft, text: &str, standard: bool) {
    let mut incomplete = false;
    let mut strongest: Option<(Option<Class>, &'static str)> = None;
    let mut tables: Vec<Table> = Vec::new();
    for range in sql::split(text, standard) {
        let one = sql::classify(text.get(range).unwrap_or_default(), standard);
        incomplete |= one.incomplete;
        let of = one.class.map(class);
        // One that is not known could be anything, so nothing is said of the whole.
        let stronger = match (strongest, of) {
            (None, _) | (Some((Some(_), _)), None) => true,
            (Some((None, _)), _) => false,
            (Some((Some(known), _)), Some(of)) => strength(of) > strength(known),
        };
        if stronger {
            strongest = Some((of, one.operation));
        }
        for table in one.tables {
            if tables.len() <= bound::MORE && !tables.contains(&table) {
                tables.push(table);
            }
        }
    }
    let core = &mut draft.event.core;
    core.kind = Some(Kind::Sql);
    if let Some((of, operation)) = strongest {
        core.class = core.class.or(of);
        if core.op.is_empty() {
            operation.clone_into(&mut core.op);
        }
    }
    let shown = sql::normalise(text, standard);
    draft.event.content.stmt = shown.text;
    if let Some(length) = shown.truncated {
        draft.event.content.cut.push((5 * 256 + 1, length));
    }
    if incomplete {
        draft.event.content.detail.insert(detail::sql::INCOMPLETE, Value::Bool(true));
    }
    self::tables(draft, tables);
    carried(draft, text);
}

fn tables(draft: &mut Draft, tables: Vec<Table>) {
    let name = |table: Table| match table.schema.as_str() {
        "" => table.name,
        schema => format!("{schema}.{}", table.name),
    };
    let mut names = tables.into_iter().map(name);
    let target = &mut *draft.event.target;
    if !target.res.is_empty() {
        return;
    }
    if let Some(first) = names.next() {
        target.res = first;
        "table".clone_into(&mut target.rtype);
    }
    target.more.extend(names.map(|res| Target { res, rtype: "table".to_owned(), ..Target::default() }));
}

/// Trace context in a comment: the client's claim.
fn carried(draft: &mut Draft, text: &str) {
    if !text.contains("traceparent") {
        return;
    }
    let tags = sql::comment_tags(text);
    let found = tags.iter().find(|(key, _)| key == "traceparent");
    if let Some(context) = found.and_then(|(_, value)| trace::traceparent(value.as_bytes())) {
        let links = &mut draft.event.links;
        links.trace = Some(context.trace);
        (links.span, links.parent) = (context.span, context.parent);
        links.tflags = context.flags.map(u64::from);
        links.via = Some(LinkVia::SqlComment);
    }
}
