//! Access logs in JSON: Traefik, Caddy, Fastly; and the way every vendor's table of names is read.
//!
//! Sources: Traefik, "Access logs", list of available fields; Caddy, `log` directive and its `json` encoder; Fastly,
//! "Useful log formats". A member that no row names stays unread, and so goes to `unmapped` as it was spelled.

use super::wrap::unwrapped;
use super::{Clock, Exchange, Role};
use crate::formats::{Format, Record};
use crate::json::{Doc, Kind, Val};
use crate::text::given;
use crate::{Draft, Fault, observe};
use countersign_event::StatusSpace;
use std::borrow::Cow;

/// Names of members and what they mean.
pub(crate) type Table = &'static [(&'static str, Role)];

/// Reads the JSON object that is `line`, and keeps what `read` did not take.
///
/// # Errors
/// It is no JSON object, or `read` refuses it.
pub(crate) fn object(
    record: &Record<'_>,
    line: &str,
    read: for<'a> fn(&Record<'a>, Val<'a, 'a>) -> Result<Draft, Fault>,
) -> Result<Draft, Fault> {
    // The whole record has been parsed; what is unread there is kept by whoever did.
    if record.json.is_some() {
        return read(record, record.object()?);
    }
    let doc = Doc::parse(line.trim_end().as_bytes())?;
    let inner = Record { json: Some(&doc), ..*record };
    let mut draft = read(&inner, inner.object()?)?;
    observe::unread(&inner, &mut draft);
    Ok(draft)
}

/// Takes the members of `object` that `table` names. `dash`: a `-` stands for nothing, also in JSON.
pub(crate) fn table<'a>(exchange: &mut Exchange<'a>, object: Val<'a, 'a>, table: Table, dash: bool) {
    for member in object.members() {
        let name = member.name();
        let Some((_, role)) = table.iter().find(|(known, _)| *known == name) else { continue };
        let Some(word) = word(member) else { continue };
        if !(dash && given(&word).is_none()) {
            exchange.take(*role, &header_name(&name), word);
        }
    }
}

/// As [`table`] takes one member.
pub(crate) fn member_word<'a>(member: Val<'a, 'a>) -> Option<Cow<'a, str>> {
    word(member)
}

/// The text of a member, taken; nothing for null, arrays and objects. A null says as much as no member.
fn word<'a>(member: Val<'a, 'a>) -> Option<Cow<'a, str>> {
    match member.kind() {
        Kind::Null => {
            member.take();
            None
        }
        Kind::Bool => Some(Cow::Borrowed(member.token())),
        _ => member.word(),
    }
}

