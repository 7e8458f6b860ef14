//! Where each expected field lands in an event, and when it is right.

use countersign_collect::time;
use countersign_event::cbor::Value as Cbor;
use countersign_event::fields::detail;
use countersign_event::{Endpoint, Event, Principal, PrincipalKind, Unmapped};
use serde_json::Value;
use std::net::IpAddr;

/// How a field came out.
pub(crate) enum Verdict {
    Right,
    Missing,
    Wrong(String),
}

/// Judges one expected field. Several places are right where the README says so (socket address or first hop).
pub(crate) fn judge(name: &str, want: &Value, event: &Event) -> Verdict {
    let text = match want {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let got = places(name, event);
    if got.iter().all(|got| got.is_empty() || got == ":") {
        return Verdict::Missing;
    }
    if got.iter().any(|got| same(name, got, &text)) {
        return Verdict::Right;
    }
    Verdict::Wrong(got.join(" | "))
}

fn same(name: &str, got: &str, want: &str) -> bool {
    match name {
        "event_time" => {
            let wanted = time::rfc3339(want).or_else(|| time::clf(want)).map(|stamp| stamp.ns);
            // An expectation in whole seconds says nothing about the fraction.
            let second = |ns: i64| ns.div_euclid(1_000_000_000);
            let whole = !want.contains('.') && got.parse().ok().map(second) == wanted.map(second);
            near(got, wanted) || (whole && wanted.is_some())
        }
        "event_time_ms" => near(got, want.parse::<i64>().ok().map(|ms| ms * 1_000_000)),
        "event_time_ns" => near(got, want.parse().ok()),
        "src_ip" | "dst_ip" => ip(got).is_some() && ip(got) == ip(want) || got == want,
        "http_method" | "op" => got.eq_ignore_ascii_case(want),
        "http_path" => path(got) == path(want),
        "url" => path(got) == path(want),
        "http_version" => got == want || format!("{got}.0") == want || got == format!("{want}.0"),
        "outcome" => outcomes(want).contains(&got),
        "authz" => got == want || matches!((got, want), ("allow", "true") | ("deny", "false")),
        "principal_type" => kinds(want).contains(&got),
        _ => got == want,
    }
}

fn near(got: &str, want: Option<i64>) -> bool {
    got.parse::<i64>().ok().zip(want).is_some_and(|(a, b)| (a - b).abs() <= 1_000_000)
}

/// An address, also one with a port behind it.
fn ip(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    text.parse::<IpAddr>().ok().or_else(with_port).map(|ip| ip.to_canonical())
}

/// Without scheme, authority and query string.
fn path(text: &str) -> String {
    let url = if text.starts_with('/') { None } else { text.split_once("://") };
    let text = url.map_or(text, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    text.split('?').next().unwrap_or_default().to_owned()
}

/// Our words for the vendor's outcome; a vendor that says no more than "failed" leaves open which failure.
fn outcomes(theirs: &str) -> &'static [&'static str] {
    match theirs.to_ascii_lowercase().as_str() {
        "success" | "allow" | "accept" | "succeeded" | "ok" | "0" => &["success"],
        "block" | "reject" | "denied" | "deny" => &["denied"],
        "failure" | "failed" => &["denied", "caller_error", "server_error", "timeout"],
        _ => &[],
    }
}

/// Kinds of ours that a vendor's type of principal may be.
fn kinds(theirs: &str) -> &'static [&'static str] {
    match theirs {
        "AssumedRole" | "Role" => &["role"],
        "IAMUser" | "Root" | "FederatedUser" | "SAMLUser" | "WebIdentityUser" | "IdentityCenterUser" => {
            &["user"]
        }
        "AWSService" => &["service"],
        "AWSAccount" => &["user", "role", "system"],
        _ => &[],
    }
}

fn address(end: Option<&Endpoint>) -> String {
    end.and_then(|end| end.ip.map(|ip| ip.to_string()).or(Some(end.host.clone()))).unwrap_or_default()
}

fn port(end: Option<&Endpoint>) -> String {
    end.and_then(|end| end.port).map(|port| port.to_string()).unwrap_or_default()
}

