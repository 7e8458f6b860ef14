//! The gateway logs in as itself: the caller proves who it is by the connection or by a token, and the start-up
//! packet that goes to the server names it in `application_name`.
//!
//! Invariant: nothing goes to the server before the caller is known.

use super::messages::{
    CLEAR_TEXT, OK, SASL, SASL_CONTINUE, SASL_FINAL, password, read_password, read_request, request,
};
use super::server::ServerLeg;
use super::{Around, Asked, Callers, Denial, NO_NONCE, REFUSED, Startup, Turn, WRONG, accounted};
use crate::postgres::START_MAX;
use crate::postgres::start::{parameters, refusal};
use crate::scram::{Key, Keys};
use crate::stream::{Judge, Refusal};
use sha2::{Digest, Sha256};

/// Longest `application_name` that servers keep, bytes (`NAMEDATALEN` - 1).
pub const APPLICATION_MAX: usize = 63;
/// Hex digits that tell longer names apart.
const TAIL: usize = 16;

const NO_PROOF: Denial =
    Denial(REFUSED, "show a client certificate, or a token as the password inside TLS (countersign)");
const BAD_TOKEN: Denial = Denial(WRONG, "the token shown as password was not accepted (countersign)");
const NO_PASSWORD: Denial =
    Denial(REFUSED, "the server asks for a password and the gateway has none for it (countersign)");
const CLEAR: Denial = Denial(
    REFUSED,
    "the server asks for the gateway's password in clear text over a connection that is not private (countersign)",
);
const OTHER_METHOD: Denial =
    Denial(REFUSED, "the server asks for a method that the gateway does not speak (countersign)");

enum State {
    /// The caller was asked for a token; its start-up packet waits.
    Asked(Vec<u8>, u32),
    /// The server has the start-up packet.
    Begun,
    Server(Box<ServerLeg>),
    /// The server has the password in clear text.
    Told,
}

/// See the module's documentation.
pub(super) struct Identity {
    callers: Box<dyn Callers>,
    state: State,
}

type Turned = Result<Result<Turn, Denial>, Refusal>;

impl Identity {
    pub(super) fn new(callers: Box<dyn Callers>) -> Identity {
        Identity { callers, state: State::Begun }
    }

    pub(super) fn begin(
        &mut self,
        around: &mut Around<'_>,
        startup: &Startup<'_>,
        judge: &mut dyn Judge,
    ) -> Turned {
        if let Some(caller) = self.callers.by_channel() {
            let packet = self.packet(startup.version, startup.parameters, &caller)?;
            return accounted(around, packet, startup.len, judge).map(Ok);
        }
        if !around.caller.private || !self.callers.may_ask() {
            return Ok(Err(NO_PROOF));
        }
        self.state = State::Asked(startup.parameters.to_vec(), startup.version);
        Ok(Ok(Turn::answer(startup.len, request(CLEAR_TEXT, &[]))))
    }

    /// A password message of the caller's: the token.
    pub(super) fn shown(
        &mut self,
        around: &mut Around<'_>,
        payload: &[u8],
        len: usize,
        judge: &mut dyn Judge,
    ) -> Turned {
        let State::Asked(names, version) = std::mem::replace(&mut self.state, State::Begun) else {
            return Err(refusal("password message unasked", "unexpected password message"));
        };
        let Some(caller) = read_password(payload).and_then(|token| self.callers.by_token(token)) else {
            return Ok(Err(BAD_TOKEN));
        };
        let packet = self.packet(version, &names, &caller)?;
        accounted(around, packet, len, judge).map(Ok)
    }

    /// The start-up packet that goes to the server: the caller's, but for the role and the name.
    fn packet(&self, version: u32, names: &[u8], caller: &str) -> Result<Vec<u8>, Refusal> {
        let asked = parameters(names).filter(|(name, _)| *name == b"user").last();
        let asked = asked.map(|(_, value)| value).unwrap_or_default();
        let role = self.callers.role().map_or(asked, str::as_bytes);
        let mut body = version.to_be_bytes().to_vec();
        let mut add = |name: &[u8], value: &[u8]| {
            for part in [name, value] {
                body.extend_from_slice(part);
                body.push(0);
            }
        };
        add(b"user", role);
        if !parameters(names).any(|(name, _)| name == b"database") {
            // Without it the server would take the role's name, which is not the caller's.
            add(b"database", asked);
        }
        for (name, value) in parameters(names) {
            if !matches!(name, b"user" | b"application_name") {
                add(name, value);
            }
        }
        add(b"application_name", application_name(caller).as_bytes());
        body.push(0);
        let len = body.len() + 4;
        if len > START_MAX as usize {
            return Err(refusal("start-up packet length", "invalid length of startup packet"));
        }
        Ok([&(len as u32).to_be_bytes()[..], &body].concat())
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
            (State::Begun | State::Told | State::Server(_), OK) => match &self.state {
                State::Server(leg) if !matches!(**leg, ServerLeg::Proved) => Err(OTHER_METHOD),
                _ => Ok(Asked::Accepted),
            },
            (State::Begun, CLEAR_TEXT) if !around.server.private => Err(CLEAR),
            (State::Begun, CLEAR_TEXT) => {
                let secret = self.callers.password().ok_or(NO_PASSWORD)?;
                self.state = State::Told;
                Ok(Asked::Turn(Turn::answer(len, password(&secret))))
            }
            (State::Begun, SASL) => {
                let nonce = self.callers.nonce().ok_or(NO_NONCE)?;
                let (leg, first) = ServerLeg::begin(data, around.server, &nonce)?;
                self.state = State::Server(Box::new(leg));
                Ok(Asked::Turn(Turn::answer(len, first)))
            }
            (State::Server(leg), SASL_CONTINUE | SASL_FINAL) => {
                let mut lacks = false;
                let callers = &mut self.callers;
                let keys = |salt: &[u8], iterations| {
                    callers.keys(salt, iterations).unwrap_or_else(|| {
                        lacks = true;
                        Keys { client: Key::new([0; 32]), server: Key::new([0; 32]) }
                    })
                };
                let answer = leg.asked(code, data, keys)?;
                if lacks {
                    return Err(NO_PASSWORD);
                }
                Ok(Asked::Turn(Turn::answer(len, answer.unwrap_or_default())))
            }
            _ => Err(OTHER_METHOD),
        }
    }
}

/// A caller's id as an `application_name`: printable ASCII, at most [`APPLICATION_MAX`] bytes. One that is longer ends
/// in `~` and a digest of all of it, so that two of them stay two.
pub fn application_name(caller: &str) -> String {
    let printable: String = caller.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
    if printable.len() <= APPLICATION_MAX && printable == caller {
        return printable;
    }
    let digest = Sha256::digest(caller.as_bytes());
    let mut out: String = printable.chars().take(APPLICATION_MAX - TAIL - 1).collect();
    out.push('~');
    for byte in digest.iter().take(TAIL / 2) {
        use std::fmt::Write;
        let _ = write!(out, "{byte:02x}");
    }
    out
}
