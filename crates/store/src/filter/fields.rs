//! One table of the filter's fields: name, other names, type and column.

use countersign_event as ev;

/// How a field's literals are read.
#[derive(Clone, Copy, Debug)]
pub enum Ty {
    /// Text, case counts.
    Text,
    /// Text; HTTP verbs in any case.
    Verb,
    /// A word of a closed list, in any case.
    Word(fn() -> Vec<&'static str>),
    /// A whole number.
    Int,
    /// `1` to `4`, or the level's name.
    Level,
    /// `250ms`, `1.5s`.
    Duration,
    /// `512`, `10KiB`, `1MB`.
    Size,
    /// RFC 3339, or nanoseconds since 1970.
    Time,
    /// An address or a CIDR block.
    Ip,
    /// So many bytes, as hex or as a UUID.
    Hex(usize),
    /// Several texts: any of them.
    List,
    /// A code that is text, with a numeric view.
    Status,
    /// Source or destination.
    Peer,
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Other names that mean it.
    pub aliases: &'static [&'static str],
    /// How its values are read.
    pub ty: Ty,
    /// Its column in SQL; of a field with a key, its function.
    pub col: &'static str,
    /// Whether it takes a key: `header.<name>`.
    pub keyed: bool,
}

impl PartialEq for Field {
    fn eq(&self, other: &Field) -> bool {
        self.name == other.name
    }
}

impl Field {
    /// Whether it stands for source or destination.
    pub(crate) fn is_peer(&self) -> bool {
        matches!(self.ty, Ty::Peer)
    }
    /// The words that an enumerated field knows; empty for other fields.
    pub fn words(&self) -> Vec<&'static str> {
        match self.ty {
            Ty::Word(words) => words(),
            Ty::Level => words_of(ev::Verified::ALL, ev::Verified::word),
            _ => Vec::new(),
        }
    }
    /// Whether its values have an order.
    pub(crate) fn ordered(&self) -> bool {
        self.keyed || matches!(self.ty, Ty::Int | Ty::Level | Ty::Duration | Ty::Size | Ty::Time | Ty::Status)
    }
}

const fn f(name: &'static str, aliases: &'static [&'static str], ty: Ty, col: &'static str) -> Field {
    Field { name, aliases, ty, col, keyed: false }
}
const fn keyed(name: &'static str, aliases: &'static [&'static str], col: &'static str) -> Field {
    Field { name, aliases, ty: Ty::Text, col, keyed: true }
}

/// The words of a list, and `other` for what a newer version wrote.
fn words_of<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|value| word(*value)).chain(["other"]).collect()
}
macro_rules! word {
    ($list:ident) => {
        Ty::Word(|| words_of(ev::$list::ALL, ev::$list::word))
    };
}
/// Any known outcome but success; no known outcome.
pub(crate) const FAILED: &str = "failed";
/// No known outcome.
pub(crate) const UNKNOWN: &str = "unknown";
/// The outcomes that `failed` stands for.
pub(crate) const FAILURES: [&str; 6] =
    ["denied", "caller_error", "server_error", "timeout", "cancelled", "partial"];

fn outcomes() -> Vec<&'static str> {
    let mut words = words_of(ev::Outcome::ALL, ev::Outcome::word);
    words.extend([FAILED, UNKNOWN]);
    words
}

