//! The client's side of SMTP (RFC 5321) for one mail to one recipient; no I/O.
//!
//! Not a mailer: no queue, no MX, no retries. Invariants: nothing but EHLO and STARTTLS goes out before TLS, and without
//! it no login and no mail; what came in clear text with the answer to STARTTLS is refused; commands hold no line break;
//! the body is dot-stuffed; input is bounded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Longest line of a reply, in bytes (RFC 5321 allows 512).
pub const REPLY_LINE_MAX_BYTES: usize = 2048;
/// Most lines of one reply.
pub const REPLY_LINES_MAX: usize = 128;

/// A reply: its code, and the text of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) lines: Vec<String>,
}

/// Bytes of the server, cut into replies.
#[derive(Default)]
pub(crate) struct Replies {
    buffer: Vec<u8>,
    lines: Vec<String>,
}

impl Replies {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether nothing is left over.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.lines.is_empty()
    }

    /// The next whole reply; `None` until it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Reply>, &'static str> {
        loop {
            let Some(end) = self.buffer.iter().position(|b| *b == b'\n') else {
                let fits = self.buffer.len() <= REPLY_LINE_MAX_BYTES;
                return if fits { Ok(None) } else { Err("a line of its reply is longer than 2,048 bytes") };
            };
            if end > REPLY_LINE_MAX_BYTES {
                return Err("a line of its reply is longer than 2,048 bytes");
            }
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            let code =
                line.get(..3).filter(|c| c.bytes().all(|b| b.is_ascii_digit())).and_then(|c| c.parse().ok());
            let code: u16 = code.filter(|c| (200..600).contains(c)).ok_or("its reply is not SMTP")?;
            let (last, text) = match line.as_bytes().get(3) {
                None => (true, ""),
                Some(b' ') => (true, line.get(4..).unwrap_or("")),
                Some(b'-') => (false, line.get(4..).unwrap_or("")),
                Some(_) => return Err("its reply is not SMTP"),
            };
            self.lines.push(text.to_owned());
            if last {
                return Ok(Some(Reply { code, lines: std::mem::take(&mut self.lines) }));
            }
            if self.lines.len() >= REPLY_LINES_MAX {
                return Err("its reply has more than 128 lines");
            }
        }
    }
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Begin TLS, then [`Session::secured`]. What is buffered must be nothing.
    StartTls,
    /// The server has taken the mail; say this and leave.
    Delivered(Vec<u8>),
    /// It has not; for good, or to be tried again.
    Failed {
        permanent: bool,
        why: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Hello,
    StartTls,
    Login,
    User,
    Password,
    From,
    To,
    Data,
    Body,
}

/// A login.
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
}

/// One mail's conversation.
pub(crate) struct Session<'a> {
    state: State,
    secure: bool,
    /// How we name ourselves: an address literal.
    hello: String,
    login: Option<Login<'a>>,
    from: &'a str,
    to: &'a str,
    mail: &'a [u8],
}

