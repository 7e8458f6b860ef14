//! The closing half of a flow: what is still written to the client, and when a connection is over.

use super::connect::Upstream;
use super::flow::{Flow, Mode};
use super::stream::Stream;
use crate::ring::Why;
use countersign_wire::stream::Farewell;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// After the last answer, bytes of the client that are read and thrown away so that it can read the answer.
pub(super) const LINGER_MAX: usize = 256 << 10;

/// How far the end of the connection has come once [`Flow::close_after_flush`] was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    /// `linger`: an answer of ours is the last thing written, and must not be eaten by a reset.
    Flushing {
        linger: bool,
    },
    Lingering {
        read: usize,
    },
}

impl Flow {
    pub(super) fn write_client(&mut self, cx: &mut Context<'_>) -> bool {
        if self.down.out.is_clear() {
            let closing = matches!(self.closing, Closing::Flushing { .. });
            let ended = self.down.eof && self.down.held.is_empty() && self.last_answer.is_none();
            if self.down.shut || !(closing || ended) {
                return false;
            }
            if Pin::new(&mut self.client).poll_shutdown(cx).is_pending() {
                return false;
            }
            self.down.shut = true;
            match self.closing {
                Closing::Flushing { linger: true } => self.closing = Closing::Lingering { read: 0 },
                Closing::Flushing { linger: false } => self.closing = Closing::Lingering { read: LINGER_MAX },
                _ => {}
            }
            return true;
        }
        if self.worker.owe().is_err() {
            self.cut = Some("the ledger does not take records");
            return true;
        }
        match self.down.out.poll_write(&mut self.client, cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(n)) => n > 0,
            Poll::Ready(Err(_)) => {
                self.cut = Some("client closed while it was answered");
                true
            }
        }
    }

    /// Writes what is queued for the client and closes.
    pub(super) fn close_after_flush(&mut self) {
        self.close(false);
    }

    /// As [`Flow::close_after_flush`]; with `linger`, the rest of the client's direction is read before the end.
    pub(super) fn close(&mut self, linger: bool) {
        if self.closing == Closing::No {
            self.closing = Closing::Flushing { linger };
            self.upstream = Upstream::Gone;
            self.up.out.clear();
            self.timers.linger(self.now);
        }
    }

    /// Orderly shutdown of the gateway: an idle connection ends now, a busy one after its answers.
    pub(super) fn drained(&mut self) -> bool {
        if !self.worker.drain.ending() || self.closing != Closing::No {
            return false;
        }
        let idle = match self.mode {
            Mode::Opaque | Mode::Switched => false,
            Mode::Framed => self.stream.as_ref().is_none_or(Stream::idle),
            Mode::Detecting | Mode::Http => self.framer.open() == 0 && !self.framer.is_tunnel(),
        };
        let cutting = self.worker.drain.cutting();
        let clear = self.up.held.is_empty() && self.up.out.is_clear() && self.down.out.is_clear();
        if idle && clear && (cutting || !self.worker.drain.gentle() || self.mode == Mode::Framed) {
            self.say_farewell(Farewell::Shutdown);
            self.close_after_flush();
            return true;
        }
        if cutting {
            self.cut = Some("gateway shut down");
        }
        cutting
    }

    pub(super) fn ended(&mut self) -> Option<Why> {
        if self.http2.is_some() {
            return Some(Why::Done);
        }
        if let Some(why) = self.cut {
            return Some(Why::Cut(why));
        }
        if let Closing::Lingering { read } = self.closing {
            return (read >= LINGER_MAX || self.timers.linger_over(self.now)).then_some(Why::Done);
        }
        // A client that came and went without a byte.
        let nothing = self.up.eof && self.up.out.is_clear() && matches!(self.upstream, Upstream::Idle);
        if nothing && self.last_answer.is_none() && self.down.out.is_clear() {
            return Some(Why::Done);
        }
        (self.up.eof && self.up.shut && self.down.eof && self.down.shut).then_some(Why::Done)
    }
}
