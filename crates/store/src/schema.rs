//! One table of columns. It drives the Arrow schema, the builder, the names in SQL, the filter's fields
//! and the reference page; what is not in it cannot be searched, only read back.
//!
//! Invariants: names are unique; order is the order of the table and of `SELECT *`; a column's group is
//! the group its bytes are committed in. Numbers that exceed an `i64` are cut to its largest value, for
//! search only: the group's exact bytes are then stored beside (see `rebuild`).

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use countersign_event::{Endpoint, Event, GROUPS, Principal, Tls};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

/// How a column's value is read from an event.
pub(crate) enum Get {
    /// Text; empty means absent.
    Text(fn(&Event) -> &str),
    /// A word of a closed list.
    Word(fn(&Event) -> Option<&'static str>),
    /// Text that has to be made.
    Made(for<'e> fn(&'e Event) -> Option<Cow<'e, str>>),
    /// A whole number.
    Int(fn(&Event) -> Option<i64>),
    /// Nanoseconds since 1970, UTC.
    Time(fn(&Event) -> Option<i64>),
    /// A flag.
    Bool(fn(&Event) -> Option<bool>),
    /// Bytes of a fixed length.
    Fixed(i32, fn(&Event) -> Option<&[u8]>),
    /// Several texts; empty means absent.
    List(fn(&Event) -> Vec<&str>),
    /// The leaf index: not of the event.
    Index,
    /// Whether the leaf is an event at all.
    IsEvent,
    /// The bytes of a group, where the other columns do not give them back.
    Exact,
}

/// Where a column lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Stored and shown.
    Shown,
    /// Stored for the way back, not shown.
    Hidden,
    /// Not stored: this SQL over stored columns.
    View(&'static str),
}

/// One column.
pub(crate) struct Col {
    /// Name in SQL and in answers.
    pub(crate) name: &'static str,
    /// Group of `event.md`; core for the index.
    pub(crate) group: u8,
    /// Its value.
    pub(crate) get: Get,
    /// Where it lives.
    pub(crate) place: Place,
    /// One line for the reference page.
    pub(crate) doc: &'static str,
}

const fn col(name: &'static str, group: u8, get: Get, doc: &'static str) -> Col {
    Col { name, group, get, place: Place::Shown, doc }
}
const fn hidden(name: &'static str, group: u8, get: Get, doc: &'static str) -> Col {
    Col { name, group, get, place: Place::Hidden, doc }
}
const fn view(name: &'static str, group: u8, get: Get, sql: &'static str, doc: &'static str) -> Col {
    Col { name, group, get, place: Place::View(sql), doc }
}

/// Cut to what an `i64` holds.
fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
fn who(e: &Event) -> Option<&Principal> {
    e.who.who.as_ref()
}
fn who_text(e: &Event, get: impl Fn(&Principal) -> &str) -> &str {
    e.who.who.as_ref().map_or("", get)
}
fn end_text<'e>(end: &'e Option<Endpoint>, get: impl Fn(&'e Endpoint) -> &'e str) -> &'e str {
    end.as_ref().map_or("", get)
}
fn end_name(end: &Option<Endpoint>) -> &str {
    end.as_ref().map_or("", |end| if end.workload.is_empty() { &end.host } else { &end.workload })
}
fn end_ip(end: &Option<Endpoint>) -> Option<Cow<'_, str>> {
    Some(Cow::Owned(ip_text(end.as_ref()?.ip?)))
}
/// As `Display` writes it; IPv4, of which there are three an event, without its machinery.
fn ip_text(ip: IpAddr) -> String {
    let IpAddr::V4(v4) = ip else { return ip.to_string() };
    let mut out = String::with_capacity(15);
    for (at, octet) in v4.octets().into_iter().enumerate() {
        if at > 0 {
            out.push('.');
        }
        let digit = |n: u8| char::from(b'0' + n % 10);
        if octet >= 100 {
            out.push(digit(octet / 100));
        }
        if octet >= 10 {
            out.push(digit(octet / 10));
        }
        out.push(digit(octet));
    }
    out
}
/// The way back from `ip_text`; anything but four plain numbers takes the long way.
pub(crate) fn ip_parse(text: &str) -> Option<IpAddr> {
    let (mut octets, mut at, mut digits, mut value) = ([0_u8; 4], 0, 0, 0_u16);
    for byte in text.bytes().chain([b'.']) {
        match byte {
            b'0'..=b'9' if digits < 3 => {
                value = value * 10 + u16::from(byte - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && at < 4 && value < 256 => {
                octets[at] = value as u8;
                (at, digits, value) = (at + 1, 0, 0);
            }
            _ => return text.parse().ok(),
        }
    }
    if at == 4 { Some(IpAddr::from(octets)) } else { text.parse().ok() }
}
fn end_port(end: &Option<Endpoint>) -> Option<i64> {
    end.as_ref()?.port.map(i64::from)
}
fn list<'e>(items: impl Iterator<Item = &'e String>) -> Vec<&'e str> {
    items.map(String::as_str).collect()
}

