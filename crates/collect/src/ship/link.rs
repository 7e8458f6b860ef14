//! One connection to a core: TLS with our certificate, HTTP/1.1, one request at a time.
//!
//! Blocks, in steps that look for the end. What goes wrong is told in words that say what to do. Invariants: an
//! answer is read within a bound; a wait has an end; nothing of a batch is ever in an error.

use countersign_identity::ClientTls;
use countersign_wire::edge::{MARKS_MAX, MEDIA_TYPE, PATH};
use countersign_wire::http1::fields::{self, Slots};
use countersign_wire::http1::{Framer, PieceKind};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the end is looked for.
pub(crate) const STEP: Duration = Duration::from_millis(100);
/// Longest wait for a connection to one address, and for its handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait without a byte going either way.
const SILENCE: Duration = Duration::from_secs(60);
/// A connection that was idle for this long may have been closed by the core, and nothing is wrong then.
const IDLE: Duration = Duration::from_secs(1);
/// Longest text of a core that is told on, characters.
pub(crate) const WHY_MAX: usize = 500;
/// Most bytes of an answer that are read: its head and its body.
const ANSWER_MAX: usize = MARKS_MAX + (64 << 10);
/// The port where none is given.
const PORT: u16 = 4319;

/// Where a core listens: `https://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    host: String,
    port: u16,
}

impl FromStr for Core {
    type Err = String;

    fn from_str(text: &str) -> Result<Core, String> {
        let rest = text
            .strip_prefix("https://")
            .ok_or("a core is written https://HOST:PORT: records go over TLS alone")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| format!("`{port}` is no port"))?)
            }
            _ => (rest, PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        if host.is_empty() || host.len() > 253 || !host.chars().all(plain) {
            return Err(format!("`{host}` is no host; a core is written https://HOST:PORT, without a path"));
        }
        Ok(Core { host: host.to_owned(), port })
    }
}

impl Core {
    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

/// Why nothing was shipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    /// In words, with what to do where that is known.
    pub(super) why: String,
    /// The core's own wish for a pause.
    pub(super) after: Option<Duration>,
    /// Nothing is wrong: try again at once, and tell nobody.
    pub(super) at_once: bool,
    /// An end was asked for.
    pub(super) ended: bool,
}

impl Trouble {
    pub(super) fn new(why: String) -> Trouble {
        Trouble { why, ..Trouble::default() }
    }
    pub(super) fn at_once() -> Trouble {
        Trouble { at_once: true, ..Trouble::default() }
    }
    fn ended() -> Trouble {
        Trouble { ended: true, ..Trouble::default() }
    }
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// `Retry-After`.
    pub(super) after: Option<Duration>,
}

/// See the module.
pub(super) struct Link {
    stream: StreamOwned<ClientConnection, TcpStream>,
    core: Core,
    /// When the last answer ended; `None` = none yet.
    answered: Option<Instant>,
}

impl Link {
    /// Connects and shakes hands.
    pub(super) fn connect(core: &Core, tls: &ClientTls, stop: &AtomicBool) -> Result<Link, Trouble> {
        let told = |what: &str, why: &dyn fmt::Display| Trouble::new(format!("{what} {core}: {why}"));
        if tls.changed()
            && let Err(error) = tls.reload()
        {
            tracing::warn!(%error, "certificates for the core are refused; those read before stay in force");
        }
        let config = tls.config_or_refusing().map_err(|e| told("cannot speak to the core", &e))?;
        let name = ServerName::try_from(core.host.clone())
            .map_err(|e| told("cannot ask for the certificate of the core", &e))?;
        let tcp = tcp(core, stop)?;
        let connection =
            ClientConnection::new(config, name).map_err(|e| told("cannot speak TLS to the core", &e))?;
        let mut link = Link { stream: StreamOwned::new(connection, tcp), core: core.clone(), answered: None };
        link.handshake(stop)?;
        Ok(link)
    }

    fn handshake(&mut self, stop: &AtomicBool) -> Result<(), Trouble> {
        let end = Instant::now() + CONNECT;
        while self.stream.conn.is_handshaking() {
            match self.stream.conn.complete_io(&mut self.stream.sock) {
                Ok(_) => {}
                Err(error) if is_wait(&error) && Instant::now() < end => go_on(stop)?,
                Err(error) => return Err(self.trouble(&error)),
            }
        }
        Ok(())
    }

