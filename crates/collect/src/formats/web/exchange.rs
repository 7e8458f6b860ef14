//! Fields of one exchange, taken in any order, and the draft that they make.

use super::{Clock, Role, fields};
use crate::formats::Record;
use crate::formats::access::request_line;
use crate::text::given;
use crate::{Draft, Fault, http, time};
use countersign_event::fields::detail;
use countersign_event::{Auth, Class, Kind, LinkVia, PrincipalKind, Verified};
use std::borrow::Cow;

/// What has been read so far. A field that decides with others waits until [`Exchange::done`].
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) draft: Draft,
    realm: &'a str,
    request: Cow<'a, str>,
    method: Cow<'a, str>,
    uri: Cow<'a, str>,
    query: Cow<'a, str>,
    protocol: Cow<'a, str>,
    host: Cow<'a, str>,
    scheme: Cow<'a, str>,
    status: Option<u64>,
    grpc: Cow<'a, str>,
    flags: Cow<'a, str>,
    termination: Cow<'a, str>,
    sizes: (Option<u64>, Option<u64>),
}

impl<'a> Exchange<'a> {
    /// Of which nothing is known.
    pub(crate) fn new(record: &Record<'a>) -> Exchange<'a> {
        Exchange {
            draft: Draft::new(),
            realm: record.realm,
            request: Cow::default(),
            method: Cow::default(),
            uri: Cow::default(),
            query: Cow::default(),
            protocol: Cow::default(),
            host: Cow::default(),
            scheme: Cow::default(),
            status: None,
            grpc: Cow::default(),
            flags: Cow::default(),
            termination: Cow::default(),
            sizes: (None, None),
        }
    }

    /// Takes a field that is there. One that is not what its role says goes to `unmapped`, and the record is partial.
    pub(crate) fn take(&mut self, role: Role, name: &str, value: Cow<'a, str>) {
        if value.is_empty() {
            return;
        }
        match role {
            Role::Skip => {}
            Role::Rest => self.draft.rest(name, &value),
            Role::Request => self.request = value,
            Role::Method => self.method = value,
            Role::Uri => self.uri = value,
            Role::Query => self.query = value,
            Role::Protocol => self.protocol = value,
            Role::Host => self.host = value,
            Role::Scheme => self.scheme = value,
            Role::GrpcStatus => self.grpc = value,
            Role::Flags => self.flags = value,
            Role::Termination => self.termination = value,
            Role::Header => self.draft.header(name, value),
            Role::Error => self.draft.event.content.err = value.into_owned(),
            Role::Service => match value.split_once('|') {
                // Istio: `outbound|8000|subset|service`, and `inbound|8000||` for the proxy's own workload.
                Some(_) => {
                    self.draft.event.target.svc = value.rsplit('|').next().unwrap_or_default().to_owned();
                    self.draft.rest(name, &value);
                }
                None => self.draft.event.target.svc = value.into_owned(),
            },
            Role::RequestId => self.draft.event.links.corr = value.into_owned(),
            Role::Transport => self.draft.transport(&value),
            Role::User | Role::UserChecked | Role::Peer | Role::LocalPeer | Role::PeerSubject => {
                self.identity(role, &value);
            }
            Role::Time(clock) => self.draft.time(read_time(clock, &value)),
            Role::Client
            | Role::Local
            | Role::Upstream
            | Role::ClientPort
            | Role::LocalPort
            | Role::Forwarded => {
                self.address(role, name, &value);
            }
            _ if self.measure(role, &value) => {}
            _ => {
                self.draft.rest(name, &value);
                self.draft.partial("a field is not what its format says");
            }
        }
    }

    /// Numbers and ids; `false` if it is none.
    fn measure(&mut self, role: Role, value: &str) -> bool {
        let event = &mut self.draft.event;
        let number = || value.parse::<u64>().ok();
        match role {
            // -1 = there was none.
            Role::Status => {
                self.status = number();
                self.status.is_some() || value == "-1"
            }
            Role::Received => fields::set(&mut self.sizes.0, number()),
            Role::Sent => fields::set(&mut self.sizes.1, number()),
            Role::Retries => fields::set(&mut event.peer.retries, value.trim_start_matches('+').parse().ok()),
            // -1 = it did not come that far.
            Role::Took(unit) => {
                value.starts_with('-') || fields::set(&mut event.core.dur, fields::length(value, unit))
            }
            Role::TookUpstream(unit) => {
                let last = value.rsplit([',', ' ']).find_map(given).unwrap_or_default();
                let length = fields::length(last, unit);
                event.core.lat = length.map(|upstream| [0, upstream, upstream]);
                length.is_some() || last.is_empty() || last.starts_with('-')
            }
            Role::TlsVersion => fields::set(&mut fields::tls(event).version, fields::tls_version(value)),
            Role::Cipher => fields::set(&mut fields::tls(event).cipher, fields::cipher(value)),
            Role::Resumed => fields::set(&mut fields::tls(event).resumed, fields::yes(value)),
            Role::Sni => {
                value.clone_into(&mut fields::tls(event).sni);
                true
            }
            Role::PeerDigest => {
                let digest = fields::hex::<32>(value);
                digest.is_some() && fields::set(&mut fields::tls(event).peer_cert, digest)
            }
            Role::Trace => fields::trace(&mut event.links, value),
            Role::Span => {
                event.links.via.get_or_insert(LinkVia::VendorHeader);
                fields::set(&mut event.links.span, fields::hex(value).filter(|id| *id != [0; 8]))
            }
            _ => false,
        }
    }

    fn address(&mut self, role: Role, name: &str, value: &str) {
        let peer = &mut *self.draft.event.peer;
        let value = value.trim();
        match role {
            Role::Client => fields::place(peer.src.get_or_insert_default(), value),
            Role::Local => fields::place(peer.dst.get_or_insert_default(), value),
            Role::Upstream => {
                // The last one tried is the one that answered.
                let last = value.rsplit([',', ' ']).find_map(given).unwrap_or_default();
                if !last.is_empty() {
                    fields::place(
                        peer.up.get_or_insert_default(),
                        last.split_once("://").map_or(last, |(_, a)| a),
                    );
                }
                if last.len() < value.len() && value.contains(',') {
                    self.draft.rest(name, value);
                }
            }
            Role::ClientPort => peer.src.get_or_insert_default().port = value.parse().ok(),
            Role::LocalPort => peer.dst.get_or_insert_default().port = value.parse().ok(),
            Role::Forwarded => {
                for hop in value.split(',').filter_map(|hop| given(hop.trim())) {
                    self.draft.hop(hop, Verified::Claimed);
                }
            }
            _ => {}
        }
    }

    fn identity(&mut self, role: Role, value: &str) {
        match role {
            Role::User => drop(self.draft.user(self.realm, value, Some(Auth::Basic), Verified::Claimed)),
            Role::UserChecked => drop(self.draft.user(self.realm, value, None, Verified::Asserted)),
            Role::LocalPeer => {
                fields::workload(value, |id| self.draft.event.target.id = id);
                self.draft.rest("local_principal", value);
            }
            // A certificate may name several; the first is the one that policies see.
            _ => {
                let first = value.split(',').next().unwrap_or_default();
                let spiffe = first.strip_prefix("spiffe://");
                let id = fields::principal(first, role == Role::PeerSubject);
                let kind = if spiffe.is_some() { PrincipalKind::Workload } else { PrincipalKind::Service };
                // The URI of the certificate says more than its subject.
                if role == Role::PeerSubject && self.draft.event.who.who.is_some() {
                    return self.draft.rest("peer_subject", value);
                }
                let who = self.draft.who(id, kind, Verified::Asserted);
                who.auth = Some(if spiffe.is_some() { Auth::SpiffeSvid } else { Auth::Mtls });
                who.iss = spiffe.and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
            }
        }
    }

    /// The draft.
    ///
    /// # Errors
    /// It is neither a request nor a connection.
    pub(crate) fn done(mut self) -> Result<Draft, Fault> {
        let (received, sent) = self.sizes;
        if !self.request.is_empty() {
            request_line(&mut self.draft, &self.request);
        } else if !self.method.is_empty() {
            self.whole_request();
        } else if self.status.is_some_and(|status| status > 0) || !self.uri.is_empty() {
            self.draft.event.core.kind = Some(Kind::Http);
            http::target(&mut self.draft, &self.uri);
            self.draft.partial("the record names no method");
        } else if self.draft.event.peer.src.is_some() || self.draft.event.peer.dst.is_some() {
            return Ok(self.connection());
        } else {
            return Err(Fault::new(0, "neither a request nor a connection"));
        }
        self.draft.sizes(received, sent);
        http::host(&mut self.draft, &self.host);
        if !self.scheme.is_empty() {
            fields::detail_text(&mut self.draft, detail::http::SCHEME, &self.scheme.to_ascii_lowercase());
        }
        if let Some(status) = self.status {
            http::status(&mut self.draft, status);
        }
        self.ending();
        if !self.grpc.is_empty() && !fields::grpc(&mut self.draft, &self.grpc) {
            self.draft.rest("grpc_status", &self.grpc);
            self.draft.partial("a field is not what its format says");
        }
        let core = &self.draft.event.core;
        if core.t_event.is_none() {
            self.draft.partial("the record has no time");
        } else if core.status.is_none() && core.outcome.is_none() && self.status.is_none() {
            self.draft.partial("the record does not say how it ended");
        }
        Ok(self.draft)
    }

    fn whole_request(&mut self) {
        let query = self.query.trim_start_matches('?');
        let uri = match query {
            "" => std::mem::take(&mut self.uri),
            query if self.uri.contains('?') => {
                debug_assert!(!query.is_empty());
                std::mem::take(&mut self.uri)
            }
            query => Cow::Owned(format!("{}?{query}", self.uri)),
        };
        http::request(&mut self.draft, &self.method, &uri, &self.protocol);
    }

    /// What Envoy and HAProxy say about the end, where the status says nothing.
    fn ending(&mut self) {
        for (name, text) in [("response_flags", &self.flags), ("termination_state", &self.termination)] {
            if given(text).is_some_and(|text| !text.starts_with("--")) {
                self.draft.rest(name, text);
            }
        }
        if self.draft.event.core.outcome.is_none() {
            self.draft.event.core.outcome =
                fields::flags_outcome(&self.flags).or_else(|| fields::termination_outcome(&self.termination));
        }
    }

    /// A connection that carried no request that the proxy understood.
    fn connection(mut self) -> Draft {
        let core = &mut self.draft.event.core;
        (core.kind, core.class) = (Some(Kind::L4), Some(Class::Connect));
        core.op = "connect".to_owned();
        let (up, down) = self.sizes;
        for (key, size) in [(detail::l4::UP, up), (detail::l4::DOWN, down)] {
            if let Some(size) = size {
                let value = countersign_event::cbor::Value::Uint(size);
                self.draft.event.content.detail.insert(key, value);
            }
        }
        if !self.protocol.is_empty() {
            self.draft.rest("protocol", &self.protocol);
        }
        self.ending();
        http::host(&mut self.draft, &self.host);
        let ended = given(&self.flags).is_some() || !self.termination.is_empty();
        if !ended && self.draft.event.core.outcome.is_none() && self.draft.event.content.err.is_empty() {
            self.draft.event.core.outcome = self.status.map(|_| countersign_event::Outcome::Success);
        }
        if self.draft.event.core.t_event.is_none() {
            self.draft.partial("the record has no time");
        }
        self.draft
    }
}

fn read_time(clock: Clock, value: &str) -> Option<time::Stamp> {
    match clock {
        Clock::Clf => time::clf(value.trim_matches(['[', ']'])),
        Clock::Iso => time::rfc3339(value),
        Clock::Unix(1_000_000_000) => time::unix_seconds(value),
        Clock::Unix(unit) => time::unix(value.parse().ok()?, unit),
        Clock::Any => time::rfc3339(value)
            .or_else(|| time::clf(value.trim_matches(['[', ']'])))
            .or_else(|| time::unix_seconds(value)),
    }
}
