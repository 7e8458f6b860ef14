//! Keys of listeners.

use super::super::schema::{Key, Kind};
use super::{key, required};

/// In the order of the documentation.
pub(super) const KEYS: &[Key] = &[
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
];
