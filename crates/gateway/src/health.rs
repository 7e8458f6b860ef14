//! Whether the gateway records as it should, and if not, the cause, for those who watch over it.
//!
//! Not a counter ([`crate::stats`]): a state, read now. Invariant: while records wait, it says so within about a
//! second, whatever the routes' durability makes of the wait.

use crate::recorder::{Recorder, Taking};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// State of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Records are taken.
    Ok,
    /// Records wait for the ledger, or it takes none; and why. What callers notice depends on the route:
    /// `docs/guide/gateway.md`.
    AuditBlocked(&'static str),
}

impl Health {
    /// The word for it: `ok`, `audit-blocked`.
    pub fn word(self) -> &'static str {
        match self {
            Health::Ok => "ok",
            Health::AuditBlocked(_) => "audit-blocked",
        }
    }
}

/// The gateway's health, for those who do not hold the gateway. Cheap to clone.
#[derive(Clone)]
pub struct HealthWatch(pub(crate) Arc<Watch>);

impl HealthWatch {
    /// As [`crate::Gateway::health`].
    pub fn health(&self) -> Health {
        self.0.health()
    }
}

impl std::fmt::Debug for HealthWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HealthWatch").field(&self.health()).finish()
    }
}

/// Looks at all recorders of a gateway.
pub(crate) struct Watch {
    recorders: Vec<Arc<dyn Recorder>>,
    blocked: AtomicBool,
}

impl Watch {
    pub(crate) fn new(recorders: Vec<Arc<dyn Recorder>>) -> Watch {
        Watch { recorders, blocked: AtomicBool::new(false) }
    }

    pub(crate) fn health(&self) -> Health {
        let why = self.recorders.iter().find_map(|recorder| match recorder.taking() {
            Taking::Yes => None,
            Taking::Waits(why) => Some(why),
            Taking::Stopped => Some("the ledger has stopped"),
        });
        why.map_or(Health::Ok, Health::AuditBlocked)
    }

    /// Logs a change since the last look.
    pub(crate) fn look(&self) {
        let health = self.health();
        let blocked = health != Health::Ok;
        if self.blocked.swap(blocked, Ordering::Relaxed) == blocked {
            return;
        }
        match health {
            Health::AuditBlocked(cause) => tracing::error!(cause, "gateway: audit-blocked: records wait"),
            Health::Ok => tracing::info!("gateway: records are taken again"),
        }
    }
}
