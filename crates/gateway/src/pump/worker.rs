//! What the connections of one data thread share: the ring, the ledger's promise, the read block, limits.

use super::gap::Dropped;
use super::io::Io;
use super::postgres;
use crate::config::{Durability, Limits, Listener, PostgresOptions, Protocol, Purpose};
use crate::decode::identify::Caller;
use crate::error::GatewayError;
use crate::recorder::{RecordError, Recorder};
use crate::ring::{Ring, Tap};
use crate::stats::{Counters, count};
use crate::tls::RouteTls;
use arc_swap::ArcSwap;
use bytes::{BufMut, Bytes, BytesMut};
use countersign_identity::{Identities, TlsIdentity};
use countersign_ledger::Clock;
use countersign_policy::Policy;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::AsyncReadExt;

/// Block that the connections of a thread read into, one after the other. Idle connections hold none.
const BLOCK: usize = 64 << 10;
/// A rest smaller than this is not read into.
const BLOCK_REST_MIN: usize = 8 << 10;
/// Most that one read takes from an encrypted stream: rustls zeroes the room it is offered.
const READ_TLS_MAX: usize = 16 << 10;

/// A listener as its connections see it.
pub(crate) struct Route {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) purpose: Purpose,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    /// Both sides' TLS as the files say now.
    pub(crate) tls: ArcSwap<RouteTls>,
    /// The server has shown that it does not speak HTTP/2, so callers are not offered it either.
    pub(crate) no_h2: AtomicBool,
    /// Whether that is known. Where it is not, callers are not offered HTTP/2 either.
    pub(crate) knows_h2: AtomicBool,
    pub(crate) service: String,
    pub(crate) postgres: PostgresOptions,
    pub(crate) durability: Durability,
    /// TLS is not ended here.
    pub(crate) pass_through: bool,
}

impl Route {
    /// Reads what `listener` names; `more`: certificates and keys beside its own.
    ///
    /// # Errors
    /// The first setting or file that cannot be used.
    pub(crate) fn new(
        index: usize,
        listener: &Listener,
        more: &[(PathBuf, PathBuf)],
        pass_through: bool,
    ) -> Result<Route, GatewayError> {
        if listener.protocol == Protocol::Postgres {
            postgres::check(listener)?;
        }
        Ok(Route {
            index,
            name: listener.name.clone(),
            purpose: listener.purpose.clone(),
            host: listener.upstream.host.clone(),
            port: listener.upstream.port,
            protocol: listener.protocol,
            tls: ArcSwap::from_pointee(RouteTls::read(listener, more)?),
            no_h2: AtomicBool::new(false),
            // Most servers of MCP speak HTTP/1.1, and a caller that was let down once may not come again.
            knows_h2: AtomicBool::new(listener.protocol != Protocol::Mcp),
            service: listener.service_name(),
            postgres: listener.postgres.clone(),
            durability: listener.durability,
            pass_through,
        })
    }
}

/// Shared by all connections of a data thread, and by nothing else but shutdown.
pub(crate) struct Worker {
    /// To the decoder of routes on which nobody waits for a record.
    ring: Arc<Ring>,
    /// To the decoder of strict routes; the same where there is none.
    strict_ring: Arc<Ring>,
    pub(crate) recorder: Arc<dyn Recorder>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) policy: Arc<dyn Policy>,
    /// Decisions are made before a request passes, whatever the policy says of its routes.
    pub(crate) enforce: bool,
    /// Connections of each verified identity, process-wide; entries leave with their last connection.
    pub(crate) by_identity: Arc<Mutex<HashMap<String, usize>>>,
    pub(crate) drain: Arc<Drain>,
    /// Records of gap routes that were dropped since the last report.
    pub(super) dropped: Mutex<Dropped>,
    /// Records that will come of bytes already let through, and that are not yet owed.
    pending: AtomicU64,
    block: Mutex<BytesMut>,
}

