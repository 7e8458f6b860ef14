//! Fields of the event that a mapping may set.

use crate::Draft;
use crate::draft::endpoint;
use crate::formats::Record;
use crate::time::Stamp;
use countersign_event::{
    Class, IdentityFrom, Outcome, Principal, PrincipalKind, Relation, StatusSpace, TimeBasis, Verified,
};

/// Their names, as in the configuration. `header.NAME` is one too.
pub const FIELDS: [&str; 38] = [
    "t_event",
    "dur",
    "op",
    "proto",
    "class",
    "outcome",
    "status",
    "status.grpc",
    "status.sqlstate",
    "status.cloud",
    "status.os",
    "who.id",
    "who.name",
    "who.kind",
    "who.cred",
    "who.iss",
    "who.svc",
    "who.inst",
    "obo.id",
    "target.svc",
    "target.res",
    "target.raw",
    "target.id",
    "target.ns",
    "target.rtype",
    "target.region",
    "src",
    "dst",
    "up",
    "hop",
    "corr",
    "sess",
    "msg",
    "trace",
    "err",
    "size.req",
    "size.rsp",
    "source_id",
];

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Field(&'static str),
    Header(String),
}

impl Target {
    pub(super) fn new(name: &str) -> Option<Target> {
        match name.strip_prefix("header.") {
            Some(header) if !header.is_empty() => Some(Target::Header(header.to_ascii_lowercase())),
            _ => FIELDS.into_iter().find(|known| *known == name).map(Target::Field),
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Target::Field(name) => (*name).to_owned(),
            Target::Header(name) => format!("header.{name}"),
        }
    }

    /// Whether the values are times and need to be read as such.
    pub(super) fn is_time(&self) -> bool {
        *self == Target::Field("t_event")
    }

    /// Sets it; else why not.
    pub(super) fn set(
        &self,
        value: &str,
        record: &Record<'_>,
        draft: &mut Draft,
    ) -> Result<(), &'static str> {
        let name = match self {
            Target::Field(name) => *name,
            Target::Header(name) => {
                draft.header(name, value);
                return Ok(());
            }
        };
        if let Some(part) = name.strip_prefix("who.") {
            return who(part, value, record, draft);
        }
        if let Some(space) = name.strip_prefix("status.") {
            let space = StatusSpace::from_word(space).ok_or("an unknown space of codes")?;
            draft.event.core.status = Some((space, value.to_owned()));
            return Ok(());
        }
        if let Some(text) = text(draft, name) {
            value.clone_into(text);
            return Ok(());
        }
        typed(name, value, draft)
    }

    /// What it is in a draft, as text; for tests.
    pub(super) fn show(&self, draft: &Draft) -> Option<String> {
        let event = &draft.event;
        let name = match self {
            Target::Field(name) => *name,
            Target::Header(name) => {
                let found = event.content.headers.iter().find(|(header, _)| header == name);
                return found.map(|(_, value)| value.clone());
            }
        };
        let address = |end: &Option<countersign_event::Endpoint>| {
            let end = end.as_ref()?;
            let ip = end.ip?;
            Some(
                end.port
                    .map_or_else(|| ip.to_string(), |port| std::net::SocketAddr::new(ip, port).to_string()),
            )
        };
        let size =
            |payload: &Option<countersign_event::Payload>| payload.as_ref()?.size.map(|n| n.to_string());
        let who = event.who.who.as_ref();
        match name {
            "t_event" => event.core.t_event.map(|ns| ns.to_string()),
            "dur" => event.core.dur.map(|ns| ns.to_string()),
            "class" => event.core.class.map(|class| class.word().to_owned()),
            "outcome" => event.core.outcome.map(|outcome| outcome.word().to_owned()),
            "who.id" => who.map(|who| who.id.clone()),
            "who.name" => who.map(|who| who.name.clone()),
            "who.kind" => who?.kind.map(|kind| kind.word().to_owned()),
            "who.cred" => who.map(|who| who.cred.clone()),
            "who.iss" => who.map(|who| who.iss.clone()),
            "who.svc" => who.map(|who| who.svc.clone()),
            "who.inst" => who.map(|who| who.inst.clone()),
            "obo.id" => event.who.obo.first().map(|who| who.id.clone()),
            "src" => address(&event.peer.src),
            "dst" => address(&event.peer.dst),
            "up" => address(&event.peer.up),
            "hop" => event.peer.hops.first().map(|(hop, _)| hop.clone()),
            "trace" => event.links.trace.map(|id| crate::files::checkpoint::hex(&id)),
            "size.req" => size(&event.body.req),
            "size.rsp" => size(&event.body.rsp),
            _ if name.starts_with("status") => event.core.status.as_ref().map(|(_, code)| code.clone()),
            _ => text(&mut draft.clone(), name).map(|text| text.clone()),
        }
    }
}

