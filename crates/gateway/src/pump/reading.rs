//! The reading half of a flow: each side is read only while the other takes bytes and the ring has room, and what
//! was read goes to whoever judges it.

use super::closing::{Closing, LINGER_MAX};
use super::connect::Upstream;
use super::flow::{Flow, Mode};
use crate::config::Protocol;
use crate::ring::{Way, What};
use crate::stats::count;
use bytes::Bytes;
use countersign_wire::detect::{Detected, PEEK_MAX, detect};
use countersign_wire::proxy::{self, Proxied};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// On gap routes, and for requests on strict routes, the ring may hold so many times its bound before reading stops
/// after all.
const OVERSHOOT: usize = 2;
/// Name of the rule by which a route whose policy enforces refuses bytes of an unknown protocol.
const UNREAD: &str = "policy-unreadable";

impl Flow {
    /// Whether the ring has room for what would be read; registers for the next time when not.
    fn ring_has_room(&mut self, way: Way, cx: &mut Context<'_>) -> bool {
        let most = self.worker.limits.ring_connection;
        // What is above the bound there is heads and the messages of open exchanges, which have bounds. A request
        // of a strict route that is never read could not be refused in time.
        let announced = way == Way::Up && self.intents.is_some();
        let beyond = self.is_gap() || announced && self.waiting.load(Ordering::Relaxed) < most;
        let ring = self.worker.ring_of(&self.route);
        if beyond && ring.waiting() < OVERSHOOT * ring.bound() {
            self.room = None;
            return true;
        }
        loop {
            if !self.worker.ring_of(&self.route).full() && self.waiting.load(Ordering::Relaxed) < most {
                self.room = None;
                return true;
            }
            let room = self.room.get_or_insert_with(|| {
                let (worker, waiting) = (Arc::clone(&self.worker), Arc::clone(&self.waiting));
                let ring = Arc::clone(worker.ring_of(&self.route));
                Box::pin(async move {
                    let drained = ring.drained(&worker.counters);
                    // Between the first look and the registration the decoder may have made room.
                    if ring.full() || waiting.load(Ordering::Relaxed) >= most {
                        drained.await;
                    }
                })
            });
            if room.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.room = None;
        }
    }

    /// Whether the ring keeps this connection from being read.
    pub(super) fn ring_holds(&self) -> bool {
        let (ring, most) = (self.worker.ring_of(&self.route), self.worker.limits.ring_connection);
        self.room.is_some() && (ring.full() || self.waiting.load(Ordering::Relaxed) >= most)
    }

