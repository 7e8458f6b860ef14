//! Detector 8, `shared-credential`: one key, used by two workloads at a time.
//!
//! For keys, certificates, passwords and the like that were checked (tokens are `token-replay`'s). Who uses one is told
//! by where it comes from: the workload over all its replicas, else the node, else the network; an API key's own id is
//! the same for everyone who holds it. Deterministic: it learns nothing. Not sharing: replicas of one deployment, another
//! key of the same workload, a change that was announced, and a hand-over: a second user counts only once the first one
//! is seen again after it (using the key, or, where it is a workload, calling anything). Invariants: at most
//! [`USERS_MAX`] users a key and [`PENDING_MAX`] undecided; a key that had to leave begins anew, and is counted.

use crate::bytes::{Reader, Saved, Writer};
use crate::finding::clip;
use crate::quoted;
use crate::watch::keys::half;
use crate::watch::{
    Call, Draft, Key, Opened, Table, Watcher, WatcherStats, group_name, span_text, without_replica,
};
use countersign_event::{Auth, Event, FindingState, Principal, Severity, Verified};
use std::collections::BTreeMap;
use std::net::IpAddr;

const ID: &str = "shared-credential";
const CREDENTIAL: u8 = 20;
const USER: u8 = 21;
/// Users remembered of one credential; the least recent is forgotten.
const USERS_MAX: usize = 8;
/// Second users of whom it is not decided yet whether the key was handed over to them.
const PENDING_MAX: usize = 1_024;
/// So long after a second user's first use, ns, the first one's return says that both hold the key.
const OVERLAP_NS: i64 = 7_200_000_000_000;
/// How much later the first one's return must be, ns: events of two observers come in no exact order.
const MARGIN_NS: i64 = 1_000_000_000;
/// A user not seen for so long is none any more, ns.
const FORGET_NS: i64 = 7 * 86_400_000_000_000;
/// A shared key is over when only one has used it for so long, ns.
const OVER_NS: i64 = 86_400_000_000_000;
/// Keys shared at once of which the end is told.
const OPEN_MAX: usize = 4_096;
const NAME_MAX_BYTES: usize = 96;
const CREDENTIAL_BYTES: u64 = 320;

/// See the module.
pub(crate) struct SharedCredential {
    credentials: Table<Credential>,
    /// By whom must be seen again: first users whose key somebody else used.
    pending: BTreeMap<u64, Pending>,
    open: Table<Open>,
    checked_ns: i64,
}

struct Credential {
    name: String,
    users: Vec<User>,
}

#[derive(Clone)]
struct User {
    /// Half of the key of whom and where, and of where alone.
    user: u64,
    place: u64,
    /// The same for its network: two observers may know different things of one user.
    network: u64,
    how: How,
    last_ns: i64,
    name: String,
}

/// What a user is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Network = 1,
    Node = 2,
    Workload = 3,
}

struct Pending {
    credential: Key,
    /// The second user, and its first use.
    second: u64,
    matter: Opened,
}

struct Open {
    matter: Opened,
    /// Last time that another than the one before used it, and who that was.
    turned_ns: i64,
    last: u64,
    credential: String,
}

impl SharedCredential {
    /// Within so many bytes.
    pub(crate) fn new(bytes: u64) -> SharedCredential {
        let credentials = usize::try_from(bytes / CREDENTIAL_BYTES).unwrap_or(usize::MAX);
        SharedCredential {
            credentials: Table::new(credentials),
            pending: BTreeMap::new(),
            open: Table::new(OPEN_MAX),
            checked_ns: i64::MIN,
        }
    }