/// Everything a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) ring: Arc<Ring>,
    pub(crate) strict_ring: Arc<Ring>,
    pub(crate) recorder: Arc<dyn Recorder>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) enforce: bool,
    pub(crate) by_identity: Arc<Mutex<HashMap<String, usize>>>,
    pub(crate) drain: Arc<Drain>,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> Worker {
        Worker {
            ring: parts.ring,
            strict_ring: parts.strict_ring,
            recorder: parts.recorder,
            counters: parts.counters,
            clock: parts.clock,
            limits: parts.limits,
            identities: parts.identities,
            policy: parts.policy,
            enforce: parts.enforce,
            by_identity: parts.by_identity,
            drain: parts.drain,
            dropped: Mutex::default(),
            pending: AtomicU64::new(0),
            block: Mutex::new(BytesMut::new()),
        }
    }

    /// Notes that `n` records will come. They are owed together, at the latest before the next answer.
    pub(crate) fn will_record(&self, n: u64) {
        self.pending.fetch_add(n, Ordering::Relaxed);
    }

    /// The policy, when on `route` its decision must be known before bytes pass.
    pub(crate) fn holds(&self, route: &Route) -> Option<&Arc<dyn Policy>> {
        (self.enforce || self.policy.holds(&route.name)).then_some(&self.policy)
    }

    /// Who calls on `route` over a connection from `peer`, for a verdict now.
    pub(super) fn caller<'a>(
        &'a self,
        route: &'a Route,
        tls: Option<&'a TlsIdentity>,
        peer: IpAddr,
    ) -> Caller<'a> {
        Caller {
            identities: &self.identities,
            tls,
            secure: tls.is_some(),
            peer,
            service: &route.service,
            route: &route.name,
            purpose: &route.purpose,
            time_ns: self.clock.now_ns(),
            proved: None,
        }
    }

    /// As [`Worker::will_record`], on `route`. Strict routes have no promises: their intents are durable first.
    pub(crate) fn will_record_on(&self, route: &Route, n: u64) {
        if route.durability != Durability::Strict {
            self.will_record(n);
        }
    }

    /// Owes everything noted. Must succeed before any byte of an answer is written: a crash after the answer
    /// must find the promise, or the exchange would be missing without a trace.
    pub(crate) fn owe(&self) -> Result<(), RecordError> {
        if self.pending.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let n = self.pending.swap(0, Ordering::Relaxed);
        if let Err(e) = self.recorder.owe(n) {
            count(&self.counters.owe_failed);
            return Err(e);
        }
        self.counters.owed.fetch_add(n, Ordering::Relaxed);
        Ok(())
    }

    /// The ledger takes nothing more until the process is started again.
    pub(crate) fn stopped(&self) -> bool {
        self.counters.audit_stopped.load(Ordering::Relaxed) == 1
    }

    /// Reads what is there, at most a block; an empty result is the end of the stream.
    pub(crate) fn poll_read(&self, io: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        if block.capacity() < BLOCK_REST_MIN {
            *block = BytesMut::with_capacity(BLOCK);
        }
        let most = if io.buffers() { READ_TLS_MAX } else { BLOCK };
        let mut room = (&mut *block).limit(most);
        let read = pin!(io.read_buf(&mut room)).as_mut().poll(cx);
        match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(block.split().freeze())),
            // Many peers end TLS without close_notify: an end like any other, bodies have their own length.
            Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(Bytes::new())),
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
        }
    }

    /// Where all taps of a connection on `route` go. A strict route has a ring and a decoder of its own, so that
    /// an intent, which a caller waits for, never stands behind what a saturating route has queued.
    pub(crate) fn ring_of(&self, route: &Route) -> &Arc<Ring> {
        self.ring(route.durability == Durability::Strict)
    }

    /// As [`Worker::ring_of`], of a route that is strict, or not.
    pub(crate) fn ring(&self, strict: bool) -> &Arc<Ring> {
        if strict { &self.strict_ring } else { &self.ring }
    }

    pub(crate) fn push(&self, route: &Route, taps: &mut Vec<Tap>) {
        if !taps.is_empty() {
            self.ring_of(route).push(taps);
        }
    }
}

/// Tells connections to come to an end, and wakes those that sleep.
#[derive(Default)]
pub(crate) struct Drain {
    ending: AtomicBool,
    gentle: AtomicBool,
    cutting: AtomicBool,
    wakers: Mutex<HashMap<u64, Waker>>,
}

impl Drain {
    /// Finish what is open, then close.
    pub(crate) fn ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Idle connections wait for their next request, whose answer says that it is the last: closing them could
    /// meet a request on its way.
    pub(crate) fn gentle(&self) -> bool {
        self.gentle.load(Ordering::Relaxed)
    }

    /// Nobody is to fail: see [`Drain::gentle`]. Before [`Drain::end`].
    pub(crate) fn set_gentle(&self) {
        self.gentle.store(true, Ordering::Relaxed);
    }

    /// Close now.
    pub(crate) fn cutting(&self) -> bool {
        self.cutting.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self, cut: bool) {
        self.ending.store(true, Ordering::Relaxed);
        self.cutting.store(cut, Ordering::Relaxed);
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.values().for_each(Waker::wake_by_ref);
    }

    /// One entry for each open connection, so bounded by the connection limit.
    pub(crate) fn register(&self, conn: u64, waker: Waker) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).insert(conn, waker);
    }

    pub(crate) fn forget(&self, conn: u64) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).remove(&conn);
    }
}