/// `1.3`, `1.2`, … or `0x` and hex for a number without a name.
pub(crate) fn tls_name(version: u64) -> Cow<'static, str> {
    Cow::Borrowed(match version {
        0x0304 => "1.3",
        0x0303 => "1.2",
        0x0302 => "1.1",
        0x0301 => "1.0",
        other => return Cow::Owned(format!("0x{other:04x}")),
    })
}
/// The way back from [`tls_name`].
pub(crate) fn tls_number(name: &str) -> Option<u64> {
    match name {
        "1.3" => Some(0x0304),
        "1.2" => Some(0x0303),
        "1.1" => Some(0x0302),
        "1.0" => Some(0x0301),
        other => u64::from_str_radix(other.strip_prefix("0x")?, 16).ok(),
    }
}
/// Protocol version; `yes` when TLS has none; `none` for plaintext; absent where group 2 says nothing. A map
/// without fields is never written, so it must read like no map: an event looks the same before and after.
fn tls(e: &Event) -> Option<Cow<'_, str>> {
    let says = |end: &Option<Endpoint>| end.as_ref().is_some_and(|end| *end != Endpoint::default());
    match e.peer.tls.as_ref().filter(|tls| **tls != Tls::default()) {
        Some(tls) => Some(tls.version.map_or(Cow::Borrowed("yes"), tls_name)),
        None if says(&e.peer.src) || says(&e.peer.dst) || e.peer.transport.is_some() => {
            Some(Cow::Borrowed("none"))
        }
        None => None,
    }
}
fn own_eid(e: &Event) -> Option<&[u8]> {
    let derived = countersign_event::eid(&e.core.agent, &e.core.stream, e.core.seq);
    (derived != e.core.eid).then_some(&e.core.eid[..])
}
fn status_code(e: &Event) -> Option<i64> {
    e.core.status.as_ref().and_then(|(_, code)| plain_number(code))
}
/// A text that is nothing but an optional minus and at most 18 digits, as a number.
pub(crate) fn plain_number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.len() <= 18 && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

macro_rules! word {
    ($path:expr) => {
        $path.map(|word| word.word())
    };
}

