//! What a [`super::Session`] tells: one [`Message`] for each thing that deserves a record.
//!
//! Times are the caller's own, ns. Texts of peers are as they were sent, made UTF-8 and cut to named bounds;
//! the caller cleans them.

use super::statement::{Portal, Statement};
use crate::trace::TraceContext;
use std::sync::Arc;

/// Something that deserves a record.
#[derive(Debug)]
pub enum Message {
    /// The login has ended, one way or the other.
    Opened(Box<Opened>),
    /// The server asked for a password in clear text.
    ClearText {
        /// When.
        at: u64,
    },
    /// The key under which this session can be cancelled. Not a record: for pairing cancellations.
    Key {
        /// Process id of the server's session.
        pid: u32,
        /// The secret.
        key: Vec<u8>,
    },
    /// This connection cancels another's statement.
    Cancel {
        /// When.
        at: u64,
        /// Process id of the server's session.
        pid: u32,
        /// The secret.
        key: Vec<u8>,
    },
    /// A statement, a call, or a message that failed before it came to one.
    Executed(Box<Executed>),
    /// Another session's NOTIFY arrived.
    Notified {
        /// When.
        at: u64,
        /// Channel.
        channel: String,
        /// Bytes of its payload.
        payload: u64,
        /// Process id of the session that sent it.
        pid: u32,
    },
    /// A long copy is still running.
    Progress(Box<Executed>),
    /// The two directions do not fit together any more; nothing after this is told.
    Lost {
        /// When.
        at: u64,
        /// Why.
        why: &'static str,
    },
}

/// How a login went.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// When the start-up packet came, and when the session was ready or refused.
    pub at: (u64, u64),
    /// Role.
    pub user: String,
    /// Database; the role's name where the client named none.
    pub database: String,
    /// `application_name` of the start-up packet.
    pub application: String,
    /// `replication` of the start-up packet; empty = an ordinary session.
    pub replication: String,
    /// Protocol version, major and minor.
    pub version: (u16, u16),
    /// How the role was proved: `trust`, `password`, `md5`, `scram-sha-256`, `scram-sha-256-plus`, `gss`, `sspi`;
    /// empty = not known.
    pub method: &'static str,
    /// Whether the server accepted it.
    pub accepted: bool,
    /// Process id of the server's session.
    pub pid: Option<u32>,
    /// Why not.
    pub failure: Option<Error>,
}

/// An ErrorResponse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Error {
    /// SQLSTATE.
    pub state: String,
    /// Message, at most [`ERROR_TEXT_MAX`] bytes; may quote data.
    pub text: String,
    /// Whether the session ended with it.
    pub fatal: bool,
}

/// Longest text of an error that is kept, bytes.
pub const ERROR_TEXT_MAX: usize = 1_024;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A statement of a simple Query.
    Simple,
    /// An Execute.
    Extended,
    /// A Parse that failed.
    Parse,
    /// A Bind that failed.
    Bind,
    /// A Describe that failed.
    Describe,
    /// A Close that failed.
    Close,
    /// The end of an implicit transaction that failed.
    Sync,
    /// A FunctionCall.
    Function,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server completed it.
    Done,
    /// The server reported an error.
    Failed,
    /// The server never ran it, since something before it failed.
    NotRun,
    /// The connection ended before the server's answer.
    Unknown,
    /// It has not ended: a progress record.
    Running,
}

/// One statement that ran, or should have.
#[derive(Clone, Debug)]
pub struct Executed {
    /// What it is.
    pub form: Form,
    /// How it ended.
    pub end: End,
    /// The statement; `None` = one that this side has never seen.
    pub statement: Option<Arc<Statement>>,
    /// The statement that an SQL-level EXECUTE ran.
    pub inner: Option<Arc<Statement>>,
    /// The portal of an Execute.
    pub portal: Option<Arc<Portal>>,
    /// Name of the prepared statement, of the extended protocol or of SQL; empty = none.
    pub prepared: String,
    /// OID of the function of a FunctionCall.
    pub function: Option<u32>,
    /// When its message came, the first byte of the answer, and its end.
    pub at: (u64, Option<u64>, u64),
    /// Rows that came back.
    pub rows: u64,
    /// Rows that the completion tag tells.
    pub tag_rows: Option<u64>,
    /// Completion tag without numbers: `INSERT`, `COPY`; empty = none came.
    pub tag: String,
    /// The row limit was reached; the portal goes on.
    pub suspended: bool,
    /// Rows of the portal over all Executes.
    pub portal_rows: u64,
    /// Bytes of the messages up (those of this one) and down (all of the answer).
    pub bytes: (u64, u64),
    /// A copy that was part of it.
    pub copy: Option<Copy>,
    /// The server's error.
    pub error: Option<Error>,
    /// Transaction state after it: `I`dle, in a `T`ransaction, or in one that has failed (`E`); 0 = not known.
    pub state: u8,
    /// Number of the transaction on this connection, from 1.
    pub transaction: u64,
    /// What was decided about its message before it passed.
    pub judged: Option<Judged>,
    /// Number of its message on this connection, from 1.
    pub number: u64,
    /// Trace context in `application_name` when its message came and still when it ended.
    pub carried: Option<TraceContext>,
}

/// A verdict on a message, as the caller told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The caller's own name for it.
    pub token: u64,
    /// A message that must fail took its place.
    pub denied: bool,
}

impl Executed {
    /// A message of `form` that came at `t` and has not been answered.
    pub(super) fn new(form: Form, number: u64, judged: Option<Judged>, t: u64, bytes: u64) -> Executed {
        Executed {
            form,
            end: End::Unknown,
            statement: None,
            inner: None,
            portal: None,
            prepared: String::new(),
            function: None,
            at: (t, None, t),
            rows: 0,
            tag_rows: None,
            tag: String::new(),
            suspended: false,
            portal_rows: 0,
            bytes: (bytes, 0),
            copy: None,
            error: None,
            state: 0,
            transaction: 0,
            judged,
            number,
            carried: None,
        }
    }
}

/// Direction of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyWay {
    /// FROM STDIN.
    In,
    /// TO STDOUT.
    Out,
    /// Both ways: replication.
    Both,
}

/// A copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Direction.
    pub way: CopyWay,
    /// CopyData messages up and down. One down is one row in the text and CSV formats.
    pub messages: (u64, u64),
    /// Bytes of copy data up and down.
    pub bytes: (u64, u64),
    /// Keyed digest of the copy data of both directions, in the order seen.
    pub digest: Option<[u8; 32]>,
    /// The client gave up (CopyFail).
    pub failed: bool,
    /// First and last position in the write-ahead log, of a replication stream.
    pub lsn: Option<(u64, u64)>,
}
