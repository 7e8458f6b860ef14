//! What a gateway is told: listeners, limits, names. Plain data; the command line turns TOML into it.

use countersign_identity::{ClientAuth, SpiffePeers, WorkloadSource};
use ring::digest;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A whole gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where it listens, and to where each leads.
    pub listeners: Vec<Listener>,
    /// What listeners with TLS do with the name that a client asks for (SNI), by the name of the listener. One
    /// that is not in it has one certificate and one way for all names.
    pub server_names: BTreeMap<String, ServerNames>,
    /// Bounds and timeouts.
    pub limits: Limits,
    /// `agent` of its events: a SPIFFE id or a name, 1 to 200 bytes.
    pub agent: String,
    /// Data threads; 0 = cores less one, at least 1.
    pub workers: usize,
    /// Whether the decision is made before a request passes, so that a deny in enforce mode refuses it with
    /// 403. Otherwise it is made off the path, for the record only.
    pub enforce: bool,
    /// What must not be kept, besides secrets.
    pub redaction: Redaction,
}

impl GatewayConfig {
    /// Default limits, no listener.
    pub fn new(agent: impl Into<String>) -> GatewayConfig {
        GatewayConfig {
            listeners: Vec::new(),
            server_names: BTreeMap::new(),
            limits: Limits::default(),
            agent: agent.into(),
            workers: 0,
            enforce: false,
            redaction: Redaction::default(),
        }
    }

    /// Data threads that it will have: with their decoders they fill the cores.
    pub fn data_threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if self.workers > 0 { self.workers } else { (cores / 2).max(1) }
    }

    /// Whether any route is strict: then [`crate::Parts::strict`] is needed.
    pub fn any_strict(&self) -> bool {
        crate::pump::door::all_routes(self).iter().any(|l| l.durability == Durability::Strict)
    }

    /// First 8 bytes of the SHA-256 of this snapshot: `core.config` of every event.
    pub fn digest(&self) -> [u8; 8] {
        // Paths and names only, no secret is part of it; the debug form names every field.
        let full = digest::digest(&digest::SHA256, format!("{self:?}").as_bytes());
        let mut out = [0; 8];
        out.copy_from_slice(full.as_ref().get(..8).unwrap_or(&[0; 8]));
        out
    }
}

/// What must not be kept in records, besides secrets: those are never kept.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    /// Kinds of personal data that are looked for, by checksum: words of `countersign_redact::personal::KINDS`.
    pub personal: Vec<String>,
    /// The operator's own rules, at most 64: name, keyword that must be there, linear-time regular expression.
    pub own: Vec<(String, String, String)>,
    /// File with the key of pseudonyms, base64 of 32 to 64 bytes: what these two find is replaced by one, so that it joins
    /// and does not read. `None` = it is replaced as secrets are.
    pub pseudonym_key: Option<PathBuf>,
}

impl Redaction {
    /// Compiles the rules, for whoever keeps records beside the gateway.
    ///
    /// # Errors
    /// The first rule, kind or file that cannot be used.
    pub fn scanner(&self) -> Result<std::sync::Arc<countersign_redact::Scanner>, crate::GatewayError> {
        crate::decode::redact::rules(self)
    }
}

/// One listening address.
#[derive(Clone, Debug)]
pub struct Listener {
    /// `core.route` of its events; 1 to 128 bytes.
    pub name: String,
    /// Address to listen on; port 0 = any.
    pub listen: SocketAddr,
    /// Where its connections lead.
    pub upstream: Upstream,
    /// `target.svc` of its events; empty = `host:port` of the upstream.
    pub service: String,
    /// TLS towards callers; `None` = clear text.
    pub tls: Option<ListenerTls>,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// What happens when records cannot be kept.
    pub durability: Durability,
    /// Whether each interaction is a record of its own.
    pub record: Record,
    /// Why calls on it are made.
    pub purpose: Purpose,
    /// Bodies kept; `None` = none.
    pub capture: Option<BodyCapture>,
    /// Settings of [`Protocol::Postgres`].
    pub postgres: PostgresOptions,
    /// Fields of gRPC messages that are kept in its events; `None` = none.
    pub grpc: Option<GrpcFields>,
}

