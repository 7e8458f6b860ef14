//! Keys of what is decided, detected, told and served, and the bounds.

use super::super::schema::{Key, Kind};
use super::{DAY, HOUR, LOG_LEVELS, MIB, SECOND, key, required};

/// In the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    key(
        "policy.files",
        Kind::Texts,
        "[]",
        "Cedar policies: files, and directories of *.cedar. Without any, every call is allowed and recorded so.",
    ),
    key("policy.entities", Kind::Path, "", "JSON file with groups of principals and of services."),
    key(
        "policy.wrapped",
        Kind::Word(&["observe", "learn", "shadow", "enforce"]),
        "\"observe\"",
        "How strictly policies act on the servers that countersign mcp wrap starts (routes local/NAME), as \
         listener.policy. A wrapper reads policies once, at its start.",
    ),
    key(
        "policy.signers",
        Kind::Texts,
        "[]",
        "Public keys of the persons whose signature puts a proposal of learn mode in force, as policy keygen prints them.",
    ),
    key(
        "detect.rules",
        Kind::Texts,
        "[]",
        "Detection rules in the Sigma format beside our own: files, and directories with .yml and .yaml files below them. \
         Every one must run: countersign rules check says what does not, and why.",
    ),
    key(
        "detect.pack",
        Kind::Bool,
        "true",
        "Our own rules for machine traffic, which are part of the program (countersign rules check lists them).",
    ),
    key(
        "detect.pack_except",
        Kind::Texts,
        "[]",
        "Ids of our own rules that do not run here; a rule leaves with the others of its file.",
    ),
    required(
        "detect.placeholder[].name",
        Kind::Text,
        "Name of a placeholder in rules: admins, for %admins%.",
    ),
    required("detect.placeholder[].values", Kind::Texts, "What it stands for; each value is matched."),
    required(
        "detect.grant[].principal",
        Kind::Text,
        "Whom operations are granted; * stands for any run of characters.",
    ),
    required("detect.grant[].service", Kind::Text, "Service that they are granted on."),
    required(
        "detect.grant[].operations",
        Kind::Texts,
        "Operations granted, as records name them (GET, SELECT). What nobody used in 90 days is a finding.",
    ),
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
    key(
        "detect.baseline_learning",
        Kind::Span(0, 90 * DAY),
        "\"7d\"",
        "How long it is learnt what is normal for a peer group (all replicas of a service), by event time, before rates, \
         sizes, latencies and the like are findings. What is no statistic (a gap, a replayed token) is found from the first \
         event on.",
    ),
    key(
        "detect.baseline_events",
        Kind::Count(0, 1_000_000_000),
        "1000",
        "From how many events of the peer group at least.",
    ),
    key(
        "detect.state",
        Kind::Size(MIB, 64 * 1024 * MIB),
        "\"1GiB\"",
        "Memory that all baselines may take; what is forgotten for it is counted and never called new.",
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
    key(
        "redact.personal",
        Kind::Texts,
        "[]",
        "Kinds of personal data that are not kept either, by checksum: card-number, iban, fr-nir, br-cpf, de-tax-id, \
         pl-pesel, uk-nhs-number, nl-bsn; or all.",
    ),
    key(
        "redact.pseudonym_key",
        Kind::Path,
        "",
        "File with 32 to 64 random bytes in base64: personal data and hits of own rules become pseudonyms that join, \
         under this key. Without it they become {redacted}, as secrets always do.",
    ),
    required(
        "redact.rule[].name",
        Kind::Text,
        "Name of an own rule in records: a to z, 0 to 9, - and _. At most 64 rules.",
    ),
    required(
        "redact.rule[].keyword",
        Kind::Text,
        "Text of at least 2 bytes that must be there, in any case; the expression is tried from there on.",
    ),
    required(
        "redact.rule[].pattern",
        Kind::Text,
        "Regular expression of at most 512 bytes, without look-around and back references, that matches what must go.",
    ),
    key(
        "log.level",
        Kind::Word(&LOG_LEVELS),
        "\"info\"",
        "What the server tells of itself on standard error: findings (info), warnings, errors. Never a byte of what \
         passes, at any level; libraries are not heard.",
    ),
    key("log.format", Kind::Word(&["text", "json"]), "\"text\"", "Form of such a line."),
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
        "limits.identity_connections",
        Kind::Count(1, 1_000_000),
        "1000",
        "Open connections of one identity verified by certificate.",
    ),
    key(
        "limits.handshake_time",
        Kind::Span(100, 10 * 60 * SECOND),
        "\"10s\"",
        "Longest TLS handshake, on either side.",
    ),
    key(
        "limits.detect_time",
        Kind::Span(1, 10 * SECOND),
        "\"200ms\"",
        "How long an auto listener waits for a caller's first bytes before it listens to the server, too.",
    ),
    key(
        "limits.body_rate",
        Kind::Size(0, 1024 * MIB),
        "\"500B\"",
        "Least bytes a second of a request's body, on average over body_window; then 408.",
    ),
    key("limits.body_window", Kind::Span(SECOND, HOUR), "\"10s\"", "Span over which body_rate is averaged."),
    key(
        "limits.response_time",
        Kind::Span(100, DAY),
        "\"5m\"",
        "Longest time from a request's end to the head of its response; then 504.",
    ),
    key(
        "limits.half_closed_time",
        Kind::Span(100, DAY),
        "\"30s\"",
        "After one side has ended its direction, how long the other may stay silent.",
    ),
    key(
        "limits.strict_wait",
        Kind::Span(10, HOUR),
        "\"5s\"",
        "On strict listeners, how long a request waits for its intent to be durable; then it is refused.",
    ),
    key(
        "limits.write_buffer",
        Kind::Size(16 << 10, 256 * MIB),
        "\"256KiB\"",
        "Bytes waiting to be written in one direction at which its other side is not read.",
    ),
    key(
        "limits.h2_streams",
        Kind::Count(1, 10_000),
        "256",
        "HTTP/2: streams that a client may have open at once.",
    ),
    key("limits.h2_header_list", Kind::Size(4 << 10, MIB), "\"64KiB\"", "HTTP/2: bytes of one header list."),
    key(
        "limits.h2_resets",
        Kind::Count(1, 1_000_000),
        "200",
        "HTTP/2: streams that a client may reset within h2_window; then the connection ends.",
    ),
    key(
        "limits.h2_control",
        Kind::Count(1, 1_000_000),
        "100",
        "HTTP/2: SETTINGS and PING frames of a client within h2_window; then the connection ends.",
    ),
    key(
        "limits.h2_continuations",
        Kind::Count(1, 1_000),
        "16",
        "HTTP/2: CONTINUATION frames of one header block; then the connection ends.",
    ),
    key(
        "limits.h2_window",
        Kind::Span(SECOND, HOUR),
        "\"10s\"",
        "HTTP/2: span over which resets and control frames are counted.",
    ),
    key(
        "limits.h2_progress",
        Kind::Span(SECOND, DAY),
        "\"1m\"",
        "HTTP/2: how often a stream that stays open makes a record of progress.",
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
        "limits.unsealed",
        Kind::Size(64 * MIB, 1024 * 1024 * MIB),
        "\"4GiB\"",
        "Write-ahead log that is not yet in segments; at the limit the ledger takes nothing more until it is. An edge \
         seals no segments: this is what it can keep while its core cannot be reached.",
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
