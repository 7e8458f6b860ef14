//! Syslog over UDP (RFC 5426), TCP (RFC 6587) and TLS (RFC 5425).
//!
//! The protocol has no answer: that bytes are read is all a sender learns. So a stream is read only as fast as its
//! records become durable, and the kernel holds the sender back. A datagram that finds no room is lost in the
//! kernel; how many were is asked of the kernel and declared as a GAP. Text that looks like a name or a level is
//! text: nobody in a syslog message is more than claimed, and over TLS `cap.deliverer` names the real sender.

use super::denied;
use super::port::{Deliverer, Port, sender};
use crate::frame::{Framer, Octets, Step};
use countersign_event::Event;
use http::HeaderMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Semaphore, watch};

/// Largest datagram, bytes.
const DATAGRAM_MAX: usize = 64 << 10;
/// Datagrams handed to the ledger at once.
const DATAGRAMS: usize = 512;
/// Room asked of the kernel for datagrams that wait, bytes.
const SOCKET_BUFFER: usize = 8 << 20;
/// Bytes read from a stream at once.
const READ: usize = 64 << 10;
/// How often the kernel is asked what it lost.
const LOST_EVERY: Duration = Duration::from_secs(1);
/// Field id of `body.raw`, for `content.cut`.
const RAW: u64 = 6 * 256 + 3;

/// Receives datagrams until `stop` says true.
pub async fn udp(socket: UdpSocket, port: Arc<Port>, mut stop: watch::Receiver<bool>) {
    // A smaller buffer loses earlier, and says so.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER);
    let local = socket.local_addr().ok();
    let mut lost = Lost::new(local);
    let mut buffer = vec![0; DATAGRAM_MAX];
    let mut asked = tokio::time::interval(LOST_EVERY);
    loop {
        let first = tokio::select! {
            first = socket.recv_from(&mut buffer) => first,
            _ = asked.tick() => {
                if lost.declare(&port).is_err() { return }
                continue;
            }
            () = super::told(&mut stop) => break,
        };
        let Ok((length, peer)) = first else { continue };
        let (mut events, mut bytes) = (vec![datagram(&port, &buffer[..length], peer)], length);
        while events.len() < DATAGRAMS
            && let Ok((length, peer)) = socket.try_recv_from(&mut buffer)
        {
            events.push(datagram(&port, &buffer[..length], peer));
            bytes += length;
        }
        if port.deliver_patiently(events, bytes).await.is_err() {
            return;
        }
    }
    // The ledger may have stopped before.
    let _ = lost.declare(&port);
}

fn datagram(port: &Port, bytes: &[u8], peer: SocketAddr) -> Event {
    let input = port.input_of(&Deliverer { peer: Some(peer), id: String::new() });
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut event = port.observe(text, &input);
    event.peer.transport.get_or_insert(countersign_event::Transport::Udp);
    sender(&mut event, Some(peer));
    event
}

/// What the kernel lost of a socket's datagrams, from its table.
struct Lost {
    local: Option<SocketAddr>,
    before: u64,
}

impl Lost {
    fn new(local: Option<SocketAddr>) -> Lost {
        let before = local.and_then(drops).unwrap_or(0);
        Lost { local, before }
    }

    fn declare(&mut self, port: &Port) -> Result<(), crate::intake::Refusal> {
        let now = self.local.and_then(drops).unwrap_or(self.before);
        let more = now.saturating_sub(self.before);
        self.before = now;
        if more == 0 { Ok(()) } else { port.intake.dropped(more) }
    }
}

/// The `drops` column of `/proc/net/udp` for the socket at `local`; `None` where there is no such table.
fn drops(local: SocketAddr) -> Option<u64> {
    let table = if local.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    let text = std::fs::read_to_string(table).ok()?;
    let port = format!(":{:04X}", local.port());
    let of = |line: &str| {
        let mut words = line.split_whitespace();
        let bound = words.nth(1)?.ends_with(&port);
        bound.then(|| words.last()?.parse::<u64>().ok()).flatten()
    };
    text.lines().skip(1).find_map(of)
}

/// Serves streams until `stop` says true, then reads to the end what has arrived.
pub async fn tcp(
    listener: TcpListener,
    port: Arc<Port>,
    settings: super::http::Settings,
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
        let (port, stop) = (Arc::clone(&port), stop.clone());
        tokio::spawn(async move {
            let none = HeaderMap::new();
            match acceptor {
                None => match port.access.judge(Some(peer), None, &none, 0) {
                    Ok(deliverer) => records(stream, &port, &deliverer, stop).await,
                    Err(refused) => denied::deny(&port, *refused, Some(peer), "syslog").await,
                },
                Some(acceptor) => match super::handshake(&acceptor, stream).await {
                    Some(stream) => {
                        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                        let tls = port.access.identities.as_ref().map(|known| known.from_tls(chain));
                        match port.access.judge(Some(peer), tls.as_ref(), &none, 0) {
                            Ok(deliverer) => records(stream, &port, &deliverer, stop).await,
                            Err(refused) => denied::deny(&port, *refused, Some(peer), "syslog").await,
                        }
                    }
                    None => port.intake.rejected(1, "handshake"),
                },
            }
            drop(place);
        });
    }
    let all = u32::try_from(settings.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(settings.drain, places.acquire_many(all)).await.is_err() {
        tracing::warn!("some senders of syslog were cut off in the middle of a message");
    }
    denied::close(&port).await;
}

/// Reads one stream to its end. What breaks the framing is recorded raw, and ends it.
async fn records<S: AsyncRead + Unpin>(
    mut stream: S,
    port: &Port,
    deliverer: &Deliverer,
    mut stop: watch::Receiver<bool>,
) {
    let input = port.input_of(deliverer);
    let (mut framer, mut buffer) = (Octets::default(), Vec::with_capacity(READ));
    loop {
        buffer.reserve(READ);
        let read = tokio::select! {
            read = stream.read_buf(&mut buffer) => read.unwrap_or(0),
            // What has arrived is finished; a sender that goes on is cut.
            () = super::told(&mut stop) => 0,
        };
        let (mut events, mut from, mut broken) = (Vec::new(), 0, false);
        loop {
            let rest = &buffer[from..];
            match framer.step(rest, read == 0) {
                Step::More => break,
                Step::Skip { taken, .. } => from += taken,
                Step::Record { record, taken, cut } => {
                    let mut event = port.observe(&rest[record], &input);
                    if cut {
                        event.content.cut.push((RAW, crate::RECORD_MAX as u64));
                    }
                    events.push(event);
                    from += taken;
                }
                Step::Broken(rule) => {
                    if !rest.is_empty() {
                        let mut event = port.observe(rest, &input);
                        if event.content.err.is_empty() {
                            event.content.err = format!("not understood: {rule}");
                        }
                        events.push(event);
                    }
                    broken = true;
                    break;
                }
            }
        }
        for event in &mut events {
            event.peer.transport.get_or_insert(countersign_event::Transport::Tcp);
            sender(event, deliverer.peer);
        }
        if !events.is_empty() && port.deliver_patiently(events, from.max(1)).await.is_err() {
            return;
        }
        buffer.drain(..from);
        if read == 0 || broken {
            return;
        }
    }
}
