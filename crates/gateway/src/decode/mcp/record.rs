//! From a JSON-RPC message to its event. What is not named here as kept is not kept: of arguments the keys and
//! a keyed digest, of results whether they are errors, of URIs what cannot be a secret.

use super::super::Context;
use super::super::bodies::Here;
use super::super::identify::event_class;
use super::super::path::{Templates, clean};
use super::super::redact::{REDACTED, clean_text, cut_at, looks_secret};
use countersign_event::cbor::Value;
use countersign_event::fields::detail::tool;
use countersign_event::{
    Class, Decision, Event, Kind as EventKind, LinkVia, Outcome, Rec, StatusSpace, Unmapped, Who,
};
use countersign_policy::Request;
use countersign_wire::jsonrpc::{Flags, Id, Kind, Message, Program};
use countersign_wire::mcp::{self, Mismatch};
use countersign_wire::trace;

/// Longest name of a tool, prompt or program in a record, bytes.
const NAME_MAX: usize = 256;
/// Longest resource (event schema 1).
const RES_MAX: usize = 1_024;
const RAW_MAX: usize = 4_096;
const ERR_MAX: usize = 4_096;
/// Label of a record whose headers and body disagree: a security event.
const LABEL_MISMATCH: &str = "mcp-header-mismatch";
/// Label of a record of a message that readers may read differently: a security event.
const LABEL_AMBIGUOUS: &str = "ambiguous-json";
/// Label of a message that the server sent on its own.
const LABEL_SERVER: &str = "from-server";

/// What is known of a session, or of an exchange without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Keyed digest of the session id, as shown; empty = none.
    pub(crate) session: String,
    pub(crate) revision: Option<&'static str>,
    /// Name and version, cleaned.
    pub(crate) client: (String, String),
    pub(crate) server: String,
}

impl Facts {
    /// Takes from `other` what is missing here.
    pub(crate) fn fill(&mut self, other: &Facts) {
        self.revision = self.revision.or(other.revision);
        if self.client.0.is_empty() {
            self.client = other.client.clone();
        }
        if self.server.is_empty() {
            self.server.clone_from(&other.server);
        }
    }

    /// What a request of the client tells. A revision that `initialize` proposes is not agreed on.
    pub(crate) fn learn_request(&mut self, message: &Message) {
        if message.method.as_deref() != Some("initialize") {
            let told = message.revision.as_deref().and_then(mcp::revision);
            self.revision = self.revision.or(told);
        }
        if message.client.name.is_some() {
            self.client = (text(&message.client.name), text(&message.client.version));
        }
    }

    /// What an answer of the server tells.
    pub(crate) fn learn_answer(&mut self, message: &Message) {
        let told = message.revision.as_deref().and_then(mcp::revision);
        self.revision = told.or(self.revision);
        let Program { name, version } = &message.server;
        if name.is_some() {
            let (name, version) = (text(name), text(version));
            self.server = if version.is_empty() { name } else { format!("{name}/{version}") };
        }
    }
}

fn text(value: &Option<String>) -> String {
    clean_text(value.as_deref().unwrap_or_default().as_bytes(), NAME_MAX).0
}

/// How a request was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Monotonic ns.
    pub(crate) t: u64,
    is_error: Option<bool>,
    error: bool,
    code: Option<String>,
    partial: bool,
    flags: Flags,
}

impl Answer {
    pub(crate) fn of(message: &Message, t: u64) -> Answer {
        Answer {
            t,
            is_error: message.is_error,
            error: message.error,
            code: message.error_code.clone(),
            partial: message.result_type.as_deref() == Some("input_required"),
            flags: message.flags,
        }
    }

    fn outcome(&self) -> Outcome {
        if !self.error {
            return match (self.is_error, self.partial) {
                (Some(true), _) => Outcome::ServerError,
                (_, true) => Outcome::Partial,
                _ => Outcome::Success,
            };
        }
        match self.code.as_deref().and_then(|c| c.parse::<i64>().ok()) {
            Some(c) if c == i64::from(mcp::DENIED) => Outcome::Denied,
            // Parse error, invalid request, unknown method, wrong parameters; unknown resource; what
            // revision 2026-07-28 says of headers, capabilities and versions.
            Some(-32_700 | -32_602..=-32_600 | -32_002 | -32_022..=-32_020 | -32_042) => Outcome::CallerError,
            Some(-32_001) => Outcome::Timeout,
            Some(-32_800) => Outcome::Cancelled,
            _ => Outcome::ServerError,
        }
    }
}