/// A principal as people write it: its id, the id without its scheme, its name.
fn names(principal: &Principal) -> Vec<String> {
    let id = &principal.id;
    let bare = id.split_once(':').map_or(id.as_str(), |(_, rest)| rest);
    let last = bare.rsplit_once('/').map_or(bare, |(_, last)| last);
    vec![id.clone(), principal.name.clone(), bare.to_owned(), last.to_owned()]
}

/// Who acted; where a service acted for somebody, the sets name him, whom we have behind it.
fn actors(event: &Event) -> impl Iterator<Item = &Principal> {
    let service = event.who.who.iter().any(|who| who.kind == Some(PrincipalKind::Service));
    let behind = event.who.obo.first().filter(|_| service);
    event.who.who.iter().chain(&event.who.also).chain(behind)
}

fn header(event: &Event, name: &str) -> String {
    event.content.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default()
}

/// A string of `detail` or `unmapped`.
fn kept(event: &Event, pointer: &str) -> String {
    match event.content.unmapped.get(pointer) {
        Some(Unmapped::Token(token)) => {
            serde_json::from_str::<String>(token).unwrap_or_else(|_| token.clone())
        }
        _ => String::new(),
    }
}

fn detail_text(event: &Event, key: u64) -> String {
    match event.content.detail.get(&key) {
        Some(Cbor::Text(text)) => text.clone(),
        _ => String::new(),
    }
}

fn number<T: ToString>(number: Option<T>) -> String {
    number.map(|n| n.to_string()).unwrap_or_default()
}

/// Every place of `event` where the field may lie.
fn places(name: &str, event: &Event) -> Vec<String> {
    let (core, peer, target, body) = (&event.core, &event.peer, &event.target, &event.body);
    match name {
        "event_time" | "event_time_ms" | "event_time_ns" => vec![number(core.t_event)],
        "src_ip" => {
            let mut all = vec![address(peer.src.as_ref())];
            all.extend(peer.hops.iter().map(|(hop, _)| hop.clone()));
            all
        }
        "dst_ip" | "dst" => vec![address(peer.dst.as_ref())],
        "src_port" => vec![port(peer.src.as_ref())],
        "dst_port" => vec![port(peer.dst.as_ref())],
        // A port that stood with the host lies beside it.
        "host" => {
            let host = peer.dst.as_ref().map(|d| d.host.clone()).unwrap_or_default();
            vec![format!("{host}:{}", port(peer.dst.as_ref())), host]
        }
        "principal" => actors(event).flat_map(names).collect(),
        "principal_type" => actors(event).filter_map(|who| Some(who.kind?.word().to_owned())).collect(),
        "on_behalf_of" => event.who.obo.iter().flat_map(names).collect(),
        "src_service" => vec![event.who.who.as_ref().map(|w| w.svc.clone()).unwrap_or_default()],
        "target_service" => vec![target.svc.clone()],
        "op" | "http_method" => vec![core.op.clone()],
        "op_code" => vec![kept(event, "/code")],
        "http_path" | "url" => vec![target.raw.clone()],
        "resource" => vec![target.raw.clone(), target.res.clone(), target.rtype.clone(), target.id.clone()],
        "namespace" | "database" => vec![target.ns.clone()],
        "resource_name" => vec![target.id.clone()],
        "status" | "upstream_status" => {
            vec![core.status.as_ref().map(|(_, code)| code.clone()).unwrap_or_default()]
        }
        "outcome" => vec![core.outcome.map_or("", |o| o.word()).to_owned()],
        "error" => vec![event.content.err.clone(), detail_text(event, detail::cloud_api::ERROR)],
        "authz" => vec![core.decision.as_ref().and_then(|d| d.verdict).map_or("", |v| v.word()).to_owned()],
        "latency_ns" => vec![number(core.dur)],
        "bytes_in" => vec![number(body.req.as_ref().and_then(|p| p.size))],
        "bytes_out" => vec![number(body.rsp.as_ref().and_then(|p| p.size))],
        "request_id" => vec![event.links.corr.clone()],
        "source_event_id" => vec![body.cap.as_ref().map(|c| c.source_id.clone()).unwrap_or_default()],
        "session" => vec![event.links.sess.clone()],
        "user_agent" => vec![header(event, "user-agent")],
        "http_version" => vec![core.proto.trim_start_matches("http/").to_owned()],
        "transport" => vec![peer.transport.map_or("", |t| t.word()).to_owned()],
        other => vec![kept(event, &format!("/{other}"))],
    }
}
