//! OTLP against a real ledger: by hand over HTTP, and by the exporters of OpenTelemetry's own SDK.

use crate::push::{Rig, request};
use countersign_collect::intake::IntakeLimits;
use countersign_collect::otlp::{self, Any, Group, LogRecord, Pair, Request, Resource, Scoped, Span};
use countersign_collect::receivers::{Access, Halves, http};
use countersign_collect::spans::WINDOW;
use countersign_event::{CaptureMode, Event, Kind, Outcome, Rec};
use countersign_testkit::python::venv;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn one_of<T>(service: &str, items: Vec<T>) -> Request<T> {
    let attributes = vec![Pair { key: "service.name".into(), value: Some(Any::Text(service.into())) }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scoped = Scoped { scope: None, items, schema_url: String::new(), unknown: Vec::new() };
    let group = Group { resource, scopes: vec![scoped], schema_url: String::new(), unknown: Vec::new() };
    Request { groups: vec![group] }
}

fn log(text: &str) -> LogRecord {
    LogRecord { time: 7, body: Some(Any::Text(text.into())), ..LogRecord::default() }
}

fn span(id: u8, parent: u8, kind: i32) -> Span {
    let parent = if parent == 0 { Vec::new() } else { vec![parent; 8] };
    Span {
        trace: vec![9; 16],
        id: vec![id; 8],
        parent,
        kind,
        name: "op".into(),
        start: 10,
        end: 20,
        ..Span::default()
    }
}

fn mode(event: &Event) -> Option<CaptureMode> {
    event.body.cap.as_ref().unwrap().mode
}

#[test]
fn logs_in_both_encodings_are_recorded_once_and_equal_ones_of_a_batch_stay_two() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let logs = one_of("shop", vec![log("a"), log("a"), log("b")]);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&otlp::to_protobuf(&logs)).unwrap();
    let packed = packer.finish().unwrap();
    for _ in 0..2 {
        let headers = format!("{PROTOBUF}Content-Encoding: gzip\r\n");
        assert_eq!(request(rig.address, "POST", "/v1/logs", &headers, &packed), (200, String::new()));
    }
    let json = otlp::to_json(&one_of("shop", vec![log("c")]));
    assert_eq!(request(rig.address, "POST", "/v1/logs", JSON, json.as_bytes()), (200, "{}".to_owned()));
    let counts = rig.port.intake.counts();
    assert_eq!((counts.received, counts.recorded), (7, 7));
    let events = rig.events();
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| event.core.rec == Some(Rec::Raw) && event.core.t_event == Some(7)));
}

#[test]
fn what_cannot_be_read_is_refused_in_the_words_of_the_encoding() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let (status, why) = request(rig.address, "POST", "/v1/logs", JSON, b"{\"resourceLogs\":[");
    assert_eq!(status, 400);
    assert!(why.starts_with("{\"code\":3,\"message\":"), "{why}");
    assert_eq!(request(rig.address, "POST", "/v1/traces", PROTOBUF, b"\x0a\x05").0, 400);
    assert_eq!(request(rig.address, "POST", "/v1/traces", "Content-Type: text/plain\r\n", b"x").0, 415);
    assert_eq!(request(rig.address, "POST", "/v1/metrics", PROTOBUF, b"").0, 404);
    assert_eq!(rig.port.intake.counts().rejected, 3);
    assert!(rig.events().is_empty());
}

#[test]
fn a_record_that_is_not_understood_is_raw_and_the_others_stand() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let json =
        "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"timeUnixNano\":\"7\"},{\"body\":DEEP}]}]}]}";
    let deep = format!("{}1{}", "{\"arrayValue\":{\"values\":[".repeat(17), "]}}".repeat(17));
    let json = json.replace("DEEP", &deep.replace('1', "{\"intValue\":1}"));
    assert_eq!(request(rig.address, "POST", "/v1/logs", JSON, json.as_bytes()).0, 200);
    let events = rig.events();
    assert_eq!(events.len(), 2);
    assert!(events[1].content.err.starts_with("not understood"), "{}", events[1].content.err);
    assert!(!events[1].body.raw.as_ref().unwrap().bytes.is_empty());
}

