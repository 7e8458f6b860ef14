//! HTTP/1.0 and 1.1 (RFC 9110, 9112).
//!
//! [`Framer`] runs inline: it finds where messages begin and end in both directions, pairs responses to
//! requests, and refuses every form that two readers might understand differently ([`Rule`]). It never
//! normalises: bytes are either let through as they came, or refused. [`fields`] reads a head that the
//! framer let through, off the path.
//!
//! Invariants: time is linear in the bytes fed; any split of a byte stream gives the same messages; the
//! framer itself holds no bytes, and asks its caller to hold at most one head, chunk line or trailer
//! section ([`HEAD_MAX`]) a direction.

mod body;
pub mod fields;
mod framer;
mod head;
pub mod target;

pub use framer::{Eof, Framer, Piece, PieceKind};

/// Largest head (start line and fields), and largest trailer section, in bytes.
pub const HEAD_MAX: usize = 64 << 10;
/// Most fields in one head or trailer section.
pub const FIELDS_MAX: usize = 100;
/// Longest chunk-size line with its extensions, in bytes.
pub const CHUNK_LINE_MAX: usize = 4096;
/// Most requests open on one connection; at the bound the caller stops reading.
pub const PIPELINE_MAX: usize = 64;
/// Most interim (1xx) responses to one request.
pub const INTERIM_MAX: u32 = 100;

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// Why a message was refused. Its name stands in the record of the refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule { $($(#[$doc])* $variant),+ }
        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Rule] = &[$(Rule::$variant),+];
            /// Stable name, `cl-te`.
            pub fn name(self) -> &'static str {
                match self { $(Rule::$variant => $name),+ }
            }
        }
    };
}

rules! {
    /// Both `Content-Length` and `Transfer-Encoding`.
    ClTe = "cl-te",
    /// More than one `Content-Length` field, whether equal or not.
    ClDuplicate = "cl-duplicate",
    /// `Content-Length` with a list of values.
    ClList = "cl-list",
    /// `Content-Length` with a sign, a space, another character, or beyond 2^63.
    ClInvalid = "cl-invalid",
    /// More than one `Transfer-Encoding` field.
    TeDuplicate = "te-duplicate",
    /// `Transfer-Encoding` whose last coding is not `chunked`.
    TeNotChunked = "te-not-chunked",
    /// `Transfer-Encoding` with a coding other than `chunked`.
    TeUnknown = "te-unknown",
    /// `Transfer-Encoding` in HTTP/1.0.
    TeHttp10 = "te-http10",
    /// A field such as `Content_Length`, which some servers read as the framing field.
    FramingAlias = "framing-alias",
    /// A tab before the value of a request's framing field, or white space behind it. Servers differ in what
    /// they strip.
    FramingSpace = "framing-space",
    /// A line that ends in LF alone.
    BareLf = "bare-lf",
    /// CR that is not followed by LF.
    BareCr = "bare-cr",
    /// An empty line before the start line.
    EmptyLine = "empty-line",
    /// A field continued on the next line.
    ObsFold = "obs-fold",
    /// White space between field name and colon.
    SpaceBeforeColon = "space-before-colon",
    /// A field name that is no token, or a line without a colon.
    FieldName = "field-name",
    /// A NUL in the head.
    Nul = "nul",
    /// A field value with a control character.
    FieldValue = "field-value",
    /// A request line that is not `method SP target SP version`.
    RequestLine = "request-line",
    /// A request target with characters that no target may have.
    TargetChars = "target-chars",
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version = "version",
    /// HTTP/1.1 without `Host`.
    HostMissing = "host-missing",
    /// More than one `Host`.
    HostDuplicate = "host-duplicate",
    /// `Host` with characters that no authority has.
    HostInvalid = "host-invalid",
    /// The authority of an absolute-form target differs from `Host`.
    AbsoluteFormMismatch = "absolute-form-mismatch",
    /// A target in a form that its method does not allow.
    TargetForm = "target-form",
    /// Head larger than [`HEAD_MAX`].
    HeadTooLarge = "head-too-large",
    /// More fields than [`FIELDS_MAX`].
    TooManyFields = "too-many-fields",
    /// Chunk size that is not bare hexadecimal, or junk in its extensions.
    ChunkSize = "chunk-size",
    /// Chunk size beyond 2^63.
    ChunkOverflow = "chunk-overflow",
    /// Chunk line longer than [`CHUNK_LINE_MAX`].
    ChunkLine = "chunk-line-too-long",
    /// Chunk data not followed by CR LF.
    ChunkEnd = "chunk-end",
    /// A framing or routing field in the trailer section.
    TrailerForbidden = "trailer-forbidden",
    /// Stream ended inside a message head.
    TruncatedHead = "truncated-head",
    /// Stream ended inside a message body.
    TruncatedBody = "truncated-body",
    /// Status line that is not `version SP 3DIGIT [SP reason]`.
    StatusLine = "status-line",
    /// Bytes behind a request that said it was the connection's last (RFC 9112 section 9.6).
    AfterLast = "after-last-request",
    /// Bytes from the server when no request was open.
    Unsolicited = "unsolicited-response",
    /// A body where none may be: 1xx, 204, CONNECT, TRACE.
    BodyNotAllowed = "body-not-allowed",
    /// 101 that no request asked for, or before the request had ended.
    UnexpectedSwitch = "unexpected-switch",
    /// More than [`INTERIM_MAX`] interim responses.
    TooManyInterim = "too-many-interim",
    /// Head not complete in time. Judged by the caller, who has the clock.
    HeadTimeout = "head-timeout",
    /// Body slower than the least rate. Judged by the caller.
    BodyTimeout = "body-timeout",
}

impl Rule {
    /// Status of the answer to a refused request.
    pub fn status(self) -> u16 {
        match self {
            Rule::HeadTooLarge | Rule::TooManyFields => 431,
            Rule::HeadTimeout | Rule::BodyTimeout => 408,
            Rule::Version => 505,
            _ => 400,
        }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
