//! `/map`: who calls whom, drawn by `layout`, with a table of the same facts.

use super::{COMMON, table};
use crate::api::Answer;
use crate::audit::{Reading, record_soon};
use crate::frame::{Page, level, page, time};
use crate::graph::{self, Edge, Graph, width};
use crate::layout::{NODE_HEIGHT, NODE_WIDTH, NodeKind, Picture, PlacedEdge, layout};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::{AppState, Viewer};
use crate::text::{captured, count, duration, filter_value, query_value, short_name, visible};
use axum::Extension;
use axum::extract::{RawQuery, State};
use countersign_store::Rows;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Above this many edges, edges of one class are one path and are chosen in the table.
const LINKED_EDGES: usize = 300;
/// Rows of the table twin.
const TABLE_ROWS: usize = 500;
/// Events of the selected edge.
const EVENTS: usize = 20;
/// Longest label of a node, characters.
const LABEL: usize = 22;
/// One failed or denied call in this many marks an edge.
const ERROR_SHARE: u64 = 20;
/// Empty border around the picture.
const MARGIN: i64 = 24;

/// The handler.
pub(super) async fn show(
    State(state): State<AppState>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let params = Params::parse(raw.as_deref(), COMMON)?;
    let range = params.find(state.now_ns(), EVENTS, EVENTS)?;
    let _turn = viewer.turn().await?;
    let graph = graph::load(&state, range.from_ns, range.to_ns).await?;
    let selected = params.get("sel").and_then(|sel| graph.edges.iter().find(|edge| key(edge) == sel));
    let events = match selected {
        Some(edge) => Some(edge_events(&state, edge).await?),
        None => None,
    };
    record_soon(
        &state,
        &viewer,
        Reading { op: "read.map", route: "/map", rows: Some(graph.edges.len() as u64), ..Reading::default() },
    )
    .await?;
    let body = html! {
        header { h1 { "Map" } p { "Who calls whom. Solid: identity proved. Dotted: nobody checked who called. Dashed: seen for the first time. Red: at least 5 % of the calls failed or were denied; the table has the numbers." } }
        @if graph.edges.is_empty() { (empty()) } @else { (drawn(&params, &graph, selected)) }
        @if let (Some(edge), Some(rows)) = (selected, &events) { (chosen(edge, rows)) }
    };
    let frame = Page {
        title: "Map",
        current: "/map",
        demo: state.options.demo,
        modules: &["map.js"],
        unknown: &params.unknown,
        ..Page::default()
    };
    Ok(page(&frame, body))
}

fn drawn(params: &Params, graph: &Graph, selected: Option<&Edge>) -> Markup {
    let open: BTreeSet<String> = params.text("open").split(',').map(str::to_owned).collect();
    let nodes = graph.nodes();
    let picture = layout(&nodes.nodes, &nodes.edges, &open);
    html! {
        section.panel aria-labelledby="picture" {
            h2 #picture tabindex="-1" { "Picture" }
            div.toolbar {
                button #map-in type="button" hidden { "Zoom in" }
                button #map-out type="button" hidden { "Zoom out" }
                button #map-home type="button" hidden { "Whole map" }
                a.button href="#pairs" { "To the table" }
                span.soft #refresh-state aria-live="polite" {}
            }
            div #map-live {
                div.picture { (svg(params, graph, &picture, selected)) }
                @if picture.folded > 0 { p.soft { (picture.folded) " nodes are folded; open a group, or use the table." } }
                h2 #pairs tabindex="-1" { "The same as a table" }
                (pairs(params, graph, selected))
            }
        }
    }
}

