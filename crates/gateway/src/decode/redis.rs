//! Redis off the path: what [`countersign_wire::redis::Session`] finds becomes events.
//!
//! Not the protocol, which is `wire`'s. Invariants: a value, a password or a script never reaches an event (it is
//! not in what is found); keys and channels are cleaned first; of an error no more than its first word is kept;
//! a command without a proved class has none.

use super::Intent;
use super::event::intent_event;
use super::identify;
use super::path::is_id;
use super::redact::{clean_text, cut_at};
use super::session::{At, Session};
use crate::ring::{Decided, Way, Why};
use countersign_event::cbor::Value;
use countersign_event::fields::detail::kv;
use countersign_event::{Class, Event, Kind, Outcome, Payload, Rec, Shared, StatusSpace, Target, Who};
use countersign_wire::redis::{Command, Found, How, KEY_MAX, Message, Session as Wire, Verdict};
use countersign_wire::stream::Call;
use countersign_wire::trace;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

/// Keys besides the first in one event (event schema 1).
const MORE_MAX: usize = 63;
/// Longest template, bytes.
const TEMPLATE_MAX: usize = 1_024;
/// Longest key in a record, bytes: each byte may have been escaped.
const KEY_SHOWN: usize = KEY_MAX * 4;
/// Longest name of a client, user or function in a record, bytes.
const NAME_SHOWN: usize = 256;
/// Stands in a template where ids stand.
const ID: &str = "{id}";

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Redis {
    wire: Wire,
    began: Option<u64>,
    /// Verdicts on commands that have no record yet, by number.
    verdicts: VecDeque<(u64, Box<Decided>)>,
    /// On strict routes: commands whose intent was not asked for yet, and intents whose outcome is not known.
    sent: Vec<Command>,
    intents: VecDeque<(u64, Arc<OnceLock<[u8; 16]>>)>,
    /// Outcomes that came before their intents.
    early: VecDeque<Box<Command>>,
    /// Who it is, by the user that was logged in last.
    who: Option<(String, Shared<Who>)>,
    failed: bool,
    seq: u64,
}

impl Session for Redis {
    fn bytes(&mut self, at: &mut At<'_>, way: Way, bytes: &[u8], decided: Option<Box<Decided>>) {
        self.begin(at);
        self.late(at, false);
        if self.failed {
            return;
        }
        let verdict = decided.as_ref().map(|d| Verdict { denied: countersign_policy::refuses(&d.decision) });
        if let Some(decided) = decided {
            self.verdicts.push_back((self.wire.seq(), decided));
        }
        let found = match way {
            Way::Up => self.wire.up(bytes, at.t, verdict),
            Way::Down => self.wire.down(bytes, at.t),
        };
        match found {
            Ok(found) => self.tell(at, found, ""),
            // The framer lets no such bytes through; what is missing is made as cut.
            Err(_) => self.failed = true,
        }
    }

    fn intents(&mut self, at: &mut At<'_>) -> Vec<Intent> {
        let mut out = Vec::new();
        for command in std::mem::take(&mut self.sent) {
            let event = self.operation(at, &command);
            let id = Arc::<OnceLock<_>>::default();
            self.intents.push_back((command.seq, Arc::clone(&id)));
            out.push(Intent { event: intent_event(&event), id });
        }
        out
    }

    fn resumed(&mut self) {
        self.verdicts.clear();
        self.wire.resumed();
    }

    fn close(&mut self, at: &mut At<'_>, up: u64, down: u64, why: Why) {
        self.begin(at);
        let reason = match why {
            Why::Cut(reason) => reason,
            Why::Done => "connection ended before the answer",
        };
        if !self.failed {
            let found = self.wire.end(at.t);
            self.tell(at, found, reason);
        }
        self.late(at, true);
        let mut event = self.event(at, self.began.unwrap_or(at.t), "", 0);
        event.core.rec = Some(Rec::SessionClose);
        event.core.op = "disconnect".to_owned();
        event.core.class = Some(Class::Connect);
        event.core.dur = Some(at.t.saturating_sub(self.began.unwrap_or(at.t)));
        match why {
            Why::Cut(reason) => event.content.err = reason.to_owned(),
            Why::Done => event.core.outcome = Some(Outcome::Success),
        }
        event.body.req = size(up);
        event.body.rsp = size(down);
        self.push(at, event);
    }
}

