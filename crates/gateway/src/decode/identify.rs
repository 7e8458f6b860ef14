//! Who sent a request, by its connection and its head, and what the policy says to it.
//!
//! Checking a token's signature costs more than all the rest of a record, so answers are kept for a short
//! time, keyed by a digest of exactly those header values that the check asked for, and the certificate. An
//! answer that rests on the request itself (a DPoP proof, a message signature) is never kept.

use super::path::{Templates, clean};
use super::redact::{clean_text, cut_at};
use crate::config::Purpose;
use crate::ring::Decided;
use countersign_event::{
    Class, Decision, Event, IdentityFrom, Principal, PrincipalKind, Shared, Verified, Who,
};
use countersign_identity::{
    ContentDigest, FailureKind, HeaderLookup, HttpIdentity, HttpRequest, Identities, TlsIdentity,
    TokenClaims, who_of,
};
use countersign_policy::{Policy, Request};
use countersign_wire::grpc;
use countersign_wire::http1::fields::{self, Fields, Slots};
use countersign_wire::http1::target;
use countersign_wire::stream;
use ring::digest;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

/// Kept answers; when full, all are forgotten.
const KEPT_MAX: usize = 4_096;
/// How long an answer is kept, seconds; less when a credential expires earlier.
const KEPT_S: i64 = 60;
/// Names of headers that a check may ask for before nothing is kept any more.
const NAMES_MAX: usize = 16;

/// Longest stated purpose, bytes.
const PURPOSE_MAX: usize = 128;
/// Longest reason of a failure in a record, bytes.
const FAILURE_MAX: usize = 512;

/// Remembers which headers the check asks for.
struct Asked<'a> {
    fields: Fields<'a>,
    names: RefCell<Vec<String>>,
}

impl HeaderLookup for Asked<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        let mut names = self.names.borrow_mut();
        if !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
        self.fields.get(name)
    }

    fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).count()
    }

    fn values(&self, name: &str) -> Vec<&[u8]> {
        // Notes the name, too.
        let Some(_) = self.get(name) else { return Vec::new() };
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect()
    }
}

/// One request's head and the connection that it came over.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a [u8],
    pub(crate) fields: Fields<'a>,
    pub(crate) tls: Option<&'a TlsIdentity>,
    /// The connection came over TLS, with or without a certificate.
    pub(crate) secure: bool,
    pub(crate) peer: IpAddr,
}

struct Kept {
    identity: HttpIdentity,
    until_s: i64,
}

/// Answers of identity checks, kept for a short time.
#[derive(Default)]
pub(crate) struct Checks {
    /// Headers that any check asked for so far; an answer depends on no other.
    names: Vec<String>,
    kept: HashMap<[u8; 32], Kept>,
}

impl Checks {
    /// Who the request proves. `now_s` is Unix time. To be asked once for each request: proofs count once.
    pub(crate) fn http(&mut self, identities: &Identities, head: Head<'_>, now_s: i64) -> HttpIdentity {
        let (fields, tls) = (head.fields, head.tls);
        let none = !self.names.is_empty() && self.names.iter().all(|n| fields.get(n).is_none());
        if none {
            return HttpIdentity::default();
        }
        let key = (!self.names.is_empty()).then(|| self.key(fields, tls));
        if let Some(kept) = key.and_then(|k| self.kept.get(&k))
            && now_s < kept.until_s
        {
            return kept.identity.clone();
        }
        let asked = Asked { fields, names: RefCell::default() };
        let identity = check(identities, &asked, head, now_s);
        self.note(asked.names.into_inner());
        if self.names.len() <= NAMES_MAX && !identity.single_use {
            if self.kept.len() >= KEPT_MAX {
                self.kept.clear();
            }
            let expiry = identity.principals.iter().filter_map(|p| p.cred_exp).min();
            let until_s = expiry.unwrap_or(i64::MAX).min(now_s + KEPT_S);
            let key = self.key(fields, tls);
            self.kept.insert(key, Kept { identity: identity.clone(), until_s });
        }
        identity
    }

    fn note(&mut self, names: Vec<String>) {
        for name in names {
            if !self.names.contains(&name) {
                // A key made of fewer names could hide a difference in this one.
                self.kept.clear();
                self.names.push(name);
            }
        }
    }

