//! Envoy and Istio: a format string compiled, the default texts of both, and their JSON.
//!
//! Source: Envoy, "Access logging", "Format strings" and "Command operators"; Istio, "Envoy Access Logs", default
//! format. `%NAME%`, `%NAME(arguments)%` and `%NAME(arguments):length%` are operators, `%%` is a per cent sign.
//! What an operator has no value for is `-`. An operator of an extension goes to `unmapped` by its name.
//!
//! Envoy escapes nothing in texts: a client whose user agent holds `" "` shifts fields; what then stands behind the
//! last one makes the record partial. The remote address is Envoy's own view, except `DOWNSTREAM_REMOTE_ADDRESS`
//! where `use_remote_address` or a filter took it from X-Forwarded-For. The peer's SAN was verified by Envoy.
//!
//! `GRPC_STATUS` decides over HTTP's 200.

use super::json::{Table, object, table};
use super::wrap::unwrapped;
use super::{Clock, Compiled, Exchange, Known, Role, read_known};
use crate::formats::{Format, Record};
use crate::json::Val;
use crate::plan::{Builder, Escape, FormatError, Span};
use crate::{Draft, Fault};
use std::sync::LazyLock;

const MS: u64 = 1_000_000;

/// Operators and what they mean; those without a meaning are known and go to `unmapped`.
const OPERATORS: &[(&str, Role)] = &[
    ("START_TIME", Role::Time(Clock::Iso)),
    ("START_TIME_LOCAL", Role::Time(Clock::Iso)),
    ("PROTOCOL", Role::Protocol),
    ("RESPONSE_CODE", Role::Status),
    ("RESPONSE_FLAGS", Role::Flags),
    ("RESPONSE_FLAGS_LONG", Role::Rest),
    ("RESPONSE_CODE_DETAILS", Role::Rest),
    ("CONNECTION_TERMINATION_DETAILS", Role::Rest),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", Role::Error),
    ("DOWNSTREAM_TRANSPORT_FAILURE_REASON", Role::Error),
    ("BYTES_RECEIVED", Role::Received),
    ("BYTES_SENT", Role::Sent),
    ("DURATION", Role::Took(MS)),
    ("RESPONSE_DURATION", Role::TookUpstream(MS)),
    ("REQUEST_DURATION", Role::Rest),
    ("RESPONSE_TX_DURATION", Role::Rest),
    ("COMMON_DURATION", Role::Rest),
    ("UPSTREAM_HOST", Role::Upstream),
    ("UPSTREAM_REMOTE_ADDRESS", Role::Upstream),
    ("UPSTREAM_CLUSTER", Role::Service),
    ("UPSTREAM_CLUSTER_RAW", Role::Service),
    ("UPSTREAM_LOCAL_ADDRESS", Role::Rest),
    ("UPSTREAM_PROTOCOL", Role::Rest),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", Role::Rest),
    ("UPSTREAM_PEER_URI_SAN", Role::Rest),
    ("DOWNSTREAM_REMOTE_ADDRESS", Role::Client),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Role::Client),
    ("DOWNSTREAM_REMOTE_PORT", Role::ClientPort),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", Role::Rest),
    ("DOWNSTREAM_LOCAL_ADDRESS", Role::Local),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Role::Local),
    ("DOWNSTREAM_LOCAL_PORT", Role::LocalPort),
    ("DOWNSTREAM_PEER_URI_SAN", Role::Peer),
    ("DOWNSTREAM_PEER_DNS_SAN", Role::Rest),
    ("DOWNSTREAM_PEER_SUBJECT", Role::PeerSubject),
    ("DOWNSTREAM_PEER_ISSUER", Role::Rest),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", Role::PeerDigest),
    ("DOWNSTREAM_PEER_FINGERPRINT_1", Role::Rest),
    ("DOWNSTREAM_PEER_SERIAL", Role::Rest),
    ("DOWNSTREAM_LOCAL_URI_SAN", Role::Rest),
    ("DOWNSTREAM_TLS_VERSION", Role::TlsVersion),
    ("DOWNSTREAM_TLS_CIPHER", Role::Cipher),
    ("DOWNSTREAM_TLS_SESSION_ID", Role::Rest),
    ("REQUESTED_SERVER_NAME", Role::Sni),
    ("ROUTE_NAME", Role::Rest),
    ("VIRTUAL_CLUSTER_NAME", Role::Rest),
    ("FILTER_CHAIN_NAME", Role::Rest),
    ("CONNECTION_ID", Role::Rest),
    ("STREAM_ID", Role::RequestId),
    ("HOSTNAME", Role::Rest),
    ("GRPC_STATUS", Role::GrpcStatus),
    ("GRPC_STATUS_NUMBER", Role::GrpcStatus),
    ("TRACE_ID", Role::Trace),
    ("SPAN_ID", Role::Span),
    ("REQ", Role::Rest),
    ("REQUEST_HEADER", Role::Rest),
    ("RESP", Role::Rest),
    ("RESPONSE_HEADER", Role::Rest),
    ("TRAILER", Role::Rest),
    ("RESPONSE_TRAILER", Role::Rest),
    ("DYNAMIC_METADATA", Role::Rest),
    ("CLUSTER_METADATA", Role::Rest),
    ("UPSTREAM_METADATA", Role::Rest),
    ("METADATA", Role::Rest),
    ("FILTER_STATE", Role::Rest),
    ("UPSTREAM_FILTER_STATE", Role::Rest),
    ("ENVIRONMENT", Role::Rest),
    ("CEL", Role::Rest),
    ("REQ_WITHOUT_QUERY", Role::Rest),
    ("EMIT_TIME", Role::Rest),
    ("UNIQUE_ID", Role::RequestId),
];

