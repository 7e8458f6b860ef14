//! Deadlines of one connection. One coarse timer looks at all of them, so that moving a deadline costs nothing.

use super::closing::Closing;
use super::connect::Upstream;
use super::flow::{About, Flow, LastAnswer, Mode};
use crate::config::Limits;
use bytes::Bytes;
use countersign_wire::http1::Rule;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Deadlines are seen late by at most a quarter of the shortest timeout, within these bounds.
const TICK_MIN: Duration = Duration::from_millis(10);
const TICK_MAX: Duration = Duration::from_secs(2);
/// Why a request of a strict route was refused.
pub(super) const UNRECORDED: &str = "the ledger does not take records";
/// How long the rest of a client's direction is read after the last answer.
const LINGER: Duration = Duration::from_secs(2);

pub(super) struct Timers {
    sleep: Pin<Box<Sleep>>,
    tick: Duration,
    started: u64,
    detect: u64,
    active: u64,
    sent: u64,
    head: Option<u64>,
    body: (u64, u64),
    linger: Option<u64>,
    /// Since when the first bytes decide nothing.
    undecided: Option<u64>,
}

fn ns(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

impl Timers {
    pub(super) fn new(limits: &Limits, now: u64) -> Timers {
        let shortest = [
            limits.head_time,
            limits.body_window,
            limits.idle,
            limits.response_time,
            limits.half_closed,
            limits.strict_wait,
        ]
        .into_iter()
        .min()
        .unwrap_or(TICK_MAX);
        let tick = (shortest / 4).clamp(TICK_MIN, TICK_MAX);
        Timers {
            sleep: Box::pin(sleep(limits.detect.min(tick).max(TICK_MIN))),
            tick,
            started: now,
            detect: ns(limits.detect),
            active: now,
            sent: now,
            head: None,
            body: (now, 0),
            linger: None,
            undecided: None,
        }
    }

    pub(super) fn active(&mut self, now: u64) {
        self.active = now;
    }

    /// Something went to the server, or an answer ended: waiting for the next answer begins.
    pub(super) fn sent(&mut self, now: u64) {
        self.sent = now;
    }

    /// A head is incomplete since the first time this is called with `false`.
    pub(super) fn head(&mut self, complete: bool, now: u64) {
        self.head = if complete { None } else { self.head.or(Some(now)) };
    }

    pub(super) fn body_begins(&mut self, now: u64, total: u64) {
        self.body = (now, total);
    }

    /// Nothing is read, so no time of the peers passes.
    fn stand_still(&mut self, now: u64, total: u64) {
        (self.active, self.sent) = (now, now);
        self.head = self.head.map(|_| now);
        self.body = (now, total);
    }

    pub(super) fn linger(&mut self, now: u64) {
        self.linger = Some(now);
    }

    pub(super) fn linger_over(&self, now: u64) -> bool {
        self.linger.is_some_and(|since| now.saturating_sub(since) > ns(LINGER))
    }

    /// The first bytes are here and decide nothing yet; looked at again within `at_most` of the first of them.
    pub(super) fn undecided(&mut self, now: u64, at_most: Duration) {
        if self.undecided.is_none() {
            self.undecided = Some(now);
            self.sleep.as_mut().reset(Instant::now() + at_most);
        }
    }

    fn undecided_over(&self, now: u64) -> bool {
        self.undecided.is_some_and(|since| now.saturating_sub(since) >= self.detect)
    }

    pub(super) fn detect_over(&self, now: u64) -> bool {
        now.saturating_sub(self.started) >= self.detect
    }
}

impl Flow {
    /// Looks at the deadlines when the timer fires; `true` when one acted.
    pub(super) fn check_timers(&mut self, cx: &mut Context<'_>) -> bool {
        if self.timers.sleep.as_mut().poll(cx).is_pending() {
            return false;
        }
        let next = Instant::now() + self.timers.tick;
        self.timers.sleep.as_mut().reset(next);
        if let Poll::Ready(()) = self.timers.sleep.as_mut().poll(cx) {
            cx.waker().wake_by_ref();
        }
        self.now = self.worker.clock.monotonic_ns();
        self.past_deadlines()
    }

    fn past_deadlines(&mut self) -> bool {
        let limits = std::sync::Arc::clone(&self.worker.limits);
        let now = self.now;
        let over = |since: u64, limit: Duration| now.saturating_sub(since) > ns(limit);
        if self.closing != Closing::No {
            // A client that does not read its last answer within the idle time.
            if over(self.timers.active, limits.half_closed) {
                self.cut = Some("client did not read its answer");
            }
            return self.cut.is_some() || self.timers.linger_over(self.now);
        }
        if self.mode == Mode::Detecting
            && matches!(self.upstream, Upstream::Idle)
            && self.timers.detect_over(self.now)
        {
            return true;
        }
        if self.mode == Mode::Detecting && !self.up.held.is_empty() && self.timers.undecided_over(now) {
            self.give_up_detecting();
            return true;
        }
        if self.gives_up_intent(limits.strict_wait) {
            return true;
        }
        if self.ring_holds() {
            self.timers.stand_still(self.now, self.up.total);
            return false;
        }
        if over(self.timers.active, limits.idle) {
            self.cut = Some("idle");
            return true;
        }
        if self.mode != Mode::Http || self.last_answer.is_some() {
            return false;
        }
        if self.timers.head.is_some_and(|since| over(since, limits.head_time)) {
            self.refuse(Rule::HeadTimeout);
            return true;
        }
        self.body_too_slow(&limits) || self.answer_too_late(&limits) || self.half_closed_too_long(&limits)
    }

    /// On a strict route: a request whose intent is not durable in time never reaches the server.
    fn gives_up_intent(&mut self, at_most: Duration) -> bool {
        let Some(intents) = &self.intents else { return false };
        let Some(offset) = intents.given_up(self.now, at_most) else { return false };
        let (waiting, answer) = (intents.waiting(), intents.answer.clone());
        crate::stats::count(&self.worker.counters.unrecorded);
        if self.mode == Mode::Http && waiting == 1 && offset == self.request_start {
            self.answer = answer.map(|answer| *answer);
            self.refuse_current(UNRECORDED, 503);
        } else if self.mode == Mode::Http {
            // Several wait behind each other: none of them was sent, and the connection says so by ending.
            self.up.out.take_back(offset);
            self.cut = Some(UNRECORDED);
        } else {
            self.up.out.take_back(offset);
            let told = self.stream.as_ref().map(|stream| stream.refuse_withheld(waiting)).unwrap_or_default();
            self.down.out.push(Bytes::from(told));
            self.close(true);
        }
        self.intents = None;
        true
    }

    fn body_too_slow(&mut self, limits: &Limits) -> bool {
        // Only the client's own slowness counts: while its bytes wait for the server, it may not send.
        let waiting_for_client = self.framer.in_request() && self.up.out.is_clear() && !self.up.eof;
        let (since, total) = self.timers.body;
        if !waiting_for_client || self.framer.in_response() {
            self.timers.body_begins(self.now, self.up.total);
            return false;
        }
        if self.now.saturating_sub(since) <= ns(limits.body_window) {
            return false;
        }
        let least = limits.body_rate.saturating_mul(limits.body_window.as_millis() as u64) / 1000;
        if self.up.total - total < least {
            self.refuse(Rule::BodyTimeout);
            return true;
        }
        self.timers.body_begins(self.now, self.up.total);
        false
    }

    fn answer_too_late(&mut self, limits: &Limits) -> bool {
        let waiting = self.framer.open() > 0 && !self.framer.in_response() && !self.framer.in_request();
        let connected = matches!(self.upstream, Upstream::Ready(_));
        let silent = self.now.saturating_sub(self.timers.sent) > ns(limits.response_time);
        if !(waiting && connected && silent && self.up.out.is_clear()) {
            return false;
        }
        self.upstream = Upstream::Gone;
        let why = "upstream did not answer in time";
        self.last_answer = Some(LastAnswer { status: 504, why, about: About::Front });
        true
    }

    fn half_closed_too_long(&mut self, limits: &Limits) -> bool {
        let half = self.up.eof != self.down.eof && self.framer.open() == 0;
        let silent = self.now.saturating_sub(self.timers.active) > ns(limits.half_closed);
        if half && silent {
            self.close_after_flush();
        }
        half && silent
    }
}
