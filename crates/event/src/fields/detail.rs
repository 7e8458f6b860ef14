//! Keys of 5.0 `detail`, by kind. Append only.

use super::{Key, keys};
use crate::Kind;

keys! {
    /// Kind `http`.
    http { SCHEME = 0 "scheme" "t", QUERY_KEYS = 1 "query_keys" "[t]", AUTH_SCHEME = 2 "auth_scheme" "t",
        UPGRADE = 3 "upgrade" "t" }
    /// Kinds `grpc` and `rpc`.
    rpc { SENT = 0 "sent" "u", RECEIVED = 1 "received" "u", DEADLINE = 2 "deadline" "u ns", RESET = 3 "reset" "u" }
    /// Kind `sql`.
    sql { ROWS = 0 "rows" "u", AFFECTED = 1 "affected" "u", PREPARED = 2 "prepared" "t", TX = 3 "tx" "t",
        TX_STATUS = 4 "tx_status" "t", COLUMNS = 5 "columns" "[t]", COPY_BYTES = 6 "copy_bytes" "u",
        NOT_RUN = 7 "not_run" "bool", UNKNOWN = 8 "statement_unknown" "bool",
        INCOMPLETE = 9 "sql_incomplete" "bool", PARTIAL = 10 "portal_partial" "bool",
        PORTAL_ROWS = 11 "portal_rows" "u", COPY_WAY = 12 "copy_way" "t", COPY_DIGEST = 13 "copy_digest" "b32",
        COPY_MESSAGES = 14 "copy_messages" "u", COPY_FAILED = 15 "copy_failed" "bool",
        LSN_FROM = 16 "lsn_from" "t", LSN_TO = 17 "lsn_to" "t", FUNCTION = 18 "function" "u",
        STEP = 19 "step" "t", METHOD = 20 "auth_method" "t", APPLICATION = 21 "application" "t",
        PID = 22 "server_pid" "u", REPLICATION = 23 "replication" "t", STATEMENT_DIGEST = 24 "statement_digest" "b32",
        STATEMENT_BYTES = 25 "statement_bytes" "u", KEY_UNKNOWN = 26 "cancel_key_unknown" "bool" }
    /// Kind `kv`.
    kv { DB = 0 "db" "u", KEYS_COUNT = 1 "keys" "u", REPLY = 2 "reply" "t", SCRIPT = 3 "script" "t",
        ELEMENTS = 4 "elements" "u", MULTI = 5 "multi" "u", FUNCTION = 6 "function" "t", CLIENT = 7 "client" "t",
        ENDING = 8 "ending" "t", ARGUMENTS = 9 "arguments" "u", KEYS_INCOMPLETE = 10 "keys_incomplete" "bool",
        UP = 11 "replicated_up" "u", DOWN = 12 "replicated_down" "u", PATTERN = 13 "pattern" "t" }
    /// Kind `messaging`.
    messaging { PARTITION = 0 "partition" "u", OFFSET = 1 "offset" "u", KEY_HASH = 2 "key_hash" "b16",
        QOS = 3 "qos" "u", RETAIN = 4 "retain" "bool", GROUP = 5 "group" "t", EXCHANGE = 6 "exchange" "t",
        RECORDS = 7 "records" "u" }
    /// Kind `dns`.
    dns { QTYPE = 0 "qtype" "u", RCODE = 1 "rcode" "u", ANSWERS = 2 "answers" "[t]" }
    /// Kind `tool`.
    tool { NAME = 0 "name" "t", SERVER = 1 "server" "t", ARGUMENT_KEYS = 2 "argument_keys" "[t]",
        ARGUMENT_DIGEST = 3 "argument_digest" "b32", IS_ERROR = 4 "is_error" "bool", MISMATCH = 5 "mismatch" "bool" }
    /// Kind `k8s_api`.
    k8s_api { API_GROUP = 0 "api_group" "t", VERSION = 1 "version" "t", SUBRESOURCE = 2 "subresource" "t",
        DRY_RUN = 3 "dry_run" "bool" }
    /// Kind `cloud_api`.
    cloud_api { READ_ONLY = 0 "read_only" "bool", SOURCE = 1 "source" "t", ERROR = 2 "error" "t" }
    /// Kind `l4`.
    /// Those from `witness` on are of what a witness saw (`crate::witness`).
    l4 { UP = 0 "up" "u", DOWN = 1 "down" "u", FIRST_BYTES = 2 "first_bytes" "t", WITNESS = 3 "witness" "t",
        BEGAN = 4 "began" "bool", OPEN = 5 "open" "[connection]", ENDED = 6 "ended" "[connection]",
        UNLISTED = 7 "unlisted" "u" }
    /// Kind `auth`.
    auth { STEP = 0 "step" "t", FACTOR = 1 "factor" "t" }
}

/// Name and keys of each table, in the order of the documentation.
pub const TABLES: &[(&str, &[Key])] = &[
    ("http", http::KEYS),
    ("rpc", rpc::KEYS),
    ("sql", sql::KEYS),
    ("kv", kv::KEYS),
    ("messaging", messaging::KEYS),
    ("dns", dns::KEYS),
    ("tool", tool::KEYS),
    ("k8s_api", k8s_api::KEYS),
    ("cloud_api", cloud_api::KEYS),
    ("l4", l4::KEYS),
    ("auth", auth::KEYS),
];

/// The keys registered for `kind`; empty for a kind without any.
pub fn keys_of(kind: Option<Kind>) -> &'static [Key] {
    match kind {
        Some(Kind::Http) => http::KEYS,
        Some(Kind::Grpc | Kind::Rpc) => rpc::KEYS,
        Some(Kind::Sql) => sql::KEYS,
        Some(Kind::Kv) => kv::KEYS,
        Some(Kind::Messaging) => messaging::KEYS,
        Some(Kind::Dns) => dns::KEYS,
        Some(Kind::Tool) => tool::KEYS,
        Some(Kind::K8sApi) => k8s_api::KEYS,
        Some(Kind::CloudApi) => cloud_api::KEYS,
        Some(Kind::L4) => l4::KEYS,
        Some(Kind::Auth) => auth::KEYS,
        _ => &[],
    }
}
