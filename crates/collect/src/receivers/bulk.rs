//! Elasticsearch's `_bulk`: what Vector, Fluent Bit, Filebeat and Logstash send, unmodified.
//!
//! Source: Elasticsearch reference, "Bulk API". Action and source lines in turn; `items` answers each action in its
//! order, 201 when it is durable. A repeat is known by `_id` where it is given. Not a search engine: what an agent
//! asks before it sends (version, licence, templates) is answered so that it starts, and nothing is kept of it.

use super::events::lines;
use super::http::{Push, Reply, again, come_again, json};
use super::port::sender;
use super::reply::Whole;
use crate::draft::json_text;
use crate::json::Doc;
use countersign_event::Event;
use http::{HeaderValue, Method, StatusCode};
use std::borrow::Cow;
use std::fmt::Write as _;

/// The version that we say we are: one that the agents' licence checks accept.
const VERSION: &str = "8.15.0";

/// What one action asks for.
struct Action<'a> {
    verb: &'static str,
    index: Cow<'a, str>,
    id: Option<Cow<'a, str>>,
}

/// What becomes of one action.
enum Item<'a> {
    /// The event with this number in the batch.
    Record(Action<'a>, usize),
    /// Refused for good, with the reason.
    Refused(Action<'a>, &'static str),
}

