//! PostgreSQL off the path: what [`countersign_wire::postgres::Session`] tells becomes events.
//!
//! Not the protocol, which is `wire`'s. Invariants: literals reach an event only as parameters that the route
//! opted into, and then cleaned; error texts lose what they quote; a cancel key is kept as a digest, and only
//! in memory; an operation without a proved class has none.

mod cancel;
mod statement;
mod values;

use super::Intent;
use super::event::intent_event;
use super::identify::{self, Caller};
use super::redact::{clean_text, cut_at};
use super::session::{At, Session};
use crate::recorder::{BodyDigest, BodyKey};
use crate::ring::{Decided, LoggedIn, Way, Why};
use cancel::{SHARED, Victim};
use countersign_event::cbor::Value;
use countersign_event::fields::detail::sql;
use countersign_event::{Class, Event, Kind, Outcome, Payload, Rec, Shared, StatusSpace, Verified, Who};
use countersign_identity::HttpIdentity;
use countersign_wire::postgres::record::{Error, Executed, Message, Opened};
use countersign_wire::postgres::session::{Digest, Digests, Options};
use countersign_wire::postgres::{Session as Wire, statement::NAME_SHOWN};
use countersign_wire::stream::{Call, OpClass};
use ring::digest;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

/// Longest text of an error in a record, bytes.
const ERROR_MAX: usize = 512;

/// The caller's half of digests.
struct Keyed(BodyKey);

impl Digests for Keyed {
    fn fingerprint(&self, shape: &str) -> [u8; 16] {
        let full = digest::digest(&digest::SHA256, shape.as_bytes());
        let mut out = [0; 16];
        out.copy_from_slice(full.as_ref().get(..16).unwrap_or(&[0; 16]));
        out
    }

    fn start(&self) -> Box<dyn Digest> {
        Box::new(Running(self.0.start()))
    }
}

struct Running(BodyDigest);

impl Digest for Running {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self: Box<Self>) -> [u8; 32] {
        self.0.finish()
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Postgres {
    wire: Option<Wire>,
    /// Verdicts on messages that have no record yet, by token.
    verdicts: VecDeque<(u64, Box<Decided>)>,
    token: u64,
    /// Ids of intents, by number of the message that they announce.
    intents: VecDeque<(u64, Arc<OnceLock<[u8; 16]>>)>,
    /// Number of the last message that was announced before it could be read.
    early: u64,
    opened: Option<Box<Opened>>,
    began: u64,
    /// [`session_id`].
    session: String,
    who: Option<Shared<Who>>,
    /// How the caller came in, where the gateway has logged in for it.
    by: Option<LoggedIn>,
    key: Option<[u8; 32]>,
    seq: u64,
    keep_parameters: bool,
}

impl Session for Postgres {
    fn bytes(&mut self, at: &mut At<'_>, way: Way, bytes: &[u8], decided: Option<Box<Decided>>) {
        let mut wire = self.wire.take().unwrap_or_else(|| self.begin(at));
        if let Some(decided) = decided {
            self.token += 1;
            wire.judged(self.token, countersign_policy::refuses(&decided.decision));
            self.verdicts.push_back((self.token, decided));
        }
        match way {
            Way::Up => wire.up(bytes, at.t),
            Way::Down => wire.down(bytes, at.t),
        }
        self.tell(at, &mut wire);
        self.wire = Some(wire);
    }

