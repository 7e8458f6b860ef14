//! The dashboard on loopback and the local socket for the command line, on threads of their own.

use crate::access::SOCKET;
use crate::config::Config;
use crate::config::defaults::WEB_PORTS_TRIED;
use crate::exit::CliError;
use crate::pipeline::Flavour;
use countersign_gateway::{Health, HealthWatch};
use countersign_ledger::{Ledger, Source};
use countersign_store::Store;
use countersign_web::{AppState, Desk, TailHub, WebOptions};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Threads that answer people and commands.
const THREADS: usize = 2;
/// Longest wait for open answers at the end.
const END: Duration = Duration::from_secs(5);

/// What it answers from.
pub(crate) struct Parts {
    /// Proofs, checkpoints, sources.
    pub(crate) ledger: Ledger,
    /// Search.
    pub(crate) store: Store,
    /// Live tail.
    pub(crate) hub: TailHub,
    /// Records who reads.
    pub(crate) source: Source,
    /// Whether the gateway records.
    pub(crate) health: HealthWatch,
    /// Answers about alerts.
    pub(crate) desk: Arc<dyn Desk>,
}

/// The running servers.
pub(crate) struct Web {
    runtime: Option<Runtime>,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    state: AppState,
    address: Option<SocketAddr>,
    /// For a process that takes over.
    listener: Option<TcpListener>,
}

/// Starts both servers; a busy dashboard port is named and the next free one taken.
pub(crate) fn start(
    config: &Config,
    flavour: Flavour,
    parts: Parts,
    sockets: &mut Vec<TcpListener>,
    say: &dyn Fn(&str),
) -> Result<Web, CliError> {
    let fail = |e: std::io::Error| {
        CliError::new("cannot start the dashboard", e, "close other programs and try again")
    };
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("web")
        .enable_all()
        .build()
        .map_err(fail)?;
    let announce: countersign_web::Announce = Arc::new(|link: &str| println!("sign in:   {link}"));
    let health = parts.health;
    let recording: countersign_web::Recording = Arc::new(move || match health.health() {
        Health::Ok => (Health::Ok.word(), None),
        blocked @ Health::AuditBlocked(cause) => (blocked.word(), Some(cause)),
    });
    let options = WebOptions {
        demo: flavour.demo,
        announce: Some(announce),
        recording: Some(recording),
        desk: Some(parts.desk),
    };
    let state = AppState::new(parts.ledger, parts.store, parts.hub, parts.source, options);
    let (stop, _) = watch::channel(false);
    let mut web = Web { runtime: None, stop, servers: Vec::new(), state, address: None, listener: None };
    if let Some(wanted) = config.web {
        let listener = match inherited(sockets, wanted) {
            Some(listener) => listener,
            None => bind(wanted, say)?,
        };
        web.address = listener.local_addr().ok();
        web.listener = listener.try_clone().ok();
        web.dashboard(&runtime, listener)?;
    }
    web.socket(&runtime, config);
    web.runtime = Some(runtime);
    Ok(web)
}

/// The dashboard's socket of the process before: on the wanted port, or on one that was tried next.
fn inherited(sockets: &mut Vec<TcpListener>, wanted: SocketAddr) -> Option<TcpListener> {
    let ports = wanted.port()..=wanted.port().saturating_add(WEB_PORTS_TRIED);
    let fits = |a: SocketAddr| a.ip() == wanted.ip() && ports.contains(&a.port());
    let at = sockets.iter().position(|s| s.local_addr().is_ok_and(fits))?;
    Some(sockets.swap_remove(at))
}

/// The wanted port, else the next free one; what was busy is named.
fn bind(wanted: SocketAddr, say: &dyn Fn(&str)) -> Result<TcpListener, CliError> {
    let mut address = wanted;
    let mut why = String::new();
    for _ in 0..=WEB_PORTS_TRIED {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
                say(&format!("dashboard  port {} is busy, trying the next", address.port()));
                why = e.to_string();
            }
            Err(e) => {
                return Err(CliError::new(
                    format!("cannot listen on {address} for the dashboard"),
                    e,
                    "choose another address with `web.listen`",
                ));
            }
        }
        let Some(next) = address.port().checked_add(1) else { break };
        address.set_port(next);
    }
    Err(CliError::new(
        format!("no free port for the dashboard from {} to {}", wanted, address.port()),
        why,
        "choose another with `web.listen`, or none with `web.enabled = false`",
    ))
}

impl Web {
    fn dashboard(&mut self, runtime: &Runtime, listener: TcpListener) -> Result<(), CliError> {
        let fail = |e: std::io::Error| {
            CliError::new("cannot serve the dashboard", e, "choose another address with `web.listen`")
        };
        listener.set_nonblocking(true).map_err(fail)?;
        let (state, stopped) = (self.state.clone(), self.stopped());
        let guard = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(fail)?;
        drop(guard);
        self.servers.push(runtime.spawn(async move {
            if let Err(error) = countersign_web::serve(listener, state, stopped).await {
                tracing::error!(%error, "the dashboard ended");
            }
        }));
        Ok(())
    }

    fn socket(&mut self, runtime: &Runtime, config: &Config) {
        let path = config.data.join(SOCKET);
        let (state, stopped) = (self.state.clone(), self.stopped());
        self.servers.push(runtime.spawn(async move {
            // Without the socket everything works but `tail`: other commands read the directory.
            if let Err(error) = countersign_web::serve_unix(&path, state, stopped).await {
                eprintln!("warning: {error}; commands will read the data directory instead");
            }
        }));
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // A dropped sender ends it as well.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }

    /// The dashboard's socket, for a process that takes over.
    pub(crate) fn listener(&self) -> Option<TcpListener> {
        self.listener.as_ref()?.try_clone().ok()
    }

    /// A one-time sign-in link.
    pub(crate) fn login_link(&self) -> Option<String> {
        self.state.login_link(self.address?).ok()
    }

    /// Ends streams and servers.
    pub(crate) fn stop(&mut self) {
        self.state.close();
        self.stop.send_replace(true);
        let Some(runtime) = self.runtime.take() else { return };
        let servers = std::mem::take(&mut self.servers);
        runtime.block_on(async {
            for server in servers {
                let _ = tokio::time::timeout(END, server).await;
            }
        });
        runtime.shutdown_timeout(END);
    }
}
