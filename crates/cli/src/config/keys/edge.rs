//! Keys of an edge that ships its records to a core.

use super::super::schema::{Key, Kind};
use super::{HOUR, MIB, key, required};

/// In the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    required(
        "edge.name",
        Kind::Text,
        "Name of this edge, 1 to 64 letters, digits, ., - and _. Under role edge its records' agents are edge:NAME/ and \
         what recorded them, so that a core tells its edges apart.",
    ),
    required(
        "edge.core",
        Kind::Url,
        "Where the core listens, https://HOST:PORT, port 4319 where none is given.",
    ),
    key("edge.ca", Kind::Path, "", "PEM with the authorities that the core's certificate must come from."),
    key("edge.cert", Kind::Path, "", "PEM certificate chain that the core knows this edge by."),
    key("edge.key", Kind::Path, "", "PEM private key of the certificate."),
    key(
        "edge.svid",
        Kind::Text,
        "",
        "Instead of cert and key: the SVID from identity.workload_api with this id, or first.",
    ),
    key("edge.bundles", Kind::Bool, "false", "Instead of ca: the bundles of identity.workload_api."),
    key(
        "edge.core_ids",
        Kind::Texts,
        "[]",
        "The core is known by one of these SPIFFE ids or trust domains, not by its host's name.",
    ),
    key(
        "edge.retry_max",
        Kind::Span(100, HOUR),
        "\"30s\"",
        "Longest pause between two attempts while the core cannot be reached. Records wait in the ledger, whose bound \
         is limits.unsealed.",
    ),
    key(
        "edge.keep",
        Kind::Size(0, 1024 * 1024 * MIB),
        "\"256MiB\"",
        "Bytes of the ledger's write-ahead log that stay although the core has them; above it the oldest shipped parts \
         are retired, each with an entry of the edge's own log. What is kept can be offered again to a core that lost it.",
    ),
];
