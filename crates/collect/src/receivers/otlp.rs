//! OTLP: logs and traces over HTTP (Protobuf and JSON) and gRPC.
//!
//! Source: OpenTelemetry Protocol specification 1.x. Success is answered when each record is durable: a log record as
//! its event; a span as the event of its call where both halves came in one request, else as a record of rec
//! progress that holds its bytes, from which `spans.rs` makes the event when the other half has come or the window
//! has passed. A record that is not understood is recorded raw, so `partial_success` counts only what the ledger
//! refused. Repeats are known by content, spans also by their id.

use super::grpc::{self, Code};
use super::halves::Halves;
use super::http::{Push, Reply, again, bytes, come_again, json};
use super::port::{self, Deliverer, Port};
use crate::draft::json_text;
use crate::intake::{Receipt, Refusal};
use crate::otlp::map::observe_span;
use crate::otlp::{self, Batch, Signal, half_id, split_json, split_protobuf};
use crate::proto::Writer;
use crate::spans::{PENDING_MAX, SpanRecord, Spans, WINDOW};
use crate::{Fault, Input};
use countersign_event::{CaptureMode, Event, Verified, import_eid};
use http::{HeaderValue, StatusCode};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How often the window of waiting spans is looked at, and a ledger that was busy is asked again.
const TICK: Duration = Duration::from_secs(1);

/// How a request came, and is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Protobuf,
    Json,
    Grpc,
}

/// Spans that wait for their other half, and events that wait for the ledger. All of it is durable already.
#[derive(Debug)]
pub(super) struct Desk {
    spans: Mutex<Spans>,
    ready: Mutex<Vec<Event>>,
    wake: Notify,
}

impl Desk {
    pub(super) fn new(port: &Port) -> Desk {
        let spans = Mutex::new(Spans::new(port.intake.agent(), WINDOW));
        Desk { spans, ready: Mutex::default(), wake: Notify::new() }
    }

    fn spans(&self) -> MutexGuard<'_, Spans> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Event>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the halves of an earlier process wait on, from when they came.
    pub(super) fn resume(&self, halves: Halves, port: &Port) {
        let mut out = Vec::new();
        for half in halves.left() {
            let (Some(capture), Some(raw)) = (&half.body.cap, &half.body.raw) else { continue };
            let input = Input {
                level: capture.level.unwrap_or(Verified::Claimed),
                deliverer: capture.deliverer.clone(),
                ..port.input.clone()
            };
            let since = half.core.t_obs;
            if let Ok(span) = observe_span(&raw.bytes, &input, &port.keeper, since) {
                self.spans().offer(span, since, &mut out);
            }
        }
        self.tell(out, port.intake.agent());
    }

    /// Takes what a durable batch left waiting.
    fn settle(&self, batch: Spans, now: u64, agent: &str) {
        let mut out = Vec::new();
        batch.settle_into(&mut self.spans(), now, &mut out);
        self.tell(out, agent);
    }

    /// Events made of records that are durable: they refer to them.
    fn tell(&self, mut events: Vec<Event>, agent: &str) {
        if events.is_empty() {
            return;
        }
        for event in &mut events {
            let Some(capture) = &mut event.body.cap else { continue };
            capture.mode = Some(CaptureMode::Replay);
            let half = import_eid(agent, half_id(&capture.source_id).as_bytes());
            event.links.of.get_or_insert(half);
        }
        self.ready().append(&mut events);
        self.wake.notify_one();
    }

    /// Hands over what is ready; what the ledger does not take now stays.
    async fn flush(&self, port: &Port) {
        let events = std::mem::take(&mut *self.ready());
        if events.is_empty() {
            return;
        }
        if let Err(refusal) = port.deliver(events.clone(), 0, true).await {
            tracing::debug!(%refusal, "joined spans wait for the ledger");
            let mut ready = self.ready();
            let newer = std::mem::replace(&mut *ready, events);
            ready.extend(newer);
        }
    }

    /// Until `stop` says true.
    pub(super) async fn run(&self, port: &Port, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(TICK) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let mut out = Vec::new();
            self.spans().expire(port::now(), &mut out);
            self.tell(out, port.intake.agent());
            self.flush(port).await;
        }
    }

    /// At the end: what waits is told alone.
    pub(super) async fn close(&self, port: &Port) {
        let mut out = Vec::new();
        self.spans().drain(&mut out);
        self.tell(out, port.intake.agent());
        self.flush(port).await;
        let left = self.ready().len();
        if left > 0 {
            tracing::warn!(left, "calls are recorded by their halves only: the ledger took no more");
        }
    }
}

