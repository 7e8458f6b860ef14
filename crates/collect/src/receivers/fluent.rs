//! Fluent's forward protocol over TCP and TLS: Fluentd, Fluent Bit, docker's log driver, the fluent-logger libraries.
//!
//! Source: Fluentd wiki, "Forward Protocol Specification v1". A message with a `chunk` is answered with its id when
//! all of it is durable; where that cannot be promised the connection is closed without an answer, and the client
//! sends the chunk again, which is known by its id. A message without one has no answer: it is read only as fast as
//! records become durable. Where the input has a shared key, nothing is read before the client has proved it. Not
//! here: users with passwords, heartbeats over UDP, JSON in place of MessagePack.

pub(crate) mod handshake;
pub(crate) mod message;

use super::access::Refused;
use super::body::BODY_MAX;
use super::denied;
use super::port::{Deliverer, Port, now, sender};
use crate::formats::pushed::FLUENT_FORWARD;
use crate::intake::Refusal;
use crate::msgpack::Frames;
use crate::{Input, observe};
use countersign_event::Event;
use handshake::Handshake;
pub use handshake::SharedKey;
use http::HeaderMap;
use message::Message;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Longest message, bytes.
pub const MESSAGE_MAX: usize = BODY_MAX;
/// Longest message before the shared key was proved, bytes.
const PING_MAX: usize = 4 << 10;
/// Bytes read from a stream at once.
const READ: usize = 64 << 10;
/// How long a chunk waits for a ledger that is busy before its connection is closed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves until `stop` says true, then finishes what has arrived. With `key`, only to who proves it.
pub async fn serve(
    listener: TcpListener,
    port: Arc<Port>,
    settings: super::http::Settings,
    key: Option<SharedKey>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(settings.connections));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = super::told(&mut stop) => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(super::ACCEPT_AGAIN).await;
            continue;
        };
        let acceptor = settings.acceptor();
        if acceptor.is_none() && settings.tls.is_some() {
            continue;
        }
        // An answer is written at once; an error here shows itself at the first write.
        let _ = stream.set_nodelay(true);
        let (port, key, stop) = (Arc::clone(&port), key.clone(), stop.clone());
        tokio::spawn(async move {
            match acceptor {
                None => session(stream, &port, peer, None, key, stop).await,
                Some(acceptor) => match super::handshake(&acceptor, stream).await {
                    Some(stream) => {
                        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                        let tls = port.access.identities.as_ref().map(|known| known.from_tls(chain));
                        session(stream, &port, peer, tls, key, stop).await;
                    }
                    None => port.intake.rejected(1, "handshake"),
                },
            }
            drop(place);
        });
    }
    let all = u32::try_from(settings.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(settings.drain, places.acquire_many(all)).await.is_err() {
        tracing::warn!("some senders were cut off; what was not answered is theirs to send again");
    }
    denied::close(&port).await;
}

/// One connection: who it is, then its messages.
async fn session<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    port: &Arc<Port>,
    peer: SocketAddr,
    tls: Option<countersign_identity::TlsIdentity>,
    key: Option<SharedKey>,
    stop: watch::Receiver<bool>,
) {
    let judged = port.access.judge(Some(peer), tls.as_ref(), &HeaderMap::new(), 0);
    let mut reader = Messages::default();
    let deliverer = match key {
        None => judged,
        Some(key) => {
            let proved = tokio::time::timeout(super::HEAD_TIME, prove(&mut stream, &mut reader, &key)).await;
            // A certificate that was checked says more than a key that many share.
            let known = judged.ok().filter(|deliverer| !deliverer.id.is_empty());
            let shared = || Deliverer { peer: Some(peer), id: format!("key:fluent/{}", port.input.name) };
            match proved {
                Ok(true) => Ok(known.unwrap_or_else(shared)),
                _ => Err(Box::new(Refused::shared_key())),
            }
        }
    };
    match deliverer {
        Ok(deliverer) => messages(&mut stream, port, &deliverer, reader, stop).await,
        Err(refused) => denied::deny(port, *refused, Some(peer), "fluent").await,
    }
}

