//! The writer: same order and same omissions as the canonical encoder.

use super::{base64url, hex, time};
use crate::cbor::Value;
use crate::enums::*;
use crate::fields::{Key, detail, sys};
use crate::model::*;
use crate::{Event, SCHEMA};
use std::fmt::Write;

/// The event as one line of JSON.
pub fn to_json(event: &Event) -> String {
    let mut j = Json { out: String::with_capacity(1024), first: true };
    j.object(|j| {
        j.int("schema", Some(SCHEMA));
        j.group("core", |j| core(&event.core, j));
        j.group("who", |j| who(&event.who, j));
        j.group("peer", |j| peer(&event.peer, j));
        j.group("target", |j| target(&event.target, j));
        j.group("links", |j| links(&event.links, j));
        j.group("content", |j| content(event, j));
        j.group("body", |j| body(&event.body, j));
    });
    j.out
}

/// A growing text and whether the next item is the first of its array or object.
struct Json {
    out: String,
    first: bool,
}

impl Json {
    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
    }
    fn string(&mut self, text: &str) {
        write_string(&mut self.out, text);
    }
    fn name(&mut self, name: &str) {
        self.comma();
        self.string(name);
        self.out.push(':');
    }
    fn within(&mut self, open: char, close: char, fill: impl FnOnce(&mut Json)) {
        self.out.push(open);
        self.first = true;
        fill(self);
        self.out.push(close);
        self.first = false;
    }
    fn object(&mut self, fill: impl FnOnce(&mut Json)) {
        self.within('{', '}', fill);
    }
    /// An object under a name, left out when it turns out empty.
    fn group(&mut self, name: &str, fill: impl FnOnce(&mut Json)) {
        let (before, first) = (self.out.len(), self.first);
        self.name(name);
        let open = self.out.len();
        self.object(fill);
        if self.out.len() == open + 2 {
            self.out.truncate(before);
            self.first = first;
        }
    }
    fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.name(name);
            self.string(text);
        }
    }
    fn raw(&mut self, text: impl std::fmt::Display) {
        let _ = write!(self.out, "{text}");
    }
    fn int(&mut self, name: &str, n: Option<impl std::fmt::Display>) {
        if let Some(n) = n {
            self.name(name);
            self.raw(n);
        }
    }
    fn hex(&mut self, name: &str, bytes: Option<&[u8]>) {
        if let Some(bytes) = bytes {
            self.name(name);
            self.string(&hex(bytes));
        }
    }
    fn id<const N: usize>(&mut self, name: &str, id: Option<&[u8; N]>) {
        self.hex(name, id.filter(|id| **id != [0; N]).map(<[u8; N]>::as_slice));
    }
    fn base64(&mut self, name: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.text(name, &base64url(bytes));
        }
    }
    /// A word, or the number where this version has no word; 0 is unknown, so absent.
    fn word(&mut self, name: &str, word: Option<(&'static str, u64)>) {
        if let Some(word) = word.filter(|(_, code)| *code != 0) {
            self.name(name);
            self.bare_word(word);
        }
    }
    fn bare_word(&mut self, (word, code): (&'static str, u64)) {
        match word {
            "other" => self.raw(code),
            word => self.string(word),
        }
    }
    /// A time in ns, or the bare number beyond the years that RFC 3339 can write.
    fn time(&mut self, name: &str, ns: Option<i128>, unit: i128) {
        if let Some(ns) = ns {
            self.name(name);
            match time::rfc3339(ns) {
                Some(text) => self.string(&text),
                None => self.raw(ns / unit),
            }
        }
    }
    fn list<T>(&mut self, name: &str, items: &[T], mut item: impl FnMut(&mut Json, &T)) {
        if items.is_empty() {
            return;
        }
        self.name(name);
        self.within('[', ']', |j| {
            for one in items {
                j.comma();
                item(j, one);
            }
        });
    }
    fn texts(&mut self, name: &str, texts: &[String]) {
        self.list(name, texts, |j, text| j.string(text));
    }
    fn keyed(&mut self, name: &str, map: &KeyedMap, keys: &[Key]) {
        self.group(name, |j| {
            for (key, value) in map.iter().filter(|(_, value)| !value.is_empty()) {
                match keys.iter().find(|known| known.key == *key) {
                    Some(known) => {
                        j.name(known.name);
                        j.registered(value, known.ty);
                    }
                    None => {
                        j.name(&key.to_string());
                        j.value(value);
                    }
                }
            }
        });
    }
    /// Byte strings of fixed length are bare hex where they are expected.
    fn registered(&mut self, value: &Value, ty: &str) {
        match value {
            Value::Bytes(bytes) if is_hex(ty) => self.string(&hex(bytes)),
            Value::Text(text) if is_hex(ty) => self.object(|j| j.text("$text", text)),
            value => self.value(value),
        }
    }
    fn other(&mut self, other: &[(u64, Value)]) {
        self.group("other", |j| {
            for (key, value) in other.iter().filter(|(_, value)| !value.is_empty()) {
                j.name(&key.to_string());
                j.value(value);
            }
        });
    }
    fn value(&mut self, value: &Value) {
        match value {
            Value::Uint(n) => self.raw(n),
            Value::Nint(n) => self.raw(-1 - i128::from(*n)),
            Value::Bool(flag) => self.raw(flag),
            Value::Text(text) => self.string(text),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Array(items) => self.within('[', ']', |j| {
                for item in items {
                    j.comma();
                    j.value(item);
                }
            }),
            Value::Map(pairs) => self.map(pairs),
        }
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.object(|j| {
            j.name("$bytes");
            j.string(&base64url(bytes));
        });
    }
    fn map(&mut self, pairs: &[(Value, Value)]) {
        let plain = |key: &Value| key.as_text().is_some_and(|text| !text.starts_with('$'));
        if pairs.iter().all(|(key, _)| plain(key)) {
            self.object(|j| {
                for (key, value) in pairs {
                    j.name(key.as_text().unwrap_or_default());
                    j.value(value);
                }
            });
        } else {
            let pair = |(key, value): &(Value, Value)| Value::Array(vec![key.clone(), value.clone()]);
            self.object(|j| {
                j.name("$map");
                j.value(&Value::Array(pairs.iter().map(pair).collect()));
            });
        }
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    // what needs escaping is ASCII, so every cut is between characters
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0x7f | 0..0x20)) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'\n' => out.push_str("\\n"),
            byte @ (b'"' | b'\\') => out.extend(['\\', char::from(byte)]),
            byte => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Whether a registered type is a byte string of fixed length.
pub(super) fn is_hex(ty: &str) -> bool {
    ty.strip_prefix('b').is_some_and(|size| size.starts_with(|c: char| c.is_ascii_digit()))
}

macro_rules! word {
    ($value:expr) => {
        $value.map(|value| (value.word(), value.code()))
    };
}

fn core(core: &Core, j: &mut Json) {
    j.hex("eid", Some(&core.eid));
    j.text("agent", &core.agent);
    j.hex("stream", Some(&core.stream));
    j.int("seq", Some(core.seq));
    j.time("t_obs", Some(i128::from(core.t_obs)), 1);
    j.time("t_event", core.t_event.map(i128::from), 1);
    j.word("t_basis", word!(core.t_basis));
    j.int("skew", core.skew.map(|(offset, error)| format!("[{offset},{error}]")));
    j.int("dur", core.dur);
    j.word("rec", word!(core.rec));
    j.word("kind", word!(core.kind));
    j.text("proto", &core.proto);
    j.text("op", &core.op);
    j.word("class", word!(core.class));
    j.word("outcome", word!(core.outcome));
    if let Some((space, code)) = &core.status {
        j.name("status");
        j.within('[', ']', |j| {
            j.bare_word((space.word(), space.code()));
            j.out.push(',');
            j.string(code);
        });
    }
    if let Some(decision) = &core.decision {
        j.group("decision", |j| {
            j.word("verdict", word!(decision.verdict));
            j.word("mode", word!(decision.mode));
            j.texts("policies", &decision.policies);
            j.text("reason", &decision.reason);
            j.text("purpose", &decision.purpose);
            j.other(&decision.other);
        });
    }
    j.texts("labels", &core.labels);
    j.text("tenant", &core.tenant);
    j.int("n", core.n);
    j.int("lat", core.lat.map(|[queued, first, upstream]| format!("[{queued},{first},{upstream}]")));
    j.hex("config", core.config.as_ref().map(|id| id.as_slice()));
    j.text("route", &core.route);
    j.keyed("sys", &core.sys, sys::keys_of(core.rec));
    j.other(&core.other);
}

fn who(who: &Who, j: &mut Json) {
    if let Some(who) = &who.who {
        j.group("who", |j| principal(who, j));
    }
    j.list("obo", &who.obo, |j, one| j.object(|j| principal(one, j)));
    j.list("also", &who.also, |j, one| j.object(|j| principal(one, j)));
    j.other(&who.other);
}

fn principal(p: &Principal, j: &mut Json) {
    j.text("id", &p.id);
    j.word("kind", word!(p.kind));
    j.word("auth", word!(p.auth));
    j.int("verified", Some(p.verified.code()));
    j.text("iss", &p.iss);
    j.text("cred", &p.cred);
    j.time("cred_exp", p.cred_exp.map(|s| i128::from(s) * 1_000_000_000), 1_000_000_000);
    j.text("svc", &p.svc);
    j.text("inst", &p.inst);
    j.texts("groups", &p.groups);
    j.word("rel", word!(p.rel));
    j.text("name", &p.name);
    j.word("from", word!(p.from));
    j.other(&p.other);
}

fn peer(peer: &Peer, j: &mut Json) {
    for (name, end) in [("src", &peer.src), ("dst", &peer.dst), ("up", &peer.up)] {
        if let Some(end) = end {
            j.group(name, |j| endpoint(end, j));
        }
    }
    j.word("transport", word!(peer.transport));
    if let Some(tls) = &peer.tls {
        j.group("tls", |j| {
            j.int("version", tls.version);
            j.int("cipher", tls.cipher);
            j.text("sni", &tls.sni);
            j.text("alpn", &tls.alpn);
            j.hex("peer_cert", tls.peer_cert.as_ref().map(|cert| cert.as_slice()));
            j.int("resumed", tls.resumed);
            j.int("group", tls.group);
            j.other(&tls.other);
        });
    }
    j.list("hops", &peer.hops, |j, (hop, level)| {
        j.within('[', ']', |j| {
            j.string(hop);
            j.raw(format_args!(",{}", level.code()));
        });
    });
    j.text("ja4", &peer.ja4);
    j.int("retries", peer.retries);
    j.other(&peer.other);
}

fn endpoint(end: &Endpoint, j: &mut Json) {
    if let Some(ip) = end.ip {
        j.text("ip", &ip.to_canonical().to_string());
    }
    j.int("port", end.port);
    j.text("host", &end.host);
    j.text("workload", &end.workload);
    j.text("ns", &end.ns);
    j.text("zone", &end.zone);
    j.text("node", &end.node);
    j.other(&end.other);
}

fn target(target_: &Target, j: &mut Json) {
    j.text("svc", &target_.svc);
    j.text("res", &target_.res);
    j.text("raw", &target_.raw);
    j.text("rtype", &target_.rtype);
    j.text("id", &target_.id);
    j.text("ns", &target_.ns);
    j.text("region", &target_.region);
    j.list("more", &target_.more, |j, one| j.object(|j| target(one, j)));
    j.texts("tags", &target_.tags);
    j.other(&target_.other);
}

fn links(links: &Links, j: &mut Json) {
    j.id("trace", links.trace.as_ref());
    j.id("span", links.span.as_ref());
    j.id("parent", links.parent.as_ref());
    j.int("tflags", links.tflags);
    j.text("corr", &links.corr);
    j.text("sess", &links.sess);
    j.text("msg", &links.msg);
    j.hex("of", links.of.as_ref().map(|id| id.as_slice()));
    j.hex("conn", links.conn.as_ref().map(|id| id.as_slice()));
    j.int("conn_seq", links.conn_seq);
    j.word("via", word!(links.via));
    j.list("causal", &links.causal, |j, (eid, how, score)| {
        j.within('[', ']', |j| {
            j.string(&hex(eid));
            j.out.push(',');
            j.bare_word((how.word(), how.code()));
            j.raw(format_args!(",{score}"));
        });
    });
    j.list("cause", &links.cause, |j, (conn, number, score)| {
        j.within('[', ']', |j| {
            j.string(&hex(conn));
            j.raw(format_args!(",{number},{score}"));
        });
    });
    j.other(&links.other);
}

fn content(event: &Event, j: &mut Json) {
    let content = &event.content;
    j.keyed("detail", &content.detail, detail::keys_of(event.core.kind));
    j.text("stmt", &content.stmt);
    j.hex("stmt_fp", content.stmt_fp.as_ref().map(|fp| fp.as_slice()));
    j.texts("params", &content.params);
    j.list("headers", &content.headers, |j, (name, value)| {
        j.within('[', ']', |j| {
            j.string(name);
            j.out.push(',');
            j.string(value);
        });
    });
    j.text("err", &content.err);
    j.group("unmapped", |j| {
        for (pointer, value) in &content.unmapped {
            j.name(pointer);
            match value {
                Unmapped::Token(token) => j.string(token),
                Unmapped::Bytes(bytes) => j.bytes(bytes),
            }
        }
    });
    j.list("redacted", &content.redacted, |j, (rule, hits)| {
        j.within('[', ']', |j| {
            j.string(rule);
            j.raw(format_args!(",{hits}"));
        });
    });
    j.list("cut", &content.cut, |j, (field, length)| j.raw(format_args!("[{field},{length}]")));
    j.other(&content.other);
}

fn body(body: &Body, j: &mut Json) {
    for (name, payload_) in [("req", &body.req), ("rsp", &body.rsp)] {
        if let Some(payload_) = payload_ {
            j.group(name, |j| payload(payload_, j));
        }
    }
    if let Some(cap) = &body.cap {
        j.group("cap", |j| capture(cap, j));
    }
    if let Some(raw) = &body.raw {
        j.group("raw", |j| {
            j.hex("digest", raw.digest.as_ref().map(|digest| digest.as_slice()));
            j.int("length", raw.length);
            j.text("ref", &raw.reference);
            j.base64("bytes", &raw.bytes);
            j.word("alg", word!(raw.alg));
            j.other(&raw.other);
        });
    }
    if let Some(change) = &body.change {
        j.group("change", |j| {
            j.hex("before", change.before.as_ref().map(|digest| digest.as_slice()));
            j.hex("after", change.after.as_ref().map(|digest| digest.as_slice()));
            j.word("alg", word!(change.alg));
            j.other(&change.other);
        });
    }
    j.other(&body.other);
}

fn payload(payload: &Payload, j: &mut Json) {
    j.int("size", payload.size);
    j.hex("digest", payload.digest.as_ref().map(|digest| digest.as_slice()));
    j.text("ref", &payload.reference);
    j.int("truncated", payload.truncated);
    j.text("content_type", &payload.content_type);
    j.base64("excerpt", &payload.excerpt);
    j.word("alg", word!(payload.alg));
    j.int("messages", payload.messages);
    j.hex("digest_sent", payload.digest_sent.as_ref().map(|digest| digest.as_slice()));
    j.other(&payload.other);
}

fn capture(cap: &Capture, j: &mut Json) {
    j.word("mode", word!(cap.mode));
    j.text("fmt", &cap.fmt);
    j.text("parser", &cap.parser);
    j.word("conf", word!(cap.conf));
    j.text("source_id", &cap.source_id);
    j.int("offset", cap.offset);
    j.text("path", &cap.path);
    j.text("deliverer", &cap.deliverer);
    j.int("level", cap.level.map(Verified::code).filter(|code| *code != 0));
    j.int("merged", cap.merged);
    j.texts("changes", &cap.changes);
    j.other(&cap.other);
}
