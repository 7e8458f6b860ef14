//! What delivery needs to know, and what can be wrong with it.

use crate::route::Route;
use countersign_event::Event;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use check::{Target, check};
pub use receivers::{Mail, Receiver, ReceiverKind, Syslog, SyslogBody};

mod check;
mod receivers;

/// Most queues: receivers, replicas and recipients together.
pub(crate) const RECEIVERS_MAX: usize = 64;
/// The receiver that always is there.
pub(crate) const LOG: &str = "log";

/// Renders a finding's explanation; `countersign_detect::explain`.
pub type Explain = fn(&Event) -> Option<String>;

/// Where findings go.
#[derive(Clone, Default)]
pub struct AlertConfig {
    /// Directory of the queue, `<data>/alert`; made if missing.
    pub dir: PathBuf,
    /// Key under which the queue is encrypted.
    pub key: [u8; 32],
    /// Receivers beside the log.
    pub webhooks: Vec<Webhook>,
    /// Address of the dashboard, for links in messages; may be empty.
    pub link: String,
    /// PEM file of the authorities of https receivers; `None` = the system's.
    pub ca: Option<PathBuf>,
    /// Puts findings into words; `None` = messages without an explanation.
    pub explain: Option<Explain>,
    /// Receivers of other kinds.
    pub receivers: Vec<Receiver>,
    /// Which receivers get what; `None` = every receiver gets everything.
    pub route: Option<Route>,
    /// Receiver that gets what another one has not taken for five minutes, or never will.
    pub fallback: Option<String>,
    /// Receiver that is told every minute that we are alive.
    pub watchdog: Option<String>,
}

/// One receiver by Standard Webhooks.
#[derive(Clone, Default)]
pub struct Webhook {
    /// Name in records, counters and the queue's directory: 1 to 64 letters, digits, `-`, `_`, `.`; empty =
    /// `webhook-1` and so on.
    pub name: String,
    /// `https://…` (or `http://…`). Redirects are not followed.
    pub url: String,
    /// `whsec_…` of 24 to 64 bytes: one, or two while rotating.
    pub secrets: Vec<String>,
}

/// Times, clock and chance. The defaults are those of the documentation; tests shorten them.
#[derive(Clone)]
pub struct Timing {
    /// Ceiling of the first wait; doubles with each attempt.
    pub retry_first: Duration,
    /// Largest ceiling.
    pub retry_max: Duration,
    /// A receiver's own `Retry-After` is honoured up to this.
    pub retry_after_max: Duration,
    /// Attempts end this long after the finding.
    pub give_up: Duration,
    /// A repeat of the same thing within this time is merged.
    pub repeat: Duration,
    /// How long the second message of a group waits for others, where its route says nothing.
    pub group_wait: Duration,
    /// Least time between messages of a group after that.
    pub group_interval: Duration,
    /// What fails for this long goes to the fallback receiver as well.
    pub fallback_after: Duration,
    /// How often the watchdog's message goes out.
    pub watchdog: Duration,
    /// How often an Alertmanager is told what is still open.
    pub refresh: Duration,
    /// Least time between two messages to one Slack address.
    pub slack_pace: Duration,
    /// Longest time to connect.
    pub connect: Duration,
    /// Longest time for the whole request.
    pub whole: Duration,
    /// Unix time in ns.
    pub now_ns: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// A number from 0 to its argument, all alike.
    pub jitter: Arc<dyn Fn(u64) -> u64 + Send + Sync>,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
            retry_after_max: Duration::from_secs(3600),
            give_up: Duration::from_secs(24 * 3600),
            repeat: Duration::from_secs(4 * 3600),
            group_wait: Duration::from_secs(10),
            group_interval: Duration::from_secs(300),
            fallback_after: Duration::from_secs(300),
            watchdog: Duration::from_secs(60),
            refresh: Duration::from_secs(45),
            slack_pace: Duration::from_secs(1),
            connect: Duration::from_secs(3),
            whole: Duration::from_secs(10),
            now_ns: Arc::new(crate::time::system_ns),
            jitter: Arc::new(crate::retry::system_jitter),
        }
    }
}

/// Why delivery could not start, or a dead letter not be sent again.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// A setting makes no sense. Never repeats a secret.
    #[error("{setting}: {why}")]
    Setting {
        /// The setting, as in the configuration file.
        setting: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A file of the queue.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no such dead letter or receiver.
    #[error("no dead letter {id} of receiver {receiver}; `alerts list` shows those there are")]
    Unknown {
        /// The receiver asked for.
        receiver: String,
        /// The message asked for.
        id: String,
    },
    /// There is no room to queue a dead letter again.
    #[error("the queue of receiver {receiver} is full; try again when it has drained")]
    Full {
        /// The receiver asked for.
        receiver: String,
    },
    /// There is no such matter, finding or silence.
    #[error("no {what} {id} is known here; `alerts list` shows those there are")]
    NotKnown {
        /// What was asked for.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// There is no room for another.
    #[error("{what} silences are the most; expire one first")]
    TooMany {
        /// The bound.
        what: usize,
    },
    /// Neither an operating system nor a key would lead here.
    #[error("alert queue: {0}")]
    Crypto(&'static str),
}