    fn intents(&mut self, at: &mut At<'_>) -> Vec<Intent> {
        let Some(wire) = &mut self.wire else { return Vec::new() };
        let (begun, beginning) = (wire.begun(), wire.beginning());
        let mut out = Vec::new();
        for run in begun.into_iter().filter(|run| run.number > self.early) {
            let event = self.operation(at, &run);
            let id = Arc::<OnceLock<_>>::default();
            self.intents.push_back((run.number, Arc::clone(&id)));
            out.push(Intent { event: intent_event(&event), id });
        }
        if let Some(number) = beginning.filter(|n| *n > self.early) {
            // Too long to be held: it passes as it comes, so its intent cannot say what it is.
            let mut event = self.event(at, at.t);
            "unread".clone_into(&mut event.core.op);
            let id = Arc::<OnceLock<_>>::default();
            self.early = number;
            self.intents.push_back((number, Arc::clone(&id)));
            out.push(Intent { event: intent_event(&event), id });
        }
        if out.is_empty() && self.opened.is_none() && self.intents.is_empty() {
            // The session itself: its begin and its end.
            for op in ["connect", "disconnect"] {
                let mut event = self.event(at, at.t);
                op.clone_into(&mut event.core.op);
                event.core.class = Some(Class::Connect);
                let id = Arc::<OnceLock<_>>::default();
                self.intents.push_back((0, Arc::clone(&id)));
                out.push(Intent { event: intent_event(&event), id });
            }
        }
        out
    }

    fn logged_in(&mut self, by: LoggedIn) {
        self.by = Some(by);
    }

    fn resumed(&mut self) {
        self.verdicts.clear();
        if let Some(wire) = &mut self.wire {
            wire.resumed();
        }
    }

    fn close(&mut self, at: &mut At<'_>, up: u64, down: u64, why: Why) {
        let Some(mut wire) = self.wire.take() else { return };
        wire.end(at.t);
        self.tell(at, &mut wire);
        if let Some(key) = self.key.take() {
            SHARED.forget(&key);
        }
        if let Some(opened) = self.opened.take() {
            self.closed(at, &opened, &wire, (up, down), why);
        }
    }
}

impl Postgres {
    fn begin(&mut self, at: &At<'_>) -> Wire {
        let route = at.context.routes.get(at.conn.open.route);
        self.keep_parameters = route.is_some_and(|r| r.parameters);
        self.began = at.t;
        self.session = session_id(at);
        let options = Options {
            parameters: self.keep_parameters,
            begun: at.conn.open.gate.is_some(),
            budget: Arc::clone(&SHARED.budget),
        };
        Wire::new(Box::new(Keyed(at.context.key.clone())), options)
    }

    fn tell(&mut self, at: &mut At<'_>, wire: &mut Wire) {
        while let Some(message) = wire.told() {
            match message {
                Message::Opened(opened) => self.open(at, *opened),
                Message::Key { pid, key } => self.key(at, pid, &key),
                Message::Cancel { at: t, pid, key } => self.cancel(at, t, pid, &key),
                Message::ClearText { at: t } => self.clear_text(at, t),
                Message::Executed(run) => self.executed(at, &run),
                Message::Progress(run) => {
                    let mut event = self.operation(at, &run);
                    event.core.rec = Some(Rec::Progress);
                    self.push(at, event);
                }
                Message::Notified { at: t, channel, payload, pid } => {
                    let mut event = self.event(at, t);
                    event.core.rec = Some(Rec::Interaction);
                    event.core.op = "NOTIFICATION".to_owned();
                    event.core.class = Some(Class::Read);
                    event.core.outcome = Some(Outcome::Success);
                    event.core.dur = Some(0);
                    event.target.rtype = "channel".to_owned();
                    event.target.res = clean_text(channel.as_bytes(), NAME_SHOWN).0;
                    event.content.detail.insert(sql::PID, Value::Uint(u64::from(pid)));
                    event.body.rsp = Some(Payload { size: Some(payload), ..Payload::default() });
                    self.push(at, event);
                }
                Message::Lost { at: t, why } => {
                    let mut event = self.event(at, t);
                    event.core.rec = Some(Rec::Opaque);
                    event.core.op = "session".to_owned();
                    event.content.err = format!("from here on this connection is not read: {why}");
                    self.push(at, event);
                }
            }
        }
    }