/// A message and what belongs to it.
pub(crate) struct Said<'a> {
    pub(crate) message: &'a Message,
    /// Keyed digest of its arguments.
    pub(crate) digest: Option<[u8; 32]>,
    pub(crate) answer: Option<&'a Answer>,
}

/// The record of a message on what `base` says of its carrier.
pub(crate) fn build(base: &Event, facts: &Facts, said: &Said<'_>) -> Event {
    let mut event = base.clone();
    let message = said.message;
    event.core.kind = Some(EventKind::Tool);
    event.core.proto = facts.revision.map_or("mcp".to_owned(), |r| format!("mcp/{r}"));
    event.content.detail.clear();
    set_method(&mut event, message);
    set_target(&mut event, message);
    set_detail(&mut event, facts, said);
    set_links(&mut event, facts, message);
    if message.flags.ambiguous() {
        label(&mut event, LABEL_AMBIGUOUS);
    }
    let names: Vec<&str> = message.flags.names().collect();
    if !names.is_empty() {
        note(&mut event, &format!("message: {}", names.join(", ")));
    }
    event
}

fn set_method(event: &mut Event, message: &Message) {
    let Some(method) = message.method.as_deref() else {
        let answers = message.kind() == Kind::Response;
        event.core.op = if answers { "response" } else { "other" }.to_owned();
        event.core.class = Some(Class::Meta);
        return;
    };
    match mcp::method(method) {
        Some(known) => {
            event.core.op = known.name.to_owned();
            event.core.class = Some(event_class(known.class));
        }
        None => {
            // `core` must never need erasing, and this text is the caller's.
            event.core.op = "other".to_owned();
            event.core.class = None;
            let (text, hits) = clean_text(method.as_bytes(), NAME_MAX);
            event.content.unmapped.insert("/method".to_owned(), Unmapped::Bytes(text.into_bytes()));
            redacted(event, "mcp-method", hits);
        }
    }
}

fn set_target(event: &mut Event, message: &Message) {
    let Some((rtype, name)) = mcp::target(message) else { return };
    event.target.rtype = rtype.to_owned();
    event.target.id = String::new();
    if rtype == "resource" {
        let uri = clean_uri(name);
        redacted(event, "mcp-uri", uri.hits);
        event.target.res = uri.template;
        event.target.raw = uri.raw;
        return;
    }
    let (name, hits) = clean_text(name.as_bytes(), NAME_MAX);
    redacted(event, "mcp-name", hits);
    event.target.res.clone_from(&name);
    event.content.detail.insert(tool::NAME, Value::Text(name));
}

fn set_detail(event: &mut Event, facts: &Facts, said: &Said<'_>) {
    if !facts.server.is_empty() {
        event.content.detail.insert(tool::SERVER, Value::Text(facts.server.clone()));
    }
    for (pointer, value) in [("/clientInfo/name", &facts.client.0), ("/clientInfo/version", &facts.client.1)]
    {
        if !value.is_empty() {
            let token = Unmapped::Bytes(value.clone().into_bytes());
            event.content.unmapped.insert(pointer.to_owned(), token);
        }
    }
    let mut hits = 0;
    let keys = said.message.argument_keys.iter().map(|key| {
        let (key, found) = clean_text(key.as_bytes(), NAME_MAX);
        hits += found;
        Value::Text(key)
    });
    let keys: Vec<Value> = keys.collect();
    redacted(event, "mcp-argument-key", hits);
    if !keys.is_empty() {
        event.content.detail.insert(tool::ARGUMENT_KEYS, Value::Array(keys));
    }
    if let Some(digest) = said.digest {
        event.content.detail.insert(tool::ARGUMENT_DIGEST, Value::Bytes(digest.to_vec()));
        // The values themselves are never kept; the digest stands for them.
        redacted(event, "mcp-argument", 1);
    }
    if let Some(is_error) = said.answer.and_then(|a| a.is_error) {
        event.content.detail.insert(tool::IS_ERROR, Value::Bool(is_error));
    }
}

