//! Which protocol a request belongs to, by its method and path. Nothing else decides: not a header, not the body.

use super::hooks::Hook;
use super::{als, bulk, hec};
use crate::otlp::Signal;
use http::Method;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `POST /v1/events`
    Events,
    /// `POST /k8s/audit`
    Kubernetes,
    /// `POST /_bulk`, `POST /INDEX/_bulk`
    Bulk,
    /// `POST /v1/logs`, `POST /v1/traces`, and the same as gRPC.
    Otlp(Signal),
    /// `POST /v1/audit`, where the input takes it.
    Audit,
    /// Splunk's HTTP Event Collector.
    Hec(hec::Call),
    /// `POST /loki/api/v1/push`
    Loki,
    /// `POST /upload`: systemd's journal.
    Journal,
    /// CloudEvents, security event tokens, Google's Pub/Sub.
    Hook(Hook),
    /// Envoy's access log service.
    Als,
    /// What an Elasticsearch client asks before it sends.
    Probe,
}

/// The methods of OTLP's two services.
const LOGS_SERVICE: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const TRACE_SERVICE: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What is said to somebody who asks for something else.
pub(super) const KNOWN: &str = "POST /v1/events, POST /k8s/audit, POST /_bulk, POST /v1/logs, POST /v1/traces, \
     POST /services/collector, POST /loki/api/v1/push, POST /v1/cloudevents, POST /v1/set, POST /v1/pubsub, POST /upload";

pub(super) fn endpoint(method: &Method, path: &str) -> Option<Endpoint> {
    let post = matches!(*method, Method::POST | Method::PUT);
    let path = path.trim_end_matches('/');
    if let Some(rest) = path.strip_prefix("/services/collector") {
        return hec::call(method, rest).map(Endpoint::Hec);
    }
    match path {
        "/v1/events" if post => Some(Endpoint::Events),
        "/v1/logs" | LOGS_SERVICE if post => Some(Endpoint::Otlp(Signal::Logs)),
        als::STREAM if post => Some(Endpoint::Als),
        "/v1/traces" | TRACE_SERVICE if post => Some(Endpoint::Otlp(Signal::Traces)),
        "/v1/audit" if post => Some(Endpoint::Audit),
        "/k8s/audit" if post => Some(Endpoint::Kubernetes),
        "/loki/api/v1/push" if post => Some(Endpoint::Loki),
        "/upload" if post => Some(Endpoint::Journal),
        "/v1/cloudevents" if post => Some(Endpoint::Hook(Hook::CloudEvents)),
        "/v1/cloudevents" if *method == Method::OPTIONS => Some(Endpoint::Hook(Hook::Preflight)),
        "/v1/set" if post => Some(Endpoint::Hook(Hook::Set)),
        "/v1/pubsub" if post => Some(Endpoint::Hook(Hook::PubSub)),
        path if post && (path == "/_bulk" || path.ends_with("/_bulk")) => Some(Endpoint::Bulk),
        path if bulk::is_probe(method, path) => Some(Endpoint::Probe),
        _ => None,
    }
}