fn svg(params: &Params, graph: &Graph, picture: &Picture, selected: Option<&Edge>) -> Markup {
    let (w, h) = (picture.width + 2 * MARGIN, picture.height.max(NODE_HEIGHT) + 2 * MARGIN);
    let label = format!("Service map: {} nodes, {} connections", picture.nodes.len(), picture.edges.len());
    let busiest = graph.edges.iter().map(|edge| edge.calls).max().unwrap_or(1);
    html! {
        svg #map-picture viewBox=(format!("{} {} {w} {h}", -MARGIN, -MARGIN)) role="group" aria-label=(label) tabindex="0"
            preserveAspectRatio="xMidYMid meet" {
            @if picture.edges.len() <= LINKED_EDGES {
                @for edge in &picture.edges { (edge_link(params, graph, picture, edge, busiest, selected)) }
            } @else {
                (merged(graph, picture, busiest))
            }
            @for (at, node) in picture.nodes.iter().enumerate() {
                @let kind = match node.kind { NodeKind::External => "external", NodeKind::Service => "service", NodeKind::Store => "store", NodeKind::Folded => "folded" };
                a class=(format!("node {kind}")) href=(node_link(params, node.kind, &node.name)) id=(format!("n{at}"))
                    aria-label=(format!("{kind} {}", visible(&node.name))) {
                    title { (visible(&node.name)) }
                    rect x=(node.x) y=(node.y) width=(NODE_WIDTH) height=(NODE_HEIGHT) rx="8" {}
                    text x=(node.x + NODE_WIDTH / 2) y=(node.y + 18) text-anchor="middle" { (shorten(&node.name)) }
                    text.sub x=(node.x + NODE_WIDTH / 2) y=(node.y + 32) text-anchor="middle" {
                        @if node.kind == NodeKind::Folded { (node.members.len()) " nodes, open" } @else { (kind) }
                    }
                }
            }
        }
    }
}

fn edge_link(
    params: &Params,
    graph: &Graph,
    picture: &Picture,
    placed: &PlacedEdge,
    busiest: u64,
    selected: Option<&Edge>,
) -> Markup {
    let members: Vec<&Edge> = placed.members.iter().filter_map(|&at| graph.edges.get(at)).collect();
    let Some(first) = members.first() else { return html! {} };
    let calls = members.iter().map(|edge| edge.calls).sum();
    let is_selected = selected.is_some_and(|chosen| members.contains(&chosen));
    let errors: u64 = members.iter().map(|edge| edge.errors + edge.denied).sum();
    let class = format!("{}{}", class(&members), if is_selected { " selected" } else { "" });
    let name = |at: usize| picture.nodes.get(at).map_or("", |node| node.name.as_str());
    let label = format!(
        "{} to {}: {} calls, {} failed or denied{}",
        visible(name(placed.from)),
        visible(name(placed.to)),
        calls,
        errors,
        if members.iter().any(|edge| edge.is_new) { ", new" } else { "" }
    );
    html! {
        a class=(class) href=(format!("/map{}#chosen", params.with(&[("sel", &key(first))]))) aria-label=(label) {
            title { (label) }
            path.hit d=(placed.path) {}
            path class=(format!("line {}", width(calls, busiest))) d=(placed.path) {}
        }
    }
}

/// One path for each class of edge: a large map stays light.
fn merged(graph: &Graph, picture: &Picture, busiest: u64) -> Markup {
    let mut by_class: std::collections::BTreeMap<(String, &str), String> = std::collections::BTreeMap::new();
    for placed in &picture.edges {
        let members: Vec<&Edge> = placed.members.iter().filter_map(|&at| graph.edges.get(at)).collect();
        let calls = members.iter().map(|edge| edge.calls).sum();
        by_class.entry((class(&members), width(calls, busiest))).or_default().push_str(&placed.path);
    }
    html! {
        @for ((class, width), path) in &by_class { g class=(class) aria-hidden="true" { path class=(format!("line {width}")) d=(path) {} } }
    }
}

fn class(members: &[&Edge]) -> String {
    let mut class = String::from("edge");
    let any = |test: fn(&Edge) -> bool| members.iter().any(|edge| test(edge));
    for (word, is) in [
        ("new", any(|edge| edge.is_new)),
        ("errors", any(|edge| (edge.errors + edge.denied) * ERROR_SHARE >= edge.calls.max(1))),
        ("anonymous", any(|edge| edge.verified.unwrap_or(0) < 2)),
    ] {
        if is {
            class.push(' ');
            class.push_str(word);
        }
    }
    class
}

