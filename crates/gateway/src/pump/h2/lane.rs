//! One direction of a stream: frames in, window permitting frames out.

use super::pack;
use super::stream::Env;
use crate::decode::content::Content;
use crate::pump::mcp::Call;
use crate::ring::{H2What, Way};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use std::collections::VecDeque;
use std::task::{Context, Poll};

/// Bytes that one side's socket is given before it is asked whether it took them.
const PUSH_MAX: usize = 256 << 10;

/// How far a lane came.
pub(super) enum Moved {
    /// Something must happen first; the stream will be woken.
    Waits,
    /// The end was passed on.
    Done,
    /// The sender gave up; with its code, if it was a reset.
    SourceGone(Option<Reason>),
    /// The receiver takes nothing more.
    SinkGone,
    /// The body is not the one that its sender signed; its end was not passed on.
    Altered,
}

/// What was read before any of it was passed on.
#[derive(Default)]
struct Ahead {
    pieces: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// Nothing follows it.
    whole: bool,
}

/// See the module's documentation.
pub(super) struct Lane {
    way: Way,
    pub(super) from: Option<RecvStream>,
    pub(super) to: Option<SendStream<Bytes>>,
    /// Received and not yet taken by the other side.
    held: Bytes,
    /// Goes before what is still to be read.
    ahead: Option<Box<Ahead>>,
    pub(super) bytes: u64,
    pub(super) done: bool,
    /// Holds the body against the digest that its sender signed.
    pub(super) content: Option<Box<Content>>,
}

impl Lane {
    pub(super) fn new(way: Way) -> Lane {
        Lane {
            way,
            from: None,
            to: None,
            held: Bytes::new(),
            ahead: None,
            bytes: 0,
            done: false,
            content: None,
        }
    }

    pub(super) fn reading(way: Way, from: RecvStream) -> Lane {
        Lane { from: Some(from), ..Lane::new(way) }
    }

    /// The end was passed on.
    pub(super) fn finish(&mut self) {
        self.done = true;
        self.from = None;
    }

    /// Reads a body of which nothing is passed on yet, until it is complete or larger than may be held.
    pub(super) fn collect(
        &mut self,
        cx: &mut Context<'_>,
        env: &mut Env<'_>,
        (id, index): (u32, usize),
        call: &mut Call,
    ) -> Moved {
        let ahead = self.ahead.get_or_insert_default();
        loop {
            let Some(from) = &mut self.from else { return Moved::Waits };
            if !env.gate.admits(index, usize::MAX) {
                return Moved::Waits;
            }
            match from.poll_data(cx) {
                Poll::Pending => return Moved::Waits,
                Poll::Ready(Some(Err(e))) => return Moved::SourceGone(reset(&e)),
                Poll::Ready(Some(Ok(bytes))) => {
                    ahead.whole = from.is_end_stream();
                    if bytes.is_empty() && !ahead.whole {
                        continue;
                    }
                    self.bytes += bytes.len() as u64;
                    call.feed(&bytes);
                    let (way, end) = (self.way, ahead.whole);
                    env.tap(id, H2What::Data { way, bytes: bytes.clone(), end });
                    if !bytes.is_empty() {
                        ahead.pieces.push_back(bytes);
                    }
                    if end || call.is_too_large() {
                        return Moved::Done;
                    }
                }
                Poll::Ready(None) => match from.poll_trailers(cx) {
                    Poll::Pending => return Moved::Waits,
                    Poll::Ready(Err(e)) => return Moved::SourceGone(reset(&e)),
                    Poll::Ready(Ok(trailers)) => {
                        let way = self.way;
                        let end = match &trailers {
                            Some(fields) => H2What::Trailers { way, fields: Box::new(pack::fields(fields)) },
                            None => H2What::Data { way, bytes: Bytes::new(), end: true },
                        };
                        env.tap(id, end);
                        (ahead.trailers, ahead.whole) = (trailers, true);
                        return Moved::Done;
                    }
                },
            }
        }
    }

    /// Takes the next piece of what was read ahead; `Some` = that was all there is.
    fn next_ahead(&mut self) -> Option<Moved> {
        let ahead = self.ahead.as_mut()?;
        if let Some(piece) = ahead.pieces.pop_front() {
            self.held = piece;
            return None;
        }
        let ahead = self.ahead.take()?;
        match (ahead.trailers, ahead.whole) {
            (Some(trailers), _) => Some(self.end_with(trailers)),
            (None, true) => Some(self.end()),
            (None, false) => None,
        }
    }

