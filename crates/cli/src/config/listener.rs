//! Listeners of the gateway: from declared keys to types.

use super::{ConfigError, Reader};
use countersign_gateway::Purpose;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One listener.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// Unique name; the records' route.
    pub(crate) name: String,
    /// Where it accepts.
    pub(crate) listen: SocketAddr,
    /// Where the bytes go.
    pub(crate) upstream: Upstream,
    /// Name of the service called.
    pub(crate) service: String,
    /// A word of [`PROTOCOLS`].
    pub(crate) protocol: String,
    /// `bounded`, `strict` or `gap`.
    pub(crate) durability: String,
    /// `all`, `fold` or `errors`.
    pub(crate) record: String,
    /// How strictly policies act on it.
    pub(crate) policy: Mode,
    /// Why calls on it are made.
    pub(crate) purpose: Purpose,
    /// Bytes kept of bodies, and of how many one; 0 = none.
    pub(crate) capture: (u64, u64),
    /// Settings for PostgreSQL.
    pub(crate) postgres: Postgres,
    /// TLS towards the upstream.
    pub(crate) upstream_tls: UpstreamTls,
    /// Fields of gRPC messages that are kept: descriptors and paths.
    pub(crate) grpc: Option<(PathBuf, Vec<String>)>,
    /// TLS towards callers.
    pub(crate) tls: Option<ListenerTls>,
    /// Ways for some server names.
    pub(crate) routes: Vec<NamedRoute>,
    /// Other names lead nowhere.
    pub(crate) only_named: bool,
}

/// A way through a listener for some server names.
#[derive(Clone, Debug)]
pub(crate) struct NamedRoute {
    /// DNS names.
    pub(crate) names: Vec<String>,
    /// TLS passes as it is.
    pub(crate) pass_through: bool,
    /// The listener with what is different on this way.
    pub(crate) to: Listener,
}

/// How strictly policies act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Decides nothing.
    #[default]
    Observe,
    /// Collects what permits could be proposed from.
    Learn,
    /// Decides and does not act.
    Shadow,
    /// Decides and acts.
    Enforce,
}

/// Settings for PostgreSQL.
#[derive(Clone, Debug, Default)]
pub(crate) struct Postgres {
    /// Parameters of statements are kept, redacted.
    pub(crate) parameters: bool,
    /// Callers may go without TLS although the listener has it.
    pub(crate) clear_text: bool,
    /// TLS towards the server begins without a request.
    pub(crate) direct_tls: bool,
    /// Empty, `same-certificate`, `unbound`, `verify` or `identity`.
    pub(crate) scram: String,
    /// Verifiers, for `verify`.
    pub(crate) verifiers: Option<PathBuf>,
    /// The gateway's own role, for `identity`; empty = the caller's.
    pub(crate) role: String,
    /// Its password.
    pub(crate) password: Option<PathBuf>,
}

/// TLS towards an upstream.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpstreamTls {
    /// Authorities its certificate must come from.
    pub(crate) ca: Option<PathBuf>,
    /// Name its certificate must have; empty = its host.
    pub(crate) name: String,
    /// Certificate and key shown to it.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// What comes from the Workload API.
    pub(crate) workload: FromWorkload,
    /// SPIFFE ids, or trust domains, that it is known by.
    pub(crate) ids: Vec<String>,
}

/// What comes from the Workload API instead of files.
#[derive(Clone, Debug, Default)]
pub(crate) struct FromWorkload {
    /// The SVID shown: `first`, or an id.
    pub(crate) svid: Option<String>,
    /// The peer's certificate must come from the agent's bundles.
    pub(crate) bundles: bool,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerTls {
    /// Certificate chain; empty with an SVID.
    pub(crate) cert: PathBuf,
    /// Private key.
    pub(crate) key: PathBuf,
    /// More certificates and keys, by the name that a caller asks for.
    pub(crate) more: Vec<(PathBuf, PathBuf)>,
    /// What comes from the Workload API.
    pub(crate) workload: FromWorkload,
    /// Authorities of callers.
    pub(crate) client_ca: Option<PathBuf>,
    /// `none`, `optional` or `required`.
    pub(crate) client_auth: String,
}

/// What is spoken to an upstream, as its URL says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `http://`, `https://`.
    Http,
    /// `tcp://`: never parsed, unless `protocol` says otherwise.
    Tcp,
    /// `postgres://`, `postgres+tls://`.
    Postgres,
    /// `redis://`, `rediss://`.
    Redis,
}

impl Scheme {
    /// The protocol that a listener speaks when it says nothing.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Scheme::Http => "auto",
            Scheme::Tcp => "opaque",
            Scheme::Postgres => "postgres",
            Scheme::Redis => "redis",
        }
    }

    /// Whether `protocol` can be spoken to it.
    pub(super) fn speaks(self, protocol: &str) -> bool {
        match self {
            Scheme::Tcp => true,
            Scheme::Http => !matches!(protocol, "postgres" | "redis"),
            Scheme::Postgres => matches!(protocol, "postgres" | "opaque"),
            Scheme::Redis => matches!(protocol, "redis" | "opaque"),
        }
    }
}