pub(super) async fn receive(push: Push) -> Reply {
    let Push { port, deliverer, path, body, .. } = push;
    let input = port.input_of(&deliverer);
    let index =
        path.trim_matches('/').split('/').next().filter(|index| *index != "_bulk").unwrap_or("events");
    let (mut items, mut events): (Vec<Item<'_>>, Vec<Event>) = Default::default();
    let mut lines = lines(&body);
    while let Some(line) = lines.next() {
        let action = match action(line, index) {
            Some(action) => action,
            None => return malformed(&port),
        };
        if action.verb == "delete" {
            items.push(Item::Refused(action, "a record cannot be deleted here"));
            continue;
        }
        let Some(source) = lines.next() else {
            items.push(Item::Refused(action, "no source line follows the action"));
            break;
        };
        let mut event = port.observe(source, &input);
        sender(&mut event, deliverer.peer);
        if let (Some(id), Some(capture)) = (&action.id, &mut event.body.cap) {
            capture.source_id = crate::seal::clipped(format!("{}/{id}", action.index), 256);
        }
        items.push(Item::Record(action, events.len()));
        events.push(event);
    }
    let refused = items.iter().filter(|item| matches!(item, Item::Refused(..))).count() as u64;
    match port.deliver(events, body.len(), true).await {
        Ok(receipt) => {
            if refused > 0 {
                port.intake.rejected(refused, "bulk_action");
            }
            let bad: Vec<usize> = receipt.rejected.iter().map(|(at, _)| *at).collect();
            product(json(StatusCode::OK, answer(&items, &bad)))
        }
        Err(refusal) => {
            let (status, _) = again(&refusal);
            let why = json_text(&refusal.to_string());
            let error = format!(
                "{{\"error\":{{\"type\":\"es_rejected_execution_exception\",\"reason\":{why}}},\"status\":{}}}",
                status.as_u16()
            );
            product(come_again(&refusal, error))
        }
    }
}

/// `{"create":{"_index":"logs","_id":"1"}}`
fn action<'a>(line: &'a [u8], index: &'a str) -> Option<Action<'a>> {
    let doc = Doc::parse(line).ok()?;
    let verbs = ["index", "create", "update", "delete"];
    let (verb, of) = verbs.iter().find_map(|verb| Some((*verb, doc.root().get(verb)?)))?;
    let index = of.get("_index").and_then(|index| index.filled()).unwrap_or(Cow::Borrowed(index));
    Some(Action { verb, index, id: of.get("_id").and_then(|id| id.filled()) })
}

/// A line that is no action makes what follows unreadable: nothing of the request is taken.
fn malformed(port: &super::Port) -> Reply {
    port.intake.rejected(1, "bulk_malformed");
    let error = "{\"error\":{\"type\":\"illegal_argument_exception\",\"reason\":\"Malformed action/metadata line, \
                 expected index, create, update or delete\"},\"status\":400}";
    product(json(StatusCode::BAD_REQUEST, error.to_owned()))
}

/// One status an action, in order.
fn answer(items: &[Item<'_>], bad: &[usize]) -> String {
    let mut out = String::with_capacity(64 + items.len() * 96);
    let errors = !bad.is_empty() || items.iter().any(|item| matches!(item, Item::Refused(..)));
    // Writing to a String cannot fail.
    let _ = write!(out, "{{\"took\":1,\"errors\":{errors},\"items\":[");
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        let (action, error) = match item {
            Item::Record(action, at) if bad.contains(at) => (action, Some("it cannot be recorded")),
            Item::Record(action, _) => (action, None),
            Item::Refused(action, why) => (action, Some(*why)),
        };
        let id = action.id.as_deref().map_or_else(|| "null".to_owned(), json_text);
        let _ = write!(out, "{{\"{}\":{{\"_index\":{},\"_id\":{id},", action.verb, json_text(&action.index));
        let _ = match error {
            None => write!(out, "\"_version\":1,\"result\":\"created\",\"status\":201}}}}"),
            Some(why) => write!(
                out,
                "\"status\":400,\"error\":{{\"type\":\"illegal_argument_exception\",\"reason\":{}}}}}}}",
                json_text(why)
            ),
        };
    }
    out.push_str("]}");
    out
}

/// Whether this is something that an Elasticsearch client asks before it sends.
pub(super) fn is_probe(method: &Method, path: &str) -> bool {
    let known = [
        "",
        "/_license",
        "/_xpack",
        "/_cluster/health",
        "/_nodes",
        "/_nodes/http",
        "/_nodes/_all/http",
        "/_cat/health",
    ];
    let prefixes = [
        "/_template/",
        "/_index_template/",
        "/_component_template/",
        "/_ilm/",
        "/_data_stream/",
        "/_ingest/",
        "/_alias",
    ];
    matches!(*method, Method::GET | Method::HEAD | Method::PUT)
        && (known.contains(&path) || prefixes.iter().any(|prefix| path.starts_with(prefix)))
}

pub(super) fn probe(method: &Method, path: &str) -> Reply {
    let body = match path.trim_end_matches('/') {
        "" => format!(
            "{{\"name\":\"countersign\",\"cluster_name\":\"countersign\",\"cluster_uuid\":\"countersign\",\"version\":\
             {{\"number\":\"{VERSION}\",\"build_flavor\":\"default\",\"lucene_version\":\"9.11.1\",\
             \"minimum_wire_compatibility_version\":\"7.17.0\",\"minimum_index_compatibility_version\":\"7.0.0\"}},\
             \"tagline\":\"You Know, for Search\"}}"
        ),
        "/_license" => "{\"license\":{\"status\":\"active\",\"type\":\"basic\",\"uid\":\"countersign\",\"mode\":\"basic\"}}".into(),
        "/_xpack" => "{\"license\":{\"status\":\"active\",\"type\":\"basic\",\"mode\":\"basic\"},\"features\":{}}".into(),
        "/_cluster/health" | "/_cat/health" => "{\"cluster_name\":\"countersign\",\"status\":\"green\"}".into(),
        path if path.starts_with("/_nodes") => {
            format!("{{\"cluster_name\":\"countersign\",\"nodes\":{{\"0\":{{\"version\":\"{VERSION}\"}}}}}}")
        }
        _ => "{\"acknowledged\":true}".into(),
    };
    let mut reply = product(json(StatusCode::OK, body));
    if *method == Method::HEAD {
        *reply.body_mut() = Whole::default();
    }
    reply
}

/// Clients of version 7.14 and later refuse to speak to a server without this header.
fn product(mut reply: Reply) -> Reply {
    reply.headers_mut().insert("x-elastic-product", HeaderValue::from_static("Elasticsearch"));
    reply
}
