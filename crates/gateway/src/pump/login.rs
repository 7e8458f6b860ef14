//! Logins at PostgreSQL servers that the gateway takes part in, on a flow: who asks for secrets and identities is
//! [`countersign_wire::postgres::login`], who has them is here.
//!
//! Invariants: a refusal is told to the client and to the decoder in the same words; nothing that a caller sent as a
//! password is kept.

use super::flow::Flow;
use super::io::Io;
use super::stream::Stream;
use super::worker::{Route, Worker};
use crate::login::{LoginFiles, Own, Roles};
use crate::ring::{LoggedIn, Way, What};
use countersign_event::Verified;
use countersign_identity::{HeaderLookup, HttpIdentity, Identities, TlsIdentity, who_of};
use countersign_ledger::Clock;
use countersign_wire::postgres::login::{Callers, Leg, Login, Verifiers};
use countersign_wire::scram::{Key, Keys, Verifier, end_point};
use countersign_wire::stream::{Refusal, Unjudged};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

/// Records of a session: its begin and its end.
const SESSION_RECORDS: u32 = 2;
/// Random bytes of a nonce.
const NONCE: usize = 18;

/// Where the gateway leaves what a caller has proved.
type Note = Arc<Mutex<Option<Box<LoggedIn>>>>;

/// A login in progress.
pub(super) struct Entry {
    login: Login,
    note: Note,
    /// The session's records were announced.
    announced: bool,
}

/// The login that connections on `route` go through; `None` = the server's own alone.
pub(super) fn entry(
    worker: &Worker,
    route: &Route,
    tls: Option<&TlsIdentity>,
    caller: Leg,
) -> Option<Box<Entry>> {
    let note = Note::default();
    let login = match route.tls.load().login.clone()? {
        LoginFiles::Verify(roles) => Login::verify(caller, Box::new(Known(roles))),
        LoginFiles::Identity(own) => {
            let callers = Proofs {
                own,
                identities: Arc::clone(&worker.identities),
                clock: Arc::clone(&worker.clock),
                tls: tls.cloned(),
                note: Arc::clone(&note),
            };
            Login::identity(caller, Box::new(callers))
        }
    };
    Some(Box::new(Entry { login, note, announced: false }))
}

/// The caller's side of a connection.
pub(super) fn caller_leg(client: &Io, end_point: Option<Vec<u8>>) -> Leg {
    Leg { private: client.is_private(), end_point }
}

impl Flow {
    /// The connection to the server is there.
    pub(super) fn login_connected(&mut self, io: &Io) {
        if let Some(entry) = self.stream.as_mut().and_then(|s| s.entry.as_mut()) {
            entry.login.connected(Leg { private: io.is_private(), end_point: io.end_point() });
        }
    }

    /// One turn of a login at the front of a direction; how many bytes it took.
    pub(super) fn log_in(&mut self, stream: &mut Stream, way: Way, rest: &[u8]) -> Result<usize, Refusal> {
        let Some(entry) = stream.entry.as_mut() else { return Ok(0) };
        let turn = match way {
            Way::Up => entry.login.up(rest, stream.framer.as_mut(), &mut Unjudged)?,
            Way::Down => entry.login.down(rest, stream.framer.as_mut())?,
        };
        if let Some(note) = entry.note.lock().unwrap_or_else(PoisonError::into_inner).take() {
            stream.proved = Some(Box::new(note.identity.clone()));
            self.tap(What::LoggedIn(note));
        }
        let len = turn.step.len.min(rest.len());
        if len == 0 {
            return Ok(0);
        }
        let unannounced = turn.refused && !entry.announced;
        let records = if unannounced { SESSION_RECORDS } else { turn.step.records };
        entry.announced |= records > 0;
        self.will_record(u64::from(records));
        if way == Way::Up && turn.step.records > 0 {
            self.ask_intent(self.up.out.end());
            self.worker.counters.requests.fetch_add(u64::from(records), Ordering::Relaxed);
        }
        if entry.login.is_over() {
            stream.entry = None;
        }
        self.move_login(way, rest.get(..len).unwrap_or(rest), turn, records);
        Ok(len)
    }

    fn move_login(
        &mut self,
        way: Way,
        taken: &[u8],
        turn: countersign_wire::postgres::login::Turn,
        records: u32,
    ) {
        let taken = bytes::Bytes::copy_from_slice(taken);
        let (refused, back) = (turn.refused, bytes::Bytes::from(turn.back));
        let told = match (refused, way) {
            (false, _) => None,
            (true, Way::Up) => Some(back.clone()),
            (true, Way::Down) => Some(turn.step.out.bytes(&taken)),
        };
        // What the decoder sees of a refusal is what the client sees of it.
        if !(refused && way == Way::Down) {
            self.tap(What::Bytes { way, bytes: taken.clone(), records, decided: None });
        }
        if let Some(answer) = told.filter(|answer| !answer.is_empty()) {
            self.tap(What::Bytes { way: Way::Down, bytes: answer, records: 0, decided: None });
        }
        self.queue_stream(way, taken, turn.step.out);
        let other = if way == Way::Up { &mut self.down } else { &mut self.up };
        other.out.push(back);
        if refused {
            crate::stats::count(&self.worker.counters.refused);
            self.close(true);
        }
    }
}

