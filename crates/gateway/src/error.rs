//! The one error of this crate: what failed, where, why, what to do next. Never a byte of traffic.

use std::io;
use std::net::SocketAddr;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A listening address cannot be had.
    #[error(
        "listener {listener}: cannot listen on {address}: {source}; choose another address or stop what uses it"
    )]
    Listen {
        /// Name of the listener.
        listener: String,
        /// The address.
        address: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// The configuration does not make sense.
    #[error("listener {listener}: {why}")]
    Config {
        /// Name of the listener.
        listener: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// Certificates or keys cannot be used.
    #[error("listener {listener}: {source}")]
    Identity {
        /// Name of the listener.
        listener: String,
        /// What is wrong.
        source: countersign_identity::IdentityError,
    },
    /// The ledger did not register a source.
    #[error("cannot register the gateway with the ledger: {0}")]
    Ledger(#[from] countersign_ledger::LedgerError),
    /// The ledger did not take the gateway's first note.
    #[error("cannot prepare strict routes: {0}")]
    Recorder(crate::recorder::RecordError),
    /// A thread or its runtime did not start.
    #[error("cannot start a {what} thread: {source}")]
    Thread {
        /// Which.
        what: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// What must not be kept cannot be looked for.
    #[error("redaction: {0}")]
    Redaction(String),
    /// The system gave no random numbers.
    #[error("the system's random number generator failed")]
    Random,
}
