//! What the gateway knows about the text of SQL statements (PostgreSQL's dialect): where they end, what
//! class they are of, which tables they name, what they do to the session, how they read without their
//! literals.
//!
//! Not a parser and not a validator: the server refuses what is wrong; here every text gets an answer, in
//! linear time, without recursion, and a doubt is answered with "unknown". The public grammar crates were
//! tried for this and left out: `sqlparser` 0.62 takes time exponential in the depth of nested calls
//! (`f(f(f(…` of 20 levels: 3 s), which a client could use to stop the decoder; the tests compare with it
//! instead.
//!
//! A class is proved from the text alone: names that look like the server's own functions are taken for
//! them, and what the catalog hides (views over functions, triggers, rules, operators and casts of the user,
//! a `search_path` that puts `pg_catalog` last) is not seen.

mod functions;
mod lex;
mod normal;
mod objects;
mod query;
mod secret;
mod split;
mod statement;
mod tags;
mod view;

pub use lex::IDENTIFIER_MAX;
pub use normal::STATEMENT_MAX;
pub use query::{CTES_MAX, DEPTH_MAX};
pub use tags::{TAG_KEY_MAX, TAG_VALUE_MAX, TAGS_MAX};
pub use view::TOKENS_MAX;

use crate::stream::OpClass;
use std::ops::Range;

/// Most tables named in a [`Statement`]; with more it is `incomplete`.
pub const TABLES_MAX: usize = 64;

/// Where the statements of a simple-query string lie in `text`, comments around them included, without the
/// semicolon. Empty statements are left out. `standard_conforming`: the session's
/// `standard_conforming_strings`.
pub fn split(text: &str, standard_conforming: bool) -> Vec<Range<usize>> {
    split::split(text, standard_conforming)
}

/// What one statement is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Class, if it is proved; never `Read` by default.
    pub class: Option<OpClass>,
    /// Native verb of the strongest effect, or `other`. Never text of the user.
    pub operation: &'static str,
    /// Tables by their names in the text, in order of appearance, at most [`TABLES_MAX`]. Names of `WITH`
    /// queries are none.
    pub tables: Vec<Table>,
    /// What it does to the session.
    pub effect: Option<Effect>,
    /// Whether the text was not understood as a whole: not well-formed, too deep or too long, or a statement
    /// that is not known. The class is then that of the leading words, and neither `Read` nor `Meta`.
    pub incomplete: bool,
    /// Whether its literals hold a password, a key or a connection string by their place. Neither the raw
    /// text nor parameters may be kept.
    pub carries_secret: bool,
}

impl Default for Statement {
    fn default() -> Self {
        Statement {
            class: None,
            operation: "other",
            tables: Vec::new(),
            effect: None,
            incomplete: false,
            carries_secret: false,
        }
    }
}

/// A table as a statement names it, folded as the server folds names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Schema; empty if the name has none.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Whether the statement changes it or its definition.
    pub written: bool,
}

/// What a statement does to the session, if it succeeds. Names are folded and cut as the server does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the SQL commands")]
pub enum Effect {
    /// `body`: the prepared statement's bytes in the text.
    Prepare {
        name: String,
        body: Range<usize>,
    },
    ExecutePrepared {
        name: String,
    },
    Deallocate {
        name: String,
    },
    DeallocateAll,
    DiscardAll,
    Begin,
    Commit,
    Rollback,
    Savepoint {
        name: String,
    },
    Release {
        name: String,
    },
    RollbackTo {
        name: String,
    },
    PrepareTransaction,
    CommitPrepared,
    RollbackPrepared,
    Listen {
        channel: String,
    },
    /// `None` = all channels.
    Unlisten {
        channel: Option<String>,
    },
    Notify {
        channel: String,
    },
    /// Rows follow from the client.
    CopyIn,
    /// Rows follow from the server.
    CopyOut,
    /// A program runs on the server.
    CopyProgram,
    SetStandardConforming(bool),
    DeclareCursor {
        name: String,
    },
    /// `FETCH` or `MOVE`: runs the query of a cursor, whose class may be more than `Read`.
    Fetch {
        name: String,
    },
    /// `None` = all cursors.
    CloseCursor {
        name: Option<String>,
    },
}

/// Classifies one statement (a range of [`split`], or the text of a Parse message).
pub fn classify(text: &str, standard_conforming: bool) -> Statement {
    statement::classify(text, standard_conforming)
}

/// A statement without its literals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalised {
    /// At most [`STATEMENT_MAX`] bytes.
    pub text: String,
    /// Length of the original text in bytes, if the normalised one was cut.
    pub truncated: Option<u64>,
}

/// `text` with `?` for every literal and for lists of them, without comments, white space folded.
/// Identifiers and `$n` stay. No byte of a literal is in it, even if `text` is no SQL: from an unterminated
/// string on, all is one `?`.
pub fn normalise(text: &str, standard_conforming: bool) -> Normalised {
    normal::normalise(text, standard_conforming)
}

/// Canonical form to digest: as [`normalise`], and unquoted words in lower case, one space between tokens,
/// parameters without their numbers. At most [`STATEMENT_MAX`] bytes.
pub fn shape(text: &str, standard_conforming: bool) -> String {
    normal::shape(text, standard_conforming)
}

/// Pairs in comments: sqlcommenter (`/*traceparent='00-…'*/`) and marginalia (`/*app:shop*/`), at most
/// [`TAGS_MAX`].
pub fn comment_tags(text: &str) -> Vec<(String, String)> {
    tags::comment_tags(text)
}