    fn key(&self, fields: Fields<'_>, tls: Option<&TlsIdentity>) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&tls.and_then(|t| t.cert_sha256).unwrap_or([0; 32]));
        for name in &self.names {
            for (_, value) in fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)) {
                context.update(&(value.len() as u64 + 1).to_be_bytes());
                context.update(value);
            }
            context.update(&0_u64.to_be_bytes());
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        key
    }
}

/// Asks about the request as its client meant it.
fn check(identities: &Identities, asked: &Asked<'_>, head: Head<'_>, now_s: i64) -> HttpIdentity {
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let field = |name| asked.fields.get(name);
    let host = target::authority(head.target).or_else(|| field(":authority")).or_else(|| field("host"));
    let host = host.unwrap_or_default();
    let (path, query) = target::path_and_query(head.target);
    let mut path_and_query = text(path).to_owned();
    if let Some(query) = query {
        path_and_query.push('?');
        path_and_query.push_str(text(query));
    }
    let request = HttpRequest {
        method: head.method,
        scheme: if head.secure { "https" } else { "http" },
        authority: text(host),
        path_and_query: &path_and_query,
        target: Some(text(head.target)),
        headers: asked,
        peer: Some(head.peer),
        body: None,
    };
    identities.from_request(&request, head.tls, now_s)
}

/// A credential that did not pass, for the record.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) reason: String,
    pub(crate) kind: FailureKind,
}

/// Everything seen on one interaction, sorted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) who: Shared<Who>,
    pub(crate) failures: Vec<Failed>,
    /// What a good token says besides.
    pub(crate) claims: Option<TokenClaims>,
    /// Signed digest of the body, which is still to come.
    pub(crate) content: Option<ContentDigest>,
}

/// The part of it that a connection keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    pub(crate) who: Shared<Who>,
    pub(crate) failures: Vec<Failed>,
}

impl From<Found> for Base {
    fn from(found: Found) -> Base {
        Base { who: found.who, failures: found.failures }
    }
}

/// Sorts what was seen on one interaction.
pub(crate) fn who(address: Principal, tls: Option<&TlsIdentity>, http: HttpIdentity) -> Found {
    let of_tls = tls.into_iter().flat_map(|t| &t.failures);
    let failures = of_tls.chain(&http.failures).map(|f| Failed { reason: f.reason.clone(), kind: f.kind });
    let failures = failures.collect();
    let (claims, content) = (http.claims.clone(), http.content);
    let mut found = http.into_found();
    found.extend(tls.map(TlsIdentity::found).unwrap_or_default());
    found.push(address);
    Found { who: who_of(found).into(), failures, claims, content }
}

/// Puts credentials that did not pass into a record: a label a kind, and the first reason unless the record has an
/// error already. A reason holds nothing of the credential.
pub(crate) fn tell_failures(event: &mut Event, failures: &[Failed]) {
    for failed in failures {
        label(event, failed.kind.label());
    }
    if let Some(first) = failures.first().filter(|_| event.content.err.is_empty()) {
        event.content.err = format!("identity: {}", first.reason);
        cut_at(&mut event.content.err, FAILURE_MAX);
    }
}

/// Adds a label once.
pub(crate) fn label(event: &mut Event, label: &str) {
    if !event.core.labels.iter().any(|l| l == label) {
        event.core.labels.push(label.to_owned());
    }
}

/// As [`decide_h2`], for a request of HTTP/1.
pub(crate) fn decide(caller: &Caller<'_>, head: &[u8], policy: &dyn Policy) -> Decided {
    let mut slots = Slots::default();
    let parsed = fields::request(head, &mut slots);
    let (method, target) = parsed.map_or(("", &b""[..]), |r| (r.method, r.target));
    let found = match parsed {
        Some(request) => caller.found(request.method, request.target, request.fields),
        None => who(caller.identities.address(caller.peer), caller.tls, HttpIdentity::default()),
    };
    let (resource, _) = Templates::default().of(0, &clean(target::path_and_query(target).0).raw);
    let ask = Request {
        protocol: "http/1.1",
        operation: method,
        resource: &resource,
        class: class_of(method),
        ..Request::default()
    };
    caller.decided(found, parsed.map(|r| r.fields), ask, policy)
}