    /// What every record of this session has.
    fn event(&self, at: &At<'_>, t: u64) -> Event {
        let mut event = at.event_by(t, self.who.as_ref());
        event.core.t_obs = at.context.wall(at.t);
        event.core.kind = Some(Kind::Sql);
        let minor = self.opened.as_ref().map_or(0, |o| o.version.1);
        event.core.proto =
            if minor == 0 { "postgresql/3.0".to_owned() } else { format!("postgresql/3.{minor}") };
        event.links.sess.clone_from(&self.session);
        if let Some(opened) = &self.opened {
            event.target.ns = clean_text(opened.database.as_bytes(), NAME_SHOWN).0;
        }
        event
    }

    fn push(&mut self, at: &mut At<'_>, mut event: Event) {
        self.seq += 1;
        event.links.conn_seq = Some(self.seq);
        at.out.push(event);
    }

    /// The record becomes the outcome of its intent, where there is one.
    fn joined(&mut self, event: &mut Event, number: u64) {
        while self.intents.front().is_some_and(|(n, _)| *n < number) {
            self.intents.pop_front();
        }
        if self.intents.front().is_some_and(|(n, _)| *n == number)
            && let Some((_, id)) = self.intents.pop_front()
        {
            event.core.rec = Some(Rec::Outcome);
            event.links.of = id.get().copied();
        }
    }

    fn executed(&mut self, at: &mut At<'_>, run: &Executed) {
        let mut event = self.operation(at, run);
        self.decide(at, &mut event, run);
        event.core.rec = Some(Rec::Interaction);
        if statement::is_operation(run.form) {
            self.joined(&mut event, run.number);
            // What changes the name belongs to no more than one of the two.
            let renames = matches!(event.core.op.as_str(), "SET" | "RESET" | "DISCARD");
            at.link(&mut event, run.carried.filter(|_| !renames), (run.at.0, run.at.2));
        }
        self.push(at, event);
    }

    /// The event of `run` but for its decision.
    fn operation(&self, at: &At<'_>, run: &Executed) -> Event {
        let mut event = self.event(at, run.at.0);
        statement::fill(&mut event, at, run, self.keep_parameters);
        event
    }

    /// The verdict that let it pass or not, else one off the path for the record.
    fn decide(&mut self, at: &mut At<'_>, event: &mut Event, run: &Executed) {
        while let Some(judged) = run.judged
            && self.verdicts.front().is_some_and(|(token, _)| *token < judged.token)
        {
            self.verdicts.pop_front();
        }
        if let Some(judged) = run.judged
            && let Some((_, decided)) = self.verdicts.front().filter(|(token, _)| *token == judged.token)
        {
            // Several statements of one Query share their verdict.
            event.core.decision = Some(decided.decision.clone().into());
            return;
        }
        let time_ns = event.core.t_obs;
        let facts = run.inner.as_ref().or(run.statement.as_ref()).map(|s| &s.facts);
        let opened = self.opened.as_ref().filter(|o| o.accepted);
        let user = opened.map_or("", |o| o.user.as_str());
        let call = Call {
            user: Cow::Borrowed(user),
            operation: Cow::Borrowed(&event.core.op),
            class: facts.and_then(|f| f.class),
            namespace: Cow::Borrowed(&event.target.ns),
            resource_type: "table",
            resources: facts.map_or(Vec::new(), |f| f.tables.clone()),
        };
        let proved = self.by.as_ref().map(|by| &by.identity);
        let caller = Caller { proved, ..at.conn.caller(at.context, time_ns) };
        let policy = at.context.policy.as_ref();
        let decision = match &self.who {
            // Of a login of the gateway's own, `who` holds more than what is asked about.
            Some(who) if opened.is_some() && self.by.is_none() => {
                identify::decide_as(who, &caller, "postgresql", &call, policy)
            }
            _ => identify::decide_call(&caller, "postgresql", &call, policy).decision,
        };
        event.core.decision = Some(decision.into());
    }

