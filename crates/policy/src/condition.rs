//! Conditions that need nothing of Cedar when a call comes: comparisons of what a call is with what a policy says.
//!
//! Not a second policy language. [`crate::lower`] makes these from Cedar's own syntax tree after Cedar has
//! parsed and checked the policy, and leaves every form that is not here to Cedar. Invariants: the same
//! answer as Cedar's evaluator, errors and their order included (`tests/it/sliced.rs` and
//! `tests/it/expressions.rs` hold both against each other); no allocation; linear in the call's texts.
//!
//! Why: a call is answered in line. Cedar builds an entity or a record of values for each evaluation and
//! reads `ip("10.0.0.0/8")` from its text each time, which together is most of a decision's time.

use crate::call::{Call, hour, millis, weekday};
use crate::index::{CallIds, Ids};
use crate::names::{Type, class_word};
use std::net::IpAddr;

/// What Cedar says of an attribute that is not there; only a peer address can be missing.
pub(crate) const NO_ATTRIBUTE: &str = "it asks for an attribute that this call does not have";

/// A text of the call, or of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Literal(Box<str>),
    Id,
    Method,
    Iss,
    Svc,
    Service,
    Type,
    Namespace,
    Name,
    Class,
    Route,
    Purpose,
    Behalf,
}

/// A whole number of the call, or of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Literal(i64),
    Verified,
    Hour,
    Weekday,
    Depth,
    Chain,
    /// Milliseconds since 1970; never compared with one that is no time.
    Time,
}

/// A set of texts of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    Groups,
    Delegation,
}

/// One of the three that a scope is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Principal,
    Action,
    Resource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Equal,
    Less,
    LessOrEqual,
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Net {
    pub(crate) ip: IpAddr,
    /// Bits, at most 32 or 128.
    pub(crate) prefix: u8,
}

/// `like`: texts in this order with anything between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) first: Box<str>,
    pub(crate) middle: Vec<Box<str>>,
    /// `None` = no asterisk at all: `first` is the whole text.
    pub(crate) last: Option<Box<str>>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Const(bool),
    Not(Box<Test>),
    And(Box<(Test, Test)>),
    Or(Box<(Test, Test)>),
    If(Box<(Test, Test, Test)>),
    /// Both hold or neither.
    Alike(Box<(Test, Test)>),
    Tls,
    HasPeer,
    PeerIn(Vec<Net>),
    SameText(Text, Text),
    Like(Text, Pattern),
    /// The text is one of these; sorted.
    OneOf(Text, Vec<Box<str>>),
    Compare(Order, Number, Number),
    OneOfNumbers(Number, Vec<i64>),
    Contains(Texts, Text),
    ContainsAny(Texts, Vec<Box<str>>),
    ContainsAll(Texts, Vec<Box<str>>),
    Empty(Texts),
    Is(Part, Type),
    Same(Part, u32),
    /// Is one of these or below one of them.
    In(Part, Vec<u32>),
}

impl Test {
    /// Whether it holds.
    ///
    /// # Errors
    /// The class of the evaluation error, as Cedar's.
    pub(crate) fn holds(&self, call: &Call<'_>, ids: &CallIds) -> Result<bool, &'static str> {
        let r = call.request;
        Ok(match self {
            Test::Const(holds) => *holds,
            Test::Not(test) => !test.holds(call, ids)?,
            Test::And(both) => both.0.holds(call, ids)? && both.1.holds(call, ids)?,
            Test::Or(both) => both.0.holds(call, ids)? || both.1.holds(call, ids)?,
            Test::If(three) if three.0.holds(call, ids)? => three.1.holds(call, ids)?,
            Test::If(three) => three.2.holds(call, ids)?,
            Test::Alike(both) => both.0.holds(call, ids)? == both.1.holds(call, ids)?,
            Test::Tls => r.tls,
            Test::HasPeer => r.peer.is_some(),
            Test::PeerIn(nets) => {
                let peer = r.peer.ok_or(NO_ATTRIBUTE)?.to_canonical();
                nets.iter().any(|net| net.holds(peer))
            }
            Test::SameText(a, b) => a.of(call) == b.of(call),
            Test::Like(text, pattern) => pattern.matches(text.of(call)),
            Test::OneOf(text, set) => {
                let text = text.of(call);
                set.binary_search_by(|one| (**one).cmp(text)).is_ok()
            }
            Test::Compare(order, a, b) => order.holds(a.of(call), b.of(call)),
            Test::OneOfNumbers(number, set) => set.contains(&number.of(call)),
            Test::Contains(texts, text) => {
                let text = text.of(call);
                texts.any(call, |one| one == text)
            }
            Test::ContainsAny(texts, set) => set.iter().any(|wanted| texts.any(call, |one| one == &**wanted)),
            Test::ContainsAll(texts, set) => set.iter().all(|wanted| texts.any(call, |one| one == &**wanted)),
            Test::Empty(texts) => !texts.any(call, |_| true),
            Test::Is(part, ty) => part.of(ids).ty == *ty,
            Test::Same(part, number) => part.of(ids).own == Some(*number),
            Test::In(part, numbers) => numbers.iter().any(|number| part.of(ids).is_in(*number)),
        })
    }
}

impl Text {
    fn of<'c>(&'c self, call: &'c Call<'_>) -> &'c str {
        let (r, who) = (call.request, call.request.principal);
        match self {
            Text::Literal(text) => text,
            Text::Id => call.principal.1,
            Text::Method => who.and_then(|p| p.auth).map_or("", |auth| auth.word()),
            Text::Iss => who.map_or("", |p| &p.iss),
            Text::Svc => who.map_or("", |p| &p.svc),
            Text::Service => r.service,
            Text::Type => r.resource_type,
            Text::Namespace => r.namespace,
            Text::Name => r.resource,
            Text::Class => class_word(r.class),
            Text::Route => r.route,
            Text::Purpose => r.purpose,
            Text::Behalf => r.on_behalf_of.last().map_or("", |p| &p.id),
        }
    }
}