/// Whether the client proves the shared key.
async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    reader: &mut Messages,
    key: &SharedKey,
) -> bool {
    let Some(handshake) = Handshake::new(key) else { return false };
    if stream.write_all(&handshake.helo()).await.is_err() {
        return false;
    }
    loop {
        match reader.next(PING_MAX) {
            Ok(Some(message)) => {
                let Ok(pong) = handshake.ping(&message) else { return false };
                return stream.write_all(&pong.message).await.is_ok() && pong.accepted;
            }
            Ok(None) if reader.read(stream).await => {}
            _ => return false,
        }
    }
}

/// What came and was not handled.
#[derive(Default)]
struct Messages {
    frames: Frames,
    buffer: Vec<u8>,
    taken: usize,
}

impl Messages {
    /// Reads more; `false` at the end.
    async fn read<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> bool {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.reserve(READ);
        stream.read_buf(&mut self.buffer).await.is_ok_and(|read| read > 0)
    }

    /// The next whole message of at most `most` bytes, if it is here.
    fn next(&mut self, most: usize) -> Result<Option<Vec<u8>>, crate::Fault> {
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let Some(length) = self.frames.next(rest, most)? else { return Ok(None) };
        let message = rest.get(..length).unwrap_or_default().to_vec();
        self.taken += length;
        Ok(Some(message))
    }
}

/// Reads one connection to its end.
async fn messages<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    port: &Port,
    deliverer: &Deliverer,
    mut reader: Messages,
    mut stop: watch::Receiver<bool>,
) {
    let input = Input { inner: port.format, ..port.input_of(deliverer) };
    loop {
        if handle(stream, port, deliverer, &input, &mut reader).await.is_none() {
            return;
        }
        let more = tokio::select! {
            more = reader.read(stream) => more,
            // What has arrived is finished; a client that goes on is cut, and sends the rest again.
            () = super::told(&mut stop) => false,
        };
        if !more {
            if reader.buffer.len() > reader.taken {
                port.intake.rejected(1, "cut_message");
            }
            return;
        }
    }
}

/// Handles every message that is here whole; `None` = the connection ends without an answer.
async fn handle<S: AsyncWrite + Unpin>(
    stream: &mut S,
    port: &Port,
    deliverer: &Deliverer,
    input: &Input,
    reader: &mut Messages,
) -> Option<()> {
    // Messages without an answer share a batch.
    let (mut silent, mut bytes) = (Vec::new(), 0);
    loop {
        let whole = match reader.next(MESSAGE_MAX) {
            Ok(Some(whole)) => whole,
            Ok(None) => break,
            Err(fault) => return refuse(port, fault, silent, bytes).await,
        };
        let Message { records, chunk } = match message::read(&whole) {
            Ok(message) => message,
            Err(fault) => return refuse(port, fault, silent, bytes).await,
        };
        let mut events = Vec::with_capacity(records.len());
        for (number, record) in records.iter().enumerate() {
            let mut event = observe(record.as_bytes(), Some(&FLUENT_FORWARD), input, &port.keeper, now());
            sender(&mut event, deliverer.peer);
            if let (Some(chunk), Some(capture)) = (&chunk, &mut event.body.cap)
                && capture.source_id.is_empty()
            {
                capture.source_id = format!("{}/{number}", chunk.name);
            }
            events.push(event);
        }
        let Some(chunk) = chunk else {
            silent.append(&mut events);
            bytes += whole.len();
            continue;
        };
        flush(port, &mut silent, &mut bytes).await.ok()?;
        match port.deliver_when_room(events, whole.len(), true, PATIENCE).await {
            Ok(_) => stream.write_all(&chunk.ack).await.ok()?,
            Err(refusal) => {
                tracing::debug!(%refusal, "a chunk is not answered");
                return None;
            }
        }
    }
    flush(port, &mut silent, &mut bytes).await.ok()
}

/// Ends a connection whose next message cannot be read; what came before it is recorded.
async fn refuse(port: &Port, fault: crate::Fault, mut silent: Vec<Event>, mut bytes: usize) -> Option<()> {
    tracing::debug!(%fault, "a message cannot be read; its connection ends");
    port.intake.rejected(1, "fluent_message");
    flush(port, &mut silent, &mut bytes).await.ok()?;
    None
}

async fn flush(port: &Port, silent: &mut Vec<Event>, bytes: &mut usize) -> Result<(), Refusal> {
    if !silent.is_empty() {
        port.deliver_patiently(std::mem::take(silent), std::mem::take(bytes)).await?;
    }
    Ok(())
}