/// Every column of the table `events`.
pub(crate) static COLS: &[Col] = &[
    col("index", 0, Get::Index, "leaf index in the ledger"),
    hidden("is_event", 0, Get::IsEvent, "false for leaves that are no event"),
    view(
        "id",
        0,
        Get::Fixed(16, |e| Some(&e.core.eid[..])),
        "event_id(x_eid, agent, stream, seq)",
        "event id",
    ),
    hidden("x_eid", 0, Get::Fixed(16, own_eid), "event id where it does not derive from agent, stream, seq"),
    col(
        "time",
        0,
        Get::Time(|e| Some(e.core.t_event.unwrap_or(int(e.core.t_obs)))),
        "start of the interaction, else when it was seen",
    ),
    hidden("x_timed", 0, Get::Bool(|e| e.core.t_event.map(|_| true)), "`time` is the event's own"),
    col("seen", 0, Get::Time(|e| Some(int(e.core.t_obs))), "the observer's clock at observation"),
    col("time_basis", 0, Get::Word(|e| word!(e.core.t_basis)), "where `time` came from"),
    col("duration_ns", 0, Get::Int(|e| e.core.dur.map(int)), "start to end, nanoseconds"),
    col("rec", 0, Get::Word(|e| word!(e.core.rec)), "what this record is"),
    col("kind", 0, Get::Word(|e| word!(e.core.kind)), "family of interaction"),
    col("protocol", 0, Get::Text(|e| &e.core.proto), "protocol and version"),
    col("op", 0, Get::Text(|e| &e.core.op), "native verb"),
    col("class", 0, Get::Word(|e| word!(e.core.class)), "operation class"),
    col("outcome", 0, Get::Word(|e| word!(e.core.outcome)), "how it ended; absent is unknown"),
    col(
        "status",
        0,
        Get::Text(|e| e.core.status.as_ref().map_or("", |(_, code)| code)),
        "native status code",
    ),
    col("status_code", 0, Get::Int(status_code), "`status` as a number, where it is one"),
    col(
        "status_space",
        0,
        Get::Word(|e| e.core.status.as_ref().map(|(space, _)| space.word())),
        "code space of `status`",
    ),
    col(
        "decision",
        0,
        Get::Word(|e| word!(e.core.decision.as_ref().and_then(|d| d.verdict))),
        "the policy's verdict",
    ),
    col(
        "decision_mode",
        0,
        Get::Word(|e| word!(e.core.decision.as_ref().and_then(|d| d.mode))),
        "how strictly the policy acts",
    ),
    col(
        "policies",
        0,
        Get::List(|e| e.core.decision.as_ref().map_or(Vec::new(), |d| list(d.policies.iter()))),
        "policies that decided",
    ),
    col(
        "reason",
        0,
        Get::Text(|e| e.core.decision.as_ref().map_or("", |d| &d.reason)),
        "reason, in the policy's words",
    ),
    col(
        "purpose",
        0,
        Get::Text(|e| e.core.decision.as_ref().map_or("", |d| &d.purpose)),
        "purpose of the call",
    ),
    col("label", 0, Get::List(|e| list(e.core.labels.iter())), "data classes and operator's labels"),
    col("tenant", 0, Get::Text(|e| &e.core.tenant), "tenant"),
    col("count", 0, Get::Int(|e| Some(int(e.core.n.unwrap_or(1)))), "interactions folded into this record"),
    col("lat_queued_ns", 0, Get::Int(|e| e.core.lat.map(|l| int(l[0]))), "time queued"),
    col("lat_first_byte_ns", 0, Get::Int(|e| e.core.lat.map(|l| int(l[1]))), "time to first byte"),
    col("lat_upstream_ns", 0, Get::Int(|e| e.core.lat.map(|l| int(l[2]))), "time upstream"),
    col("agent", 0, Get::Text(|e| &e.core.agent), "observer"),
    col("stream", 0, Get::Fixed(16, |e| Some(&e.core.stream[..])), "one run of the observer"),
    col("seq", 0, Get::Int(|e| Some(int(e.core.seq))), "number in its stream, from 1"),
    col("config", 0, Get::Fixed(8, |e| e.core.config.as_ref().map(|c| &c[..])), "configuration in force"),
    col("route", 0, Get::Text(|e| &e.core.route), "operator's route or input name"),
    col("who", 1, Get::Text(|e| who_text(e, |p| &p.id)), "identity that made the call"),
    col("who_kind", 1, Get::Word(|e| word!(who(e).and_then(|p| p.kind))), "kind of actor"),
    col("who_name", 1, Get::Text(|e| who_text(e, |p| &p.name)), "display name"),
    col("who_svc", 1, Get::Text(|e| who_text(e, |p| &p.svc)), "service of the actor"),
    col("who_inst", 1, Get::Text(|e| who_text(e, |p| &p.inst)), "instance of the actor"),
    col("auth", 1, Get::Word(|e| word!(who(e).and_then(|p| p.auth))), "how the identity was shown"),
    col(
        "verified",
        1,
        Get::Int(|e| who(e).map(|p| int(p.verified.code()))),
        "how strongly it was proved, 1 to 4",
    ),
    col("issuer", 1, Get::Text(|e| who_text(e, |p| &p.iss)), "issuer or trust domain"),
    col("cred", 1, Get::Text(|e| who_text(e, |p| &p.cred)), "public credential id"),
    col(
        "cred_expires",
        1,
        Get::Int(|e| who(e).and_then(|p| p.cred_exp)),
        "credential's end of life, Unix seconds",
    ),
    col("who_from", 1, Get::Word(|e| word!(who(e).and_then(|p| p.from))), "where the identity was read"),
    col("behalf", 1, Get::Text(|e| e.who.obo.last().map_or("", |p| &p.id)), "original subject"),
    col("via", 1, Get::List(|e| list(e.who.obo.iter().map(|p| &p.id))), "everyone in the chain"),
    view("src", 2, Get::Text(|e| end_name(&e.peer.src)), "coalesce(src_workload, src_host)", "caller's name"),
    view(
        "dst",
        2,
        Get::Text(|e| end_name(&e.peer.dst)),
        "coalesce(dst_workload, dst_host)",
        "name of the address called",
    ),
    col("src_ip", 2, Get::Made(|e| end_ip(&e.peer.src)), "caller's address"),
    col("src_port", 2, Get::Int(|e| end_port(&e.peer.src)), "caller's port"),
    col("src_host", 2, Get::Text(|e| end_text(&e.peer.src, |x| &x.host)), "caller's host name"),
    col("src_workload", 2, Get::Text(|e| end_text(&e.peer.src, |x| &x.workload)), "caller's workload"),
    col("src_ns", 2, Get::Text(|e| end_text(&e.peer.src, |x| &x.ns)), "caller's namespace"),
    col("dst_ip", 2, Get::Made(|e| end_ip(&e.peer.dst)), "address called"),
    col("dst_port", 2, Get::Int(|e| end_port(&e.peer.dst)), "port called"),
    col("dst_host", 2, Get::Text(|e| end_text(&e.peer.dst, |x| &x.host)), "host called"),
    col("dst_workload", 2, Get::Text(|e| end_text(&e.peer.dst, |x| &x.workload)), "workload called"),
    col("dst_ns", 2, Get::Text(|e| end_text(&e.peer.dst, |x| &x.ns)), "namespace called"),
    col("up_ip", 2, Get::Made(|e| end_ip(&e.peer.up)), "address of the upstream chosen"),
    col("up_port", 2, Get::Int(|e| end_port(&e.peer.up)), "port of the upstream chosen"),
    col("up_host", 2, Get::Text(|e| end_text(&e.peer.up, |x| &x.host)), "host of the upstream chosen"),
    col("transport", 2, Get::Word(|e| word!(e.peer.transport)), "transport protocol"),
    col("tls", 2, Get::Made(tls), "TLS version; `none` is plaintext"),
    col(
        "tls_cipher",
        2,
        Get::Int(|e| e.peer.tls.as_ref().and_then(|t| t.cipher).map(int)),
        "cipher suite number",
    ),
    col(
        "tls_group",
        2,
        Get::Int(|e| e.peer.tls.as_ref().and_then(|t| t.group).map(int)),
        "key exchange group number",
    ),
    col("tls_resumed", 2, Get::Bool(|e| e.peer.tls.as_ref().and_then(|t| t.resumed)), "session was resumed"),
    col("sni", 2, Get::Text(|e| e.peer.tls.as_ref().map_or("", |t| &t.sni)), "server name asked for"),
    col(
        "alpn",
        2,
        Get::Text(|e| e.peer.tls.as_ref().map_or("", |t| &t.alpn)),
        "application protocol agreed on",
    ),
    col(
        "peer_cert",
        2,
        Get::Fixed(32, |e| e.peer.tls.as_ref().and_then(|t| t.peer_cert.as_ref()).map(|c| &c[..])),
        "SHA-256 of the peer's certificate",
    ),
    col(
        "hop",
        2,
        Get::List(|e| list(e.peer.hops.iter().map(|(hop, _)| hop))),
        "forwarded chain, client first",
    ),
    col("ja4", 2, Get::Text(|e| &e.peer.ja4), "TLS client fingerprint"),
    col("retries", 2, Get::Int(|e| e.peer.retries.map(int)), "retries"),
    col("service", 3, Get::Text(|e| &e.target.svc), "service called"),
    col("resource", 3, Get::Text(|e| &e.target.res), "resource as a template"),
    col("raw_target", 3, Get::Text(|e| &e.target.raw), "resource as on the wire, redacted"),
    col("type", 3, Get::Text(|e| &e.target.rtype), "type of the resource"),
    col("target_id", 3, Get::Text(|e| &e.target.id), "identifier of the resource"),
    col("namespace", 3, Get::Text(|e| &e.target.ns), "database, namespace, account"),
    col("region", 3, Get::Text(|e| &e.target.region), "region"),
    col("trace", 4, Get::Fixed(16, |e| e.links.trace.as_ref().map(|x| &x[..])), "W3C trace id"),
    col("span", 4, Get::Fixed(8, |e| e.links.span.as_ref().map(|x| &x[..])), "span id"),
    col("parent", 4, Get::Fixed(8, |e| e.links.parent.as_ref().map(|x| &x[..])), "parent span id"),
    col("trace_flags", 4, Get::Int(|e| e.links.tflags.map(int)), "trace flags"),
    col("corr", 4, Get::Text(|e| &e.links.corr), "request id"),
    col("session", 4, Get::Text(|e| &e.links.sess), "session"),
    col("message", 4, Get::Text(|e| &e.links.msg), "message id"),
    col("of", 4, Get::Fixed(16, |e| e.links.of.as_ref().map(|x| &x[..])), "event id this record belongs to"),
    col("conn", 4, Get::Fixed(16, |e| e.links.conn.as_ref().map(|x| &x[..])), "connection"),
    col("conn_seq", 4, Get::Int(|e| e.links.conn_seq.map(int)), "number on its connection, from 1"),
    col("link_via", 4, Get::Word(|e| word!(e.links.via)), "where the ids were read"),
    col(
        "cause_conn",
        4,
        Get::Fixed(16, |e| e.links.cause.first().map(|(conn, ..)| &conn[..])),
        "connection of the request that this was probably made for; inferred, the best of several",
    ),
    col(
        "cause_seq",
        4,
        Get::Int(|e| e.links.cause.first().map(|(_, seq, _)| int(*seq))),
        "number of that request on its connection",
    ),
    col(
        "cause_score",
        4,
        Get::Int(|e| e.links.cause.first().map(|(.., score)| int(*score))),
        "how probable that is, 0 to 1000",
    ),
    col("statement", 5, Get::Text(|e| &e.content.stmt), "statement with literals as `?`"),
    col(
        "statement_fp",
        5,
        Get::Fixed(16, |e| e.content.stmt_fp.as_ref().map(|x| &x[..])),
        "fingerprint of the statement's shape",
    ),
    col("error", 5, Get::Text(|e| &e.content.err), "redacted error text"),
    col(
        "req_size",
        6,
        Get::Int(|e| e.body.req.as_ref().and_then(|p| p.size).map(int)),
        "request payload, bytes",
    ),
    col(
        "req_digest",
        6,
        Get::Fixed(32, |e| e.body.req.as_ref().and_then(|p| p.digest.as_ref()).map(|d| &d[..])),
        "digest of the request payload",
    ),
    col(
        "req_alg",
        6,
        Get::Word(|e| word!(e.body.req.as_ref().and_then(|p| p.alg))),
        "algorithm of `req_digest`",
    ),
    col(
        "req_type",
        6,
        Get::Text(|e| e.body.req.as_ref().map_or("", |p| &p.content_type)),
        "content type of the request",
    ),
    col(
        "req_truncated",
        6,
        Get::Bool(|e| e.body.req.as_ref().and_then(|p| p.truncated)),
        "the request payload was cut",
    ),
    col(
        "rsp_size",
        6,
        Get::Int(|e| e.body.rsp.as_ref().and_then(|p| p.size).map(int)),
        "response payload, bytes",
    ),
    col(
        "rsp_digest",
        6,
        Get::Fixed(32, |e| e.body.rsp.as_ref().and_then(|p| p.digest.as_ref()).map(|d| &d[..])),
        "digest of the response payload",
    ),
    col(
        "rsp_alg",
        6,
        Get::Word(|e| word!(e.body.rsp.as_ref().and_then(|p| p.alg))),
        "algorithm of `rsp_digest`",
    ),
    col(
        "rsp_type",
        6,
        Get::Text(|e| e.body.rsp.as_ref().map_or("", |p| &p.content_type)),
        "content type of the response",
    ),
    col(
        "rsp_truncated",
        6,
        Get::Bool(|e| e.body.rsp.as_ref().and_then(|p| p.truncated)),
        "the response payload was cut",
    ),
    col("capture", 6, Get::Word(|e| word!(e.body.cap.as_ref().and_then(|c| c.mode))), "how it was captured"),
    col(
        "capture_format",
        6,
        Get::Text(|e| e.body.cap.as_ref().map_or("", |c| &c.fmt)),
        "format it was read from",
    ),
    col(
        "capture_parser",
        6,
        Get::Text(|e| e.body.cap.as_ref().map_or("", |c| &c.parser)),
        "parser, name@version",
    ),
    col(
        "capture_conf",
        6,
        Get::Word(|e| word!(e.body.cap.as_ref().and_then(|c| c.conf))),
        "how much was understood",
    ),
    col(
        "source_id",
        6,
        Get::Text(|e| e.body.cap.as_ref().map_or("", |c| &c.source_id)),
        "the source's own id of the record",
    ),
    hidden("exact_0", 0, Get::Exact, "group 0 where the columns do not give it back"),
    hidden("exact_1", 1, Get::Exact, "group 1 where the columns do not give it back"),
    hidden("exact_2", 2, Get::Exact, "group 2 where the columns do not give it back"),
    hidden("exact_3", 3, Get::Exact, "group 3 where the columns do not give it back"),
    hidden("exact_4", 4, Get::Exact, "group 4 where the columns do not give it back"),
    hidden("exact_5", 5, Get::Exact, "group 5 where the columns do not give it back"),
    hidden("exact_6", 6, Get::Exact, "group 6 where the columns do not give it back"),
    view(
        "content",
        5,
        Get::Exact,
        "exact_5",
        "bytes of group 5 for `header`, `detail` and `unmapped`, where it holds any",
    ),
];

