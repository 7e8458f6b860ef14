//! The decoder: what was said, one result for each command and each message of a subscription.
//!
//! Sees the same bytes as the framer, in the same order, off the path. Invariants: no value, password or script
//! text is in any result or debug form; what is kept of a command is bounded ([`KEYS_MAX`], [`KEY_MAX`]), and so
//! is what is kept of all open ones ([`OPEN_BYTES_MAX`]); the name of a command is kept only when the table
//! or the server knows it.

mod collect;

use super::link::{Link, Watch};
use super::pairs::{How, Kind, Sink};
use super::reply::Summary;
use crate::stream::OpClass;
use collect::Collect;
pub(super) use collect::{login, shown};

/// Keys of one command that are kept.
pub const KEYS_MAX: usize = 64;
/// Bytes of a key that are kept.
pub const KEY_MAX: usize = 256;
/// Bytes of names and keys kept of a connection's open commands; beyond it only counts are.
pub const OPEN_BYTES_MAX: usize = 4 << 20;

/// What a reply was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Its type: `status`, `error`, `integer`, `bulk`, `array`, `map`, `set`, `push`, `double`, `boolean`,
    /// `null`, `big_number`, `verbatim`.
    pub kind: &'static str,
    /// First word of an error, where it is in upper-case letters.
    pub error: Option<String>,
    /// It is an error.
    pub is_error: bool,
    /// Elements of an aggregate (a map's keys and values both), else 0.
    pub elements: u64,
    /// All its bytes. 0 for an element of EXEC's reply.
    pub bytes: u64,
}

/// A command and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Number of the command on its connection, from 1.
    pub seq: u64,
    /// Name in upper case, with the sub-command; empty when neither table nor server knows it.
    pub operation: String,
    /// What it does; `None` = not known.
    pub class: Option<OpClass>,
    /// Whether [`Command::keys`] are channels.
    pub channels: bool,
    /// Keys as text (bytes that are none are escaped: `\xff`), at most [`KEYS_MAX`].
    pub keys: Vec<String>,
    /// How many there are.
    pub key_count: u64,
    /// More keys may be touched than are counted.
    pub keys_incomplete: bool,
    /// Database, where known.
    pub database: Option<u64>,
    /// Protocol version of the reply.
    pub resp: u8,
    /// User that was logged in, where the login was seen.
    pub user: Option<String>,
    /// Name that the client gave itself.
    pub client_name: Option<String>,
    /// Monotonic ns: last byte of the command, first and last byte of the reply.
    pub times: [u64; 3],
    /// Bytes of the command.
    pub bytes: u64,
    /// Number of arguments, its name included.
    pub argc: u32,
    /// SHA-1 of a script, in hex.
    pub script: Option<String>,
    /// Name of a function.
    pub function: Option<String>,
    /// Number of the transaction on this connection, from 1.
    pub multi: Option<u64>,
    /// Rules by which arguments were held back, and how many.
    pub redacted: Vec<(&'static str, u64)>,
    /// It did not reach the server.
    pub denied: bool,
    /// How it ended.
    pub how: Option<How>,
    /// The reply, where there was one.
    pub reply: Option<Reply>,
    /// It turned the connection into a replica's; bytes each way since.
    pub replicated: Option<(u64, u64)>,
}

/// A message that a subscription brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `message`, `pmessage`, `smessage`.
    pub operation: &'static str,
    /// Channel, shown as keys are.
    pub channel: String,
    /// Pattern that matched.
    pub pattern: Option<String>,
    /// Bytes of what was published.
    pub payload: u64,
    /// Bytes of all.
    pub bytes: u64,
    /// Monotonic ns: first and last byte.
    pub times: [u64; 2],
    /// It did not come to its end.
    pub cut: bool,
    /// Protocol version.
    pub resp: u8,
    /// User, as in [`Command::user`].
    pub user: Option<String>,
    /// Name that the client gave itself.
    pub client_name: Option<String>,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A command was sent; only when asked for ([`Session::announce`]).
    Sent(Box<Command>),
    /// A command ended.
    Command(Box<Command>),
    /// A message came.
    Message(Box<Message>),
    /// [`super::PROGRESS_BYTES`] more of MONITOR, or of replication with its bytes each way so far.
    Progress {
        /// Bytes each way; `None` = MONITOR.
        replicated: Option<(u64, u64)>,
    },
}

/// The verdict on a command, for [`Session::up`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Something else went to the server.
    pub denied: bool,
}

/// An open command.
pub(super) struct Open {
    command: Command,
    effect: Effect,
    /// What it counts for in [`OPEN_BYTES_MAX`].
    weight: usize,
}

/// What a command changes when it succeeds.
#[derive(Clone, Default)]
pub(super) struct Effect {
    pub(super) user: Option<String>,
    pub(super) client_name: Option<String>,
}

/// See the module's documentation.
pub struct Session {
    link: Link<Open>,
    collect: Collect,
    state: State,
    seq: u64,
    /// The rest of the command being read was denied with its beginning.
    dropping: bool,
    announce: bool,
}

