//! One socket of an HTTP/2 connection as the `h2` crate sees it, and what its bytes tell beside that crate.
//!
//! Shared by the crate's connection, which reads and writes through [`Half`], and the engine, which flushes
//! once for all that a turn has made, closes the gate when the ring is full, and asks what was seen. Bounds:
//! at most [`OUT_MAX`] bytes are held back for writing; what passes is never changed.

use crate::pump::io::Io;
use bytes::{Buf, Bytes, BytesMut};
use countersign_ledger::Clock;
use countersign_wire::h2::{Excess, Frame, Kind, Pace, Scanner, flags};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait for the flush of the turn.
const OUT_MAX: usize = 64 << 10;
/// Writes above this go to the socket as they are.
const COPY_MAX: usize = 8 << 10;
/// Streams opened by the client that the engine has not been shown, most.
const UNSEEN_MAX: usize = 1_024;
/// After the last frame, bytes of the client that are read and thrown away so that it can read that frame.
const LINGER_MAX: usize = 256 << 10;

/// What `h2` answered by itself to a stream that the engine was never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It was reset with this code.
    Reset(u32),
    /// Its header list was too large: 431.
    TooLarge,
}

/// What the frames told.
#[derive(Default)]
pub(super) struct Seen {
    /// The other side's first SETTINGS arrived.
    pub(super) settings: bool,
    /// The other side answered in HTTP/1.
    pub(super) http1: bool,
    /// A flood.
    pub(super) excess: Option<Excess>,
    /// GOAWAY from the other side: last stream that it took.
    pub(super) goaway: Option<u32>,
    /// Error code of a GOAWAY of ours.
    pub(super) own_goaway: Option<u32>,
    /// A header block began at this time, and its end is not there.
    pub(super) block_since: Option<u64>,
    /// Streams that the other side opened and the engine was not shown, oldest first.
    pub(super) unseen: VecDeque<u32>,
    last_opened: u32,
    /// What `h2` refused by itself.
    pub(super) refused: Vec<(u32, Refused)>,
    pace: Option<Pace>,
}

impl Seen {
    /// The engine was shown stream `id`.
    pub(super) fn shown(&mut self, id: u32) {
        // Reset before it was shown: it has a record of its own.
        self.refused.retain(|(refused, _)| *refused != id);
        if self.unseen.front() == Some(&id) {
            self.unseen.pop_front();
        } else {
            self.unseen.retain(|u| *u != id);
        }
    }

    fn inbound(&mut self, frame: &Frame, now: u64) {
        if self.excess.is_none()
            && let Some(pace) = &mut self.pace
            && let Err(excess) = pace.frame(frame, now)
        {
            self.excess = Some(excess);
        }
        match frame.kind {
            Kind::Settings => self.settings = true,
            Kind::GoAway => self.goaway = Some(frame.last_stream().unwrap_or(0)),
            Kind::Headers | Kind::Continuation => {
                let done = frame.has(flags::END_HEADERS);
                self.block_since = if done { None } else { self.block_since.or(Some(now)) };
                if frame.kind == Kind::Headers && frame.stream > self.last_opened {
                    self.last_opened = frame.stream;
                    if self.unseen.len() < UNSEEN_MAX {
                        self.unseen.push_back(frame.stream);
                    }
                }
            }
            Kind::Other(_) if !self.settings && frame.is_http1_status_line() => self.http1 = true,
            _ => {}
        }
    }

    fn outbound(&mut self, frame: &Frame) {
        let refused = match frame.kind {
            Kind::GoAway => {
                self.own_goaway = frame.error_code().filter(|code| *code != 0).or(self.own_goaway);
                return;
            }
            Kind::RstStream => Refused::Reset(frame.error_code().unwrap_or(0)),
            Kind::Headers => Refused::TooLarge,
            _ => return,
        };
        if let Some(at) = self.unseen.iter().position(|u| *u == frame.stream) {
            self.unseen.remove(at);
            self.refused.push((frame.stream, refused));
        }
    }
}

pub(super) struct Inner {
    io: Io,
    clock: Arc<dyn Clock>,
    /// Read before this began.
    head: Bytes,
    out: BytesMut,
    inbound: Scanner,
    outbound: Scanner,
    pub(super) seen: Seen,
    /// Nothing more is read: the ring is full, or there was a flood.
    pub(super) shut: bool,
    /// Bytes read.
    pub(super) total: u64,
    lingered: usize,
}

