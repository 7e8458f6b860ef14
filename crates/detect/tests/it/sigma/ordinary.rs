//! What a sound system and its tests say all day: callers with certificates, tokens and nothing at all on loopback,
//! health checks, migrations, caches, tools. No rule of the pack may tell anybody about it.

use super::stream;
use countersign_event::{
    Auth, Class, Decision, Endpoint, Event, Kind, Mode, Outcome, Peer, Principal, PrincipalKind, Rec,
    StatusSpace, Transport, Verdict, Verified,
};
use std::net::{IpAddr, Ipv4Addr};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn nobody(ip: IpAddr) -> Principal {
    Principal { auth: Some(Auth::PeerIp), ..Principal::new(format!("addr:{ip}"), Verified::Claimed) }
}

fn workload(name: &str) -> Principal {
    Principal {
        auth: Some(Auth::SpiffeSvid),
        kind: Some(PrincipalKind::Workload),
        cred: format!("x5t#S256:{name}"),
        ..Principal::new(format!("spiffe://td/ns/shop/sa/{name}"), Verified::Bound)
    }
}

fn call(who: Principal, ip: IpAddr, kind: Kind, op: &str, class: Class) -> Event {
    let mut event = Event::default();
    let core = &mut event.core;
    (core.rec, core.kind, core.class) = (Some(Rec::Interaction), Some(kind), Some(class));
    (core.op, core.outcome) = (op.to_owned(), Some(Outcome::Success));
    core.decision = Some(
        Decision { verdict: Some(Verdict::Allow), mode: Some(Mode::Observe), ..Decision::default() }.into(),
    );
    event.who.who = Some(who);
    let src = Endpoint { ip: Some(ip), port: Some(40_000), ..Endpoint::default() };
    event.peer = Peer { src: Some(src), transport: Some(Transport::Tcp), ..Peer::default() }.into();
    event.target.svc = "orders".to_owned();
    event
}

fn http(who: Principal, ip: IpAddr, op: &str, path: &str, status: u16) -> Event {
    let class = match op {
        "GET" => Class::Read,
        "POST" => Class::Create,
        "DELETE" => Class::Delete,
        _ => Class::Modify,
    };
    let mut event = call(who, ip, Kind::Http, op, class);
    event.core.status = Some((StatusSpace::Http, status.to_string()));
    event.core.outcome = Some(match status {
        401 | 403 => Outcome::Denied,
        400..=499 => Outcome::CallerError,
        500.. => Outcome::ServerError,
        _ => Outcome::Success,
    });
    (event.target.raw, event.target.res) = (path.to_owned(), path.to_owned());
    // People's tools are ordinary on loopback and without a credential.
    let agent = if ip == LOCAL || status == 200 { "curl/8.5.0" } else { "orders-client/1.2" };
    event.content.headers = vec![("user-agent".to_owned(), agent.to_owned())];
    event
}

fn sql(op: &str, statement: &str, class: Class) -> Event {
    let who = Principal {
        auth: Some(Auth::Scram),
        kind: Some(PrincipalKind::Service),
        ..Principal::new("db:app@orders-db", Verified::Checked)
    };
    let mut event = call(who, LOCAL, Kind::Sql, op, class);
    event.content.stmt = statement.to_owned();
    event.core.status = Some((StatusSpace::Sqlstate, "00000".to_owned()));
    event
}

