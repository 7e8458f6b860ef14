//! The inline half: walks tags and lengths, announces records, and puts failing messages in the place of
//! denied ones.
//!
//! Not the decoder: values are not read. Invariants: a message passes byte by byte unless it is denied, and
//! is held only while a verdict on it is asked; of a message that passes, 5 bytes are looked at; an
//! ErrorResponse is rewritten only when it answers a message of ours; in every other case transaction state,
//! skipping and ReadyForQuery are the server's own.

use super::answer::{self, fatal};
use super::judged::{Judged, Verdict};
use super::message::{Reader, failure};
use super::queue::{Ask, Queue};
use super::start::{First, first, refusal};
use super::{AUTH_MESSAGE_MAX, HEADER, HELD_MAX, MESSAGE_MAX, SMALL_MESSAGE_MAX, header};
use crate::stream::{self, Farewell, Judge, Out, Refusal, Step};

/// Longest ErrorResponse of the login that is taken for one; servers before 7.4 and failing forks send text
/// without a length (libpq draws the same line).
pub(super) const START_ERROR_MAX: u32 = 30_000;
/// Longest ErrorResponse that is held to be rewritten, bytes. A longer one passes as it is.
const ERROR_MAX: u32 = 64 << 10;
/// Records of a session: its begin and its end.
const SESSION_RECORDS: u32 = 2;

/// What the gateway's own setting makes impossible.
#[derive(Clone, Copy, Debug, Default)]
pub struct FramerOptions {
    /// TLS ends here and begins anew towards the server with another certificate: SCRAM with channel binding
    /// cannot succeed, and a session whose server offers it ends with a text that says so.
    pub no_binding: bool,
    /// Nothing that runs a statement begins to pass before all of it is there, up to [`HELD_MAX`]: what it is
    /// must be known, and recorded, before the server sees its first byte.
    pub whole: bool,
}

/// Text of that end: the ways out.
pub const BINDING: &str = "SCRAM channel binding ends at the gateway (countersign): configure scram = \"same-certificate\" \
(the gateway has the server's certificate and key), \"unbound\" (a server without TLS, or over a UNIX socket), \
\"verify\" (the gateway verifies with StoredKey and ServerKey) or \"identity\" (the gateway has its own login)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing came yet.
    First,
    /// The start-up packet passed.
    Session,
    /// A cancellation passed; nothing may follow.
    Cancel,
}

/// How the rest of a message that has begun to pass is treated.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    left: u32,
    /// Another message took its place.
    drop: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Framer {
    options: FramerOptions,
    phase: Phase,
    queue: Queue,
    up: Rest,
    down: Rest,
    /// State of the last ReadyForQuery; 0 before the first.
    state: u8,
    /// Statements of the running Query that have ended.
    ended: u32,
    /// It copies both ways, and ends with two completions.
    replicates: bool,
    /// The server speaks without lengths: text up to its end of file.
    unframed: bool,
    judged: Judged,
    broken: Option<Refusal>,
}

impl Default for Framer {
    fn default() -> Framer {
        Framer::new(FramerOptions::default())
    }
}

impl Framer {
    /// A connection of which nothing was seen yet.
    pub fn new(options: FramerOptions) -> Framer {
        Framer {
            options,
            phase: Phase::First,
            queue: Queue::default(),
            up: Rest::default(),
            down: Rest::default(),
            state: 0,
            ended: 0,
            unframed: false,
            replicates: false,
            judged: Judged::default(),
            broken: None,
        }
    }

