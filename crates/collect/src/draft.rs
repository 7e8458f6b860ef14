//! What a parser makes of one record, before anything is believed, cleaned or bounded.
//!
//! Parsers write fields of [`Event`] at the level that the field deserves inside a trusted input; [`crate::seal()`]
//! lowers what the input does not carry. A parser never sets agent, stream, seq, `t_obs` or `eid`.

use crate::joins::Join;
use crate::time::Stamp;
use countersign_event::fields::bound;
use countersign_event::{
    Auth, CaptureConf, Endpoint, Event, IdentityFrom, Outcome, Payload, Principal, PrincipalKind, Rec,
    Transport, Unmapped, Verified,
};
use std::net::{IpAddr, SocketAddr};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// What will become the event.
    pub event: Event,
    /// Why some of the record was not understood; `None` = all of it was.
    pub partial: Option<&'static str>,
    /// The record's own id, if it has one: what repeats are known by.
    pub source_id: String,
    /// Source records joined in this draft beyond the first.
    pub merged: u64,
    /// For an envelope: the format of what it carried; empty = none known.
    pub inner: &'static str,
    /// The record is one part of several; [`crate::joins`].
    pub join: Option<Join>,
    /// What was found and is more than an event may hold.
    pub over: Over,
    /// The record holds a secret at a place that only its format knows: its bytes are never kept, only digested.
    pub private: bool,
}

/// What a parser found beyond what an event may hold: counted at once and not kept until the event is sealed, so that
/// a record cannot make its draft many times larger than itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Over {
    /// Hops of a forwarded chain.
    pub hops: usize,
    /// Bytes of names and values for `unmapped`.
    pub unmapped: usize,
    /// Bytes of those that are kept until then.
    kept: usize,
}

/// Bytes for `unmapped` that wait for the event to be sealed, which keeps the first half of them by name.
const WAITING_MAX: usize = 2 * bound::UNMAPPED_BYTES;

impl Draft {
    /// An interaction of which nothing is known yet.
    pub fn new() -> Draft {
        let mut draft = Draft::default();
        draft.event.core.rec = Some(Rec::Interaction);
        draft
    }

    /// Some of the record was not understood; the first reason stays.
    pub fn partial(&mut self, why: &'static str) {
        self.partial.get_or_insert(why);
    }

    /// How much was understood.
    pub fn conf(&self) -> CaptureConf {
        if self.partial.is_some() { CaptureConf::Partial } else { CaptureConf::Full }
    }

    /// When it began. A time that could not be read makes the record partial.
    pub fn time(&mut self, stamp: Option<Stamp>) {
        match stamp {
            Some(Stamp { ns, basis }) => {
                self.event.core.t_event = Some(ns);
                self.event.core.t_basis = Some(basis);
            }
            None => self.partial("a time could not be read"),
        }
    }

    /// The caller's address; `false` if `text` is none (see [`endpoint`]).
    pub fn src(&mut self, text: &str) -> bool {
        let found = endpoint(text);
        let is = found.is_some();
        if is {
            self.event.peer.src = found;
        }
        is
    }

    /// The address called.
    pub fn dst(&mut self, text: &str) -> bool {
        let found = endpoint(text);
        let is = found.is_some();
        if is {
            self.event.peer.dst = found;
        }
        is
    }

    /// The upstream chosen.
    pub fn up(&mut self, text: &str) -> bool {
        let found = endpoint(text);
        let is = found.is_some();
        if is {
            self.event.peer.up = found;
        }
        is
    }

    /// The transport, as logs spell it.
    pub fn transport(&mut self, name: &str) {
        self.event.peer.transport = match name.to_ascii_lowercase().as_str() {
            "tcp" | "ip_tcp" | "6" => Some(Transport::Tcp),
            "udp" | "ip_udp" | "17" => Some(Transport::Udp),
            "quic" => Some(Transport::Quic),
            "unix" => Some(Transport::Unix),
            _ => None,
        };
    }

    /// The actor: `id` canonical (`user:realm/name`, `arn:…`), `level` what the field deserves in a trusted input.
    pub fn who(&mut self, id: impl Into<String>, kind: PrincipalKind, level: Verified) -> &mut Principal {
        let mut who = Principal::new(id, level);
        who.kind = Some(kind);
        who.from = Some(IdentityFrom::RecordField);
        self.event.who.who.insert(who)
    }

    /// The actor as a user's name in `realm`, how it was shown, and its level.
    pub fn user(&mut self, realm: &str, name: &str, auth: Option<Auth>, level: Verified) -> &mut Principal {
        let who = self.who(format!("user:{realm}/{name}"), PrincipalKind::User, level);
        name.clone_into(&mut who.name);
        who.auth = auth;
        who
    }

    /// One hop of a forwarded chain, client first.
    pub fn hop(&mut self, address: &str, level: Verified) {
        let hops = &mut self.event.peer.hops;
        match hops.len() {
            ..bound::HOPS => hops.push((address.to_owned(), level)),
            _ => self.over.hops += 1,
        }
    }

