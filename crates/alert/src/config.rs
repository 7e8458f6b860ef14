//! What delivery needs to know, and what can be wrong with it.

use crate::sign::Secret;
use countersign_event::Event;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Uri;

/// Most receivers.
pub(crate) const RECEIVERS_MAX: usize = 16;
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
    /// Neither an operating system nor a key would lead here.
    #[error("alert queue: {0}")]
    Crypto(&'static str),
}

/// A receiver that passed all checks.
pub(crate) struct Checked {
    pub(crate) name: String,
    pub(crate) url: Uri,
    pub(crate) secrets: Vec<Secret>,
}

/// Checks all receivers before anything starts.
pub(crate) fn check(webhooks: &[Webhook]) -> Result<Vec<Checked>, AlertError> {
    let wrong = |at: usize, key: &str, why: &str| AlertError::Setting {
        setting: format!("webhook[{at}].{key}"),
        why: why.to_owned(),
    };
    if webhooks.len() > RECEIVERS_MAX {
        return Err(wrong(RECEIVERS_MAX, "url", "more than 16 receivers"));
    }
    let mut checked: Vec<Checked> = Vec::new();
    for (at, webhook) in webhooks.iter().enumerate() {
        let name = if webhook.name.is_empty() { format!("webhook-{}", at + 1) } else { webhook.name.clone() };
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.len() > 64 || !name.bytes().all(fits) || name.starts_with('.') {
            return Err(wrong(at, "name", "is not 1 to 64 letters, digits, '-', '_' or '.'"));
        }
        if name == LOG || checked.iter().any(|c| c.name == name) {
            return Err(wrong(at, "name", "is taken; give each receiver its own"));
        }
        // The address may hold a secret, so errors do not repeat it.
        let url: Uri = webhook.url.parse().map_err(|_| wrong(at, "url", "is not a URL"))?;
        let http = matches!(url.scheme_str(), Some("http" | "https"));
        if !http || url.host().is_none_or(str::is_empty) {
            return Err(wrong(at, "url", "is not http:// or https:// with a host"));
        }
        if url.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(wrong(at, "url", "holds a user or password; messages are signed instead"));
        }
        if !(1..=2).contains(&webhook.secrets.len()) {
            return Err(wrong(at, "secrets", "needs one signing secret, or two while rotating"));
        }
        let secrets = webhook.secrets.iter().map(|s| Secret::parse(s));
        let secrets = secrets.collect::<Result<_, _>>().map_err(|why| wrong(at, "secrets", why))?;
        checked.push(Checked { name, url, secrets });
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook() -> Webhook {
        Webhook {
            name: String::new(),
            url: "https://alerts.example.org/hook?token=hush".into(),
            secrets: vec!["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3".into()],
        }
    }

    #[test]
    fn a_good_receiver_gets_a_name() {
        let checked = check(&[webhook(), webhook()]).unwrap();
        assert_eq!(checked.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["webhook-1", "webhook-2"]);
    }

    #[test]
    fn each_wrong_setting_is_named_and_no_secret_repeated() {
        type Change = fn(&mut Webhook);
        let cases: [(Change, &str); 9] = [
            (|w| w.url = "ftp://hush/".into(), "webhook[0].url"),
            (|w| w.url = "https://user:hush@example.org/".into(), "user or password"),
            (|w| w.url = "not a url hush".into(), "is not a URL"),
            (|w| w.url = "/hush".into(), "webhook[0].url"),
            (|w| w.name = "a/b".into(), "webhook[0].name"),
            (|w| w.name = "log".into(), "is taken"),
            (|w| w.secrets.clear(), "needs one signing secret"),
            (|w| w.secrets = vec!["hush".into()], "whsec_"),
            (|w| w.secrets = vec!["whsec_aHVzaA==".into()], "24 to 64 bytes"),
        ];
        for (change, want) in cases {
            let mut webhook = webhook();
            change(&mut webhook);
            let error = check(&[webhook]).err().unwrap().to_string();
            assert!(error.contains(want) && !error.contains("hush"), "{error}");
        }
    }
}
