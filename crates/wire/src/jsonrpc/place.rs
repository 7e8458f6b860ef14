//! Which values of a message are read: a table from (object, key) to the value's place.

use super::{ID_MAX, METHOD_MAX, NAME_MAX, URI_MAX, WORD_MAX};

/// The place of a value. Below 64, so that a bit tells which of an object's keys were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Place {
    /// The document.
    Root,
    Batch,
    Message,
    /// Anything that is not read.
    Other,
    Version,
    Id,
    Method,
    Params,
    Result,
    Error,
    Name,
    Uri,
    Arguments,
    Meta,
    Revision,
    Client,
    About,
    Progress,
    Ref,
    RefName,
    RefUri,
    Task,
    TraceParent,
    TraceState,
    MetaProgress,
    ClientName,
    ClientVersion,
    IsError,
    Server,
    ServerName,
    ServerVersion,
    ResultType,
    ResultMeta,
    ErrorCode,
}

/// What a value at a place must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Any,
    Object,
    /// A string of at most so many bytes.
    Text(usize),
    Bool,
    Number,
    /// String, number or null.
    Id,
}

const MESSAGE: &[(&str, Place)] = &[
    ("jsonrpc", Place::Version),
    ("id", Place::Id),
    ("method", Place::Method),
    ("params", Place::Params),
    ("result", Place::Result),
    ("error", Place::Error),
];
const PARAMS: &[(&str, Place)] = &[
    ("name", Place::Name),
    ("uri", Place::Uri),
    ("arguments", Place::Arguments),
    ("_meta", Place::Meta),
    ("protocolVersion", Place::Revision),
    ("clientInfo", Place::Client),
    ("requestId", Place::About),
    ("progressToken", Place::Progress),
    ("ref", Place::Ref),
    ("taskId", Place::Task),
];
const META: &[(&str, Place)] = &[
    ("traceparent", Place::TraceParent),
    ("tracestate", Place::TraceState),
    ("progressToken", Place::MetaProgress),
    ("io.modelcontextprotocol/protocolVersion", Place::Revision),
    ("io.modelcontextprotocol/clientInfo", Place::Client),
];
const REF: &[(&str, Place)] = &[("name", Place::RefName), ("uri", Place::RefUri)];
const CLIENT: &[(&str, Place)] = &[("name", Place::ClientName), ("version", Place::ClientVersion)];
const SERVER: &[(&str, Place)] = &[("name", Place::ServerName), ("version", Place::ServerVersion)];
const RESULT: &[(&str, Place)] = &[
    ("isError", Place::IsError),
    ("protocolVersion", Place::Revision),
    ("serverInfo", Place::Server),
    ("resultType", Place::ResultType),
    ("_meta", Place::ResultMeta),
];
const RESULT_META: &[(&str, Place)] = &[("io.modelcontextprotocol/serverInfo", Place::Server)];
const ERROR: &[(&str, Place)] = &[("code", Place::ErrorCode)];

/// Longest key of any table: a longer one is none of them.
pub(super) const KEY_MAX: usize = 48;

impl Place {
    /// The keys that are read of an object here.
    fn keys(self) -> &'static [(&'static str, Place)] {
        match self {
            Place::Message => MESSAGE,
            Place::Params => PARAMS,
            Place::Meta => META,
            Place::Ref => REF,
            Place::Client => CLIENT,
            Place::Server => SERVER,
            Place::Result => RESULT,
            Place::ResultMeta => RESULT_META,
            Place::Error => ERROR,
            _ => &[],
        }
    }

    /// The place of the value under `key`, and whether the key is only alike (by case).
    pub(super) fn child(self, key: &str) -> (Place, bool) {
        let keys = self.keys();
        if let Some((_, place)) = keys.iter().find(|(k, _)| *k == key) {
            return (*place, false);
        }
        // Some readers match keys of the message itself without regard to case.
        let strict = matches!(self, Place::Message | Place::Params | Place::Error);
        let alike = strict && keys.iter().any(|(k, _)| k.eq_ignore_ascii_case(key));
        (Place::Other, alike)
    }

    /// Whether its keys have to be looked at.
    pub(super) fn has_keys(self) -> bool {
        !self.keys().is_empty()
    }

    /// What stands here.
    pub(super) fn wants(self) -> Wants {
        match self {
            Place::Root | Place::Batch | Place::Other | Place::Arguments | Place::Result => Wants::Any,
            Place::Message | Place::Params | Place::Error | Place::Meta | Place::Ref => Wants::Object,
            Place::Client | Place::Server | Place::ResultMeta => Wants::Object,
            Place::Version => Wants::Text(8),
            Place::Method => Wants::Text(METHOD_MAX),
            Place::Name | Place::RefName | Place::Task => Wants::Text(NAME_MAX),
            Place::Uri | Place::RefUri => Wants::Text(URI_MAX),
            Place::Id | Place::About | Place::Progress | Place::MetaProgress => Wants::Id,
            Place::IsError => Wants::Bool,
            Place::ErrorCode => Wants::Number,
            Place::Revision | Place::TraceParent | Place::TraceState | Place::ResultType => {
                Wants::Text(WORD_MAX)
            }
            Place::ClientName | Place::ClientVersion | Place::ServerName | Place::ServerVersion => {
                Wants::Text(WORD_MAX)
            }
        }
    }

    /// Most bytes of a string here that are kept.
    pub(super) fn text_max(self) -> usize {
        match self.wants() {
            Wants::Text(max) => max,
            Wants::Id => ID_MAX,
            _ => 0,
        }
    }

    /// Its bit among the seen ones.
    pub(super) fn bit(self) -> u64 {
        1 << (self as u8)
    }
}
