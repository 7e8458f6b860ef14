//! Database grants: what `SELECT grantee, table_schema, table_name, privilege_type FROM
//! information_schema.role_table_grants` gives, as CSV.
//!
//! The grantee is a role of the database, which is what the gateway takes for the caller of a session without a stronger
//! identity. Owners hold every privilege and are granted it by name there.

use super::list::rows;
use super::{Caller, Document, Expected, Operation};
use crate::documents::Refused;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn read(into: &mut Expected, of: &Document<'_>) -> Result<(), Refused> {
    if of.service.is_empty() {
        return Err(Refused::new(
            of.source,
            "",
            "grants name no service: say which one this database is (`service`)",
        ));
    }
    let rows = rows(of.source, of.text)?;
    let Some(((_, header), rows)) = rows.split_first() else { return Ok(()) };
    let mut columns = [0; 4];
    for (at, name) in ["grantee", "table_schema", "table_name", "privilege_type"].into_iter().enumerate() {
        let found = header.iter().position(|have| have == name);
        columns[at] =
            found.ok_or_else(|| Refused::new(of.source, "line 1", format!("no column `{name}`")))?;
    }
    let mut roles: BTreeMap<String, BTreeSet<Operation>> = BTreeMap::new();
    for (line, row) in rows {
        let [grantee, schema, table, privilege] =
            columns.map(|at| row.get(at).map_or("", |text| text.trim()));
        if grantee.is_empty() || table.is_empty() || privilege.is_empty() {
            return Err(Refused::new(
                of.source,
                format!("line {line}"),
                "grantee, table or privilege is empty",
            ));
        }
        let operations = roles.entry(grantee.to_lowercase()).or_default();
        // A statement names a table with its schema or, by the search path, without.
        operations.insert(Operation::new(&format!("{privilege} {schema}.{table}")));
        operations.insert(Operation::new(&format!("{privilege} {table}")));
    }
    for (role, operations) in roles {
        // `PUBLIC` is everybody.
        let names =
            if role == "public" { BTreeSet::new() } else { [role.clone(), format!("db:{role}")].into() };
        let caller = Caller { names, proto: String::new(), ports: BTreeSet::new(), operations };
        into.caller(of.source, of.service, caller)?;
    }
    Ok(())
}