fn set_links(event: &mut Event, facts: &Facts, message: &Message) {
    event.links.sess.clone_from(&facts.session);
    if let Some(id) = message.id.as_ref().or(message.about.as_ref()) {
        event.links.msg = shown(id);
    }
    let found = message.traceparent.as_deref().and_then(|t| trace::traceparent(t.as_bytes()));
    if let Some(found) = found
        && event.links.trace.is_none()
    {
        event.links.trace = Some(found.trace);
        event.links.span = found.span;
        event.links.tflags = found.flags.map(u64::from);
        event.links.via = Some(LinkVia::Meta);
    }
}

/// An id as a record shows it: a text that looks like a secret is none that may be shown.
fn shown(id: &Id) -> String {
    let mut out = match id {
        Id::Text(text) if looks_secret(text) => REDACTED.to_owned(),
        other => other.to_string(),
    };
    cut_at(&mut out, NAME_MAX);
    out
}

/// Sets the outcome of a request from its answer; `None` = none came on its exchange.
pub(crate) fn outcome(event: &mut Event, answer: Option<&Answer>) {
    let Some(answer) = answer else {
        let accepted = matches!(&event.core.status, Some((StatusSpace::Http, s)) if s == "202");
        let fine = event.core.outcome == Some(Outcome::Success);
        if accepted && fine && event.core.rec == Some(Rec::Interaction) {
            // The answer comes on the session's stream and is a record there.
            event.core.rec = Some(Rec::Intent);
        }
        if fine {
            event.core.outcome = None;
            if !accepted {
                note(event, "the response ended without an answer to this request");
            }
        }
        return;
    };
    event.core.outcome = Some(answer.outcome());
    if answer.error {
        let code = answer.code.clone().unwrap_or_else(|| "0".to_owned());
        event.core.status = Some((StatusSpace::Jsonrpc, code));
    }
    if answer.flags.ambiguous() {
        label(event, LABEL_AMBIGUOUS);
        let names: Vec<&str> = answer.flags.names().collect();
        note(event, &format!("answer: {}", names.join(", ")));
    }
}

/// Makes `event` that of a message which the server sent on its own: the actor is the server.
pub(crate) fn from_server(event: &mut Event, who: Who, request: bool) {
    event.who = who.into();
    event.core.decision = None;
    event.core.status = None;
    event.core.outcome = (!request).then_some(Outcome::Success);
    event.core.lat = None;
    event.core.dur = None;
    event.body.req = None;
    event.body.rsp = None;
    label(event, LABEL_SERVER);
}

/// As [`from_server`], within an exchange.
pub(super) fn of_server(event: &mut Event, here: &Here<'_>, request: bool) {
    let address = here.event.peer.up.as_ref().and_then(|up| up.ip);
    let who = Who { who: address.map(|ip| here.context.identities.address(ip)), ..Who::default() };
    from_server(event, who, request);
    event.core.t_event = i64::try_from(here.context.wall(here.t)).ok();
    event.core.t_obs = here.context.wall(here.t);
}

/// Headers and body disagree.
pub(super) fn mismatch(event: &mut Event, mismatch: Mismatch) {
    event.content.detail.insert(tool::MISMATCH, Value::Bool(true));
    label(event, LABEL_MISMATCH);
    note(event, mismatch.name());
}

/// What the policy says to one message.
pub(super) fn decide(event: &Event, message: &Message, context: &Context) -> Decision {
    let purpose = event.core.decision.as_ref().map_or("", |d| d.purpose.as_str());
    let request = Request {
        protocol: "mcp",
        operation: message.method.as_deref().unwrap_or_default(),
        service: &event.target.svc,
        resource: &event.target.res,
        resource_type: &event.target.rtype,
        class: event.core.class,
        principal: event.who.who.as_ref(),
        on_behalf_of: &event.who.obo,
        time_ns: u64::try_from(event.core.t_event.unwrap_or_default()).unwrap_or_default(),
        peer: event.peer.src.as_ref().and_then(|src| src.ip),
        tls: event.peer.tls.is_some(),
        route: &event.core.route,
        purpose,
        ..Request::default()
    };
    let mut decision = context.policy.decide(&request);
    decision.purpose = purpose.to_owned();
    decision
}

