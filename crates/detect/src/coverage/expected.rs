//! What should call what, from what a house has written down already: service lists, Kubernetes manifests, mesh
//! configuration, OpenAPI, protobuf, database grants.
//!
//! Not a policy: nothing is allowed or denied by it. Each callee has callers (who may reach it, on which port) and
//! operations (what it offers); a callee that no document mentions is never judged, and neither is a side of it that no
//! document speaks of. Invariants: a document that is not understood is refused with its place and reason; at most
//! [`RULES_MAX`] rules; the order of the documents changes nothing.

mod grants;
mod kubernetes;
mod list;
pub(crate) mod openapi;
mod operation;
mod protobuf;

pub use operation::Operation;
pub use protobuf::{PROTO_NESTING_MAX, Rpc, rpcs};

use super::observed::Edge;
use crate::documents::{self, Refused};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Most rules (callers and operations) over all callees.
pub const RULES_MAX: usize = 200_000;

/// One text to read.
#[derive(Clone, Copy, Debug)]
pub struct Document<'t> {
    /// Name: a file's path. Its ending says what it is where the text does not: `.proto`, `.csv`, `.toml`.
    pub source: &'t str,
    /// The service that it is about, as events name it, for texts that name none (OpenAPI, protobuf, grants). Empty =
    /// the text's own word (`x-countersign-service`, `info.title`, the last part of a protobuf service).
    pub service: &'t str,
    /// The text.
    pub text: &'t str,
}

/// Who may reach a callee.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    /// Names for the same caller, lower case; empty = anybody.
    pub names: BTreeSet<String>,
    /// Ports; empty = any.
    pub ports: BTreeSet<u16>,
    /// Protocol, lower case, without version; empty = any.
    pub proto: String,
    /// Operations; empty = any.
    pub operations: BTreeSet<Operation>,
}

/// One service and all that is said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callee {
    /// Who may reach it; empty = nothing is said of that.
    pub callers: BTreeSet<Caller>,
    /// What it offers; empty = nothing is said of that.
    pub operations: BTreeSet<Operation>,
    /// Documents that speak of it.
    pub sources: BTreeSet<String>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    callees: BTreeMap<String, Callee>,
    /// Other names of callees, lower case.
    aliases: BTreeMap<String, String>,
    rules: usize,
    /// Kubernetes objects that say nothing about who calls what, by kind.
    pub passed_over: BTreeMap<String, u64>,
    /// What was not taken.
    pub refused: Vec<Refused>,
}

/// What documents say of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It should be.
    Expected,
    /// No document speaks of the callee.
    Unmentioned,
    /// The callee's documents have no such caller.
    Caller,
    /// They have no such operation.
    Operation,
}

