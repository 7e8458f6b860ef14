//! Keys of what is decided, detected, told and served, and the bounds.

use super::super::schema::{Key, Kind};
use super::{DAY, HOUR, MIB, SECOND, key};

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
        "limits.unsealed",
        Kind::Size(64 * MIB, 1024 * 1024 * MIB),
        "\"4GiB\"",
        "Write-ahead log that is not yet in segments; at the limit the ledger takes nothing more until it is. An edge \
         seals no segments, so this is all it can keep until a process with role all opens its data.",
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