impl Number {
    fn of(self, call: &Call<'_>) -> i64 {
        let number = match self {
            Number::Literal(number) => return number,
            Number::Verified => call.verified(),
            Number::Hour => hour(call.request.time_ns),
            Number::Weekday => weekday(call.request.time_ns),
            Number::Depth => call.request.on_behalf_of.len() as u64,
            Number::Chain => call.chain_verified(),
            Number::Time => millis(call.request.time_ns),
        };
        i64::try_from(number).unwrap_or(i64::MAX)
    }
}

impl Texts {
    fn any(self, call: &Call<'_>, what: impl Fn(&str) -> bool) -> bool {
        match self {
            Texts::Groups => call.groups().iter().any(|group| what(group)),
            Texts::Delegation => call.request.on_behalf_of.iter().any(|p| what(&p.id)),
        }
    }
}

impl Part {
    fn of(self, ids: &CallIds) -> &Ids {
        match self {
            Part::Principal => &ids.principal,
            Part::Action => &ids.action,
            Part::Resource => &ids.resource,
        }
    }
}

impl Order {
    fn holds(self, a: i64, b: i64) -> bool {
        match self {
            Order::Equal => a == b,
            Order::Less => a < b,
            Order::LessOrEqual => a <= b,
        }
    }
}

impl Net {
    fn holds(self, peer: IpAddr) -> bool {
        match (self.ip, peer) {
            (IpAddr::V4(net), IpAddr::V4(peer)) => {
                let shift = 32_u32.saturating_sub(u32::from(self.prefix));
                let high = |ip: u32| ip.checked_shr(shift).unwrap_or(0);
                high(net.to_bits()) == high(peer.to_bits())
            }
            (IpAddr::V6(net), IpAddr::V6(peer)) => {
                let shift = 128_u32.saturating_sub(u32::from(self.prefix));
                let high = |ip: u128| ip.checked_shr(shift).unwrap_or(0);
                high(net.to_bits()) == high(peer.to_bits())
            }
            _ => false,
        }
    }
}

impl Pattern {
    /// Leftmost places are as good as any, since only the last part must reach the end: no going back.
    fn matches(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(&*self.first) else { return false };
        let Some(last) = &self.last else { return rest.is_empty() };
        let Some(mut rest) = rest.strip_suffix(&**last) else { return false };
        for part in &self.middle {
            match rest.split_once(&**part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_from_both_ends_and_in_order() {
        let pattern = |first: &str, middle: &[&str], last: Option<&str>| Pattern {
            first: first.into(),
            middle: middle.iter().map(|m| Box::from(*m)).collect(),
            last: last.map(Box::from),
        };
        let holds = |p: &Pattern, yes: &[&str], no: &[&str]| {
            yes.iter().for_each(|text| assert!(p.matches(text), "{p:?} {text:?}"));
            no.iter().for_each(|text| assert!(!p.matches(text), "{p:?} {text:?}"));
        };
        holds(&pattern("a", &[], None), &["a"], &["", "ab", "b"]);
        holds(&pattern("", &[], Some("")), &["", "x"], &[]);
        holds(&pattern("ab", &[], Some("ba")), &["abba", "abxba"], &["aba", "ab", "abb"]);
        holds(&pattern("/", &["b", "b"], Some("c")), &["/bbc", "/xbxbxc"], &["/bc", "bbc", "/bb"]);
    }

    #[test]
    fn a_net_of_no_bits_holds_its_family_only() {
        let net = |ip: &str, prefix| Net { ip: ip.parse().unwrap(), prefix };
        let ip = |ip: &str| -> IpAddr { ip.parse().unwrap() };
        assert!(net("0.0.0.0", 0).holds(ip("255.255.255.255")) && !net("0.0.0.0", 0).holds(ip("::1")));
        assert!(net("::", 0).holds(ip("ffff::")) && !net("::", 0).holds(ip("1.2.3.4")));
        assert!(net("10.9.9.9", 8).holds(ip("10.0.0.1")) && !net("10.9.9.9", 32).holds(ip("10.9.9.8")));
        assert!(net("fd00::", 127).holds(ip("fd00::1")) && !net("fd00::", 128).holds(ip("fd00::1")));
    }
}