/// Which interactions of a route are records of their own. What is not is counted in the `n` of one that is;
/// nothing is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Record {
    /// Each.
    #[default]
    All,
    /// Equal ones of one second are one: same caller, operation, target template, status and outcome.
    Fold,
    /// Those that succeeded are folded by caller and operation alone; all others are records of their own.
    Errors,
}

/// Where the purpose of a call comes from. The record says which: `configured: …` is the operator's word,
/// `claimed: …` the caller's, `checked: …` or `bound: …` that of a token's issuer, by the token's level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purpose {
    /// The route's own, at most 128 bytes; empty = none.
    pub text: String,
    /// Request header that states one, lower case; empty = none. It wins over `text`.
    pub header: String,
    /// Claim of a checked JWT that states one: a text at the top of the token, at most 256 bytes; empty = none. It
    /// wins over `header`.
    pub claim: String,
}

/// Opt-in capture of bodies: the beginning of some of them, after redaction, in the group that can be erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyCapture {
    /// Bytes of each body, at most 4,096.
    pub bytes: usize,
    /// Every how many-th request of a connection thread; 1 = all. The record states it.
    pub one_in: u32,
}

/// Settings of a PostgreSQL listener.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Whether parameters of prepared statements are kept in records, cleaned.
    pub parameters: bool,
    /// Whether callers may go without TLS although the listener has it. Cancellations always may: libpq
    /// before 17 sends them so.
    pub clear_text: bool,
    /// Whether TLS towards the server begins at once (server 17 and later), without an SSLRequest.
    pub direct_tls: bool,
    /// How SCRAM with channel binding goes together with TLS that ends here.
    pub scram: Scram,
}

/// How SCRAM's channel binding, which is to the server's certificate, survives TLS that ends at the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scram {
    /// Nothing said: a session whose server offers channel binding over TLS ends with an error that names
    /// the choices.
    #[default]
    Unset,
    /// (a) The listener's certificate and key are the server's own.
    SameCertificate,
    /// (b) The server is reached without TLS, over TCP or a UNIX socket, and offers no binding.
    Unbound,
    /// (c) The gateway verifies the caller with StoredKey and ServerKey and logs in with the key that the
    /// proof gives away, with channel binding on each side that has TLS.
    Verify {
        /// File of verifiers, one role a line: `"role" "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>"`,
        /// the second as `pg_authid.rolpassword` holds it. Read again when it changes.
        verifiers: PathBuf,
    },
    /// (d) The caller proves itself to the gateway (client certificate, or a token in the password's place); the
    /// gateway logs in as itself and names the caller in `application_name`.
    Identity(PostgresLogin),
}

/// The gateway's own login at a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostgresLogin {
    /// Role; empty = the one that the caller asks for.
    pub role: String,
    /// File with its password (ASCII, one line). Read again when it changes. `None` = the server asks for none
    /// (`trust`, `cert`).
    pub password: Option<PathBuf>,
}

/// What a listener does with the name that a client asks for in its TLS ClientHello (SNI, RFC 6066 section 3).
#[derive(Clone, Debug, Default)]
pub struct ServerNames {
    /// Certificate chains and keys (PEM) beside the listener's own, each for the DNS names in it.
    pub certificates: Vec<(PathBuf, PathBuf)>,
    /// Ways that are chosen by name. A name that none of them has goes the listener's own way.
    pub routes: Vec<NamedRoute>,
    /// Whether the listener has no way of its own: other names, and callers without TLS, are refused.
    pub only: bool,
}

