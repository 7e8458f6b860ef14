//! One connection to a NATS server: TCP, TLS where it is told to, login, requests and deliveries.
//!
//! Everything that waits has an end, and what goes wrong is told in words that say what to do. Not a client for
//! every purpose: it has one subscription, to answers of its own requests. Invariants: with TLS configured nothing is
//! said before the handshake, and nothing that came before it is read after it; no secret is in an error.

use super::api::{NO_CONSUMER, NO_STREAM, Reply, ServerInfo};
use super::proto::{Frames, Headers, Message, Op, publish, sub};
use super::{Server, Settings};
use crate::draft::json_text;
use crate::files::checkpoint::hex;
use bytes::BytesMut;
use countersign_identity::ClientTls;
use ring::rand::SecureRandom;
use rustls::pki_types::ServerName;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

/// Longest wait for a connection, its handshake and its greeting.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for the answer to a request, and for a write.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes read at once.
const READ: usize = 64 << 10;
/// Most deliveries that wait while a request is answered.
const HELD_MAX: usize = 100_000;

/// Why the connection cannot be used: in words, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble(pub(super) String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// See the module.
pub(super) struct Link {
    stream: Box<dyn Stream>,
    frames: Frames,
    buffer: BytesMut,
    out: BytesMut,
    inbox: String,
    requests: u64,
    held: VecDeque<Message>,
    /// The server's address.
    pub(super) peer: SocketAddr,
    /// The server showed a certificate that passed.
    pub(super) secure: bool,
}

impl Link {
    /// Connects, shows who we are, and waits until the server has taken it.
    pub(super) async fn connect(server: &Server, settings: &Settings, name: &str) -> Result<Link, Trouble> {
        let late = |_| Trouble(format!("{server} did not answer within {} s", CONNECT.as_secs()));
        timeout(CONNECT, Link::greet(server, settings, name)).await.map_err(late)?
    }