/// Columns that files of earlier versions lack: absent there, for every row.
pub(crate) const LATER: [&str; 3] = ["cause_conn", "cause_seq", "cause_score"];

/// Names of the columns that hold a group whole.
pub(crate) const EXACT: [&str; GROUPS] =
    ["exact_0", "exact_1", "exact_2", "exact_3", "exact_4", "exact_5", "exact_6"];

/// The offset that all times carry: UTC, written so that no time-zone table is needed.
pub(crate) const UTC: &str = "+00:00";

impl Col {
    /// Whether it is a column of the segment file.
    pub(crate) fn stored(&self) -> bool {
        !matches!(self.place, Place::View(_))
    }
    /// Its Arrow type.
    pub(crate) fn data_type(&self) -> DataType {
        match self.get {
            Get::Text(_) | Get::Word(_) | Get::Made(_) => DataType::Utf8View,
            Get::Int(_) | Get::Index => DataType::Int64,
            Get::Time(_) => DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
            Get::Bool(_) | Get::IsEvent => DataType::Boolean,
            Get::Fixed(bytes, _) => DataType::FixedSizeBinary(bytes),
            Get::List(_) => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true))),
            Get::Exact => DataType::LargeBinary,
        }
    }
}

/// Name, group and meaning of a column of `events`, for the reference page and for completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Name in SQL and in answers.
    pub name: &'static str,
    /// Number of the group that it stands in.
    pub group: u8,
    /// Its meaning, in one line.
    pub doc: &'static str,
}

