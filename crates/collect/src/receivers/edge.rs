//! Records that an edge of ours sends, over mutual TLS: `POST /v1/edge`, bodies as `countersign_wire::edge` has them.
//!
//! An edge is known by its client certificate alone, and sends records of its own agents and of no others. What it
//! sends is recorded as it is, byte for byte, with its numbers and levels: it is our own observer, not an import.
//!
//! Invariants: success is answered when everything in the batch is durable; a number of a run is recorded once,
//! also over restarts of either side; a hole is never made here: where numbers are missing the edge is told what
//! is there (409) and sends it, or declares it lost; a refusal takes nothing and is an event.

mod take;

use super::body::{self, BodyError};
use super::http::{Reply, bytes, come_again, text};
use super::port::Port;
use crate::intake::Refusal;
use countersign_event::{Class, Event, Kind, Outcome, Principal, Rec, Verified};
use countersign_identity::TlsIdentity;
use countersign_ledger::Ledger;
use countersign_wire::edge::{BATCH_MAX, Batch, Fault, MEDIA_TYPE, PATH};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use take::{TakeError, Taken};

/// Longest time for a batch to become durable; then the edge is told to come again.
const DURABLE: Duration = Duration::from_secs(10);
/// A refusal of one edge for one reason is an event once in this time, and counted always.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Refusals that are remembered for that; beyond it each is told.
const TOLD_MAX: usize = 1_024;

/// An edge that may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// Its name: records of agents `edge:NAME/…` are its own.
    pub name: String,
    /// Who it is: the SPIFFE id (or other principal id) of its certificate, or `sha256:` and the certificate's
    /// digest in hex.
    pub identity: String,
    /// Agents that it may send besides, whole.
    pub agents: Vec<String>,
}

/// What an edge's agents begin with.
pub fn agent_prefix(name: &str) -> String {
    format!("edge:{name}/")
}

impl Enrolled {
    fn may_send(&self, agent: &str) -> bool {
        agent.starts_with(&agent_prefix(&self.name)) || self.agents.iter().any(|own| own == agent)
    }
}

/// What came from edges so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeCounts {
    /// Events recorded.
    pub recorded: u64,
    /// Events that were here already.
    pub repeated: u64,
    /// Events that edges declared lost.
    pub lost: u64,
    /// Batches refused for good.
    pub refused: u64,
}

