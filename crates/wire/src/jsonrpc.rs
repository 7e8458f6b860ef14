//! JSON-RPC 2.0 messages in a stream of bytes, as the Model Context Protocol uses them: a message, a batch.
//!
//! Not a JSON library: the grammar of RFC 8259 is checked to the last byte, but of the values only those are
//! kept that a record needs (method, id, names, trace context), each within a named bound; of a call's
//! arguments only the names, while their bytes are handed on for a digest. Invariants: linear time, memory
//! bounded whatever is fed, any split of the bytes gives the same messages. Where two readers of the same
//! bytes may understand different things (duplicate keys, keys that differ by case, NUL in a text), the
//! message says so in its [`Flags`]; it is never decided here which of the readings is right.

mod place;
mod scan;

use std::fmt;

pub use scan::Reader;

/// Depth of nesting, containers.
pub const DEPTH_MAX: usize = 64;
/// Messages in one batch.
pub const BATCH_MAX: usize = 64;
/// Size of a message that is held for a verdict, bytes. Reading alone has no such bound.
pub const HELD_MAX: usize = 1 << 20;
/// Method, bytes.
pub const METHOD_MAX: usize = 128;
/// Request id as it was spelled, bytes.
pub const ID_MAX: usize = 256;
/// Name of a tool, prompt or task, bytes.
pub const NAME_MAX: usize = 1_024;
/// URI of a resource, bytes.
pub const URI_MAX: usize = 4_096;
/// Any other text that is kept (revision, names of programs, trace context), bytes.
pub const WORD_MAX: usize = 512;
/// Keys of a call's arguments that are kept, and the longest of them, bytes.
pub const ARGUMENT_KEYS_MAX: usize = 64;
/// See [`ARGUMENT_KEYS_MAX`].
pub const ARGUMENT_KEY_MAX: usize = 128;
/// Longest number, bytes; readers cut or round longer ones each in their own way.
pub const NUMBER_MAX: usize = 64;

/// A request's id, as it was spelled: `1`, `1.0` and `"1"` are three.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Id {
    /// The token of a number.
    Number(String),
    /// A string, without its quotes and escapes.
    Text(String),
    /// `null`; no request should have it.
    Null,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Number(token) => f.write_str(token),
            Id::Text(text) => write!(f, "\"{text}\""),
            Id::Null => f.write_str("null"),
        }
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has a method and an id: an answer is owed.
    Request,
    /// Has a method and no id.
    Notification,
    /// Has a result or an error.
    Response,
    /// None of these.
    Invalid,
}

/// Name and version of a program, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Name.
    pub name: Option<String>,
    /// Version.
    pub version: Option<String>,
}

/// One message. Texts are unescaped and within their bounds; nothing else of it was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `id`.
    pub id: Option<Id>,
    /// `method`.
    pub method: Option<String>,
    /// `params.name`.
    pub name: Option<String>,
    /// `params.uri`.
    pub uri: Option<String>,
    /// `params.ref.name`.
    pub ref_name: Option<String>,
    /// `params.ref.uri`.
    pub ref_uri: Option<String>,
    /// `params.taskId`.
    pub task: Option<String>,
    /// `params.requestId`: the request that a cancellation is about.
    pub about: Option<Id>,
    /// `params.progressToken` of a progress notification, or `params._meta.progressToken` of a request.
    pub progress: Option<Id>,
    /// Keys of `params.arguments`, in wire order.
    pub argument_keys: Vec<String>,
    /// Keys of `params.arguments` beyond [`ARGUMENT_KEYS_MAX`].
    pub argument_keys_more: u64,
    /// Whether `params.arguments` was there, so that its bytes were handed on.
    pub arguments: bool,
    /// `params._meta.traceparent`.
    pub traceparent: Option<String>,
    /// `params._meta.tracestate`.
    pub tracestate: Option<String>,
    /// Revision of the protocol that the message names, in whichever place it does.
    pub revision: Option<String>,
    /// The client, where the message names it.
    pub client: Program,
    /// The server, where the message names it.
    pub server: Program,
    /// Has `result`.
    pub result: bool,
    /// `result.isError`.
    pub is_error: Option<bool>,
    /// `result.resultType`.
    pub result_type: Option<String>,
    /// Has `error`.
    pub error: bool,
    /// `error.code`, as it was spelled.
    pub error_code: Option<String>,
    /// What readers may differ on.
    pub flags: Flags,
    /// Its length, bytes.
    pub size: u64,
}