    /// Sends one batch and reads the answer.
    pub(super) fn exchange(&mut self, body: &[u8], stop: &AtomicBool) -> Result<Answer, Trouble> {
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: {}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {}\r\n\r\n",
            self.core.authority(),
            body.len()
        );
        let was_idle = self.answered.is_some_and(|at| at.elapsed() >= IDLE);
        let mut heard = false;
        let result = self.write(head.as_bytes(), stop).and_then(|()| self.write(body, stop));
        // A core that refuses may answer and close before it has read everything.
        let answer = self.answer(head.as_bytes(), body, &mut heard, stop);
        match (answer, result) {
            (Ok(answer), _) => {
                self.answered = Some(Instant::now());
                Ok(answer)
            }
            (Err(trouble), _) | (_, Err(trouble)) if trouble.ended => Err(trouble),
            (Err(_), _) if was_idle && !heard => Err(Trouble::at_once()),
            (Err(_), Err(trouble)) | (Err(trouble), _) => Err(trouble),
        }
    }

    fn write(&mut self, mut bytes: &[u8], stop: &AtomicBool) -> Result<(), Trouble> {
        let mut moved = Instant::now();
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(self.trouble(&io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    bytes = bytes.get(n..).unwrap_or_default();
                    moved = Instant::now();
                }
                Err(error) if is_wait(&error) && moved.elapsed() < SILENCE => go_on(stop)?,
                Err(error) => return Err(self.trouble(&error)),
            }
        }
        loop {
            match self.stream.flush() {
                Ok(()) => return Ok(()),
                Err(error) if is_wait(&error) && moved.elapsed() < SILENCE => go_on(stop)?,
                Err(error) => return Err(self.trouble(&error)),
            }
        }
    }

    fn answer(
        &mut self,
        head: &[u8],
        body: &[u8],
        heard: &mut bool,
        stop: &AtomicBool,
    ) -> Result<Answer, Trouble> {
        let mut reading = Reading::new(head, body).ok_or_else(|| self.odd("is not awaited"))?;
        let mut block = [0; 8 << 10];
        let moved = Instant::now();
        loop {
            match self.stream.read(&mut block) {
                Ok(0) => return Err(self.trouble(&io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => {
                    *heard = true;
                    let bytes = block.get(..n).unwrap_or_default();
                    if let Some(answer) = reading.push(bytes).map_err(|what| self.odd(what))? {
                        return Ok(answer);
                    }
                }
                Err(error) if is_wait(&error) && moved.elapsed() < SILENCE => go_on(stop)?,
                Err(error) => return Err(self.trouble(&error)),
            }
        }
    }

    fn odd(&self, what: &str) -> Trouble {
        Trouble::new(format!(
            "the answer of {} {what}: check that `core` in [edge] names an input for edges",
            self.core
        ))
    }

    /// An error of the connection, in words.
    fn trouble(&self, error: &io::Error) -> Trouble {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let why = match tls {
            Some(error @ rustls::Error::InvalidCertificate(_)) => {
                format!(
                    "its certificate does not pass ({error}): check `ca` in [edge], and the name in `core`"
                )
            }
            Some(error @ rustls::Error::AlertReceived(_)) => {
                format!(
                    "it refuses our certificate ({error}): check `cert` and `key` in [edge], and `client_ca` of the core's input"
                )
            }
            Some(error) => format!("tls: {error}"),
            None if is_wait(error) => "no answer in time".to_owned(),
            None => format!("the connection ended: {}", error.kind()),
        };
        Trouble::new(format!("cannot ship to {}: {why}", self.core))
    }
}

/// Reads one answer, in pieces as they come.
struct Reading {
    framer: Framer,
    buffer: Vec<u8>,
    total: usize,
    head: Option<(u16, Option<Duration>)>,
    body: Vec<u8>,
}

impl Reading {
    /// For the answer to a request; `None` = the request is none.
    fn new(head: &[u8], body: &[u8]) -> Option<Reading> {
        let mut framer = Framer::default();
        for part in [head, body] {
            let mut rest = part;
            while !rest.is_empty() {
                let piece = framer.request(rest).ok()?;
                rest = rest.get(piece.len..).filter(|_| piece.len > 0)?;
            }
        }
        Some(Reading { framer, buffer: Vec::new(), total: 0, head: None, body: Vec::new() })
    }

    fn push(&mut self, bytes: &[u8]) -> Result<Option<Answer>, &'static str> {
        self.total += bytes.len();
        if self.total > ANSWER_MAX {
            return Err("is too long");
        }
        self.buffer.extend_from_slice(bytes);
        loop {
            let piece = self.framer.response(&self.buffer).map_err(|_| "is no HTTP")?;
            let front = self.buffer.get(..piece.len).unwrap_or_default();
            match piece.kind {
                PieceKind::More | PieceKind::Blocked => return Ok(None),
                PieceKind::Head => {
                    let mut slots = Slots::default();
                    let read = fields::response(front, &mut slots).ok_or("is no HTTP")?;
                    let after = read.fields.get("retry-after").and_then(|v| std::str::from_utf8(v).ok());
                    let after = after.and_then(|v| v.parse().ok()).map(Duration::from_secs);
                    self.head = Some((read.status, after));
                }
                PieceKind::Data => self.body.extend_from_slice(front),
                PieceKind::Interim | PieceKind::Framing => {}
                PieceKind::Tunnel => return Err("switches the protocol"),
            }
            let end = piece.end;
            self.buffer.drain(..piece.len);
            if let (true, Some((status, after))) = (end, self.head) {
                return Ok(Some(Answer { status, body: std::mem::take(&mut self.body), after }));
            }
        }
    }
}

