//! Detector 10, `token-replay`: one token presented by two holders.
//!
//! A token is a JWT with an id (`jti`); its binding is the client certificate it came over, else the caller's workload,
//! else its node, else its address. Deterministic: it learns nothing. Not a replay: the same request (request id or
//! trace) again, another address of the same certificate, workload or node, a renewed certificate of the same workload
//! or address, a neighbouring or a changed
//! address where nothing better is known (two that take turns are two holders). Invariants: a token is remembered from its first
//! presentation to its end, [`UNKNOWN_END_S`] without one, in 40 bytes; what had to leave before is counted; only what
//! was verified is remembered, so invented tokens push out none.

use crate::bytes::{Reader, Writer};
use crate::quoted;
use crate::watch::keys::{KeyHasher, half};
use crate::watch::{Call, Draft, Key, Keys, Opened, Table, Watcher, WatcherStats, without_replica};
use countersign_event::{Auth, Endpoint, FindingState, Principal, Severity, Verified};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::net::IpAddr;

const ID: &str = "token-replay";
/// Kinds of names in keys.
const TOKEN: u8 = 16;
const BINDING: u8 = 17;
const REQUEST: u8 = 18;
/// How long a token without an end is remembered, and how long one with an end at most, seconds.
const UNKNOWN_END_S: i64 = 86_400;
const END_MAX_S: i64 = 31 * 86_400;
/// Requests remembered in one of two generations, and how long one lasts, ns: a retry comes soon.
const REQUESTS_MAX: usize = 65_536;
const RETRY_NS: i64 = 300_000_000_000;
/// Tokens replayed of which the end is told.
const OPEN_MAX: usize = 4_096;
/// Part of the tokens that leaves at once when there is no room.
const LEAVE_PART: usize = 16;
const TOKEN_BYTES: u64 = 56;
const SECOND_NS: i64 = 1_000_000_000;

type Halves<V> = HashMap<u64, V, BuildHasherDefault<KeyHasher>>;
type Few = HashSet<u64, BuildHasherDefault<KeyHasher>>;

/// See the module.
pub(crate) struct TokenReplay {
    tokens: Halves<Token>,
    capacity: usize,
    evicted: u64,
    /// Requests of tokens, the recent and the older ones, and since when the recent ones are, ns.
    recent: Few,
    older: Few,
    since_ns: i64,
    open: Table<Open>,
    /// When the next open matter ends, ns.
    next_end_ns: i64,
}

/// A token by half of its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Token {
    /// Index of its first presentation.
    first: u64,
    /// Its end, seconds; and whether it was checked, not merely asserted.
    ends_s: u32,
    checked: bool,
    binding: Binding,
    /// The address before the last one: a client's network changes once, two clients take turns.
    before: u32,
}

/// Short hashes of what a token came with; 0 = unknown. The lowest bit of `place` tells a workload from a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Binding {
    cert: u32,
    place: u32,
    address: u32,
}

struct Open {
    matter: Opened,
    ends_ns: i64,
    token: String,
}

/// How two presentations of a token compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compared {
    Same,
    /// The same holder under a new certificate or address.
    Moved,
    /// Another holder: by certificate or workload, or by address alone.
    Other,
    OtherAddress,
}

impl TokenReplay {
    /// Within so many bytes.
    pub(crate) fn new(bytes: u64) -> TokenReplay {
        let capacity = usize::try_from(bytes / TOKEN_BYTES).unwrap_or(usize::MAX).max(LEAVE_PART);
        TokenReplay {
            tokens: Halves::default(),
            capacity,
            evicted: 0,
            recent: Few::default(),
            older: Few::default(),
            since_ns: i64::MIN,
            open: Table::new(OPEN_MAX),
            next_end_ns: i64::MAX,
        }
    }

    /// Whether this token came with this request already; notes that it did.
    fn retried(&mut self, call: &Call<'_>, token: &Key) -> bool {
        if self.recent.len() >= REQUESTS_MAX || call.at_ns.saturating_sub(self.since_ns) > RETRY_NS {
            std::mem::swap(&mut self.recent, &mut self.older);
            self.recent.clear();
            self.since_ns = call.at_ns;
        }
        let links = &call.event.links;
        let mut again = false;
        let ids = [links.corr.as_bytes(), links.trace.as_ref().map_or(&[][..], |trace| trace.as_slice())];
        for (kind, id) in ids.iter().enumerate().filter(|(_, id)| !id.is_empty()) {
            let request = call.keys.bytes(REQUEST + kind as u8, id);
            let key = half(token) ^ half(&request);
            again |= self.older.contains(&key) || self.recent.contains(&key);
            self.recent.insert(key);
        }
        again
    }

