//! Findings become a few messages that people act on: merged, grouped, inhibited, silenced, routed and delivered, from
//! a queue on disk that survives restarts.
//!
//! Not detection, and not the record: a finding is in the ledger before it comes here. Invariants: at least
//! once, under one id; fired = delivered + merged + inhibited + silenced + dead + pending + summarised, always; nothing
//! is dropped unnamed; what waits on disk is encrypted; receivers come from configuration alone, never from event data.
//!
//! The way of a finding: `intake.rs` (merged, inhibited, silenced by `memory.rs`; routed by `route.rs`; grouped by
//! `group.rs`; all of it kept by `journal.rs`) → `notice.rs` (what is told) → `queue.rs` (on disk) → `worker.rs` (tried,
//! retried, dead) → `send.rs` (in the form that `render/` gives it).

mod alerts;
mod config;
mod counters;
mod dial;
mod feedback;
mod filter;
pub mod fuzz;
mod group;
mod inhibit;
mod intake;
mod journal;
mod log;
mod matcher;
mod memory;
mod message;
mod notice;
mod people;
mod queue;
mod receiver;
mod render;
mod retry;
mod route;
mod seal;
mod send;
mod sign;
mod silence;
mod smtp;
mod state;
mod subject;
mod time;
mod trouble;
mod watch;
mod wire;
mod worker;

pub use alerts::Alerts;
pub use config::{
    AlertConfig, AlertError, Explain, Mail, Receiver, ReceiverKind, Syslog, SyslogBody, Timing, Webhook,
};
pub use counters::{Counters, ReceiverStatus};
pub use feedback::{ANSWERS_MAX, ANSWERS_MIN, Answer, Answers, Opinion, Precision, RULES_MAX, wilson};
pub use filter::{FILTER_MAX, FilterError, Proposal, propose, would_hide_true};
pub use group::{AT_ONCE_MAX, GROUPS_MAX};
pub use inhibit::{CHILD_RULES, INTEGRITY_RULES, PARENT_RULE, PARENTS_MAX, is_integrity};
pub use journal::{JOURNAL_MAX_BYTES, SNAPSHOT_EVERY};
pub use matcher::{Match, PATTERN_MAX_BYTES};
pub use memory::MATTERS_MAX;
pub use people::OpenMatter;
pub use queue::DeadLetter;
pub use route::{GroupBy, ROUTES_DEEP_MAX, ROUTES_MAX, Route};
pub use sign::{Secret, signature};
pub use silence::{Ack, BY_MAX_BYTES, SILENCE_MAX, SILENCES_MAX, Silence, WHY_MAX_BYTES};
pub use smtp::{REPLY_LINE_MAX_BYTES, REPLY_LINES_MAX};
pub use state::{OnState, detail};
pub use subject::Subject;
pub use trouble::RECEIVER_RULE;