#[test]
fn halves_in_two_requests_are_durable_each_and_one_interaction() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let client = otlp::to_protobuf(&one_of("web", vec![span(1, 0, 3), span(5, 1, 1)]));
    let server = otlp::to_protobuf(&one_of("shop", vec![span(2, 1, 2)]));
    for body in [&client, &client, &server, &server] {
        assert_eq!(request(rig.address, "POST", "/v1/traces", PROTOBUF, body).0, 200);
    }
    let events = rig.events();
    let halves: Vec<_> = events.iter().filter(|event| event.core.rec == Some(Rec::Progress)).collect();
    assert_eq!(halves.len(), 2);
    assert!(halves.iter().all(|half| !half.body.raw.as_ref().unwrap().bytes.is_empty()));
    let calls: Vec<_> = events.iter().filter(|event| event.core.rec == Some(Rec::Interaction)).collect();
    let [call] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((call.who.who.as_ref().unwrap().svc.as_str(), call.target.svc.as_str()), ("web", "shop"));
    assert_eq!(call.links.of, Some(halves[1].core.eid));
    assert_eq!(mode(call), Some(CaptureMode::Replay));
}

/// The input of `dir` again, after a crash that left `events`.
fn again(dir: &Path, events: &[Event], age: u64) -> Rig {
    let mut halves = Halves::default();
    for event in events {
        let mut event = event.clone();
        event.core.t_obs -= age;
        halves.take(&event);
    }
    let settings = http::Settings { halves, ..http::Settings::default() };
    Rig::behind(dir, None, Arc::default(), IntakeLimits::default(), Access::open(), settings)
}

#[test]
fn a_half_that_waited_when_the_process_was_killed_finds_its_twin_after_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let client = otlp::to_protobuf(&one_of("web", vec![span(1, 0, 3)]));
    let server = otlp::to_protobuf(&one_of("shop", vec![span(2, 1, 2)]));
    assert_eq!(request(rig.address, "POST", "/v1/traces", PROTOBUF, &client).0, 200);
    let left = rig.crash();
    assert_eq!(left.len(), 1, "only the half");
    let rig = again(dir.path(), &left, 0);
    assert_eq!(request(rig.address, "POST", "/v1/traces", PROTOBUF, &server).0, 200);
    let events = rig.events();
    let calls: Vec<_> = events.iter().filter(|event| event.core.rec == Some(Rec::Interaction)).collect();
    let [call] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((call.who.who.as_ref().unwrap().svc.as_str(), call.target.svc.as_str()), ("web", "shop"));
    // Nothing is left over for a third process: it makes no second event of either half.
    let rig = again(dir.path(), &events, 2 * WINDOW);
    let calls = rig.events().into_iter().filter(|event| event.core.rec == Some(Rec::Interaction));
    assert_eq!(calls.count(), 1);
}

#[test]
fn a_half_whose_window_passed_while_nobody_ran_becomes_its_event() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let client = otlp::to_protobuf(&one_of("web", vec![span(1, 0, 3)]));
    assert_eq!(request(rig.address, "POST", "/v1/traces", PROTOBUF, &client).0, 200);
    let left = rig.crash();
    let rig = again(dir.path(), &left, 2 * WINDOW);
    let events = rig.events();
    let calls: Vec<_> = events.iter().filter(|event| event.core.rec == Some(Rec::Interaction)).collect();
    let [call] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((call.links.of, mode(call)), (Some(left[0].core.eid), Some(CaptureMode::Replay)));
}

#[test]
fn halves_in_one_request_are_one_event_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let mut both = one_of("web", vec![span(1, 0, 3)]);
    both.groups.extend(one_of("shop", vec![span(2, 1, 2)]).groups);
    assert_eq!(request(rig.address, "POST", "/v1/traces", PROTOBUF, &otlp::to_protobuf(&both)).0, 200);
    let counts = rig.port.intake.counts();
    assert_eq!((counts.received, counts.recorded), (2, 2));
    let events = rig.events();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].links.of, mode(&events[0])), (None, Some(CaptureMode::Push)));
}

