//! The one table: field, place in OCSF, place in OTel, change of the value, scope.
//!
//! Where a field has several rows, one that loses nothing comes before those that lose something: the importer takes
//! the first and compares the others with it. Empty place = none there. OTel takes values as they are, whatever the
//! conversion says of OCSF, but for times and the conversions named in `otel.rs`.

use super::classes::*;
use super::conv::Conv::{self, *};
use crate::fields::{FIELDS, Field};

/// One place, or two, of a field outside.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Path of the field in the event's JSON: `core.op`, `who.who.id`.
    pub field: &'static str,
    /// Path in OCSF; empty = none.
    pub ocsf: &'static str,
    /// OTel attribute, `resource NAME`, or a field of the log record (`Timestamp`); empty = none.
    pub otel: &'static str,
    /// The change of the value on its way to OCSF.
    pub conv: Conv,
    /// Classes of OCSF that have the place, as bits.
    pub(super) classes: u16,
    /// Kinds of event to which the row applies; empty = every kind.
    pub kinds: &'static [&'static str],
    /// Only in our own exports: what another product says there is no observation of ours.
    pub own: bool,
}

impl Row {
    /// Names of the classes that have the place.
    pub fn classes(&self) -> impl Iterator<Item = &'static super::OcsfClass> {
        let bits = self.classes;
        CLASSES.iter().filter(move |class| class.bit & bits != 0)
    }
    /// The field in the registry, of whichever map it is; a key of `detail` or `sys` is that map's own field, and
    /// `schema` is `ver`.
    pub fn registered(&self) -> Option<&'static Field> {
        let find =
            |home: &str, name: &str| FIELDS.iter().find(|field| field.home == home && field.name == name);
        if self.field == "schema" {
            return find("core", "ver");
        }
        let mut path = self.field.split('.');
        let mut found = find(path.next()?, path.next()?)?;
        for name in path {
            if found.ty == "map" {
                return Some(found);
            }
            found = find(found.ty, name)?;
        }
        Some(found)
    }
    const fn own(mut self) -> Row {
        self.own = true;
        self
    }
    const fn of(mut self, kinds: &'static [&'static str]) -> Row {
        self.kinds = kinds;
        self
    }
}

const fn row(field: &'static str, ocsf: &'static str, otel: &'static str, conv: Conv, classes: u16) -> Row {
    Row { field, ocsf, otel, conv, classes, kinds: &[], own: false }
}

/// HTTP's methods that OCSF has an activity for.
const METHODS: &[(&str, u64)] = &[
    ("CONNECT", 1),
    ("DELETE", 2),
    ("GET", 3),
    ("HEAD", 4),
    ("OPTIONS", 5),
    ("POST", 6),
    ("PUT", 7),
    ("TRACE", 8),
    ("PATCH", 9),
];
/// The same for `http_method`.
const METHOD_NAMES: &[&str] =
    &["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE", "PATCH"];
const API_ACTIVITY: &[(&str, u64)] = &[("create", 1), ("read", 2), ("modify", 3), ("delete", 4)];
const DATA_ACTIVITY: &[(&str, u64)] =
    &[("read", 1), ("modify", 2), ("connect", 3), ("execute", 4), ("create", 6), ("delete", 7)];