/// See the module's documentation.
#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<Inner>>);

impl Wire {
    /// The client's side. `head` = bytes of it that were read already.
    pub(super) fn client(io: Io, head: Bytes, clock: Arc<dyn Clock>, pace: Pace) -> Wire {
        let mut wire = Inner::new(io, head, clock, Scanner::client(), Scanner::server());
        wire.seen.pace = Some(pace);
        wire.scan_head();
        Wire(Arc::new(Mutex::new(wire)))
    }

    /// The server's side.
    pub(super) fn server(io: Io, clock: Arc<dyn Clock>) -> Wire {
        let wire = Inner::new(io, Bytes::new(), clock, Scanner::server(), Scanner::client());
        Wire(Arc::new(Mutex::new(wire)))
    }

    /// A panic between lock and unlock ends the connection anyway.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the `h2` crate is given.
    pub(super) fn half(&self) -> Half {
        Half(self.clone())
    }
}

impl Inner {
    fn new(io: Io, head: Bytes, clock: Arc<dyn Clock>, inbound: Scanner, outbound: Scanner) -> Inner {
        Inner {
            io,
            clock,
            head,
            out: BytesMut::new(),
            inbound,
            outbound,
            seen: Seen::default(),
            shut: false,
            total: 0,
            lingered: 0,
        }
    }

    fn scan_head(&mut self) {
        let head = self.head.clone();
        self.scan_in(&head);
    }

    fn scan_in(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let now = self.clock.monotonic_ns();
        let seen = &mut self.seen;
        self.inbound.feed(bytes, |frame| seen.inbound(&frame, now));
    }

    fn scan_out(&mut self, bytes: &[u8]) {
        let seen = &mut self.seen;
        self.outbound.feed(bytes, |frame| seen.outbound(&frame));
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.shut || self.seen.excess.is_some() {
            return Poll::Pending;
        }
        if !self.head.is_empty() {
            let n = self.head.len().min(buf.remaining());
            buf.put_slice(self.head.get(..n).unwrap_or_default());
            self.head.advance(n);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {}
            // Many peers end TLS without close_notify: an end like any other, streams have their own.
            Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
            other => return other,
        }
        let fresh = buf.filled().get(before..).unwrap_or_default();
        self.scan_in(fresh);
        // Of a flood nothing more is worked on, the bytes just read included.
        if self.seen.excess.is_some() {
            buf.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let offered: usize = bufs.iter().map(|b| b.len()).sum();
        if offered <= COPY_MAX {
            if self.out.len() + offered > OUT_MAX && self.flush(cx)?.is_pending() {
                return Poll::Pending;
            }
            for buf in bufs {
                self.scan_out(buf);
                self.out.extend_from_slice(buf);
            }
            return Poll::Ready(Ok(offered));
        }
        if self.flush(cx)?.is_pending() {
            return Poll::Pending;
        }
        let written = match Pin::new(&mut self.io).poll_write_vectored(cx, bufs) {
            Poll::Ready(Ok(n)) => n,
            other => return other,
        };
        let mut left = written;
        for buf in bufs {
            let n = left.min(buf.len());
            self.scan_out(buf.get(..n).unwrap_or_default());
            left -= n;
        }
        Poll::Ready(Ok(written))
    }

    /// Writes what was held back.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while !self.out.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, &self.out) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => self.out.advance(n),
                Poll::Ready(Err(e)) => return Err(e),
            }
        }
        if self.io.buffers() {
            return match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Pending => Ok(Poll::Pending),
                Poll::Ready(done) => done.map(Poll::Ready),
            };
        }
        Ok(Poll::Ready(()))
    }

    /// Reads and drops, so that unread input does not turn our close into a reset that eats the last frame.
    /// Ready when the other side has ended or has sent too much.
    pub(super) fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut block = [0; 4096];
        while self.lingered < LINGER_MAX {
            let mut buf = ReadBuf::new(&mut block);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => self.lingered += buf.filled().len(),
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }
}

/// The socket as the `h2` crate uses it.
pub(super) struct Half(Wire);

impl AsyncRead for Half {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_read(cx, buf)
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Done by the engine, once a turn.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.lock();
        if inner.flush(cx)?.is_pending() {
            return Poll::Pending;
        }
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}
