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
        }
    }
}