fn size(bytes: u64) -> Option<Payload> {
    Some(Payload { size: Some(bytes), ..Payload::default() })
}

impl Redis {
    /// The session's first record.
    fn begin(&mut self, at: &mut At<'_>) {
        if self.began.is_some() {
            return;
        }
        self.began = Some(at.t);
        if at.conn.open.gate.is_some() {
            self.wire.announce();
        }
        let mut event = self.event(at, at.t, "", 0);
        event.core.rec = Some(Rec::SessionOpen);
        event.core.op = "connect".to_owned();
        event.core.class = Some(Class::Connect);
        event.core.outcome = Some(Outcome::Success);
        identify::tell_failures(&mut event, &at.conn.base.failures);
        self.push(at, event);
    }

    fn tell(&mut self, at: &mut At<'_>, found: Vec<Found>, reason: &str) {
        for found in found {
            match found {
                Found::Sent(command) => self.sent.push(*command),
                Found::Command(command) => {
                    if self.sent.iter().any(|s| s.seq == command.seq) {
                        self.early.push_back(command);
                    } else {
                        self.command(at, &command, reason);
                    }
                }
                Found::Message(message) => self.message(at, &message),
                Found::Progress { replicated } => self.progress(at, replicated),
            }
        }
    }

    /// Outcomes that came before their intents had an id; with `all`, whether they have one now or not.
    fn late(&mut self, at: &mut At<'_>, all: bool) {
        while let Some(front) = self.early.front() {
            let known = self.intents.iter().any(|(n, id)| *n == front.seq && id.get().is_some());
            if !known && !all {
                return;
            }
            if let Some(command) = self.early.pop_front() {
                self.command(at, &command, "");
            }
        }
    }

    /// What every record of this session has.
    fn event(&mut self, at: &At<'_>, t: u64, user: &str, resp: u8) -> Event {
        if self.who.as_ref().is_none_or(|(known, _)| known != user) {
            let login = identify::login(user, service(at));
            let found = identify::who(at.conn.address.clone(), at.conn.identity.as_deref(), login);
            self.who = Some((user.to_owned(), found.who));
        }
        let mut event = at.event_by(t, self.who.as_ref().map(|(_, who)| who));
        event.core.t_obs = at.context.wall(at.t);
        event.core.kind = Some(Kind::Kv);
        event.core.proto = if resp == 0 { "redis".to_owned() } else { format!("redis/{resp}") };
        event
    }

    fn push(&mut self, at: &mut At<'_>, mut event: Event) {
        self.seq += 1;
        event.links.conn_seq = Some(self.seq);
        at.out.push(event);
    }

    fn command(&mut self, at: &mut At<'_>, command: &Command, reason: &str) {
        let mut event = self.operation(at, command);
        event.core.t_obs = at.context.wall(command.times[2]);
        event.core.rec = Some(Rec::Interaction);
        set_end(&mut event, command, reason);
        self.decide(at, &mut event, command);
        self.joined(&mut event, command.seq);
        // What changes the name belongs to no more than one of the two.
        let renames = matches!(event.core.op.as_str(), "CLIENT SETNAME" | "HELLO" | "RESET");
        let name = command.client_name.as_deref().filter(|_| !renames);
        at.link(&mut event, name.and_then(trace::named), (command.times[0], command.times[2]));
        if event.core.outcome == Some(Outcome::Success) {
            for key in &command.keys {
                if let Some(path) = as_path(key) {
                    at.context.templates.learn(at.conn.open.route, &path);
                }
            }
        }
        self.push(at, event);
    }

