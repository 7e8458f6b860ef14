//! May they: a [`Policy`] looks at a [`Request`] and says what the record will show as its decision.
//!
//! [`PolicySet`] is Cedar, in four modes by route: observe, learn, shadow, enforce. Not the network and not
//! identity: both come in as data. Invariants: `decide` does no I/O, so the data path may call it in line;
//! what it answers is recorded word for word; default deny, `forbid` overrides, an evaluation error denies;
//! nothing that a caller sent stands in a reason. [`AllowAll`] is the policy of an installation that has
//! none, and it says so in every record.

pub mod adopt;
mod cache;
mod call;
pub mod cases;
mod condition;
mod config;
mod decide;
mod entities;
mod error;
pub mod fuzz;
mod index;
pub mod learn;
mod lower;
mod names;
mod reads;
mod rules;
mod schema;
mod set;
mod statements;

pub use adopt::{Adoption, Bundle, SIGNERS_MAX, adopt};
pub use cache::{CACHE_BYTES, KEY_MAX};
pub use config::{FILES_MAX, Modes, PolicyConfig};
pub use decide::{ERROR_PREFIX, FORBIDDEN, Ground, NAMED_MAX, NOT_PERMITTED, ground};
pub use entities::{ENTITIES_FILE_MAX, ENTITIES_MAX, GROUPS_MAX, Memberships};
pub use error::{PolicyError, Problem};
pub use names::{CLASSES, PROTOCOLS};
pub use rules::{ID_MAX, REASON_MAX, Sources};
pub use schema::schema_text;
pub use set::{PolicySet, PolicyStats, check};
pub use statements::{DEPTH_MAX, FILE_MAX, OPERATORS_MAX, POLICIES_MAX, POLICY_MAX};

use countersign_event::{Class, Decision, Mode, Principal, Verdict};
use std::net::IpAddr;

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
    /// The gateway's route; decides the mode.
    pub route: &'a str,
    /// Why the call is made, as a token's claim, a header or the route's table says; empty = not stated.
    pub purpose: &'a str,
}

impl Request<'_> {
    /// The action as policies name it: `protocol:operation`, the protocol without its version.
    pub fn action(&self) -> String {
        names::action(self.protocol, self.operation)
    }
}

/// Something that decides. Shared by all data threads.
pub trait Policy: Send + Sync {
    /// The decision, as it will be recorded.
    fn decide(&self, request: &Request<'_>) -> Decision;

    /// Whether on this route a decision must be known before bytes pass: mode enforce.
    fn holds(&self, _route: &str) -> bool {
        false
    }
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
        assert_eq!(request.action(), "http:DELETE");
    }

    #[test]
    fn its_decision_fits_an_event() {
        let mut event = Event::default();
        (event.core.agent, event.core.seq, event.core.t_obs) = ("spiffe://example.org/gw".into(), 1, 1);
        event.core.decision = Some(AllowAll.decide(&Request::default()).into());
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
