//! What is known of MCP sessions across exchanges, connections and data threads.
//!
//! A session id is as good as a bearer token, so only a keyed digest of it is kept, and that is what records
//! show. Invariants: at most [`SESSIONS_MAX`] sessions and [`PENDING_MAX`] open requests in all; the oldest
//! session goes first; a request too many is simply not remembered, its answer is then a record without it.

use super::record::Facts;
use crate::recorder::BodyKey;
use countersign_wire::jsonrpc::{Id, Message};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sessions remembered.
const SESSIONS_MAX: usize = 4_096;
/// Requests that wait for an answer on another exchange, all sessions together.
const PENDING_MAX: usize = 4_096;
/// Of them, in one session.
const PENDING_SESSION_MAX: usize = 256;

/// Keyed digest of a session id.
pub(super) type Key = [u8; 16];

struct Pending {
    id: Id,
    message: Message,
    digest: Option<[u8; 32]>,
}

#[derive(Default)]
struct Session {
    facts: Facts,
    pending: VecDeque<Pending>,
}

#[derive(Default)]
struct Inner {
    by: HashMap<Key, Session>,
    order: VecDeque<Key>,
    pending: usize,
}

/// See the module's documentation. Shared by all decoders of a gateway.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<Inner>);

impl Sessions {
    /// No step between lock and unlock leaves the maps inconsistent in a way that matters: counts are bounds.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of a session id, or of the endpoint that stands for one.
    pub(super) fn key(&self, key: &BodyKey, what: &[u8], id: &[u8]) -> Key {
        let mut digest = key.start();
        digest.update(b"countersign/mcp-session/1\0");
        digest.update(what);
        digest.update(b"\0");
        digest.update(id);
        let full = digest.finish();
        let mut out = [0; 16];
        out.copy_from_slice(full.get(..16).unwrap_or(&[0; 16]));
        out
    }

    pub(super) fn knows(&self, key: &Key) -> bool {
        self.lock().by.contains_key(key)
    }

    /// A server gave out this session.
    pub(super) fn open(&self, key: &Key) {
        self.lock().session(key);
    }

    /// Adds what is known of the session to `facts`.
    pub(super) fn recall(&self, key: &Key, facts: &mut Facts) {
        if let Some(session) = self.lock().by.get(key) {
            facts.fill(&session.facts);
        }
    }

    /// Notes what `facts` tell of a session that a server gave out.
    pub(super) fn remember(&self, key: &Key, facts: &Facts) {
        let mut inner = self.lock();
        if let Some(session) = inner.by.get_mut(key) {
            let mut new = facts.clone();
            new.fill(&session.facts);
            session.facts = new;
        }
    }

    /// The client ended the session.
    pub(super) fn forget(&self, key: &Key) {
        let mut inner = self.lock();
        if let Some(session) = inner.by.remove(key) {
            inner.pending = inner.pending.saturating_sub(session.pending.len());
            inner.order.retain(|k| k != key);
        }
    }

    /// A request of the client that may be answered on another exchange.
    pub(super) fn expect(&self, key: &Key, id: &Id, message: &Message, digest: Option<[u8; 32]>) {
        let mut inner = self.lock();
        if inner.pending >= PENDING_MAX {
            return;
        }
        let Some(session) = inner.by.get_mut(key) else { return };
        if session.pending.len() >= PENDING_SESSION_MAX {
            return;
        }
        session.pending.push_back(Pending { id: id.clone(), message: message.clone(), digest });
        inner.pending += 1;
    }

    /// The request that an answer with `id` is for; it waits no longer.
    pub(super) fn answered(&self, key: &Key, id: &Id) -> Option<(Message, Option<[u8; 32]>)> {
        let mut inner = self.lock();
        let session = inner.by.get_mut(key)?;
        let at = session.pending.iter().position(|p| p.id == *id)?;
        let found = session.pending.remove(at)?;
        inner.pending = inner.pending.saturating_sub(1);
        Some((found.message, found.digest))
    }
}

impl Inner {
    fn session(&mut self, key: &Key) -> &mut Session {
        if !self.by.contains_key(key) {
            if self.order.len() >= SESSIONS_MAX
                && let Some(oldest) = self.order.pop_front()
                && let Some(gone) = self.by.remove(&oldest)
            {
                self.pending = self.pending.saturating_sub(gone.pending.len());
            }
            self.order.push_back(*key);
        }
        self.by.entry(*key).or_default()
    }
}

/// How a record shows a session.
pub(super) fn shown(key: &Key) -> String {
    let mut out = String::from("hmac:");
    for b in key {
        out.push_str(&format!("{b:02x}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_oldest_session_and_counts_what_waits() {
        let sessions = Sessions::default();
        let key = |n: usize| {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&n.to_be_bytes());
            key
        };
        let id = |n: usize| Id::Number(n.to_string());
        for n in 0..=SESSIONS_MAX {
            sessions.open(&key(n));
            sessions.expect(&key(n), &id(n), &Message::default(), None);
        }
        assert!(!sessions.knows(&key(0)) && sessions.knows(&key(1)));
        assert!(sessions.answered(&key(1), &id(1)).is_some());
        assert!(sessions.answered(&key(1), &id(1)).is_none());
        for n in 0..2 * PENDING_SESSION_MAX {
            sessions.expect(&key(2), &id(n), &Message::default(), None);
        }
        assert!(sessions.lock().pending <= PENDING_MAX);
        assert!(sessions.lock().by[&key(2)].pending.len() <= PENDING_SESSION_MAX);
        sessions.expect(&[9; 16], &id(1), &Message::default(), None);
        assert!(!sessions.knows(&[9; 16]), "only servers open sessions");
        (0..=SESSIONS_MAX).for_each(|n| sessions.forget(&key(n)));
        assert_eq!(sessions.lock().pending, 0);
    }
}
