//! One client a protocol: sends a batch and says how it was answered.

use countersign_collect::otlp::{self, Any, Group, LogRecord, Request, Scoped};
use countersign_testkit::http::{Connection, Response};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Records of a batch that have a text of their own; the first of them is in it twice.
const DISTINCT: u64 = 5;
/// How long a client of HEC asks for one acknowledgement before it sends again.
const ASKING: Duration = Duration::from_millis(500);
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// How a batch was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// As durable.
    Durable,
    /// With the protocol's own signal to come again.
    Later(String),
    /// Not at all, after it was sent or while it was.
    Gone,
    /// Nobody was there to send it to.
    Down,
}

/// Which receiver serves it.
#[derive(Clone, Copy)]
pub(super) enum Serves {
    Http,
    Fluent,
}

/// A row of the table.
pub(super) struct Protocol {
    /// Its input's name.
    pub(super) name: &'static str,
    pub(super) serves: Serves,
    /// Sends the batch with this number once.
    pub(super) send: fn(SocketAddr, u64) -> Answer,
    /// Signals that may be given while the ledger stands still.
    pub(super) later: &'static [&'static str],
    /// Records have ids of their own: two with the same one are one.
    pub(super) named: bool,
}

const HTTP: &[&str] = &["429", "503"];

#[rustfmt::skip] // one row a line
pub(super) const PROTOCOLS: &[Protocol] = &[
    Protocol { name: "events", serves: Serves::Http, send: events, later: HTTP, named: false },
    Protocol { name: "bulk", serves: Serves::Http, send: bulk, later: HTTP, named: false },
    Protocol { name: "otlp-http", serves: Serves::Http, send: otlp_http, later: HTTP, named: false },
    Protocol { name: "otlp-grpc", serves: Serves::Http, send: otlp_grpc, later: &["14"], named: false },
    Protocol { name: "k8s", serves: Serves::Http, send: kubernetes, later: HTTP, named: true },
    Protocol { name: "hec", serves: Serves::Http, send: hec, later: &["503 9"], named: false },
    Protocol { name: "hec-ack", serves: Serves::Http, send: hec_acknowledged, later: &["503 9", "false"], named: false },
    Protocol { name: "loki", serves: Serves::Http, send: loki, later: HTTP, named: false },
    Protocol { name: "cloudevents", serves: Serves::Http, send: cloudevents, later: HTTP, named: true },
    Protocol { name: "audit", serves: Serves::Http, send: audit, later: HTTP, named: true },
    Protocol { name: "fluent", serves: Serves::Fluent, send: fluent, later: &["closed"], named: false },
];

/// The texts of a batch, in order; the first two are equal.
pub(super) fn marks(batch: u64) -> Vec<String> {
    std::iter::once(0).chain(0..DISTINCT).map(|n| format!("mark-{batch}-{n}.")).collect()
}

/// The mark in a text.
pub(super) fn mark_in(text: &str) -> Option<&str> {
    let from = text.find("mark-")?;
    let rest = &text[from..];
    Some(&rest[..=rest.find('.')?])
}

fn post(to: SocketAddr, path: &str, headers: &[&str], body: &[u8]) -> Result<Response, Answer> {
    let mut connection = Connection::open(to).map_err(|_| Answer::Down)?;
    connection.request("POST", path, headers, body).map_err(|_| Answer::Gone)
}

/// 2xx is durable, anything else its status.
fn by_status(answer: Result<Response, Answer>) -> Answer {
    match answer {
        Ok(answer) if answer.status / 100 == 2 => Answer::Durable,
        Ok(answer) => Answer::Later(answer.status.to_string()),
        Err(gone) => gone,
    }
}

fn joined(batch: u64, one: impl Fn(&str) -> String, between: &str) -> String {
    marks(batch).iter().map(|mark| one(mark)).collect::<Vec<_>>().join(between)
}

fn events(to: SocketAddr, batch: u64) -> Answer {
    let body = joined(batch, |mark| format!("{{\"note\":\"{mark}\"}}"), "\n");
    by_status(post(to, "/v1/events", &[&format!("Idempotency-Key: batch-{batch}")], body.as_bytes()))
}