/// Every field of the filter.
pub static FIELDS: &[Field] = &[
    f("index", &[], Ty::Int, "index"),
    f("id", &["eid", "core.eid"], Ty::Hex(16), "id"),
    f("rec", &["core.rec"], word!(Rec), "rec"),
    f("seen", &["t_obs", "core.t_obs"], Ty::Time, "seen"),
    f("duration", &["latency", "dur", "core.dur"], Ty::Duration, "duration_ns"),
    f("kind", &["core.kind"], word!(Kind), "kind"),
    f("protocol", &["proto", "core.proto"], Ty::Text, "protocol"),
    f("op", &["core.op"], Ty::Verb, "op"),
    f("class", &["core.class"], word!(Class), "class"),
    f("outcome", &["core.outcome"], Ty::Word(outcomes), "outcome"),
    f("status", &["core.status"], Ty::Status, "status"),
    f("status.space", &[], word!(StatusSpace), "status_space"),
    f("decision", &["core.decision", "verdict"], word!(Verdict), "decision"),
    f("decision.mode", &["mode"], word!(Mode), "decision_mode"),
    f("policy", &["policies"], Ty::List, "policies"),
    f("reason", &[], Ty::Text, "reason"),
    f("purpose", &[], Ty::Text, "purpose"),
    f("label", &["labels", "core.labels"], Ty::List, "label"),
    f("tenant", &["core.tenant"], Ty::Text, "tenant"),
    f("count", &["n", "core.n"], Ty::Int, "count"),
    f("agent", &["core.agent"], Ty::Text, "agent"),
    f("stream", &["core.stream"], Ty::Hex(16), "stream"),
    f("seq", &["core.seq"], Ty::Int, "seq"),
    f("time.basis", &["t_basis", "core.t_basis"], word!(TimeBasis), "time_basis"),
    f("config", &["core.config"], Ty::Hex(8), "config"),
    f("route", &["core.route"], Ty::Text, "route"),
    f("who", &["identity", "who.id"], Ty::Text, "who"),
    f("who.kind", &[], word!(PrincipalKind), "who_kind"),
    f("who.name", &[], Ty::Text, "who_name"),
    f("who.svc", &[], Ty::Text, "who_svc"),
    f("who.inst", &["inst"], Ty::Text, "who_inst"),
    f("auth", &["who.auth"], word!(Auth), "auth"),
    f("verified", &["who.verified"], Ty::Level, "verified"),
    f("issuer", &["iss", "who.iss"], Ty::Text, "issuer"),
    f("cred", &["who.cred"], Ty::Text, "cred"),
    f("who.from", &[], word!(IdentityFrom), "who_from"),
    f("behalf", &[], Ty::Text, "behalf"),
    f("via", &["obo", "who.obo"], Ty::List, "via"),
    f("src", &["peer.src", "src.workload"], Ty::Text, "src"),
    f("src.ip", &[], Ty::Ip, "src_ip"),
    f("src.port", &[], Ty::Int, "src_port"),
    f("src.host", &[], Ty::Text, "src_host"),
    f("src.ns", &[], Ty::Text, "src_ns"),
    f("dst", &["peer.dst", "dst.workload"], Ty::Text, "dst"),
    f("dst.ip", &[], Ty::Ip, "dst_ip"),
    f("dst.port", &[], Ty::Int, "dst_port"),
    f("dst.host", &[], Ty::Text, "dst_host"),
    f("dst.ns", &[], Ty::Text, "dst_ns"),
    f("up.ip", &[], Ty::Ip, "up_ip"),
    f("up.port", &[], Ty::Int, "up_port"),
    f("up.host", &["up"], Ty::Text, "up_host"),
    f("transport", &["peer.transport"], word!(Transport), "transport"),
    f("tls", &["peer.tls", "tls.version"], Ty::Text, "tls"),
    f("tls.cipher", &["cipher"], Ty::Int, "tls_cipher"),
    f("tls.group", &[], Ty::Int, "tls_group"),
    f("sni", &["tls.sni"], Ty::Text, "sni"),
    f("alpn", &["tls.alpn"], Ty::Text, "alpn"),
    f("tls.peer_cert", &[], Ty::Hex(32), "peer_cert"),
    f("ja4", &["peer.ja4"], Ty::Text, "ja4"),
    f("retries", &["peer.retries"], Ty::Int, "retries"),
    f("hop", &["hops", "peer.hops"], Ty::List, "hop"),
    f("peer", &[], Ty::Peer, "src"),
    f("service", &["svc", "target.svc"], Ty::Text, "service"),
    f("resource", &["res", "target.res"], Ty::Text, "resource"),
    f("target.raw", &[], Ty::Text, "raw_target"),
    f("type", &["rtype", "target.rtype"], Ty::Text, "type"),
    f("target.id", &[], Ty::Text, "target_id"),
    f("namespace", &["ns", "target.ns"], Ty::Text, "namespace"),
    f("region", &["target.region"], Ty::Text, "region"),
    f("trace", &["links.trace"], Ty::Hex(16), "trace"),
    f("span", &["links.span"], Ty::Hex(8), "span"),
    f("parent", &["links.parent"], Ty::Hex(8), "parent"),
    f("tflags", &["links.tflags"], Ty::Int, "trace_flags"),
    f("corr", &["links.corr"], Ty::Text, "corr"),
    f("session", &["sess", "links.sess"], Ty::Text, "session"),
    f("message", &["msg", "links.msg"], Ty::Text, "message"),
    f("of", &["links.of"], Ty::Hex(16), "of"),
    f("conn", &["links.conn"], Ty::Hex(16), "conn"),
    f("conn.seq", &["links.conn_seq"], Ty::Int, "conn_seq"),
    f("links.via", &[], word!(LinkVia), "link_via"),
    f("cause.conn", &[], Ty::Hex(16), "cause_conn"),
    f("cause.seq", &[], Ty::Int, "cause_seq"),
    f("cause.score", &[], Ty::Int, "cause_score"),
    f("statement", &["stmt", "content.stmt"], Ty::Text, "statement"),
    f("stmt_fp", &["content.stmt_fp"], Ty::Hex(16), "statement_fp"),
    f("error", &["err", "content.err"], Ty::Text, "error"),
    keyed("header", &["content.headers", "headers"], "header"),
    keyed("detail", &["content.detail"], "detail"),
    keyed("raw", &["unmapped", "content.unmapped"], "unmapped"),
    f("req.size", &[], Ty::Size, "req_size"),
    f("req.digest", &[], Ty::Hex(32), "req_digest"),
    f("req.type", &[], Ty::Text, "req_type"),
    f("rsp.size", &[], Ty::Size, "rsp_size"),
    f("rsp.digest", &[], Ty::Hex(32), "rsp_digest"),
    f("rsp.type", &[], Ty::Text, "rsp_type"),
    f("capture", &["cap", "body.cap", "cap.mode"], word!(CaptureMode), "capture"),
    f("capture.conf", &["cap.conf"], word!(CaptureConf), "capture_conf"),
    f("capture.format", &["cap.fmt"], Ty::Text, "capture_format"),
    f("capture.parser", &["cap.parser"], Ty::Text, "capture_parser"),
    f("source_id", &["cap.source_id"], Ty::Text, "source_id"),
];