impl<'a> Session<'a> {
    /// `secure`: TLS is spoken from the first byte. Addresses were checked with the configuration.
    pub(crate) fn new(
        secure: bool,
        hello: String,
        login: Option<Login<'a>>,
        from: &'a str,
        to: &'a str,
        mail: &'a [u8],
    ) -> Session<'a> {
        Session { state: State::Greeting, secure, hello, login, from, to, mail }
    }

    /// TLS is spoken from now on.
    pub(crate) fn secured(&mut self) -> Step {
        self.secure = true;
        self.say_hello()
    }

    fn say_hello(&mut self) -> Step {
        self.enter(State::Hello, format!("EHLO {}", self.hello))
    }

    fn enter(&mut self, state: State, command: String) -> Step {
        if command.contains(['\r', '\n', '\0']) {
            let why = "an address or login holds a line break".to_owned();
            return Step::Failed { permanent: true, why };
        }
        self.state = state;
        Step::Send(format!("{command}\r\n").into_bytes())
    }

    /// The answer to the server's reply.
    pub(crate) fn reply(&mut self, reply: &Reply) -> Step {
        let good = match self.state {
            State::Greeting | State::StartTls => reply.code == 220,
            State::Hello | State::From | State::Body => reply.code == 250,
            State::To => matches!(reply.code, 250 | 251),
            State::User | State::Password => reply.code == 334,
            State::Login => reply.code == 235,
            State::Data => reply.code == 354,
        };
        if !good {
            return self.failed(reply);
        }
        match self.state {
            State::Greeting => self.say_hello(),
            State::Hello => self.greeted(reply),
            State::StartTls => Step::StartTls,
            State::User => {
                let user = self.login.as_ref().map_or("", |login| login.user);
                let user = STANDARD.encode(user);
                self.enter(State::Password, user)
            }
            State::Password => {
                let password = self.login.as_ref().map_or("", |login| login.password);
                let password = STANDARD.encode(password);
                self.enter(State::Login, password)
            }
            State::Login => self.enter(State::From, format!("MAIL FROM:<{}>", self.from)),
            State::From => self.enter(State::To, format!("RCPT TO:<{}>", self.to)),
            State::To => self.enter(State::Data, "DATA".to_owned()),
            State::Data => {
                self.state = State::Body;
                Step::Send(stuffed(self.mail))
            }
            State::Body => Step::Delivered(b"QUIT\r\n".to_vec()),
        }
    }

    fn greeted(&mut self, reply: &Reply) -> Step {
        let offers =
            |word: &str| reply.lines.iter().skip(1).any(|line| line.trim().eq_ignore_ascii_case(word));
        if !self.secure {
            if offers("STARTTLS") {
                return self.enter(State::StartTls, "STARTTLS".to_owned());
            }
            let why = "it does not offer STARTTLS, and in clear text nothing is sent".to_owned();
            return Step::Failed { permanent: false, why };
        }
        let Some(Login { user, password }) = &self.login else {
            return self.enter(State::From, format!("MAIL FROM:<{}>", self.from));
        };
        let methods = reply.lines.iter().skip(1).find_map(|line| {
            let upper = line.trim().to_ascii_uppercase();
            upper.strip_prefix("AUTH ").map(|m| m.split(' ').map(str::to_owned).collect::<Vec<_>>())
        });
        let methods = methods.unwrap_or_default();
        if methods.iter().any(|m| m == "PLAIN") {
            let token = STANDARD.encode(format!("\0{user}\0{password}"));
            return self.enter(State::Login, format!("AUTH PLAIN {token}"));
        }
        if methods.iter().any(|m| m == "LOGIN") {
            return self.enter(State::User, "AUTH LOGIN".to_owned());
        }
        let why = "it offers neither AUTH PLAIN nor AUTH LOGIN".to_owned();
        Step::Failed { permanent: false, why }
    }

    fn failed(&self, reply: &Reply) -> Step {
        let what = match self.state {
            State::Greeting => "the connection",
            State::Hello => "EHLO",
            State::StartTls => "STARTTLS",
            State::Login | State::User | State::Password => "the login",
            State::From => "the sender",
            State::To => "the recipient",
            State::Data | State::Body => "the mail",
        };
        // A wrong login is a matter of the configuration, which may be mended; a refused mail stays refused.
        let about_mail = matches!(self.state, State::From | State::To | State::Data | State::Body);
        let text: String = reply
            .lines
            .first()
            .map_or("", String::as_str)
            .chars()
            .filter(|c| !c.is_control())
            .take(120)
            .collect();
        Step::Failed {
            permanent: about_mail && reply.code >= 500,
            why: format!("it answered {} to {what}: {text}", reply.code),
        }
    }
}

