//! Every text and list of an event within its bound; what was cut is named with its length.
//!
//! Groups that were never set are not touched: to look at one through a mutable reference would make room for it.

use super::clean_value;
use crate::Over;
use countersign_event::fields::bound;
use countersign_event::{CaptureConf, Event, Peer, Target, Unmapped, Who};

/// `text` cut at `max` bytes, at a character's border.
pub(crate) fn clipped(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// Longest text that the schema gives no bound of its own, bytes: a group of fields must stay below its own bound
/// whatever a record says.
const OTHER_MAX: usize = 4 << 10;

/// Every text and list within its bound; what was cut is named with its length.
pub(super) fn fit(event: &mut Event, over: Over) {
    let mut cut = std::mem::take(&mut event.content.cut);
    let mut text = |field: u64, text: &mut String, max: usize| {
        if text.len() > max {
            cut.push((field, text.len() as u64));
            *text = clipped(std::mem::take(text), max);
        }
    };
    text(id(0, 12), &mut event.core.proto, bound::PROTO);
    text(id(0, 13), &mut event.core.op, bound::OP);
    text(id(4, 4), &mut event.links.corr, bound::LINK);
    text(id(4, 5), &mut event.links.sess, bound::LINK);
    text(id(4, 6), &mut event.links.msg, bound::LINK);
    text(id(5, 1), &mut event.content.stmt, bound::STMT);
    text(id(5, 5), &mut event.content.err, bound::ERR);
    if let Some((_, code)) = &mut event.core.status {
        text(id(0, 16), code, bound::OP);
    }
    if let Some(decision) = &mut event.core.decision {
        decision.policies.iter_mut().for_each(|policy| text(id(0, 17), policy, bound::OP));
    }
    for value in event.content.detail.values_mut() {
        clean_value(value, &mut |part| text(id(5, 0), part, OTHER_MAX));
    }
    for (_, value) in &mut event.content.headers {
        text(id(5, 4), value, OTHER_MAX);
    }
    if let Some(peer) = event.peer.set_mut() {
        fit_peer(peer, &mut text);
    }
    if let Some(target) = event.target.set_mut() {
        fit_target(target, &mut text);
    }
    if let Some(who) = event.who.set_mut() {
        fit_who(who, &mut text);
    }
    fit_lists(event, over.hops, &mut cut);
    fit_unmapped(event, over.unmapped, &mut cut);
    cut.sort_unstable();
    cut.dedup_by_key(|(field, _)| *field);
    event.content.cut = cut;
}

/// Cuts a text that is longer than it may be, and notes the field.
type Fit<'a> = dyn FnMut(u64, &mut String, usize) + 'a;

/// Number of a field, by group and key.
pub(super) const fn id(group: u64, key: u64) -> u64 {
    group * 256 + key
}

fn fit_peer(peer: &mut Peer, text: &mut Fit<'_>) {
    text(id(2, 6), &mut peer.ja4, bound::OP);
    if let Some(tls) = &mut peer.tls {
        text(id(2, 4), &mut tls.sni, OTHER_MAX);
        text(id(2, 4), &mut tls.alpn, OTHER_MAX);
    }
    for (hop, _) in &mut peer.hops {
        text(id(2, 5), hop, OTHER_MAX);
    }
    for (key, end) in [&mut peer.src, &mut peer.dst, &mut peer.up].into_iter().enumerate() {
        for end in end.iter_mut() {
            for part in [&mut end.host, &mut end.workload, &mut end.ns, &mut end.zone, &mut end.node] {
                text(id(2, key as u64), part, OTHER_MAX);
            }
        }
    }
}

fn fit_target(target: &mut Target, text: &mut Fit<'_>) {
    text(id(3, 0), &mut target.svc, bound::TARGET_SVC);
    text(id(3, 1), &mut target.res, bound::RES);
    text(id(3, 2), &mut target.raw, bound::TARGET_RAW);
    for more in &mut target.more {
        text(id(3, 7), &mut more.svc, bound::TARGET_SVC);
        text(id(3, 7), &mut more.res, bound::RES);
        text(id(3, 7), &mut more.raw, bound::TARGET_RAW);
        for part in [&mut more.rtype, &mut more.id, &mut more.ns, &mut more.region] {
            text(id(3, 7), part, OTHER_MAX);
        }
    }
    for (key, part) in
        [(3, &mut target.rtype), (4, &mut target.id), (5, &mut target.ns), (6, &mut target.region)]
    {
        text(id(3, key), part, OTHER_MAX);
    }
}

fn fit_who(who: &mut Who, text: &mut Fit<'_>) {
    let all = who.who.iter_mut().map(|p| (0, p)).chain(who.obo.iter_mut().map(|p| (1, p)));
    for (key, principal) in all.chain(who.also.iter_mut().map(|p| (2, p))) {
        text(id(1, key), &mut principal.id, bound::PRINCIPAL_ID);
        text(id(1, key), &mut principal.cred, bound::CRED);
        for part in [&mut principal.name, &mut principal.iss, &mut principal.svc, &mut principal.inst] {
            text(id(1, key), part, OTHER_MAX);
        }
        principal.groups.iter_mut().for_each(|group| text(id(1, key), group, OTHER_MAX));
        principal.groups.sort();
        principal.groups.dedup();
    }
}

/// Every list within its bound; of groups the first by their spelling stay.
fn fit_lists(event: &mut Event, more_hops: usize, cut: &mut Vec<(u64, u64)>) {
    let mut count = |field: u64, length: usize, max: usize| {
        if length > max {
            cut.push((field, length as u64));
        }
    };
    count(id(5, 4), event.content.headers.len(), bound::HEADERS);
    event.content.headers.truncate(bound::HEADERS);
    if let Some(peer) = event.peer.set_mut() {
        count(id(2, 5), peer.hops.len() + more_hops, bound::HOPS);
        peer.hops.truncate(bound::HOPS);
    }
    if let Some(target) = event.target.set_mut() {
        count(id(3, 7), target.more.len(), bound::MORE);
        target.more.truncate(bound::MORE);
    }
    let Some(who) = event.who.set_mut() else { return };
    count(id(1, 1), who.obo.len(), bound::OBO);
    count(id(1, 2), who.also.len(), bound::ALSO);
    who.obo.truncate(bound::OBO);
    who.also.truncate(bound::ALSO);
    for principal in who.who.iter_mut().chain(&mut who.obo).chain(&mut who.also) {
        count(id(1, 0), principal.groups.len(), bound::GROUPS);
        principal.groups.truncate(bound::GROUPS);
    }
}

/// Beyond the bound of `unmapped` the last entries go, and the record is partial: its raw bytes are digested.
fn fit_unmapped(event: &mut Event, over: usize, cut: &mut Vec<(u64, u64)>) {
    let size = |name: &String, value: &Unmapped| {
        name.len()
            + match value {
                Unmapped::Token(token) => token.len(),
                Unmapped::Bytes(bytes) => bytes.len(),
            }
    };
    let unmapped = &mut event.content.unmapped;
    let mut total: usize = unmapped.iter().map(|(name, value)| size(name, value)).sum();
    let before = total + over;
    while total > bound::UNMAPPED_BYTES || unmapped.len() > bound::UNMAPPED {
        let Some((name, value)) = unmapped.pop_last() else { break };
        total -= size(&name, &value);
    }
    if total < before {
        cut.push((id(5, 6), before as u64));
        if let Some(capture) = &mut event.body.cap {
            capture.conf = Some(CaptureConf::Partial);
        }
    }
}