/// Spans and logs by the SDK's own exporters: `http` or `grpc`, the second with gzip.
const EXPORTS: &str = r#"
import sys, logging
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
way, address = sys.argv[1], sys.argv[2]
if way == "http":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    spans = lambda: OTLPSpanExporter(endpoint=f"http://{address}/v1/traces")
    logs = OTLPLogExporter(endpoint=f"http://{address}/v1/logs")
else:
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    spans = lambda: OTLPSpanExporter(endpoint=address, insecure=True, compression=grpc.Compression.Gzip)
    logs = OTLPLogExporter(endpoint=address, insecure=True, compression=grpc.Compression.Gzip)

def tracer(service):
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(spans()))
    return provider

web, shop = tracer("web"), tracer("shop")
for n in range(100):
    with web.get_tracer("t").start_as_current_span("GET", kind=SpanKind.CLIENT) as call:
        call.set_attribute("http.request.method", "GET")
        call.set_attribute("url.full", f"http://shop.example/orders/{n}")
        with shop.get_tracer("t").start_as_current_span("GET /orders/{id}", kind=SpanKind.SERVER) as span:
            span.set_attribute("http.request.method", "GET")
            span.set_attribute("http.route", "/orders/{id}")
            span.set_attribute("url.path", f"/orders/{n}")
            span.set_attribute("client.address", "192.0.2.7")
            span.set_attribute("http.response.status_code", 403 if n % 10 == 0 else 200)
web.shutdown(); shop.shutdown()
provider = LoggerProvider(resource=Resource.create({"service.name": "shop"}))
provider.add_log_record_processor(BatchLogRecordProcessor(logs))
log = logging.getLogger("app"); log.setLevel(logging.INFO); log.propagate = False
log.addHandler(LoggingHandler(logger_provider=provider))
for n in range(50):
    log.info("order %d shipped", n)
provider.shutdown()
"#;

fn export(way: &str) {
    let python = venv(
        "otlp",
        &[
            "opentelemetry-sdk==1.38.0",
            "opentelemetry-exporter-otlp-proto-http==1.38.0",
            "opentelemetry-exporter-otlp-proto-grpc==1.38.0",
        ],
    )
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let output =
        Command::new(python).args(["-c", EXPORTS, way]).arg(rig.address.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("rror"), "{said}");
    let events = rig.events();
    let mut paths: Vec<u32> = Vec::new();
    for call in events.iter().filter(|event| event.core.rec == Some(Rec::Interaction)) {
        assert_eq!((call.core.kind, call.core.op.as_str()), (Some(Kind::Http), "GET"));
        assert_eq!((call.who.who.as_ref().unwrap().svc.as_str(), call.target.svc.as_str()), ("web", "shop"));
        assert_eq!(call.target.res, "/orders/{id}");
        assert_eq!(call.peer.src.as_ref().unwrap().ip.unwrap().to_string(), "192.0.2.7");
        let (whole, own) = (call.core.lat.unwrap()[2], call.core.dur.unwrap());
        assert!(whole >= own && call.links.trace.is_some() && call.core.skew.is_none());
        let number: u32 = call.target.raw.trim_start_matches("/orders/").parse().unwrap();
        let outcome = if number.is_multiple_of(10) { Outcome::Denied } else { Outcome::Success };
        assert_eq!(call.core.outcome, Some(outcome));
        paths.push(number);
    }
    paths.sort_unstable();
    assert_eq!(paths, (0..100).collect::<Vec<_>>(), "each request once");
    let logs = events.iter().filter(|event| event.core.rec == Some(Rec::Raw)).collect::<Vec<_>>();
    assert_eq!(logs.len(), 50);
    assert!(logs.iter().all(|log| log.content.unmapped.contains_key("/body") && log.core.t_event.is_some()));
    assert_eq!(events.len(), 100 + 200 + 50, "calls, their halves, logs");
}

#[test]
fn every_call_that_the_sdk_exports_over_http_is_one_right_record() {
    export("http");
}

#[test]
fn every_call_that_the_sdk_exports_over_grpc_is_one_right_record() {
    export("grpc");
}