/// The field that a name means: by its own name, an alias, or its column in SQL.
pub(crate) fn find(name: &str) -> Option<&'static Field> {
    FIELDS
        .iter()
        .find(|field| field.name == name)
        .or_else(|| FIELDS.iter().find(|field| field.aliases.contains(&name)))
        .or_else(|| FIELDS.iter().find(|field| !field.keyed && field.col == name))
}

/// The columns that bare text is looked for in.
pub(crate) const SEARCHED: [&str; 8] =
    ["who", "src", "dst", "service", "resource", "op", "error", "statement"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn every_field_has_a_column_and_no_name_means_two_things() {
        let mut names = std::collections::BTreeSet::new();
        for field in FIELDS {
            assert!(field.keyed || schema::find(field.col).is_some(), "{}", field.name);
            for name in std::iter::once(&field.name).chain(field.aliases) {
                assert!(names.insert(*name), "{name} is given twice");
            }
        }
    }

    #[test]
    fn every_name_that_the_event_promises_is_a_field() {
        for field in ev::fields::FIELDS {
            for name in field.column.split(", ").filter(|name| !name.is_empty() && !name.contains('<')) {
                let known = find(name).is_some() || NOT_YET.contains(&name);
                assert!(known, "`{name}` of {}.{} is no field of the filter", field.home, field.name);
            }
        }
    }

    /// Whole maps and lists: searched by their parts, or not at all in this version.
    const NOT_YET: [&str; 12] = [
        "body.raw", "causal", "change", "cut", "lat", "more", "params", "redacted", "skew", "sys", "tag",
        "time",
    ];
}
