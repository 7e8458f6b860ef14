//! JSON-RPC in both directions of one connection: requests paired with their answers, one record each.
//!
//! For carriers without exchanges: a WebSocket, a pair of pipes. Bounded: [`OPEN_MAX`] open requests each way;
//! one too many is recorded at once, without its answer.

use super::mcp::record::{self, Answer, Facts, Said};
use crate::recorder::{BodyDigest, BodyKey};
use crate::ring::Way;
use countersign_event::{Event, Who};
use countersign_wire::jsonrpc::{Fault, Kind, Message, Reader};
use std::collections::VecDeque;

/// Requests that wait for an answer, each way.
const OPEN_MAX: usize = 1_024;

/// One way's document in progress.
#[derive(Default)]
struct Half {
    reader: Reader,
    digests: Vec<Option<BodyDigest>>,
}

/// A request without its answer: its record so far.
struct Open {
    message: Message,
    digest: Option<[u8; 32]>,
    base: Event,
    t: u64,
}

/// What one document held.
pub(crate) struct Ended {
    pub(crate) messages: Vec<(Message, Option<[u8; 32]>)>,
    pub(crate) fault: Option<Fault>,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Talk {
    up: Half,
    down: Half,
    open_up: VecDeque<Open>,
    open_down: VecDeque<Open>,
    facts: Facts,
}

/// When something was said: monotonic and wall clock, ns.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) t: u64,
    pub(crate) wall: u64,
}

impl Talk {
    /// Reads on in the current document of a direction.
    pub(crate) fn feed(&mut self, way: Way, bytes: &[u8], key: &BodyKey) {
        let half = if way == Way::Up { &mut self.up } else { &mut self.down };
        half.reader.feed(bytes, &mut |at, bytes| digest(&mut half.digests, at, bytes, key));
    }

    /// The document of a direction ended.
    pub(crate) fn ended(&mut self, way: Way) -> Ended {
        let half = std::mem::take(if way == Way::Up { &mut self.up } else { &mut self.down });
        let Half { mut reader, digests } = half;
        let fault = reader.finish().err();
        Ended { messages: with_digests(reader.take(), digests), fault }
    }

    /// A message; `base` = what its carrier's record says. Complete records go to `out`.
    pub(crate) fn said(
        &mut self,
        base: &Event,
        way: Way,
        (message, digest): (Message, Option<[u8; 32]>),
        now: Moment,
        server: &Who,
        out: &mut Vec<Event>,
    ) {
        match (message.kind(), way) {
            (Kind::Response, _) => return self.answer(base, way, &message, now, server, out),
            (_, Way::Up) => self.facts.learn_request(&message),
            (_, Way::Down) => {}
        }
        let mut base = base.clone();
        base.core.t_event = i64::try_from(now.wall).ok();
        base.core.t_obs = now.wall;
        let open = Open { message, digest, base, t: now.t };
        if open.message.kind() != Kind::Request {
            out.push(self.event(&open, way, None, now, server));
            return;
        }
        let waiting = if way == Way::Up { &mut self.open_up } else { &mut self.open_down };
        waiting.push_back(open);
        if waiting.len() > OPEN_MAX
            && let Some(oldest) = waiting.pop_front()
        {
            let mut event = self.event(&oldest, way, None, now, server);
            record::note(&mut event, "too many open requests: the answer is not waited for");
            out.push(event);
        }
    }

    fn answer(
        &mut self,
        base: &Event,
        way: Way,
        message: &Message,
        now: Moment,
        server: &Who,
        out: &mut Vec<Event>,
    ) {
        if way == Way::Down {
            self.facts.learn_answer(message);
        }
        let answer = Answer::of(message, now.t);
        let (waiting, asked) = match way {
            Way::Up => (&mut self.open_down, Way::Down),
            Way::Down => (&mut self.open_up, Way::Up),
        };
        let at = waiting.iter().position(|o| o.message.id == message.id);
        if let Some(open) = at.and_then(|at| waiting.remove(at)) {
            let event = self.event(&open, asked, Some(&answer), now, server);
            out.push(event);
            return;
        }
        let said = Said { message, digest: None, answer: Some(&answer) };
        let mut event = record::build(base, &self.facts, &said);
        event.core.t_event = i64::try_from(now.wall).ok();
        event.core.t_obs = now.wall;
        if way == Way::Down {
            record::from_server(&mut event, server.clone(), false);
        }
        record::note(&mut event, "an answer to no open request");
        out.push(event);
    }

    fn event(&self, open: &Open, way: Way, answer: Option<&Answer>, now: Moment, server: &Who) -> Event {
        let said = Said { message: &open.message, digest: open.digest, answer };
        let mut event = record::build(&open.base, &self.facts, &said);
        let request = open.message.kind() == Kind::Request;
        if way == Way::Down {
            record::from_server(&mut event, server.clone(), request);
        }
        if request {
            event.core.outcome = None;
            if answer.is_some() {
                record::outcome(&mut event, answer);
                event.core.dur = Some(now.t.saturating_sub(open.t));
            }
        } else {
            event.core.outcome = Some(countersign_event::Outcome::Success);
        }
        event.core.t_obs = now.wall;
        event
    }

    /// The record of a client's message that was not passed on: nobody will answer it.
    pub(crate) fn refused(
        &mut self,
        base: &Event,
        message: &Message,
        digest: Option<[u8; 32]>,
        code: i32,
    ) -> Event {
        self.facts.learn_request(message);
        let ours = Message {
            id: message.id.clone(),
            error: true,
            error_code: Some(code.to_string()),
            ..Message::default()
        };
        let answer = Answer::of(&ours, 0);
        let mut event = record::build(base, &self.facts, &Said { message, digest, answer: Some(&answer) });
        record::outcome(&mut event, Some(&answer));
        event
    }

    /// The connection ended: what is open has no answer.
    pub(crate) fn close(&mut self, now: Moment, server: &Who, out: &mut Vec<Event>) {
        for way in [Way::Up, Way::Down] {
            let open = std::mem::take(if way == Way::Up { &mut self.open_up } else { &mut self.open_down });
            for open in open {
                let mut event = self.event(&open, way, None, now, server);
                record::note(&mut event, "the connection ended without an answer to this request");
                out.push(event);
            }
        }
    }
}

/// Adds bytes of the arguments of message `at` to its digest.
pub(super) fn digest(digests: &mut Vec<Option<BodyDigest>>, at: usize, bytes: &[u8], key: &BodyKey) {
    while digests.len() <= at {
        digests.push(None);
    }
    if let Some(place) = digests.get_mut(at) {
        place.get_or_insert_with(|| key.start()).update(bytes);
    }
}

/// Messages of one document, each with the digest of its arguments.
pub(super) fn with_digests(
    messages: Vec<Message>,
    digests: Vec<Option<BodyDigest>>,
) -> Vec<(Message, Option<[u8; 32]>)> {
    let digests = digests.into_iter().map(|d| d.map(BodyDigest::finish)).chain(std::iter::repeat(None));
    messages.into_iter().zip(digests).collect()
}