/// Compiles a format string.
///
/// # Errors
/// The place and the reason: an operator that does not end, a name that is none, two operators with nothing between.
pub fn compile(format: &str) -> Result<Compiled, FormatError> {
    let format = format.trim_end_matches(['\n', '\r']);
    let mut builder = Builder::new(format, Escape::None)?;
    let mut at = 0;
    while let Some(rest) = format.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("%%") {
            builder.literal("%");
            at += 2;
        } else if let Some(operator) = rest.strip_prefix('%') {
            let length = operator_length(operator)
                .ok_or_else(|| FormatError::new(at, "an operator without its closing `%`"))?;
            let operator = operator.get(..length).unwrap_or_default();
            let (name, role) = role(operator, at)?;
            let span = if role == Role::Forwarded { Span::List } else { Span::Plain };
            builder.field(at, name, role, span)?;
            at += length + 2;
        } else {
            let end = rest.find('%').unwrap_or(rest.len());
            builder.literal(rest.get(..end).unwrap_or_default());
            at += end;
        }
    }
    let known: Vec<&str> = OPERATORS.iter().map(|(name, _)| *name).collect();
    let mut compiled = Compiled::new(builder.done()?, &known);
    compiled.unknown.retain(|unknown| !unknown.name.contains('('));
    Ok(compiled)
}

/// Up to the closing `%`: arguments in brackets may hold one (`%START_TIME(%s)%`).
fn operator_length(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    text.bytes().position(|b| {
        match b {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        b == b'%' && depth == 0
    })
}

fn role(operator: &str, at: usize) -> Result<(String, Role), FormatError> {
    let (name, rest) = operator.split_at(operator.find(['(', ':']).unwrap_or(operator.len()));
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    if !is_name(name) {
        return Err(FormatError::unknown(at, operator, OPERATORS.iter().map(|(name, _)| *name)));
    }
    let argument =
        rest.strip_prefix('(').and_then(|rest| rest.rsplit_once(')')).map(|(argument, _)| argument);
    let lower = argument.unwrap_or_default().to_ascii_lowercase();
    Ok(match (name, argument) {
        ("REQ" | "REQUEST_HEADER" | "REQ_WITHOUT_QUERY", Some(_)) => header(operator, &lower),
        ("RESP" | "RESPONSE_HEADER" | "TRAILER" | "RESPONSE_TRAILER", Some(_)) => match lower.as_str() {
            "x-envoy-upstream-service-time" => (lower, Role::TookUpstream(MS)),
            "grpc-status" => (lower, Role::GrpcStatus),
            "x-request-id" => (lower, Role::RequestId),
            _ => (operator.to_owned(), Role::Rest),
        },
        ("START_TIME" | "START_TIME_LOCAL", Some(_)) => (operator.to_owned(), Role::Time(start_time(&lower))),
        _ => {
            let role =
                OPERATORS.iter().find(|(known, _)| *known == name).map_or(Role::Rest, |(_, role)| *role);
            (operator.to_owned(), role)
        }
    })
}

/// A header of the request; `A?B` = B where there is no A.
fn header(operator: &str, names: &str) -> (String, Role) {
    let name = names.rsplit('?').next().unwrap_or_default();
    let role = match name {
        ":method" => Role::Method,
        ":path" | "x-envoy-original-path" => Role::Uri,
        ":authority" | "host" => Role::Host,
        ":scheme" | "x-forwarded-proto" => Role::Scheme,
        "x-forwarded-for" => Role::Forwarded,
        "x-request-id" => Role::RequestId,
        "user-agent" | "referer" => Role::Header,
        "traceparent" => Role::Trace,
        _ => return (operator.to_owned(), Role::Rest),
    };
    (name.to_owned(), role)
}

fn start_time(format: &str) -> Clock {
    match format {
        "%s" => Clock::Unix(1_000_000_000),
        "%s%3f" | "%3f" => Clock::Unix(1_000_000),
        _ => Clock::Any,
    }
}

static ENVOY: Known = LazyLock::new(|| {
    compile(
        "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
         %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
         \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \
         \"%UPSTREAM_HOST%\"\n",
    )
});
static ISTIO: Known = LazyLock::new(|| {
    compile(
        "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
         %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
         \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
         %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
         \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% \
         %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% \
         %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n",
    )
});

/// Envoy's and Istio's default texts, and their JSON.
pub const ENVOY_ACCESS: Format = Format {
    name: "envoy",
    what: "access log of Envoy, Istio and Envoy Gateway: default texts and JSON",
    looks: |record| {
        let text = record.text;
        let text = unwrapped(text).1;
        (text.starts_with("[2") && text.contains("Z] \""))
            || (text.starts_with('{')
                && text.contains("\"response_flags\"")
                && text.contains("\"start_time\""))
    },
    parse,
};

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let (wrap, line) = unwrapped(record.text);
    let mut draft = if line.starts_with('{') {
        object(record, line, from_json)?
    } else {
        read_known(if is_istio(line) { &ISTIO } else { &ENVOY }, record, line)?
    };
    wrap.keep(&mut draft);
    Ok(draft)
}