    async fn greet(server: &Server, settings: &Settings, name: &str) -> Result<Link, Trouble> {
        let reach = |error: std::io::Error| Trouble(format!("cannot reach {server}: {error}"));
        let tcp = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(reach)?;
        tcp.set_nodelay(true).map_err(reach)?;
        let peer = tcp.peer_addr().map_err(reach)?;
        let (mut tcp, mut frames, mut buffer) = (tcp, Frames::default(), BytesMut::new());
        let info = match first(&mut tcp, &mut frames, &mut buffer).await? {
            Op::Info(json) => ServerInfo::read(&json),
            _ => None,
        };
        let info = info.ok_or_else(|| Trouble(format!("{server} does not greet as a NATS server does")))?;
        let stream: Box<dyn Stream> = match &settings.tls {
            None if info.tls_required => {
                return Err(Trouble(format!("{server} speaks TLS alone: write its address as tls://")));
            }
            None => Box::new(tcp),
            Some(_) if !info.tls_required && !info.tls_available => {
                return Err(Trouble(format!("{server} speaks no TLS, and its address is tls://")));
            }
            // What came early was not protected, whoever sent it.
            Some(_) if !buffer.is_empty() => {
                return Err(Trouble(format!("{server} said something before the TLS handshake")));
            }
            Some(tls) => Box::new(secure(tcp, tls, server).await?),
        };
        let mut random = [0; 12];
        let no_random = |_| Trouble("the system gives no randomness".to_owned());
        ring::rand::SystemRandom::new().fill(&mut random).map_err(no_random)?;
        let secure = settings.tls.is_some();
        let inbox = format!("_INBOX.{}", hex(&random));
        let (out, requests, held) = (BytesMut::new(), 0, VecDeque::new());
        let mut link = Link { stream, frames, buffer, out, inbox, requests, held, peer, secure };
        let login = settings.login.members(&info.nonce).map_err(|error| Trouble(error.to_string()))?;
        let connect = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"tls_required\":{secure},\"name\":{},\"lang\":\"rust\",\
             \"version\":\"{}\",\"protocol\":1,\"headers\":true,\"no_responders\":true{login}}}\r\nPING\r\n",
            json_text(name),
            env!("CARGO_PKG_VERSION"),
        );
        link.out.extend_from_slice(connect.as_bytes());
        link.flush().await?;
        loop {
            match link.read().await? {
                Op::Pong => break,
                Op::Err(said) => {
                    let how = settings.login.name();
                    return Err(Trouble(format!("{server} refuses us ({how}): {said}")));
                }
                _ => {}
            }
        }
        let inbox = sub(&format!("{}.*", link.inbox));
        link.out.extend_from_slice(&inbox);
        Ok(link)
    }

    /// One thing that the server says. May be left unfinished.
    async fn read(&mut self) -> Result<Op, Trouble> {
        loop {
            match self.frames.next(&mut self.buffer) {
                Ok(Some(op)) => return Ok(op),
                Ok(None) => {}
                Err(broken) => return Err(Trouble(broken.to_string())),
            }
            self.buffer.reserve(READ);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(Trouble("the server closed the connection".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(Trouble(format!("the connection ended: {error}"))),
            }
        }
    }

    /// Says what was put down. May be left unfinished: what was not said yet is said with the next.
    pub(super) async fn flush(&mut self) -> Result<(), Trouble> {
        if self.out.is_empty() {
            return Ok(());
        }
        let write = async {
            while !self.out.is_empty() {
                if self.stream.write_buf(&mut self.out).await? == 0 {
                    return Err(std::io::ErrorKind::WriteZero.into());
                }
            }
            self.stream.flush().await
        };
        match timeout(ANSWER, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble(format!("the connection ended: {error}"))),
            Err(_) => Err(Trouble("the server takes nothing more".to_owned())),
        }
    }

    /// The next message, of those that came while something else was awaited first; `None` after `patience`.
    ///
    /// May be left unfinished: nothing is lost then.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<Message>, Trouble> {
        if let Some(message) = self.held.pop_front() {
            return Ok(Some(message));
        }
        let until = Instant::now() + patience;
        self.message(until).await
    }

    async fn message(&mut self, until: Instant) -> Result<Option<Message>, Trouble> {
        loop {
            self.flush().await?;
            let Ok(op) = timeout_at(until, self.read()).await else { return Ok(None) };
            match op? {
                Op::Msg(message) => return Ok(Some(message)),
                Op::Ping => self.out.extend_from_slice(b"PONG\r\n"),
                Op::Err(said) => return Err(Trouble(format!("the server says: {said}"))),
                // A server that is to be shut down says so in an INFO, and closes when it does.
                Op::Info(_) | Op::Pong | Op::Ok => {}
            }
        }
    }

    /// Puts a message down, to be said with the next flush; gives the subject at which it is answered.
    pub(super) fn ask(&mut self, subject: &str, payload: &str) -> String {
        self.requests += 1;
        let reply = format!("{}.{}", self.inbox, self.requests);
        publish(&mut self.out, subject, &reply, payload.as_bytes());
        reply
    }

    /// Puts down what is not answered.
    pub(super) fn say(&mut self, subject: &str, payload: &str) {
        publish(&mut self.out, subject, "", payload.as_bytes());
    }

    /// A request of JetStream's API and its answer; what is delivered meanwhile waits.
    pub(super) async fn request(&mut self, subject: &str, payload: &str) -> Result<Reply, Trouble> {
        let reply = self.ask(subject, payload);
        let until = Instant::now() + ANSWER;
        loop {
            let Some(message) = self.message(until).await? else {
                return Err(Trouble(format!("no answer to {subject}: check that this user may ask it")));
            };
            if message.subject != reply {
                if self.held.len() >= HELD_MAX {
                    return Err(Trouble("the server delivers more than was asked for".to_owned()));
                }
                self.held.push_back(message);
                continue;
            }
            if Headers::read(&message.headers).status == Some(503) {
                return Err(Trouble("the server has no JetStream for this account".to_owned()));
            }
            let odd = || Trouble(format!("the answer to {subject} is no JSON"));
            return Reply::read(&message.payload).ok_or_else(odd);
        }
    }
}

/// The first thing that a server says, before anything is said to it.
async fn first(tcp: &mut TcpStream, frames: &mut Frames, buffer: &mut BytesMut) -> Result<Op, Trouble> {
    loop {
        match frames.next(buffer) {
            Ok(Some(op)) => return Ok(op),
            Ok(None) => {}
            Err(broken) => return Err(Trouble(broken.to_string())),
        }
        match tcp.read_buf(buffer).await {
            Ok(0) => return Err(Trouble("the server closed the connection before it greeted".to_owned())),
            Ok(_) => {}
            Err(error) => return Err(Trouble(format!("the connection ended: {error}"))),
        }
    }
}

async fn secure(
    tcp: TcpStream,
    tls: &ClientTls,
    server: &Server,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Trouble> {
    if tls.changed()
        && let Err(error) = tls.reload()
    {
        tracing::warn!(%error, "certificates for NATS are refused; those read before stay in force");
    }
    let fail = |why: &dyn fmt::Display| Trouble(format!("no TLS with {server}: {why}"));
    let config = tls.config_or_refusing().map_err(|error| fail(&error))?;
    let name = ServerName::try_from(server.host.clone()).map_err(|error| fail(&error))?;
    TlsConnector::from(config).connect(name, tcp).await.map_err(|error| fail(&error))
}

/// A refusal of the API, with what to do about it.
pub(super) fn refused(what: &str, reply: &Reply) -> Trouble {
    let Some(error) = &reply.error else { return Trouble(format!("{what}: refused")) };
    let hint = match error.err_code {
        NO_STREAM => "; check `stream`, and make it first",
        NO_CONSUMER => "; make it with pull delivery and explicit acknowledgement, or say `create = true`",
        _ => "",
    };
    Trouble(format!("{what}: {} ({}){hint}", error.description, error.err_code))
}
