//! A login that the gateway takes part in, inline: it stands before the [`super::Framer`] until the server has
//! accepted the session, and between the two sides' authentication messages.
//!
//! Two forms, `docs/guide/gateway-postgres.md`: [`Login::verify`] verifies SCRAM itself and logs in with the key
//! that the caller's proof gives away; [`Login::identity`] lets the caller prove an identity and logs in as somebody
//! of the gateway's own. Not I/O and not a source of secrets: both come from outside ([`Verifiers`], [`Callers`]).
//! Invariants: AuthenticationOk passes only behind a proof of the caller's and, where the server asks for SCRAM, a
//! signature of the server's; at most one message of each direction is held, within the protocol's bounds; any split
//! of the bytes gives the same messages; passwords, proofs and keys are in nothing that this module returns but the
//! message that carries them.

mod identity;
mod messages;
mod server;
mod verify;

pub use identity::{APPLICATION_MAX, application_name};

use super::answer::fatal;
use super::framer::START_ERROR_MAX;
use super::start::{First, first, parameters, refusal};
use super::{AUTH_MESSAGE_MAX, SMALL_MESSAGE_MAX, header};
use crate::scram::{Key, Keys, Verifier};
use crate::stream::{Framer, Judge, Out, Refusal, Step};
use identity::Identity;
use verify::Verify;

/// SQLSTATE of a login that is refused: invalid_authorization_specification.
const REFUSED: &str = "28000";
/// SQLSTATE of a wrong password, and of a token in its place: invalid_password.
const WRONG: &str = "28P01";

/// Roles whose passwords the gateway can verify.
pub trait Verifiers: Send {
    /// A fresh nonce: printable ASCII without commas, of at least 128 bits. `None` = there is no randomness, and no
    /// login.
    fn nonce(&mut self) -> Option<String>;
    /// The verifier of a role. For a role that is not known one that no password fits, the same each time it is
    /// asked for, so that a caller cannot tell.
    fn verifier(&mut self, role: &str) -> Verifier;
    /// A key that is nobody's.
    fn nobody(&mut self) -> Key;
}

/// Who calls, and what the gateway logs in with for it.
pub trait Callers: Send {
    /// A fresh nonce, as [`Verifiers::nonce`].
    fn nonce(&mut self) -> Option<String>;
    /// The caller that the connection itself proves.
    fn by_channel(&mut self) -> Option<String>;
    /// Whether a token may be asked for: only where nobody between can read it.
    fn may_ask(&self) -> bool;
    /// The caller that a token proves.
    fn by_token(&mut self, token: &[u8]) -> Option<String>;
    /// The role to log in as; `None` = the one that the caller asks for.
    fn role(&self) -> Option<&str>;
    /// The keys of the gateway's password with this salt and these iterations; `None` = it has none.
    fn keys(&mut self, salt: &[u8], iterations: u32) -> Option<Keys>;
    /// The gateway's password.
    fn password(&mut self) -> Option<zeroize::Zeroizing<Vec<u8>>>;
}

/// The TLS, or lack of it, of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leg {
    /// Nobody between can read it: TLS, or a UNIX socket.
    pub private: bool,
    /// Data of its channel binding: [`crate::scram::end_point`] of the certificate that its server shows.
    pub end_point: Option<Vec<u8>>,
}

/// What became of the front of a direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What is taken and what goes on.
    pub step: Step,
    /// What the gateway tells the side that these bytes came from.
    pub back: Vec<u8>,
    /// The login is refused: what goes to the client here is its last message, as if from the server.
    pub refused: bool,
}

impl Turn {
    fn of(step: Step) -> Turn {
        Turn { step, back: Vec::new(), refused: false }
    }

    /// `len` bytes end here, and `back` is the answer to them.
    fn answer(len: usize, back: Vec<u8>) -> Turn {
        Turn { step: Step::instead(len, 0, Vec::new()), back, refused: false }
    }

    /// `on` takes the place of `len` bytes.
    fn on(len: usize, on: Vec<u8>) -> Turn {
        Turn::of(Step::instead(len, 0, on))
    }
}

/// Why a login cannot go on: SQLSTATE and text for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Denial(&'static str, &'static str);

const NO_NONCE: Denial = Denial("XX000", "no randomness for a login (countersign)");

/// The start-up packet of a session.
struct Startup<'a> {
    len: usize,
    bytes: &'a [u8],
    version: u32,
    parameters: &'a [u8],
}

/// What both forms need: the connection as it is known, and the inner accounts.
struct Around<'a> {
    caller: &'a Leg,
    server: &'a Leg,
    accounts: &'a mut dyn Framer,
}

enum Form {
    Verify(Verify),
    Identity(Identity),
}

/// See the module's documentation.
pub struct Login {
    form: Form,
    caller: Leg,
    server: Leg,
    begun: bool,
    over: bool,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("begun", &self.begun).field("over", &self.over).finish_non_exhaustive()
    }
}

impl Login {
    /// The gateway verifies SCRAM; `caller`: the caller's side.
    pub fn verify(caller: Leg, verifiers: Box<dyn Verifiers>) -> Login {
        Login::new(Form::Verify(Verify::new(verifiers)), caller)
    }

    /// The gateway logs in as itself; `caller`: the caller's side.
    pub fn identity(caller: Leg, callers: Box<dyn Callers>) -> Login {
        Login::new(Form::Identity(Identity::new(callers)), caller)
    }

