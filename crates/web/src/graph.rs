//! Who calls whom, from the events themselves: the data behind the map and its table.
//!
//! One aggregate query; at most [`EDGES_MAX`] pairs, the busiest first, and the answer says when it was cut.

use crate::layout::{Edge as LayoutEdge, Node, NodeKind};
use crate::problem::Problem;
use crate::rows::{int, text};
use crate::state::AppState;
use crate::text::short_name;
use crate::time::rfc3339;
use countersign_store::{Complete, SqlRequest};
use std::collections::{BTreeMap, BTreeSet};

/// Most pairs read; more than the picture holds, because the table shows them too.
const EDGES_MAX: usize = 20_000;

/// One pair that spoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) who: String,
    pub(crate) service: String,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) denied: u64,
    pub(crate) p95_ns: Option<i64>,
    /// Weakest proof of identity seen on it; `None` = none seen.
    pub(crate) verified: Option<i64>,
    /// `none` when any call was in clear.
    pub(crate) tls: String,
    pub(crate) protocol: String,
    pub(crate) kind: String,
    pub(crate) first_ns: i64,
    pub(crate) last_ns: i64,
    /// A finding says that the pair itself was first seen.
    pub(crate) is_new: bool,
}

/// All pairs in range.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) edges: Vec<Edge>,
    pub(crate) at: u64,
    pub(crate) complete: Complete,
}

/// Reads the pairs from the store.
pub(crate) async fn load(
    state: &AppState,
    from_ns: Option<i64>,
    to_ns: Option<i64>,
) -> Result<Graph, Problem> {
    let mut range = String::new();
    if let Some(from) = from_ns {
        range.push_str(&format!(" AND \"time\" >= '{}'", rfc3339(from)));
    }
    if let Some(to) = to_ns {
        range.push_str(&format!(" AND \"time\" < '{}'", rfc3339(to)));
    }
    let sql = format!(
        "SELECT who, service, sum(\"count\") AS calls, \
         sum(CASE WHEN outcome IN ('server_error', 'timeout') THEN \"count\" ELSE 0 END) AS errors, \
         sum(CASE WHEN outcome = 'denied' THEN \"count\" ELSE 0 END) AS denied, \
         approx_percentile_cont(duration_ns, 0.95) AS p95, min(verified) AS verified, \
         max(CASE WHEN tls = 'none' THEN 'none' WHEN tls IS NULL THEN '' ELSE 'TLS ' || tls END) AS tls, \
         max(protocol) AS protocol, max(kind) AS kind, min(\"time\") AS first, max(\"time\") AS last \
         FROM events WHERE rec IN ('interaction', 'outcome', 'cut', 'opaque') AND service IS NOT NULL{range} \
         GROUP BY who, service ORDER BY calls DESC, who, service LIMIT {EDGES_MAX}"
    );
    let found = state.store.sql(SqlRequest::new(sql)).await?;
    let fresh = new_pairs(state, &range).await?;
    let whole = |row, name| int(&found, row, name).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let edges = (0..found.rows.len())
        .map(|row| {
            let (who, service) =
                (text(&found, row, "who").to_owned(), text(&found, row, "service").to_owned());
            let first_ns = int(&found, row, "first").unwrap_or(0);
            Edge {
                // A later finding is about a new operation of a known pair.
                is_new: fresh.get(&(who.clone(), service.clone())).is_some_and(|at| *at <= first_ns),
                calls: whole(row, "calls"),
                errors: whole(row, "errors"),
                denied: whole(row, "denied"),
                p95_ns: int(&found, row, "p95"),
                verified: int(&found, row, "verified"),
                tls: text(&found, row, "tls").to_owned(),
                protocol: text(&found, row, "protocol").to_owned(),
                kind: text(&found, row, "kind").to_owned(),
                first_ns,
                last_ns: int(&found, row, "last").unwrap_or(0),
                who,
                service,
            }
        })
        .collect::<Vec<_>>();
    let mut complete = found.complete;
    complete.truncated |= edges.len() == EDGES_MAX;
    Ok(Graph { edges, at: found.at, complete })
}

