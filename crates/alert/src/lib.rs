//! Delivery of findings: to the log, and by Standard Webhooks, from a queue on disk that survives restarts.
//!
//! Not detection, and not the record: a finding is in the ledger before it comes here. Invariants: at least
//! once, under one id; fired = delivered + merged + dead + pending + summarised, always; nothing is dropped
//! unnamed; what waits on disk is encrypted; receivers come from configuration alone, never from event data.
//!
//! The way of a finding: `message.rs` (what is sent) → `alerts.rs` (merged or queued) → `queue.rs` (on disk) →
//! `worker.rs` (tried, retried, dead) → `send.rs` (HTTP, signed by `sign.rs`).

mod alerts;
mod config;
mod counters;
pub mod fuzz;
mod merge;
mod message;
mod queue;
mod receiver;
mod retry;
mod seal;
mod send;
mod sign;
mod state;
mod time;
mod worker;

pub use alerts::Alerts;
pub use config::{AlertConfig, AlertError, Explain, Timing, Webhook};
pub use counters::{Counters, ReceiverStatus};
pub use queue::DeadLetter;
pub use sign::{Secret, signature};
pub use state::{OnState, detail};