fn tcp(core: &Core, stop: &AtomicBool) -> Result<TcpStream, Trouble> {
    let told = |why: &dyn fmt::Display| Trouble::new(format!("cannot reach {core}: {why}"));
    let addresses = (core.host.as_str(), core.port).to_socket_addrs().map_err(|e| told(&e))?;
    let mut last = told(&"its name has no address; check `core` in [edge]");
    for address in addresses {
        go_on(stop)?;
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                let set = stream
                    .set_nodelay(true)
                    .and_then(|()| stream.set_read_timeout(Some(STEP)))
                    .and_then(|()| stream.set_write_timeout(Some(STEP)));
                return set.map(|()| stream).map_err(|e| told(&e));
            }
            Err(error) => last = told(&error.kind()),
        }
    }
    Err(last)
}

/// A step passed without anything.
fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn go_on(stop: &AtomicBool) -> Result<(), Trouble> {
    if stop.load(Ordering::Acquire) { Err(Trouble::ended()) } else { Ok(()) }
}

/// A time from nothing to `ceiling`, by the system's randomness, so that many edges do not come back at once.
pub(crate) fn jitter(ceiling: Duration) -> Duration {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 8];
    match ring::rand::SystemRandom::new().fill(&mut bytes) {
        Ok(()) => ceiling.mul_f64(u64::from_be_bytes(bytes) as f64 / u64::MAX as f64),
        Err(_) => ceiling,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_a_host_and_a_port_over_tls_and_nothing_else() {
        let shown = |text: &str| text.parse::<Core>().map(|core| core.to_string());
        assert_eq!(shown("https://core.example.org").as_deref(), Ok("https://core.example.org:4319"));
        assert_eq!(shown("https://127.0.0.1:9/").as_deref(), Ok("https://127.0.0.1:9"));
        assert_eq!(shown("https://[::1]:7").as_deref(), Ok("https://[::1]:7"));
        for bad in ["http://a:1", "a:1", "https://", "https://a/b", "https://a:b", "https://u@a:1"] {
            assert!(shown(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_reads_the_same_however_it_is_cut() {
        let request = (&b"POST /v1/edge HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"[..], &b"abc"[..]);
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 4\r\n\r\nlate";
        for step in 1..answer.len() {
            let mut reading = Reading::new(request.0, request.1).unwrap();
            let mut found = None;
            for part in answer.chunks(step) {
                assert!(found.is_none());
                found = reading.push(part).unwrap();
            }
            let found = found.unwrap();
            assert_eq!((found.status, found.body.as_slice()), (503, &b"late"[..]));
            assert_eq!(found.after, Some(Duration::from_secs(5)));
        }
        let mut reading = Reading::new(request.0, request.1).unwrap();
        assert!(reading.push(b"SSH-2.0-x\r\n\r\n").is_err());
        let mut reading = Reading::new(request.0, request.1).unwrap();
        let long = vec![b'a'; ANSWER_MAX + 1];
        assert!(reading.push(&long).is_err());
    }
}
