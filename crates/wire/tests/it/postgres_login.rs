//! Logins that the gateway takes part in, whatever the split of the bytes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_wire::fuzz::{Fixed, postgres_login};
use countersign_wire::postgres::Framer;
use countersign_wire::postgres::login::{APPLICATION_MAX, Leg, Login, application_name};
use countersign_wire::scram::{ClientSide, Keys, Offer, ServerSide, Verifier};
use countersign_wire::stream::{Out, Refusal, Unjudged};
use proptest::prelude::*;

const OK: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 0];

fn message(tag: u8, payload: &[u8]) -> Vec<u8> {
    [&[tag][..], &(payload.len() as u32 + 4).to_be_bytes(), payload].concat()
}

fn request(code: u32, data: &[u8]) -> Vec<u8> {
    message(b'R', &[&code.to_be_bytes()[..], data].concat())
}

fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = vec![0, 3, 0, 0];
    for (name, value) in parameters {
        body.extend(format!("{name}\0{value}\0").into_bytes());
    }
    body.push(0);
    [&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat()
}

fn initial(mechanism: &str, data: &[u8]) -> Vec<u8> {
    message(b'p', &[mechanism.as_bytes(), b"\0", &(data.len() as u32).to_be_bytes(), data].concat())
}

const BOTH: &[u8] = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";

/// A gateway between two sides that are played by hand.
struct Play {
    login: Login,
    framer: Framer,
    step: usize,
    held: [Vec<u8>; 2],
    /// What has reached the server and the client.
    to: [Vec<u8>; 2],
    records: u32,
    refused: bool,
    broken: Option<Refusal>,
}

fn leg(end_point: Option<&[u8]>) -> Leg {
    Leg { private: true, end_point: end_point.map(<[u8]>::to_vec) }
}

impl Play {
    fn new(mut login: Login, step: usize) -> Play {
        login.connected(leg(Some(b"server")));
        let (held, to) = Default::default();
        Play { login, framer: Framer::default(), step, held, to, records: 0, refused: false, broken: None }
    }

    fn send(&mut self, from_server: bool, bytes: &[u8]) {
        let (me, other) = (usize::from(from_server), usize::from(!from_server));
        for part in bytes.chunks(self.step) {
            self.held[me].extend_from_slice(part);
            while !self.held[me].is_empty() && !self.refused && self.broken.is_none() {
                let front = self.held[me].clone();
                if self.login.is_over() {
                    self.to[me].append(&mut self.held[me]);
                    break;
                }
                let judged = match from_server {
                    false => self.login.up(&front, &mut self.framer, &mut Unjudged),
                    true => self.login.down(&front, &mut self.framer),
                };
                let turn = match judged {
                    Ok(turn) => turn,
                    Err(refusal) => {
                        self.broken = Some(refusal);
                        break;
                    }
                };
                let taken: Vec<u8> = self.held[me].drain(..turn.step.len).collect();
                self.records += turn.step.records;
                self.refused |= turn.refused;
                match turn.step.out {
                    Out::Same => self.to[me].extend(taken),
                    Out::Instead(bytes) => self.to[me].extend(bytes),
                }
                self.to[other].extend(turn.back);
                if turn.step.len == 0 {
                    break;
                }
            }
        }
    }

    fn client(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.send(false, bytes);
        std::mem::take(&mut self.to[0])
    }

    fn server(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.send(true, bytes);
        std::mem::take(&mut self.to[1])
    }

    /// What the gateway has told the client besides.
    fn told_client(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to[1])
    }

    fn told_server(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to[0])
    }
}

fn verify(caller: Option<&[u8]>, step: usize) -> Play {
    Play::new(Login::verify(leg(caller), Box::new(Fixed::new("secret"))), step)
}

/// Plays choice (c) up to the server's verdict on the gateway's proof; whether it would accept it.
fn verified(play: &mut Play, role: &str, password: &str) -> Option<Vec<u8>> {
    let packet = startup(&[("user", role), ("database", "d")]);
    assert_eq!(play.client(&packet), packet);
    let plus = play.login_offers();
    assert_eq!(play.server(&request(10, BOTH)), request(10, plus.0));
    let (mut client, first) = ClientSide::begin(plus.1, "", "clientnonce");
    assert_eq!(play.client(&initial(plus.2, &first)), b"");
    let challenge = play.told_client();
    assert_eq!(challenge[..9], request(11, &challenge[9..])[..9]);
    let proof = client.prove(&challenge[9..], |s, n| Keys::of_password(password.as_bytes(), s, n)).unwrap();
    let opening = play.client(&message(b'p', &proof));
    let real = Keys::of_password(b"secret", b"server's salt", 3);
    // The server has the same salt as the gateway, or the key would not fit.
    let real = if role == "known" { Keys::of_password(b"secret", b"salt", 2) } else { real };
    let salt: &[u8] = b"salt";
    let data = &opening[5 + "SCRAM-SHA-256-PLUS\0".len() + 4..];
    let verifier = Verifier::of_keys(&real, salt, 2);
    let (server, asks) = ServerSide::begin(data, true, Some(b"server"), "servernonce", verifier).unwrap();
    assert_eq!(play.server(&request(11, &asks)), b"");
    let proof = play.told_server();
    let proved = server.finish(&proof[5..]).ok()?;
    let last = play.server(&request(12, &proved.last));
    assert_eq!(client.check(&last[9..]), Ok(()));
    Some(last)
}