    /// Notes a use; the first use of a second user becomes pending.
    fn used(&mut self, call: &Call<'_>, key: Key, now: &Seen, out: &mut Vec<Draft>) {
        let at = began(call);
        if let Some(open) = self.open.get_mut(&key) {
            let turned = open.last != now.user;
            open.last = now.user;
            if turned {
                open.turned_ns = open.turned_ns.max(at);
                if open.matter.again(call.index, at) {
                    out.push(open.update(call, key));
                }
            }
        }
        let (_, credential) = self.credentials.see(key, call.index, at, || Credential::of(call));
        if let Some(user) = credential.known(now) {
            user.last_ns = user.last_ns.max(at);
            return;
        }
        let recent = credential.users.iter().filter(|user| at.saturating_sub(user.last_ns) < FORGET_NS);
        let first =
            recent.max_by_key(|user| (user.last_ns, user.user)).map(|user| (user.user, user.place, user.how));
        credential.add(now, at, call.event);
        // Announced: it replaces the one before.
        let Some((user, place, how)) = first.filter(|_| !call.changing) else { return };
        // A workload shows itself by any call, others by the key alone.
        let by = if how == How::Workload { place } else { user };
        if self.pending.len() < PENDING_MAX && self.open.get(&key).is_none() {
            let (second, matter) = (now.user, Opened::of(call, at));
            self.pending.entry(by).or_insert(Pending { credential: key, second, matter });
        }
    }

    /// Somebody is seen whose key another one used.
    fn confirm(&mut self, call: &Call<'_>, by: u64, out: &mut Vec<Draft>) {
        let Some(pending) = self.pending.get(&by) else { return };
        let (at, since) = (began(call), pending.matter.since_ns);
        if at <= since.saturating_add(MARGIN_NS) {
            return;
        }
        let Some(Pending { credential: key, second, mut matter }) = self.pending.remove(&by) else { return };
        if at.saturating_sub(since) > OVERLAP_NS || self.open.get(&key).is_some() {
            return;
        }
        let Some(credential) = self.credentials.get(&key) else { return };
        let first = credential.users.iter().find(|user| user.user == by || user.place == by);
        let second = credential.users.iter().find(|user| user.user == second);
        let (Some(first), Some(second)) = (first, second) else { return };
        matter.again(call.index, at);
        out.push(shared(key, credential, &mut matter, first, second));
        let (last, credential) = (second.user, credential.name.clone());
        self.open.see(key, call.index, at, || Open { matter, turned_ns: at, last, credential });
    }
}

/// Whoever makes a call, as far as its credential's use is concerned.
struct Seen {
    user: u64,
    place: u64,
    network: u64,
    how: How,
}

impl Seen {
    fn of(call: &Call<'_>) -> Option<Seen> {
        let src = call.event.peer.src.as_ref()?;
        let keys = call.keys;
        let (how, key) = if !src.workload.is_empty() {
            (
                How::Workload,
                keys.of(USER, &[&call.event.core.tenant, &src.ns, without_replica(&src.workload)]),
            )
        } else if !src.node.is_empty() {
            (How::Node, keys.of(USER + 1, &[&call.event.core.tenant, &src.node]))
        } else {
            (How::Network, network(call, src.ip?))
        };
        let network = src.ip.map_or(0, |ip| half(&network(call, ip)));
        Some(Seen { user: half(&keys.pair(USER, &key, &call.group)), place: half(&key), network, how })
    }
}

/// One client's addresses change within its network.
fn network(call: &Call<'_>, ip: IpAddr) -> Key {
    match ip.to_canonical() {
        IpAddr::V4(ip) => call.keys.bytes(USER + 2, &ip.octets()[..3]),
        IpAddr::V6(ip) => call.keys.bytes(USER + 2, &ip.octets()[..6]),
    }
}

/// When the credential was shown, ns.
fn began(call: &Call<'_>) -> i64 {
    call.event.core.t_event.unwrap_or(call.at_ns)
}

/// Whether a credential is one that a workload keeps to itself.
fn is_kept(who: &Principal) -> bool {
    let token = matches!(
        who.auth,
        Some(
            Auth::Jwt
                | Auth::JwtDpop
                | Auth::JwtMtlsBound
                | Auth::K8sSa
                | Auth::PeerIp
                | Auth::PeerCred
                | Auth::None
        )
    );
    !token && !who.cred.is_empty() && who.verified >= Verified::Checked
}