fn round() -> Vec<Event> {
    let node = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
    let mut out = vec![
        http(nobody(LOCAL), LOCAL, "GET", "/", 200),
        http(nobody(LOCAL), LOCAL, "POST", "/v1/orders", 201),
        http(nobody(LOCAL), LOCAL, "DELETE", "/v1/orders/7", 204),
        http(nobody(node), node, "GET", "/healthz", 200),
        http(nobody(node), node, "GET", "/metrics", 200),
        http(nobody(node), node, "POST", "/v1/orders", 201),
        http(workload("web"), node, "GET", "/v1/orders/9", 404),
        http(workload("web"), node, "DELETE", "/v1/orders/9", 204),
        http(workload("web"), node, "PUT", "/v1/orders/9", 503),
        http(workload("report"), node, "GET", "/admin/report", 403),
    ];
    let token = Principal {
        auth: Some(Auth::Jwt),
        kind: Some(PrincipalKind::Service),
        cred: "kid:k1/jti-sha256:aa".to_owned(),
        ..Principal::new("jwt:https://idp#orders", Verified::Checked)
    };
    out.push(http(token, LOCAL, "POST", "/v1/orders", 201));
    for (op, statement, class) in [
        ("CREATE TABLE", "CREATE TABLE orders (id int PRIMARY KEY)", Class::Schema),
        ("CREATE INDEX", "CREATE INDEX orders_id ON orders (id)", Class::Schema),
        ("ALTER TABLE", "ALTER TABLE orders ADD COLUMN note text", Class::Schema),
        ("INSERT", "INSERT INTO orders VALUES (?)", Class::Create),
        ("SELECT", "SELECT * FROM orders", Class::Read),
        ("UPDATE", "UPDATE orders SET note = ?", Class::Modify),
        ("DELETE", "DELETE FROM orders", Class::Delete),
        ("TRUNCATE", "TRUNCATE orders", Class::Delete),
        ("DROP TABLE", "DROP TABLE IF EXISTS orders", Class::Schema),
        ("CREATE ROLE", "CREATE ROLE reader LOGIN", Class::Admin),
        ("GRANT", "GRANT SELECT ON orders TO reader", Class::Admin),
        ("SET ROLE", "SET ROLE reader", Class::Admin),
        ("SET", "SET search_path = ?", Class::Meta),
        ("CREATE EXTENSION", "CREATE EXTENSION pgcrypto", Class::Admin),
        ("COPY", "COPY orders FROM STDIN", Class::Create),
        ("CREATE DATABASE", "CREATE DATABASE shop_test", Class::Schema),
        ("DROP DATABASE", "DROP DATABASE shop_test", Class::Schema),
    ] {
        out.push(sql(op, statement, class));
    }
    for (op, class) in [
        ("SET", Class::Modify),
        ("GET", Class::Read),
        ("KEYS", Class::Read),
        ("FLUSHALL", Class::Delete),
        ("CONFIG GET", Class::Admin),
        ("CLIENT SETNAME", Class::Meta),
        ("EVAL", Class::Execute),
        ("SUBSCRIBE", Class::Read),
        ("PUBLISH", Class::Create),
    ] {
        out.push(call(workload("web"), LOCAL, Kind::Kv, op, class));
    }
    for (op, name, class) in [
        ("initialize", "", Class::Connect),
        ("tools/list", "", Class::Read),
        ("tools/call", "search", Class::Execute),
        ("resources/read", "file:///srv/readme.md", Class::Read),
    ] {
        let mut event = call(nobody(LOCAL), LOCAL, Kind::Tool, op, class);
        (event.target.res, event.target.raw) = (name.to_owned(), name.to_owned());
        out.push(event);
    }
    let mut grpc = call(workload("web"), node, Kind::Grpc, "Get", Class::Execute);
    grpc.core.status = Some((StatusSpace::Grpc, "0".to_owned()));
    grpc.target.raw = "/shop.Orders/Get".to_owned();
    out.push(grpc);
    for (verb, what) in [("get", "pods"), ("list", "secrets"), ("watch", "secrets"), ("patch", "deployments")]
    {
        let mut event = call(workload("controller"), node, Kind::K8sApi, verb, Class::Read);
        event.target.rtype = what.to_owned();
        event.content.headers = vec![("user-agent".to_owned(), "controller/v1".to_owned())];
        out.push(event);
    }
    for (op, class) in [("publish", Class::Create), ("process", Class::Read)] {
        let mut event = call(workload("web"), node, Kind::Messaging, op, class);
        event.target.res = "orders".to_owned();
        out.push(event);
    }
    out
}

/// An hour of it, a round a minute; records as the gateway and the collector make them.
pub(super) fn events() -> Vec<(u64, u64, Event)> {
    let mut all = Vec::new();
    for minute in 0..60 {
        all.extend(round().into_iter().enumerate().map(|(at, event)| (minute * 60 + at as i64, event)));
    }
    let mut events = stream(&all);
    for (.., event) in &mut events {
        let capture = countersign_event::Capture {
            mode: Some(countersign_event::CaptureMode::Inline),
            ..countersign_event::Capture::default()
        };
        event.body.cap = Some(capture.into());
    }
    events
}