/// The mail with dots stuffed and its end.
fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + 16);
    for line in mail.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn session(secure: bool, login: bool) -> Session<'static> {
        let login = login.then_some(Login { user: "u", password: "p" });
        Session::new(secure, "[127.0.0.1]".into(), login, "a@b", "c@d", b"x\r\n.y")
    }
    fn say(session: &mut Session<'_>, reply: &str) -> String {
        let mut replies = Replies::default();
        replies.push(reply.replace('\n', "\r\n").as_bytes());
        match session.reply(&replies.next().unwrap().unwrap()) {
            Step::Send(bytes) | Step::Delivered(bytes) => {
                String::from_utf8(bytes).unwrap().trim_end().to_owned()
            }
            Step::StartTls => "-".into(),
            Step::Failed { permanent, why } => format!("{permanent}: {why}"),
        }
    }

    #[test]
    fn a_mail_goes_out_after_tls_and_login() {
        let mut s = session(false, true);
        assert_eq!(say(&mut s, "220 hi\n"), "EHLO [127.0.0.1]");
        assert_eq!(
            say(&mut s, "250-hi\n250-AUTH PLAIN\n250 STARTTLS\n"),
            "STARTTLS",
            "no login in clear text"
        );
        assert_eq!(say(&mut s, "220 go\n"), "-");
        assert_eq!(s.secured(), Step::Send(b"EHLO [127.0.0.1]\r\n".to_vec()));
        assert_eq!(say(&mut s, "250-hi\n250 AUTH LOGIN PLAIN\n"), "AUTH PLAIN AHUAcA==");
        assert_eq!(say(&mut s, "235 ok\n"), "MAIL FROM:<a@b>");
        assert_eq!(say(&mut s, "250 ok\n"), "RCPT TO:<c@d>");
        assert_eq!(say(&mut s, "250 ok\n"), "DATA");
        assert_eq!(say(&mut s, "354 go\n"), "x\r\n..y\r\n.", "dots are stuffed");
        assert_eq!(say(&mut s, "250 taken\n"), "QUIT");
    }

    #[test]
    fn login_by_the_older_method() {
        let mut s = session(true, true);
        say(&mut s, "220 hi\n");
        assert_eq!(say(&mut s, "250-hi\n250 AUTH LOGIN\n"), "AUTH LOGIN");
        assert_eq!(say(&mut s, "334 VXNlcm5hbWU6\n"), "dQ==");
        assert_eq!(say(&mut s, "334 UGFzc3dvcmQ6\n"), "cA==");
        assert_eq!(say(&mut s, "235 ok\n"), "MAIL FROM:<a@b>");
    }

    #[test]
    fn without_starttls_nothing_is_sent() {
        let mut s = session(false, true);
        say(&mut s, "220 hi\n");
        assert!(say(&mut s, "250-hi\n250 AUTH PLAIN\n").starts_with("false: it does not offer STARTTLS"));
        // A greeting whose first line says STARTTLS does not offer it.
        let mut s = session(false, false);
        say(&mut s, "220 hi\n");
        assert!(say(&mut s, "250 STARTTLS\n").starts_with("false: it does not offer STARTTLS"));
    }

    #[test]
    fn what_is_refused_for_good_and_what_for_now() {
        let at = |steps: &[&str]| {
            let mut s = session(true, false);
            steps.iter().map(|reply| say(&mut s, reply)).last().unwrap()
        };
        assert!(
            at(&["220 hi\n", "250 hi\n", "250 ok\n", "550 no such user\n"])
                .starts_with("true: it answered 550 to the recipient: no such user")
        );
        assert!(at(&["220 hi\n", "250 hi\n", "250 ok\n", "451 later\n"]).starts_with("false: "));
        assert!(at(&["554 busy\n"]).starts_with("false: "));
        let mut s = session(true, true);
        say(&mut s, "220 hi\n");
        say(&mut s, "250-hi\n250 AUTH PLAIN\n");
        assert!(say(&mut s, "535 wrong\n").starts_with("false: it answered 535 to the login"));
    }

    #[test]
    fn no_command_holds_a_line_break() {
        let mut s = Session::new(true, "[::1]".into(), None, "a@b>\r\nRCPT TO:<x", "c@d", b"");
        say(&mut s, "220 hi\n");
        assert!(say(&mut s, "250 hi\n").starts_with("true: "));
    }

    #[test]
    fn replies_without_an_end_are_refused() {
        let mut replies = Replies::default();
        replies.push(&[b'2'; REPLY_LINE_MAX_BYTES + 1]);
        assert!(replies.next().is_err());
        let mut replies = Replies::default();
        replies.push("250-x\r\n".repeat(REPLY_LINES_MAX).as_bytes());
        assert!(replies.next().is_err());
        for bad in ["", "abc", "25", "250x", "999 x", "2 50"] {
            let mut replies = Replies::default();
            replies.push(format!("{bad}\r\n").as_bytes());
            assert!(replies.next().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_of_the_input_gives_the_same_replies(texts in proptest::collection::vec("[ -~]{0,20}", 1..5), cuts in proptest::collection::vec(1..9usize, 1..40)) {
            let mut wire = String::new();
            for (n, text) in texts.iter().enumerate() {
                wire.push_str(&format!("250-{text}\r\n{} end\r\n", 220 + n));
            }
            let mut whole = Replies::default();
            whole.push(wire.as_bytes());
            let (mut cut, mut from, mut got) = (Replies::default(), 0, Vec::new());
            for size in cuts.into_iter().cycle() {
                let end = wire.len().min(from + size);
                cut.push(&wire.as_bytes()[from..end]);
                from = end;
                while let Some(reply) = cut.next().unwrap() { got.push(reply); }
                if from == wire.len() { break; }
            }
            let mut want = Vec::new();
            while let Some(reply) = whole.next().unwrap() { want.push(reply); }
            prop_assert_eq!(&got, &want);
            prop_assert!(got.len() == texts.len() && cut.is_empty());
        }

        #[test]
        fn a_body_ends_once_whatever_is_in_it(mail in "(\\.|\r\n|a){0,40}") {
            let sent = String::from_utf8(stuffed(mail.as_bytes())).unwrap();
            prop_assert_eq!(format!("\r\n{sent}").find("\r\n.\r\n").map(|at| at + 3), Some(sent.len()));
        }
    }
}