impl Credential {
    fn of(call: &Call<'_>) -> Credential {
        let cred = call.event.who.who.as_ref().map_or("", |who| who.cred.as_str());
        Credential { name: clip(cred, NAME_MAX_BYTES).to_owned(), users: Vec::new() }
    }

    fn known(&mut self, now: &Seen) -> Option<&mut User> {
        let same = |user: &User| {
            user.user == now.user || (user.how != now.how && user.network == now.network && now.network != 0)
        };
        self.users.iter_mut().find(|user| same(user))
    }

    fn add(&mut self, now: &Seen, at: i64, event: &Event) {
        if self.users.len() >= USERS_MAX {
            let oldest = self.users.iter().enumerate().min_by_key(|(_, user)| (user.last_ns, user.user));
            if let Some(n) = oldest.map(|(n, _)| n) {
                self.users.remove(n);
            }
        }
        let name = name(event);
        let Seen { user, place, network, how } = *now;
        self.users.push(User { user, place, network, how, last_ns: at, name });
    }
}

/// A name for whoever used it.
fn name(event: &Event) -> String {
    let ip = |event: &Event| event.peer.src.as_ref().and_then(|src| src.ip).map(|ip| ip.to_string());
    let at = match &event.peer.src {
        Some(src) if !src.workload.is_empty() => without_replica(&src.workload).to_owned(),
        Some(src) if !src.node.is_empty() => format!("somebody on {}", src.node),
        _ => ip(event).unwrap_or_else(|| "an unknown address".to_owned()),
    };
    let group = group_name(event);
    let named = if group.contains(':') { at } else { format!("{group} at {at}") };
    clip(&named, NAME_MAX_BYTES).to_owned()
}

const SHARED: &str = "credential {key} is used by {a} and by {b}, which used it {t} before {a} was seen again; wrong if: both \
                      are one workload under two names, or the one has just replaced the other";
const MORE: &str = "credential {key} has passed between different users {count} times, last to {b}; wrong if: all of them \
                    are one workload under several names";
const OVER: &str = "credential {key} has had one user alone for {t}";

fn shared(key: Key, credential: &Credential, matter: &mut Opened, first: &User, second: &User) -> Draft {
    let after = span_text(matter.last_ns.saturating_sub(matter.since_ns));
    let draft = matter.draft(key, FindingState::Open, SHARED).and([
        ("key", credential.name.clone()),
        ("a", first.name.clone()),
        ("b", second.name.clone()),
        ("t", after),
    ]);
    let surely = first.how.min(second.how);
    Draft {
        severity: if surely == How::Workload { Severity::High } else { Severity::Medium },
        confidence: match surely {
            How::Workload => 90,
            How::Node => 70,
            // Networks of one client may be several.
            How::Network => 60,
        },
        query: format!("cred:{}", quoted(&credential.name)),
        ..draft
    }
}

impl Open {
    fn update(&mut self, call: &Call<'_>, key: Key) -> Draft {
        let draft = self.matter.draft(key, FindingState::Updated, MORE).and([
            ("key", self.credential.clone()),
            ("count", self.matter.count.to_string()),
            ("b", name(call.event)),
        ]);
        let query = format!("cred:{}", quoted(&self.credential));
        Draft { severity: Severity::High, confidence: 90, query, ..draft }
    }
}