/// What of an HTTP/2 head decides and names.
pub(crate) struct H2Head<'a> {
    pub(crate) method: &'a str,
    /// `:path`; of CONNECT the authority.
    pub(crate) path: &'a [u8],
    pub(crate) grpc: bool,
}

impl<'a> H2Head<'a> {
    /// `grpc`: whether calls of gRPC are read as such.
    pub(crate) fn read(fields: Fields<'a>, grpc: bool) -> H2Head<'a> {
        let method = fields.get(":method").and_then(|m| std::str::from_utf8(m).ok()).unwrap_or_default();
        let path = fields.get(":path").or_else(|| fields.get(":authority")).unwrap_or_default();
        let grpc = grpc && method == "POST" && fields.get("content-type").is_some_and(grpc::is_grpc);
        H2Head { method, path, grpc }
    }

    /// For policies and records.
    pub(crate) fn protocol(&self) -> &'static str {
        if self.grpc { "grpc" } else { "http/2" }
    }

    /// Service and method, when this is a call of gRPC.
    pub(crate) fn rpc(&self) -> Option<(&'a str, &'a str)> {
        if self.grpc { grpc::path(self.path) } else { None }
    }
}

/// Identity and decision in line, for a stream of HTTP/2. Nothing is kept here: a verdict must not outlive what it
/// rests on.
pub(crate) fn decide_h2(
    caller: &Caller<'_>,
    (fields, grpc): (Fields<'_>, bool),
    policy: &dyn Policy,
) -> Decided {
    let head = H2Head::read(fields, grpc);
    let found = caller.found(head.method, head.path, fields);
    let raw = clean(target::path_and_query(head.path).0).raw;
    let resource = if head.rpc().is_some() { raw } else { Templates::default().of(0, &raw).0 };
    let ask = Request {
        protocol: head.protocol(),
        operation: head.rpc().map_or(head.method, |(_, method)| method),
        resource: &resource,
        class: if head.grpc { Some(Class::Execute) } else { class_of(head.method) },
        ..Request::default()
    };
    caller.decided(found, Some(fields), ask, policy)
}

/// Unix time of a time in ns.
pub(crate) fn seconds(time_ns: u64) -> i64 {
    i64::try_from(time_ns / 1_000_000_000).unwrap_or(i64::MAX)
}

/// Who calls over a connection, for a verdict.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) identities: &'a Identities,
    pub(crate) tls: Option<&'a TlsIdentity>,
    /// The connection came over TLS, with or without a certificate.
    pub(crate) secure: bool,
    pub(crate) peer: IpAddr,
    pub(crate) service: &'a str,
    pub(crate) route: &'a str,
    pub(crate) purpose: &'a Purpose,
    pub(crate) time_ns: u64,
    /// What it proved in its login to the gateway.
    pub(crate) proved: Option<&'a HttpIdentity>,
}

impl Caller<'_> {
    /// Who a request proves.
    pub(crate) fn found(&self, method: &str, target: &[u8], fields: Fields<'_>) -> Found {
        let head = Head { method, target, fields, tls: self.tls, secure: self.secure, peer: self.peer };
        let http = Checks::default().http(self.identities, head, seconds(self.time_ns));
        who(self.identities.address(self.peer), self.tls, http)
    }

    fn decided(
        &self,
        found: Found,
        fields: Option<Fields<'_>>,
        ask: Request<'_>,
        policy: &dyn Policy,
    ) -> Decided {
        let purpose = purpose_of(self.purpose, fields, found.claims.as_ref());
        let decision = self.decision(&found.who, &purpose, ask, policy);
        Decided { who: found.who, decision, failures: found.failures, content: found.content }
    }

    /// What the policy says to `ask`, of which the caller's side is filled in here and nowhere else.
    pub(crate) fn decision(
        &self,
        who: &Who,
        purpose: &str,
        ask: Request<'_>,
        policy: &dyn Policy,
    ) -> Decision {
        let mut decision = policy.decide(&Request {
            principal: who.who.as_ref(),
            on_behalf_of: &who.obo,
            service: self.service,
            time_ns: self.time_ns,
            peer: Some(self.peer),
            tls: self.secure,
            route: self.route,
            purpose,
            ..ask
        });
        purpose.clone_into(&mut decision.purpose);
        decision
    }
}

