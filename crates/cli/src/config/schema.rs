//! The one table of configuration keys: parser, refusals, `check explain`, `check schema` and
//! `docs/reference/configuration.md` all come from it, so they cannot drift.
//!
//! A path with `[]` stands for a table that may be repeated. There is no key that holds a secret:
//! secrets are named by file or by environment variable.

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text, 1 to 1,024 bytes.
    Text,
    /// File or directory; relative ones count from the configuration file's directory.
    Path,
    /// `IP:PORT`.
    Address,
    /// Scheme, host and port.
    Upstream,
    /// Absolute `http` or `https` URL.
    Url,
    /// `true` or `false`.
    Bool,
    /// Whole number within bounds.
    Count(u64, u64),
    /// Size like `64KiB`, bounds in bytes.
    Size(u64, u64),
    /// Time span like `250ms`, `10s`, `1h`, bounds in milliseconds.
    Span(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// List of texts.
    Texts,
}

impl Kind {
    /// In words, for messages and documentation.
    pub(crate) fn describe(self) -> String {
        match self {
            Kind::Text => "text".into(),
            Kind::Path => "path".into(),
            Kind::Address => "address, IP:PORT".into(),
            Kind::Upstream => {
                "upstream, SCHEME://HOST:PORT with http, https, postgres, postgres+tls, redis, rediss or tcp"
                    .into()
            }
            Kind::Url => "URL".into(),
            Kind::Bool => "true or false".into(),
            Kind::Count(min, max) => format!("whole number, {min} to {max}"),
            Kind::Size(min, max) => {
                format!("size, {} to {}", super::units::size(min), super::units::size(max))
            }
            Kind::Span(min, max) => {
                format!("time span, {} to {}", super::units::span_ms(min), super::units::span_ms(max))
            }
            Kind::Word(words) => format!("one of {}", words.join(", ")),
            Kind::Texts => "list of texts".into(),
        }
    }
}

/// Declaration of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Where it stands: `listener[].tls.cert`.
    pub(crate) path: &'static str,
    /// What it may be.
    pub(crate) kind: Kind,
    /// The default, as it would be written; `""` = none; in parentheses when computed.
    pub(crate) default: &'static str,
    /// Must be given wherever its table is given.
    pub(crate) required: bool,
    /// Masked when printed.
    pub(crate) secret: bool,
    /// What it means.
    pub(crate) doc: &'static str,
}

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default, required: false, secret: false, doc }
}