impl Play {
    fn login_offers(&self) -> (&'static [u8], Offer<'static>, &'static str) {
        if self.step.is_multiple_of(2) {
            (b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", Offer::EndPoint(b"gateway"), "SCRAM-SHA-256-PLUS")
        } else {
            (b"SCRAM-SHA-256\0\0", Offer::Unasked, "SCRAM-SHA-256")
        }
    }

    fn of_step(step: usize) -> Play {
        verify(step.is_multiple_of(2).then_some(b"gateway"), step)
    }
}

#[test]
fn the_gateway_verifies_and_logs_in_with_the_callers_key() {
    for step in [1, 2, 3, 8, 1000] {
        let mut play = Play::of_step(step);
        assert!(verified(&mut play, "known", "secret").is_some(), "{step}");
        assert_eq!(play.server(&OK), OK);
        assert!(play.login.is_over() && play.broken.is_none() && !play.refused);
        assert_eq!(play.records, 2);
    }
}

#[test]
fn a_wrong_password_and_an_unknown_role_end_in_the_servers_own_error() {
    let error = message(b'E', b"SFATAL\0C28P01\0Mpassword authentication failed\0\0");
    for (role, password) in [("known", "wrong"), ("nobody", "secret")] {
        let mut play = Play::of_step(8);
        assert_eq!(verified(&mut play, role, password), None);
        assert_eq!(play.server(&error), error);
        assert!(!play.refused && play.broken.is_none());
    }
}

#[test]
fn no_server_is_believed_without_its_own_proof() {
    // It accepts at once, without asking; or in the middle; or it is given the goodbye first.
    let mut play = Play::of_step(8);
    play.client(&startup(&[("user", "known")]));
    let answer = play.server(&OK);
    assert!(play.refused && answer.starts_with(b"E") && !answer.ends_with(&OK), "{answer:?}");
    let mut play = Play::of_step(8);
    play.client(&startup(&[("user", "known")]));
    play.server(&request(10, BOTH));
    assert!(!play.server(&OK).ends_with(&OK) && play.refused);
    let mut play = Play::of_step(1000);
    play.client(&startup(&[("user", "known")]));
    let on = play.client(&[message(b'X', b""), message(b'Q', b"select 1\0")].concat());
    assert!(on.is_empty() && play.refused);
    // Its last signature is wrong.
    let mut play = Play::of_step(1000);
    play.client(&startup(&[("user", "known")]));
    play.server(&request(10, BOTH));
    let (mut client, first) = ClientSide::begin(Offer::EndPoint(b"gateway"), "", "n");
    play.client(&initial("SCRAM-SHA-256-PLUS", &first));
    let challenge = play.told_client();
    let proof = client.prove(&challenge[9..], |s, n| Keys::of_password(b"secret", s, n)).unwrap();
    play.client(&message(b'p', &proof));
    play.server(&request(11, b"r=gatewaynonce2x,s=c2FsdA==,i=2"));
    let answer = play.server(&request(12, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    assert!(play.refused && answer.starts_with(b"E"), "{answer:?}");
}

#[test]
fn messages_out_of_their_turn_break_the_login() {
    for bytes in [message(b'Q', b"select 1\0"), message(b'p', b"x\0"), b"p\0\0\0\0".to_vec()] {
        let mut play = Play::of_step(1000);
        play.client(&startup(&[("user", "known")]));
        assert!(play.client(&bytes).is_empty());
        assert!(play.broken.is_some(), "{bytes:?}");
    }
    let mut play = Play::of_step(1000);
    play.client(&startup(&[("user", "known")]));
    play.server(&message(b'Z', b"I"));
    assert!(play.broken.is_some());
}

fn identity(change: impl FnOnce(&mut Fixed), step: usize) -> Play {
    let mut callers = Fixed::new("own");
    change(&mut callers);
    Play::new(Login::identity(leg(Some(b"gateway")), Box::new(callers)), step)
}

#[test]
fn a_caller_with_a_certificate_comes_in_under_the_gateways_role() {
    for step in [1, 5, 1000] {
        let mut play = identity(
            |f| {
                f.channel = Some("spiffe://td/orders");
                f.role = Some("app");
            },
            step,
        );
        let asked = [("user", "me"), ("application_name", "claimed"), ("options", "-c x=y"), ("user", "me2")];
        let on = play.client(&startup(&asked));
        let expected = [
            ("user", "app"),
            ("database", "me2"),
            ("options", "-c x=y"),
            ("application_name", "spiffe://td/orders"),
        ];
        assert_eq!(on, startup(&expected));
        assert_eq!(play.records, 2);
        // The server asks for SCRAM; the client sees nothing of it.
        assert_eq!(play.server(&request(10, BOTH)), b"");
        let opening = play.told_server();
        let data = &opening[5 + "SCRAM-SHA-256-PLUS\0".len() + 4..];
        let keys = Keys::of_password(b"own", b"s", 2);
        let verifier = Verifier::of_keys(&keys, b"s", 2);
        let (server, asks) = ServerSide::begin(data, true, Some(b"server"), "sn", verifier).unwrap();
        assert_eq!(play.server(&request(11, &asks)), b"");
        let proof = play.told_server();
        let proved = server.finish(&proof[5..]).unwrap();
        let mut early = identity(|f| f.channel = Some("c"), step);
        early.client(&startup(&asked));
        assert_eq!(play.server(&request(12, &proved.last)), b"");
        assert_eq!(play.server(&OK), OK);
        assert!(play.login.is_over());
    }
}

#[test]
fn a_token_is_the_password_and_nothing_reaches_the_server_before_it() {
    for step in [1, 4, 1000] {
        let mut play = identity(|_| {}, step);
        assert_eq!(play.client(&startup(&[("user", "me")])), b"");
        assert_eq!(play.told_client(), request(3, b""));
        let on = play.client(&message(b'p', b"token\0"));
        let names = [("user", "me"), ("database", "me"), ("application_name", "jwt:i#s")];
        assert_eq!(on, startup(&names));
        // A server that trusts the gateway's address.
        assert_eq!(play.server(&OK), OK);
        let mut play = identity(|_| {}, step);
        play.client(&startup(&[("user", "me")]));
        play.told_client();
        assert_eq!(play.client(&message(b'p', b"no token\0")), b"");
        assert!(play.refused);
        let told = String::from_utf8_lossy(&play.told_client()).into_owned();
        assert!(told.contains("28P01") && !told.contains("no token"), "{told}");
    }
}

#[test]
fn the_gateways_password_goes_in_clear_text_only_where_nobody_reads() {
    for private in [true, false] {
        let mut play = identity(|f| f.channel = Some("spiffe://td/a"), 1000);
        play.login.connected(Leg { private, end_point: None });
        play.client(&startup(&[("user", "me")]));
        play.server(&request(3, b""));
        let told = play.told_server();
        assert_eq!(told == message(b'p', b"own\0"), private, "{told:?}");
        assert_eq!(play.refused, !private);
    }
}

#[test]
fn names_of_callers_are_short_printable_and_distinct() {
    assert_eq!(application_name("spiffe://td/a"), "spiffe://td/a");
    let long = format!("spiffe://example.org/{}", "x".repeat(80));
    let (a, b) = (application_name(&long), application_name(&(long.clone() + "y")));
    assert!(a.len() == APPLICATION_MAX && b.len() == APPLICATION_MAX && a != b, "{a} {b}");
    let odd = application_name("a\nb\0é");
    assert!(odd.bytes().all(|b| (0x20..0x7f).contains(&b)) && odd.starts_with("a?b??~"), "{odd}");
}

#[test]
fn seeds_and_their_neighbours_return() {
    let (_, first) = ClientSide::begin(Offer::EndPoint(b"data"), "", "n");
    let talk = [
        startup(&[("user", "known")]),
        request(10, BOTH),
        initial("SCRAM-SHA-256-PLUS", &first),
        request(11, b"r=gatewaynonce1x,s=c2FsdA==,i=2"),
        message(b'p', b"token\0"),
        OK.to_vec(),
    ];
    let talk = talk.join(&[0xfe][..]);
    for form in [0x47, 0xc7, 0x01, 0x81] {
        for at in 0..talk.len() {
            let mut changed = [&[form], &talk[..]].concat();
            changed[at + 1] = changed[at + 1].wrapping_add(1 + (at % 5) as u8 * 50);
            postgres_login(&changed);
            postgres_login(&changed[..at + 1]);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        postgres_login(&bytes);
    }
}