/// Between the request and the next quotation mark Envoy has six words, Istio four.
fn is_istio(line: &str) -> bool {
    let behind = line.split_once("\" ").map_or("", |(_, behind)| behind);
    behind.split_once(" \"").is_some_and(|(words, _)| words.split(' ').count() == 4)
}

/// Names of Istio's default JSON and of Envoy Gateway's.
const JSON: Table = &[
    ("start_time", Role::Time(Clock::Iso)),
    ("method", Role::Method),
    (":method", Role::Method),
    ("path", Role::Uri),
    (":path", Role::Uri),
    ("x-envoy-origin-path", Role::Uri),
    ("x-envoy-original-path", Role::Uri),
    ("protocol", Role::Protocol),
    ("response_code", Role::Status),
    ("response_flags", Role::Flags),
    ("upstream_transport_failure_reason", Role::Error),
    ("bytes_received", Role::Received),
    ("bytes_sent", Role::Sent),
    ("duration", Role::Took(MS)),
    ("upstream_service_time", Role::TookUpstream(MS)),
    ("x-envoy-upstream-service-time", Role::TookUpstream(MS)),
    ("x_forwarded_for", Role::Forwarded),
    ("x-forwarded-for", Role::Forwarded),
    ("user_agent", Role::Header),
    ("user-agent", Role::Header),
    ("request_id", Role::RequestId),
    ("x-request-id", Role::RequestId),
    ("authority", Role::Host),
    (":authority", Role::Host),
    ("upstream_host", Role::Upstream),
    ("upstream_cluster", Role::Service),
    ("downstream_local_address", Role::Local),
    ("downstream_remote_address", Role::Client),
    ("downstream_peer_uri_san", Role::Peer),
    ("downstream_peer_subject", Role::PeerSubject),
    ("downstream_tls_version", Role::TlsVersion),
    ("downstream_tls_cipher", Role::Cipher),
    ("requested_server_name", Role::Sni),
    ("grpc_status", Role::GrpcStatus),
    ("grpc_status_number", Role::GrpcStatus),
    ("traceparent", Role::Trace),
    ("trace_id", Role::Trace),
];

