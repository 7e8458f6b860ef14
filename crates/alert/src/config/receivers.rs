//! Receivers beside webhooks, as configured.

/// A receiver with its name.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Name in routes, records, counters and the queue's directory: 1 to 64 letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Where to, and how.
    pub kind: ReceiverKind,
}

/// A kind of receiver. Addresses may hold secrets, so no error repeats them.
#[derive(Clone)]
pub enum ReceiverKind {
    /// Standard Webhooks.
    Webhook {
        /// `https://…` (or `http://…`). Redirects are not followed.
        url: String,
        /// `whsec_…` of 24 to 64 bytes: one, or two while rotating.
        secrets: Vec<String>,
    },
    /// Slack's incoming webhook.
    Slack {
        /// `https://hooks.slack.com/services/…`; the whole of it is a secret.
        url: String,
    },
    /// PagerDuty, Events API v2.
    PagerDuty {
        /// Integration key: 32 letters and digits.
        routing_key: String,
        /// Empty = `https://events.pagerduty.com/v2/enqueue`.
        url: String,
    },
    /// Alertmanager.
    Alertmanager {
        /// Address of each replica, without `/api/v2/alerts`: each gets everything.
        urls: Vec<String>,
    },
    /// E-mail.
    Mail(Mail),
    /// Syslog, RFC 5424.
    Syslog(Syslog),
}

/// E-mail by SMTP, never in clear text.
#[derive(Clone, Default)]
pub struct Mail {
    /// Name or address of the server.
    pub host: String,
    /// 587 (submission) or 465 (implicit TLS), commonly.
    pub port: u16,
    /// TLS from the first byte (RFC 8314); else STARTTLS, without which nothing is sent.
    pub implicit_tls: bool,
    /// User for AUTH; empty = no login.
    pub user: String,
    /// Password of the user.
    pub password: String,
    /// Sender.
    pub from: String,
    /// Recipients: each has a queue of its own, so that one that is refused stops no other.
    pub to: Vec<String>,
}

/// Syslog over TLS (RFC 5425), or over plain TCP to this machine alone.
#[derive(Clone, Default)]
pub struct Syslog {
    /// Name or address of the server.
    pub host: String,
    /// 6514 for TLS, commonly.
    pub port: u16,
    /// No TLS: for loopback addresses alone.
    pub plain: bool,
    /// What the message is.
    pub body: SyslogBody,
}

/// Form of a syslog message's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyslogBody {
    /// One sentence.
    #[default]
    Text,
    /// A JSON object.
    Json,
    /// ArcSight's Common Event Format.
    Cef,
}

impl SyslogBody {
    /// That of a word: `text`, `json`, `cef`.
    pub fn from_word(word: &str) -> Option<SyslogBody> {
        match word {
            "text" => Some(SyslogBody::Text),
            "json" => Some(SyslogBody::Json),
            "cef" => Some(SyslogBody::Cef),
            _ => None,
        }
    }
}

impl std::fmt::Debug for ReceiverKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl ReceiverKind {
    /// Its word in the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            ReceiverKind::Webhook { .. } => "webhook",
            ReceiverKind::Slack { .. } => "slack",
            ReceiverKind::PagerDuty { .. } => "pagerduty",
            ReceiverKind::Alertmanager { .. } => "alertmanager",
            ReceiverKind::Mail(_) => "mail",
            ReceiverKind::Syslog(_) => "syslog",
        }
    }
}