/// A way through a listener that is taken for some server names.
#[derive(Clone, Debug)]
pub struct NamedRoute {
    /// DNS names, without regard to case; `*.example.org` = any one label before it. An exact name goes first.
    pub names: Vec<String>,
    /// Where it leads and how, with a route name of its own. Its address is not used.
    pub to: Listener,
    /// Certificate chains and keys (PEM) beside the one of `to`, each for the DNS names in it.
    pub certificates: Vec<(PathBuf, PathBuf)>,
    /// Whether TLS passes to the server as it is, unread and recorded `opaque`. `to` then has no `tls`, and its
    /// protocol is [`Protocol::Opaque`].
    pub pass_through: bool,
}

impl Listener {
    /// `target.svc` of its events.
    pub(crate) fn service_name(&self) -> String {
        if self.service.is_empty() {
            format!("{}:{}", self.upstream.host, self.upstream.port)
        } else {
            self.service.clone()
        }
    }

    /// A clear-text listener that finds out the protocol by itself.
    pub fn new(name: impl Into<String>, listen: SocketAddr, upstream: Upstream) -> Listener {
        Listener {
            name: name.into(),
            listen,
            upstream,
            service: String::new(),
            tls: None,
            protocol: Protocol::Auto,
            durability: Durability::Bounded,
            record: Record::All,
            purpose: Purpose::default(),
            capture: None,
            postgres: PostgresOptions::default(),
            grpc: None,
        }
    }
}

/// Fields of gRPC messages to keep: of the first message each way, scalars only, after redaction.
#[derive(Clone, Debug)]
pub struct GrpcFields {
    /// File with a serialized `FileDescriptorSet`, imports included; at most 16 MiB.
    pub descriptors: PathBuf,
    /// Paths of field names such as `order.id`, at most 64 of at most 8 names; a call whose messages lack one
    /// keeps nothing for it.
    pub fields: Vec<String>,
}

/// The server behind a listener.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Host name or address. PostgreSQL: an absolute path is the directory of the server's UNIX socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS towards it; `None` = clear text.
    pub tls: Option<UpstreamTls>,
}

impl Upstream {
    /// A clear-text server.
    pub fn new(host: impl Into<String>, port: u16) -> Upstream {
        Upstream { host: host.into(), port, tls: None }
    }
}

/// TLS towards the server.
#[derive(Clone, Debug, Default)]
pub struct UpstreamTls {
    /// PEM files of authorities; empty = those of the system.
    pub ca: Vec<PathBuf>,
    /// Name that its certificate must have; empty = the host.
    pub server_name: String,
    /// Our certificate and key (PEM), for servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The SPIFFE Workload API, in place of some of these files.
    pub workload: Option<Workload>,
    /// The server is known by its SPIFFE id and not by its name.
    pub spiffe: Option<SpiffePeers>,
}

/// What comes from the SPIFFE Workload API instead of files. While it gives nothing, handshakes fail.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The agent's client.
    pub source: Arc<WorkloadSource>,
    /// Our certificate is an SVID: the one with this id, or `None` in it = the agent's first.
    pub svid: Option<Option<String>>,
    /// The peer's certificate must come from the agent's bundles.
    pub bundles: bool,
}

/// TLS towards callers.
#[derive(Clone, Debug, Default)]
pub struct ListenerTls {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Authorities of client certificates, PEM.
    pub client_ca: Vec<PathBuf>,
    /// Whether client certificates are asked for.
    pub client_auth: ClientAuth,
    /// The SPIFFE Workload API, in place of some of these files.
    pub workload: Option<Workload>,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Found out from the client's first bytes; a server that speaks first makes the connection opaque.
    #[default]
    Auto,
    /// HTTP/1.x; anything else is refused.
    Http1,
    /// HTTP/2 with prior knowledge, or by ALPN; gRPC is read.
    Http2,
    /// MCP over streamable HTTP; other requests are HTTP.
    Mcp,
    /// PostgreSQL 3.0 to 3.2.
    Postgres,
    /// Redis, RESP2 and RESP3.
    Redis,
    /// Bytes, counted and not read.
    Opaque,
}