/// The columns of the table `events`, in order.
pub fn event_columns() -> impl Iterator<Item = ColumnInfo> {
    let shown = COLS.iter().filter(|col| col.place != Place::Hidden);
    shown.map(|col| ColumnInfo { name: col.name, group: col.group, doc: col.doc })
}

/// The columns of a segment file and of the tail, in order.
pub(crate) fn stored() -> impl Iterator<Item = &'static Col> {
    COLS.iter().filter(|col| col.stored())
}

/// The column of this name.
pub(crate) fn find(name: &str) -> Option<&'static Col> {
    COLS.iter().find(|col| col.name == name)
}

/// Arrow schema of a segment file and of the tail.
pub(crate) static STORED: LazyLock<SchemaRef> = LazyLock::new(|| {
    let fields = stored().map(|col| {
        let required = matches!(col.get, Get::Index | Get::IsEvent);
        Field::new(col.name, col.data_type(), !required)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_plain() {
        for (at, col) in COLS.iter().enumerate() {
            assert!(COLS[..at].iter().all(|other| other.name != col.name), "{}", col.name);
            assert!(col.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        }
    }

    #[test]
    fn addresses_find_their_way_back() {
        for ip in ["0.0.0.0", "10.0.0.7", "255.255.255.255", "100.20.3.99", "::1", "fd00::1:2"] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(ip_text(ip), ip.to_string());
            assert_eq!(ip_parse(&ip_text(ip)), Some(ip));
        }
        for bad in ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1..2.3", "a.b.c.d", "999.1.1.1"] {
            assert_eq!(ip_parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_empty_map_reads_like_no_map() {
        let mut event = Event::default();
        event.peer.tls = Some(Tls::default());
        event.peer.src = Some(Endpoint::default());
        assert_eq!(tls(&event), None);
        event.peer.transport = Some(countersign_event::Transport::Tcp);
        assert_eq!(tls(&event).as_deref(), Some("none"));
    }

    #[test]
    fn tls_versions_find_their_way_back() {
        for version in [0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x7f1c, 7] {
            assert_eq!(tls_number(&tls_name(version)), Some(version));
        }
    }
}