    /// A header worth keeping; the name in lower case. Empty values are none.
    pub fn header(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.event.content.headers.push((name.to_owned(), value));
        }
    }

    /// Bytes of the request's and of the answer's payload.
    pub fn sizes(&mut self, request: Option<u64>, answer: Option<u64>) {
        let payload = |size| Payload { size: Some(size), ..Payload::default() };
        if let Some(size) = request {
            self.event.body.req = Some(payload(size));
        }
        if let Some(size) = answer {
            self.event.body.rsp = Some(payload(size));
        }
    }

    /// How it ended.
    pub fn outcome(&mut self, outcome: Outcome) {
        self.event.core.outcome = Some(outcome);
    }

    /// A field whose value must not be kept, by whatever rule: counted, and the record's bytes are not kept either.
    pub fn secret(&mut self, rule: &str) {
        self.private = true;
        match self.event.content.redacted.iter_mut().find(|(known, _)| known == rule) {
            Some((_, hits)) => *hits += 1,
            None => self.event.content.redacted.push((rule.to_owned(), 1)),
        }
    }

    /// A source field that no rule took, as the JSON token that the source wrote.
    pub fn token(&mut self, pointer: impl AsRef<str> + Into<String>, token: impl AsRef<str> + Into<String>) {
        if self.fits(pointer.as_ref().len() + token.as_ref().len()) {
            self.event.content.unmapped.insert(pointer.into(), Unmapped::Token(token.into()));
        }
    }

    /// The same of a text: the token is the text as a JSON string.
    pub fn said(&mut self, pointer: impl AsRef<str> + Into<String>, text: impl AsRef<str>) {
        let text = text.as_ref();
        if self.fits(pointer.as_ref().len() + json_length(text)) {
            self.event.content.unmapped.insert(pointer.into(), Unmapped::Token(json_text(text)));
        }
    }

    /// The same of bytes.
    pub fn bytes(&mut self, pointer: impl AsRef<str> + Into<String>, bytes: &[u8]) {
        if self.fits(pointer.as_ref().len() + bytes.len()) {
            self.event.content.unmapped.insert(pointer.into(), Unmapped::Bytes(bytes.to_vec()));
        }
    }

    /// As [`Draft::said`], of a source field with a plain name.
    pub fn rest(&mut self, name: &str, text: &str) {
        if self.fits(1 + name.len() + json_length(text)) {
            let mut pointer = String::with_capacity(name.len() + 1);
            pointer.push('/');
            crate::json::pointer_part(name, &mut pointer);
            self.event.content.unmapped.insert(pointer, Unmapped::Token(json_text(text)));
        }
    }

    /// Whether an entry of `unmapped` of so many bytes may still wait; one that may not is counted.
    fn fits(&mut self, bytes: usize) -> bool {
        let fits = bytes <= bound::UNMAPPED_BYTES && self.over.kept + bytes <= WAITING_MAX;
        *if fits { &mut self.over.kept } else { &mut self.over.unmapped } += bytes;
        fits
    }
}

/// `text` as a JSON string.
pub(crate) fn json_text(text: &str) -> String {
    use std::fmt::Write as _;
    let length = json_length(text);
    let mut out = String::with_capacity(length);
    out.push('"');
    // Most texts have nothing to escape.
    if length == text.len() + 2 {
        out.push_str(text);
        out.push('"');
        return out;
    }
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing to a String cannot fail.
            c if c < ' ' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Length of `text` as a JSON string, bytes.
fn json_length(text: &str) -> usize {
    let more = |b: u8| match b {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 1,
        b if b < b' ' => 5,
        _ => 0,
    };
    text.len() + 2 + text.bytes().map(more).sum::<usize>()
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`; an IPv4-mapped address becomes IPv4. `None` for
/// anything else, a host name included.
pub(crate) fn endpoint(text: &str) -> Option<Endpoint> {
    if let Some(ip) = ip(text) {
        return Some(Endpoint { ip: Some(ip), ..Endpoint::default() });
    }
    let address: SocketAddr = text.parse().ok()?;
    Some(Endpoint {
        ip: Some(address.ip().to_canonical()),
        port: Some(address.port()),
        ..Endpoint::default()
    })
}

/// An address, in brackets or not, with an interface (`%eth0`) or not.
pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let inner = inner.split_once('%').map_or(inner, |(address, _)| address);
    inner.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted_and_not_kept() {
        let mut draft = Draft::new();
        draft.rest("a", &"\0".repeat(bound::UNMAPPED_BYTES / 4));
        (0..bound::HOPS + 3).for_each(|_| draft.hop("192.0.2.1", Verified::Claimed));
        assert!(draft.event.content.unmapped.is_empty());
        assert!(draft.over.unmapped > bound::UNMAPPED_BYTES, "{:?}", draft.over);
        assert_eq!((draft.event.peer.hops.len(), draft.over.hops), (bound::HOPS, 3));
        let part = "x".repeat(bound::UNMAPPED_BYTES / 2);
        (0..9).for_each(|n| draft.rest(&n.to_string(), &part));
        assert_eq!(draft.event.content.unmapped.len(), 3);
    }

    #[test]
    fn texts_become_json_strings_of_the_length_foretold() {
        for text in ["", "a", "\"\\\n\r\t\0\u{1f}\u{7f}\u{e9}"] {
            let spelled = json_text(text);
            assert_eq!(spelled.len(), json_length(text));
            assert_eq!(serde_json::from_str::<String>(&spelled).unwrap(), text);
        }
    }
}
