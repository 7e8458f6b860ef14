//! Which session a cancellation means: keys of the sessions that are open in this process.
//!
//! A key is a secret: only its digest is kept, with the run and route it belongs to, and only while the
//! session is open. Bounded by the limit on connections.

use super::super::session::At;
use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Most keys kept; beyond it, a cancellation's session is not known.
const KEYS_MAX: usize = 65_536;

/// A session that can be cancelled.
#[derive(Clone)]
pub(super) struct Victim {
    /// `links.sess` of its records.
    pub(super) session: String,
    /// Its login.
    pub(super) user: String,
}

/// What the decoders of a process share: a cancellation comes on another connection, so to another thread.
pub(super) struct Shared {
    keys: Mutex<HashMap<[u8; 32], Victim>>,
    /// Bytes of statements and parameters.
    pub(super) budget: Arc<AtomicUsize>,
}

pub(super) static SHARED: LazyLock<Shared> =
    LazyLock::new(|| Shared { keys: Mutex::default(), budget: Arc::default() });

impl Shared {
    pub(super) fn remember(&self, key: [u8; 32], victim: Victim) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() < KEYS_MAX {
            keys.insert(key, victim);
        }
    }

    pub(super) fn find(&self, key: &[u8; 32]) -> Option<Victim> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(super) fn forget(&self, key: &[u8; 32]) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Name of a key: of this run and route, so that two servers' equal keys differ.
pub(super) fn digest(at: &At<'_>, pid: u32, key: &[u8]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&at.context.run);
    context.update(&(at.conn.open.route as u64).to_be_bytes());
    context.update(&pid.to_be_bytes());
    context.update(key);
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}
