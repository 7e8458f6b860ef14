//! Credentials that were shown and did not pass.
//!
//! Invariant: a reason never holds any of the credential.

use countersign_event::Principal;

/// What was wrong, for rules and counters; the words are in [`Failure::reason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Out of form, a wrong secret, about another request.
    #[default]
    Invalid,
    /// Its signature does not fit it.
    Signature,
    /// It is meant for somebody else.
    Audience,
    /// It was good once.
    Expired,
    /// Its times lie ahead of our clock by more than the leeway.
    Skew,
    /// The key that it names is not known (yet).
    UnknownKey,
    /// The keys to check it with could not be fetched for too long.
    Unavailable,
    /// A proof that was used before: somebody repeats a message.
    Replay,
    /// A credential that is bound to a key, shown without the proof.
    Downgrade,
    /// A header that only listed proxies may set, from somebody else.
    Forged,
    /// The body is not the one that was signed.
    Digest,
    /// A bound of ours was reached before it could be checked.
    Exhausted,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [FailureKind; 12] = [
        FailureKind::Invalid,
        FailureKind::Signature,
        FailureKind::Audience,
        FailureKind::Expired,
        FailureKind::Skew,
        FailureKind::UnknownKey,
        FailureKind::Unavailable,
        FailureKind::Replay,
        FailureKind::Downgrade,
        FailureKind::Forged,
        FailureKind::Digest,
        FailureKind::Exhausted,
    ];

    /// Whether this is a sign of an attack rather than of a mistake.
    pub fn is_security(self) -> bool {
        use FailureKind as K;
        matches!(self, K::Signature | K::Replay | K::Downgrade | K::Forged | K::Digest)
    }

    /// Label for the record (`core.labels`).
    pub fn label(self) -> &'static str {
        match self {
            FailureKind::Invalid => "identity-invalid",
            FailureKind::Signature => "identity-signature",
            FailureKind::Audience => "identity-audience",
            FailureKind::Expired => "identity-expired",
            FailureKind::Skew => "clock-skew",
            FailureKind::UnknownKey => "identity-unknown-key",
            FailureKind::Unavailable => "identity-unavailable",
            FailureKind::Replay => "identity-replay",
            FailureKind::Downgrade => "identity-downgrade",
            FailureKind::Forged => "identity-forged",
            FailureKind::Digest => "identity-digest",
            FailureKind::Exhausted => "identity-exhausted",
        }
    }
}

/// A credential that was shown and did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The identity it claims, at level 1; `anon:` when it could not even be read.
    pub claimed: Principal,
    /// Why it did not pass, for `content.err`. Never holds any of the credential.
    pub reason: String,
    /// The same for machines.
    pub kind: FailureKind,
}

/// A reason on its way to becoming a [`Failure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: FailureKind,
    pub(crate) why: String,
}

impl Refusal {
    pub(crate) fn new(kind: FailureKind, why: impl Into<String>) -> Refusal {
        Refusal { kind, why: why.into() }
    }

    pub(crate) fn of(self, what: &str, claimed: Principal) -> Failure {
        Failure { claimed, reason: format!("{what} refused: {}", self.why), kind: self.kind }
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Refusal {
        Refusal::new(FailureKind::Invalid, why)
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Refusal {
        Refusal::new(FailureKind::Invalid, why)
    }
}