/// What the server's replies have made true, and results not handed out.
struct State {
    user: Option<String>,
    client_name: Option<String>,
    database: Option<u64>,
    resp: u8,
    multi: u64,
    in_multi: bool,
    open_bytes: usize,
    t: u64,
    value_t: u64,
    value_bytes: u64,
    message: Option<Box<Message>>,
    replicated: Option<(u64, u64)>,
    found: Vec<Found>,
}

impl Default for Session {
    fn default() -> Session {
        Session {
            link: Link::default(),
            collect: Collect::default(),
            state: State {
                user: None,
                client_name: None,
                database: Some(0),
                resp: 2,
                multi: 0,
                in_multi: false,
                open_bytes: 0,
                t: 0,
                value_t: 0,
                value_bytes: 0,
                message: None,
                replicated: None,
                found: Vec::new(),
            },
            seq: 1,
            dropping: false,
            announce: false,
        }
    }
}

impl Session {
    /// A session at the beginning of a connection.
    pub fn new() -> Session {
        Session::default()
    }

    /// Makes [`Found::Sent`] for each command from here on.
    pub fn announce(&mut self) {
        self.announce = true;
    }

    /// Number of the command that the next bytes belong to.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Bytes from the client, at `t` (monotonic ns). With a verdict they are one command, or the beginning of it.
    ///
    /// # Errors
    /// The rule that they break; the framer lets no such bytes through.
    pub fn up(&mut self, bytes: &[u8], t: u64, verdict: Option<Verdict>) -> Result<Vec<Found>, &'static str> {
        self.state.t = t;
        let mut rest = bytes;
        while !rest.is_empty() {
            let read = self.link.commands.read(rest, &mut self.collect)?;
            self.collect.size += read.len as u64;
            rest = rest.get(read.len..).unwrap_or_default();
            if !read.done {
                break;
            }
            if std::mem::take(&mut self.dropping) {
                self.collect.size = 0;
            } else {
                self.sent(verdict.is_some_and(|v| v.denied))?;
            }
        }
        // A long command may be denied before its end; the answer comes without waiting for that.
        if verdict.is_some_and(|v| v.denied) && !self.link.commands.is_between() && !self.dropping {
            self.dropping = true;
            self.sent(true)?;
        }
        Ok(std::mem::take(&mut self.state.found))
    }

    fn sent(&mut self, denied: bool) -> Result<(), &'static str> {
        let kind = self.collect.head.kind();
        let (mut command, effect) = self.collect.command();
        command.seq = self.seq;
        self.seq += 1;
        command.times = [self.state.t; 3];
        command.denied = denied;
        let mut weight = size_of::<Command>() + command.keys.iter().map(String::len).sum::<usize>();
        if self.state.open_bytes + weight > OPEN_BYTES_MAX {
            command.keys = Vec::new();
            weight = 0;
        }
        self.state.open_bytes += weight;
        if self.announce {
            let mut early = command.clone();
            self.state.fill(&mut early);
            // Whether the server knows it shows later.
            early.settle_name(false);
            self.state.found.push(Found::Sent(Box::new(early)));
        }
        let len = command.bytes;
        self.link.sent(kind, denied, len, Open { command, effect, weight }, &mut self.state)?;
        Ok(())
    }

    /// Bytes from the server, at `t` (monotonic ns).
    ///
    /// # Errors
    /// As [`Session::up`].
    pub fn down(&mut self, bytes: &[u8], t: u64) -> Result<Vec<Found>, &'static str> {
        self.state.t = t;
        let down = self.link.down(bytes, false, &mut self.state);
        if self.link.replica {
            self.state.replicated = Some(self.link.replicated);
        }
        let found = std::mem::take(&mut self.state.found);
        down.fault.map_or(Ok(found), Err)
    }

    /// Bytes were not shown: what replies had made true is not known any more.
    pub fn resumed(&mut self) {
        self.link.pairs.unsure();
        (self.state.user, self.state.client_name, self.state.database) = (None, None, None);
    }

    /// The connection has ended at `t`: everything that is open ends with it.
    pub fn end(&mut self, t: u64) -> Vec<Found> {
        self.state.t = t;
        if self.link.replica {
            self.state.replicated = Some(self.link.replicated);
        }
        self.link.pairs.end(&mut self.state);
        if let Some(mut message) = self.state.message.take() {
            message.cut = true;
            message.times[1] = t;
            self.state.found.push(Found::Message(message));
        }
        std::mem::take(&mut self.state.found)
    }
}

impl State {
    /// What holds for a command that the server handles now.
    fn fill(&self, command: &mut Command) {
        command.database = self.database;
        command.resp = self.resp;
        command.user.clone_from(&self.user);
        command.client_name.clone_from(&self.client_name);
    }

    fn apply(&mut self, kind: Kind, effect: &Effect) {
        match kind {
            Kind::Select(n) => self.database = Some(n),
            Kind::Hello(version @ (2 | 3)) => self.resp = version,
            Kind::Reset => {
                (self.database, self.resp, self.user, self.client_name) = (Some(0), 2, None, None);
            }
            _ => {}
        }
        if effect.user.is_some() {
            self.user.clone_from(&effect.user);
        }
        if let Some(name) = &effect.client_name {
            self.client_name = Some(name.clone()).filter(|n| !n.is_empty());
        }
    }

