//! The one error of this crate: what keeps a server from starting or going on.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the dashboard cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The address is reachable by other machines.
    #[error(
        "the dashboard listens on loopback only, not on {0}: use 127.0.0.1, and ssh -L to reach it from elsewhere"
    )]
    NotLoopback(SocketAddr),
    /// The local socket cannot be made.
    #[error("cannot {op} the local socket {}: {source}", path.display())]
    Socket {
        /// What was tried.
        op: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A listener failed.
    #[error("serving the dashboard: {0}")]
    Serve(std::io::Error),
    /// The system gave no random bytes.
    #[error("the system's random number generator failed; nobody can sign in")]
    Random,
}