    fn remember(&mut self, token: u64, of: Token, now_ns: i64) {
        if self.tokens.len() >= self.capacity {
            self.make_room(now_ns);
        }
        self.tokens.insert(token, of);
    }

    /// Lets those go that have ended; if there are none, those that end first, merely asserted ones before.
    fn make_room(&mut self, now_ns: i64) {
        let now_s = seconds(now_ns);
        self.tokens.retain(|_, token| token.ends_s > now_s);
        let room = self.capacity / LEAVE_PART;
        if self.tokens.len() + room <= self.capacity {
            return;
        }
        let order = |(key, token): (&u64, &Token)| (token.checked, token.ends_s, *key);
        let mut all: Vec<_> = self.tokens.iter().map(order).collect();
        let leaving = room.clamp(1, all.len());
        all.select_nth_unstable(leaving - 1);
        for (.., key) in all.iter().take(leaving) {
            self.tokens.remove(key);
        }
        self.evicted += leaving as u64;
    }

    fn report(&mut self, call: &Call<'_>, key: Key, first: u64, compared: Compared, out: &mut Vec<Draft>) {
        let Some(who) = &call.event.who.who else { return };
        if let Some(open) = self.open.get_mut(&key) {
            if open.matter.again(call.index, call.at_ns) {
                let draft = open.matter.draft(key, FindingState::Updated, MORE);
                let values = [("token", short_id(&who.cred)), ("count", open.matter.count.to_string())];
                out.push(told(draft, call, compared).and(values));
            }
            return;
        }
        let mut matter = Opened::of(call, call.at_ns).after(first);
        let draft = matter.draft(key, FindingState::Open, REPLAYED);
        let values = [
            ("token", short_id(&who.cred)),
            ("id", call.caller_name()),
            ("first", first.to_string()),
            ("entry", call.index.to_string()),
        ];
        out.push(told(draft, call, compared).and(values));
        let ends_ns = i64::from(ends_s(who, call.at_ns)).saturating_mul(SECOND_NS);
        self.next_end_ns = self.next_end_ns.min(ends_ns);
        let token = short_id(&who.cred);
        self.open.see(key, call.index, call.at_ns, || Open { matter, ends_ns, token });
    }
}

const REPLAYED: &str = "token {token} of {id} was first presented in entry {first} and now, in entry {entry}, by another \
                        holder: {holder}, in another request; wrong if: its holder hands it on to others, or it has \
                        several {kind} of its own";
const MORE: &str = "token {token} has been presented {count} times by others than its first holder, last: {holder}; wrong if: its \
     holder hands it on, or it has several {kind} of its own";
const ENDED: &str =
    "token {token}, presented {count} times in all by others than its first holder, has ended";

/// What an opening and an update have in common.
fn told(draft: Draft, call: &Call<'_>, compared: Compared) -> Draft {
    let event = call.event;
    let source = event.peer.src.as_ref();
    let ip =
        source.and_then(|src| src.ip).map_or_else(|| "an unknown address".to_owned(), |ip| ip.to_string());
    let holder = match source {
        Some(src) if !src.workload.is_empty() => format!("{} at {ip}", src.workload),
        Some(src) if !src.node.is_empty() => format!("somebody on {} at {ip}", src.node),
        _ => ip,
    };
    let by_address = compared == Compared::OtherAddress;
    let cred = event.who.who.as_ref().map_or("", |who| who.cred.as_str());
    Draft {
        severity: Severity::High,
        confidence: match (by_address, call.proved()) {
            (true, _) => 70,
            (false, true) => 95,
            (false, false) => 75,
        },
        query: format!("cred:{}", quoted(cred)),
        subject: Box::new(event.clone()),
        ..draft
    }
    .with("holder", holder)
    .with("kind", if by_address { "networks" } else { "workloads or certificates" })
}

