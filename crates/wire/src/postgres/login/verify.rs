//! The gateway verifies: SCRAM with the caller first, then with the server, by the ClientKey that the caller's proof
//! gives away.
//!
//! Invariants: a role that is not known and a password that is wrong go the same way, up to a proof that the server
//! refuses, so that the error, its time and its line in the log are the server's own; the caller is told that the
//! server has its password only once the server has proved it.

use super::messages::{OK, SASL, SASL_CONTINUE, SASL_FINAL, mechanisms, read_initial, read_request, request};
use super::server::{ServerLeg, speaks};
use super::{Around, Asked, Denial, NO_NONCE, REFUSED, Startup, Turn, Verifiers, accounted, role_of};
use crate::postgres::start::refusal;
use crate::scram::{Fault, Key, Keys, SCRAM, SCRAM_PLUS, ServerSide};
use crate::stream::{Judge, Refusal};

const OTHER_METHOD: Denial = Denial(
    REFUSED,
    "scram = \"verify\" (countersign) needs a server that asks for SCRAM-SHA-256; see its pg_hba.conf",
);

enum State {
    /// The server has not asked for anything.
    Begun,
    /// The caller was asked; the server waits with this list.
    Asked(Vec<u8>),
    /// The caller was challenged.
    Challenged(Box<ServerSide>, Vec<u8>),
    /// The server is shown the caller's key.
    Server(Box<ServerLeg>),
    /// Both have proved themselves.
    Proved,
}

/// See the module's documentation.
pub(super) struct Verify {
    verifiers: Box<dyn Verifiers>,
    role: String,
    state: State,
    keys: Option<Keys>,
    /// Our last message to the caller, once it has proved itself.
    last: Option<Vec<u8>>,
}

type Turned = Result<Result<Turn, Denial>, Refusal>;

impl Verify {
    pub(super) fn new(verifiers: Box<dyn Verifiers>) -> Verify {
        Verify { verifiers, role: String::new(), state: State::Begun, keys: None, last: None }
    }

    pub(super) fn begin(
        &mut self,
        around: &mut Around<'_>,
        startup: &Startup<'_>,
        judge: &mut dyn Judge,
    ) -> Turned {
        self.role = String::from_utf8_lossy(&role_of(startup).unwrap_or_default()).into_owned();
        accounted(around, startup.bytes.to_vec(), startup.len, judge).map(Ok)
    }

    /// A password message of the caller's.
    pub(super) fn shown(&mut self, around: &mut Around<'_>, payload: &[u8], len: usize) -> Turned {
        match std::mem::replace(&mut self.state, State::Begun) {
            State::Asked(list) => self.challenge(around, payload, list, len),
            State::Challenged(side, list) => self.proof(around, payload, &side, &list, len),
            _ => Err(refusal("password message unasked", "unexpected password message")),
        }
    }

    fn challenge(&mut self, around: &Around<'_>, payload: &[u8], list: Vec<u8>, len: usize) -> Turned {
        let Some((mechanism, first)) = read_initial(payload) else {
            return Err(refusal("SASL message", "malformed SASL message"));
        };
        let plus = mechanism == SCRAM_PLUS.as_bytes();
        if !plus && mechanism != SCRAM.as_bytes() {
            return Err(refusal(
                "SASL mechanism",
                "client selected an invalid SASL authentication mechanism",
            ));
        }
        let Some(nonce) = self.verifiers.nonce() else { return Ok(Err(NO_NONCE)) };
        let verifier = self.verifiers.verifier(&self.role);
        let offered = around.caller.end_point.as_deref();
        match ServerSide::begin(first, plus, offered, &nonce, verifier) {
            Ok((side, challenge)) => {
                self.state = State::Challenged(Box::new(side), list);
                Ok(Ok(Turn::answer(len, request(SASL_CONTINUE, &challenge))))
            }
            Err(fault) => faulty(fault),
        }
    }

    fn proof(
        &mut self,
        around: &Around<'_>,
        payload: &[u8],
        side: &ServerSide,
        list: &[u8],
        len: usize,
    ) -> Turned {
        let client = match side.finish(payload) {
            Ok(proved) => {
                self.last = Some(proved.last);
                proved.client_key
            }
            Err(Fault::Proof) => self.verifiers.nobody(),
            Err(fault) => return faulty(fault),
        };
        let server = self.verifiers.verifier(&self.role).server_key;
        self.keys = Some(Keys { client, server });
        let Some(nonce) = self.verifiers.nonce() else { return Ok(Err(NO_NONCE)) };
        match ServerLeg::begin(list, around.server, &nonce) {
            Ok((leg, first)) => {
                self.state = State::Server(Box::new(leg));
                Ok(Ok(Turn::on(len, first)))
            }
            Err(denial) => Ok(Err(denial)),
        }
    }

    /// An authentication request of the server's.
    pub(super) fn asked(
        &mut self,
        around: &mut Around<'_>,
        payload: &[u8],
        len: usize,
    ) -> Result<Asked, Denial> {
        let (code, data) = read_request(payload).ok_or(OTHER_METHOD)?;
        match (&mut self.state, code) {
            (State::Begun, SASL) => {
                speaks(data)?;
                self.state = State::Asked(data.to_vec());
                let ours: &[&str] =
                    if around.caller.end_point.is_some() { &[SCRAM_PLUS, SCRAM] } else { &[SCRAM] };
                Ok(Asked::Turn(Turn::on(len, mechanisms(ours))))
            }
            (State::Server(leg), SASL_CONTINUE | SASL_FINAL) => {
                let keys = self.keys.take();
                let keys = |_: &[u8], _: u32| keys.unwrap_or_else(nothing);
                match leg.asked(code, data, keys)? {
                    Some(answer) => Ok(Asked::Turn(Turn::answer(len, answer))),
                    None => {
                        let last = self.last.take().ok_or(OTHER_METHOD)?;
                        self.state = State::Proved;
                        Ok(Asked::Turn(Turn::on(len, request(SASL_FINAL, &last))))
                    }
                }
            }
            (State::Proved, OK) => Ok(Asked::Accepted),
            _ => Err(OTHER_METHOD),
        }
    }
}

/// Keys of an exchange that has none: they prove nothing.
fn nothing() -> Keys {
    Keys { client: Key::new([0; 32]), server: Key::new([0; 32]) }
}

/// What the caller is told of a message that is not in order; texts as the server's.
fn faulty(fault: Fault) -> Turned {
    match fault {
        Fault::Downgrade => Ok(Err(Denial(
            REFUSED,
            "SCRAM channel binding negotiation error: it is offered here, and your side was not told (countersign)",
        ))),
        Fault::Binding => Ok(Err(Denial(REFUSED, "SCRAM channel binding check failed (countersign)"))),
        _ => Err(refusal("SCRAM message", "malformed SCRAM message")),
    }
}