    /// Who logs in: the role, if the server accepted it, and with a login of the gateway's the caller.
    fn login(&self, at: &At<'_>, opened: &mut Opened) -> HttpIdentity {
        let service = at.context.routes.get(at.conn.open.route).map_or("", |r| r.service.as_str());
        let claimed = |user: &str| {
            let mut login = identify::login(user, service);
            login.principals.iter_mut().for_each(|p| p.verified = Verified::Claimed);
            login
        };
        let asked = opened.user.clone();
        if let Some(role) = self.by.as_ref().and_then(|by| by.role.clone()) {
            opened.user = role;
        }
        let mut login =
            if opened.accepted { identify::login(&opened.user, service) } else { claimed(&opened.user) };
        if let Some(by) = &self.by {
            opened.method = by.method;
            login.principals.extend(by.identity.principals.iter().cloned());
            login.failures.extend(by.identity.failures.iter().cloned());
            if asked != opened.user {
                login.principals.extend(claimed(&asked).principals);
            }
        }
        login
    }

    fn open(&mut self, at: &mut At<'_>, mut opened: Opened) {
        let login = self.login(at, &mut opened);
        let found = identify::who(at.conn.address.clone(), at.conn.identity.as_deref(), login);
        self.who = Some(found.who);
        if let Some(key) = self.key.filter(|_| opened.accepted) {
            SHARED.remember(key, Victim { session: self.session.clone(), user: opened.user.clone() });
        }
        self.opened = Some(Box::new(opened.clone()));
        let mut event = self.event(at, opened.at.0);
        event.core.rec = Some(Rec::SessionOpen);
        event.core.op = "connect".to_owned();
        event.core.class = Some(Class::Connect);
        event.core.t_obs = at.context.wall(opened.at.1);
        event.core.dur = Some(opened.at.1.saturating_sub(opened.at.0));
        event.core.outcome = match &opened.failure {
            Some(error) => Some(statement::outcome_of(error)),
            None => opened.accepted.then_some(Outcome::Success),
        };
        if let Some(error) = &opened.failure {
            set_error(&mut event, error);
        }
        let details = [
            (sql::METHOD, opened.method),
            (sql::APPLICATION, opened.application.as_str()),
            (sql::REPLICATION, opened.replication.as_str()),
        ];
        for (key, text) in details {
            if !text.is_empty() {
                event.content.detail.insert(key, Value::Text(clean_text(text.as_bytes(), NAME_SHOWN).0));
            }
        }
        if let Some(pid) = opened.pid {
            event.content.detail.insert(sql::PID, Value::Uint(u64::from(pid)));
        }
        identify::tell_failures(&mut event, &found.failures);
        // With a login of the gateway's the error is its own, and this is why.
        if let Some(first) = found.failures.first().filter(|_| self.by.is_some())
            && !event.content.err.starts_with("identity: ")
        {
            event.content.err = format!("{}; identity: {}", event.content.err, first.reason);
            cut_at(&mut event.content.err, ERROR_MAX);
        }
        if at.conn.open.gate.is_some() {
            self.joined(&mut event, 0);
            event.core.rec = Some(Rec::SessionOpen);
        }
        self.push(at, event);
    }

    fn closed(&mut self, at: &mut At<'_>, opened: &Opened, wire: &Wire, (up, down): (u64, u64), why: Why) {
        self.opened = Some(Box::new(opened.clone()));
        let mut event = self.event(at, self.began);
        event.core.rec = Some(Rec::SessionClose);
        event.core.op = "disconnect".to_owned();
        event.core.class = Some(Class::Connect);
        event.core.dur = Some(at.t.saturating_sub(self.began));
        if let Some(error) = wire.last_words() {
            set_error(&mut event, error);
        }
        match why {
            Why::Cut(reason) => {
                if event.content.err.is_empty() {
                    event.content.err = reason.to_owned();
                }
            }
            Why::Done => event.core.outcome = Some(Outcome::Success),
        }
        let body = &mut *event.body;
        body.req = Some(Payload { size: Some(up), ..Payload::default() });
        body.rsp = Some(Payload { size: Some(down), ..Payload::default() });
        self.push(at, event);
    }