/// The end of a credential's id: what tells it from others, without filling the sentence.
fn short_id(cred: &str) -> String {
    let digest = cred.rsplit(':').next().unwrap_or(cred);
    digest.chars().take(16).collect()
}

/// Whether it is a token that has an id of its own.
fn is_token(who: &Principal) -> bool {
    matches!(who.auth, Some(Auth::Jwt | Auth::JwtDpop | Auth::JwtMtlsBound)) && who.cred.contains("jti")
}

fn seconds(ns: i64) -> u32 {
    u32::try_from(ns.div_euclid(SECOND_NS).max(0)).unwrap_or(u32::MAX)
}

fn ends_s(who: &Principal, now_ns: i64) -> u32 {
    let now = now_ns.div_euclid(SECOND_NS);
    let ends =
        who.cred_exp.map_or(now.saturating_add(UNKNOWN_END_S), |end| end.min(now.saturating_add(END_MAX_S)));
    u32::try_from(ends.max(0)).unwrap_or(u32::MAX)
}

fn short_hash(keys: Keys, kind: u8, texts: &[&str]) -> u32 {
    (half(&keys.of(kind, texts)) as u32).max(2)
}

impl Binding {
    fn of(call: &Call<'_>) -> Binding {
        let (keys, peer) = (call.keys, &call.event.peer);
        let cert = peer.tls.as_ref().and_then(|tls| tls.peer_cert);
        let source = peer.src.as_ref();
        Binding {
            cert: cert.map_or(0, |cert| (half(&keys.bytes(BINDING, &cert)) as u32).max(1)),
            place: source.map_or(0, |src| place(keys, src)),
            address: source.and_then(|src| src.ip).map_or(0, |ip| address(keys, ip)),
        }
    }

    fn compare(self, now: Binding) -> Compared {
        let known = |a: u32, b: u32| a != 0 && b != 0;
        let workloads = known(self.place, now.place) && self.place & 1 == 1 && now.place & 1 == 1;
        let same_address = known(self.address, now.address) && self.address == now.address;
        if known(self.cert, now.cert) && self.cert == now.cert {
            return if self == now { Compared::Same } else { Compared::Moved };
        }
        if known(self.place, now.place) && self.place == now.place {
            return if self == now { Compared::Same } else { Compared::Moved };
        }
        if workloads {
            return Compared::Other;
        }
        if same_address {
            return Compared::Moved;
        }
        match () {
            () if known(self.cert, now.cert) || self.cert != now.cert => Compared::Other,
            () if self.place & 1 != now.place & 1 => Compared::Other,
            // Nothing of both is known.
            () if !known(self.address, now.address) => Compared::Same,
            () => Compared::OtherAddress,
        }
    }
}

/// The workload over all its replicas, else the node.
fn place(keys: Keys, src: &Endpoint) -> u32 {
    if !src.workload.is_empty() {
        return short_hash(keys, BINDING, &["workload", &src.ns, without_replica(&src.workload)]) | 1;
    }
    if src.node.is_empty() { 0 } else { short_hash(keys, BINDING, &["node", &src.node]) & !1 }
}

/// The neighbourhood of an address: addresses of one client change within it.
fn address(keys: Keys, ip: IpAddr) -> u32 {
    let key = match ip.to_canonical() {
        IpAddr::V4(ip) => keys.bytes(BINDING, &ip.octets()[..3]),
        IpAddr::V6(ip) => keys.bytes(BINDING, &ip.octets()[..8]),
    };
    (half(&key) as u32).max(1)
}