const FILE_ACTIVITY: &[(&str, u64)] = &[("create", 1), ("read", 2), ("modify", 3), ("delete", 4)];
const AUTH_ACTIVITY: &[(&str, u64)] = &[("authenticate", 1)];
const LIFE_ACTIVITY: &[(&str, u64)] = &[
    ("install", 1),
    ("remove", 2),
    ("start", 3),
    ("stop", 4),
    ("restart", 5),
    ("enable", 6),
    ("disable", 7),
    ("update", 8),
];
const NETWORK_ACTIVITY: &[(&str, u64)] = &[("session_open", 1), ("session_close", 2), ("interaction", 6)];
const DNS_ACTIVITY: &[(&str, u64)] = &[("intent", 1), ("outcome", 2), ("interaction", 6)];
const VERDICT: &[(&str, u64)] = &[("allow", 1), ("deny", 2), ("would_deny", 3)];
const ACTOR: &[(&str, u64)] = &[("user", 1), ("system", 3), ("service", 4)];
const PROTOCOL: &[(&str, u64)] = &[("kerberos", 2), ("basic", 11)];
const TRANSPORTS: &[&str] = &["tcp", "udp", "quic", "unix", "vsock"];
const AUTHS: &[&str] = &[
    "mtls",
    "spiffe_svid",
    "jwt",
    "jwt_dpop",
    "jwt_mtls_bound",
    "oauth_opaque",
    "api_key",
    "basic",
    "scram",
    "scram_plus",
    "kerberos",
    "sigv4",
    "iam_role",
    "k8s_sa",
    "http_sig",
    "wimse",
    "db_password",
    "nkey",
    "peer_ip",
    "peer_cred",
    "none",
];
const FINGERPRINT: &[(&str, u64)] = &[("sha256", 3)];

/// Kinds whose calls are HTTP requests.
const WEB: &[&str] = &["http", "grpc", "cloud_api", "k8s_api", "secret", "tool"];
const TABLES: &[&str] = &["sql", "doc"];
const STORES: &[&str] = &["sql", "doc", "kv"];
const CALLS: &[&str] = &["rpc", "grpc"];
/// Classes where `http_request` and `http_response` are an attribute.
const REQUEST: u16 = HTTP | API | DATA | AUTH | FILE;
/// Classes where the actor's user stands in `actor`; for a login it is `user`.
const ACTED: u16 = ALL & !AUTH;