/// Pairs that a finding names, with the time of the earliest event that one was made for.
async fn new_pairs(state: &AppState, range: &str) -> Result<BTreeMap<(String, String), i64>, Problem> {
    let sql = format!(
        "SELECT who, service, min(\"time\") AS first FROM events WHERE rec = 'finding' AND service IS NOT NULL{range} \
         GROUP BY who, service LIMIT {EDGES_MAX}"
    );
    let found = state.store.sql(SqlRequest::new(sql)).await?;
    let pair = |row| {
        let names = (text(&found, row, "who").to_owned(), text(&found, row, "service").to_owned());
        (names, int(&found, row, "first").unwrap_or(i64::MAX))
    };
    Ok((0..found.rows.len()).map(pair).collect())
}

/// The nodes of a picture: a caller that is also called is one node.
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<LayoutEdge>,
}

impl Graph {
    /// Nodes and edges for [`crate::layout::layout`].
    pub(crate) fn nodes(&self) -> Nodes {
        let services: BTreeSet<&str> = self.edges.iter().map(|edge| edge.service.as_str()).collect();
        let mut kinds: BTreeMap<String, (NodeKind, String)> = BTreeMap::new();
        for edge in &self.edges {
            let is_store = matches!(edge.kind.as_str(), "sql" | "kv" | "doc" | "object");
            let entry = kinds.entry(edge.service.clone()).or_insert((NodeKind::Service, String::new()));
            if is_store {
                entry.0 = NodeKind::Store;
            }
        }
        for edge in &self.edges {
            let name = caller(&edge.who, &services);
            let is_named =
                edge.who.contains("://") || edge.who.starts_with("jwt:") || edge.who.starts_with("key:");
            let kind = if is_named { NodeKind::Service } else { NodeKind::External };
            let entry = kinds.entry(name).or_insert((kind, String::new()));
            if entry.1.is_empty() {
                entry.1 = group(&edge.who);
            }
        }
        let at: BTreeMap<&str, usize> =
            kinds.keys().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let place = |name: &str| at.get(name).copied().unwrap_or(0);
        let edges = self
            .edges
            .iter()
            .map(|edge| LayoutEdge {
                from: place(&caller(&edge.who, &services)),
                to: place(&edge.service),
                weight: edge.calls,
            })
            .collect();
        let nodes = kinds
            .iter()
            .map(|(name, (kind, group))| Node { name: name.clone(), group: group.clone(), kind: *kind })
            .collect();
        Nodes { nodes, edges }
    }
}

/// Name of the node that a caller stands at: the service's own, where the identity ends in its name.
fn caller(who: &str, services: &BTreeSet<&str>) -> String {
    let short = short_name(who);
    match who {
        "" => "nobody named".to_owned(),
        _ if services.contains(short) => short.to_owned(),
        _ => who.to_owned(),
    }
}

/// Trust domain of a SPIFFE id; others stand alone.
fn group(who: &str) -> String {
    let rest = who.strip_prefix("spiffe://").unwrap_or("");
    rest.split('/').next().unwrap_or("").to_owned()
}

/// Width class of an edge, from its share of the busiest.
pub(crate) fn width(calls: u64, busiest: u64) -> &'static str {
    match calls.saturating_mul(100) / busiest.max(1) {
        0..5 => "w1",
        5..25 => "w2",
        25..60 => "w3",
        _ => "w4",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::layout;

    fn edge(who: &str, service: &str, kind: &str) -> Edge {
        Edge {
            who: who.into(),
            service: service.into(),
            calls: 1,
            errors: 0,
            denied: 0,
            p95_ns: None,
            verified: None,
            tls: String::new(),
            protocol: String::new(),
            kind: kind.into(),
            first_ns: 0,
            last_ns: 0,
            is_new: false,
        }
    }

    #[test]
    fn a_service_that_calls_is_the_same_node_as_the_one_that_is_called() {
        let graph = Graph {
            edges: vec![
                edge("addr:10.0.0.9", "orders", "http"),
                edge("spiffe://demo/orders", "orders-db", "sql"),
            ],
            ..Graph::default()
        };
        let nodes = graph.nodes();
        let names: Vec<(&str, NodeKind)> = nodes.nodes.iter().map(|n| (n.name.as_str(), n.kind)).collect();
        assert_eq!(
            names,
            [
                ("addr:10.0.0.9", NodeKind::External),
                ("orders", NodeKind::Service),
                ("orders-db", NodeKind::Store)
            ]
        );
        assert_eq!((nodes.edges[1].from, nodes.edges[1].to), (1, 2));
        assert_eq!(layout(&nodes.nodes, &nodes.edges, &BTreeSet::new()).nodes.len(), 3);
    }
}
