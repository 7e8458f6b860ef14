//! Kafka topics as an input: every record of a partition is a record here, read by a consumer of our own.
//!
//! This process reads all partitions of its topics, and keeps how far it is as the committed offsets of a group, which
//! is its alone: it is no member of it, and a group with members refuses its commits. An offset is committed when
//! everything before it is durable, so what a crash leaves is fetched again; topic, partition, offset and time are a
//! record's source id, and it is recorded once. While the ledger stands still nothing is committed, and nothing new
//! is fetched. Where a partition no longer has what is to be read next, that is a GAP.
//!
//! [`wire`] has the protocol's requests and answers, [`batch`] what is in a fetch. Not a member of consumer groups: no
//! sharing of partitions between processes. Not read: batches packed with zstd; each is one raw record with the
//! reason, and an event.
//!
//! Invariants: see [`super`].

pub mod batch;
mod fetch;
mod link;
pub mod lz4;
mod record;
pub mod wire;

pub use fetch::{Fetcher, run};

use countersign_identity::ClientTls;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Bytes fetched at once from one broker, as they are packed.
pub const FETCH_BYTES: i32 = 4 << 20;
/// Of them, of one partition.
pub const PARTITION_BYTES: i32 = 1 << 20;
/// The port where none is given.
const PORT: u16 = 9_092;

/// Where a broker listens: `HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    host: String,
    port: u16,
}

impl Broker {
    /// Whether nothing that is said to it leaves this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl FromStr for Broker {
    type Err = String;

    fn from_str(text: &str) -> Result<Broker, String> {
        let (host, port) = match text.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| format!("`{port}` is no port"))?)
            }
            _ => (text, PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        if host.is_empty() || host.len() > 253 || !host.chars().all(plain) {
            return Err(format!("`{host}` is no host: a broker is HOST:PORT"));
        }
        Ok(Broker { host: host.to_owned(), port })
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What is shown to brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sasl {
    /// Nothing, or the certificate of the TLS connection.
    #[default]
    None,
    /// PLAIN (RFC 4616): a user, and the file with the password.
    Plain(String, PathBuf),
    /// SCRAM-SHA-256 (RFC 7677): a user, and the file with the password, which the broker does not get to see.
    Scram(String, PathBuf),
}

/// What is fetched, and how.
#[derive(Clone)]
pub struct Settings {
    /// Some brokers of the cluster; the others are learnt from them.
    pub brokers: Vec<Broker>,
    /// TLS towards them; `None` = plain text, and nothing is asserted then.
    pub tls: Option<Arc<ClientTls>>,
    /// Who we are.
    pub sasl: Sasl,
    /// Names of topics.
    pub topics: Vec<String>,
    /// Group under which offsets are committed.
    pub group: String,
    /// How long a broker waits for records before it answers that there are none.
    pub wait: Duration,
    /// Longest wait for room in the ledger.
    pub durable: Duration,
    /// When the ledger is asked again, after that.
    pub again: Duration,
    /// How often it is asked anew which partitions there are and who leads them; offsets are committed again then, so that
    /// a broker does not forget those of a quiet partition.
    pub renew: Duration,
    /// Longest pause between two attempts to connect.
    pub retry_max: Duration,
}

impl Settings {
    /// With the usual times, no TLS and no login.
    pub fn new(brokers: Vec<Broker>, topics: Vec<String>, group: &str) -> Settings {
        let s = Duration::from_secs;
        Settings {
            brokers,
            tls: None,
            sasl: Sasl::None,
            topics,
            group: group.to_owned(),
            wait: Duration::from_millis(500),
            durable: s(10),
            again: s(1),
            renew: s(300),
            retry_max: s(30),
        }
    }
}

/// Why an input cannot start as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// There is no broker.
    #[error("no broker is given")]
    NoBroker,
    /// There is no topic, or its name is none.
    #[error("`{0}` is no name of a topic: 1 to 249 letters, digits, `.`, `_` and `-`")]
    Topic(String),
    /// There is no group.
    #[error("no group is given")]
    NoGroup,
}

/// Whether `name` can be a topic's.
pub fn is_topic(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(plain) && !matches!(name, "." | "..")
}