/// Type and name of what a message is about, as policies and records see it.
pub(crate) fn resource(message: &Message) -> (&'static str, String) {
    match mcp::target(message) {
        None => ("", String::new()),
        Some(("resource", uri)) => ("resource", clean_uri(uri).template),
        Some((rtype, name)) => (rtype, clean_text(name.as_bytes(), NAME_MAX).0),
    }
}

/// Adds to the error text.
pub(crate) fn note(event: &mut Event, what: &str) {
    if !event.content.err.is_empty() {
        event.content.err.push_str("; ");
    }
    event.content.err.push_str(what);
    cut_at(&mut event.content.err, ERR_MAX);
}

fn label(event: &mut Event, name: &str) {
    if !event.core.labels.iter().any(|l| l == name) {
        event.core.labels.push(name.to_owned());
    }
}

fn redacted(event: &mut Event, rule: &str, hits: u64) {
    if hits > 0 {
        event.content.redacted.push((rule.to_owned(), hits));
    }
}

struct CleanUri {
    raw: String,
    template: String,
    hits: u64,
}

/// A URI without user information, query values, fragment and what looks secret.
fn clean_uri(uri: &str) -> CleanUri {
    let (uri, fragment) = uri.split_once('#').map_or((uri, None), |(u, f)| (u, Some(f)));
    let (before, query) = uri.split_once('?').map_or((uri, None), |(u, q)| (u, Some(q)));
    let (scheme, rest) = match before.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), before),
    };
    let at = if scheme.is_empty() { 0 } else { rest.find('/').unwrap_or(rest.len()) };
    let (authority, path) = rest.split_at_checked(at).unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let mut hits = u64::from(host.len() != authority.len()) + u64::from(fragment.is_some());
    let (front, found) = clean_text(format!("{scheme}{host}").as_bytes(), RES_MAX);
    hits += found;
    let cleaned = clean(path.as_bytes());
    hits += cleaned.redacted;
    let (template, _) = Templates::default().of(0, &cleaned.raw);
    let mut raw = format!("{front}{}", cleaned.raw);
    for (i, item) in query.into_iter().flat_map(|q| q.split('&')).enumerate() {
        let key = item.split_once('=').map_or(REDACTED, |(key, _)| key);
        let (key, _) = clean_text(key.as_bytes(), NAME_MAX);
        raw.push(if i == 0 { '?' } else { '&' });
        raw.push_str(&key);
        hits += 1;
    }
    let mut template = if path.is_empty() { front } else { format!("{front}{template}") };
    cut_at(&mut raw, RAW_MAX);
    cut_at(&mut template, RES_MAX);
    CleanUri { raw, template, hits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_keeps_no_secret() {
        let uri = clean_uri(
            "https://u:hunter2@host:8/a/123/ghp_16C7e42F292c6912E7710c838347Ae178B4a?k=hunter2&hunter2#hunter2",
        );
        assert_eq!(uri.raw, "https://host:8/a/123/{redacted}?k&{redacted}");
        assert_eq!(uri.template, "https://host:8/a/{id}/{id}", "a redacted place groups like an id");
        assert_eq!(uri.hits, 5);
        assert_eq!(clean_uri("memo://notes").template, "memo://notes");
        assert_eq!(clean_uri("file:///etc/hosts").template, "file:///etc/hosts");
        assert_eq!(clean_uri("urn:isbn:1").template, "urn:isbn:1");
    }

    #[test]
    fn outcomes_follow_the_answer() {
        let of = |json: &str| {
            Answer::of(&countersign_wire::jsonrpc::read(json.as_bytes()).0.remove(0), 0).outcome()
        };
        for (json, outcome) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Outcome::Success),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#, Outcome::ServerError),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required"}}"#, Outcome::Partial),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601}}"#, Outcome::CallerError),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32020}}"#, Outcome::CallerError),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603}}"#, Outcome::ServerError),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32003}}"#, Outcome::Denied),
            (r#"{"jsonrpc":"2.0","id":1,"error":{}}"#, Outcome::ServerError),
        ] {
            assert_eq!(of(json), outcome, "{json}");
        }
    }
}