impl Message {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match (&self.method, &self.id, self.result || self.error) {
            (Some(_), Some(_), false) => Kind::Request,
            (Some(_), None, false) => Kind::Notification,
            (None, _, true) => Kind::Response,
            _ => Kind::Invalid,
        }
    }
}

/// Things on which two readers of one message may differ, or that the protocol forbids.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u16);

impl Flags {
    /// A key that is read stands twice in its object, or a key of the arguments does.
    pub const DUPLICATE: Flags = Flags(1);
    /// A key differs from one that is read by the case of its letters only.
    pub const CASE: Flags = Flags(2);
    /// A kept text holds U+0000.
    pub const NUL: Flags = Flags(4);
    /// A kept text holds half of a surrogate pair.
    pub const SURROGATE: Flags = Flags(8);
    /// A kept text or number is longer than its bound.
    pub const LONG: Flags = Flags(16);
    /// A value that is read has another type than the protocol says.
    pub const TYPE: Flags = Flags(32);
    /// `jsonrpc` is not `"2.0"`.
    pub const VERSION: Flags = Flags(64);
    /// Neither request nor notification nor response, or several at once.
    pub const SHAPE: Flags = Flags(128);

    const NAMES: [(Flags, &'static str); 8] = [
        (Flags::DUPLICATE, "duplicate-key"),
        (Flags::CASE, "key-case"),
        (Flags::NUL, "nul"),
        (Flags::SURROGATE, "surrogate"),
        (Flags::LONG, "too-long"),
        (Flags::TYPE, "wrong-type"),
        (Flags::VERSION, "not-2.0"),
        (Flags::SHAPE, "shape"),
    ];

    pub(crate) fn set(&mut self, flag: Flags) {
        self.0 |= flag.0;
    }

    /// Whether `flag` is set.
    pub fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    /// Whether none is set.
    pub fn is_clear(self) -> bool {
        self.0 == 0
    }

    /// Whether two readers may take the message for different calls, so that no verdict on it can hold.
    pub fn ambiguous(self) -> bool {
        let fine = Flags::VERSION.0;
        self.0 & !fine != 0
    }

    /// Stable names of those that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::NAMES.iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| *name)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Why the bytes are not JSON-RPC. Reading ends there; complete messages before it stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The grammar of RFC 8259.
    Syntax,
    /// Bytes that are not UTF-8.
    Utf8,
    /// A control character in a string.
    Control,
    /// Deeper than [`DEPTH_MAX`].
    Depth,
    /// More messages than [`BATCH_MAX`].
    Batch,
    /// A value that is no object where a message stands.
    NotAMessage,
    /// Bytes after the end.
    Trailing,
    /// The end came too early.
    Truncated,
    /// Nothing but white space.
    Empty,
}

impl Fault {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Syntax => "json-syntax",
            Fault::Utf8 => "json-utf8",
            Fault::Control => "json-control",
            Fault::Depth => "json-depth",
            Fault::Batch => "jsonrpc-batch",
            Fault::NotAMessage => "jsonrpc-shape",
            Fault::Trailing => "json-trailing",
            Fault::Truncated => "json-truncated",
            Fault::Empty => "json-empty",
        }
    }
}

/// The messages of a whole document, for callers that have it at once. See [`Reader`] for streams.
///
/// # Errors
/// With the complete messages before it, the first fault.
pub fn read(bytes: &[u8]) -> (Vec<Message>, Result<(), Fault>) {
    let mut reader = Reader::default();
    reader.feed(bytes, &mut |_, _| {});
    let end = reader.finish();
    (reader.take(), end)
}