    pub(super) fn read_client(&mut self, cx: &mut Context<'_>) -> bool {
        match self.closing {
            Closing::Lingering { read } => return self.linger(read, cx),
            Closing::Flushing { .. } => return false,
            Closing::No => {}
        }
        let stopped = self.up.eof || self.last_answer.is_some() || self.blocked || self.last_said;
        if stopped || self.up.out.len() >= self.worker.limits.write_high || !self.ring_has_room(Way::Up, cx) {
            return false;
        }
        match self.worker.poll_read(&mut self.client, cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(bytes)) if bytes.is_empty() => {
                self.up.eof = true;
                self.client_ended();
                true
            }
            Poll::Ready(Ok(bytes)) => {
                self.up.total += bytes.len() as u64;
                self.worker.counters.bytes_up.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                self.client_sent(bytes);
                true
            }
            Poll::Ready(Err(_)) => {
                self.cut = Some("client reset the connection");
                true
            }
        }
    }

    /// Reads and drops, so that unread input does not turn our close into a reset that eats the last answer.
    fn linger(&mut self, read: usize, cx: &mut Context<'_>) -> bool {
        match self.worker.poll_read(&mut self.client, cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(bytes)) if !bytes.is_empty() && read + bytes.len() < LINGER_MAX => {
                self.closing = Closing::Lingering { read: read + bytes.len() };
                true
            }
            Poll::Ready(_) => {
                self.up.eof = true;
                self.closing = Closing::Lingering { read: LINGER_MAX };
                true
            }
        }
    }

    pub(super) fn client_sent(&mut self, bytes: Bytes) {
        match self.mode {
            Mode::Opaque => self.up.out.push(bytes),
            Mode::Switched => self.pass_switched(Way::Up, bytes),
            Mode::Framed => self.frame_stream(Way::Up, &bytes),
            Mode::Http => {
                if !self.is_preface(&bytes) {
                    self.frame_requests(&bytes);
                }
            }
            Mode::Detecting => {
                let enough = self.up.held.len() + bytes.len() >= PEEK_MAX;
                if self.up.held.is_empty() {
                    self.judge_first(&bytes.clone(), bytes, enough);
                } else {
                    self.up.held.extend_from_slice(&bytes);
                    let all = self.up.held.split().freeze();
                    self.judge_first(&all.clone(), all, enough);
                }
            }
        }
    }

    /// On MCP routes, which speak HTTP/1.1 and HTTP/2: whether the client begins with the preface of HTTP/2, of which
    /// `new` is the next part.
    fn is_preface(&mut self, new: &Bytes) -> bool {
        let first = (self.up.held.len() + new.len()) as u64 == self.up.total;
        if !first || self.route.protocol != Protocol::Mcp {
            return false;
        }
        let before = self.up.held.len();
        self.up.held.extend_from_slice(new);
        match detect(&self.up.held) {
            Detected::Http2 => {
                self.http2 = Some(self.up.held.split().freeze());
                true
            }
            Detected::Undecided if self.up.held.first() == Some(&b'P') => {
                self.timers.head(false, self.now);
                true
            }
            _ => {
                self.up.held.truncate(before);
                false
            }
        }
    }

    fn judge_first(&mut self, first: &[u8], all: Bytes, enough: bool) {
        // From a peer that is not listed for it, a PROXY header is a claim that must not pass: as HTTP it is none,
        // so it is refused by name.
        let claimed = matches!(proxy::parse(first), Ok(Proxied::Header { .. }) | Err(_));
        match detect(first) {
            _ if claimed => {
                self.mode = Mode::Http;
                self.frame_requests(&all);
            }
            Detected::Http1 => {
                self.mode = Mode::Http;
                self.frame_requests(&all);
            }
            Detected::Http2 => self.http2 = Some(all),
            Detected::Undecided if !enough && !self.up.eof => {
                self.up.held.extend_from_slice(&all);
                self.timers.undecided(self.now, self.worker.limits.detect);
            }
            _ if self.worker.holds(&self.route).is_some() => self.refuse_unread(&all),
            other => {
                self.turn_opaque(other.word());
                self.up.out.push(all);
            }
        }
    }

    /// Where the policy enforces, nothing passes that it cannot be asked about.
    fn refuse_unread(&mut self, first: &[u8]) {
        self.mode = Mode::Http;
        self.up.held = first.into();
        self.refuse_as(UNREAD, 403);
    }

    /// The first bytes have not decided in time: they pass unread.
    pub(super) fn give_up_detecting(&mut self) {
        let all = self.up.held.split().freeze();
        self.judge_first(&all.clone(), all, true);
    }

    /// From here on bytes pass unread, and one record says so.
    pub(super) fn turn_opaque(&mut self, first: &'static str) {
        self.mode = Mode::Opaque;
        self.blocked = false;
        self.will_record(1);
        count(&self.worker.counters.opaque);
        let before = if self.framer.is_tunnel() { self.before_tunnel() } else { (0, 0) };
        self.tap(What::Opaque { first, before });
        if !self.up.held.is_empty() {
            let held = self.up.held.split().freeze();
            self.up.out.push(held);
        }
    }

    /// Bytes up and down that were read as messages before the tunnel began.
    pub(super) fn before_tunnel(&self) -> (u64, u64) {
        (self.up.total - self.up.held.len() as u64, self.down.total - self.tunnelled)
    }

    fn client_ended(&mut self) {
        if self.mode == Mode::Detecting {
            if self.up.held.is_empty() {
                return;
            }
            let all = self.up.held.split().freeze();
            self.judge_first(&all.clone(), all, true);
        }
        match self.mode {
            Mode::Http => self.requests_ended(),
            // The rest of a message that never became whole.
            Mode::Framed => self.up.held.clear(),
            Mode::Detecting | Mode::Opaque | Mode::Switched => {}
        }
    }

    pub(super) fn read_upstream(&mut self, cx: &mut Context<'_>) -> bool {
        let stopped =
            self.down.eof || self.closing != Closing::No || !matches!(self.upstream, Upstream::Ready(_));
        if stopped
            || self.down.out.len() >= self.worker.limits.write_high
            || !self.ring_has_room(Way::Down, cx)
        {
            return false;
        }
        let Upstream::Ready(io) = &mut self.upstream else { return false };
        match self.worker.poll_read(io, cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(bytes)) if !bytes.is_empty() => {
                self.down.total += bytes.len() as u64;
                self.worker.counters.bytes_down.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                match self.mode {
                    Mode::Opaque => self.down.out.push(bytes),
                    Mode::Switched => self.pass_switched(Way::Down, bytes),
                    Mode::Framed => self.frame_stream(Way::Down, &bytes),
                    Mode::Http => self.frame_responses(&bytes),
                    Mode::Detecting if self.worker.holds(&self.route).is_some() => self.refuse_unread(&[]),
                    Mode::Detecting => {
                        self.turn_opaque("server-first");
                        self.down.out.push(bytes);
                    }
                }
                true
            }
            Poll::Ready(ended) => {
                self.down.eof = true;
                if self.mode == Mode::Framed {
                    let held = self.down.held.split().freeze();
                    self.down.out.push(held);
                }
                if self.mode == Mode::Http {
                    self.responses_ended(ended.is_err());
                } else if ended.is_err() {
                    self.cut = Some("server reset the connection");
                }
                true
            }
        }
    }
}