/// Where a listener's bytes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// Host name or address; for PostgreSQL also a directory with its UNIX socket.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// TLS towards it.
    pub(crate) tls: bool,
    /// What is spoken.
    pub(crate) scheme: Scheme,
}

impl Upstream {
    /// From `SCHEME://HOST[:PORT]`, or `postgres:///DIRECTORY[:PORT]` for a UNIX socket.
    pub(crate) fn parse(text: &str) -> Result<Upstream, String> {
        let (word, rest) =
            text.split_once("://").ok_or_else(|| format!("`{text}` has no scheme: write http://{text}"))?;
        let (scheme, tls, default_port) = match word {
            "http" => (Scheme::Http, false, Some(80)),
            "https" => (Scheme::Http, true, Some(443)),
            "tcp" => (Scheme::Tcp, false, None),
            "postgres" | "postgresql" => (Scheme::Postgres, false, Some(5432)),
            "postgres+tls" => (Scheme::Postgres, true, Some(5432)),
            "redis" => (Scheme::Redis, false, Some(6379)),
            "rediss" => (Scheme::Redis, true, Some(6379)),
            other => {
                return Err(format!(
                    "`{other}://` is not spoken by this version: use http, https, postgres, postgres+tls, redis, rediss or tcp"
                ));
            }
        };
        if scheme == Scheme::Postgres && !tls && rest.starts_with('/') {
            return Upstream::unix(rest);
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(format!("`{text}` has a path: an upstream is a host and a port only"));
        }
        if authority.contains('@') {
            return Err("an upstream carries no user or password".into());
        }
        let (host, port) = split_port(authority);
        let port = match port {
            Some(port) => {
                port.parse().ok().filter(|p| *p != 0).ok_or_else(|| format!("`{port}` is no port"))?
            }
            None => default_port.ok_or_else(|| format!("`{text}` needs a port"))?,
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(valid) {
            return Err(format!("`{authority}` names no host"));
        }
        Ok(Upstream { host: host.into(), port, tls, scheme })
    }

    /// A PostgreSQL server's directory, and its port, which names the socket in it.
    fn unix(text: &str) -> Result<Upstream, String> {
        let (host, port) = match text.rsplit_once(':') {
            Some((dir, port)) => (dir, port.parse().map_err(|_| format!("`{port}` is no port"))?),
            None => (text, 5432),
        };
        Ok(Upstream { host: host.into(), port, tls: false, scheme: Scheme::Postgres })
    }

    /// `HOST:PORT`.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = match (self.scheme, self.tls) {
            (Scheme::Tcp, _) => "tcp",
            (Scheme::Http, true) => "https",
            (Scheme::Http, false) => "http",
            (Scheme::Postgres, true) => "postgres+tls",
            (Scheme::Postgres, false) => "postgres",
            (Scheme::Redis, true) => "rediss",
            (Scheme::Redis, false) => "redis",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl Listener {
    /// From a `--proxy LISTEN=URL`.
    pub(crate) fn from_proxy(spec: &str) -> Result<Listener, String> {
        let (listen, url) = spec.split_once('=').ok_or_else(|| {
            "it has no `=`: write LISTEN=URL, like 127.0.0.1:8081=http://127.0.0.1:8080".to_string()
        })?;
        let listen: SocketAddr = listen.parse().map_err(|_| format!("`{listen}` is no address, IP:PORT"))?;
        let upstream = Upstream::parse(url)?;
        if upstream.tls {
            return Err("an upstream with TLS needs `upstream_ca`, so it goes into a configuration file: countersign check explain listener".into());
        }
        Ok(Listener {
            name: format!("proxy-{}", listen.port()),
            listen,
            service: upstream.authority(),
            protocol: upstream.scheme.protocol().into(),
            durability: "bounded".into(),
            record: "all".into(),
            policy: Mode::Observe,
            purpose: Purpose::default(),
            capture: (0, 1),
            postgres: Postgres::default(),
            upstream_tls: UpstreamTls::default(),
            grpc: None,
            tls: None,
            routes: Vec::new(),
            only_named: false,
            upstream,
        })
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').unwrap_or((rest, ""));
        return (host, after.strip_prefix(':'));
    }
    match authority.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    }
}

impl Reader<'_> {
    pub(super) fn listener(&self, at: &str) -> Result<Listener, ConfigError> {
        let upstream = Upstream::parse(&self.need(at, "upstream"))
            .map_err(|why| self.settings.conflict(&format!("{at}.upstream"), why))?;
        let word =
            |name: &str, default: &str| self.text(&format!("{at}.{name}")).unwrap_or_else(|| default.into());
        let protocol = word("protocol", upstream.scheme.protocol());
        if !upstream.scheme.speaks(&protocol) {
            let what = format!("an upstream {upstream} does not speak `protocol = \"{protocol}\"`");
            return Err(self.settings.conflict(&format!("{at}.protocol"), what));
        }
        let own = Listener {
            name: self.need(at, "name"),
            listen: self.address(&format!("{at}.listen"))?,
            service: self.text(&format!("{at}.service")).unwrap_or_else(|| upstream.authority()),
            protocol,
            durability: word("durability", "bounded"),
            record: word("record", "all"),
            policy: self.mode(at, Mode::Observe)?,
            purpose: Purpose {
                text: word("purpose", ""),
                header: word("purpose_header", "").to_ascii_lowercase(),
                claim: word("purpose_claim", ""),
            },
            capture: (
                self.number(&format!("{at}.capture"), 0),
                self.number(&format!("{at}.capture_one_in"), 1),
            ),
            postgres: self.postgres(at)?,
            upstream_tls: self.upstream_tls(at, upstream.tls)?,
            grpc: self.grpc(at)?,
            tls: self.listener_tls(at)?,
            routes: Vec::new(),
            only_named: self.on(&format!("{at}.only_named")),
            upstream,
        };
        let routes = self.each(&format!("{at}.route"), |at| self.route(at, &own))?;
        Ok(Listener { routes, ..own })
    }