    /// Number of steps to come is bounded by the bytes: every step takes some, or asks for more.
    fn up_step(&mut self, buf: &[u8], judge: &mut dyn Judge) -> Result<Step, Refusal> {
        match self.phase {
            Phase::First => return self.begin(buf),
            Phase::Cancel => {
                return Err(refusal("bytes after cancel request", "nothing may follow a cancel"));
            }
            Phase::Session => {}
        }
        if self.up.drop {
            let taken = take(&mut self.up, buf);
            self.up.drop = self.up.left > 0;
            return Ok(Step::instead(taken, 0, Vec::new()));
        }
        let asks = judge.asks();
        let mut at = take(&mut self.up, buf);
        let mut records = 0;
        while let Some((tag, len)) = buf.get(at..).and_then(header) {
            check_up(tag, len)?;
            if self.queue.is_full() {
                return Ok(if at > 0 { Step::pass(at, records) } else { Step::wait() });
            }
            if asks && is_judged(tag) {
                if at > 0 {
                    return Ok(Step::pass(at, records));
                }
                return Ok(self.judged_step(tag, len, buf, judge));
            }
            if self.options.whole && runs(tag) && len <= HELD_MAX && buf.len() - at <= len as usize {
                return Ok(if at > 0 { Step::pass(at, records) } else { Step::more() });
            }
            records += self.asked(tag, false);
            at += HEADER;
            self.up.left = len - 4;
            at += take(&mut self.up, buf.get(at..).unwrap_or_default());
        }
        Ok(Step::pass(at, records))
    }

    fn begin(&mut self, buf: &[u8]) -> Result<Step, Refusal> {
        match first(buf)? {
            First::More => Ok(Step::more()),
            First::Ssl | First::GssEnc => {
                Err(refusal("encryption requested late", "encryption cannot be requested here"))
            }
            First::Cancel { len, .. } => {
                self.phase = Phase::Cancel;
                Ok(Step::pass(len, 1))
            }
            First::Startup { len, parameters, .. } => {
                self.phase = Phase::Session;
                self.judged.begin(parameters);
                self.queue.push(Ask::Startup, false);
                Ok(Step::pass(len, SESSION_RECORDS))
            }
        }
    }

    /// Accounts for a message that goes to the server; returns the records that it will lead to.
    fn asked(&mut self, tag: u8, denied: bool) -> u32 {
        let (ask, records) = match tag {
            b'P' => (Ask::Parse, 0),
            b'B' => (Ask::Bind, 0),
            b'D' => (Ask::Describe, 0),
            b'C' => (Ask::Close, 0),
            b'E' => (Ask::Execute, 1),
            b'S' => (Ask::Sync, 0),
            b'Q' => (Ask::Query, 1),
            b'F' => (Ask::Function, 1),
            b'c' | b'f' => (Ask::CopyEnd, 0),
            // CopyData, Flush, Terminate and password messages are not answered one by one.
            _ => return 0,
        };
        self.queue.push(ask, denied);
        records
    }

    /// A whole message that a verdict is asked for, at the front of `buf`.
    fn judged_step(&mut self, tag: u8, len: u32, buf: &[u8], judge: &mut dyn Judge) -> Step {
        let whole = len as usize + 1;
        let verdict = match buf.get(HEADER..whole) {
            Some(payload) => self.judged.verdict(tag, payload, judge),
            None if len <= HELD_MAX => return Step::more(),
            None => self.judged.too_long(tag, judge),
        };
        if verdict == Verdict::Pass {
            let records = self.asked(tag, false);
            self.up.left = len - 4;
            let taken = HEADER + take(&mut self.up, buf.get(HEADER..).unwrap_or_default());
            return Step::pass(taken.min(whole), records);
        }
        let bytes = match tag {
            b'P' => {
                let name = buf.get(HEADER..).and_then(|b| Reader::new(b).text()).unwrap_or_default();
                answer::failing_parse(name)
            }
            b'E' => answer::failing_execute(),
            // FunctionCall too: both are answered by an error and ReadyForQuery.
            _ => answer::failing_query(),
        };
        let records = self.asked(tag, true);
        self.up = Rest { left: len - 4, drop: true };
        let taken = HEADER + take(&mut self.up, buf.get(HEADER..).unwrap_or_default());
        self.up.drop = self.up.left > 0;
        Step::instead(taken, records, bytes)
    }

