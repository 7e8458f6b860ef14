//! The inline half: what may pass, and how many records it will lead to.
//!
//! Bytes pass as they came. Only where a judge asks is a command held, whole or at least to its last key
//! ([`HOLD_MAX`]); a denied one is replaced by a command that no server knows, so that the server itself keeps
//! order, aborts a transaction and stays silent where it was told to, and its error is rewritten on the way
//! back. Invariant: what the server reads of a denied command is [`SUBSTITUTE`], nothing else.

use super::link::{Head, Link, Watch};
use super::pairs::{How, Kind, Sink};
use super::reply::Summary;
use super::request::Args;
use super::{rules, table};
use crate::stream::{Call, Farewell, Framer as Inline, Judge, Out, Refusal, Step};
use std::borrow::Cow;

/// Most bytes of a command that are held for its verdict.
pub const HOLD_MAX: usize = 1 << 20;
/// Commands without an answer at which the client is not read any more.
pub const OPEN_MAX: usize = 16_384;
/// Longest answer to a denied command that is waited for, bytes.
pub const DENIED_LINE_MAX: usize = 1_024;
/// What a client is told of commands that were not sent on for want of a record.
const UNRECORDED: &str = "commands cannot be recorded now";
/// Databases of which any may be the one that a queued command meets.
const DATABASES_MAX: usize = 8;

/// What the server gets in place of a denied command.
pub const SUBSTITUTE: &[u8] = b"*1\r\n$18\r\nCOUNTERSIGN.DENIED\r\n";
/// What the client gets in place of the server's answer to [`SUBSTITUTE`].
pub const NOPERM: &[u8] = b"-NOPERM this command is not permitted by policy (countersign)\r\n";

/// User that a command logs in as.
type Login = Option<Box<str>>;

/// What follows a verdict that came before the command's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Nothing: no command is half judged.
    None,
    Passes,
    Dropped,
}

/// See the module's documentation.
pub struct Framer {
    link: Link<Login>,
    arguments: Arguments,
    /// Bytes of the held command that were read.
    read: usize,
    /// Bytes of the present command that were passed.
    passed: u64,
    rest: Rest,
    known: Known,
    /// Rules that the client and the server broke.
    refused: [Option<&'static str>; 2],
}

impl Default for Framer {
    fn default() -> Framer {
        Framer {
            link: Link::default(),
            arguments: Arguments::default(),
            read: 0,
            passed: 0,
            rest: Rest::None,
            known: Known::default(),
            refused: [None; 2],
        }
    }
}

/// Arguments of the command that is being read: all of them while it is held, else the first three.
#[derive(Default)]
struct Arguments {
    head: Head,
    hold: bool,
    /// Where the bytes handed to the reader begin in what is held.
    from: usize,
    ranges: Vec<(usize, usize)>,
    /// Arguments of an inline command.
    words: Vec<Vec<u8>>,
}

impl Args for Arguments {
    fn begin(&mut self, argc: u32) {
        self.head.begin(argc);
        self.ranges.clear();
        self.words.clear();
    }

    fn arg(&mut self, index: u32, len: u64, at: Option<usize>) {
        self.head.arg(index, len, at);
        if !self.hold {
            return;
        }
        match at {
            Some(at) => self.ranges.push((self.from + at, usize::try_from(len).unwrap_or(usize::MAX))),
            None => self.words.push(Vec::new()),
        }
    }

