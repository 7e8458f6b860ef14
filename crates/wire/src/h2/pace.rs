//! Counts the frames of a client that are sent in floods, and says when it is too much.
//!
//! The `h2` crate bounds what a flood can make it hold; it does not bound the work. Time comes in as a
//! parameter. Windows slide exactly: the n-th frame is too much when the n-th before it is younger than the
//! window. State: 8 bytes for each counted frame of the window, at most the limits.

use super::scanner::{Frame, Kind, flags};
use std::collections::VecDeque;

/// How much is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceLimits {
    /// RST_STREAM frames of the client in one window.
    pub resets: usize,
    /// SETTINGS and PING frames together in one window.
    pub control: usize,
    /// The window, ns.
    pub window_ns: u64,
    /// CONTINUATION frames of one header block.
    pub continuations: usize,
}

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Streams opened and reset (CVE-2023-44487).
    Resets,
    /// SETTINGS or PING frames (CVE-2019-9512, CVE-2019-9515).
    Control,
    /// CONTINUATION frames of one header block (CVE-2024-27316 and its kin).
    Continuations,
}

impl Excess {
    /// Fixed words for the record.
    pub fn why(self) -> &'static str {
        match self {
            Excess::Resets => "http/2: too many streams reset by the client",
            Excess::Control => "http/2: too many SETTINGS or PING frames",
            Excess::Continuations => "http/2: too many CONTINUATION frames in a header block",
        }
    }
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Pace {
    limits: PaceLimits,
    resets: VecDeque<u64>,
    control: VecDeque<u64>,
    continuations: usize,
}

impl Pace {
    /// Nothing counted yet.
    pub fn new(limits: PaceLimits) -> Pace {
        Pace { limits, resets: VecDeque::new(), control: VecDeque::new(), continuations: 0 }
    }

    /// Counts a frame that was seen at `now`, monotonic ns.
    ///
    /// # Errors
    /// What is too much; the connection must then end with ENHANCE_YOUR_CALM.
    pub fn frame(&mut self, frame: &Frame, now: u64) -> Result<(), Excess> {
        match frame.kind {
            Kind::RstStream if !within(&mut self.resets, self.limits.resets, self.limits.window_ns, now) => {
                Err(Excess::Resets)
            }
            Kind::Settings | Kind::Ping
                if !within(&mut self.control, self.limits.control, self.limits.window_ns, now) =>
            {
                Err(Excess::Control)
            }
            Kind::Headers => {
                self.continuations = 0;
                Ok(())
            }
            Kind::Continuation => {
                self.continuations += 1;
                if self.continuations > self.limits.continuations {
                    return Err(Excess::Continuations);
                }
                if frame.has(flags::END_HEADERS) {
                    self.continuations = 0;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn within(seen: &mut VecDeque<u64>, limit: usize, window: u64, now: u64) -> bool {
    while seen.front().is_some_and(|t| now.saturating_sub(*t) >= window) {
        seen.pop_front();
    }
    if seen.len() >= limit {
        return false;
    }
    seen.push_back(now);
    true
}
