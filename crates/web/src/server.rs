//! Listeners: loopback with sign-in, and a local socket for the command line.
//!
//! Invariants: never reachable by another machine; at most [`CONNECTIONS_MAX`] connections a listener; after
//! the shutdown signal streams end with `bye` and everything is closed within [`DRAIN_S`] seconds.

use crate::error::WebError;
use crate::guard::{Access, guard};
use crate::state::AppState;
use crate::{api, pages};
use axum::Router;
use axum::serve::Listener;
use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most connections of one listener; more wait to be accepted.
pub(crate) const CONNECTIONS_MAX: usize = 256;
/// Longest time for open answers to end after the shutdown signal, seconds.
pub(crate) const DRAIN_S: u64 = 3;
/// Pause after a failed accept (file descriptors may be used up), milliseconds.
const ACCEPT_RETRY_MS: u64 = 50;

/// All routes, guarded for one kind of listener.
pub fn router(state: AppState, access: Access) -> Router {
    Router::new()
        .merge(pages::routes())
        .merge(api::routes())
        .fallback(pages::nothing_here)
        .layer(axum::middleware::from_fn_with_state((state.clone(), access), guard))
        .with_state(state)
}

/// Serves the dashboard on loopback until `shutdown`.
///
/// # Errors
/// The listener is not on loopback, or it failed.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), WebError> {
    let address = listener.local_addr().map_err(WebError::Serve)?;
    if !address.ip().is_loopback() {
        return Err(WebError::NotLoopback(address));
    }
    let hosts = ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{}", address.port()));
    let app = router(state.clone(), Access::Login { hosts: hosts.to_vec() });
    run(Tcp(listener), app, state, shutdown).await
}

/// Serves the interface on a local socket (mode 0600, our own user only) until `shutdown`.
///
/// # Errors
/// The socket cannot be made, or the listener failed.
pub async fn serve_unix(
    path: &Path,
    state: AppState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), WebError> {
    let (listener, owner) = bind(path)?;
    let app = router(state.clone(), Access::Local);
    let result = run(Unix { listener, owner }, app, state, shutdown).await;
    let _ = std::fs::remove_file(path);
    result
}

/// Binds beside the final name, restricts it, then renames: it is never open to others, and a left-over
/// socket of a dead process gives way.
fn bind(path: &Path) -> Result<(UnixListener, u32), WebError> {
    let fail = |op: &'static str| move |source| WebError::Socket { op, path: PathBuf::from(path), source };
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail("replace")(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(fail("bind"))?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).map_err(fail("restrict"))?;
    let owner = std::fs::metadata(&fresh).map_err(fail("inspect"))?.uid();
    std::fs::rename(&fresh, path).map_err(fail("name"))?;
    Ok((listener, owner))
}

async fn run<A: Accept>(
    accept: A,
    app: Router,
    state: AppState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), WebError> {
    let (signal, mut closed) = tokio::sync::watch::channel(false);
    let closing = async move {
        shutdown.await;
        state.close();
        signal.send_replace(true);
    };
    let listener = Bounded { accept, slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
    let server = axum::serve(listener, app).with_graceful_shutdown(closing);
    tokio::select! {
        result = server => result.map_err(WebError::Serve),
        () = async {
            let _ = closed.wait_for(|closed| *closed).await;
            tokio::time::sleep(Duration::from_secs(DRAIN_S)).await;
        } => Ok(()),
    }
}

/// A socket that can be accepted from.
trait Accept: Send + 'static {
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    fn accept(&mut self) -> impl Future<Output = std::io::Result<Option<Self::Io>>> + Send;
    fn address(&self) -> std::io::Result<SocketAddr>;
}

struct Tcp(TcpListener);

impl Accept for Tcp {
    type Io = TcpStream;
    async fn accept(&mut self) -> std::io::Result<Option<TcpStream>> {
        let (stream, peer) = self.0.accept().await?;
        let _ = stream.set_nodelay(true);
        Ok(peer.ip().is_loopback().then_some(stream))
    }
    fn address(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct Unix {
    listener: UnixListener,
    owner: u32,
}

impl Accept for Unix {
    type Io = UnixStream;
    async fn accept(&mut self) -> std::io::Result<Option<UnixStream>> {
        let (stream, _) = self.listener.accept().await?;
        let uid = stream.peer_cred()?.uid();
        Ok((uid == self.owner || uid == 0).then_some(stream))
    }
    fn address(&self) -> std::io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// Accepts while a slot is free.
struct Bounded<A> {
    accept: A,
    slots: Arc<Semaphore>,
}

impl<A: Accept> Listener for Bounded<A> {
    type Io = Slotted<A::Io>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            match self.accept.accept().await {
                Ok(Some(io)) => return (Slotted { io, _slot: slot }, SocketAddr::from(([127, 0, 0, 1], 0))),
                Ok(None) => tracing::warn!("a connection of another user or machine was closed"),
                Err(error) => {
                    tracing::warn!(error = %error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.accept.address()
    }
}

/// A connection and the slot it holds.
struct Slotted<I> {
    io: I,
    _slot: OwnedSemaphorePermit,
}

impl<I: AsyncRead + Unpin> AsyncRead for Slotted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Slotted<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