fn from_json<'a>(record: &Record<'a>, root: Val<'a, 'a>) -> Result<Draft, Fault> {
    if root.get("start_time").is_none()
        || (root.get("response_code").is_none() && root.get("response_flags").is_none())
    {
        return Err(Fault::new(0, "no start_time with response_code"));
    }
    let mut exchange = Exchange::new(record);
    table(&mut exchange, root, JSON, true);
    exchange.done()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parsed, with};
    use super::*;
    use countersign_event::{Auth, Kind, Outcome, Verified};

    #[test]
    fn istio_s_text_names_service_route_and_both_ends() {
        let draft = parsed(
            &ENVOY_ACCESS,
            "[2024-03-13T12:08:33.250Z] \"GET /status/418?x=1 HTTP/1.1\" 418 - via_upstream - \"-\" 0 135 4 4 \"-\" \
             \"curl/8\" \"84961386-6d84-929d-98bd-c5aee93b5c88\" \"httpbin:8000\" \"10.44.1.27:80\" \
             outbound|8000||httpbin.foo.svc.cluster.local 10.44.1.23:37652 10.0.45.184:8000 10.44.1.23:46520 - default",
        );
        let event = &draft.event;
        assert_eq!(draft.partial, None);
        assert_eq!(event.target.svc, "httpbin.foo.svc.cluster.local");
        assert_eq!(event.peer.src.as_ref().unwrap().port, Some(46520));
        let dst = event.peer.dst.as_ref().unwrap();
        assert_eq!((dst.host.as_str(), dst.port), ("httpbin", Some(8000)));
        assert_eq!(event.core.outcome, Some(Outcome::CallerError));
        assert_eq!(event.core.lat, Some([0, 4_000_000, 4_000_000]));
    }

    #[test]
    fn a_tcp_connection_is_a_connection_and_its_flags_say_how_it_ended() {
        let line = |flags| {
            format!(
                "[2024-03-13T12:08:33.250Z] \"- - -\" 0 {flags} - - \"-\" 517 1024 12 - \"-\" \"-\" \"-\" \"-\" \
                 \"10.44.1.27:443\" outbound|443||db.foo.svc.cluster.local 10.44.1.23:37652 10.0.45.184:443 \
                 10.44.1.23:46520 db.foo -"
            )
        };
        for (flags, outcome) in
            [("-", Outcome::Success), ("UF,URX", Outcome::ServerError), ("DC", Outcome::Cancelled)]
        {
            let draft = parsed(&ENVOY_ACCESS, &line(flags));
            assert_eq!(
                (draft.event.core.kind, draft.event.core.outcome),
                (Some(Kind::L4), Some(outcome)),
                "{flags}"
            );
        }
    }

    #[test]
    fn a_status_of_grpc_wins_over_http_s_200() {
        let format = compile(
            "[%START_TIME%] %REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %GRPC_STATUS% \
             %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_REMOTE_ADDRESS% %CEL(xds.node)%\n",
        )
        .unwrap();
        let draft = with(
            "[2024-03-13T12:08:33.250Z] POST /shop.Orders/Get HTTP/2 200 PermissionDenied \
             spiffe://Prod.example/ns/shop/sa/web 10.0.0.1:4000 n1",
            |record| format.parse(record),
        )
        .unwrap();
        let event = &draft.event;
        assert_eq!((event.core.kind, event.core.outcome), (Some(Kind::Grpc), Some(Outcome::Denied)));
        assert_eq!((event.target.svc.as_str(), event.core.op.as_str()), ("shop.Orders", "Get"));
        let who = event.who.who.as_ref().unwrap();
        assert_eq!(who.id, "spiffe://prod.example/ns/shop/sa/web");
        assert_eq!((who.verified, who.auth), (Verified::Asserted, Some(Auth::SpiffeSvid)));
    }

    #[test]
    fn a_user_agent_that_forges_fields_makes_the_record_partial() {
        let draft = parsed(
            &ENVOY_ACCESS,
            "[2024-03-13T12:08:33.250Z] \"GET / HTTP/1.1\" 200 - 0 1 2 1 \"-\" \"x\" \"id\" \"evil.example\" \
             \"192.0.2.66:80\"\" \"real-id\" \"shop.example\" \"10.0.0.1:80\"",
        );
        assert!(draft.partial.is_some());
    }

    #[test]
    fn json_keeps_a_dash_that_is_data_and_drops_one_that_is_absence() {
        let draft = parsed(
            &ENVOY_ACCESS,
            r#"{"start_time":"2024-03-13T12:08:33.250Z","method":"GET","path":"/-","protocol":"HTTP/2","response_code":503,"response_flags":"UH","upstream_host":"-","user_agent":null,"bytes_sent":"19","grpc_status":"Unavailable"}"#,
        );
        assert_eq!(draft.event.target.raw, "/-");
        assert!(draft.event.peer.up.is_none());
        assert_eq!(draft.event.core.outcome, Some(Outcome::ServerError));
    }

    #[test]
    fn a_format_string_s_errors_say_where_and_what_was_meant() {
        assert_eq!(compile("a %REQ(X").unwrap_err().at, 2);
        assert_eq!(compile("%duration%").unwrap_err().nearest.as_deref(), Some("DURATION"));
        assert_eq!(compile("%DURATON%").unwrap().unknown[0].nearest.as_deref(), Some("DURATION"));
        assert!(compile("%DURATION%%PROTOCOL%").is_err());
        assert!(compile("%START_TIME(%Y/%m)% %BYTES_SENT%").is_ok());
    }
}
