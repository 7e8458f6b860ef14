//! The half off the path: reads the tapped bytes of one connection, both directions, and tells what was
//! executed, with which result.
//!
//! Feed it the bytes in the order in which they passed ([`Session::up`], [`Session::down`]), from the
//! start-up packet on, and take what it tells ([`Session::told`]). Invariants: linear in the bytes; state is
//! bounded by the constants of this module and of [`super::statement`]; any split of the blocks tells the
//! same; passwords are never held; what does not fit together ends in [`Message::Lost`] and silence, not in
//! wrong records.

mod asks;
mod copy;
mod tells;

use self::copy::Running;
use super::assemble::{Assembler, Piece, Wanted};
use super::facts::Reading;
use super::record::{End, Error, Executed, Judged, Message, Opened};
use super::start::{First, first, parameters};
use super::statement::{Maps, Named, Portal, Statement};
use super::{HELD_MAX, START_MAX};
use crate::trace::{self, TraceContext};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Ended statements that wait for the transaction state that follows them, at most; beyond it they are told
/// without.
const DONE_MAX: usize = 1_024;
/// Messages that wait for their answer, at most; more is not this protocol.
const PENDING_MAX: usize = 1 << 20;
/// Longest value of a start-up parameter that is kept, bytes.
const PARAMETER_MAX: usize = 256;
/// First field of a SASLInitialResponse with channel binding.
const SCRAM_PLUS: &[u8] = b"SCRAM-SHA-256-PLUS\0";
/// A running copy is told of so often, ns.
pub const PROGRESS_NS: u64 = 60_000_000_000;
/// A running copy is told of after so many bytes.
pub const PROGRESS_BYTES: u64 = 64 << 20;

/// Digests and fingerprints, which are the caller's: this crate has no cryptography.
pub trait Digests: Send {
    /// 16 bytes that tell shapes of statements apart.
    fn fingerprint(&self, shape: &str) -> [u8; 16];
    /// A keyed digest of data that comes in pieces.
    fn start(&self) -> Box<dyn Digest>;
}

/// A keyed digest in progress.
pub trait Digest: Send {
    /// Takes more data.
    fn update(&mut self, bytes: &[u8]);
    /// Ends it.
    fn finish(self: Box<Self>) -> [u8; 32];
}

/// What a session keeps besides what it must.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keep parameters of Bind for the records.
    pub parameters: bool,
    /// Keep what begins, for [`Session::begun`].
    pub begun: bool,
    /// Bytes that all sessions of a process keep: [`super::statement::KEPT_ALL_MAX`].
    pub budget: Arc<AtomicUsize>,
}

/// A message that the server has not answered.
enum Pending {
    Startup,
    Parse {
        name: Vec<u8>,
        before: Option<Named<Statement>>,
        run: Box<Executed>,
    },
    Bind {
        name: Vec<u8>,
        before: Option<Named<Portal>>,
        run: Box<Executed>,
    },
    DescribeStatement(Option<Arc<Statement>>, Box<Executed>),
    DescribePortal(Option<Arc<Portal>>, Box<Executed>),
    CloseStatement {
        name: Vec<u8>,
        before: Option<Named<Statement>>,
        run: Box<Executed>,
    },
    ClosePortal {
        name: Vec<u8>,
        before: Option<Named<Portal>>,
        run: Box<Executed>,
    },
    Execute(Box<Executed>),
    Sync(Box<Executed>),
    Query(Box<Script>),
    Function(Box<Executed>),
    CopyEnd {
        failed: bool,
    },
    /// Only ReadyForQuery is missing.
    Cycle {
        number: u64,
    },
}

/// The statements of a simple Query.
struct Script {
    /// Those that have not ended, in order. The first is running.
    parts: VecDeque<Arc<Statement>>,
    run: Executed,
    /// Something has ended already.
    ended: bool,
    /// What the unnamed statement and portal were, should the server skip this message.
    before: (Option<Named<Statement>>, Option<Named<Portal>>),
    /// Its replication stream has ended once.
    replicated: bool,
}

