//! Deadlines of one HTTP/2 connection and its streams. One coarse timer looks at all of them.

use super::client_side::Down;
use super::server_side::Up;
use super::{CLOCK, Http2};
use crate::config::Limits;
use crate::pump::connect::ConnectError;
use crate::ring::Why;
use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Deadlines are seen late by at most a quarter of the shortest timeout, within these bounds.
const TICK_MIN: Duration = Duration::from_millis(10);
const TICK_MAX: Duration = Duration::from_secs(2);
/// How long the client has to read the last frame.
const LINGER: Duration = Duration::from_secs(2);

pub(super) struct Deadlines {
    sleep: Pin<Box<Sleep>>,
    tick: Duration,
    started: u64,
    active: u64,
    connecting: u64,
    closing: Option<u64>,
}

fn ns(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

impl Deadlines {
    pub(super) fn new(limits: &Limits, now: u64) -> Deadlines {
        let shortest = [
            limits.head_time,
            limits.body_window,
            limits.idle,
            limits.response_time,
            limits.h2_progress,
            limits.strict_wait,
        ];
        let shortest = shortest.into_iter().min().unwrap_or(TICK_MAX);
        let tick = (shortest / 4).clamp(TICK_MIN, TICK_MAX);
        let sleep = Box::pin(sleep(tick));
        Deadlines { sleep, tick, started: now, active: now, connecting: now, closing: None }
    }

    pub(super) fn active(&mut self, now: u64) {
        self.active = now;
    }

    pub(super) fn connecting(&mut self, now: u64) {
        self.connecting = now;
    }

    pub(super) fn close(&mut self, now: u64) {
        self.closing = self.closing.or(Some(now));
    }
}

impl Http2 {
    /// The timer fired, or is polled for the first time.
    pub(super) fn tick(&mut self) {
        let waker = self.wakers.get(CLOCK);
        let mut cx = Context::from_waker(&waker);
        while self.deadlines.sleep.as_mut().poll(&mut cx).is_ready() {
            self.now = self.worker.clock.monotonic_ns();
            self.past_deadlines();
            let next = Instant::now() + self.deadlines.tick;
            self.deadlines.sleep.as_mut().reset(next);
        }
    }

    fn over(&self, since: u64, limit: Duration) -> bool {
        self.now.saturating_sub(since) > ns(limit)
    }

    /// Reading begins again after the ring was full: what peers sent meanwhile was not looked at, so no time of
    /// theirs has passed.
    pub(super) fn clocks_go_on(&mut self) {
        let now = self.now;
        self.deadlines.active = now;
        self.deadlines.started = now;
        self.deadlines.connecting = now;
        let block = &mut self.client.lock().seen.block_since;
        *block = block.map(|_| now);
        for bridge in self.bridges.iter_mut().flatten() {
            bridge.ask_again(now);
            bridge.hold_again(now);
        }
    }

    fn past_deadlines(&mut self) {
        let limits = std::sync::Arc::clone(&self.worker.limits);
        if self.gate.blocked && self.deadlines.closing.is_none() {
            return self.intents_past_deadlines(limits.strict_wait);
        }
        if let Some(since) = self.deadlines.closing {
            if self.over(since, LINGER) {
                self.end = Some(Why::Done);
            }
            return;
        }
        if matches!(self.down, Down::Handshake(_)) && self.over(self.deadlines.started, limits.head_time) {
            if self.client.lock().total == 0 {
                self.end = Some(Why::Done);
                return;
            }
            return self.calm_down("http/2: the connection preface took too long", 0);
        }
        let block = self.client.lock().seen.block_since;
        if block.is_some_and(|since| self.over(since, limits.head_time)) {
            return self.calm_down("http/2: a header block took too long", 1);
        }
        if self.over(self.deadlines.active, limits.idle) {
            self.end = Some(Why::Cut("idle"));
            return;
        }
        let silent = matches!(self.up, Up::Handshake(_) | Up::Open { ready: false, .. });
        if silent && self.over(self.deadlines.connecting, limits.connect + limits.tls_handshake) {
            self.no_server(ConnectError {
                status: 504,
                why: "upstream did not begin to speak HTTP/2 in time",
            });
        }
        self.streams_past_deadlines(&limits);
    }

    /// Requests of a strict route whose intent is not durable in time.
    fn intents_past_deadlines(&mut self, at_most: Duration) {
        let Some(durable) = self.intents.as_ref().map(|gate| gate.acknowledged()) else { return };
        for slot in 0..self.bridges.len() {
            let bridge = self.bridges.get(slot).and_then(Option::as_ref);
            let since = bridge.and_then(|bridge| bridge.waits_for_intent(durable));
            if since.is_some_and(|since| self.over(since, at_most)) {
                self.with_bridge(slot, |bridge, _, env| bridge.give_up_intent(env));
            }
        }
    }

    fn streams_past_deadlines(&mut self, limits: &Limits) {
        self.intents_past_deadlines(limits.strict_wait);
        let now = self.now;
        for slot in 0..self.bridges.len() {
            let Some(bridge) = self.bridges.get_mut(slot).and_then(Option::as_mut) else { continue };
            if bridge.is_held_too_slow(now, limits) {
                self.with_bridge(slot, |bridge, _, env| bridge.give_up_body(env));
                continue;
            }
            let Some(bridge) = self.bridges.get(slot).and_then(Option::as_ref) else { continue };
            // A call of gRPC says itself how long it may take, or that it may take for ever.
            let late =
                !bridge.grpc && bridge.asked().is_some_and(|since| self.over(since, limits.response_time));
            let mark = self.over(bridge.marked.0, limits.h2_progress);
            if late {
                self.with_bridge(slot, |bridge, _, env| bridge.answer_late(env));
            } else if mark && let Some(mut bridge) = self.bridges.get_mut(slot).and_then(Option::take) {
                self.progress(&mut bridge);
                if let Some(place) = self.bridges.get_mut(slot) {
                    *place = Some(bridge);
                }
            }
        }
    }
}