    fn bytes(&mut self, index: u32, piece: &[u8]) {
        self.head.bytes(index, piece);
        if let Some(word) = self.words.last_mut() {
            word.extend_from_slice(piece);
        }
    }
}

impl Arguments {
    /// Argument `at`, if all of it is in `held`.
    fn get<'a>(&'a self, held: &'a [u8], at: usize) -> Option<&'a [u8]> {
        if let Some(word) = self.words.get(at) {
            return Some(word);
        }
        let (from, len) = *self.ranges.get(at)?;
        held.get(from..from.checked_add(len)?)
    }
}

/// What is known of the connection by the server's replies, for verdicts.
#[derive(Default)]
struct Known {
    user: Login,
    database: u64,
    /// Databases chosen within the open transaction: whether the server goes there shows at EXEC.
    queued: Vec<u64>,
    /// Databases chosen while replies were off.
    unseen: Vec<u64>,
    /// Commands that change the above and are not answered.
    unsettled: u32,
}

fn changes(kind: Kind, login: &Login) -> bool {
    matches!(kind, Kind::Select(_) | Kind::Reset) || login.is_some()
}

impl Known {
    fn applied(&mut self, kind: Kind, login: &Login) {
        match kind {
            Kind::Select(n) => {
                self.database = n;
                self.unseen.clear();
            }
            Kind::Reset => (self.database, self.user) = (0, None),
            _ => {}
        }
        if login.is_some() {
            self.user = login.clone();
        }
    }

    fn databases(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.database).chain(self.unseen.iter().copied()).chain(self.queued.iter().copied())
    }
}

impl Sink<Login> for Known {
    fn done(&mut self, kind: Kind, _denied: bool, login: Login, how: How, reply: Option<&Summary>) {
        if !matches!(how, How::Executed | How::Aborted | How::Watched | How::Discarded) {
            self.unsettled = self.unsettled.saturating_sub(u32::from(changes(kind, &login)));
        } else {
            self.queued.clear();
        }
        match how {
            How::Replied if reply.is_some_and(|r| !r.is_error()) => self.applied(kind, &login),
            How::Silent => {
                if let Kind::Select(n) = kind {
                    self.unseen.push(n);
                }
            }
            _ => {}
        }
    }

    fn element(&mut self, kind: Kind, login: &mut Login, reply: &Summary) {
        if !reply.is_error() {
            self.applied(kind, login);
        }
    }

    fn queued(&mut self, kind: Kind, login: &mut Login) {
        self.unsettled = self.unsettled.saturating_sub(u32::from(changes(kind, login)));
        if let Kind::Select(n) = kind {
            self.queued.push(n);
        }
    }
}

impl Watch<Login> for Known {
    const FIELDS: bool = false;
    fn field(&mut self, _index: u64, _field: &Summary) {}
    fn message(&mut self, _bytes: u64) {}
    fn progress(&mut self, _replication: bool) {}
    fn value(&mut self) {}
    fn size(&mut self, _bytes: u64) {}
}

impl Framer {
    /// A framer at the beginning of a connection.
    pub fn new() -> Framer {
        Framer::default()
    }

    fn refusal(&self, rule: &'static str) -> Refusal {
        // Behind an unfinished reply, or before owed ones, an error would be read as something else.
        let idle = self.link.pairs.idle() && self.link.quiet() && !self.link.replica;
        let answer = if idle { format!("-ERR Protocol error: {rule}\r\n").into_bytes() } else { Vec::new() };
        Refusal { rule, answer }
    }

    fn refuse<T>(&mut self, rule: &'static str) -> Result<T, Refusal> {
        self.refused[0] = Some(rule);
        Err(self.refusal(rule))
    }

    fn refuse_server<T>(&mut self, rule: &'static str) -> Result<T, Refusal> {
        self.refused[1] = Some(rule);
        Err(self.refusal(rule))
    }

    /// Whether the client must not be read now.
    fn waits(&self) -> bool {
        let deciding = self.link.pairs.sync_is_last() && !self.link.replica;
        deciding || self.link.pairs.open() >= OPEN_MAX
    }

    /// Passes commands as they come, as many as there are.
    fn unjudged(&mut self, buf: &[u8]) -> Result<Step, Refusal> {
        self.arguments.hold = false;
        let (mut at, mut records) = (0, 0);
        while at < buf.len() && !self.waits() {
            let read = self.link.commands.read(buf.get(at..).unwrap_or_default(), &mut self.arguments);
            let counted = read.and_then(|read| {
                self.passed += read.len as u64;
                if read.done {
                    records += self.sent(false, None)?;
                } else if self.link.commands.is_between() {
                    self.passed = 0;
                }
                at += read.len;
                Ok(read.done)
            });
            match counted {
                Ok(true) => {}
                Ok(false) => break,
                // What came before the fault passes first.
                Err(rule) if at > 0 => {
                    self.refused[0] = Some(rule);
                    break;
                }
                Err(rule) => return self.refuse(rule),
            }
        }
        Ok(if at == 0 && self.waits() { Step::wait() } else { Step::pass(at, records) })
    }