impl Watcher for TokenReplay {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("tokens", self.capacity.to_string()),
            ("retry_ns", RETRY_NS.to_string()),
            ("unknown_end_s", UNKNOWN_END_S.to_string()),
        ]
    }

    fn statistical(&self) -> bool {
        false
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let Some(who) = call.event.who.who.as_ref().filter(|who| is_token(who)) else { return };
        if !call.is_call {
            return;
        }
        let key = call.keys.of(TOKEN, &[&call.event.core.tenant, &who.iss, &who.cred]);
        let (token, now) = (half(&key), Binding::of(call));
        let retried = self.retried(call, &key);
        let Some(known) = self.tokens.get_mut(&token) else {
            if who.verified >= Verified::Asserted {
                let ends_s = ends_s(who, call.at_ns);
                let checked = who.verified >= Verified::Checked;
                self.remember(
                    token,
                    Token { first: call.index, ends_s, checked, binding: now, before: 0 },
                    call.at_ns,
                );
            }
            return;
        };
        match known.binding.compare(now) {
            Compared::Same => {}
            // An unproved presentation moves nothing.
            Compared::Moved if who.verified >= Verified::Asserted => known.binding = now,
            Compared::Moved => {}
            Compared::OtherAddress if now.address != known.before => {
                if who.verified >= Verified::Asserted {
                    (known.before, known.binding) = (known.binding.address, now);
                }
            }
            _ if retried => {}
            other => {
                let first = known.first;
                self.report(call, key, first, other, out);
            }
        }
    }

    fn advance(&mut self, watermark_ns: i64, _: u64, out: &mut Vec<Draft>) {
        if watermark_ns < self.next_end_ns {
            return;
        }
        self.next_end_ns = i64::MAX;
        for key in self.open.keys() {
            let Some(open) = self.open.get_mut(&key) else { continue };
            if open.ends_ns > watermark_ns {
                self.next_end_ns = self.next_end_ns.min(open.ends_ns);
                continue;
            }
            let Some(mut open) = self.open.remove(&key) else { continue };
            let draft = open.matter.draft(key, FindingState::Resolved, ENDED);
            let draft = Draft { severity: Severity::High, confidence: 95, ..draft };
            out.push(draft.with("token", open.token).with("count", open.matter.count.to_string()));
        }
    }

    fn stats(&self) -> WatcherStats {
        let keys = self.tokens.len() as u64;
        let requests = (self.recent.len() + self.older.len()) as u64;
        WatcherStats {
            keys,
            evicted: self.evicted + self.open.evicted(),
            bytes: keys * TOKEN_BYTES + requests * 16 + self.open.len() as u64 * 1_024,
        }
    }

    fn write(&self, out: &mut Writer) {
        let mut tokens: Vec<(&u64, &Token)> = self.tokens.iter().collect();
        tokens.sort_unstable_by_key(|(key, _)| **key);
        out.len(tokens.len());
        for (key, token) in tokens {
            out.u64(*key);
            out.u64(token.first);
            out.u32(token.ends_s);
            out.bool(token.checked);
            let Binding { cert, place, address } = token.binding;
            [cert, place, address, token.before].into_iter().for_each(|hash| out.u32(hash));
        }
        out.u64(self.evicted);
        for few in [&self.recent, &self.older] {
            let mut few: Vec<u64> = few.iter().copied().collect();
            few.sort_unstable();
            out.len(few.len());
            few.into_iter().for_each(|key| out.u64(key));
        }
        out.i64(self.since_ns);
        out.i64(self.next_end_ns);
        self.open.write(out);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let many = from.len(37)?;
        if many > self.capacity {
            return None;
        }
        let mut tokens = Halves::default();
        tokens.reserve(many);
        for _ in 0..many {
            let (key, first) = (from.u64()?, from.u64()?);
            let (ends_s, checked) = (from.u32()?, from.bool()?);
            let binding = Binding { cert: from.u32()?, place: from.u32()?, address: from.u32()? };
            tokens.insert(key, Token { first, ends_s, checked, binding, before: from.u32()? });
        }
        let evicted = from.u64()?;
        let mut few = || (0..from.len(8)?).map(|_| from.u64()).collect::<Option<Few>>();
        let (recent, older) = (few()?, few()?);
        let (since_ns, next_end_ns) = (from.i64()?, from.i64()?);
        self.open = Table::read(OPEN_MAX, from)?;
        (self.tokens, self.evicted) = (tokens, evicted);
        (self.recent, self.older, self.since_ns, self.next_end_ns) = (recent, older, since_ns, next_end_ns);
        Some(())
    }
}

impl crate::bytes::Saved for Open {
    const MIN_BYTES: usize = Opened::MIN_BYTES + 12;

    fn write(&self, out: &mut Writer) {
        self.matter.write(out);
        out.i64(self.ends_ns);
        out.text(&self.token);
    }

    fn read(from: &mut Reader<'_>) -> Option<Open> {
        Some(Open { matter: Opened::read(from)?, ends_ns: from.i64()?, token: from.text()? })
    }
}

#[cfg(test)]
mod tests;