fn bulk(to: SocketAddr, batch: u64) -> Answer {
    let body = joined(batch, |mark| format!("{{\"create\":{{}}}}\n{{\"note\":\"{mark}\"}}\n"), "");
    let answer = post(to, "/app/_bulk", &[], body.as_bytes());
    if let Ok(answer) = &answer {
        assert!(answer.status != 200 || answer.text().contains("\"errors\":false"), "{}", answer.text());
    }
    by_status(answer)
}

fn logs(batch: u64) -> Vec<u8> {
    let log = |mark: String| LogRecord { time: 7, body: Some(Any::Text(mark)), ..LogRecord::default() };
    let items = marks(batch).into_iter().map(log).collect();
    let scoped = Scoped { scope: None, items, schema_url: String::new(), unknown: Vec::new() };
    let group =
        Group { resource: None, scopes: vec![scoped], schema_url: String::new(), unknown: Vec::new() };
    otlp::to_protobuf(&Request { groups: vec![group] })
}

fn otlp_http(to: SocketAddr, batch: u64) -> Answer {
    by_status(post(to, "/v1/logs", &["Content-Type: application/x-protobuf"], &logs(batch)))
}

fn otlp_grpc(to: SocketAddr, batch: u64) -> Answer {
    let message = logs(batch);
    let frame = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let call = async { tokio::time::timeout(ANSWER, unary(to, frame)).await.ok()? };
    match runtime.block_on(call).as_deref() {
        Some("0") => Answer::Durable,
        Some(DOWN) => Answer::Down,
        Some(status) => Answer::Later(status.to_owned()),
        None => Answer::Gone,
    }
}

/// In place of a status.
const DOWN: &str = "down";

/// One call of gRPC: its status.
async fn unary(to: SocketAddr, frame: Vec<u8>) -> Option<String> {
    let Ok(stream) = tokio::net::TcpStream::connect(to).await else { return Some(DOWN.to_owned()) };
    let (send, connection) = h2::client::handshake(stream).await.ok()?;
    tokio::spawn(connection);
    let mut send = send.ready().await.ok()?;
    let path = "http://x/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let request =
        http::Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    let (reply, mut body) = send.send_request(request.body(()).unwrap(), false).ok()?;
    body.send_data(frame.into(), true).ok()?;
    let reply = reply.await.ok()?;
    let status = |headers: &http::HeaderMap| Some(headers.get("grpc-status")?.to_str().ok()?.to_owned());
    if let Some(status) = status(reply.headers()) {
        return Some(status);
    }
    let mut body = reply.into_body();
    while let Some(data) = body.data().await {
        data.ok()?;
    }
    status(&body.trailers().await.ok()??)
}

fn kubernetes(to: SocketAddr, batch: u64) -> Answer {
    let one = |mark: &str| {
        format!(
            "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"{mark}\",\
             \"stage\":\"ResponseComplete\",\"requestURI\":\"/api/v1/pods\",\"verb\":\"list\",\"user\":{{\"username\":\"u\"}},\
             \"responseStatus\":{{\"code\":200}},\"requestReceivedTimestamp\":\"2024-03-13T12:08:33.000000Z\",\
             \"stageTimestamp\":\"2024-03-13T12:08:33.010000Z\"}}"
        )
    };
    let items = joined(batch, one, ",");
    let body = format!("{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"items\":[{items}]}}");
    by_status(post(to, "/k8s/audit", &[], body.as_bytes()))
}

fn hec_post(to: SocketAddr, batch: u64, headers: &[&str]) -> Result<(u16, Value), Answer> {
    let body = joined(batch, |mark| format!("{{\"time\":1710331713,\"event\":\"{mark}\"}}"), "");
    let answer = post(to, "/services/collector/event", headers, body.as_bytes())?;
    Ok((answer.status, serde_json::from_slice(&answer.body).map_err(|_| Answer::Gone)?))
}

fn hec(to: SocketAddr, batch: u64) -> Answer {
    match hec_post(to, batch, &[]) {
        Ok((200, _)) => Answer::Durable,
        Ok((status, body)) => Answer::Later(format!("{status} {}", body["code"])),
        Err(gone) => gone,
    }
}