impl Watcher for SharedCredential {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![("overlap_ns", OVERLAP_NS.to_string()), ("over_ns", OVER_NS.to_string())]
    }

    fn statistical(&self) -> bool {
        false
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        if !call.is_call {
            return;
        }
        let who = call.event.who.who.as_ref().filter(|who| is_kept(who));
        if who.is_none() && self.pending.is_empty() {
            return;
        }
        let Some(now) = Seen::of(call) else { return };
        if !self.pending.is_empty() {
            for by in [now.place, now.user] {
                self.confirm(call, by, out);
            }
        }
        if let Some(who) = who {
            let key = call.keys.of(CREDENTIAL, &[&call.event.core.tenant, &who.cred]);
            self.used(call, key, &now, out);
        }
    }

    fn advance(&mut self, watermark_ns: i64, _: u64, out: &mut Vec<Draft>) {
        if watermark_ns < self.checked_ns.saturating_add(MARGIN_NS * 60) {
            return;
        }
        self.checked_ns = watermark_ns;
        self.pending.retain(|_, pending| watermark_ns.saturating_sub(pending.matter.since_ns) <= OVERLAP_NS);
        if self.open.len() == 0 {
            return;
        }
        for key in self.open.keys() {
            let over = |open: &Open| watermark_ns.saturating_sub(open.turned_ns) > OVER_NS;
            if !self.open.get(&key).is_some_and(over) {
                continue;
            }
            let Some(mut open) = self.open.remove(&key) else { continue };
            let draft = open.matter.draft(key, FindingState::Resolved, OVER);
            let draft = Draft { severity: Severity::High, confidence: 90, ..draft };
            out.push(draft.and([("key", open.credential), ("t", span_text(OVER_NS))]));
        }
    }

    fn stats(&self) -> WatcherStats {
        let keys = self.credentials.len() as u64;
        let evicted = self.credentials.evicted() + self.open.evicted();
        WatcherStats { keys, evicted, bytes: keys * CREDENTIAL_BYTES + self.open.len() as u64 * 1_024 }
    }

    fn write(&self, out: &mut Writer) {
        self.credentials.write(out);
        out.len(self.pending.len());
        for (by, pending) in &self.pending {
            out.u64(*by);
            out.key(&pending.credential);
            out.u64(pending.second);
            pending.matter.write(out);
        }
        self.open.write(out);
        out.i64(self.checked_ns);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let credentials = Table::read(self.credentials.capacity(), from)?;
        let mut pending = BTreeMap::new();
        for _ in 0..from.len(32 + Opened::MIN_BYTES)? {
            let (by, credential, second) = (from.u64()?, from.key()?, from.u64()?);
            pending.insert(by, Pending { credential, second, matter: Opened::read(from)? });
        }
        self.open = Table::read(OPEN_MAX, from)?;
        self.checked_ns = from.i64()?;
        (self.credentials, self.pending) = (credentials, pending);
        Some(())
    }
}

impl Saved for Credential {
    const MIN_BYTES: usize = 8;

    fn write(&self, out: &mut Writer) {
        out.text(&self.name);
        out.len(self.users.len());
        for user in &self.users {
            out.u64(user.user);
            out.u64(user.place);
            out.u64(user.network);
            out.u8(user.how as u8);
            out.i64(user.last_ns);
            out.text(&user.name);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Credential> {
        let name = from.text()?;
        let many = from.len(37)?;
        let each = (0..many).map(|_| {
            let (user, place, network) = (from.u64()?, from.u64()?, from.u64()?);
            let how = match from.u8()? {
                1 => How::Network,
                2 => How::Node,
                3 => How::Workload,
                _ => return None,
            };
            Some(User { user, place, network, how, last_ns: from.i64()?, name: from.text()? })
        });
        let users = each.collect::<Option<Vec<_>>>()?;
        (users.len() <= USERS_MAX).then_some(Credential { name, users })
    }
}

impl Saved for Open {
    const MIN_BYTES: usize = Opened::MIN_BYTES + 20;

    fn write(&self, out: &mut Writer) {
        self.matter.write(out);
        out.i64(self.turned_ns);
        out.u64(self.last);
        out.text(&self.credential);
    }

    fn read(from: &mut Reader<'_>) -> Option<Open> {
        let matter = Opened::read(from)?;
        Some(Open { matter, turned_ns: from.i64()?, last: from.u64()?, credential: from.text()? })
    }
}

#[cfg(test)]
mod tests;
