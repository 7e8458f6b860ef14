//! What is left to be recorded when an exchange ends, or its connection does.

use super::Context;
use super::bodies::{Bodies, Here};
use super::event::{connection_event, finish, opaque_event};
use super::exchange::{Conn, Exchange};
use crate::ring::Why;
use countersign_event::{Event, Outcome, Rec};

/// Hands over the record of an exchange, or those that its bodies' reader makes of it; `made` = those that it made
/// before.
pub(super) fn emit(
    context: &mut Context,
    exchange: Box<Exchange>,
    bodies: Option<Box<dyn Bodies>>,
    (started, t, made): (u64, u64, u64),
    out: &mut Vec<Event>,
) {
    let before = out.len();
    match bodies {
        None => out.push(exchange.event),
        Some(bodies) => {
            bodies.finish(&mut Here { event: &exchange.event, context, t, started, out }, made);
            if made == 0 && out.len() == before {
                out.push(exchange.event);
            }
        }
    }
    let promised = usize::from(made == 0);
    context.extra += (out.len() - before).saturating_sub(promised) as u64;
}

impl Conn {
    /// Emits what is complete, oldest first.
    pub(super) fn finish_front(&mut self, context: &mut Context, out: &mut Vec<Event>) {
        let done = |e: &Exchange| e.request.ended.is_some() && e.response.ended.is_some();
        while self.exchanges.front().is_some_and(|e| done(e)) {
            let Some(exchange) = self.exchanges.pop_front() else { return };
            let t = exchange.request.ended.max(exchange.response.ended).unwrap_or(exchange.started);
            self.conclude(context, exchange, t, None, out);
        }
    }

    /// Makes what is left to be recorded of an exchange that has ended.
    pub(super) fn conclude(
        &self,
        context: &mut Context,
        mut exchange: Box<Exchange>,
        t: u64,
        cut: Option<&str>,
        out: &mut Vec<Event>,
    ) {
        let (bodies, started, made) = (exchange.bodies.take(), exchange.started, exchange.made);
        if let Some(listed) = exchange.listed.take() {
            listed.end(t);
        }
        let whole = exchange.own.is_none() && cut.is_none();
        // In place: a record is kilobytes, and each move copies it.
        finish(self, context, &mut exchange, t, cut);
        // Only calls that succeeded teach the templates, so a scanner's guesses do not.
        if whole && exchange.event.core.outcome == Some(Outcome::Success) {
            context.templates.learn(self.open.route, &exchange.event.target.raw);
        }
        emit(context, exchange, bodies, (started, t, made), out);
    }

    /// The connection ended: everything still open ends with it.
    pub(super) fn close(
        mut self,
        context: &mut Context,
        t: u64,
        up: u64,
        down: u64,
        why: Why,
        out: &mut Vec<Event>,
    ) {
        let reason = match why {
            Why::Cut(reason) => Some(reason),
            Why::Done => None,
        };
        self.with_session(context, t, out, |session, at| session.close(at, up, down, why));
        self.with_streams(context, t, out, |streams, at| streams.close(at, reason));
        for _ in self.made..self.promised {
            let mut event = connection_event(&self, context, t);
            event.core.rec = Some(Rec::Cut);
            event.content.err = reason.unwrap_or("connection ended before this was understood").to_owned();
            out.push(event);
        }
        while let Some(exchange) = self.exchanges.pop_front() {
            let ended = exchange.response.ended.unwrap_or(t);
            let missing = exchange.response.ended.is_none();
            let why = if missing {
                Some(exchange.fault.or(reason).unwrap_or("connection ended before the answer was complete"))
            } else {
                None
            };
            self.conclude(context, exchange, ended, why, out);
        }
        if let Some((first, before, since)) = self.opaque.take() {
            let bytes = (up.saturating_sub(before.0), down.saturating_sub(before.1));
            out.push(opaque_event(&self, context, (since, t), first, bytes, reason));
        }
    }

    pub(super) fn limited(&self, context: &Context, t: u64, n: u64, which: &str) -> Event {
        let mut event = connection_event(self, context, t);
        event.core.rec = Some(Rec::SessionOpen);
        event.core.kind = Some(countersign_event::Kind::L4);
        event.core.op = "accept".to_owned();
        event.core.class = Some(countersign_event::Class::Connect);
        event.core.outcome = Some(Outcome::Denied);
        event.core.n = (n > 1).then_some(n);
        event.content.err = format!("limit: {which}");
        event
    }
}