fn hec_acknowledged(to: SocketAddr, batch: u64) -> Answer {
    let channel = "X-Splunk-Request-Channel: fe0ecfad-13d5-401b-847d-77833bd77131";
    let number = match hec_post(to, batch, &[channel]) {
        Ok((200, body)) => body["ackId"].as_u64().unwrap(),
        Ok((status, body)) => return Answer::Later(format!("{status} {}", body["code"])),
        Err(gone) => return gone,
    };
    let until = Instant::now() + ASKING;
    while Instant::now() < until {
        let body = format!("{{\"acks\":[{number}]}}");
        let answer = match post(to, "/services/collector/ack", &[channel], body.as_bytes()) {
            Ok(answer) => answer,
            Err(gone) => return gone,
        };
        let Ok(acks) = serde_json::from_slice::<Value>(&answer.body) else { return Answer::Gone };
        if acks["acks"][number.to_string()] == true {
            return Answer::Durable;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Answer::Later("false".to_owned())
}

fn loki(to: SocketAddr, batch: u64) -> Answer {
    let values = joined(batch, |mark| format!("[\"1710331713000000000\",\"{mark}\"]"), ",");
    let body = format!("{{\"streams\":[{{\"stream\":{{\"job\":\"x\"}},\"values\":[{values}]}}]}}");
    by_status(post(to, "/loki/api/v1/push", &["Content-Type: application/json"], body.as_bytes()))
}

fn cloudevents(to: SocketAddr, batch: u64) -> Answer {
    let one = |mark: &str| {
        format!("{{\"specversion\":\"1.0\",\"id\":\"{mark}\",\"source\":\"/s\",\"type\":\"t\"}}")
    };
    let body = format!("[{}]", joined(batch, one, ","));
    let kind = "Content-Type: application/cloudevents-batch+json";
    by_status(post(to, "/v1/cloudevents", &[kind], body.as_bytes()))
}

/// A receipt for each record, or nothing.
fn audit(to: SocketAddr, batch: u64) -> Answer {
    let one = |mark: &str| {
        format!(
            "{{\"attributes\":[{{\"key\":\"audit.record.id\",\"value\":{{\"stringValue\":\"{mark}\"}}}}]}}"
        )
    };
    let records = joined(batch, one, ",");
    let body = format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{records}]}}]}}]}}");
    let answer = post(to, "/v1/audit", &["Content-Type: application/json"], body.as_bytes());
    if let Ok(answer) = &answer {
        let receipts = answer.text().matches("\"integrityHash\"").count();
        assert!(answer.status != 200 || receipts == marks(batch).len(), "{}", answer.text());
    }
    by_status(answer)
}

/// Forward mode with a chunk: the acknowledgement is its id, and nothing else is.
fn fluent(to: SocketAddr, batch: u64) -> Answer {
    let text = |text: &str| [&[0xd9, text.len() as u8][..], text.as_bytes()].concat();
    let marks = marks(batch);
    let mut message = [&[0x93][..], &text("app.log"), &[0x90 | marks.len() as u8]].concat();
    for mark in &marks {
        message.extend_from_slice(b"\x92\xd7\x00\x65\xf1\x97\xc1\x00\x00\x00\x07\x81\xa4note");
        message.extend_from_slice(&text(mark));
    }
    let chunk = format!("chunk-{batch}");
    message.extend_from_slice(&[&b"\x81\xa5chunk"[..], &text(&chunk)].concat());
    let Ok(mut stream) = TcpStream::connect(to) else { return Answer::Down };
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    if stream.write_all(&message).is_err() {
        return Answer::Gone;
    }
    let want = [&b"\x81\xa3ack"[..], &[0xa0 | chunk.len() as u8], chunk.as_bytes()].concat();
    let mut answer = vec![0; want.len()];
    match stream.read_exact(&mut answer) {
        Ok(()) => {
            assert_eq!(answer, want);
            Answer::Durable
        }
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Answer::Later("closed".into()),
        Err(_) => Answer::Gone,
    }
}