    /// The present command goes on, or its substitute does.
    fn sent(&mut self, denied: bool, login: Login) -> Result<u32, &'static str> {
        let kind = if denied { Kind::Plain } else { self.arguments.head.kind() };
        self.known.unsettled += u32::from(changes(kind, &login));
        let len = std::mem::take(&mut self.passed);
        let records = self.link.sent(kind, denied, len, login, &mut self.known)?;
        if self.known.queued.len() + self.known.unseen.len() > DATABASES_MAX {
            return Err(rules::TRANSACTION);
        }
        Ok(records)
    }

    /// Holds one command and asks.
    fn judged(&mut self, buf: &[u8], judge: &mut dyn Judge) -> Result<Step, Refusal> {
        if self.read == 0 && self.known.unsettled > 0 && self.link.commands.is_between() {
            return Ok(Step::wait());
        }
        self.arguments.hold = true;
        self.arguments.from = self.read;
        let fresh = buf.get(self.read..).unwrap_or_default();
        let read = match self.link.commands.read(fresh, &mut self.arguments) {
            Ok(read) => read,
            Err(rule) => return self.refuse(rule),
        };
        self.read += read.len;
        let whole = read.done;
        if !whole {
            if self.link.commands.is_between() {
                // Blank lines are no command.
                return Ok(Step::pass(std::mem::take(&mut self.read), 0));
            }
            if self.read < HOLD_MAX {
                return Ok(Step::more());
            }
        }
        let held = buf.get(..self.read).unwrap_or_default();
        let Some((denied, login)) = self.verdict(held, whole, judge) else {
            return self.refuse(rules::TOO_LARGE);
        };
        let len = std::mem::take(&mut self.read);
        self.passed = len as u64;
        if !whole {
            self.rest = if denied { Rest::Dropped } else { Rest::Passes };
        }
        let records = if whole || denied {
            match self.sent(denied, login) {
                Ok(records) => records,
                Err(rule) => return self.refuse(rule),
            }
        } else {
            0
        };
        let out = match (denied, self.link.replica) {
            (false, _) => Out::Same,
            (true, false) => Out::Instead(SUBSTITUTE.to_vec()),
            (true, true) => Out::Instead(Vec::new()),
        };
        Ok(Step { len, records, out, wait: false })
    }

    /// The rest of a command whose verdict came before its end.
    fn rest(&mut self, buf: &[u8]) -> Result<Step, Refusal> {
        self.arguments.hold = false;
        let read = match self.link.commands.read(buf, &mut self.arguments) {
            Ok(read) => read,
            Err(rule) => return self.refuse(rule),
        };
        let dropped = self.rest == Rest::Dropped;
        let mut records = 0;
        self.passed += read.len as u64;
        if read.done {
            self.rest = Rest::None;
            if dropped {
                self.passed = 0;
            } else {
                records = match self.sent(false, None) {
                    Ok(records) => records,
                    Err(rule) => return self.refuse(rule),
                };
            }
        }
        let out = if dropped { Out::Instead(Vec::new()) } else { Out::Same };
        Ok(Step { len: read.len, records, out, wait: false })
    }

    /// Asks about the held command. `None` = its keys are not known.
    fn verdict(&self, held: &[u8], whole: bool, judge: &mut dyn Judge) -> Option<(bool, Login)> {
        let argc = self.arguments.head.argc as usize;
        let arg = |at: usize| self.arguments.get(held, at);
        let row = table::row(arg(0)?, arg(1));
        let found = row.map(|row| table::keys(row.keys, argc, usize::MAX, &arg)).unwrap_or_default();
        let known = !found.incomplete && found.at.iter().all(|at| arg(*at).is_some());
        let enough = whole || (known && row.is_some());
        if !enough {
            return None;
        }
        let resources: Vec<String> =
            found.at.iter().filter_map(|at| arg(*at)).map(super::session::shown).collect();
        let operation = match row {
            Some(row) => Cow::Owned(row.name.replace('|', " ")),
            None => Cow::Owned(super::session::shown(arg(0)?).to_ascii_uppercase()),
        };
        let mut call = Call {
            operation,
            class: row.map(|row| table::class_of(row, argc, &arg)),
            namespace: Cow::Borrowed(""),
            user: Cow::Borrowed(self.known.user.as_deref().unwrap_or_default()),
            resource_type: if found.channels { "channel" } else { "key" },
            resources,
        };
        let mut denied = false;
        for database in self.known.databases() {
            call.namespace = Cow::Owned(database.to_string());
            if judge.denies(&call) {
                denied = true;
                break;
            }
        }
        let login = row.and_then(|row| super::session::login(row.name, argc, &arg));
        Some((denied, login.map(String::into_boxed_str)))
    }

    /// The answer to a denied command is at the front of `buf`.
    fn denial(&mut self, buf: &[u8]) -> Result<Step, Refusal> {
        let window = buf.get(..DENIED_LINE_MAX).unwrap_or(buf);
        let Some(end) = memchr::memmem::find(window, b"\r\n") else {
            return if window.len() < DENIED_LINE_MAX {
                Ok(Step::more())
            } else {
                self.refuse_server(rules::REPLY_LENGTH)
            };
        };
        let line = window.get(..end + 2).unwrap_or_default();
        self.link.denied = false;
        let down = self.link.down(line, false, &mut self.known);
        if let Some(rule) = down.fault {
            return self.refuse_server(rule);
        }
        Ok(if self.link.denied {
            Step::instead(line.len(), down.records, NOPERM.to_vec())
        } else {
            Step::pass(line.len(), down.records)
        })
    }
}