pub(super) async fn receive(push: Push, signal: Signal) -> Reply {
    let Push { port, desk, deliverer, headers, body, .. } = push;
    let kind = headers.get("content-type").map(HeaderValue::as_bytes).unwrap_or_default();
    let way = match kind.split(|b| *b == b';').next().map(<[u8]>::trim_ascii) {
        _ if grpc::is(&headers) => Way::Grpc,
        Some(b"application/x-protobuf" | b"application/protobuf") => Way::Protobuf,
        Some(b"application/json") => Way::Json,
        _ => {
            port.intake.rejected(1, "content_type");
            let known = "known: application/x-protobuf, application/json\n";
            return super::http::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, known.into());
        }
    };
    let message = match way {
        Way::Grpc => match grpc::unary(&headers, &body) {
            Ok(message) => message,
            Err((code, why)) => {
                port.intake.rejected(1, "grpc_message");
                return grpc::refuse(code, why);
            }
        },
        Way::Protobuf | Way::Json => body.to_vec(),
    };
    let records = if way == Way::Json { split_json(signal, &message) } else { split_protobuf(&message) };
    let records = match records {
        Ok(records) => records,
        Err(fault) => return unreadable(&port, way, fault),
    };
    let size = message.len();
    let done = match signal {
        Signal::Logs => logs(&port, &deliverer, &records, size).await,
        Signal::Traces => traces(&port, &desk, &deliverer, &records, size).await,
    };
    match done {
        Ok(receipt) => success(way, signal, &receipt),
        Err(refusal) => later(way, &refusal),
    }
}

async fn logs(
    port: &Port,
    deliverer: &Deliverer,
    records: &[Vec<u8>],
    size: usize,
) -> Result<Receipt, Refusal> {
    let (input, now) = (port.input_of(deliverer), port::now());
    port.deliver(otlp::logs(records, &input, &port.keeper, now), size, true).await
}

async fn traces(
    port: &Port,
    desk: &Desk,
    deliverer: &Deliverer,
    records: &[Vec<u8>],
    size: usize,
) -> Result<Receipt, Refusal> {
    if desk.ready().len() > PENDING_MAX {
        return Err(Refusal::Busy("joined spans wait for the ledger"));
    }
    let (input, now) = (port.input_of(deliverer), port::now());
    let known = |span: &SpanRecord| desk.spans().has(span);
    let Batch { events, waiting, repeated } =
        otlp::spans(records, known, port.intake.agent(), &input, &port.keeper, now);
    let receipt = port.deliver(events, size, true).await?;
    port.intake.repeated(repeated + waiting.counts().duplicates);
    desk.settle(waiting, now, port.intake.agent());
    Ok(receipt)
}

/// A whole request that cannot be read: for good.
fn unreadable(port: &Port, way: Way, fault: Fault) -> Reply {
    port.intake.rejected(1, "otlp_request");
    let why = fault.to_string();
    if way == Way::Grpc {
        return grpc::refuse(Code::InvalidArgument, &why);
    }
    status(way, StatusCode::BAD_REQUEST, Code::InvalidArgument, &why)
}

/// `google.rpc.Status` as the body of a refusal.
fn status(way: Way, http: StatusCode, code: Code, why: &str) -> Reply {
    if way == Way::Json {
        return json(http, format!("{{\"code\":{},\"message\":{}}}", code as u8, json_text(why)));
    }
    let mut status = Writer::new();
    status.uint(1, code as u64);
    status.bytes(2, why.as_bytes());
    bytes(http, "application/x-protobuf", status.done())
}

fn later(way: Way, refusal: &Refusal) -> Reply {
    let why = refusal.to_string();
    match way {
        Way::Grpc => grpc::come_again(refusal),
        Way::Json => come_again(refusal, format!("{{\"code\":14,\"message\":{}}}", json_text(&why))),
        Way::Protobuf => {
            let (http, seconds) = again(refusal);
            let mut reply = status(way, http, Code::Unavailable, &why);
            if let Some(seconds) = seconds {
                reply.headers_mut().insert("retry-after", HeaderValue::from(seconds));
            }
            reply
        }
    }
}

/// All is durable, but for what the ledger will never take.
fn success(way: Way, signal: Signal, receipt: &Receipt) -> Reply {
    const WHY: &str = "a record is larger than an event may be";
    let refused = receipt.rejected.len() as u64;
    if way == Way::Json {
        let name = if signal == Signal::Logs { "rejectedLogRecords" } else { "rejectedSpans" };
        let body = match refused {
            0 => "{}".to_owned(),
            n => format!("{{\"partialSuccess\":{{\"{name}\":\"{n}\",\"errorMessage\":\"{WHY}\"}}}}"),
        };
        return json(StatusCode::OK, body);
    }
    let mut response = Writer::new();
    if refused > 0 {
        response.message(1, |partial| {
            partial.uint(1, refused);
            partial.bytes(2, WHY.as_bytes());
        });
    }
    match way {
        Way::Grpc => grpc::answer(&response.done()),
        _ => bytes(StatusCode::OK, "application/x-protobuf", response.done()),
    }
}