impl Script {
    fn new(parts: VecDeque<Arc<Statement>>, run: Executed) -> Script {
        Script { parts, run, ended: false, before: (None, None), replicated: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    First,
    Login,
    Ready,
    Cancel,
    Lost,
}

/// See the module's documentation.
pub struct Session {
    digests: Box<dyn Digests>,
    options: Options,
    reading: Reading,
    phase: Phase,
    start: Vec<u8>,
    up: Assembler,
    down: Assembler,
    maps: Maps,
    queue: VecDeque<Pending>,
    skipping: bool,
    copying_in: bool,
    opened: Option<Box<Opened>>,
    application: String,
    /// Trace context in it.
    carried: Option<TraceContext>,
    /// The server asked for SASL; the client's next password message begins with the mechanism's name.
    sasl: bool,
    copy: Option<Running>,
    long_text: Option<Box<dyn Digest>>,
    state: u8,
    transaction: u64,
    /// Client messages so far.
    number: u64,
    verdict: Option<Judged>,
    last_words: Option<Error>,
    done: Vec<Executed>,
    begun: Vec<Executed>,
    told: VecDeque<Message>,
    terminated: bool,
}

impl Session {
    /// A session of which nothing was seen yet.
    pub fn new(digests: Box<dyn Digests>, options: Options) -> Session {
        Session {
            maps: Maps::new(Arc::clone(&options.budget)),
            digests,
            options,
            reading: Reading::default(),
            phase: Phase::First,
            start: Vec::new(),
            up: Assembler::default(),
            down: Assembler::default(),
            queue: VecDeque::new(),
            skipping: false,
            copying_in: false,
            opened: None,
            application: String::new(),
            carried: None,
            sasl: false,
            copy: None,
            long_text: None,
            state: 0,
            transaction: 1,
            number: 0,
            verdict: None,
            last_words: None,
            done: Vec::new(),
            begun: Vec::new(),
            told: VecDeque::new(),
            terminated: false,
        }
    }

    /// What there is to tell, oldest first.
    pub fn told(&mut self) -> Option<Message> {
        self.told.pop_front()
    }

    /// The name that the client gives itself now.
    pub fn application(&self) -> &str {
        &self.application
    }

    /// Whether the client said goodbye.
    pub fn terminated(&self) -> bool {
        self.terminated
    }

    /// Whether messages are still read.
    pub fn is_lost(&self) -> bool {
        self.phase == Phase::Lost
    }

    /// The next client message was judged: `token` comes back with its records. `denied`: it did not reach
    /// the server, a message that must fail took its place.
    pub fn judged(&mut self, token: u64, denied: bool) {
        self.verdict = Some(Judged { token, denied });
    }

    /// What began since this was last asked, with [`Options::begun`]: executions, and each statement of a
    /// simple Query.
    pub fn begun(&mut self) -> Vec<Executed> {
        std::mem::take(&mut self.begun)
    }

    /// Number that an operation will have whose message has begun to come and is too long to be held.
    pub fn beginning(&self) -> Option<u64> {
        let runs = matches!(self.up.unfinished()?, b'Q' | b'E' | b'F');
        (runs && self.phase == Phase::Ready).then_some(self.number + 1)
    }

    /// Messages passed unseen; nothing was open before them and nothing is open now. What they prepared is
    /// not known, and what was prepared before may be gone.
    pub fn resumed(&mut self) {
        self.queue.clear();
        (self.skipping, self.copying_in, self.copy) = (false, false, None);
        (self.up, self.down) = (Assembler::default(), Assembler::default());
        self.maps.statements.clear();
        self.maps.portals.clear();
        self.transaction += 1;
    }

    /// What the server said last before it ended the session, outside of any statement.
    pub fn last_words(&self) -> Option<&Error> {
        self.last_words.as_ref()
    }

    /// Bytes of the client that passed at `t`.
    pub fn up(&mut self, mut bytes: &[u8], t: u64) {
        if self.phase == Phase::First {
            self.start.extend_from_slice(bytes);
            bytes = &[];
            self.begin(t);
            if !matches!(self.phase, Phase::Login) {
                return;
            }
        }
        let rest = std::mem::take(&mut self.start);
        for mut block in [rest.as_slice(), bytes] {
            let mut up = std::mem::take(&mut self.up);
            let sasl = self.sasl;
            while let Some(piece) = up.next(&mut block, |tag, len| wanted_up(tag, len, sasl)) {
                if !matches!(self.phase, Phase::Login | Phase::Ready) {
                    break;
                }
                match piece {
                    Piece::Part(tag, part) => self.part(tag, part, true),
                    Piece::Message(tag, len, payload) => self.asked(tag, len, payload, t),
                }
            }
            self.up = up;
        }
    }

    /// Bytes of the server that passed at `t`.
    pub fn down(&mut self, bytes: &[u8], t: u64) {
        let mut block = bytes;
        let mut down = std::mem::take(&mut self.down);
        let login = self.phase == Phase::Login;
        while let Some(piece) = down.next(&mut block, |tag, _| wanted_down(tag, login)) {
            if !matches!(self.phase, Phase::Login | Phase::Ready) {
                break;
            }
            match piece {
                Piece::Part(tag, part) => self.part(tag, part, false),
                Piece::Message(tag, len, payload) => self.answered(tag, len, payload, t),
            }
        }
        self.down = down;
    }

    /// The connection has ended: what was open has no known outcome.
    pub fn end(&mut self, t: u64) {
        if let Some(mut opened) = self.opened.take() {
            opened.at.1 = t;
            self.told.push_back(Message::Opened(opened));
        }
        for pending in std::mem::take(&mut self.queue) {
            match pending {
                Pending::Execute(mut run) | Pending::Function(mut run) => {
                    self.end_copy(&mut run);
                    self.finish(*run, End::Unknown, t);
                }
                Pending::Query(script) => self.abandon(*script, End::Unknown, t),
                _ => {}
            }
        }
        self.flush();
        self.phase = Phase::Lost;
    }

    fn begin(&mut self, t: u64) {
        let start = std::mem::take(&mut self.start);
        match first(&start) {
            Ok(First::More) if start.len() < START_MAX as usize => self.start = start,
            Ok(First::Startup { len, version, parameters: names }) => {
                self.phase = Phase::Login;
                self.opened = Some(Box::new(opening(names, version, t)));
                self.set_application(self.opened.as_ref().map_or(String::new(), |o| o.application.clone()));
                self.queue.push_back(Pending::Startup);
                self.start = start.get(len..).unwrap_or_default().to_vec();
            }
            Ok(First::Cancel { pid, key, .. }) => {
                self.phase = Phase::Cancel;
                self.told.push_back(Message::Cancel { at: t, pid, key: key.to_vec() });
            }
            _ => self.lose("first packet", t),
        }
    }

    fn set_application(&mut self, name: String) {
        self.carried = trace::named(&name);
        self.application = name;
    }

    /// Payload bytes that are wanted in passing.
    fn part(&mut self, tag: u8, part: &[u8], up: bool) {
        match tag {
            b'd' => self.copied(part, up),
            // Of a statement too long to be held.
            b'P' | b'Q' => {
                let digests = &self.digests;
                self.long_text.get_or_insert_with(|| digests.start()).update(part);
            }
            _ => {}
        }
    }

    fn lose(&mut self, why: &'static str, t: u64) {
        if self.phase != Phase::Lost {
            self.end(t);
            self.told.push_back(Message::Lost { at: t, why });
        }
    }

    fn push(&mut self, pending: Pending, t: u64) {
        if self.queue.len() >= PENDING_MAX {
            return self.lose("too many messages without an answer", t);
        }
        if self.options.begun {
            match &pending {
                Pending::Execute(run) | Pending::Function(run) => self.begun.push((**run).clone()),
                Pending::Query(script) => self.begun.extend(
                    script
                        .parts
                        .iter()
                        .map(|part| Executed { statement: Some(Arc::clone(part)), ..script.run.clone() }),
                ),
                _ => {}
            }
        }
        self.queue.push_back(pending);
    }

    /// A record whose end is known; its transaction state follows.
    fn finish(&mut self, mut run: Executed, end: End, t: u64) {
        run.end = end;
        run.at.2 = t;
        run.transaction = self.transaction;
        // A pipeline that changes the name: which of the two it ran under is not known.
        run.carried = run.carried.filter(|_| run.carried == self.carried);
        if run.at.1.is_none() && matches!(end, End::Done | End::Failed) {
            run.at.1 = Some(t);
        }
        self.done.push(run);
        if self.done.len() >= DONE_MAX {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.told.extend(self.done.drain(..).map(|run| Message::Executed(Box::new(run))));
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("phase", &self.phase).field("pending", &self.queue.len()).finish()
    }
}

fn opening(names: &[u8], version: u32, t: u64) -> Opened {
    let mut opened =
        Opened { at: (t, t), version: ((version >> 16) as u16, version as u16), ..Opened::default() };
    for (name, value) in parameters(names) {
        let field = match name {
            b"user" => &mut opened.user,
            b"database" => &mut opened.database,
            b"application_name" => &mut opened.application,
            b"replication" => &mut opened.replication,
            _ => continue,
        };
        *field = shown(value, PARAMETER_MAX);
    }
    if opened.database.is_empty() {
        opened.database.clone_from(&opened.user);
    }
    opened
}

/// At most `most` bytes of text, made UTF-8.
fn shown(bytes: &[u8], most: usize) -> String {
    let mut text = String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)).into_owned();
    while text.len() > most {
        text.pop();
    }
    text
}

fn wanted_up(tag: u8, len: u32, sasl: bool) -> Wanted {
    let keep = match tag {
        b'P' | b'Q' | b'B' | b'F' => HELD_MAX as usize,
        b'E' | b'D' | b'C' => len as usize,
        // The mechanism's name and not a byte of what follows it.
        b'p' if sasl => SCRAM_PLUS.len(),
        _ => 0,
    };
    Wanted { keep, parts: tag == b'd' || matches!(tag, b'P' | b'Q') && len > HELD_MAX }
}

fn wanted_down(tag: u8, login: bool) -> Wanted {
    let keep = match tag {
        b'T' | b't' => 256 << 10,
        b'C' => 256,
        b'E' => 16 << 10,
        b'S' => 1_024,
        b'K' => 4 + super::start::KEY_MAX,
        b'A' => 1_024,
        b'R' if login => 1_024,
        b'Z' => 1,
        b'd' => 25,
        _ => 0,
    };
    Wanted { keep, parts: tag == b'd' }
}
