//! Keys of listeners.

use super::super::schema::{Key, Kind};
use super::{key, required};

/// What a listener can speak.
const PROTOCOLS: &[&str] = &["auto", "http1", "http2", "mcp", "postgres", "redis", "opaque"];

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
        Kind::Word(PROTOCOLS),
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
        "listener[].purpose_claim",
        Kind::Text,
        "",
        "Claim of a checked token that states the purpose; it wins over the header, and is recorded with the token's level.",
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
        Kind::Word(&["same-certificate", "unbound", "verify", "identity"]),
        "",
        "How SCRAM channel binding survives TLS that ends here. same-certificate: the listener shows the server's \
         own certificate. unbound: the server is reached without TLS and offers no binding. verify: the gateway \
         verifies callers by postgres.verifiers and logs in with the key that their proof gives away. identity: \
         callers prove themselves by certificate or token, and the gateway logs in as itself.",
    ),
    key(
        "listener[].postgres.verifiers",
        Kind::Path,
        "",
        "File of SCRAM verifiers for scram = \"verify\", one role a line, as pg_authid has them. Read again on change.",
    ),
    key(
        "listener[].postgres.role",
        Kind::Text,
        "(the role that the caller asks for)",
        "Role that the gateway logs in as with scram = \"identity\".",
    ),
    key(
        "listener[].postgres.password_file",
        Kind::Path,
        "",
        "File with that role's password, one line of ASCII; absent = the server asks for none. Read again on change.",
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
    key(
        "listener[].upstream_name",
        Kind::Text,
        "(the host of upstream)",
        "Name that the certificate of an upstream with TLS must have.",
    ),
    key(
        "listener[].upstream_svid",
        Kind::Text,
        "",
        "The gateway shows an SVID of identity.workload_api to the upstream, instead of upstream_cert: its id, or first.",
    ),
    key(
        "listener[].upstream_bundles",
        Kind::Bool,
        "false",
        "Whether an upstream's certificate must come from the bundles of identity.workload_api, instead of upstream_ca.",
    ),
    key(
        "listener[].upstream_ids",
        Kind::Texts,
        "[]",
        "The upstream is known by its SPIFFE id and not by its name: ids, or spiffe://TRUST-DOMAIN for each of one.",
    ),
    key(
        "listener[].only_named",
        Kind::Bool,
        "false",
        "Whether only server names that have a route lead on; other names, and callers without TLS, are refused.",
    ),
    required(
        "listener[].route[].name",
        Kind::Text,
        "Name of a way that is taken for some server names (SNI); it stands in its records as the route.",
    ),
    required(
        "listener[].route[].names",
        Kind::Texts,
        "DNS names that callers ask for in TLS; *.example.org is any one label before it. An exact name goes first.",
    ),
    required("listener[].route[].upstream", Kind::Upstream, "Where its bytes go, as listener.upstream."),
    key(
        "listener[].route[].pass_through",
        Kind::Bool,
        "false",
        "Whether TLS passes to the upstream as it is, unread and recorded opaque.",
    ),
    key(
        "listener[].route[].service",
        Kind::Text,
        "(host and port of upstream)",
        "Name of the service called.",
    ),
    key(
        "listener[].route[].protocol",
        Kind::Word(PROTOCOLS),
        "(by the upstream's scheme)",
        "What is spoken on it, as listener.protocol.",
    ),
    key(
        "listener[].route[].durability",
        Kind::Word(&["bounded", "strict", "gap"]),
        "(the listener's)",
        "When records cannot be kept, as listener.durability.",
    ),
    key(
        "listener[].route[].record",
        Kind::Word(&["all", "fold", "errors"]),
        "(the listener's)",
        "What is a record of its own, as listener.record.",
    ),
    key(
        "listener[].route[].policy",
        Kind::Word(&["observe", "learn", "shadow", "enforce"]),
        "(the listener's)",
        "How strictly policies act on it, as listener.policy.",
    ),
    key("listener[].route[].upstream_ca", Kind::Path, "", "As listener.upstream_ca."),
    key(
        "listener[].route[].upstream_name",
        Kind::Text,
        "(the host of upstream)",
        "As listener.upstream_name.",
    ),
    key(
        "listener[].route[].cert",
        Kind::Path,
        "(the listener's)",
        "PEM certificate chain that callers who ask for one of its names see.",
    ),
    key("listener[].route[].key", Kind::Path, "", "PEM private key of that certificate."),
    key(
        "listener[].grpc.descriptors",
        Kind::Path,
        "",
        "Descriptors of gRPC messages, from protoc --descriptor_set_out --include_imports; at most 16 MiB.",
    ),
    key(
        "listener[].grpc.fields",
        Kind::Texts,
        "[]",
        "Fields of a call's first message each way that are kept, redacted: at most 64 paths like order.id, scalars only.",
    ),
    key(
        "listener[].tls.cert",
        Kind::Path,
        "",
        "PEM certificate chain that callers see, unless svid is given. With a [listener.tls] table the listener speaks \
         TLS only.",
    ),
    key("listener[].tls.key", Kind::Path, "", "PEM private key of the certificate."),
    required(
        "listener[].tls.certificate[].cert",
        Kind::Path,
        "One more PEM certificate chain; callers get the one with the name that they ask for, else listener.tls.cert.",
    ),
    required("listener[].tls.certificate[].key", Kind::Path, "PEM private key of that certificate."),
    key(
        "listener[].tls.svid",
        Kind::Text,
        "",
        "Callers see an SVID of identity.workload_api instead of cert: its id, or first for the agent's first one.",
    ),
    key(
        "listener[].tls.client_bundles",
        Kind::Bool,
        "false",
        "Whether callers' certificates must come from the bundles of identity.workload_api, instead of client_ca.",
    ),
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
