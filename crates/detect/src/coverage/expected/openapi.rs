//! OpenAPI 3: the operations that a service offers.

use super::{Document, Expected, Operation};
use crate::documents::{Refused, list, members, text};
use serde_json::Value;

/// Members of a path that are operations.
pub(crate) const METHODS: [&str; 9] =
    ["get", "put", "post", "delete", "options", "head", "patch", "trace", "query"];

pub(super) fn read(
    into: &mut Expected,
    of: &Document<'_>,
    place: &str,
    value: &Value,
) -> Result<(), Refused> {
    let service = service(of.service, value);
    if service.is_empty() {
        return Err(Refused::new(of.source, format!("{place} info.title"), "no name of the service"));
    }
    let version = text(value, "/openapi");
    if !version.starts_with("3.") {
        let why = format!("version {version:?}: known is 3.x");
        return Err(Refused::new(of.source, format!("{place} openapi"), why));
    }
    for base in bases(value) {
        for (path, item) in members(value, "/paths").filter(|(path, _)| path.starts_with('/')) {
            for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
                let operation = Operation::new(&format!("{} {base}{path}", method.to_uppercase()));
                into.operation(of.source, &service, operation)?;
            }
        }
    }
    Ok(())
}

/// What events call it: as configured, else the document's own extension, else its title.
pub(crate) fn service(configured: &str, value: &Value) -> String {
    let own = [configured, text(value, "/x-countersign-service"), text(value, "/info/title")];
    own.iter().find(|name| !name.is_empty()).map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// The paths before each path: of every server once; nothing when there is none.
pub(crate) fn bases(value: &Value) -> Vec<String> {
    let mut bases: Vec<String> = list(value, "/servers")
        .iter()
        .map(|server| {
            let url = text(server, "/url");
            let path = match url.split_once("://") {
                Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
                None => url,
            };
            path.trim_end_matches('/').to_owned()
        })
        .collect();
    bases.sort();
    bases.dedup();
    if bases.is_empty() {
        bases.push(String::new());
    }
    bases
}