    /// The event of a command but for its end and its decision.
    fn operation(&mut self, at: &At<'_>, command: &Command) -> Event {
        let user = command.user.as_deref().unwrap_or_default();
        let mut event = self.event(at, command.times[0], user, command.resp);
        let op = if command.operation.is_empty() { "unknown" } else { &command.operation };
        op.clone_into(&mut event.core.op);
        event.core.class = command.class.map(identify::event_class);
        set_target(&mut event, at, command);
        let detail = &mut event.content.detail;
        if let Some(database) = command.database {
            event.target.ns = database.to_string();
            detail.insert(kv::DB, Value::Uint(database));
        }
        detail.insert(kv::KEYS_COUNT, Value::Uint(command.key_count));
        detail.insert(kv::ARGUMENTS, Value::Uint(u64::from(command.argc)));
        if command.keys_incomplete {
            detail.insert(kv::KEYS_INCOMPLETE, Value::Bool(true));
        }
        if let Some(script) = &command.script {
            detail.insert(kv::SCRIPT, Value::Text(script.clone()));
        }
        if let Some(multi) = command.multi {
            detail.insert(kv::MULTI, Value::Uint(multi));
        }
        let names = [(kv::FUNCTION, &command.function), (kv::CLIENT, &command.client_name)];
        for (key, name) in names {
            if let Some(name) = name {
                detail.insert(key, Value::Text(clean_text(name.as_bytes(), NAME_SHOWN).0));
            }
        }
        event.content.redacted.extend(command.redacted.iter().map(|(rule, n)| ((*rule).to_owned(), *n)));
        event.body.req = size(command.bytes);
        event
    }

    /// The verdict that let it pass or not, else one off the path for the record.
    fn decide(&mut self, at: &mut At<'_>, event: &mut Event, command: &Command) {
        let inline = self.verdicts.iter().position(|(n, _)| *n == command.seq);
        if let Some((_, decided)) = inline.and_then(|at| self.verdicts.remove(at)) {
            event.core.decision = Some(decided.decision.into());
            return;
        }
        let call = Call {
            user: Cow::Borrowed(command.user.as_deref().unwrap_or_default()),
            operation: Cow::Borrowed(&event.core.op),
            class: command.class,
            namespace: Cow::Borrowed(&event.target.ns),
            resource_type: if command.channels { "channel" } else { "key" },
            resources: command.keys.clone(),
        };
        let caller = at.conn.caller(at.context, event.core.t_obs);
        let decided = identify::decide_call(&caller, "redis", &call, at.context.policy.as_ref());
        event.core.decision = Some(decided.decision.into());
    }

    /// The record becomes the outcome of its intent, where there is one.
    fn joined(&mut self, event: &mut Event, seq: u64) {
        let found = self.intents.iter().position(|(n, _)| *n == seq);
        if let Some((_, id)) = found.and_then(|at| self.intents.remove(at)) {
            event.core.rec = Some(Rec::Outcome);
            event.links.of = id.get().copied();
        }
    }

    fn message(&mut self, at: &mut At<'_>, message: &Message) {
        let user = message.user.as_deref().unwrap_or_default();
        let mut event = self.event(at, message.times[0], user, message.resp);
        event.core.t_obs = at.context.wall(message.times[1]);
        event.core.rec = Some(Rec::Interaction);
        event.core.op = message.operation.to_owned();
        event.core.class = Some(Class::Read);
        event.core.dur = Some(message.times[1].saturating_sub(message.times[0]));
        event.core.outcome = (!message.cut).then_some(Outcome::Success);
        if message.cut {
            event.content.err = "connection ended within the message".to_owned();
        }
        event.target.rtype = "channel".to_owned();
        event.target.res = template(at, &message.channel);
        event.target.raw = clean_text(message.channel.as_bytes(), KEY_SHOWN).0;
        if let Some(pattern) = &message.pattern {
            let pattern = clean_text(pattern.as_bytes(), NAME_SHOWN).0;
            event.content.detail.insert(kv::PATTERN, Value::Text(pattern));
        }
        event.body.rsp = size(message.payload);
        self.push(at, event);
    }

    fn progress(&mut self, at: &mut At<'_>, replicated: Option<(u64, u64)>) {
        let mut event = self.event(at, at.t, "", 0);
        event.core.rec = Some(Rec::Progress);
        event.core.class = Some(Class::Admin);
        event.core.op = if replicated.is_some() { "replication" } else { "MONITOR" }.to_owned();
        if let Some((up, down)) = replicated {
            event.content.detail.insert(kv::UP, Value::Uint(up));
            event.content.detail.insert(kv::DOWN, Value::Uint(down));
        }
        self.push(at, event);
    }
}

fn service<'a>(at: &'a At<'_>) -> &'a str {
    at.context.routes.get(at.conn.open.route).map_or("", |r| r.service.as_str())
}