impl Expected {
    /// Reads documents. What is refused is in [`Expected::refused`]; the rest counts.
    pub fn read(documents: &[Document<'_>]) -> Expected {
        let mut expected = Expected::default();
        let mut cluster = kubernetes::Cluster::default();
        for document in documents {
            if let Err(refused) = expected.document(document, &mut cluster) {
                expected.refused.push(refused);
            }
        }
        cluster.finish(&mut expected);
        expected
    }

    fn document(&mut self, of: &Document<'_>, cluster: &mut kubernetes::Cluster) -> Result<(), Refused> {
        if of.text.len() > documents::TEXT_MAX {
            return Err(Refused::new(of.source, "", format!("longer than {} bytes", documents::TEXT_MAX)));
        }
        let ending = of.source.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        match ending.as_str() {
            "proto" => protobuf::read(self, of),
            "csv" => match of.text.lines().next().unwrap_or_default().to_ascii_lowercase() {
                head if head.contains("grantee") => grants::read(self, of),
                _ => list::read_csv(self, of),
            },
            "toml" => list::read_toml(self, of),
            _ => {
                for read in documents::read(of.source, of.text) {
                    let (place, value) = read?;
                    self.value(of, &place, &value, cluster)?;
                }
                Ok(())
            }
        }
    }

    fn value(
        &mut self,
        of: &Document<'_>,
        place: &str,
        value: &Value,
        cluster: &mut kubernetes::Cluster,
    ) -> Result<(), Refused> {
        if value.get("openapi").is_some() {
            return openapi::read(self, of, place, value);
        }
        if value.get("call").is_some() {
            return list::read_value(self, of, place, value);
        }
        if value.get("kind").is_some() && value.get("apiVersion").is_some() {
            return cluster.object(self, of.source, place, value);
        }
        let why = if value.get("swagger").is_some() {
            "Swagger 2.0: convert it to OpenAPI 3"
        } else {
            "neither OpenAPI 3 (`openapi`), nor Kubernetes or Istio (`apiVersion`, `kind`), nor a service list (`call`)"
        };
        Err(Refused::new(of.source, place, why))
    }

    /// The callee of this name, made if it is new; `None` beyond [`RULES_MAX`].
    fn callee(&mut self, name: &str, source: &str) -> Option<&mut Callee> {
        if self.rules >= RULES_MAX {
            return None;
        }
        self.rules += 1;
        let name = name.to_lowercase();
        let callee = self.callees.entry(name).or_default();
        callee.sources.insert(source.to_owned());
        Some(callee)
    }

    fn caller(&mut self, source: &str, callee: &str, caller: Caller) -> Result<(), Refused> {
        let full = || Refused::new(source, "", format!("more than {RULES_MAX} rules"));
        self.callee(callee, source).ok_or_else(full)?.callers.insert(caller);
        Ok(())
    }

    fn operation(&mut self, source: &str, callee: &str, operation: Operation) -> Result<(), Refused> {
        let full = || Refused::new(source, "", format!("more than {RULES_MAX} rules"));
        self.callee(callee, source).ok_or_else(full)?.operations.insert(operation);
        Ok(())
    }

    /// Another name of a callee: `orders.shop` for `orders`.
    fn alias(&mut self, alias: &str, callee: &str) {
        self.aliases.insert(alias.to_lowercase(), callee.to_lowercase());
    }

    /// All callees by name.
    pub fn callees(&self) -> &BTreeMap<String, Callee> {
        &self.callees
    }

    /// Whether no document says anything.
    pub fn is_empty(&self) -> bool {
        self.callees.is_empty()
    }

    /// What documents say of the callee of an edge.
    pub fn callee_of(&self, edge: &Edge) -> Option<&Callee> {
        self.entry_of(edge).map(|(_, callee)| callee)
    }

    /// The same, with the name under which it stands.
    pub(super) fn entry_of(&self, edge: &Edge) -> Option<(&String, &Callee)> {
        let name = edge.callee.to_lowercase();
        let name = name.strip_suffix(".svc.cluster.local").or(name.strip_suffix(".svc")).unwrap_or(&name);
        let by_alias = |alias: &str| self.callees.get_key_value(self.aliases.get(alias)?);
        // A protobuf service names itself in its operations, whatever the route is called.
        let by_operation = || by_alias(&edge.operation.rsplit_once('/')?.0.to_lowercase());
        self.callees.get_key_value(name).or_else(|| by_alias(name)).or_else(by_operation)
    }

    /// Whether an edge should be.
    pub fn fit(&self, edge: &Edge) -> Fit {
        let Some(callee) = self.callee_of(edge) else { return Fit::Unmentioned };
        if !callee.callers.is_empty() && !callee.callers.iter().any(|caller| caller.takes(edge)) {
            return Fit::Caller;
        }
        if !callee.operations.is_empty() && !callee.operations.iter().any(|op| op.takes(&edge.operation)) {
            return Fit::Operation;
        }
        Fit::Expected
    }
}

impl Caller {
    /// Whether this rule is about such an edge.
    pub fn takes(&self, edge: &Edge) -> bool {
        self.is_named(edge)
            && (self.ports.is_empty() || edge.port == 0 || self.ports.contains(&edge.port))
            && (self.proto.is_empty() || edge.proto.is_empty() || self.proto == edge.proto.to_lowercase())
            && (self.operations.is_empty() || self.operations.iter().any(|op| op.takes(&edge.operation)))
    }

    /// By service name, by id, or by the end of a SPIFFE path (`/ns/shop/sa/web`).
    fn is_named(&self, edge: &Edge) -> bool {
        let (service, id) = (edge.caller.to_lowercase(), edge.id.to_lowercase());
        let path = id.strip_prefix("spiffe://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
        self.names.is_empty()
            || self.names.iter().any(|name| *name == service || *name == id || Some(name.as_str()) == path)
    }
}

#[cfg(test)]
mod tests;
