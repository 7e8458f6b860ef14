//! pgaudit: `AUDIT: TYPE,STATEMENT_ID,SUBSTATEMENT_ID,CLASS,COMMAND,OBJECT_TYPE,OBJECT_NAME,STATEMENT,PARAMETER[,ROWS]`.
//!
//! It is written before the statement has run, so it has no outcome. Source: pgaudit's README, "Format".

use super::super::{csv, sql};
use crate::Draft;
use countersign_event::cbor::Value;
use countersign_event::fields::detail;
use countersign_event::{Class, Kind, Target};

/// Stands where a text was logged before or is not logged.
const ABSENT: [&str; 3] = ["<previously logged>", "<not logged>", "<none>"];

/// Reads what stands behind `AUDIT: `.
pub(super) fn read(draft: &mut Draft, record: &str) {
    let fields = csv::split(record).unwrap_or_default();
    let get = |at: usize| fields.get(at).map(AsRef::as_ref).unwrap_or_default();
    if fields.len() < 9 {
        draft.event.core.kind = Some(Kind::Sql);
        draft.partial("a record of pgaudit has not its fields");
        return;
    }
    let (class, command) = (get(3), get(4));
    draft.event.core.class = match (class, command) {
        ("READ", _) => Some(Class::Read),
        ("WRITE", "INSERT") => Some(Class::Create),
        ("WRITE", "DELETE" | "TRUNCATE TABLE") => Some(Class::Delete),
        ("WRITE", _) => Some(Class::Modify),
        ("FUNCTION", _) => Some(Class::Execute),
        ("ROLE", _) => Some(Class::Admin),
        ("DDL", _) => Some(Class::Schema),
        ("MISC" | "MISC_SET", _) => Some(Class::Meta),
        _ => None,
    };
    command.clone_into(&mut draft.event.core.op);
    draft.event.core.kind = Some(Kind::Sql);
    let object = Target { res: get(6).to_owned(), rtype: get(5).to_ascii_lowercase(), ..Target::default() };
    if !ABSENT.contains(&get(7)) && !get(7).is_empty() {
        sql::statement(draft, get(7));
    }
    if !object.res.is_empty() {
        // What pgaudit says was touched counts for more than what the text names.
        let target = &mut *draft.event.target;
        (target.res, target.rtype) = (object.res, object.rtype);
        let named = target.res.clone();
        target.more.retain(|more| more.res != named);
    }
    if !ABSENT.contains(&get(8)) && !get(8).is_empty() {
        draft.event.content.redacted.push(("sql_parameters".to_owned(), 1));
    }
    if let Ok(rows) = get(9).parse() {
        draft.event.content.detail.insert(detail::sql::ROWS, Value::Uint(rows));
    }
    for (name, at) in [("audit_type", 0), ("statement_id", 1), ("substatement_id", 2), ("audit_class", 3)] {
        draft.rest(name, get(at));
    }
}
