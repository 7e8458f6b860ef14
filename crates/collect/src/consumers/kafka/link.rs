//! One connection to a broker: TCP, TLS where it is told to, login by SASL, requests and their answers in order.
//!
//! Everything that waits has an end. Invariants: with TLS configured nothing is said before the handshake; no secret is
//! in an error.

use super::wire::{self, ANSWER_MAX};
use super::{Broker, Sasl, Settings};
use crate::consumers::nats::login;
use crate::files::checkpoint::hex;
use bytes::{Bytes, BytesMut};
use countersign_identity::ClientTls;
use countersign_wire::scram::{ClientSide, Keys, Offer, SCRAM};
use ring::rand::SecureRandom;
use rustls::pki_types::ServerName;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longest wait for a connection, its handshake and its login.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for an answer, besides what the broker was told to wait.
const ANSWER: Duration = Duration::from_secs(20);
/// Bytes read at once.
const READ: usize = 64 << 10;

/// Why the connection cannot be used: in words, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) why: String,
    /// A partition or group moved to another broker: nothing is wrong if it is found there.
    pub(super) moved: bool,
}

impl Trouble {
    pub(super) fn new(why: impl Into<String>) -> Trouble {
        Trouble { why: why.into(), moved: false }
    }
}

impl From<wire::Broken> for Trouble {
    fn from(broken: wire::Broken) -> Trouble {
        Trouble::new(broken.to_string())
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// See the module.
pub(super) struct Link {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    number: i32,
    broker: Broker,
    /// The broker's address.
    pub(super) peer: SocketAddr,
}

impl Link {
    /// Connects and shows who we are.
    pub(super) async fn connect(broker: &Broker, settings: &Settings) -> Result<Link, Trouble> {
        let late = |_| Trouble::new(format!("{broker} did not answer within {} s", CONNECT.as_secs()));
        timeout(CONNECT, Link::greet(broker, settings)).await.map_err(late)?
    }

    async fn greet(broker: &Broker, settings: &Settings) -> Result<Link, Trouble> {
        let reach = |error: std::io::Error| Trouble::new(format!("cannot reach {broker}: {error}"));
        let tcp = TcpStream::connect((broker.host.as_str(), broker.port)).await.map_err(reach)?;
        tcp.set_nodelay(true).map_err(reach)?;
        let peer = tcp.peer_addr().map_err(reach)?;
        let stream: Box<dyn Stream> = match &settings.tls {
            None => Box::new(tcp),
            Some(tls) => Box::new(secure(tcp, tls, broker).await?),
        };
        let mut link = Link { stream, buffer: BytesMut::new(), number: 0, broker: broker.clone(), peer };
        link.login(&settings.sasl).await?;
        Ok(link)
    }

    async fn login(&mut self, sasl: &Sasl) -> Result<(), Trouble> {
        let (mechanism, user, file) = match sasl {
            Sasl::None => return Ok(()),
            Sasl::Plain(user, file) => ("PLAIN", user, file),
            Sasl::Scram(user, file) => (SCRAM, user, file),
        };
        let password = login::read(file).map_err(|error| Trouble::new(error.to_string()))?;
        let password = password.trim();
        let broker = self.broker.clone();
        let answer = self.ask(|number| wire::sasl_handshake(number, mechanism)).await?;
        let (error, mechanisms) = wire::sasl_mechanisms(answer)?;
        if error != 0 {
            let there = mechanisms.join(", ");
            return Err(Trouble::new(format!("{broker} does not take {mechanism}; it has: {there}")));
        }
        if let Sasl::Plain(..) = sasl {
            let message = format!("\0{user}\0{password}");
            return self.authenticate(message.as_bytes()).await.map(drop);
        }
        let mut random = [0; 18];
        let no_random = |_| Trouble::new("the system gives no randomness");
        ring::rand::SystemRandom::new().fill(&mut random).map_err(no_random)?;
        let (mut client, first) = ClientSide::begin(Offer::None, user, &hex(&random));
        let challenge = self.authenticate(&first).await?;
        let odd = |fault: &dyn fmt::Display| {
            Trouble::new(format!("{broker} does not log in as SCRAM does: {fault}"))
        };
        let keys = |salt: &[u8], count| Keys::of_password(password.as_bytes(), salt, count);
        let proof = client.prove(&challenge, keys).map_err(|fault| odd(&fault))?;
        let signature = self.authenticate(&proof).await?;
        client.check(&signature).map_err(|fault| odd(&fault))
    }

    /// A message of the mechanism, and the broker's.
    async fn authenticate(&mut self, message: &[u8]) -> Result<Bytes, Trouble> {
        let answer = self.ask(|number| wire::sasl_authenticate(number, message)).await?;
        match wire::sasl_answer(answer)? {
            (0, _, said) => Ok(said),
            (error, words, _) => {
                let broker = &self.broker;
                Err(Trouble::new(format!("{broker} refuses our login: {} {words}", name(error))))
            }
        }
    }

    /// Sends the request that `write` makes for its number.
    pub(super) async fn send(&mut self, write: impl FnOnce(i32) -> Vec<u8>) -> Result<(), Trouble> {
        self.number = self.number.wrapping_add(1);
        let bytes = write(self.number);
        let sent = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        match timeout(ANSWER, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.ended(&error)),
            Err(_) => Err(Trouble::new(format!("{} takes nothing more", self.broker))),
        }
    }

    /// The answer to the last request.
    pub(super) async fn receive(&mut self) -> Result<Bytes, Trouble> {
        let late = |_| Trouble::new(format!("no answer from {} within {} s", self.broker, ANSWER.as_secs()));
        let frame = timeout(ANSWER, frame(&mut self.stream, &mut self.buffer)).await.map_err(late)?;
        let (number, body) = wire::answer(frame.map_err(|error| self.ended(&error))?)?;
        if number != self.number {
            return Err(Trouble::new(format!("{} answers something else than it was asked", self.broker)));
        }
        Ok(body)
    }

    /// A request and its answer.
    pub(super) async fn ask(&mut self, write: impl FnOnce(i32) -> Vec<u8>) -> Result<Bytes, Trouble> {
        self.send(write).await?;
        self.receive().await
    }

    fn ended(&self, error: &std::io::Error) -> Trouble {
        Trouble::new(format!("the connection to {} ended: {error}", self.broker))
    }
}

async fn frame(stream: &mut Box<dyn Stream>, buffer: &mut BytesMut) -> std::io::Result<Bytes> {
    let odd = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    loop {
        if let Some(front) = buffer.first_chunk::<4>() {
            let length = u32::from_be_bytes(*front) as usize;
            if length > ANSWER_MAX {
                return Err(odd("an answer is larger than 128 MiB, or this is no Kafka"));
            }
            if buffer.len() >= length + 4 {
                return Ok(buffer.split_to(length + 4).freeze().slice(4..));
            }
        }
        buffer.reserve(READ);
        if stream.read_buf(buffer).await? == 0 {
            return Err(odd("the broker closed it (a login or TLS that it expects, or does not)"));
        }
    }
}

async fn secure(
    tcp: TcpStream,
    tls: &ClientTls,
    broker: &Broker,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Trouble> {
    if tls.changed()
        && let Err(error) = tls.reload()
    {
        tracing::warn!(%error, "certificates for Kafka are refused; those read before stay in force");
    }
    let fail = |why: &dyn fmt::Display| Trouble::new(format!("no TLS with {broker}: {why}"));
    let config = tls.config_or_refusing().map_err(|error| fail(&error))?;
    let name = ServerName::try_from(broker.host.clone()).map_err(|error| fail(&error))?;
    TlsConnector::from(config).connect(name, tcp).await.map_err(|error| fail(&error))
}

/// An error of the protocol in words, as the guide names it.
pub(super) fn name(error: i16) -> String {
    let name = match error {
        1 => "OFFSET_OUT_OF_RANGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        14 => "COORDINATOR_LOAD_IN_PROGRESS",
        15 => "COORDINATOR_NOT_AVAILABLE",
        16 => "NOT_COORDINATOR",
        22 => "ILLEGAL_GENERATION",
        25 => "UNKNOWN_MEMBER_ID: the group has members; give this input one of its own",
        29 => "TOPIC_AUTHORIZATION_FAILED",
        30 => "GROUP_AUTHORIZATION_FAILED",
        35 => "UNSUPPORTED_VERSION",
        58 => "SASL_AUTHENTICATION_FAILED",
        _ => return format!("error {error}"),
    };
    name.to_owned()
}

/// An error of a partition or group. One that says that it moved is no trouble by itself.
pub(super) fn refused(what: &str, error: i16) -> Trouble {
    Trouble {
        why: format!("{what}: {}", name(error)),
        moved: matches!(error, 3 | 5 | 6 | 14 | 15 | 16 | 72 | 74 | 75),
    }
}
