//! The way from a data thread to its decoder thread: taps in order, bounded in bytes, never skipped.
//!
//! One producer thread and one consumer thread share a ring. At the bound nothing is dropped: connections
//! stop reading ([`Ring::full`]) and wait for [`Ring::drained`]. The decoder sleeps in short steps while
//! there is traffic, so that at saturation no tap costs a system call.

use crate::config::Protocol;
use crate::decode::identify::Failed;
use crate::stats::{Counters, count};
use bytes::Bytes;
use countersign_event::{Decision, Shared, Tls, Who};
use countersign_identity::ContentDigest;
use countersign_wire::h2::Packed;
pub(crate) use countersign_wire::stream::Way;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Pause between two batches while there is traffic: the most that batching delays a record.
const BATCH_PAUSE: Duration = Duration::from_millis(2);
/// Longest sleep; a wake-up for nothing costs nothing.
const SLEEP_MAX: Duration = Duration::from_secs(3600);
/// Empty pauses after which the decoder sleeps until it is woken.
const IDLE_PAUSES: u32 = 50;

/// Something that a connection's pump saw or did.
pub(crate) struct Tap {
    /// Connection, unique in the process.
    pub(crate) conn: u64,
    /// Monotonic ns.
    pub(crate) t: u64,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// A connection was accepted. First tap of each.
    Open(Box<ConnOpen>),
    /// The caller's TLS handshake is done.
    Secured(Box<Secured>),
    /// What came before the connection's own bytes: who a proxy says connected to it, the client's JA4, and the
    /// server name that it asked for, where that was looked at before the handshake.
    Greeted { hop: Option<SocketAddr>, ja4: String, sni: String },
    /// The caller has proved to the gateway who it is, or has failed to, before its session begins.
    LoggedIn(Box<LoggedIn>),
    /// The upstream connection is there: its address, and the certificates that the server showed, leaf first.
    Upstream(SocketAddr, Vec<CertificateDer<'static>>),
    /// A request head was let through.
    Request { head: Bytes, end: bool, decided: Option<Box<Decided>> },
    /// A final response head was let through; `closing`: with `Connection: close` added to it.
    Response { head: Bytes, end: bool, closing: bool },
    /// Body content.
    Data { way: Way, bytes: Bytes, end: bool },
    /// A message ended with bytes that are no content.
    End { way: Way },
    /// A request was refused. `current`: its head had been let through and tapped as [`What::Request`].
    Refused { head: Bytes, rule: &'static str, status: u16, current: bool },
    /// The gateway itself answered the oldest open request.
    Answered { status: u16, why: &'static str },
    /// The server's response broke a rule.
    BadResponse { rule: &'static str },
    /// From here on bytes pass unread. `first` = class of the first bytes; `before` = bytes up and down that
    /// had been read as messages.
    Opaque { first: &'static str, before: (u64, u64) },
    /// The connection speaks a stream protocol; its bytes follow as [`What::Bytes`]. `records` are promised.
    Framed { protocol: Protocol, records: u32 },
    /// Bytes as they were received, both ways in the order they were let through, which promise `records` more
    /// records. `decided` = the verdict on the one message that they are.
    Bytes { way: Way, bytes: Bytes, records: u32, decided: Option<Box<Decided>> },
    /// The request whose head was tapped last was held until what it asks for was known, and no longer: on a
    /// strict route its intents are asked for now.
    Announced,
    /// The verdict on the request whose head was tapped last, reached on its body.
    Verdict(Box<Decided>),
    /// What a side sent broke a rule of the stream protocol; the connection ends. Promises a record.
    Broken { way: Way, rule: &'static str },
    /// Both sides agreed on another protocol than HTTP; its bytes follow as [`What::Bytes`]. Promises a record.
    /// `before` = bytes up and down that had been read as messages.
    Switched { before: (u64, u64) },
    /// Something on a stream of an HTTP/2 connection.
    H2 { stream: u32, what: H2What },
    /// A stream that was refused before it became a request, with its reset code; `None` = 431. Promises a
    /// record.
    H2Refused { code: Option<u32> },
    /// The client broke the rules or bounds of HTTP/2, and its connection ends with the code. `n` streams of it
    /// were opened and never became requests. Promises a record.
    H2Broken { why: &'static str, code: u32, n: u64 },
    /// The TLS handshake failed.
    HandshakeFailed { why: &'static str, timeout: bool },
    /// `n` connections were refused at a limit.
    Limited { open: Box<ConnOpen>, n: u64, which: &'static str },
    /// `len` bytes of content passed that the ring had no room for.
    Skipped { way: Way, len: u64, end: bool },
    /// Messages of a stream protocol passed unseen before this; the next begins at an idle moment.
    Resumed,
    /// `n` records of a caller on a route were dropped.
    Dropped { route: usize, caller: String, n: u64 },
    /// Last tap of a connection.
    Close { up: u64, down: u64, why: Why },
}

/// What happened on a stream of an HTTP/2 connection. Each begins with a request and ends with both messages,
/// a reset, an answer of the gateway, a cut, or its connection.
pub(crate) enum H2What {
    /// A request was let through. Promises a record.
    Request { fields: Box<Packed>, end: bool, decided: Option<Box<Decided>> },
    /// A final response was let through.
    Response { fields: Box<Packed>, end: bool },
    /// Body content.
    Data { way: Way, bytes: Bytes, end: bool },
    /// Body content that the ring had no room for.
    Skipped { way: Way, len: u64, end: bool },
    /// The end of a message.
    Trailers { way: Way, fields: Box<Packed> },
    /// One side gave it up.
    Reset { way: Way, code: u32 },
    /// The gateway answered; with this status of gRPC, if the client speaks that. `refused`: the request was
    /// not let through.
    Answered { status: u16, why: &'static str, refused: bool, grpc: Option<u32> },
    /// The verdict on the request, reached on its body.
    Verdict(Box<Decided>),
    /// The request was held until what it asks for was known: its intents are asked for now.
    Announced,
    /// It was ended in the middle of the answer.
    Cut { why: &'static str },
    /// It has lasted long. Promises a record.
    Progress,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Both sides ended it in order.
    Done,
    /// It was ended in the middle of something; by whom or why.
    Cut(&'static str),
}

/// What is known of a connection when it is accepted.
#[derive(Clone)]
pub(crate) struct ConnOpen {
    pub(crate) route: usize,
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    /// Body bytes of this connection that wait in the ring.
    pub(crate) waiting: Arc<AtomicUsize>,
    /// Set on strict routes: opened by one for each tap that asks for intents.
    pub(crate) gate: Option<Arc<Gate>>,
}

/// How many intents of a connection are durable. Opened by the ledger's thread, read by the connection's.
#[derive(Default)]
pub(crate) struct Gate {
    acknowledged: AtomicU64,
    failed: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Gate {
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(crate) fn register(&self, waker: &Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    /// One more is durable, or none ever will be.
    pub(crate) fn open(&self, durable: bool) {
        if durable {
            self.acknowledged.fetch_add(1, Ordering::AcqRel);
        } else {
            self.failed.store(true, Ordering::Release);
        }
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }
}

/// What the caller's TLS handshake showed.
pub(crate) struct Secured {
    pub(crate) tls: Tls,
    pub(crate) identity: countersign_identity::TlsIdentity,
    /// Data of the channel binding to the certificate that was shown, where somebody needs it.
    pub(crate) end_point: Option<Vec<u8>>,
}

/// A session that the gateway opens in a caller's place.
pub(crate) struct LoggedIn {
    /// How the caller proved itself: `mtls`, `token`.
    pub(crate) method: &'static str,
    /// The gateway's own role; `None` = the one that the caller asked for.
    pub(crate) role: Option<String>,
    /// What its token proved, or not.
    pub(crate) identity: countersign_identity::HttpIdentity,
}

/// Identity and decision that were needed before the request could pass.
pub(crate) struct Decided {
    pub(crate) who: Shared<Who>,
    pub(crate) decision: Decision,
    pub(crate) failures: Vec<Failed>,
    /// Signed digest of the body, which is still to come.
    pub(crate) content: Option<ContentDigest>,
}

struct Inner {
    taps: Vec<Tap>,
    asleep: bool,
    closed: bool,
    /// Somebody waits for what these taps lead to: no pause for a larger batch.
    urgent: bool,
}

/// See the module's documentation.
pub(crate) struct Ring {
    inner: Mutex<Inner>,
    wake: Condvar,
    bytes: AtomicUsize,
    /// Time of the tap that the decoder worked off last, monotonic ns.
    seen: AtomicU64,
    bound: usize,
    waiters: AtomicUsize,
    drained: Notify,
}

impl What {
    /// Bytes that count against what one connection may have waiting.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            What::Data { bytes, .. } | What::Bytes { bytes, .. } => bytes.len(),
            What::H2 { what, .. } => what.waiting(),
            _ => 0,
        }
    }
}

impl H2What {
    /// As [`What::waiting`].
    pub(crate) fn waiting(&self) -> usize {
        if let H2What::Data { bytes, .. } = self { bytes.len() } else { 0 }
    }

    fn weight(&self) -> usize {
        match self {
            H2What::Request { fields, .. }
            | H2What::Response { fields, .. }
            | H2What::Trailers { fields, .. } => fields.len(),
            H2What::Data { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}

impl Tap {
    /// What it counts for in the ring, bytes.
    pub(crate) fn weight(&self) -> usize {
        let held = match &self.what {
            What::Request { head, .. } | What::Response { head, .. } | What::Refused { head, .. } => {
                head.len()
            }
            What::Data { bytes, .. } | What::Bytes { bytes, .. } => bytes.len(),
            What::H2 { what, .. } => what.weight(),
            _ => 0,
        };
        held + size_of::<Tap>()
    }
}

impl Ring {
    pub(crate) fn new(bound: usize) -> Ring {
        Ring {
            inner: Mutex::new(Inner { taps: Vec::new(), asleep: false, closed: false, urgent: false }),
            wake: Condvar::new(),
            bytes: AtomicUsize::new(0),
            seen: AtomicU64::new(0),
            bound,
            waiters: AtomicUsize::new(0),
            drained: Notify::new(),
        }
    }

    /// A panic between lock and unlock leaves a vector of whole taps, so a poisoned lock is sound.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves all of `taps` in. Never waits: producers look at [`Ring::full`] before they read.
    pub(crate) fn push(&self, taps: &mut Vec<Tap>) {
        let weight: usize = taps.iter().map(Tap::weight).sum();
        let bytes = self.bytes.fetch_add(weight, Ordering::AcqRel) + weight;
        let mut inner = self.lock();
        inner.taps.append(taps);
        if inner.asleep || bytes > self.bound / 2 {
            inner.asleep = false;
            self.wake.notify_one();
        }
    }

    /// As [`Ring::push`], and the decoder starts on them at once.
    pub(crate) fn push_urgent(&self, taps: &mut Vec<Tap>) {
        self.lock().urgent = true;
        self.push(taps);
        self.wake.notify_one();
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Decoder: the tap of time `t` is worked off.
    pub(crate) fn worked_off(&self, t: u64) {
        self.seen.store(t, Ordering::Release);
    }

    /// Whether something of before `t` may still wait for the decoder.
    pub(crate) fn is_behind(&self, t: u64) -> bool {
        self.waiting() > 0 && self.seen.load(Ordering::Acquire) < t
    }

    /// Its bound, bytes.
    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// Whether reading must stop.
    pub(crate) fn full(&self) -> bool {
        self.bytes.load(Ordering::Acquire) >= self.bound
    }

    /// Resolves after the decoder has next made room. Check the condition again after calling this and
    /// before awaiting it.
    pub(crate) fn drained(&self, counters: &Counters) -> Notified<'_> {
        count(&counters.ring_full);
        let notified = self.drained.notified();
        self.waiters.fetch_add(1, Ordering::AcqRel);
        notified
    }

    /// Decoder: waits for taps, at most about `at_most` when given, and swaps them into `batch`, which must be
    /// empty. `false` = closed and empty.
    pub(crate) fn take(&self, batch: &mut Vec<Tap>, at_most: Option<Duration>) -> bool {
        let mut inner = self.lock();
        let mut pauses = 0;
        loop {
            let due = pauses > 0 || inner.urgent;
            if due && !inner.taps.is_empty() || inner.closed {
                break;
            }
            inner = if pauses >= IDLE_PAUSES {
                if at_most.is_some() && pauses > IDLE_PAUSES {
                    break;
                }
                inner.asleep = true;
                let longest = at_most.unwrap_or(SLEEP_MAX);
                let woken = self.wake.wait_timeout(inner, longest);
                let mut inner = woken.unwrap_or_else(PoisonError::into_inner).0;
                inner.asleep = false;
                inner
            } else {
                let waited = self.wake.wait_timeout(inner, BATCH_PAUSE);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
            pauses += 1;
        }
        inner.urgent = false;
        std::mem::swap(&mut inner.taps, batch);
        !(batch.is_empty() && inner.closed)
    }

    /// Decoder: `bytes` of weight were worked off.
    pub(crate) fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        if self.waiters.load(Ordering::Acquire) > 0 && !self.full() {
            self.waiters.store(0, Ordering::Release);
            self.drained.notify_waiters();
        }
    }

    /// No more taps will come; the decoder ends when it has worked off what is there.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }
}