/// `request_User-Agent` and `user_agent` are `user-agent`.
fn header_name(name: &str) -> String {
    name.strip_prefix("request_").unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

const TRAEFIK_FIELDS: Table = &[
    ("StartUTC", Role::Time(Clock::Iso)),
    ("StartLocal", Role::Skip),
    ("ClientAddr", Role::Client),
    ("ClientPort", Role::Skip),
    ("ClientUsername", Role::User),
    ("Duration", Role::Took(1)),
    ("OriginDuration", Role::TookUpstream(1)),
    ("RequestMethod", Role::Method),
    ("RequestPath", Role::Uri),
    ("RequestProtocol", Role::Protocol),
    ("RequestScheme", Role::Scheme),
    ("RequestHost", Role::Host),
    ("ServiceName", Role::Service),
    ("ServiceAddr", Role::Upstream),
    ("DownstreamStatus", Role::Status),
    ("DownstreamContentSize", Role::Sent),
    ("RequestContentSize", Role::Received),
    ("RetryAttempts", Role::Retries),
    ("TLSVersion", Role::TlsVersion),
    ("TLSCipher", Role::Cipher),
    ("TLSClientSubject", Role::PeerSubject),
    ("TraceId", Role::Trace),
    ("SpanId", Role::Span),
    ("request_User-Agent", Role::Header),
    ("request_Referer", Role::Header),
    ("request_X-Forwarded-For", Role::Forwarded),
    ("request_X-Request-Id", Role::RequestId),
    ("request_Traceparent", Role::Trace),
    ("downstream_Grpc-Status", Role::GrpcStatus),
    ("origin_Grpc-Status", Role::GrpcStatus),
];

/// Traefik, `accessLog.format: json`.
pub const TRAEFIK: Format = Format {
    name: "traefik-json",
    what: "access log of Traefik in JSON",
    looks: |record| record.json.is_some() && record.text.contains("\"DownstreamStatus\""),
    parse: |record| {
        object(record, record.text, |record, root| {
            if root.get("DownstreamStatus").is_none() || root.get("RequestMethod").is_none() {
                return Err(Fault::new(0, "no DownstreamStatus with RequestMethod"));
            }
            let mut exchange = Exchange::new(record);
            table(&mut exchange, root, TRAEFIK_FIELDS, true);
            exchange.done()
        })
    },
};

const CADDY_FIELDS: Table = &[
    ("ts", Role::Time(Clock::Any)),
    ("user_id", Role::UserChecked),
    ("duration", Role::Took(1_000_000_000)),
    ("size", Role::Sent),
    ("bytes_read", Role::Received),
    ("status", Role::Status),
    ("traceID", Role::Trace),
    ("spanID", Role::Span),
];
const CADDY_REQUEST: Table = &[
    ("remote_ip", Role::Client),
    ("remote_port", Role::ClientPort),
    ("remote_addr", Role::Client),
    ("method", Role::Method),
    ("uri", Role::Uri),
    ("proto", Role::Protocol),
    ("host", Role::Host),
];
const CADDY_TLS: Table = &[
    ("version", Role::TlsVersion),
    ("cipher_suite", Role::Cipher),
    ("server_name", Role::Sni),
    ("resumed", Role::Resumed),
];
/// Headers of requests, in lower case.
const HEADERS: &[(&str, Role)] = &[
    ("user-agent", Role::Header),
    ("referer", Role::Header),
    ("x-forwarded-for", Role::Forwarded),
    ("x-request-id", Role::RequestId),
    ("traceparent", Role::Trace),
];

/// Caddy.
pub const CADDY: Format = Format {
    name: "caddy",
    what: "access log of Caddy in JSON",
    looks: |record| record.json.is_some() && record.text.contains("\"http.log.access"),
    parse: |record| object(record, record.text, caddy),
};

fn caddy<'a>(record: &Record<'a>, root: Val<'a, 'a>) -> Result<Draft, Fault> {
    let request = root.get("request").ok_or(Fault::new(0, "no request"))?;
    let mut exchange = Exchange::new(record);
    table(&mut exchange, root, CADDY_FIELDS, false);
    table(&mut exchange, request, CADDY_REQUEST, false);
    if let Some(tls) = request.get("tls") {
        table(&mut exchange, tls, CADDY_TLS, false);
    }
    for header in request.get("headers").into_iter().flat_map(|headers| headers.members()) {
        let name = header.name().to_ascii_lowercase();
        let Some((name, role)) = HEADERS.iter().find(|(known, _)| *known == name) else { continue };
        let mut values = header.elements();
        // A header given twice stays as it was, in `unmapped`.
        if let (Some(value), None) = (values.next(), values.next()) {
            exchange.take(*role, name, value.text().unwrap_or_default());
        }
    }
    let grpc = root.at("resp_headers/Grpc-Status").and_then(|values| values.elements().next());
    if let Some(status) = grpc.and_then(|status| status.text()) {
        exchange.take(Role::GrpcStatus, "grpc-status", status);
    }
    let logged = root.get("status").and_then(|status| status.uint());
    let mut draft = exchange.done()?;
    // What the client's own proxies say; Caddy believes it only of proxies that it trusts, and does not log which.
    if let Some(client) = request.get("client_ip").and_then(|ip| ip.filled()) {
        let first = draft.event.peer.hops.first().is_some_and(|(hop, _)| *hop == client);
        let socket = draft.event.peer.src.as_ref().and_then(|src| src.ip).map(|ip| ip.to_string());
        if !first && socket.as_deref() != Some(&client) {
            draft.hop(&client, countersign_event::Verified::Claimed);
        }
    }
    // 0 = no handler wrote a status: the code is told, how it ended is not.
    if logged == Some(0) {
        draft.event.core.status = Some((StatusSpace::Http, "0".to_owned()));
    }
    Ok(draft)
}

