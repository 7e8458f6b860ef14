//! The body of a signed request against the digest that its sender signed (RFC 9530, covered by RFC 9421).
//!
//! Not the signature, which `identity` has checked: it covers the digest, not the body, so who sent the *body* is known
//! only when this agrees. Invariants: streaming, of constant size; a record of a request whose body differs, or was
//! not seen whole, does not keep the signer at level 4.

use super::identify::label;
use countersign_event::{Auth, Event, Principal, Verified, Who};
use countersign_identity::{BodyDigests, ContentDigest, FailureKind, who_of};
use ring::digest::{Context, SHA256, SHA512};

/// Name of the rule that a request breaks whose body is not the signed one.
pub(crate) const RULE: &str = "content-digest";
/// Label of a request whose body could not be compared.
const UNCHECKED: &str = "identity-digest-unchecked";

/// A body in progress.
pub(crate) struct Content {
    stated: ContentDigest,
    short: Option<Context>,
    long: Option<Context>,
}

impl Content {
    pub(crate) fn new(stated: ContentDigest) -> Content {
        let short = stated.sha256.is_some().then(|| Context::new(&SHA256));
        let long = stated.sha512.is_some().then(|| Context::new(&SHA512));
        Content { stated, short, long }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for context in [&mut self.short, &mut self.long].into_iter().flatten() {
            context.update(bytes);
        }
    }

    /// Whether what came so far is the signed body; `None` = no digest of a kind that is known here.
    fn agrees(&self) -> Option<bool> {
        self.stated.check(&BodyDigests { sha256: finished(&self.short), sha512: finished(&self.long) })
    }

    /// Whether what came so far is certainly not the signed body.
    pub(crate) fn differs(&self) -> bool {
        self.agrees() == Some(false)
    }

    /// Lowers the signer in the record of a request whose body is not the signed one. `whole` = all of it was seen.
    pub(crate) fn judge(&self, event: &mut Event, whole: bool) {
        let why = match self.agrees().filter(|_| whole) {
            Some(true) => return,
            Some(false) => {
                label(event, FailureKind::Digest.label());
                "identity: the body is not the one that was signed (Content-Digest)"
            }
            None => {
                label(event, UNCHECKED);
                "identity: the signed digest of the body could not be compared"
            }
        };
        lower(&mut event.who);
        if event.content.err.is_empty() {
            event.content.err = why.to_owned();
        }
    }
}

fn finished<const N: usize>(context: &Option<Context>) -> Option<[u8; N]> {
    context.clone()?.finish().as_ref().try_into().ok()
}

/// A signature over something else than the body proves nothing of it: its signer is a claim, and whoever else was
/// proved comes first.
fn lower(who: &mut Who) {
    let all = who.who.take().into_iter().chain(who.also.drain(..)).chain(who.obo.drain(..));
    let lowered = |p: Principal| match p.auth {
        Some(Auth::HttpSig) => Principal { verified: Verified::Claimed, ..p },
        _ => p,
    };
    *who = who_of(all.map(lowered).collect());
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::digest::digest;

    fn stated(body: &[u8]) -> ContentDigest {
        let sha256 = digest(&SHA256, body).as_ref().try_into().ok();
        ContentDigest { sha256, sha512: digest(&SHA512, body).as_ref().try_into().ok() }
    }

    fn event() -> Event {
        let mut event = Event::default();
        let signer = Principal { auth: Some(Auth::HttpSig), ..Principal::new("key:orders", Verified::Bound) };
        let peer = Principal { auth: Some(Auth::Jwt), ..Principal::new("jwt:i#s", Verified::Checked) };
        event.who = who_of(vec![signer, peer]).into();
        event
    }

    #[test]
    fn the_signed_body_in_any_pieces_changes_nothing() {
        for split in 0..=4 {
            let mut content = Content::new(stated(b"body"));
            let (a, b) = b"body".split_at(split);
            content.update(a);
            content.update(b);
            let mut seen = event();
            content.judge(&mut seen, true);
            assert_eq!(seen, event());
        }
    }

    #[test]
    fn another_body_lowers_the_signer_and_says_so() {
        let mut content = Content::new(stated(b"body"));
        content.update(b"bodY");
        assert!(content.differs());
        let mut seen = event();
        content.judge(&mut seen, true);
        assert_eq!(seen.core.labels, ["identity-digest"]);
        assert_eq!(seen.who.who.as_ref().map(|p| p.id.as_str()), Some("jwt:i#s"));
        assert_eq!(seen.who.also.iter().map(|p| p.verified).collect::<Vec<_>>(), [Verified::Claimed]);
    }

    #[test]
    fn a_body_that_was_not_seen_whole_is_not_vouched_for() {
        let mut content = Content::new(stated(b"body"));
        content.update(b"body");
        let mut seen = event();
        content.judge(&mut seen, false);
        assert_eq!(seen.core.labels, [UNCHECKED]);
        let unknown = Content::new(ContentDigest::default());
        assert!(!unknown.differs());
        unknown.judge(&mut seen, true);
        assert!(seen.who.also.iter().all(|p| p.verified == Verified::Claimed));
    }
}
