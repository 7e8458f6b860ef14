//! The entities file: who is in which group, which service is in which group, which group in which.
//!
//! JSON, three objects of name to list of groups; every one may be left out:
//!
//! ```json
//! { "groups":     { "payments": ["finance"] },
//!   "principals": { "spiffe://example.org/ns/shop/sa/payments": ["payments"] },
//!   "services":   { "orders": ["customer-data"] } }
//! ```
//!
//! Not Cedar's entity format: that would let a file give a caller attributes that only a credential can give.

use crate::error::Problem;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Largest entities file, bytes.
pub const ENTITIES_FILE_MAX: usize = 16 << 20;
/// Most names in the file, groups of a list included.
pub const ENTITIES_MAX: usize = 200_000;
/// Longest name, bytes.
pub(crate) const NAME_MAX: usize = 1_024;
/// Most groups above one name, directly and indirectly.
pub const GROUPS_MAX: usize = 256;

/// The file, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships {
    /// Group to groups.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Principal id to groups.
    pub principals: BTreeMap<String, Vec<String>>,
    /// Service name to groups.
    pub services: BTreeMap<String, Vec<String>>,
}

impl Memberships {
    /// Reads a file's text. `file` is its name in problems.
    ///
    /// # Errors
    /// What is wrong: syntax with line and column; otherwise by name.
    pub fn parse(file: &str, text: &str) -> Result<Memberships, Problem> {
        if text.len() > ENTITIES_FILE_MAX {
            let why = format!("larger than {ENTITIES_FILE_MAX} bytes");
            return Err(Problem::of_file(file, why, "leave out what no policy names"));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Problem { line, column, ..Problem::of_file(file, error.to_string(), "") }
        })?;
        let Value::Object(top) = value else {
            return Err(Problem::of_file(file, "the file is no JSON object", "write { \"groups\": { … } }"));
        };
        let mut out = Memberships::default();
        let mut names = 0;
        for (key, value) in top {
            let into = match key.as_str() {
                "groups" => &mut out.groups,
                "principals" => &mut out.principals,
                "services" => &mut out.services,
                other => {
                    let why = format!("no key {other:?} here");
                    return Err(Problem::of_file(file, why, "known: groups, principals, services"));
                }
            };
            let Value::Object(members) = value else {
                return Err(Problem::of_file(file, format!("{key} is no object of name to list"), ""));
            };
            *into = lists(file, &key, members, &mut names)?;
        }
        out.closure_of_all(file)?;
        Ok(out)
    }

    /// All groups above `direct`, sorted; `direct` included.
    pub fn above(&self, direct: &[String]) -> Option<Vec<String>> {
        let mut found: Vec<String> = Vec::new();
        let mut todo: Vec<&String> = direct.iter().collect();
        while let Some(group) = todo.pop() {
            if let Err(at) = found.binary_search(group) {
                if found.len() >= GROUPS_MAX {
                    return None;
                }
                found.insert(at, group.clone());
                todo.extend(self.groups.get(group).into_iter().flatten());
            }
        }
        Some(found)
    }

    fn closure_of_all(&self, file: &str) -> Result<(), Problem> {
        for (kind, map) in
            [("groups", &self.groups), ("principals", &self.principals), ("services", &self.services)]
        {
            for (name, direct) in map {
                let Some(above) = self.above(direct) else {
                    let why = format!("{kind}: {name:?} is in more than {GROUPS_MAX} groups");
                    return Err(Problem::of_file(file, why, "flatten the groups"));
                };
                if kind == "groups" && above.contains(name) {
                    let why = format!("groups: {name:?} is, by way of others, in itself");
                    return Err(Problem::of_file(file, why, "break the circle"));
                }
            }
        }
        Ok(())
    }
}

fn lists(
    file: &str,
    key: &str,
    members: Map<String, Value>,
    names: &mut usize,
) -> Result<BTreeMap<String, Vec<String>>, Problem> {
    let mut out = BTreeMap::new();
    for (name, value) in members {
        let Value::Array(items) = value else {
            return Err(Problem::of_file(file, format!("{key}: the value of {name:?} is no list"), ""));
        };
        *names += 1 + items.len();
        if *names > ENTITIES_MAX {
            return Err(Problem::of_file(file, format!("more than {ENTITIES_MAX} names"), "leave some out"));
        }
        let mut groups = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Value::String(group) if (1..=NAME_MAX).contains(&group.len()) => groups.push(group),
                _ => {
                    let why = format!("{key}: a group of {name:?} is no text of 1 to {NAME_MAX} bytes");
                    return Err(Problem::of_file(file, why, ""));
                }
            }
        }
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(Problem::of_file(file, format!("{key}: a name is empty or too long"), ""));
        }
        out.insert(name, groups);
    }
    Ok(out)
}