    fn down_step(&mut self, buf: &[u8]) -> Result<Step, Refusal> {
        if self.unframed {
            return Ok(Step::pass(buf.len(), 0));
        }
        let mut at = take(&mut self.down, buf);
        let mut records = 0;
        while let Some((tag, len)) = buf.get(at..).and_then(header) {
            if self.is_unframed(tag, len) {
                self.unframed = true;
                return Ok(Step::pass(buf.len(), records));
            }
            if !(4..=MESSAGE_MAX).contains(&len) {
                return Err(refusal("server message length", "the server broke the protocol: length"));
            }
            let payload = buf.get(at + HEADER..).unwrap_or_default();
            let payload = payload.get(..len as usize - 4).unwrap_or(payload);
            if payload.len() < self.needed(tag, len)
                || self.rewrites(tag, len) && payload.len() < len as usize - 4
            {
                break;
            }
            if self.rewrites(tag, len) && !failure(payload).is_fatal() {
                if at > 0 {
                    return Ok(Step::pass(at, records));
                }
                records += self.told(tag, payload);
                let bytes = answer::error(answer::DENIED_STATE, answer::DENIED);
                return Ok(Step { out: Out::Instead(bytes), ..Step::pass(len as usize + 1, records) });
            }
            if self.clashes(tag, payload) {
                return Err(Refusal { rule: "SCRAM channel binding", answer: fatal("28000", BINDING) });
            }
            records += self.told(tag, payload);
            at += HEADER;
            self.down.left = len - 4;
            at += take(&mut self.down, buf.get(at..).unwrap_or_default());
        }
        Ok(Step::pass(at, records))
    }

    /// Whether the server offers channel binding where it cannot work.
    fn clashes(&self, tag: u8, payload: &[u8]) -> bool {
        tag == b'R'
            && self.options.no_binding
            && payload
                .strip_prefix(&[0, 0, 0, 10])
                .is_some_and(|list| list.split(|b| *b == 0).any(|mechanism| mechanism.ends_with(b"-PLUS")))
    }

    /// Text of a server that failed before it could speak the protocol.
    fn is_unframed(&self, tag: u8, len: u32) -> bool {
        tag == b'E' && self.state == 0 && !(8..=START_ERROR_MAX).contains(&len)
    }

    /// Bytes of the payload that accounting looks at.
    fn needed(&self, tag: u8, len: u32) -> usize {
        let most = match tag {
            // The list of mechanisms; all of a setting that statements are read by. Both only at their size.
            b'R' | b'S' if len <= SMALL_MESSAGE_MAX => SMALL_MESSAGE_MAX as usize,
            b'R' => 4,
            b'Z' => 1,
            _ => 0,
        };
        most.min(len as usize - 4)
    }

    /// Whether this ErrorResponse answers a message that took a denied one's place.
    fn rewrites(&mut self, tag: u8, len: u32) -> bool {
        tag == b'E' && len <= ERROR_MAX && self.queue.head().is_some_and(|e| e.denied)
    }

    /// Accounts for a message of the server; returns the records that it leads to beyond those announced.
    fn told(&mut self, tag: u8, payload: &[u8]) -> u32 {
        match tag {
            b'1' => self.queue.answered(Ask::Parse),
            b'2' => self.queue.answered(Ask::Bind),
            b'3' => self.queue.answered(Ask::Close),
            b'T' | b'n' => self.queue.answered(Ask::Describe),
            b's' => self.queue.answered(Ask::Execute),
            b'C' | b'I' => return self.completed(),
            b'G' => self.queue.copy_in(),
            b'A' => return 1,
            b'R' => return self.authentication(payload),
            b'S' => {
                let mut reader = Reader::new(payload);
                let (name, value) = (reader.text(), reader.text());
                self.judged.setting(name.unwrap_or_default(), value.unwrap_or_default());
            }
            b'W' => self.replicates = true,
            b'E' => return self.failed(),
            b'Z' => {
                self.queue.ready();
                self.state = payload.first().copied().unwrap_or(b'I');
                (self.ended, self.replicates) = (0, false);
            }
            _ => {}
        }
        0
    }