/// All edges of one input. Share it.
#[derive(Debug)]
pub struct Edges {
    ledger: Ledger,
    enrolled: Vec<(Enrolled, Arc<tokio::sync::Mutex<take::Runs>>)>,
    told: Mutex<HashMap<(String, &'static str), Instant>>,
    recorded: AtomicU64,
    repeated: AtomicU64,
    lost: AtomicU64,
    refused: AtomicU64,
}

impl Edges {
    /// Edges whose records go to `ledger`.
    pub fn new(ledger: Ledger, enrolled: Vec<Enrolled>) -> Edges {
        Edges {
            ledger,
            enrolled: enrolled.into_iter().map(|edge| (edge, Arc::default())).collect(),
            told: Mutex::default(),
            recorded: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// What came so far.
    pub fn counts(&self) -> EdgeCounts {
        EdgeCounts {
            recorded: self.recorded.load(Ordering::Relaxed),
            repeated: self.repeated.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn count(&self, taken: &Taken) {
        self.recorded.fetch_add(taken.recorded, Ordering::Relaxed);
        self.repeated.fetch_add(taken.repeated, Ordering::Relaxed);
        self.lost.fetch_add(taken.lost, Ordering::Relaxed);
    }

    /// Place of the edge that shows this certificate.
    fn place(&self, tls: &TlsIdentity) -> Option<usize> {
        let digest = tls.cert_sha256.map(|digest| {
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("sha256:{hex}")
        });
        let id = tls.principal.as_ref().map(|principal| principal.id.as_str());
        self.enrolled.iter().position(|(edge, _)| {
            id == Some(edge.identity.as_str()) || digest.as_deref() == Some(edge.identity.as_str())
        })
    }

    /// Whether a refusal is told now.
    fn is_news(&self, who: &str, reason: &'static str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        told.retain(|_, at| now.duration_since(*at) < TELL_AGAIN);
        if told.contains_key(&(who.to_owned(), reason)) {
            return false;
        }
        if told.len() < TOLD_MAX {
            told.insert((who.to_owned(), reason), now);
        }
        true
    }
}

/// Why a request is refused for good, until something is changed.
struct Denied {
    status: StatusCode,
    reason: &'static str,
    why: String,
}

impl Denied {
    fn new(status: StatusCode, reason: &'static str, why: String) -> Denied {
        Denied { status, reason, why }
    }
}

/// Answers one request of an input that is for edges.
pub(super) async fn answer(
    edges: &Arc<Edges>,
    port: &Arc<Port>,
    peer: Option<SocketAddr>,
    tls: Option<&TlsIdentity>,
    request: Request<Incoming>,
) -> Reply {
    if request.method() != Method::POST || request.uri().path() != PATH {
        return text(StatusCode::NOT_FOUND, format!("this input is for edges; known: POST {PATH}\n"));
    }
    let Some(tls) = tls else {
        let why = "an edge is known by its client certificate, and none was shown".to_owned();
        let denied = Denied::new(StatusCode::UNAUTHORIZED, "no certificate", why);
        return deny(edges, port, peer, None, denied).await;
    };
    let Some(place) = edges.place(tls) else {
        let id = shown(tls);
        let why = format!(
            "the certificate of {id} is not enrolled: give the core's input a table [[input.edge]] with identity = \"{id}\", \
             and the authority of a SPIFFE id in [[identity.trust]]"
        );
        let denied = Denied::new(StatusCode::FORBIDDEN, "edge is not enrolled", why);
        return deny(edges, port, peer, Some(tls), denied).await;
    };
    let (head, body) = request.into_parts();
    let body = match body::whole(&head.headers, body).await {
        Ok(body) if body.len() <= BATCH_MAX => body,
        Ok(_) | Err(BodyError::TooLarge) => {
            let denied = Denied::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "batch is too large",
                format!("a batch is larger than {BATCH_MAX} bytes"),
            );
            return deny(edges, port, peer, Some(tls), denied).await;
        }
        Err(_) => return text(StatusCode::BAD_REQUEST, "the body did not arrive whole\n".into()),
    };
    let room = match port.intake.room(body.len() as u64) {
        Ok(room) => room,
        Err(refusal) => return again(&refusal),
    };
    // It goes on when the connection ends: what was begun is finished, and known when the edge asks again.
    let work = {
        let edges = Arc::clone(edges);
        tokio::spawn(async move {
            let _room = room;
            take_batch(&edges, place, &body).await
        })
    };
    match work.await {
        Ok(Ok((status, marks))) => bytes(status, MEDIA_TYPE, marks),
        Ok(Err(TakeFailure::Denied(denied))) => deny(edges, port, peer, Some(tls), denied).await,
        Ok(Err(TakeFailure::Again(refusal))) => again(&refusal),
        Err(_) => again(&Refusal::Stopped),
    }
}

enum TakeFailure {
    Denied(Denied),
    Again(Refusal),
}

async fn take_batch(edges: &Edges, place: usize, body: &[u8]) -> Result<(StatusCode, Vec<u8>), TakeFailure> {
    let bad =
        |why: String| TakeFailure::Denied(Denied::new(StatusCode::BAD_REQUEST, "batch is out of form", why));
    let Some((edge, runs)) = edges.enrolled.get(place) else {
        return Err(TakeFailure::Again(Refusal::Stopped));
    };
    let batch = Batch::parse(body).map_err(|fault: Fault| bad(format!("the batch is refused: {fault}")))?;
    if let Some(run) = batch.streams.iter().find(|run| !edge.may_send(run.agent)) {
        let why = format!(
            "edge {} may not send records of agent {}: its own begin with {}; let it by `agents` in [[input.edge]] of the core",
            edge.name,
            run.agent,
            agent_prefix(&edge.name)
        );
        return Err(TakeFailure::Denied(Denied::new(StatusCode::FORBIDDEN, "agent is not the edge's", why)));
    }
    let deadline = tokio::time::Instant::now() + DURABLE;
    // One batch of an edge at a time: what is sent again finds what was begun before.
    let runs = tokio::time::timeout_at(deadline, runs.lock()).await;
    let mut runs = runs.map_err(|_| TakeFailure::Again(Refusal::Late))?;
    let mut taken = Taken::default();
    let result = take::take(&edges.ledger, &mut runs, &batch, deadline, &mut taken).await;
    edges.count(&taken);
    let status = match result {
        Ok(()) => StatusCode::OK,
        Err(TakeError::Behind) => StatusCode::CONFLICT,
        Err(TakeError::Record(why)) => return Err(bad(why)),
        Err(TakeError::Again(refusal)) => return Err(TakeFailure::Again(refusal)),
    };
    let marks = take::marks(&edges.ledger, &batch).map_err(bad)?;
    Ok((status, marks))
}

fn again(refusal: &Refusal) -> Reply {
    come_again(refusal, format!("{{\"error\":\"{refusal}\"}}\n"))
}

/// Whom a certificate names, believed or not.
fn shown(tls: &TlsIdentity) -> String {
    let claimed = || tls.failures.first().map(|failure| failure.claimed.id.clone());
    tls.principal.as_ref().map(|principal| principal.id.clone()).or_else(claimed).unwrap_or_default()
}

/// Counts a refusal, records it if it is news, and tells the edge.
async fn deny(
    edges: &Edges,
    port: &Port,
    peer: Option<SocketAddr>,
    tls: Option<&TlsIdentity>,
    denied: Denied,
) -> Reply {
    edges.refused.fetch_add(1, Ordering::Relaxed);
    port.intake.rejected(1, denied.reason);
    let id = tls.map(shown).unwrap_or_default();
    if edges.is_news(&id, denied.reason) {
        tracing::warn!(edge = %id, reason = denied.reason, "an edge was refused");
        let mut event = Event::default();
        event.core.t_obs = super::port::now();
        event.core.rec = Some(Rec::Platform);
        event.core.kind = Some(Kind::Lifecycle);
        event.core.op = "edge".to_owned();
        event.core.class = Some(Class::Admin);
        event.core.outcome = Some(Outcome::Denied);
        event.core.route.clone_from(&port.input.name);
        event.target.svc = "countersign".to_owned();
        event.target.res = format!("input/{}", port.input.name);
        event.content.err = cut(&denied.why, countersign_event::fields::bound::ERR);
        event.who.who = match tls.and_then(|tls| tls.principal.clone()) {
            Some(principal) => Some(principal),
            None if !id.is_empty() => Some(Principal::new(id, Verified::Claimed)),
            None => None,
        };
        super::port::sender(&mut event, peer);
        // Where it cannot be recorded now, the refusal stands all the same.
        let _ = port.deliver(vec![event], 0, false).await;
    }
    text(denied.status, format!("{}\n", denied.why))
}

fn cut(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