/// The fields that are plain texts.
fn text<'d>(draft: &'d mut Draft, name: &str) -> Option<&'d mut String> {
    let event = &mut draft.event;
    Some(match name {
        "op" => &mut event.core.op,
        "proto" => &mut event.core.proto,
        "target.svc" => &mut event.target.svc,
        "target.res" => &mut event.target.res,
        "target.raw" => &mut event.target.raw,
        "target.id" => &mut event.target.id,
        "target.ns" => &mut event.target.ns,
        "target.rtype" => &mut event.target.rtype,
        "target.region" => &mut event.target.region,
        "corr" => &mut event.links.corr,
        "sess" => &mut event.links.sess,
        "msg" => &mut event.links.msg,
        "err" => &mut event.content.err,
        "source_id" => &mut draft.source_id,
        _ => return None,
    })
}

fn typed(name: &str, value: &str, draft: &mut Draft) -> Result<(), &'static str> {
    let event = &mut draft.event;
    match name {
        "t_event" => {
            let (ns, basis) = match value.strip_suffix('?') {
                Some(ns) => (ns, TimeBasis::Derived),
                None => (value, TimeBasis::Stated),
            };
            let ns = ns.parse().map_err(|_| "a time could not be read")?;
            draft.time(Some(Stamp { ns, basis }));
        }
        "dur" => event.core.dur = Some(value.parse().map_err(|_| "a duration is no number")?),
        "class" => event.core.class = Some(Class::from_word(value).ok_or("a class is none that there is")?),
        "outcome" => {
            event.core.outcome = Some(Outcome::from_word(value).ok_or("an outcome is none that there is")?);
        }
        "status" => {
            let code = value.parse().map_err(|_| "a status is no number")?;
            let known = event.core.outcome;
            crate::http::status(draft, code);
            draft.event.core.outcome = known.or(draft.event.core.outcome);
            return draft.event.core.status.as_ref().map(|_| ()).ok_or("a status is none of HTTP");
        }
        "obo.id" => {
            let mut who = Principal::new(value, Verified::Claimed);
            (who.rel, who.from) = (Some(Relation::OnBehalfOf), Some(IdentityFrom::RecordField));
            event.who.obo.push(who);
        }
        "src" => event.peer.src = Some(endpoint(value).ok_or("an address is none")?),
        "dst" => event.peer.dst = Some(endpoint(value).ok_or("an address is none")?),
        "up" => event.peer.up = Some(endpoint(value).ok_or("an address is none")?),
        "hop" => draft.hop(value, Verified::Claimed),
        "trace" => event.links.trace = Some(trace(value).ok_or("a trace id is not 32 hexadecimal digits")?),
        "size.req" => draft.sizes(Some(value.parse().map_err(|_| "a size is no number")?), None),
        "size.rsp" => draft.sizes(None, Some(value.parse().map_err(|_| "a size is no number")?)),
        _ => return Err("a field that there is not"),
    }
    Ok(())
}

fn trace(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let id = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
    (id != 0).then(|| id.to_be_bytes())
}

/// A part of the actor, who is claimed: nothing in a record of an unknown program is more.
fn who(part: &str, value: &str, record: &Record<'_>, draft: &mut Draft) -> Result<(), &'static str> {
    let name = part == "name" && draft.event.who.who.is_none();
    let who = draft.event.who.who.get_or_insert_with(|| Principal::new("", Verified::Claimed));
    who.from = Some(IdentityFrom::RecordField);
    if name {
        who.id = format!("user:{}/{value}", record.realm);
        who.kind = Some(PrincipalKind::User);
    }
    match part {
        "id" => {
            value.clone_into(&mut who.id);
            who.kind = who.kind.or(kind_of(value));
        }
        "name" => value.clone_into(&mut who.name),
        "kind" => {
            who.kind = Some(PrincipalKind::from_word(value).ok_or("a kind of actor is none that there is")?)
        }
        "cred" => value.clone_into(&mut who.cred),
        "iss" => value.clone_into(&mut who.iss),
        "svc" => value.clone_into(&mut who.svc),
        "inst" => value.clone_into(&mut who.inst),
        _ => return Err("a field that there is not"),
    }
    Ok(())
}

fn kind_of(id: &str) -> Option<PrincipalKind> {
    let (scheme, _) = id.split_once(':')?;
    match scheme {
        "user" | "k8s-user" | "db" => Some(PrincipalKind::User),
        "spiffe" | "k8s-sa" => Some(PrincipalKind::Workload),
        _ => None,
    }
}