    fn authentication(&mut self, payload: &[u8]) -> u32 {
        match payload.first_chunk() {
            Some([0, 0, 0, 0]) => self.judged.accepted(),
            // A password in clear text is worth a record.
            Some([0, 0, 0, 3]) => return 1,
            _ => {}
        }
        0
    }

    /// A refusal is for ever, and has no answer in the middle of a message.
    fn remember(&mut self, step: Result<Step, Refusal>) -> Result<Step, Refusal> {
        step.map_err(|mut refusal| {
            if self.down.left > 0 || self.unframed || self.phase == Phase::Cancel {
                refusal.answer.clear();
            }
            self.broken = Some(refusal.clone());
            refusal
        })
    }

    fn completed(&mut self) -> u32 {
        match self.queue.head().map(|e| e.ask) {
            Some(Ask::Query) => {
                self.ended += 1;
                u32::from(self.ended > 1 && !self.replicates)
            }
            _ => {
                self.queue.answered(Ask::Execute);
                0
            }
        }
    }

    fn failed(&mut self) -> u32 {
        match self.queue.failed().map(|e| e.ask) {
            Some(Ask::Parse | Ask::Bind | Ask::Describe | Ask::Close | Ask::Sync) => 1,
            Some(Ask::Query) => {
                self.ended += 1;
                u32::from(self.ended > 1)
            }
            _ => 0,
        }
    }
}

impl stream::Framer for Framer {
    fn up(&mut self, buf: &[u8], judge: &mut dyn Judge) -> Result<Step, Refusal> {
        if let Some(refusal) = &self.broken {
            return Err(refusal.clone());
        }
        let step = self.up_step(buf, judge);
        self.remember(step)
    }

    fn down(&mut self, buf: &[u8]) -> Result<Step, Refusal> {
        if let Some(refusal) = &self.broken {
            return Err(refusal.clone());
        }
        let step = self.down_step(buf);
        self.remember(step)
    }

    fn idle(&self) -> bool {
        let between = self.up.left == 0 && self.down.left == 0;
        between && self.queue.is_empty() && self.phase == Phase::Session && self.state == b'I'
    }

    fn farewell(&self, why: Farewell) -> Vec<u8> {
        // In the middle of a message there is no place for another one.
        if self.down.left > 0 || self.unframed || self.phase == Phase::Cancel {
            return Vec::new();
        }
        match why {
            Farewell::Shutdown => {
                fatal("57P01", "terminating connection due to administrator command (countersign)")
            }
            Farewell::Unreachable => fatal("08006", "the database server cannot be reached (countersign)"),
            Farewell::Unrecorded => fatal("57P03", "the audit log takes no records (countersign)"),
            Farewell::Limit => fatal("53300", "too many connections (countersign)"),
        }
    }
}

/// Takes what is left of a message off the front of `buf`.
fn take(rest: &mut Rest, buf: &[u8]) -> usize {
    let taken = (rest.left as usize).min(buf.len());
    rest.left -= taken as u32;
    taken
}

fn is_judged(tag: u8) -> bool {
    matches!(tag, b'P' | b'Q' | b'E' | b'B' | b'F' | b'C')
}

fn runs(tag: u8) -> bool {
    matches!(tag, b'Q' | b'E' | b'F')
}

fn check_up(tag: u8, len: u32) -> Result<(), Refusal> {
    let most = match tag {
        b'Q' | b'P' | b'B' | b'F' | b'd' => MESSAGE_MAX,
        b'p' => AUTH_MESSAGE_MAX,
        b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => SMALL_MESSAGE_MAX,
        _ => return Err(refusal("message type", "invalid frontend message type")),
    };
    if (4..=most).contains(&len) {
        return Ok(());
    }
    Err(refusal("message length", "invalid message length"))
}