/// Every row.
#[rustfmt::skip] // one row a line
pub const ROWS: &[Row] = &[
    row("schema", "", "audit.schema.version", Digits, ALL),
    row("core.eid", "metadata.uid", "audit.record.id", Text, ALL).own(),
    row("core.agent", "metadata.product.uid", "resource service.instance.id", Text, ALL).own(),
    row("core.stream", "", "audit.sequence.stream_id", Text, ALL),
    row("core.seq", "metadata.sequence", "audit.sequence.number", Uint, ALL).own(),
    row("core.t_obs", "metadata.logged_time", "ObservedTimestamp", Ms, ALL).own(),
    row("core.t_event", "time", "Timestamp", Ms, ALL),
    row("core.dur", "duration", "", NsMs, ALL),
    row("core.proto", "http_request.version", "", Behind("http/"), HTTP),
    row("core.proto", "app_protocol_name", "", Text, NET),
    row("core.op", "http_request.http_method", "", OneOf(METHOD_NAMES), HTTP),
    row("core.op", "api.operation", "", Text, API),
    row("core.op", "", "audit.action", Text, ALL),
    row("core.op", "", "http.request.method", Text, ALL).of(&["http"]),
    row("core.op", "", "rpc.method", Text, ALL).of(CALLS),
    row("core.op", "", "db.operation.name", Text, ALL).of(STORES),
    row("core.op", "", "messaging.operation.name", Text, ALL).of(&["messaging"]),
    row("core.op", "activity_id", "", Verbs(METHODS), HTTP),
    row("core.op", "activity_id", "", Verbs(LIFE_ACTIVITY), LIFE),
    row("core.rec", "activity_id", "", Words(NETWORK_ACTIVITY), NETWORK),
    row("core.rec", "activity_id", "", Words(DNS_ACTIVITY), DNS),
    row("core.class", "activity_id", "", Words(API_ACTIVITY), API),
    row("core.class", "activity_id", "", Words(DATA_ACTIVITY), DATA),
    row("core.class", "activity_id", "", Words(FILE_ACTIVITY), FILE),
    row("core.class", "activity_id", "", Words(AUTH_ACTIVITY), AUTH),
    row("core.sys.state", "activity_id", "", Range(1, 3), FINDING).own(),
    row("core.sys.severity", "severity_id", "", Range(1, 5), FINDING).own(),
    row("core.sys.id", "finding_info.uid", "", Text, FINDING).own(),
    row("core.outcome", "status_detail", "", OutcomeName, ALL),
    row("core.outcome", "", "audit.outcome", AuditOutcome, ALL),
    row("core.outcome", "status_id", "", Outcome, ALL),
    row("core.status", "http_response.code", "http.response.status_code", HttpCode, HTTP | API | DATA | FILE),
    row("core.status", "status_code", "", Code, ALL),
    row("core.status", "", "rpc.grpc.status_code", Code, ALL).of(&["grpc"]),
    row("core.status", "", "db.response.status_code", Code, ALL).of(STORES),
    row("core.decision.verdict", "action_id", "", Words(VERDICT), ALL),
    row("core.decision.policies", "authorizations", "", Named("policy.name"), ALL).own(),
    row("core.labels", "metadata.labels", "", Texts, ALL).own(),
    row("core.tenant", "metadata.tenant_uid", "resource tenant.id", Text, ALL).own(),
    row("core.n", "count", "", Range(2, (1 << 53) - 1), ALL),
    row("who.who.id", "actor.user.uid", "audit.actor.id", Text, ACTED),
    row("who.who.id", "user.uid", "", Text, AUTH),
    row("who.who.name", "actor.user.name", "user.name", Text, ACTED),
    row("who.who.name", "user.name", "", Text, AUTH),
    row("who.who.kind", "actor.user.type_id", "", Words(ACTOR), ACTED),
    row("who.who.kind", "user.type_id", "", Words(ACTOR), AUTH),
    row("who.who.kind", "", "audit.actor.type", ActorType, ALL),
    row("who.who.cred", "actor.user.credential_uid", "", Text, ACTED),
    row("who.who.cred", "user.credential_uid", "", Text, AUTH),
    row("who.who.groups", "actor.user.groups", "", Named("name"), ACTED),
    row("who.who.groups", "user.groups", "", Named("name"), AUTH),
    row("who.who.iss", "actor.idp.name", "", Text, ALL),
    row("who.who.svc", "actor.app_name", "", Text, ALL),
    row("who.who.auth", "auth_protocol", "", OneOf(AUTHS), AUTH),
    row("who.who.auth", "auth_protocol_id", "", Words(PROTOCOL), AUTH),
    row("peer.src.ip", "src_endpoint.ip", "client.address", Ip, ENDS),
    row("peer.src.ip", "", "audit.source.id", Ip, ALL),
    row("peer.src.ip", "", "audit.source.type", IpFamily, ALL),
    row("peer.src.port", "src_endpoint.port", "client.port", Range(0, 65535), ENDS),
    row("peer.src.host", "src_endpoint.hostname", "", Text, ENDS),
    row("peer.src.workload", "src_endpoint.name", "", Text, ENDS),
    row("peer.src.zone", "src_endpoint.zone", "", Text, ENDS),
    row("peer.dst.ip", "dst_endpoint.ip", "server.address", Ip, ENDS),
    row("peer.dst.port", "dst_endpoint.port", "server.port", Range(0, 65535), ENDS),
    row("peer.dst.host", "dst_endpoint.hostname", "", Text, ENDS),
    row("peer.dst.workload", "dst_endpoint.name", "", Text, ENDS),
    row("peer.dst.zone", "dst_endpoint.zone", "", Text, ENDS),
    row("peer.transport", "connection_info.protocol_name", "network.transport", OneOf(TRANSPORTS), NET),
    row("peer.tls.version", "tls.version", "", TlsVersion, NET),
    row("peer.tls.cipher", "tls.cipher", "", HexNumber, NET),
    row("peer.tls.sni", "tls.sni", "tls.client.server_name", Text, NET),
    row("peer.tls.alpn", "", "tls.next_protocol", Text, ALL),
    row("peer.tls.resumed", "", "tls.resumed", Text, ALL),
    row("peer.tls.peer_cert", "", "tls.client.hash.sha256", Text, ALL),
    row("peer.ja4", "ja4_fingerprint_list.0.value", "tls.client.ja4", Text, NET),
    row("peer.hops", "http_request.x_forwarded_for", "", Hops, REQUEST),
    row("target.svc", "api.service.name", "", Text, API),
    row("target.svc", "", "rpc.service", Text, ALL).of(CALLS),
    row("target.svc", "service.name", "", Text, AUTH),
    row("target.svc", "app.name", "", Text, LIFE),
    row("target.svc", "dst_endpoint.svc_name", "", Text, NET | DATA | FILE),
    row("target.res", "resources.0.name", "", Text, API),
    row("target.res", "table.name", "db.collection.name", Text, DATA).of(TABLES),
    row("target.res", "databucket.name", "", Text, DATA).of(&["object"]),
    row("target.res", "query.hostname", "dns.question.name", Text, DNS).of(&["dns"]),
    row("target.res", "file.name", "", Text, FILE),
    row("target.res", "", "http.route", Text, ALL).of(&["http"]),
    row("target.res", "", "messaging.destination.name", Text, ALL).of(&["messaging"]),
    row("target.raw", "http_request.url.url_string", "", Text, REQUEST).of(&["http", "k8s_api"]),
    row("target.raw", "http_request.url.path", "url.path", Text, REQUEST).of(&["http", "k8s_api"]),
    row("target.rtype", "resources.0.type", "audit.target.type", Text, API),
    row("target.id", "resources.0.uid", "audit.target.id", Text, API),
    row("target.ns", "resources.0.namespace", "", Text, API),
    row("target.ns", "database.name", "db.namespace", Text, DATA).of(STORES),
    row("target.ns", "", "k8s.namespace.name", Text, ALL).of(&["k8s_api"]),
    row("target.region", "cloud.region", "cloud.region", Text, ALL).of(&["cloud_api", "object"]),
    row("target.tags", "resources.0.labels", "", Texts, API).own(),
    row("links.trace", "trace.uid", "TraceId", Hex(16), HTTP | API),
    row("links.span", "trace.span.uid", "SpanId", Hex(8), HTTP | API),
    row("links.parent", "trace.span.parent_uid", "", Hex(8), HTTP | API),
    row("links.tflags", "", "Flags", Uint, ALL),
    row("links.corr", "metadata.correlation_uid", "", Text, ALL),
    row("links.corr", "api.request.uid", "", Text, API),
    row("links.sess", "actor.session.uid", "session.id", Text, ALL),
    row("links.msg", "", "messaging.message.id", Text, ALL).of(&["messaging"]),
    row("links.of", "metadata.original_event_uid", "", Text, ALL).own(),
    row("links.conn", "connection_info.uid", "", Text, NET).own(),
    row("content.detail.up", "traffic.bytes_out", "", Uint, NETWORK).of(&["l4"]),
    row("content.detail.down", "traffic.bytes_in", "", Uint, NETWORK).of(&["l4"]),
    row("content.detail.qtype", "query.type", "", Digits, DNS).of(&["dns"]),
    row("content.detail.rcode", "rcode_id", "", Range(0, 11), DNS).of(&["dns"]),
    row("content.detail.answers", "answers", "", Named("rdata"), DNS).of(&["dns"]).own(),
    row("content.stmt", "query_info.query_string", "db.query.text", Text, DATA).of(STORES),
    row("content.headers", "http_request.http_headers", "", Pairs, HTTP | API).of(WEB),
    row("content.headers", "http_request.user_agent", "user_agent.original", Header("user-agent"), HTTP | API).of(WEB),
    row("content.err", "api.response.error_message", "", Text, API),
    row("content.err", "", "exception.message", Text, ALL),
    row("body.req.size", "http_request.length", "http.request.body.size", Uint, HTTP | API).of(WEB),
    row("body.rsp.size", "http_response.length", "http.response.body.size", Uint, HTTP | API).of(WEB),
    row("body.cap.fmt", "metadata.log_name", "", Text, ALL).own(),
    row("body.cap.path", "metadata.log_provider", "log.file.path", Text, ALL).own(),
    row("body.raw.bytes", "raw_data", "log.record.original", Utf8, ALL).own(),
    row("body.raw.length", "raw_data_size", "", Uint, ALL).own(),
    row("body.raw.digest", "raw_data_hash.value", "", Text, ALL).own(),
    row("body.raw.alg", "raw_data_hash.algorithm_id", "", Words(FINGERPRINT), ALL).own(),
];
