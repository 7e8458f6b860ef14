//! May they: a [`Policy`] looks at a [`Request`] and says what the record will show as its decision.
//!
//! Not the network and not identity: both come in as data. Invariants: `decide` is pure and does no I/O, so
//! the data path may call it in line; what it answers is recorded word for word. [`AllowAll`] is the policy
//! of an installation that has none, and it says so in every record.

use countersign_event::{Class, Decision, Mode, Principal, Verdict};
use std::net::IpAddr;
use std::sync::Arc;

/// What a policy sees of one call: principal, action, resource and context.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// Who calls, with method, level and groups; `None` = nobody was identified.
    pub principal: Option<&'a Principal>,
    /// On whose behalf, nearest first.
    pub on_behalf_of: &'a [Principal],
    /// Protocol of the action: `http/1.1`.
    pub protocol: &'a str,
    /// Operation of the action: `GET`.
    pub operation: &'a str,
    /// Service called.
    pub service: &'a str,
    /// Resource as a template: `/orders/{id}`.
    pub resource: &'a str,
    /// Type of the resource: `table`.
    pub resource_type: &'a str,
    /// Namespace of the resource.
    pub namespace: &'a str,
    /// Operation class.
    pub class: Option<Class>,
    /// When, UTC ns.
    pub time_ns: u64,
    /// The caller's address.
    pub peer: Option<IpAddr>,
    /// Whether the caller's connection is encrypted.
    pub tls: bool,
}

impl Request<'_> {
    /// The action as policies name it: `protocol:operation`.
    pub fn action(&self) -> String {
        format!("{}:{}", self.protocol, self.operation)
    }
}

/// Something that decides. Shared by all data threads.
pub trait Policy: Send + Sync {
    /// The decision, as it will be recorded.
    fn decide(&self, request: &Request<'_>) -> Decision;
}

/// Whether the call must be refused: a deny counts in enforce mode only.
pub fn refuses(decision: &Decision) -> bool {
    decision.mode == Some(Mode::Enforce) && decision.verdict == Some(Verdict::Deny)
}

/// Allows every call, decides nothing, and says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

/// The name under which [`AllowAll`] stands in the record.
pub const ALLOW_ALL: &str = "allow-all";
/// The reason that [`AllowAll`] puts into the record.
pub const ALLOW_ALL_REASON: &str = "no policy configured; every call is allowed and recorded";

impl Policy for AllowAll {
    fn decide(&self, _request: &Request<'_>) -> Decision {
        // Observe mode has no verdict: nothing was weighed, and the record must not look as if.
        Decision {
            mode: Some(Mode::Observe),
            policies: vec![ALLOW_ALL.to_owned()],
            reason: ALLOW_ALL_REASON.to_owned(),
            ..Decision::default()
        }
    }
}

/// The policies of an installation.
#[derive(Clone, Copy, Debug)]
pub struct PolicySet;

impl PolicySet {
    /// The set of an installation that configured none.
    pub fn allow_all() -> Arc<dyn Policy> {
        Arc::new(AllowAll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::{Event, Verified};

    #[test]
    fn allow_all_names_itself_and_gives_no_verdict() {
        let principal = Principal::new("spiffe://example.org/billing", Verified::Bound);
        let request = Request {
            principal: Some(&principal),
            protocol: "http/1.1",
            operation: "DELETE",
            ..Request::default()
        };
        let decision = PolicySet::allow_all().decide(&request);
        assert_eq!(decision.mode, Some(Mode::Observe));
        assert_eq!(decision.verdict, None);
        assert_eq!(decision.policies, ["allow-all"]);
        assert!(decision.reason.contains("no policy configured"));
        assert!(!refuses(&decision));
        assert_eq!(request.action(), "http/1.1:DELETE");
    }

    #[test]
    fn its_decision_fits_an_event() {
        let mut event = Event::default();
        (event.core.agent, event.core.seq, event.core.t_obs) = ("spiffe://example.org/gw".into(), 1, 1);
        event.core.decision = Some(AllowAll.decide(&Request::default()));
        assert!(event.encode().is_ok());
    }

    #[test]
    fn only_a_deny_in_enforce_mode_refuses() {
        for mode in [None, Some(Mode::Observe), Some(Mode::Learn), Some(Mode::Shadow), Some(Mode::Enforce)] {
            for verdict in [None, Some(Verdict::Allow), Some(Verdict::Deny), Some(Verdict::WouldDeny)] {
                let decision = Decision { mode, verdict, ..Decision::default() };
                assert_eq!(refuses(&decision), mode == Some(Mode::Enforce) && verdict == Some(Verdict::Deny));
            }
        }
    }
}