/// A name that fits its node; the whole stands in the title and the table.
fn shorten(name: &str) -> String {
    let short = visible(short_name(name)).into_owned();
    if short.chars().count() <= LABEL {
        short
    } else {
        short.chars().take(LABEL - 1).chain(['…']).collect()
    }
}

fn node_link(params: &Params, kind: NodeKind, name: &str) -> String {
    match kind {
        NodeKind::Folded => {
            let open = [params.text("open"), name]
                .iter()
                .filter(|part| !part.is_empty())
                .copied()
                .collect::<Vec<_>>()
                .join(",");
            format!("/map{}", params.with(&[("open", &open)]))
        }
        _ => {
            let value = filter_value(name);
            format!("/events?q={}", query_value(&format!("who:{value} OR service:{value}")))
        }
    }
}

/// The pair's name in addresses.
fn key(edge: &Edge) -> String {
    format!("{}>{}", edge.who, edge.service)
}

fn pairs(params: &Params, graph: &Graph, selected: Option<&Edge>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Pairs" {
            table data-rows="" {
                caption { "Pairs that spoke, busiest first" @if graph.complete.truncated { ", cut" } }
                thead {
                    tr { th scope="col" { "Who" } th scope="col" { "Service" } th.num scope="col" { "Calls" } th.num scope="col" { "Errors" }
                        th.num scope="col" { "Denied" } th.num scope="col" { "p95" } th scope="col" { "Proved, weakest" } th scope="col" { "Channel" }
                        th scope="col" { "First seen" } th scope="col" { "State" } }
                }
                tbody {
                    @for edge in graph.edges.iter().take(TABLE_ROWS) {
                        tr aria-current=[(selected == Some(edge)).then_some("true")] {
                            td { a href=(format!("/map{}#chosen", params.with(&[("sel", &key(edge))]))) { (table::who(&edge.who)) } }
                            td { (captured(&edge.service)) }
                            td.num { (count(edge.calls)) }
                            td.num { (count(edge.errors)) }
                            td.num { (count(edge.denied)) }
                            td.num { @if let Some(ns) = edge.p95_ns { (duration(ns)) } }
                            td { (level(edge.verified)) }
                            td { (captured(&edge.protocol)) " " (captured(match edge.tls.as_str() { "none" => "in clear", tls => tls })) }
                            td { (time(edge.first_ns)) }
                            td { @if edge.is_new { span.mark.caller_error { "new" } } }
                        }
                    }
                }
            }
        }
        @if graph.edges.len() > TABLE_ROWS { p { "The " (TABLE_ROWS) " busiest of " (graph.edges.len()) "; all in " a href="/api/v1/map" { "JSON" } "." } }
    }
}

async fn edge_events(state: &AppState, edge: &Edge) -> Result<Rows, Problem> {
    Ok(state.store.find(table::request(pair_filter(edge), EVENTS)).await?)
}

fn pair_filter(edge: &Edge) -> String {
    let who =
        if edge.who.is_empty() { "-who:*".to_owned() } else { format!("who:{}", filter_value(&edge.who)) };
    format!("{who} service:{}", filter_value(&edge.service))
}

fn chosen(edge: &Edge, rows: &Rows) -> Markup {
    html! {
        section.panel #chosen aria-labelledby="chosen-title" {
            h2 #chosen-title tabindex="-1" { (table::who(&edge.who)) " → " (captured(&edge.service)) }
            (table::events(rows, "The newest events of this pair", None))
            p { a href=(format!("/events?q={}", query_value(&pair_filter(edge)))) { "All of this pair" } }
        }
    }
}

fn empty() -> Markup {
    html! {
        section.panel.teach {
            h2 { "No two machines have spoken yet" }
            p { "Put a port in front of one of your programs, then speak through it:" }
            (crate::frame::copy("Proxy a port", "countersign run --proxy 127.0.0.1:8081=http://127.0.0.1:8080", None))
            (crate::frame::copy("One request", "curl http://127.0.0.1:8081/", None))
            p.soft { "In a chosen range? " a href="/map" { "Look at all time" } "." }
        }
    }
}
