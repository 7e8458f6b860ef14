//! The tables of names: our own with the names they share, and those of single log sources.

use super::{Source, Take, hex, ip, level, part, port, texts, tls_version, word};
use crate::sigma::ast::LogSource;
use crate::sigma::value::Cell;
use countersign_event as ev;
use countersign_event::Event;
use std::borrow::Cow;

/// Own name, other names, how it is taken.
type Row = (&'static str, &'static [&'static str], Take);

fn who(event: &Event) -> Option<&ev::Principal> {
    event.who.who.as_ref()
}

fn payload(payload: Option<&ev::Payload>) -> Cell<'_> {
    payload.and_then(|payload| payload.size).map_or(Cell::Missing, Cell::uint)
}

fn content_type(payload: Option<&ev::Payload>) -> Cell<'_> {
    payload.map_or(Cell::Missing, |payload| Cell::text(&payload.content_type))
}

fn uint<'e>(n: Option<u64>) -> Cell<'e> {
    n.map_or(Cell::Missing, Cell::uint)
}

/// Own names are those of the filter language; a dot, where a field has parts.
pub(super) const FIELDS: &[Row] = &[
    ("rec", &[], |e| word(e.core.rec.map(ev::Rec::word))),
    ("kind", &["event.category"], |e| word(e.core.kind.map(ev::Kind::word))),
    ("protocol", &["proto", "network.protocol", "network.protocol.name"], |e| Cell::text(&e.core.proto)),
    (
        "op",
        &[
            "event.action",
            "http.request.method",
            "rpc.method",
            "db.operation.name",
            "messaging.operation.name",
        ],
        |e| Cell::text(&e.core.op),
    ),
    ("class", &["event.type"], |e| word(e.core.class.map(ev::Class::word))),
    ("outcome", &["event.outcome"], |e| word(e.core.outcome.map(ev::Outcome::word))),
    ("status", &["http.response.status_code", "rpc.grpc.status_code", "db.response.status_code"], |e| {
        e.core.status.as_ref().map_or(Cell::Missing, |(_, code)| Cell::text(code))
    }),
    ("status.space", &[], |e| word(e.core.status.as_ref().map(|(space, _)| space.word()))),
    ("time", &["@timestamp", "event.start"], |e| e.core.t_event.map_or(Cell::Missing, Cell::Time)),
    ("seen", &["event.ingested"], |e| i64::try_from(e.core.t_obs).map_or(Cell::Missing, Cell::Time)),
    ("duration", &["latency", "event.duration"], |e| uint(e.core.dur)),
    ("decision", &["verdict"], |e| {
        word(e.core.decision.as_ref().and_then(|d| d.verdict).map(ev::Verdict::word))
    }),
    ("decision.mode", &["mode"], |e| word(e.core.decision.as_ref().and_then(|d| d.mode).map(ev::Mode::word))),
    ("policy", &["policies"], |e| e.core.decision.as_ref().map_or(Cell::Missing, |d| texts(&d.policies))),
    ("reason", &["event.reason"], |e| {
        e.core.decision.as_ref().map_or(Cell::Missing, |d| Cell::text(&d.reason))
    }),
    ("purpose", &[], |e| e.core.decision.as_ref().map_or(Cell::Missing, |d| Cell::text(&d.purpose))),
    ("label", &["labels"], |e| texts(&e.core.labels)),
    ("tenant", &["tenant.id"], |e| Cell::text(&e.core.tenant)),
    ("count", &[], |e| Cell::uint(e.core.n.unwrap_or(1))),
    ("agent", &["observer.name"], |e| Cell::text(&e.core.agent)),
    ("route", &["observer.ingress.name"], |e| Cell::text(&e.core.route)),
    ("who", &["identity", "who.id", "user.id"], |e| who(e).map_or(Cell::Missing, |p| Cell::text(&p.id))),
    ("who.kind", &["user.type"], |e| word(who(e).and_then(|p| p.kind).map(ev::PrincipalKind::word))),
    ("who.name", &["user.name"], |e| who(e).map_or(Cell::Missing, |p| Cell::text(&p.name))),
    ("who.svc", &[], |e| who(e).map_or(Cell::Missing, |p| Cell::text(&p.svc))),
    ("who.inst", &[], |e| who(e).map_or(Cell::Missing, |p| Cell::text(&p.inst))),
    ("who.groups", &["user.group.name"], |e| who(e).map_or(Cell::Missing, |p| texts(&p.groups))),
    ("who.from", &[], |e| word(who(e).and_then(|p| p.from).map(ev::IdentityFrom::word))),
    ("auth", &["who.auth"], |e| word(who(e).and_then(|p| p.auth).map(ev::Auth::word))),
    ("verified", &["who.verified"], |e| level(who(e).map(|p| p.verified))),
    ("issuer", &["who.iss"], |e| who(e).map_or(Cell::Missing, |p| Cell::text(&p.iss))),
    ("cred", &["who.cred"], |e| who(e).map_or(Cell::Missing, |p| Cell::text(&p.cred))),
    ("cred.expires", &[], |e| who(e).and_then(|p| p.cred_exp).map_or(Cell::Missing, Cell::Int)),
    ("via", &["obo"], |e| Cell::list(e.who.obo.iter().map(|p| Cell::text(&p.id)).collect())),
    ("behalf", &["user.effective.id"], |e| e.who.obo.last().map_or(Cell::Missing, |p| Cell::text(&p.id))),
    ("also", &[], |e| Cell::list(e.who.also.iter().map(|p| Cell::text(&p.id)).collect())),
    ("src", &["source.domain"], |e| part(e.peer.src.as_ref(), |end| &end.workload)),
    ("src.ip", &["source.ip", "source.address", "client.ip", "client.address", "src_ip"], |e| {
        ip(e.peer.src.as_ref())
    }),
    ("src.port", &["source.port", "client.port", "src_port"], |e| port(e.peer.src.as_ref())),
    ("src.host", &[], |e| part(e.peer.src.as_ref(), |end| &end.host)),
    ("src.ns", &[], |e| part(e.peer.src.as_ref(), |end| &end.ns)),
    ("src.zone", &[], |e| part(e.peer.src.as_ref(), |end| &end.zone)),
    ("dst", &["destination.domain"], |e| part(e.peer.dst.as_ref(), |end| &end.workload)),
    ("dst.ip", &["destination.ip", "destination.address", "server.ip", "server.address", "dst_ip"], |e| {
        ip(e.peer.dst.as_ref())
    }),
    ("dst.port", &["destination.port", "server.port", "dst_port"], |e| port(e.peer.dst.as_ref())),
    ("dst.host", &[], |e| part(e.peer.dst.as_ref(), |end| &end.host)),
    ("dst.ns", &[], |e| part(e.peer.dst.as_ref(), |end| &end.ns)),
    ("up.ip", &[], |e| ip(e.peer.up.as_ref())),
    ("up.port", &[], |e| port(e.peer.up.as_ref())),
    ("up.host", &["up"], |e| part(e.peer.up.as_ref(), |end| &end.host)),
    ("transport", &["network.transport"], |e| word(e.peer.transport.map(ev::Transport::word))),
    ("tls", &["tls.version"], |e| {
        e.peer.tls.as_ref().and_then(|tls| tls.version).map_or(Cell::Missing, tls_version)
    }),
    ("tls.cipher", &[], |e| uint(e.peer.tls.as_ref().and_then(|tls| tls.cipher))),
    ("tls.peer_cert", &["tls.client.hash.sha256"], |e| {
        hex(e.peer.tls.as_ref().and_then(|tls| tls.peer_cert.as_ref()))
    }),
    ("sni", &["tls.client.server_name"], |e| {
        e.peer.tls.as_ref().map_or(Cell::Missing, |tls| Cell::text(&tls.sni))
    }),
    ("alpn", &["tls.next_protocol"], |e| {
        e.peer.tls.as_ref().map_or(Cell::Missing, |tls| Cell::text(&tls.alpn))
    }),
    ("ja4", &["tls.client.ja4"], |e| Cell::text(&e.peer.ja4)),
    ("retries", &[], |e| uint(e.peer.retries)),
    ("hop", &["hops"], |e| Cell::list(e.peer.hops.iter().map(|(hop, _)| Cell::text(hop)).collect())),
    ("service", &["service.name", "rpc.service"], |e| Cell::text(&e.target.svc)),
    (
        "resource",
        &["http.route", "db.collection.name", "dns.question.name", "messaging.destination.name"],
        |e| Cell::text(&e.target.res),
    ),
    ("target.raw", &["url.original", "url.path"], |e| Cell::text(&e.target.raw)),
    ("type", &["target.type"], |e| Cell::text(&e.target.rtype)),
    ("target.id", &[], |e| Cell::text(&e.target.id)),
    ("namespace", &["db.namespace", "orchestrator.namespace", "cloud.account.id"], |e| {
        Cell::text(&e.target.ns)
    }),
    ("region", &["cloud.region"], |e| Cell::text(&e.target.region)),
    ("tag", &["tags.target"], |e| texts(&e.target.tags)),
    ("more", &[], |e| Cell::list(e.target.more.iter().map(|t| Cell::text(&t.res)).collect())),
    ("trace", &["trace.id"], |e| hex(e.links.trace.as_ref())),
    ("span", &["span.id"], |e| hex(e.links.span.as_ref())),
    ("corr", &["http.request.id"], |e| Cell::text(&e.links.corr)),
    ("session", &["session.id"], |e| Cell::text(&e.links.sess)),
    ("message", &["messaging.message.id"], |e| Cell::text(&e.links.msg)),
    ("conn", &[], |e| hex(e.links.conn.as_ref())),
    ("conn.seq", &[], |e| uint(e.links.conn_seq)),
    ("statement", &["db.query.text"], |e| Cell::text(&e.content.stmt)),
    ("stmt_fp", &[], |e| hex(e.content.stmt_fp.as_ref())),
    ("params", &[], |e| texts(&e.content.params)),
    ("error", &["error.message", "exception.message"], |e| Cell::text(&e.content.err)),
    ("redacted", &[], |e| {
        Cell::list(
            e.content.redacted.iter().map(|(rule, _)| Cell::Text(Cow::Borrowed(rule.as_str()))).collect(),
        )
    }),
    ("user_agent", &["user_agent.original", "header.user-agent"], |e| {
        Source::Header("user-agent".into()).take(e)
    }),
    ("req.size", &["http.request.body.bytes", "source.bytes"], |e| payload(e.body.req.as_ref())),
    ("req.type", &["http.request.mime_type"], |e| content_type(e.body.req.as_ref())),
    ("rsp.size", &["http.response.body.bytes", "destination.bytes"], |e| payload(e.body.rsp.as_ref())),
    ("rsp.type", &["http.response.mime_type"], |e| content_type(e.body.rsp.as_ref())),
    ("capture", &[], |e| word(e.body.cap.as_ref().and_then(|cap| cap.mode).map(ev::CaptureMode::word))),
    ("capture.conf", &[], |e| word(e.body.cap.as_ref().and_then(|cap| cap.conf).map(ev::CaptureConf::word))),
    ("capture.format", &["event.dataset"], |e| {
        e.body.cap.as_ref().map_or(Cell::Missing, |cap| Cell::text(&cap.fmt))
    }),
];