    fn new(form: Form, caller: Leg) -> Login {
        Login { form, caller, server: Leg::default(), begun: false, over: false }
    }

    /// The connection to the server is there. Before a byte of it.
    pub fn connected(&mut self, server: Leg) {
        self.server = server;
    }

    /// From here on the framer judges alone.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Judges the front of the client's unread bytes; `accounts` is the connection's framer.
    ///
    /// # Errors
    /// The rule that they break.
    pub fn up(
        &mut self,
        buf: &[u8],
        accounts: &mut dyn Framer,
        judge: &mut dyn Judge,
    ) -> Result<Turn, Refusal> {
        if !self.begun {
            return self.begin(buf, accounts, judge);
        }
        let Some((tag, len)) = header(buf) else { return Ok(Turn::of(Step::more())) };
        if tag == b'X' {
            // Nothing that could follow a goodbye may reach a session that nobody has proved anything for.
            return Ok(Turn { refused: true, ..Turn::answer(buf.len(), Vec::new()) });
        }
        if tag != b'p' {
            return Err(refusal("message before the login is over", "expected a password message"));
        }
        if !(4..=AUTH_MESSAGE_MAX).contains(&len) {
            return Err(refusal("message length", "invalid message length"));
        }
        let whole = len as usize + 1;
        let Some(payload) = buf.get(super::HEADER..whole) else { return Ok(Turn::of(Step::more())) };
        let mut around = Around { caller: &self.caller, server: &self.server, accounts };
        let turn = match &mut self.form {
            Form::Verify(form) => form.shown(&mut around, payload, whole),
            Form::Identity(form) => form.shown(&mut around, payload, whole, judge),
        };
        turn.map(|denied| denied.unwrap_or_else(|denial| denied_up(whole, denial)))
    }

    fn begin(
        &mut self,
        buf: &[u8],
        accounts: &mut dyn Framer,
        judge: &mut dyn Judge,
    ) -> Result<Turn, Refusal> {
        let First::Startup { len, version, parameters } = first(buf)? else {
            // A cancellation, or what the framer refuses.
            let step = accounts.up(buf, judge)?;
            self.over = step.len > 0;
            return Ok(Turn::of(step));
        };
        self.begun = true;
        let startup = Startup { len, bytes: buf.get(..len).unwrap_or(buf), version, parameters };
        let mut around = Around { caller: &self.caller, server: &self.server, accounts };
        let turn = match &mut self.form {
            Form::Verify(form) => form.begin(&mut around, &startup, judge),
            Form::Identity(form) => form.begin(&mut around, &startup, judge),
        };
        turn.map(|denied| denied.unwrap_or_else(|denial| denied_up(len, denial)))
    }

    /// Judges the front of the server's unread bytes.
    ///
    /// # Errors
    /// The rule that they break.
    pub fn down(&mut self, buf: &[u8], accounts: &mut dyn Framer) -> Result<Turn, Refusal> {
        let Some((tag, len)) = header(buf) else { return Ok(Turn::of(Step::more())) };
        let most = if tag == b'R' { SMALL_MESSAGE_MAX } else { START_ERROR_MAX };
        if tag == b'E' && !(8..=most).contains(&len) {
            // Text of a server that cannot speak the protocol.
            self.over = true;
            return accounts.down(buf).map(Turn::of);
        }
        if !(4..=most).contains(&len) {
            return Err(refusal("server message length", "the server broke the protocol: length"));
        }
        let whole = len as usize + 1;
        let Some(message) = buf.get(..whole) else { return Ok(Turn::of(Step::more())) };
        let payload = message.get(super::HEADER..).unwrap_or_default();
        match tag {
            b'R' => {}
            // Errors, notices, the protocol's version.
            b'E' | b'N' | b'v' => return accounts.down(message).map(Turn::of),
            _ => return Err(refusal("server message in a login", "the server broke the protocol: login")),
        }
        let mut around = Around { caller: &self.caller, server: &self.server, accounts };
        let turn = match &mut self.form {
            Form::Verify(form) => form.asked(&mut around, payload, whole),
            Form::Identity(form) => form.asked(&mut around, payload, whole),
        };
        match turn {
            Ok(Asked::Turn(turn)) => Ok(turn),
            Ok(Asked::Accepted) => {
                self.over = true;
                accounts.down(message).map(Turn::of)
            }
            Err(Denial(state, text)) => Ok(Turn { refused: true, ..Turn::on(whole, fatal(state, text)) }),
        }
    }
}

/// What came of a request of the server's.
enum Asked {
    Turn(Turn),
    /// It accepts the session, and all proofs are there.
    Accepted,
}

fn denied_up(len: usize, Denial(state, text): Denial) -> Turn {
    Turn { refused: true, ..Turn::answer(len, fatal(state, text)) }
}

/// What a role is called that a start-up packet asks for; of several the last, as the server has it.
fn role_of(startup: &Startup<'_>) -> Option<Vec<u8>> {
    parameters(startup.parameters)
        .filter(|(name, _)| *name == b"user")
        .last()
        .map(|(_, value)| value.to_vec())
}

/// The framer's account of a packet that goes to the server in the place of `len` bytes.
fn accounted(
    around: &mut Around<'_>,
    packet: Vec<u8>,
    len: usize,
    judge: &mut dyn Judge,
) -> Result<Turn, Refusal> {
    let step = around.accounts.up(&packet, judge)?;
    Ok(Turn::of(Step { len, out: Out::Instead(packet), ..step }))
}