fn nonce() -> Option<String> {
    let mut bytes = [0; NONCE];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let mut out = String::with_capacity(2 * NONCE);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    Some(out)
}

/// Choice (c).
struct Known(Arc<Roles>);

impl Verifiers for Known {
    fn nonce(&mut self) -> Option<String> {
        nonce()
    }

    fn verifier(&mut self, role: &str) -> Verifier {
        self.0.verifier(role)
    }

    fn nobody(&mut self) -> Key {
        let mut bytes = [0; 32];
        // Without randomness it is a key of zeros, which is nobody's as well.
        let _ = SystemRandom::new().fill(&mut bytes);
        Key::new(bytes)
    }
}

/// Choice (d).
struct Proofs {
    own: Arc<Own>,
    identities: Arc<Identities>,
    clock: Arc<dyn Clock>,
    tls: Option<TlsIdentity>,
    note: Note,
}

impl Proofs {
    fn leave(&self, method: &'static str, identity: HttpIdentity) {
        let note = LoggedIn { method, role: self.own.role().map(str::to_owned), identity };
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(note));
    }
}

fn is_checked(verified: Verified) -> bool {
    matches!(verified, Verified::Checked | Verified::Bound)
}

impl Callers for Proofs {
    fn nonce(&mut self) -> Option<String> {
        nonce()
    }

    fn by_channel(&mut self) -> Option<String> {
        let principal = self.tls.as_ref()?.principal.as_ref().filter(|p| is_checked(p.verified))?;
        let id = principal.id.clone();
        self.leave("mtls", HttpIdentity::default());
        Some(id)
    }

    fn may_ask(&self) -> bool {
        true
    }

    fn by_token(&mut self, token: &[u8]) -> Option<String> {
        // As a header's value, which is what a token usually is: nothing in it may end the value.
        let plain = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
        let value = Zeroizing::new(if plain { [b"Bearer ", token].concat() } else { b"Bearer".to_vec() });
        let now_s = i64::try_from(self.clock.now_ns() / 1_000_000_000).unwrap_or(i64::MAX);
        let identity = self.identities.from_http_over(&Shown(&value), self.tls.as_ref(), now_s);
        let who = who_of(identity.principals.clone()).who;
        self.leave("token", identity);
        who.filter(|p| is_checked(p.verified)).map(|p| p.id)
    }

    fn role(&self) -> Option<&str> {
        self.own.role()
    }

    fn keys(&mut self, salt: &[u8], iterations: u32) -> Option<Keys> {
        self.own.keys(salt, iterations)
    }

    fn password(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        self.own.password()
    }
}

/// A token as the one header of a request.
struct Shown<'a>(&'a [u8]);

impl HeaderLookup for Shown<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        (name == "authorization").then_some(self.0)
    }

    fn count(&self, name: &str) -> usize {
        usize::from(name == "authorization")
    }

    fn values(&self, name: &str) -> Vec<&[u8]> {
        self.get(name).into_iter().collect()
    }
}

/// An acceptor for one connection that notes which certificate it shows: channel binding is to that one.
pub(super) struct Noted {
    pub(super) acceptor: TlsAcceptor,
    noting: Arc<Noting>,
}

#[derive(Debug)]
struct Noting {
    chooses: Arc<dyn ResolvesServerCert>,
    shown: OnceLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Noting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = self.chooses.resolve(hello)?;
        let _ = self.shown.set(Arc::clone(&key));
        Some(key)
    }
}

impl Noted {
    pub(super) fn new(acceptor: &TlsAcceptor) -> Noted {
        let mut config = (**acceptor.config()).clone();
        let noting = Arc::new(Noting { chooses: Arc::clone(&config.cert_resolver), shown: OnceLock::new() });
        config.cert_resolver = Arc::clone(&noting) as Arc<dyn ResolvesServerCert>;
        Noted { acceptor: TlsAcceptor::from(Arc::new(config)), noting }
    }

    /// Data of the binding to the certificate that was shown.
    pub(super) fn end_point(&self) -> Option<Vec<u8>> {
        self.noting.shown.get().and_then(|key| key.cert.first()).and_then(|leaf| end_point(leaf))
    }
}
