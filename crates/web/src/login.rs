//! Who may look: one-time codes that become session cookies.
//!
//! Not user management: there is one person, the one who can read the terminal of the process. Invariants:
//! a code works once and for [`CODE_LIFE_S`] seconds; neither codes nor session tokens are kept, only their
//! digests; at most [`CODES_MAX`] codes and [`SESSIONS_MAX`] sessions exist, the oldest give way.

use crate::error::WebError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Life of a one-time code, seconds.
pub const CODE_LIFE_S: u64 = 60;
/// A session that is not used for this long ends, seconds.
pub const SESSION_IDLE_S: u64 = 12 * 3_600;
/// Most codes waiting to be used.
pub const CODES_MAX: usize = 16;
/// Most sessions at once.
pub const SESSIONS_MAX: usize = 64;
/// Shortest time between two links that a stranger can make the server print, seconds.
pub const RENEW_EVERY_S: u64 = 5;

type Digest = [u8; 32];

/// Codes and sessions of one server. All times are monotonic nanoseconds given by the caller.
pub struct Logins {
    inner: Mutex<Inner>,
    random: SystemRandom,
}

impl Default for Logins {
    fn default() -> Logins {
        Logins { inner: Mutex::default(), random: SystemRandom::new() }
    }
}

#[derive(Default)]
struct Inner {
    /// Digest of the code → when it was made.
    codes: HashMap<Digest, u64>,
    /// Digest of the token → when it was last used, and its number.
    sessions: HashMap<Digest, (u64, u64)>,
    next_session: u64,
    last_renewal: Option<u64>,
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logins")
    }
}

impl Logins {
    /// A fresh one-time code.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub fn new_code(&self, now_ns: u64) -> Result<String, WebError> {
        let code = self.token()?;
        let mut inner = self.lock();
        inner.codes.retain(|_, made| alive(*made, now_ns, CODE_LIFE_S));
        evict(&mut inner.codes, CODES_MAX, |made| *made);
        inner.codes.insert(sha256(&code), now_ns);
        Ok(code)
    }

    /// Exchanges a code for a session token; `None` if it is unknown, used or too old.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub fn exchange(&self, code: &str, now_ns: u64) -> Result<Option<String>, WebError> {
        let token = self.token()?;
        let mut inner = self.lock();
        let made = inner.codes.remove(&sha256(code));
        if !made.is_some_and(|made| alive(made, now_ns, CODE_LIFE_S)) {
            return Ok(None);
        }
        inner.sessions.retain(|_, (used, _)| alive(*used, now_ns, SESSION_IDLE_S));
        evict(&mut inner.sessions, SESSIONS_MAX, |(used, _)| *used);
        inner.next_session += 1;
        let number = inner.next_session;
        inner.sessions.insert(sha256(&token), (now_ns, number));
        Ok(Some(token))
    }

    /// The number of the session that this token belongs to; using it keeps it alive.
    pub fn session(&self, token: &str, now_ns: u64) -> Option<u64> {
        let mut inner = self.lock();
        let key = sha256(token);
        let (used, number) = inner.sessions.get_mut(&key)?;
        if !alive(*used, now_ns, SESSION_IDLE_S) {
            inner.sessions.remove(&key);
            return None;
        }
        *used = now_ns;
        Some(*number)
    }

    /// Ends a session.
    pub fn end(&self, token: &str) {
        self.lock().sessions.remove(&sha256(token));
    }

    /// Whether a stranger may make the server print another link now.
    pub fn may_renew(&self, now_ns: u64) -> bool {
        let mut inner = self.lock();
        if inner.last_renewal.is_some_and(|last| alive(last, now_ns, RENEW_EVERY_S)) {
            return false;
        }
        inner.last_renewal = Some(now_ns);
        true
    }

    fn token(&self) -> Result<String, WebError> {
        let mut bytes = [0; 32];
        self.random.fill(&mut bytes).map_err(|_| WebError::Random)?;
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sha256(text: &str) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    out
}

fn alive(since_ns: u64, now_ns: u64, life_s: u64) -> bool {
    now_ns.saturating_sub(since_ns) < life_s * 1_000_000_000
}

/// Makes room for one more by dropping the oldest.
fn evict<V>(map: &mut HashMap<Digest, V>, max: usize, age: impl Fn(&V) -> u64) {
    while map.len() >= max {
        let oldest = map.iter().min_by_key(|(_, value)| age(value)).map(|(key, _)| *key);
        match oldest {
            Some(key) => map.remove(&key),
            None => break,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_code_works_once() {
        let logins = Logins::default();
        let code = logins.new_code(0).unwrap();
        let token = logins.exchange(&code, S).unwrap().unwrap();
        assert_eq!(logins.exchange(&code, S).unwrap(), None);
        assert_eq!(logins.session(&token, 2 * S), Some(1));
        logins.end(&token);
        assert_eq!(logins.session(&token, 2 * S), None);
    }

    #[test]
    fn a_code_dies_after_sixty_seconds_and_a_session_after_twelve_idle_hours() {
        let logins = Logins::default();
        let code = logins.new_code(0).unwrap();
        assert_eq!(logins.exchange(&code, CODE_LIFE_S * S).unwrap(), None);
        let code = logins.new_code(0).unwrap();
        let token = logins.exchange(&code, 0).unwrap().unwrap();
        assert!(logins.session(&token, (SESSION_IDLE_S - 1) * S).is_some());
        assert!(logins.session(&token, (2 * SESSION_IDLE_S - 2) * S).is_some());
        assert!(logins.session(&token, (4 * SESSION_IDLE_S) * S).is_none());
    }

    #[test]
    fn codes_and_sessions_are_bounded() {
        let logins = Logins::default();
        for i in 0..200 {
            let code = logins.new_code(i).unwrap();
            if i % 2 == 0 {
                logins.exchange(&code, i).unwrap().unwrap();
            }
        }
        let inner = logins.lock();
        assert!(inner.codes.len() <= CODES_MAX && inner.sessions.len() <= SESSIONS_MAX);
    }

    #[test]
    fn a_stranger_cannot_flood_the_terminal() {
        let logins = Logins::default();
        assert!(logins.may_renew(0) && !logins.may_renew(S) && logins.may_renew(RENEW_EVERY_S * S));
    }
}