const fn required(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { path, kind, default: "", required: true, secret: false, doc }
}

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// Every key there is, in the order of the documentation.
pub(crate) const KEYS: &[Key] = &[
    key(
        "data",
        Kind::Path,
        "($XDG_STATE_HOME/countersign)",
        "The data directory: ledger, segments and sources. It alone opens nothing; the key lies elsewhere.",
    ),
    key(
        "kek",
        Kind::Path,
        "($XDG_CONFIG_HOME/countersign/kek)",
        "File with the key that opens the data: 32 random bytes in base64, mode 0600, made at the first start. \
         Never under the data directory, or a copy of that directory would open itself.",
    ),
    key(
        "origin",
        Kind::Text,
        "(local/ + 16 random hex digits + /1, chosen at the first start)",
        "Name of this log in its checkpoints: organisation's domain, ledger id, epoch. It cannot change later.",
    ),
    required(
        "listener[].name",
        Kind::Text,
        "Name of the listener, unique; it stands in each of its records as the route.",
    ),
    required("listener[].listen", Kind::Address, "Where it accepts connections. A port in use is an error."),
    required(
        "listener[].upstream",
        Kind::Upstream,
        "Where every byte goes: one host and port. With https, postgres+tls and rediss the gateway speaks TLS to \
         it. postgres:///DIRECTORY is a server's UNIX socket.",
    ),
    key(
        "listener[].service",
        Kind::Text,
        "(host and port of upstream)",
        "Name of the service called, in records, map and filters.",
    ),
    key(
        "listener[].protocol",
        Kind::Word(&["auto", "http1", "http2", "mcp", "postgres", "redis", "opaque"]),
        "(by the upstream's scheme: auto, postgres, redis; opaque for tcp)",
        "auto looks at the first bytes; http1 refuses all else; http2 expects its preface and reads gRPC; mcp reads \
         the tool calls in HTTP; opaque passes bytes and records counts.",
    ),
    key(
        "listener[].durability",
        Kind::Word(&["bounded", "strict", "gap"]),
        "\"bounded\"",
        "When records cannot be kept. bounded: traffic waits; a crash leaves a GAP with its number. strict: no \
         request passes before its intent is durable. gap: traffic never waits, what is dropped is a GAP.",
    ),
    key(
        "listener[].record",
        Kind::Word(&["all", "fold", "errors"]),
        "\"all\"",
        "all: each call is a record. fold: equal calls of one second are one record that counts them. errors: \
         calls that succeeded are folded, all others are records. Nothing is left out of the counts.",
    ),
    key(
        "listener[].policy",
        Kind::Word(&["observe", "learn", "shadow", "enforce"]),
        "\"observe\"",
        "observe decides nothing; learn marks calls that permits may be proposed from; shadow decides and does not \
         act; enforce refuses what no policy permits, before it reaches the server.",
    ),
    key(
        "listener[].purpose",
        Kind::Text,
        "",
        "Why calls on this listener are made; stands in each decision.",
    ),
    key(
        "listener[].purpose_header",
        Kind::Text,
        "",
        "Request header in which callers state their purpose; recorded as claimed.",
    ),
    key(
        "listener[].capture",
        Kind::Size(0, 4096),
        "\"0B\"",
        "Bytes of each body that are kept after redaction, in the group that can be erased. 0 keeps none.",
    ),
    key(
        "listener[].capture_one_in",
        Kind::Count(1, 1_000_000),
        "1",
        "Bodies of one request in so many are kept; the record says so.",
    ),
    key(
        "listener[].postgres.parameters",
        Kind::Bool,
        "false",
        "Whether parameters of prepared statements are kept, redacted.",
    ),
    key(
        "listener[].postgres.clear_text",
        Kind::Bool,
        "false",
        "Whether callers may go without TLS on a listener that has it. Cancellations always may.",
    ),
    key(
        "listener[].postgres.direct_tls",
        Kind::Bool,
        "false",
        "Whether TLS towards the server begins without a request (PostgreSQL 17 and later).",
    ),
    key(
        "listener[].postgres.scram",
        Kind::Word(&["same-certificate", "unbound"]),
        "",
        "How SCRAM channel binding survives TLS that ends here. same-certificate: the listener shows the server's \
         own certificate. unbound: the server is reached without TLS and offers no binding.",
    ),
    key(
        "listener[].upstream_ca",
        Kind::Path,
        "",
        "PEM with the authorities that an upstream's certificate must come from; required with TLS.",
    ),
    key(
        "listener[].upstream_cert",
        Kind::Path,
        "",
        "PEM certificate chain that the gateway shows to an https upstream.",
    ),
    key("listener[].upstream_key", Kind::Path, "", "PEM private key of upstream_cert."),
    required(
        "listener[].tls.cert",
        Kind::Path,
        "PEM certificate chain that callers see. With a [listener.tls] table the listener speaks TLS only.",
    ),
    required("listener[].tls.key", Kind::Path, "PEM private key of the certificate."),
    key(
        "listener[].tls.client_ca",
        Kind::Path,
        "",
        "PEM with the authorities that callers' certificates must come from.",
    ),
    key(
        "listener[].tls.client_auth",
        Kind::Word(&["none", "optional", "required"]),
        "\"optional\"",
        "Whether a caller shows a certificate. With optional, one that shows none is known by token, key or address.",
    ),
    required("identity.trust[].ca", Kind::Path, "PEM with the authorities of one trust domain."),
    key(
        "identity.trust[].trust_domain",
        Kind::Text,
        "",
        "SPIFFE trust domain that these authorities may speak for; absent = plain X.509 subjects only.",
    ),
    required("identity.jwt[].issuer", Kind::Text, "The iss that a token must carry."),
    required("identity.jwt[].audience", Kind::Texts, "Accepted aud values; a token must name one."),
    key("identity.jwt[].keys", Kind::Path, "", "The issuer's public keys: a JWKS or a PEM file."),
    key(
        "identity.jwt[].jwks_url",
        Kind::Url,
        "",
        "Where its public keys are fetched from, instead of `keys`. http is allowed to this machine only.",
    ),
    key(
        "identity.jwt[].discover",
        Kind::Bool,
        "false",
        "Whether its keys are found by OpenID Connect Discovery under the issuer, instead of `keys`.",
    ),
    key(
        "identity.jwt[].jwks_ca",
        Kind::Path,
        "",
        "PEM with the authorities of the server that has the keys.",
    ),
    key(
        "identity.jwt[].algorithms",
        Kind::Texts,
        "[\"ES256\", \"RS256\", \"EdDSA\"]",
        "Accepted signature algorithms. none is never accepted.",
    ),
    key(
        "identity.api_keys",
        Kind::Path,
        "",
        "File of known API keys, one a line: id, HMAC-SHA-256 of the key, name. It holds no key in clear.",
    ),
    key(
        "identity.api_key_pepper",
        Kind::Path,
        "(beside api_keys, with .pepper)",
        "File with the secret under which the lines of api_keys are computed.",
    ),
    key("identity.api_key_header", Kind::Text, "\"x-api-key\"", "Header that carries an API key."),
    required(
        "identity.signature[].keyid",
        Kind::Text,
        "The keyid of a caller's HTTP Message Signatures (RFC 9421).",
    ),
    required(
        "identity.signature[].algorithm",
        Kind::Word(&[
            "ed25519",
            "ecdsa-p256-sha256",
            "ecdsa-p384-sha384",
            "rsa-pss-sha512",
            "rsa-v1_5-sha256",
            "hmac-sha256",
        ]),
        "The one algorithm that this key signs with.",
    ),
    required(
        "identity.signature[].key",
        Kind::Path,
        "The caller's public key, PEM or JWK; for hmac-sha256 the secret in base64.",
    ),
    key("identity.signature[].principal", Kind::Text, "(key: and the keyid)", "Id of the caller in records."),
    key(
        "identity.dpop_nonce",
        Kind::Bool,
        "false",
        "Whether DPoP proofs (RFC 9449) must hold a nonce of ours.",
    ),
    key(
        "identity.forwarders",
        Kind::Texts,
        "[]",
        "Proxies that are believed, at level 2, about their own callers: IP, IP/BITS, or the id of their certificate.",
    ),
    key(
        "policy.files",
        Kind::Texts,
        "[]",
        "Cedar policies: files, and directories of *.cedar. Without any, every call is allowed and recorded so.",
    ),
    key("policy.entities", Kind::Path, "", "JSON file with groups of principals and of services."),
    key(
        "detect.learning",
        Kind::Span(0, 30 * DAY),
        "\"10m\"",
        "How long first-seen edges are learnt before a new one is a finding, by the ledger's time.",
    ),
    key(
        "detect.learning_events",
        Kind::Count(0, 1_000_000_000),
        "1000",
        "How many events are learnt from at least.",
    ),
    Key {
        path: "webhook[].url",
        kind: Kind::Url,
        default: "",
        required: true,
        secret: true,
        doc: "Where findings are sent, by Standard Webhooks. Printed without its path, which may be a secret.",
    },
    key(
        "webhook[].secret_file",
        Kind::Path,
        "",
        "File with the signing secret, whsec_ and base64. Give this or secret_env.",
    ),
    key("webhook[].secret_env", Kind::Text, "", "Name of the environment variable with the signing secret."),
    key("web.enabled", Kind::Bool, "true", "Whether the dashboard and its API are served."),
    key(
        "web.listen",
        Kind::Address,
        "\"127.0.0.1:7470\"",
        "Loopback address of the dashboard. A busy port is named and one of the next 20 is taken.",
    ),
    key(
        "limits.connections",
        Kind::Count(1, 1_000_000),
        "20000",
        "Open connections over all listeners; more are refused.",
    ),
    key(
        "limits.listener_connections",
        Kind::Count(1, 1_000_000),
        "10000",
        "Open connections of one listener.",
    ),
    key(
        "limits.head_time",
        Kind::Span(100, 10 * 60 * SECOND),
        "\"10s\"",
        "Longest time for a head to arrive; then 408.",
    ),
    key(
        "limits.connect_time",
        Kind::Span(10, 10 * 60 * SECOND),
        "\"5s\"",
        "Longest time to reach the upstream; then 502.",
    ),
    key("limits.idle_time", Kind::Span(SECOND, DAY), "\"1h\"", "A connection idle for longer is closed."),
    key(
        "limits.drain_time",
        Kind::Span(0, HOUR),
        "\"30s\"",
        "How long open calls may end at shutdown; then they are cut and recorded so.",
    ),
    key(
        "limits.tap_buffer",
        Kind::Size(MIB, 1024 * MIB),
        "\"32MiB\"",
        "Bytes seen and not yet decoded, for each decoder; at the limit traffic waits.",
    ),
    key(
        "limits.query_time",
        Kind::Span(100, HOUR),
        "\"30s\"",
        "Longest run of one query that a command asks of the data directory itself; the server keeps to 30 s.",
    ),
    key(
        "limits.query_memory",
        Kind::Size(16 * MIB, 64 * 1024 * MIB),
        "\"512MiB\"",
        "Most memory of one such query; the server keeps to 512 MiB.",
    ),
];