    fn clear_text(&mut self, at: &mut At<'_>, t: u64) {
        let mut event = self.event(at, t);
        event.core.rec = Some(Rec::Interaction);
        event.core.op = "authentication request".to_owned();
        event.core.class = Some(Class::Authenticate);
        event.core.labels = vec!["secret".to_owned()];
        event.content.detail.insert(sql::METHOD, Value::Text("password".to_owned()));
        event.content.err = "the server asked for the password in clear text".to_owned();
        self.push(at, event);
    }

    fn key(&mut self, at: &At<'_>, pid: u32, key: &[u8]) {
        let digest = cancel::digest(at, pid, key);
        if let Some(opened) = &mut self.opened {
            opened.pid = Some(pid);
        }
        self.key = Some(digest);
        SHARED.remember(digest, Victim { session: self.session.clone(), user: String::new() });
    }

    fn cancel(&mut self, at: &mut At<'_>, t: u64, pid: u32, key: &[u8]) {
        let victim = SHARED.find(&cancel::digest(at, pid, key));
        let mut event = self.event(at, t);
        event.core.rec = Some(Rec::Interaction);
        event.core.op = "CANCEL".to_owned();
        event.core.class = Some(Class::Admin);
        event.core.dur = Some(0);
        event.target.rtype = "session".to_owned();
        event.content.detail.insert(sql::PID, Value::Uint(u64::from(pid)));
        match victim {
            Some(victim) => {
                event.target.id.clone_from(&victim.session);
                event.links.sess = victim.session;
                let service = event.target.svc.clone();
                let login = identify::login(&victim.user, &service);
                event.who = identify::who(at.conn.address.clone(), at.conn.identity.as_deref(), login).who;
            }
            None => {
                event.content.detail.insert(sql::KEY_UNKNOWN, Value::Bool(true));
                event.core.labels = vec!["security".to_owned()];
                event.content.err = "cancel request with the key of no session that is open here".to_owned();
            }
        }
        self.push(at, event);
    }
}

/// The session's name in `links.sess`: the run, and the number of its connection in it.
fn session_id(at: &At<'_>) -> String {
    use std::fmt::Write;
    let mut id = String::with_capacity(33);
    for byte in at.context.run {
        let _ = write!(id, "{byte:02x}");
    }
    let _ = write!(id, "-{}", at.conn.id);
    id
}

/// SQLSTATE and text of an error. What it quotes may be data and is left out.
fn set_error(event: &mut Event, error: &Error) {
    if !error.state.is_empty() {
        event.core.status = Some((StatusSpace::Sqlstate, error.state.clone()));
    }
    let names = error.state.starts_with("42P") || matches!(error.state.as_str(), "42703" | "42501" | "3D000");
    let text = if names { error.text.clone() } else { unquoted(&error.text) };
    let (text, hits) = clean_text(text.as_bytes(), ERROR_MAX);
    event.content.err = text;
    if hits > 0 {
        event.content.redacted.push(("error".to_owned(), hits));
    }
}

/// `text` with what stands in quotes replaced.
fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = None;
    for c in text.chars() {
        match (inside, c) {
            (None, '"' | '\'' | '«' | '“' | '`') => {
                inside = Some(match c {
                    '«' => '»',
                    '“' => '”',
                    other => other,
                });
                out.push(c);
                out.push('?');
            }
            (Some(end), c) if c == end => {
                inside = None;
                out.push(c);
            }
            (Some(_), _) => {}
            (None, c) => out.push(c),
        }
    }
    out
}

/// The event's name for what a statement does.
fn class(of: Option<OpClass>) -> Option<Class> {
    of.map(identify::event_class)
}