impl Protocol {
    /// The word for it in configuration, policies and records.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Auto => "auto",
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 => "http/2",
            Protocol::Mcp => "mcp",
            Protocol::Postgres => "postgresql",
            Protocol::Redis => "redis",
            Protocol::Opaque => "opaque",
        }
    }
}

/// What happens when records cannot be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Reading stops until the ledger takes records again: `docs/guide/gateway.md`.
    #[default]
    Bounded,
    /// No byte of a request reaches the server before its intent is durable; without that within
    /// [`Limits::strict_wait`] it is refused in the protocol's own words.
    Strict,
    /// Traffic never waits: records that cannot be kept are dropped, counted, and declared as a GAP.
    Gap,
}

/// Bounds and timeouts, with the defaults of the design. Every one is counted when it acts.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections, all listeners.
    pub connections: usize,
    /// Open connections of one listener.
    pub connections_listener: usize,
    /// Open connections of one verified (mTLS) identity.
    pub connections_identity: usize,
    /// TLS handshake, both sides.
    pub tls_handshake: Duration,
    /// How long an `auto` listener waits for first bytes before it also listens to the server.
    pub detect: Duration,
    /// From the first byte of a request head to its last.
    pub head_time: Duration,
    /// Window over which a request body must average at least [`Limits::body_rate`].
    pub body_window: Duration,
    /// Least rate of a request body, bytes a second.
    pub body_rate: u64,
    /// No byte either way and no request open.
    pub idle: Duration,
    /// From the end of a request to the head of its response.
    pub response_time: Duration,
    /// Establishing the upstream connection.
    pub connect: Duration,
    /// After one side ended its direction, how long the other may stay silent.
    pub half_closed: Duration,
    /// On strict routes, how long a request waits for its intent to be durable.
    pub strict_wait: Duration,
    /// Bytes waiting to be written in one direction at which reading its other side stops.
    pub write_high: usize,
    /// Bytes that wait for one decoder at which reading stops. A data thread has one decoder, and one more where a
    /// route is strict.
    pub ring: usize,
    /// Body bytes of one connection that wait for the decoder at which its reading stops.
    pub ring_connection: usize,
    /// HTTP/2: streams that a client may have open at once.
    pub h2_streams: u32,
    /// HTTP/2: bytes of one header list.
    pub h2_header_list: u32,
    /// HTTP/2: streams that a client may reset in one [`Limits::h2_window`].
    pub h2_resets: usize,
    /// HTTP/2: SETTINGS and PING frames of a client in one [`Limits::h2_window`].
    pub h2_control: usize,
    /// HTTP/2: CONTINUATION frames of one header block.
    pub h2_continuations: usize,
    /// HTTP/2: over which resets and control frames are counted.
    pub h2_window: Duration,
    /// HTTP/2: how often a stream that stays open makes a record of progress.
    pub h2_progress: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 20_000,
            connections_listener: 10_000,
            connections_identity: 1_000,
            tls_handshake: Duration::from_secs(10),
            detect: Duration::from_millis(200),
            head_time: Duration::from_secs(10),
            body_window: Duration::from_secs(10),
            body_rate: 500,
            idle: Duration::from_secs(3600),
            response_time: Duration::from_secs(300),
            connect: Duration::from_secs(5),
            half_closed: Duration::from_secs(30),
            strict_wait: Duration::from_secs(5),
            write_high: 256 << 10,
            ring: 32 << 20,
            ring_connection: 4 << 20,
            h2_streams: 256,
            h2_header_list: 64 << 10,
            h2_resets: 200,
            h2_control: 100,
            h2_continuations: 16,
            h2_window: Duration::from_secs(10),
            h2_progress: Duration::from_secs(60),
        }
    }
}
