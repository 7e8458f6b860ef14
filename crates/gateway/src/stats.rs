//! Counters of the gateway: every bound and every end has one.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64),+ }
        /// A reading of the counters since start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct GatewayStats { $($(#[$doc])* pub $name: u64),+ }
        impl Counters {
            pub(crate) fn read(&self) -> GatewayStats {
                GatewayStats { $($name: self.$name.load(Ordering::Relaxed)),+ }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections,
    /// Connections open now.
    open,
    /// Connections refused at a limit.
    refused_limit,
    /// Times accepting paused for want of descriptors.
    accept_paused,
    /// TLS handshakes that failed.
    tls_failed,
    /// Requests passed on.
    requests,
    /// Messages refused by the framer, a timeout or the policy.
    refused,
    /// Connections to the server that failed.
    upstream_failed,
    /// Connections passed unread.
    opaque,
    /// Connections that ended by a panic.
    panics,
    /// Panics of a decoder, each contained to one connection.
    decoder_panics,
    /// Records owed to the ledger.
    owed,
    /// Records handed to the ledger.
    recorded,
    /// Records that the ledger did not take because it had stopped.
    lost,
    /// Records dropped on gap routes; each is in a GAP.
    dropped,
    /// Interactions counted in the record of another one.
    folded,
    /// Requests of strict routes that were refused because their intent was not durable in time.
    unrecorded,
    /// Times reading stopped because the ring was full.
    ring_full,
    /// Requests that there was no room to remember for the statements made for them.
    causes_unlisted,
    /// Bytes from clients.
    bytes_up,
    /// Bytes to clients.
    bytes_down,
    /// 1 while records wait for the ledger or it takes none: [`crate::Gateway::health`] says why.
    audit_blocked,
    /// 1 once the ledger has stopped: nothing more passes, but on gap routes.
    audit_stopped,
    /// Answers held back because their records could not be promised.
    owe_failed,
    /// Bytes that wait for the decoders now.
    ring_bytes,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
