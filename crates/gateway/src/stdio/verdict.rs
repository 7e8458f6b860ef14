//! Verdicts on MCP over standard input and output: where the policy enforces, a line is held until it is
//! complete and every message in it is permitted.
//!
//! Not framing: a line is a line. Invariants: no byte of a denied line reaches the server; at most
//! [`HELD_MAX`] bytes of a line are held; the client is told in a JSON-RPC error with the id of its request,
//! between two lines of the server and never inside one. What readers could take for different calls has no
//! verdict that could hold, so it is refused too.

use crate::decode::identify::event_class;
use crate::decode::mcp::record;
use countersign_event::{Class, Decision, Event, Mode, Verdict};
use countersign_policy::{Policy, Request, refuses};
use countersign_wire::jsonrpc::{self, Fault, HELD_MAX, Kind, Message};
use countersign_wire::mcp;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most refusals that wait for the server to end its line, bytes; more end the session.
pub const WAITING_MAX: usize = 256 << 10;

/// JSON-RPC error codes (section 5.1).
const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;

/// Why a line does not pass.
pub(super) struct Refusal {
    pub(super) decision: Decision,
    pub(super) rule: &'static str,
    pub(super) code: i32,
}

/// The decision on every message of a complete line, or why the line does not pass.
pub(super) fn judge(
    policy: &dyn Policy,
    base: &Event,
    now_ns: u64,
    line: &[u8],
) -> Result<Decision, Box<Refusal>> {
    let (messages, end) = jsonrpc::read(line);
    match end {
        // A line without anything asks for nothing.
        Err(Fault::Empty) if line.iter().all(u8::is_ascii_whitespace) => return Ok(Decision::default()),
        Err(fault) => {
            let shape = matches!(fault, Fault::NotAMessage | Fault::Batch | Fault::Empty);
            return Err(refuse(fault.name(), if shape { INVALID_REQUEST } else { PARSE_ERROR }));
        }
        Ok(()) if messages.iter().any(|m| m.flags.ambiguous()) => {
            return Err(refuse("ambiguous-json", INVALID_REQUEST));
        }
        Ok(()) => {}
    }
    let mut decision = Decision::default();
    for message in messages.iter().filter(|m| m.kind() != Kind::Response) {
        decision = ask(policy, base, now_ns, message);
        if refuses(&decision) {
            return Err(Box::new(Refusal { decision, rule: "policy", code: mcp::DENIED }));
        }
    }
    Ok(decision)
}

/// A line that became longer than what is held for a verdict.
pub(super) fn too_long() -> Box<Refusal> {
    refuse("message-too-large-to-decide", mcp::DENIED)
}

/// A decision of the wrapper itself.
fn refuse(rule: &'static str, code: i32) -> Box<Refusal> {
    let (verdict, mode) = (Some(Verdict::Deny), Some(Mode::Enforce));
    let decision = Decision { verdict, mode, reason: rule.to_owned(), ..Decision::default() };
    Box::new(Refusal { decision, rule, code })
}

/// What the policy says to one message.
pub(super) fn ask(policy: &dyn Policy, base: &Event, now_ns: u64, message: &Message) -> Decision {
    let method = message.method.as_deref().unwrap_or_default();
    let (resource_type, resource) = record::resource(message);
    policy.decide(&Request {
        principal: base.who.who.as_ref(),
        protocol: "mcp",
        operation: method,
        service: &base.target.svc,
        resource: &resource,
        resource_type,
        class: mcp::method(method).map(|m| event_class(m.class)).filter(|c| *c != Class::Other(0)),
        time_ns: now_ns,
        route: &base.core.route,
        ..Request::default()
    })
}

/// What the client is told: an error for each request of the line, as a batch if it was one; for a line that
/// is no message, one without an id; nothing for notifications, which nobody answers.
pub(super) fn answer(messages: &[Message], batch: bool, refusal: &Refusal) -> Vec<u8> {
    let why = format!("countersign: {}", refusal.rule);
    let requests = messages.iter().filter(|m| m.kind() == Kind::Request);
    let errors: Vec<String> = requests.map(|m| mcp::refusal(m.id.as_ref(), refusal.code, &why)).collect();
    let mut line = match errors.as_slice() {
        [] if refusal.rule == "policy" => return Vec::new(),
        [] => mcp::refusal(None, refusal.code, &why),
        all if batch => format!("[{}]", all.join(",")),
        all => all.join("\n"),
    };
    line.push('\n');
    line.into_bytes()
}