impl Inline for Framer {
    fn up(&mut self, buf: &[u8], judge: &mut dyn Judge) -> Result<Step, Refusal> {
        if let Some(rule) = self.refused[0] {
            return Err(self.refusal(rule));
        }
        if self.waits() {
            return Ok(Step::wait());
        }
        if self.rest != Rest::None {
            return self.rest(buf);
        }
        // A command that has begun to pass is not judged any more.
        let begun = self.passed > 0 && !self.link.commands.is_between();
        if (judge.asks() && !begun) || self.read > 0 { self.judged(buf, judge) } else { self.unjudged(buf) }
    }

    fn down(&mut self, buf: &[u8]) -> Result<Step, Refusal> {
        if let Some(rule) = self.refused[1] {
            return Err(self.refusal(rule));
        }
        let down = self.link.down(buf, true, &mut self.known);
        if down.len == 0 && down.held {
            return self.denial(buf);
        }
        match down.fault {
            Some(rule) if down.len == 0 => self.refuse_server(rule),
            fault => {
                self.refused[1] = fault;
                Ok(Step::pass(down.len, down.records))
            }
        }
    }

    fn idle(&self) -> bool {
        self.link.idle() && self.read == 0 && self.rest == Rest::None
    }

    fn farewell(&self, why: Farewell) -> Vec<u8> {
        if !self.idle() {
            return Vec::new();
        }
        let text = match why {
            Farewell::Shutdown => "the gateway is shutting down",
            Farewell::Unreachable => "the server cannot be reached",
            Farewell::Unrecorded => UNRECORDED,
            Farewell::Limit => "a limit of the gateway is reached",
        };
        format!("-ERR countersign: {text}\r\n").into_bytes()
    }

    fn refuse_withheld(&self, withheld: usize) -> Vec<u8> {
        // Where the server still owes a reply, an error would be taken for that one.
        let next = self.link.pairs.open() == withheld && self.link.pairs.replies() && self.link.quiet();
        if !next || self.link.replica {
            return Vec::new();
        }
        format!("-ERR countersign: {UNRECORDED}\r\n").into_bytes()
    }
}