    fn reply(&self, reply: &Summary, bytes: u64) -> Reply {
        let aggregate = matches!(reply.kind, b'*' | b'%' | b'~' | b'>');
        Reply {
            kind: if reply.null { "null" } else { kind_name(reply.kind) },
            error: reply.is_error().then(|| error_word(reply.text.get())).flatten(),
            is_error: reply.is_error(),
            elements: if aggregate { reply.size } else { 0 },
            bytes,
        }
    }
}

impl Sink<Open> for State {
    fn done(&mut self, kind: Kind, denied: bool, open: Open, how: How, reply: Option<&Summary>) {
        let Open { mut command, effect, weight } = open;
        self.open_bytes = self.open_bytes.saturating_sub(weight);
        command.how = Some(how);
        command.denied |= denied;
        match how {
            How::Replied => {
                self.fill(&mut command);
                command.times = [command.times[0], self.value_t, self.t];
                command.reply = reply.map(|r| self.reply(r, self.value_bytes));
                if kind == Kind::Multi && reply.is_some_and(|r| !r.is_error()) {
                    self.multi += 1;
                    self.in_multi = true;
                    command.multi = Some(self.multi);
                } else if self.in_multi && matches!(kind, Kind::Exec | Kind::Discard | Kind::Reset) {
                    self.in_multi = false;
                    command.multi = Some(self.multi);
                }
                // A login is the new user's own.
                if reply.is_some_and(|r| !r.is_error()) && !denied {
                    self.apply(kind, &effect);
                    if effect.user.is_some() {
                        command.user.clone_from(&self.user);
                    }
                }
            }
            How::Silent => {
                self.fill(&mut command);
                // What it changes is believed: nobody will ever say.
                self.apply(kind, &effect);
            }
            How::Open => {
                self.fill(&mut command);
                if kind == Kind::Sync && self.replicated.is_some() {
                    command.replicated = self.replicated;
                }
                command.times[2] = self.t;
            }
            How::Executed => command.times[2] = self.t,
            How::Watched | How::Aborted | How::Discarded => {
                self.fill(&mut command);
                command.times[2] = self.t;
            }
        }
        let accepted = command.multi.is_some() || command.reply.as_ref().is_some_and(|r| !r.is_error);
        command.settle_name(accepted);
        self.found.push(Found::Command(Box::new(command)));
    }

    fn element(&mut self, kind: Kind, open: &mut Open, reply: &Summary) {
        self.fill(&mut open.command);
        open.command.times[1] = self.value_t;
        open.command.reply = Some(self.reply(reply, 0));
        if !reply.is_error() {
            let effect = open.effect.clone();
            self.apply(kind, &effect);
        }
    }

    fn queued(&mut self, _kind: Kind, open: &mut Open) {
        open.command.multi = Some(self.multi);
    }
}

impl Watch<Open> for State {
    const FIELDS: bool = true;

    fn field(&mut self, index: u64, field: &Summary) {
        if index == 0 {
            let operation = match field.text.get() {
                b"pmessage" => "pmessage",
                b"smessage" => "smessage",
                _ => "message",
            };
            self.message = Some(Box::new(Message {
                operation,
                times: [self.value_t, self.t],
                resp: self.resp,
                user: self.user.clone(),
                client_name: self.client_name.clone(),
                ..Message::default()
            }));
            return;
        }
        let Some(message) = &mut self.message else { return };
        match (index, message.operation) {
            (1, "pmessage") => message.pattern = Some(shown(field.text.get())),
            (1, _) | (2, "pmessage") => message.channel = shown(field.text.get()),
            _ => message.payload = field.size,
        }
    }

    fn message(&mut self, bytes: u64) {
        if let Some(mut message) = self.message.take() {
            message.bytes = bytes;
            message.times[1] = self.t;
            self.found.push(Found::Message(message));
        }
    }

    fn progress(&mut self, replication: bool) {
        let replicated = replication.then(|| self.replicated.unwrap_or_default());
        self.found.push(Found::Progress { replicated });
    }

    fn value(&mut self) {
        self.value_t = self.t;
    }

    fn size(&mut self, bytes: u64) {
        self.value_bytes = bytes;
    }
}

fn kind_name(kind: u8) -> &'static str {
    match kind {
        b'+' => "status",
        b'-' | b'!' => "error",
        b':' => "integer",
        b'$' => "bulk",
        b'*' => "array",
        b'%' => "map",
        b'~' => "set",
        b'>' => "push",
        b',' => "double",
        b'#' => "boolean",
        b'_' => "null",
        b'(' => "big_number",
        b'=' => "verbatim",
        _ => "other",
    }
}

/// The first word of an error, if it is in upper-case letters.
fn error_word(text: &[u8]) -> Option<String> {
    let word = text.split(|b| *b == b' ').next().unwrap_or_default();
    let fits = !word.is_empty() && word.len() <= 32 && word.iter().all(u8::is_ascii_uppercase);
    fits.then(|| String::from_utf8_lossy(word).into_owned())
}