/// Names that Sigma gives the fields of one family of logs, and ours for them.
const WEB: &[(&str, &str)] = &[
    ("cs-method", "op"),
    ("cs-uri", "target.raw"),
    ("cs-uri-stem", "target.raw"),
    ("c-uri", "target.raw"),
    ("cs-host", "service"),
    ("cs-user-agent", "user_agent"),
    ("c-useragent", "user_agent"),
    ("cs-referer", "header.referer"),
    ("cs-referrer", "header.referer"),
    ("cs-username", "who"),
    ("c-ip", "src.ip"),
    ("src_ip", "src.ip"),
    ("s-ip", "dst.ip"),
    ("dst_ip", "dst.ip"),
    ("sc-status", "status"),
    ("cs-bytes", "req.size"),
    ("sc-bytes", "rsp.size"),
    ("time-taken", "duration"),
];
const DNS: &[(&str, &str)] = &[
    ("query", "resource"),
    ("record_type", "detail.qtype"),
    ("answer", "detail.answers"),
    ("src_ip", "src.ip"),
];
const CLOUDTRAIL: &[(&str, &str)] = &[
    ("eventName", "op"),
    ("eventSource", "service"),
    ("awsRegion", "region"),
    ("recipientAccountId", "namespace"),
    ("sourceIPAddress", "src.ip"),
    ("userAgent", "user_agent"),
    ("requestID", "corr"),
    ("errorMessage", "error"),
    ("errorCode", "detail.error"),
    ("readOnly", "detail.read_only"),
    ("userIdentity.arn", "who"),
];
const K8S: &[(&str, &str)] = &[
    ("verb", "op"),
    ("objectRef.resource", "type"),
    ("objectRef.namespace", "namespace"),
    ("objectRef.name", "target.id"),
    ("objectRef.apiGroup", "detail.api_group"),
    ("objectRef.subresource", "detail.subresource"),
    ("responseStatus.code", "status"),
    ("responseStatus.message", "error"),
    ("sourceIPs", "src.ip"),
    ("userAgent", "user_agent"),
    ("user.username", "who.name"),
    ("capability", "raw.capability"),
    ("auditID", "corr"),
];
const DATABASE: &[(&str, &str)] = &[("query", "statement"), ("database", "namespace")];

/// The source of a name that only this log source gives.
pub(super) fn of_logsource(logsource: &LogSource, name: &str) -> Option<Source> {
    let names = match (logsource.product.as_str(), logsource.category.as_str(), logsource.service.as_str()) {
        ("aws", _, "cloudtrail") => CLOUDTRAIL,
        ("kubernetes", _, "audit" | "") => K8S,
        (_, "webserver" | "proxy", _) => WEB,
        (_, "dns", _) => DNS,
        (_, "database", _) => DATABASE,
        _ => return None,
    };
    let (_, own) = names.iter().find(|(known, _)| *known == name)?;
    Some(super::find(own, &LogSource::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_log_source_is_one_of_ours() {
        for (name, own) in [WEB, DNS, CLOUDTRAIL, K8S, DATABASE].concat() {
            let source = crate::sigma::fields::find(own, &LogSource::default());
            assert!(!matches!(source, Source::Unmapped(_)) || own.starts_with("raw."), "{name}: {own}");
        }
    }
}