    pub(super) fn mode(&self, at: &str, other: Mode) -> Result<Mode, ConfigError> {
        self.mode_at(&format!("{at}.policy"), other)
    }

    pub(super) fn mode_at(&self, path: &str, other: Mode) -> Result<Mode, ConfigError> {
        let mode = match self.text(path).as_deref() {
            None => other,
            Some("learn") => Mode::Learn,
            Some("shadow") => Mode::Shadow,
            Some("enforce") => Mode::Enforce,
            _ => Mode::Observe,
        };
        if matches!(mode, Mode::Shadow | Mode::Enforce) && self.settings.get("policy.files").is_none() {
            return Err(self
                .settings
                .conflict(path, "there are no policies to decide by: name them with `policy.files`"));
        }
        Ok(mode)
    }

    fn postgres(&self, at: &str) -> Result<Postgres, ConfigError> {
        let on = |name: &str| self.on(&format!("{at}.postgres.{name}"));
        let table = format!("{at}.postgres");
        let postgres = Postgres {
            parameters: on("parameters"),
            clear_text: on("clear_text"),
            direct_tls: on("direct_tls"),
            scram: self.text(&format!("{table}.scram")).unwrap_or_default(),
            verifiers: self.path(&format!("{table}.verifiers")),
            role: self.text(&format!("{table}.role")).unwrap_or_default(),
            password: self.path(&format!("{table}.password_file")),
        };
        let own = !postgres.role.is_empty() || postgres.password.is_some();
        match postgres.scram.as_str() {
            "verify" if postgres.verifiers.is_none() => {
                let what = "`scram = \"verify\"` needs `verifiers`: the file by which callers are verified";
                Err(self.settings.conflict(&table, what))
            }
            scram if (postgres.verifiers.is_some() && scram != "verify") || (own && scram != "identity") => {
                let what =
                    "`verifiers` belongs to `scram = \"verify\"`, `role` and `password_file` to \"identity\"";
                Err(self.settings.conflict(&table, what))
            }
            _ => Ok(postgres),
        }
    }

    fn grpc(&self, at: &str) -> Result<Option<(PathBuf, Vec<String>)>, ConfigError> {
        let table = format!("{at}.grpc");
        let fields = self.texts(&format!("{table}.fields"), &[]);
        match self.path(&format!("{table}.descriptors")) {
            Some(descriptors) if !fields.is_empty() => Ok(Some((descriptors, fields))),
            None if fields.is_empty() => Ok(None),
            _ => Err(self.settings.conflict(
                &table,
                "`descriptors` and `fields` belong together: which fields, and what they are",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_read_or_refused_with_a_reason() {
        assert_eq!(Upstream::parse("http://[::1]:80").unwrap().authority(), "[::1]:80");
        assert_eq!(Upstream::parse("https://api.example.org/").unwrap().port, 443);
        assert_eq!(Upstream::parse("tcp://db:5432").unwrap().scheme, Scheme::Tcp);
        assert_eq!(Upstream::parse("postgres://db").unwrap().to_string(), "postgres://db:5432");
        let socket = Upstream::parse("postgres:///run/postgresql:5433").unwrap();
        assert_eq!((socket.host.as_str(), socket.port), ("/run/postgresql", 5433));
        assert!(Upstream::parse("rediss://cache").unwrap().tls);
        for (text, why) in [
            ("127.0.0.1:80", "no scheme"),
            ("http://a/b", "path"),
            ("http://u:p@h:1", "no user"),
            ("http://:80", "names no host"),
            ("http://h:0", "no port"),
            ("tcp://h", "needs a port"),
            ("gopher://h:1", "not spoken"),
            ("http://h:70000", "no port"),
        ] {
            let found = Upstream::parse(text).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
