//! A login that the gateway takes part in.

use crate::postgres::Framer;
use crate::postgres::login::{Callers, Leg, Login, Verifiers};
use crate::scram::{Key, Keys, Verifier};
use crate::stream::{Out, Unjudged};
use zeroize::Zeroizing;

/// Secrets that are the same each time: for tests and fuzzing.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// Password of the role `known`, and of the gateway.
    pub password: &'static str,
    /// Who the connection itself proves.
    pub channel: Option<&'static str>,
    /// Role of the gateway.
    pub role: Option<&'static str>,
    nonces: u32,
}

impl Fixed {
    /// With this password, no certificate and no role of its own.
    pub fn new(password: &'static str) -> Fixed {
        Fixed { password, channel: None, role: None, nonces: 0 }
    }

    fn next(&mut self) -> Option<String> {
        self.nonces += 1;
        Some(format!("gatewaynonce{}", self.nonces))
    }
}

impl Verifiers for Fixed {
    fn nonce(&mut self) -> Option<String> {
        self.next()
    }
    fn verifier(&mut self, role: &str) -> Verifier {
        let password = if role == "known" { self.password } else { "nobody's" };
        Verifier::of_keys(&Keys::of_password(password.as_bytes(), b"salt", 2), b"salt", 2)
    }
    fn nobody(&mut self) -> Key {
        Key::new([9; 32])
    }
}

impl Callers for Fixed {
    fn nonce(&mut self) -> Option<String> {
        self.next()
    }
    fn by_channel(&mut self) -> Option<String> {
        self.channel.map(str::to_owned)
    }
    fn may_ask(&self) -> bool {
        true
    }
    fn by_token(&mut self, token: &[u8]) -> Option<String> {
        (token == b"token").then(|| "jwt:i#s".to_owned())
    }
    fn role(&self) -> Option<&str> {
        self.role
    }
    fn keys(&mut self, salt: &[u8], iterations: u32) -> Option<Keys> {
        Some(Keys::of_password(self.password.as_bytes(), salt, iterations.min(2)))
    }
    fn password(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        Some(Zeroizing::new(self.password.as_bytes().to_vec()))
    }
}

/// The first byte chooses form and split; then directions take turns at 0xfe bytes. Without the right proof no
/// AuthenticationOk reaches the client.
pub fn postgres_login(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let step = usize::from(*first % 13) + 1;
    let leg = Leg { private: true, end_point: (first & 0x40 != 0).then(|| b"data".to_vec()) };
    let mut login = match first & 0x80 {
        0 => Login::verify(leg.clone(), Box::new(Fixed::new("fuzz"))),
        _ => Login::identity(leg.clone(), Box::new(Fixed::new("fuzz"))),
    };
    login.connected(leg);
    let mut accounts = Framer::default();
    let mut shown = Vec::new();
    let proved = rest.windows(6).any(|w| w == b"token\0") || rest.windows(3).any(|w| w == b",p=");
    for (at, turn) in rest.split(|b| *b == 0xfe).enumerate() {
        let (mut from, mut to) = (0, 0);
        while to < turn.len() {
            to = (to + step).min(turn.len());
            while !login.is_over() {
                let Some(front) = turn.get(from..to).filter(|front| !front.is_empty()) else { break };
                let judged = match at % 2 {
                    0 => login.up(front, &mut accounts, &mut Unjudged),
                    _ => login.down(front, &mut accounts),
                };
                let Ok(turned) = judged else { return };
                assert!(turned.step.len <= front.len(), "what is taken is part of what was shown");
                match (&turned.step.out, at % 2) {
                    (Out::Same, 1) => shown.extend_from_slice(front.get(..turned.step.len).unwrap_or(front)),
                    (Out::Instead(bytes), 1) => shown.extend_from_slice(bytes),
                    _ => shown.extend_from_slice(&turned.back),
                }
                from += turned.step.len;
                if turned.refused {
                    return;
                }
                if turned.step.len == 0 {
                    break;
                }
            }
        }
    }
    let ok = shown.windows(9).any(|w| w == [b'R', 0, 0, 0, 8, 0, 0, 0, 0]);
    assert!(proved || !ok || login.is_over() && shown.first() == Some(&b'E'), "accepted without a proof");
}