fn set_target(event: &mut Event, at: &At<'_>, command: &Command) {
    let rtype = if command.channels { "channel" } else { "key" };
    let mut redacted = 0;
    let mut targets = command.keys.iter().map(|key| {
        let (raw, hits) = clean_text(key.as_bytes(), KEY_SHOWN);
        redacted += hits;
        let res = template(at, if hits > 0 { &raw } else { key });
        Target { res, raw, rtype: rtype.to_owned(), ..Target::default() }
    });
    if let Some(first) = targets.next() {
        event.target.res = first.res;
        event.target.raw = first.raw;
        event.target.rtype = first.rtype;
        event.target.more = targets.take(MORE_MAX).collect();
    }
    if redacted > 0 {
        event.content.redacted.push(("key".to_owned(), redacted));
    }
}

fn set_end(event: &mut Event, command: &Command, reason: &str) {
    let [sent, first, ended] = command.times;
    let lasted = ended.saturating_sub(sent);
    event.core.dur = Some(lasted);
    event.core.outcome = outcome(command);
    let detail = &mut event.content.detail;
    let ending = match command.how {
        Some(How::Watched) => "watched",
        Some(How::Aborted) => "aborted",
        Some(How::Discarded) => "discarded",
        Some(How::Silent) => "silent",
        _ => "",
    };
    if !ending.is_empty() {
        detail.insert(kv::ENDING, Value::Text(ending.to_owned()));
    }
    if let Some(reply) = &command.reply {
        event.core.lat = Some([0, first.saturating_sub(sent), lasted]);
        detail.insert(kv::REPLY, Value::Text(reply.kind.to_owned()));
        if reply.elements > 0 {
            detail.insert(kv::ELEMENTS, Value::Uint(reply.elements));
        }
        if reply.bytes > 0 {
            event.body.rsp = size(reply.bytes);
        }
        if reply.is_error {
            let word = reply.error.as_deref().unwrap_or("ERR");
            let word = if command.denied { "NOPERM" } else { word };
            event.core.status = Some((StatusSpace::Redis, word.to_owned()));
        }
    }
    if let Some((up, down)) = command.replicated {
        detail.insert(kv::UP, Value::Uint(up));
        detail.insert(kv::DOWN, Value::Uint(down));
    }
    if command.how == Some(How::Open) && command.replicated.is_none() {
        event.content.err = reason.to_owned();
    }
}

/// How a command ended. What nobody answered is not known, whether it was told to be silent or cut.
fn outcome(command: &Command) -> Option<Outcome> {
    if command.denied {
        return Some(Outcome::Denied);
    }
    match command.how? {
        How::Watched | How::Aborted | How::Discarded => return Some(Outcome::Cancelled),
        How::Open if command.replicated.is_some() => return Some(Outcome::Success),
        How::Open | How::Silent => return None,
        How::Replied | How::Executed => {}
    }
    let reply = command.reply.as_ref()?;
    if !reply.is_error {
        return Some(Outcome::Success);
    }
    Some(match reply.error.as_deref().unwrap_or_default() {
        "NOPERM" | "NOAUTH" | "WRONGPASS" | "DENIED" => Outcome::Denied,
        "LOADING" | "BUSY" | "OOM" | "MISCONF" | "CLUSTERDOWN" | "MASTERDOWN" | "NOREPLICAS" | "IOERR"
        | "TRYAGAIN" | "NOGOODSLAVE" | "UNKILLABLE" => Outcome::ServerError,
        _ => Outcome::CallerError,
    })
}

/// A key as a path of the templates, if it can be told from one again.
fn as_path(key: &str) -> Option<String> {
    (key.contains(':') && !key.contains(['/', ';'])).then(|| key.replace(':', "/"))
}

/// The pattern of a key: its parts, with `{id}` where ids stand.
fn template(at: &At<'_>, key: &str) -> String {
    let mut out = match as_path(key) {
        Some(path) => at.context.templates.of(at.conn.open.route, &path).0.replace('/', ":"),
        None if is_id(key) => ID.to_owned(),
        None => key.split('/').map(|part| if is_id(part) { ID } else { part }).collect::<Vec<_>>().join("/"),
    };
    cut_at(&mut out, TEMPLATE_MAX);
    out
}
