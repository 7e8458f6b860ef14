//! What envelopes have in common: syslog, container logs and the journal carry the records of others.
//!
//! The message inside is parsed by the format that the configuration names, else by the one that it looks like;
//! envelopes in envelopes are not opened. Not an envelope itself.

use super::Record;
use super::own::name_of;
use crate::json::Val;
use crate::observe::{detect_among, json, unread};
use crate::{Draft, time::Stamp};
use countersign_event::{PrincipalKind, Rec, Verified};

/// Formats that carry others.
const ENVELOPES: &[&str] =
    &["syslog", "cri", "docker", "journald", "splunk-hec", "loki", "fluent-forward", "pubsub-push"];

/// What is known about a message from around it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Around<'a> {
    /// The machine that wrote it; empty = not said.
    pub(crate) host: &'a str,
    /// The program that wrote it; empty = not said.
    pub(crate) app: &'a str,
    /// When, for messages without a time of their own.
    pub(crate) stamp: Option<Stamp>,
    /// How far the names inside may be believed at most.
    pub(crate) most: Option<Verified>,
}

/// The draft of `message`. A text that is of no known format gives a draft without class, outcome or kind, whose
/// speaker is `app` on `host`, with the text in `unmapped`.
pub(crate) fn open(record: &Record<'_>, message: &str, around: Around<'_>) -> Draft {
    let message = message.strip_prefix("@cee:").map_or(message, str::trim_start);
    // rsyslog ends counted messages with a line end all the same (RFC 6587 section 3.4.1 needs none).
    let message = message.trim_end_matches(['\r', '\n']);
    let doc = json(message.as_bytes());
    let inner = Record {
        json: doc.as_ref(),
        realm: if around.host.is_empty() { record.realm } else { around.host },
        app: around.app,
        own: record.own,
        ..Record::new(message.as_bytes(), record.now)
    };
    let (found, mistaken) = match record.inner {
        Some(format) => {
            let found = (format.parse)(&inner).ok().map(|draft| (format, draft));
            let mistaken = found.is_none();
            (found, mistaken)
        }
        None => (detect_among(&inner, |format| !ENVELOPES.contains(&format.name)), false),
    };
    let mut draft = match found {
        Some((format, mut draft)) => {
            unread(&inner, &mut draft);
            draft.inner = name_of(format, record.own);
            match draft.event.core.rec {
                Some(Rec::Raw) => speaker(&mut draft, inner.realm, around),
                _ => served(&mut draft, around),
            }
            draft
        }
        None => said(message, inner.realm, around),
    };
    if mistaken {
        draft.partial("the message is not of the format that the configuration names");
    }
    if draft.event.core.t_event.is_none() && around.stamp.is_some() {
        draft.time(around.stamp);
    }
    if let Some(most) = around.most {
        let who = &mut *draft.event.who;
        for principal in who.who.iter_mut().chain(&mut who.obo).chain(&mut who.also) {
            principal.verified = principal.verified.min(most);
        }
    }
    draft
}

/// A server's record: the machine and program that wrote it were called.
fn served(draft: &mut Draft, around: Around<'_>) {
    if draft.event.peer.dst.is_none() && !around.host.is_empty() && !draft.dst(around.host) {
        around.host.clone_into(&mut draft.event.peer.dst.get_or_insert_default().host);
    }
    if draft.event.target.svc.is_empty() {
        around.app.clone_into(&mut draft.event.target.svc);
    }
}

/// A text of which only the speaker is known: no interaction can be read from it.
fn said(message: &str, realm: &str, around: Around<'_>) -> Draft {
    let mut draft = Draft::new();
    draft.event.core.rec = Some(Rec::Raw);
    speaker(&mut draft, realm, around);
    if !message.is_empty() {
        draft.rest("message", message);
    }
    draft
}

/// `realm`: the host, or where it is not said, the input's.
fn speaker(draft: &mut Draft, realm: &str, around: Around<'_>) {
    if draft.event.peer.src.is_none() && !around.host.is_empty() && !draft.src(around.host) {
        around.host.clone_into(&mut draft.event.peer.src.get_or_insert_default().host);
    }
    if draft.event.who.who.is_none() && !around.app.is_empty() {
        let id = format!("user:{realm}/{}", around.app);
        let level = around.most.unwrap_or(Verified::Asserted);
        let who = draft.who(id, PrincipalKind::Service, level);
        around.app.clone_into(&mut who.svc);
        around.host.clone_into(&mut who.inst);
    }
}

/// A name of the envelope, kept apart from those of the message.
pub(crate) fn note(draft: &mut Draft, pointer: &str, value: &str) {
    if !value.is_empty() {
        draft.said(pointer, value);
    }
}

/// All members of an object of the envelope, each a token under `prefix`. Takes them.
pub(crate) fn members(draft: &mut Draft, prefix: &str, object: Val<'_, '_>) {
    for member in object.members() {
        let name = member.name().replace('~', "~0").replace('/', "~1");
        draft.token(format!("{prefix}/{name}"), member.token());
    }
    object.take();
}