/// A path without the marks of repeated tables, as people write it: `listener.tls.cert`.
pub(crate) fn plain(path: &str) -> String {
    path.replace("[]", "")
}

/// The declaration of a path, with or without `[]`.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path || plain(key.path) == path)
}

/// The nearest declared names to a wrong one among `names`, best first, at most three.
pub(crate) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    const LIKENESS_MIN: f64 = 0.7;
    let mut scored: Vec<(f64, &str)> = names
        .map(|name| (strsim::jaro_winkler(&wrong.to_lowercase(), name), name))
        .filter(|(score, _)| *score >= LIKENESS_MIN)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by_key(|(_, name)| *name);
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// What may stand directly in the table `prefix` (`""` = the top): name and whether it is a table.
pub(crate) fn children(prefix: &str) -> Vec<(&'static str, Shape)> {
    let mut out: Vec<(&'static str, Shape)> = Vec::new();
    for key in KEYS {
        let Some(rest) = key.path.strip_prefix(prefix) else { continue };
        let rest = if prefix.is_empty() { rest } else { rest.strip_prefix('.').unwrap_or("") };
        let (name, shape) = match rest.split_once('.') {
            None => (rest, Shape::Value),
            Some((head, _)) => match head.strip_suffix("[]") {
                Some(name) => (name, Shape::Tables),
                None => (head, Shape::Table),
            },
        };
        if !name.is_empty() && !out.iter().any(|(seen, _)| *seen == name) {
            out.push((name, shape));
        }
    }
    out
}

/// What a name in a table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A value.
    Value,
    /// One table.
    Table,
    /// A table that may be repeated.
    Tables,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_declared_once_and_explained() {
        for (i, key) in KEYS.iter().enumerate() {
            assert!(!key.doc.is_empty(), "{} has no documentation", key.path);
            assert!(KEYS.iter().skip(i + 1).all(|other| other.path != key.path), "{} twice", key.path);
            assert!(key.doc.ends_with('.'), "{}: the documentation is a sentence", key.path);
        }
    }

    #[test]
    fn no_key_holds_a_secret_in_clear() {
        for key in KEYS {
            let name = key.path.rsplit('.').next().unwrap_or("");
            let suspicious = ["secret", "password", "token", "passphrase"].contains(&name);
            assert!(!suspicious, "{}: secrets come from a file or the environment", key.path);
        }
    }

    #[test]
    fn children_of_the_top_are_values_tables_and_repeated_tables() {
        let top = children("");
        assert!(top.contains(&("data", Shape::Value)));
        assert!(top.contains(&("listener", Shape::Tables)));
        assert!(top.contains(&("limits", Shape::Table)));
        assert!(children("listener[]").contains(&("tls", Shape::Table)));
        assert!(children("identity").contains(&("jwt", Shape::Tables)));
    }
}
