//! NATS JetStream as an input: the messages of a stream, fetched by a durable pull consumer, each one a record.
//!
//! The consumer lives at the server and knows how far we are: a message is acknowledged when its event is durable, and
//! comes again if not. A message's stream, number and time are its source id, so one that comes again is recorded once.
//! While the ledger stands still, messages are given back with a delay (`-NAK`) and none is acknowledged. Messages that
//! left the stream before they were read are a GAP ([`position`]). [`proto`] reads the protocol, [`api`] JetStream's
//! JSON, [`login`] shows who we are.
//!
//! Not for push or ordered consumers, not for subjects without a stream: those have no acknowledgement, so what a
//! crash loses nobody would know. A consumer that several processes share is served, each message once in all; then
//! losses are told as far as deliveries to the others allow.
//!
//! Invariants: see [`super`]; and nothing is asked for while what came is not settled, so at most one pull's messages
//! ([`Settings::batch`], [`PULL_BYTES`]) are in hand.

pub mod api;
mod fetch;
mod link;
pub mod login;
pub mod position;
pub mod proto;
mod record;

pub use fetch::{Fetcher, run};
pub use login::Login;

use countersign_identity::ClientTls;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Bytes asked for at once; a single message may be larger.
pub const PULL_BYTES: usize = 4 << 20;
/// Messages asked for at once, unless told otherwise.
pub const BATCH: usize = 1_024;
/// The port where none is given.
const PORT: u16 = 4_222;

/// Where a server listens: `nats://HOST[:PORT]`, or `tls://`, which says that the input needs TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
    /// It was written as `tls://`.
    pub tls: bool,
}

impl Server {
    /// Whether nothing that is said to it leaves this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Server, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("nats", text));
        let tls = match scheme {
            "nats" => false,
            "tls" => true,
            other => {
                return Err(format!(
                    "`{other}` is not spoken: a server is nats://HOST:PORT or tls://HOST:PORT"
                ));
            }
        };
        if rest.contains('@') {
            return Err("a server's address holds no login: name a file with it".to_owned());
        }
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
            return Err(format!("`{host}` is no host: a server is nats://HOST:PORT or tls://HOST:PORT"));
        }
        Ok(Server { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracket = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let scheme = if self.tls { "tls" } else { "nats" };
        write!(f, "{scheme}://{}{}{}:{}", bracket.0, self.host, bracket.1, self.port)
    }
}

/// What is fetched, and how.
#[derive(Clone)]
pub struct Settings {
    /// Servers of one cluster, tried in turn.
    pub servers: Vec<Server>,
    /// TLS towards them; `None` = plain text, and nothing is asserted then.
    pub tls: Option<Arc<ClientTls>>,
    /// Who we are.
    pub login: Login,
    /// Name of the stream.
    pub stream: String,
    /// Name of the durable consumer.
    pub consumer: String,
    /// Make the consumer where there is none.
    pub create: bool,
    /// For a consumer that is made: the subjects it chooses; empty = all.
    pub filter: String,
    /// For a consumer that is made: when a message that is not acknowledged comes again. At least twice `durable`.
    pub ack_wait: Duration,
    /// Messages asked for at once.
    pub batch: usize,
    /// Longest wait for room in the ledger, before messages are given back.
    pub durable: Duration,
    /// When messages that were given back come again.
    pub again: Duration,
    /// How often the stream is asked what it still holds.
    pub look: Duration,
    /// Longest pause between two attempts to connect.
    pub retry_max: Duration,
}

impl Settings {
    /// With the usual times, no TLS and no login.
    pub fn new(servers: Vec<Server>, stream: &str, consumer: &str) -> Settings {
        let s = Duration::from_secs;
        Settings {
            servers,
            tls: None,
            login: Login::Nothing,
            stream: stream.to_owned(),
            consumer: consumer.to_owned(),
            create: false,
            filter: String::new(),
            ack_wait: s(30),
            batch: BATCH,
            durable: s(10),
            again: s(5),
            look: s(10),
            retry_max: s(30),
        }
    }
}

/// Why an input cannot start as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// There is no server.
    #[error("no server is given")]
    NoServer,
    /// A name would change the subjects of requests.
    #[error("`{0}` is no name of a stream or a consumer: it has no dots, blanks, `*` or `>`")]
    Name(String),
    /// A filter that is none.
    #[error("`{0}` is no subject")]
    Filter(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port_and_holds_no_login() {
        let shown = |text: &str| text.parse::<Server>().map(|server| server.to_string());
        assert_eq!(shown("nats://a.example.org").as_deref(), Ok("nats://a.example.org:4222"));
        assert_eq!(shown("127.0.0.1:9").as_deref(), Ok("nats://127.0.0.1:9"));
        assert_eq!(shown("tls://[::1]:7/").as_deref(), Ok("tls://[::1]:7"));
        for bad in ["", "ws://a", "nats://u:p@a", "nats://a:b", "nats://a/b", "a b"] {
            assert!(shown(bad).is_err(), "{bad}");
        }
        let near = |text: &str| text.parse::<Server>().unwrap().is_loopback();
        assert!(
            near("nats://localhost")
                && near("nats://[::1]:4")
                && !near("nats://192.0.2.1")
                && !near("tls://a")
        );
        assert!(!shown("nats://u:hunter2@a").unwrap_err().contains("hunter2"));
    }
}
