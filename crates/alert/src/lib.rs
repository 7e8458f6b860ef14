//! Delivery of findings: to the log and by Standard Webhooks, with a queue that survives restarts.

#![allow(missing_docs, clippy::all, unused, clippy::allow_attributes_without_reason)]
use countersign_event::*;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    #[error("{setting}: {why}")]
    Setting { setting: String, why: String },
    #[error("{what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
}
/// One receiver by Standard Webhooks.
#[derive(Clone, Default)]
pub struct Webhook {
    /// Name in records and counters; empty = `webhook-1`, …
    pub name: String,
    pub url: String,
    /// `whsec_…`, one, or two while rotating.
    pub secrets: Vec<String>,
}
#[derive(Clone, Default)]
pub struct AlertConfig {
    /// Directory of the queue: `<data>/alert`.
    pub dir: PathBuf,
    /// Key of the queue at rest.
    pub key: [u8; 32],
    pub webhooks: Vec<Webhook>,
    /// Address of the dashboard, for links in messages; may be empty.
    pub link: String,
    /// PEM file of the authorities of https receivers; `None` = the system's.
    pub ca: Option<PathBuf>,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub fired: u64,
    pub merged: u64,
    pub delivered: u64,
    pub dead: u64,
    pub pending: u64,
    pub summarised: u64,
}
/// Gets each change of state as an event (rec platform); ver, agent, stream, seq and eid are the ledger's.
pub type OnState = Box<dyn Fn(Event) + Send + Sync>;

pub struct Alerts {}
impl Alerts {
    pub fn start(config: AlertConfig, on_state: OnState) -> Result<Alerts, AlertError> {
        Ok(Alerts {})
    }
    /// Queues a finding for all receivers; returns when it is on disk.
    pub fn fire(&self, finding: &Event, index: u64) {}
    pub fn counters(&self) -> Counters {
        Counters::default()
    }
    /// Stops; what is pending stays on disk.
    pub fn shutdown(&self) {}
}