const FASTLY_FIELDS: Table = &[
    ("timestamp", Role::Time(Clock::Iso)),
    ("client_ip", Role::Client),
    ("host", Role::Host),
    ("url", Role::Uri),
    ("request_method", Role::Method),
    ("request_protocol", Role::Protocol),
    ("request_referer", Role::Header),
    ("request_user_agent", Role::Header),
    ("response_status", Role::Status),
    ("response_body_size", Role::Sent),
];

/// Fastly, the JSON that its documentation proposes, alone or behind syslog's prefix.
pub const FASTLY: Format = Format {
    name: "fastly",
    what: "Fastly's documented JSON log format, with or without syslog prefix",
    looks: |record| record.text.contains("\"fastly_server\""),
    parse: |record| {
        let (wrap, line) = unwrapped(record.text);
        let mut draft = object(record, line, |record, root| {
            if root.get("request_method").is_none() || root.get("response_status").is_none() {
                return Err(Fault::new(0, "no request_method with response_status"));
            }
            let mut exchange = Exchange::new(record);
            table(&mut exchange, root, FASTLY_FIELDS, false);
            exchange.done()
        })?;
        wrap.keep(&mut draft);
        Ok(draft)
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;
    use countersign_event::{Auth, Outcome, Verified};

    #[test]
    fn traefik_s_durations_are_nanoseconds_and_its_user_is_claimed() {
        let draft = parsed(
            &TRAEFIK,
            r#"{"ClientAddr":"192.0.2.3:55996","ClientHost":"192.0.2.3","ClientPort":"55996","ClientUsername":"-","DownstreamContentSize":12,"DownstreamStatus":404,"Duration":1500000,"OriginDuration":1400000,"OriginStatus":404,"RequestHost":"shop.example","RequestMethod":"GET","RequestPath":"/a?b=1","RequestPort":"-","RequestProtocol":"HTTP/2.0","RequestScheme":"https","RetryAttempts":0,"ServiceAddr":"10.0.0.9:80","ServiceName":"shop@docker","StartUTC":"2024-03-13T12:08:33.25Z","TLSVersion":"1.3","TLSCipher":"TLS_AES_128_GCM_SHA256","entryPointName":"web","request_User-Agent":"curl/8","level":"info","msg":"","time":"2024-03-13T12:08:33Z"}"#,
        );
        let event = &draft.event;
        assert_eq!(draft.partial, None);
        assert_eq!((event.core.dur, event.core.lat), (Some(1_500_000), Some([0, 1_400_000, 1_400_000])));
        assert_eq!((event.target.svc.as_str(), event.core.proto.as_str()), ("shop@docker", "http/2"));
        assert!(event.who.who.is_none());
        assert_eq!(event.content.headers, [("user-agent".to_owned(), "curl/8".to_owned())]);
    }

    #[test]
    fn caddy_s_authenticated_user_is_asserted_and_a_dash_is_a_name() {
        let line = |user: &str| {
            format!(
                r#"{{"level":"info","ts":1710331713.25,"logger":"http.log.access.log0","msg":"handled request","request":{{"remote_ip":"192.0.2.3","remote_port":"4000","client_ip":"192.0.2.3","proto":"HTTP/3.0","method":"PUT","host":"h.example:8443","uri":"/x","headers":{{"User-Agent":["a\"b"],"Accept":["*/*"]}},"tls":{{"resumed":false,"version":772,"cipher_suite":4865,"proto":"h3","server_name":"h.example"}}}},"bytes_read":5,"user_id":"{user}","duration":0.000002223,"size":0,"status":403,"resp_headers":{{}}}}"#
            )
        };
        let draft = parsed(&CADDY, &line("-"));
        let event = &draft.event;
        assert_eq!(
            event.who.who.as_ref().map(|w| (w.name.as_str(), w.verified, w.auth)),
            Some(("-", Verified::Asserted, None::<Auth>))
        );
        assert_eq!((event.core.outcome, event.core.dur), (Some(Outcome::Denied), Some(2_223)));
        assert_eq!(
            event.peer.tls.as_ref().map(|t| (t.version, t.cipher, t.resumed)),
            Some((Some(0x0304), Some(0x1301), Some(false)))
        );
        assert!(event.peer.hops.is_empty());
        assert!(parsed(&CADDY, &line("")).event.who.who.is_none());
    }
}
