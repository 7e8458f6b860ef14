//! What listens: one file a protocol. Each turns what came into records, hands them to an [`Intake`], and answers
//! in the protocol's own words when they are durable, or that the sender should come again.

mod access;
mod als;
mod audit;
mod body;
mod bulk;
mod denied;
mod edge;
mod events;
pub mod fluent;
pub(crate) mod grpc;
mod halves;
mod hec;
mod hooks;
pub mod http;
mod journal;
pub(crate) mod loki;
mod otlp;
mod paths;
mod port;
mod reply;
pub mod syslog;

pub use access::{Access, Refused};
pub use audit::Audit;
pub use edge::{EdgeCounts, Edges, Enrolled, agent_prefix};
pub use halves::Halves;
pub use port::{Deliverer, Delivery, Port, now};

use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A connection that cannot be accepted is tried again after this time: descriptors may have run out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Time for a TLS handshake and for a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Returns when `stop` says true, or nobody is left to say it.
pub(crate) async fn told(stop: &mut watch::Receiver<bool>) {
    // Either way it is time to stop.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The stream behind a handshake; `None` if that failed or took too long.
async fn handshake(acceptor: &TlsAcceptor, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    match tokio::time::timeout(HEAD_TIME, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
        Err(_) => tracing::debug!("a handshake took too long"),
    }
    None
}
