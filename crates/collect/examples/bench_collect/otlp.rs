//! Export requests of OpenTelemetry as an SDK and a collector send them: 512 records with the attributes of the
//! semantic conventions.

use countersign_collect::otlp::{
    Any, Group, LogRecord, Pair, Request, Resource, Scope, Scoped, Span, to_protobuf,
};

/// Records of a request: the SDKs' default.
pub(crate) const BATCH: u64 = 512;
/// 2024-03-13T12:08:33Z, UTC ns.
const TIME: u64 = 1_710_331_713_000_000_000;

fn texts(list: &[(&str, &str)]) -> Vec<Pair> {
    list.iter().map(|(key, value)| pair(key, Any::Text((*value).to_owned()))).collect()
}

fn pair(key: &str, value: Any) -> Pair {
    Pair { key: key.to_owned(), value: Some(value) }
}

fn request<T: countersign_collect::otlp::Item>(library: &str, items: Vec<T>) -> Vec<u8> {
    let attributes = texts(&[
        ("service.name", "orders"),
        ("service.namespace", "shop"),
        ("service.instance.id", "orders-7d9f8b6c5-x2x9k"),
        ("service.version", "2.4.1"),
        ("telemetry.sdk.language", "go"),
        ("telemetry.sdk.name", "opentelemetry"),
        ("telemetry.sdk.version", "1.24.0"),
        ("k8s.pod.name", "orders-7d9f8b6c5-x2x9k"),
        ("k8s.namespace.name", "shop"),
        ("k8s.node.name", "node-3"),
    ]);
    let scope = Scope { name: library.to_owned(), version: "0.49.0".to_owned(), ..Scope::default() };
    let scoped = Scoped { scope: Some(scope), items, schema_url: String::new(), unknown: Vec::new() };
    let group = Group {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scopes: vec![scoped],
        schema_url: "https://opentelemetry.io/schemas/1.24.0".to_owned(),
        unknown: Vec::new(),
    };
    to_protobuf(&Request { groups: vec![group] })
}

fn trace(n: u64) -> Vec<u8> {
    (0x4bf9_2f35_77b3_4da6_a3ce_0000_0000_0000_u128 + u128::from(n)).to_be_bytes().to_vec()
}

fn id(n: u64) -> Vec<u8> {
    (0x00f0_67aa_0ba9_0000 + n).to_be_bytes().to_vec()
}

/// A log record of each answered request, with a line for people to read.
pub(crate) fn logs(batch: u64) -> Vec<u8> {
    let log = |n: u64| {
        let mut attributes = texts(&[
            ("http.request.method", "GET"),
            ("url.path", &format!("/v1/orders/{n}")),
            ("url.scheme", "https"),
            ("http.route", "/v1/orders/{id}"),
            ("client.address", "192.0.2.77"),
            ("server.address", "orders.shop.example"),
            ("user_agent.original", "checkout/1.9 (linux)"),
            ("enduser.id", "u-1837"),
        ]);
        attributes.push(pair("http.response.status_code", Any::Int(200)));
        attributes.push(pair("server.port", Any::Int(443)));
        LogRecord {
            time: TIME + n,
            observed: TIME + n + 1_000,
            severity: 9,
            severity_text: "INFO".to_owned(),
            body: Some(Any::Text(format!("answered order {n} in 12 ms"))),
            attributes,
            flags: 1,
            trace: trace(n),
            span: id(n),
            ..LogRecord::default()
        }
    };
    request("shop/http", (batch * BATCH..(batch + 1) * BATCH).map(log).collect())
}

/// Spans of calls. `joined`: of each call both halves, the caller's and the server's, as a gateway collector sends
/// them; else the server's alone, as the server's own SDK does.
pub(crate) fn spans(batch: u64, joined: bool) -> Vec<u8> {
    let span = |n: u64| {
        let call = if joined { n / 2 } else { n };
        let server = !joined || n % 2 == 1;
        let mut attributes = texts(&[
            ("http.request.method", "GET"),
            ("url.scheme", "https"),
            ("server.address", "orders.shop.example"),
            ("network.protocol.version", "1.1"),
            ("network.peer.address", "10.0.35.28"),
        ]);
        if server {
            attributes.extend(texts(&[
                ("url.path", &format!("/v1/orders/{call}")),
                ("http.route", "/v1/orders/{id}"),
                ("user_agent.original", "checkout/1.9 (linux)"),
            ]));
        } else {
            attributes
                .extend(texts(&[("url.full", &format!("https://orders.shop.example/v1/orders/{call}"))]));
        }
        attributes.push(pair("http.response.status_code", Any::Int(200)));
        attributes.push(pair("server.port", Any::Int(443)));
        attributes.push(pair("network.peer.port", Any::Int(40_122)));
        Span {
            trace: trace(call),
            id: id(2 * call + u64::from(server)),
            parent: if server { id(2 * call) } else { Vec::new() },
            flags: 0x101,
            name: if server { "GET /v1/orders/{id}" } else { "GET" }.to_owned(),
            kind: if server { 2 } else { 3 },
            start: TIME + n * 1_000,
            end: TIME + n * 1_000 + 12_000_000,
            attributes,
            ..Span::default()
        }
    };
    request("shop/http", (batch * BATCH..(batch + 1) * BATCH).map(span).collect())
}