    /// Whether something was read that was not passed on.
    pub(super) fn has_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Whether nothing was read ahead that goes behind `held`.
    fn is_last(&self) -> bool {
        self.ahead.as_ref().is_none_or(|ahead| ahead.pieces.is_empty() && ahead.trailers.is_none())
    }

    pub(super) fn pump(&mut self, cx: &mut Context<'_>, env: &mut Env<'_>, id: u32, index: usize) -> Moved {
        loop {
            if self.held.is_empty()
                && let Some(moved) = self.next_ahead()
            {
                return moved;
            }
            if !self.held.is_empty() {
                if let Some(moved) = self.push(cx, env) {
                    return moved;
                }
                continue;
            }
            let side = if self.way == Way::Up { &mut *env.up } else { &mut *env.down };
            if !side.admits(index, PUSH_MAX) || !env.gate.admits(index, usize::MAX) {
                return Moved::Waits;
            }
            let Some(from) = &mut self.from else { return Moved::Waits };
            match from.poll_data(cx) {
                Poll::Pending => return Moved::Waits,
                Poll::Ready(Some(Ok(bytes))) => {
                    let end = from.is_end_stream();
                    if bytes.is_empty() && !end {
                        continue;
                    }
                    self.bytes += bytes.len() as u64;
                    if let Some(content) = &mut self.content {
                        content.update(&bytes);
                    }
                    env.tap(id, H2What::Data { way: self.way, bytes: bytes.clone(), end });
                    if end && self.is_altered() {
                        return Moved::Altered;
                    }
                    if bytes.is_empty() {
                        return self.end();
                    }
                    self.held = bytes;
                }
                Poll::Ready(Some(Err(e))) => return Moved::SourceGone(reset(&e)),
                Poll::Ready(None) => return self.trailers(cx, env, id),
            }
        }
    }

    /// Passes on as much of `held` as the receiver's window takes; `None` = go on.
    fn push(&mut self, cx: &mut Context<'_>, env: &mut Env<'_>) -> Option<Moved> {
        let last = self.is_last();
        let (Some(to), Some(from)) = (&mut self.to, &mut self.from) else { return Some(Moved::SinkGone) };
        to.reserve_capacity(self.held.len());
        let mut room = to.capacity();
        if room == 0 {
            room = match to.poll_capacity(cx) {
                Poll::Pending => return Some(Moved::Waits),
                Poll::Ready(Some(Ok(room))) => room,
                Poll::Ready(Some(Err(_)) | None) => return Some(Moved::SinkGone),
            };
        }
        let part = self.held.split_to(room.min(self.held.len()));
        let n = part.len();
        let end = last && self.held.is_empty() && from.is_end_stream();
        if to.send_data(part, end).is_err() {
            return Some(Moved::SinkGone);
        }
        // Fails only on more than was received.
        let _ = from.flow_control().release_capacity(n);
        let side = if self.way == Way::Up { &mut *env.up } else { &mut *env.down };
        side.made += n;
        if end {
            self.finish();
            return Some(Moved::Done);
        }
        None
    }

    fn trailers(&mut self, cx: &mut Context<'_>, env: &mut Env<'_>, id: u32) -> Moved {
        let Some(from) = &mut self.from else { return Moved::Waits };
        match from.poll_trailers(cx) {
            Poll::Pending => Moved::Waits,
            Poll::Ready(Err(e)) => Moved::SourceGone(reset(&e)),
            Poll::Ready(Ok(None)) => {
                env.tap(id, H2What::Data { way: self.way, bytes: Bytes::new(), end: true });
                if self.is_altered() { Moved::Altered } else { self.end() }
            }
            Poll::Ready(Ok(Some(trailers))) => {
                let fields = Box::new(pack::fields(&trailers));
                env.tap(id, H2What::Trailers { way: self.way, fields });
                if self.is_altered() {
                    return Moved::Altered;
                }
                self.end_with(trailers)
            }
        }
    }

    fn end_with(&mut self, trailers: HeaderMap) -> Moved {
        let Some(to) = &mut self.to else { return Moved::SinkGone };
        if to.send_trailers(trailers).is_err() {
            return Moved::SinkGone;
        }
        self.finish();
        Moved::Done
    }

    fn is_altered(&self) -> bool {
        self.content.as_ref().is_some_and(|content| content.differs())
    }

    fn end(&mut self) -> Moved {
        let Some(to) = &mut self.to else { return Moved::SinkGone };
        if to.send_data(Bytes::new(), true).is_err() {
            return Moved::SinkGone;
        }
        self.finish();
        Moved::Done
    }
}

/// The code of a reset; `None` when the connection failed.
fn reset(e: &h2::Error) -> Option<Reason> {
    if e.is_reset() { e.reason() } else { None }
}
