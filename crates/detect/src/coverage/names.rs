//! Which caller and which service stand behind an address, from events: to name a blind spot.
//!
//! A hint, not an identity: a finding says where it is from. Invariants: an address with two names has none; at most
//! [`NAMED_MAX`] of each, later ones stay unnamed.

use countersign_event::Event;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Most addresses named, of callers and of services each.
pub const NAMED_MAX: usize = 16_384;

/// See the module. An empty name = several.
#[derive(Default)]
pub(super) struct Names {
    pub(super) callers: BTreeMap<IpAddr, String>,
    pub(super) callees: BTreeMap<SocketAddr, String>,
}

impl Names {
    pub(super) fn see(&mut self, event: &Event) {
        let peer = &event.peer;
        if let (Some(who), Some(ip)) = (&event.who.who, peer.src.as_ref().and_then(|src| src.ip)) {
            // An address as an identity names nobody.
            if !who.id.starts_with("addr:") {
                note(&mut self.callers, ip.to_canonical(), &who.id);
            }
        }
        if event.target.svc.is_empty() {
            return;
        }
        for end in [&peer.dst, &peer.up].into_iter().flatten() {
            if let (Some(ip), Some(port)) = (end.ip, end.port) {
                note(&mut self.callees, SocketAddr::new(ip.to_canonical(), port), &event.target.svc);
            }
        }
    }

    pub(super) fn caller(&self, ip: Option<IpAddr>) -> &str {
        ip.and_then(|ip| self.callers.get(&ip)).map_or("", String::as_str)
    }

    pub(super) fn callee(&self, dst: SocketAddr) -> &str {
        self.callees.get(&dst).map_or("", String::as_str)
    }
}

fn note<K: Ord>(map: &mut BTreeMap<K, String>, key: K, name: &str) {
    let full = map.len() >= NAMED_MAX;
    match map.get_mut(&key) {
        Some(have) if have == name => {}
        Some(have) => have.clear(),
        None if full => {}
        None => {
            map.insert(key, name.to_owned());
        }
    }
}