/// The client's side, to which the server's lines and our refusals go.
pub(super) struct Out<W> {
    to: W,
    /// The server has begun a line and not ended it.
    inside: bool,
    waiting: Vec<u8>,
}

/// Shared by both directions.
pub(super) type Shared<W> = Arc<Mutex<Out<W>>>;

impl<W: Write> Out<W> {
    pub(super) fn new(to: W) -> Out<W> {
        Out { to, inside: false, waiting: Vec::new() }
    }

    /// Bytes of the server.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let (lines, rest) = bytes.split_at(end);
        self.to.write_all(lines)?;
        if end > 0 {
            self.to.write_all(&std::mem::take(&mut self.waiting))?;
        }
        self.to.write_all(rest)?;
        self.inside = !rest.is_empty() || (end == 0 && self.inside);
        self.to.flush()
    }

    /// A line of our own.
    pub(super) fn tell(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.inside {
            self.to.write_all(line)?;
            return self.to.flush();
        }
        if self.waiting.len() + line.len() > WAITING_MAX {
            return Err(io::Error::other("the server does not end its line"));
        }
        self.waiting.extend_from_slice(line);
        Ok(())
    }
}

pub(super) fn out<W>(shared: &Mutex<Out<W>>) -> MutexGuard<'_, Out<W>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The line that is being held.
#[derive(Default)]
pub(super) struct Line {
    bytes: Vec<u8>,
    /// It was refused for its length; the rest of it is dropped.
    dropping: bool,
}

/// What a part of a line came to.
pub(super) enum Held {
    /// More of it is needed.
    More,
    Whole(Vec<u8>),
    /// Beyond the bound. Told once; these are its first bytes.
    TooLong(Vec<u8>),
}

impl Line {
    /// Takes bytes up to and with the next newline, or without one.
    pub(super) fn take(&mut self, part: &[u8]) -> Held {
        let ends = part.last() == Some(&b'\n');
        if self.dropping {
            self.dropping = !ends;
            return Held::More;
        }
        self.bytes.extend_from_slice(part);
        if self.bytes.len() > HELD_MAX {
            self.dropping = !ends;
            return Held::TooLong(std::mem::take(&mut self.bytes));
        }
        if ends { Held::Whole(std::mem::take(&mut self.bytes)) } else { Held::More }
    }

    /// The client ended its direction: what it did not end is a line, too.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.bytes)).filter(|bytes| !bytes.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_stands_between_lines_of_the_server_and_never_inside_one() {
        let mut out = Out::new(Vec::new());
        out.tell(b"A\n").unwrap();
        out.pass(b"one\ntw").unwrap();
        out.tell(b"B\n").unwrap();
        out.pass(b"").unwrap();
        out.pass(b"o").unwrap();
        out.tell(b"C\n").unwrap();
        out.pass(b"\nthree\n").unwrap();
        out.tell(b"D\n").unwrap();
        assert_eq!(out.to, b"A\none\ntwo\nthree\nB\nC\nD\n");
        out.pass(b"open").unwrap();
        assert!(out.tell(&vec![b'x'; WAITING_MAX + 1]).is_err());
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut_and_bounded() {
        let text = b"ab\n\ncd\nef";
        for at in 0..text.len() {
            let (mut line, mut found) = (Line::default(), Vec::new());
            for half in [&text[..at], &text[at..]] {
                for part in half.split_inclusive(|b| *b == b'\n') {
                    if let Held::Whole(bytes) = line.take(part) {
                        found.push(bytes);
                    }
                }
            }
            found.extend(line.end());
            assert_eq!(found, [&b"ab\n"[..], b"\n", b"cd\n", b"ef"]);
        }
        let mut line = Line::default();
        let long = vec![b'x'; HELD_MAX + 1];
        assert!(matches!(line.take(&long), Held::TooLong(_)));
        assert!(matches!(line.take(&long), Held::More));
        assert!(matches!(line.take(b"x\n"), Held::More));
        assert!(matches!(line.take(b"y\n"), Held::Whole(bytes) if bytes == b"y\n"));
    }
}