/// The decision on one operation of a stream protocol: the first denial among its resources, else the last
/// permit.
pub(crate) fn decide_call(
    caller: &Caller<'_>,
    protocol: &str,
    call: &stream::Call<'_>,
    policy: &dyn Policy,
) -> Decided {
    let mut login = login(&call.user, caller.service);
    login.principals.extend(caller.proved.iter().flat_map(|proved| proved.principals.iter().cloned()));
    let found = who(caller.identities.address(caller.peer), caller.tls, login);
    let decision = decide_as(&found.who, caller, protocol, call, policy);
    Decided { who: found.who, decision, failures: found.failures, content: None }
}

/// As [`decide_call`], of a session that already knows who calls.
pub(crate) fn decide_as(
    who: &Who,
    caller: &Caller<'_>,
    protocol: &str,
    call: &stream::Call<'_>,
    policy: &dyn Policy,
) -> Decision {
    let purpose = purpose_of(caller.purpose, None, caller.proved.and_then(|proved| proved.claims.as_ref()));
    let ask = |resource| Request {
        protocol,
        operation: &call.operation,
        resource,
        resource_type: call.resource_type,
        namespace: &call.namespace,
        class: call.class.map(event_class),
        ..Request::default()
    };
    let mut resources = call.resources.iter().map(String::as_str);
    let first = ask(resources.next().unwrap_or_default());
    let mut decision = caller.decision(who, &purpose, first, policy);
    for resource in resources {
        if countersign_policy::refuses(&decision) {
            break;
        }
        decision = caller.decision(who, &purpose, ask(resource), policy);
    }
    decision
}

/// A login that the server accepted on the wire (level 2).
pub(crate) fn login(user: &str, service: &str) -> HttpIdentity {
    let mut found = HttpIdentity::default();
    if !user.is_empty() {
        let id = format!("db:{user}@{service}");
        let (kind, from) = (Some(PrincipalKind::Service), Some(IdentityFrom::WireHandshake));
        found.principals.push(Principal { kind, from, ..Principal::new(id, Verified::Asserted) });
    }
    found
}

/// The event's name for a class of operations.
pub(crate) fn event_class(class: stream::OpClass) -> Class {
    use stream::OpClass as Op;
    match class {
        Op::Read => Class::Read,
        Op::Create => Class::Create,
        Op::Modify => Class::Modify,
        Op::Delete => Class::Delete,
        Op::Execute => Class::Execute,
        Op::Admin => Class::Admin,
        Op::Authenticate => Class::Authenticate,
        Op::Connect => Class::Connect,
        Op::Schema => Class::Schema,
        Op::Meta => Class::Meta,
    }
}

/// Why a call is made, and whose word that is: what a checked token says counts before a header, that before the
/// route's own text.
pub(crate) fn purpose_of(
    purpose: &Purpose,
    fields: Option<Fields<'_>>,
    claims: Option<&TokenClaims>,
) -> String {
    let claim = Some(&purpose.claim).filter(|name| !name.is_empty());
    if let Some((claims, value)) = claim.zip(claims).and_then(|(name, c)| Some((c, c.text(name)?))) {
        let (text, _) = clean_text(value.trim().as_bytes(), PURPOSE_MAX);
        return format!("{}: {text}", claims.verified().word());
    }
    let header = Some(&purpose.header).filter(|name| !name.is_empty());
    if let Some(value) = header.and_then(|name| fields?.get(name)) {
        let (text, _) = clean_text(value.trim_ascii(), PURPOSE_MAX);
        return format!("claimed: {text}");
    }
    match purpose.text.is_empty() {
        true => String::new(),
        false => format!("configured: {}", purpose.text),
    }
}

/// Operation class of a method; `None` = unknown.
pub(crate) fn class_of(method: &str) -> Option<Class> {
    Some(match method {
        "GET" | "HEAD" => Class::Read,
        "POST" => Class::Create,
        "PUT" | "PATCH" => Class::Modify,
        "DELETE" => Class::Delete,
        "OPTIONS" | "TRACE" => Class::Meta,
        "CONNECT" => Class::Connect,
        _ => return None,
    })
}
