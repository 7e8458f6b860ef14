//! Detector 16, `misconfiguration`: what is set up in a way that invites trouble.
//!
//! Clear text or TLS before 1.2 on an edge, callers without identity where all others have one, tokens and keys that
//! live long; certificates that end soon are in `expiry.rs`, grants that nobody uses in `grants.rs`. Deterministic. Said
//! once when it begins and once when it is over, not for every call. Never about loopback addresses or unix sockets, nor
//! where the observer could not know. Invariants: only what is wrong is remembered, [`CONDITIONS_MAX`] of it; what had
//! to leave is not said again.

mod expiry;
pub(crate) mod grants;

use crate::baselines::BaselinesConfig;
use crate::bytes::{Reader, Saved, Writer};
use crate::clock::Timely;
use crate::quoted;
use crate::watch::{Call, Draft, Key, Opened, Standing, Table, Watcher, WatcherStats, span_text};
use countersign_event::{Auth, Class, Event, FindingState, Kind, Outcome, Severity, Transport, Verified};
use expiry::Expiry;
use grants::Grants;
use std::net::IpAddr;

const ID: &str = "misconfiguration";
const CONDITION: u8 = 32;
const SEEN_BY: u8 = 33;
/// Conditions that hold at once, and services watched for callers without identity.
const CONDITIONS_MAX: usize = 16_384;
const SERVICES_MAX: usize = 16_384;
/// One that was not seen for so long is over, ns.
const OVER_NS: i64 = 86_400_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;
/// Callers with an identity after which one without is worth a word.
const IDENTIFIED_MIN: u32 = 50;
/// Longest life of a token, and of a key or certificate, seconds.
const TOKEN_LIFE_S: i64 = 86_400;
const KEY_LIFE_S: i64 = 90 * 86_400;
/// A TLS version before this is weak.
const TLS_1_2: u64 = 0x0303;
/// Paths that are for everybody.
const OPEN_PATHS: [&str; 10] = [
    "/health",
    "/healthz",
    "/livez",
    "/live",
    "/readyz",
    "/ready",
    "/metrics",
    "/ping",
    "/status",
    "/.well-known/",
];

/// See the module.
pub(crate) struct Misconfiguration {
    open: Table<Condition>,
    /// By service and observer: callers with an identity.
    identified: Table<u32>,
    expiry: Expiry,
    grants: Grants,
    checked_ns: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Cleartext = 1,
    WeakTls = 2,
    NoIdentity = 3,
    LongToken = 4,
    LongKey = 5,
}

struct Condition {
    what: What,
    last_ns: i64,
    /// It is not known whether it was said before: then its end is not said either.
    quiet: bool,
    matter: Opened,
}

impl Misconfiguration {
    pub(crate) fn new(config: &BaselinesConfig) -> Misconfiguration {
        Misconfiguration {
            open: Table::new(CONDITIONS_MAX),
            identified: Table::new(SERVICES_MAX),
            expiry: Expiry::new(),
            grants: Grants::new(&config.grants, config.grants_ns),
            checked_ns: i64::MIN,
        }
    }

    fn holds(&mut self, what: What, of: Key, call: &Call<'_>, out: &mut Vec<Draft>) {
        let mut kind = [0; 16];
        kind[0] = what as u8;
        let about = call.keys.pair(CONDITION, &of, &kind);
        if let Some(condition) = self.open.get_mut(&about) {
            condition.last_ns = condition.last_ns.max(call.at_ns);
            return;
        }
        let (standing, condition) = self.open.see(about, call.index, call.at_ns, || {
            let matter = Opened::of(call, call.at_ns);
            Condition { what, last_ns: call.at_ns, quiet: false, matter }
        });
        condition.quiet = standing == Standing::Unknown;
        if !condition.quiet {
            out.push(said(what, condition, about, call));
        }
    }

    fn connection(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let peer = &call.event.peer;
        if peer.transport != Some(Transport::Tcp) || is_local(call.event) {
            return;
        }
        match &peer.tls {
            None => self.holds(What::Cleartext, call.edge, call, out),
            Some(tls) if tls.version.is_some_and(|version| (1..TLS_1_2).contains(&version)) => {
                self.holds(What::WeakTls, call.edge, call, out);
            }
            Some(_) => {}
        }
    }

    fn identity(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let event = call.event;
        if event.target.svc.is_empty() {
            return;
        }
        // Another observer may be one that never sees identities.
        let key = call.keys.pair(SEEN_BY, &call.source, &call.service);
        if is_identified(event) {
            let (_, identified) = self.identified.see(key, call.index, call.at_ns, u32::default);
            *identified = identified.saturating_add(1);
            return;
        }
        let known = self.identified.get(&key).is_some_and(|identified| *identified >= IDENTIFIED_MIN);
        if known && !is_for_everybody(event) && !is_local(event) {
            self.holds(What::NoIdentity, call.service, call, out);
        }
    }

    fn life(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        let Some(who) = &call.event.who.who else { return };
        let Some(left) = who.cred_exp.map(|end| end.saturating_sub(call.at_ns.div_euclid(1_000_000_000)))
        else {
            return;
        };
        if left <= TOKEN_LIFE_S || who.verified < Verified::Asserted {
            return;
        }
        if is_token(who.auth) {
            self.holds(What::LongToken, call.who, call, out);
        } else if left > KEY_LIFE_S && !who.cred.is_empty() {
            self.holds(What::LongKey, call.who, call, out);
        }
    }
}

pub(super) fn is_token(auth: Option<Auth>) -> bool {
    matches!(auth, Some(Auth::Jwt | Auth::JwtDpop | Auth::JwtMtlsBound | Auth::OauthOpaque | Auth::K8sSa))
}

fn is_identified(event: &Event) -> bool {
    event.who.who.as_ref().is_some_and(|who| {
        !who.id.is_empty()
            && who.verified > Verified::Claimed
            && !matches!(who.auth, Some(Auth::None | Auth::PeerIp))
    })
}

/// What needs no identity, or did not get through without one.
fn is_for_everybody(event: &Event) -> bool {
    let core = &event.core;
    let path = if event.target.res.is_empty() { &event.target.raw } else { &event.target.res };
    core.outcome != Some(Outcome::Success)
        || core.class == Some(Class::Authenticate)
        || matches!(core.kind, Some(Kind::Auth | Kind::Dns | Kind::L4))
        || core.op == "OPTIONS"
        || OPEN_PATHS.iter().any(|open| path.starts_with(open))
        || path.contains("grpc.health.")
}

/// Whether it never left a machine, or nobody knows.
fn is_local(event: &Event) -> bool {
    let peer = &event.peer;
    let Some(src) = peer.src.as_ref().and_then(|src| src.ip) else { return true };
    let others = [&peer.dst, &peer.up].into_iter().flatten().filter_map(|end| end.ip);
    let loopback = |ip: IpAddr| ip.to_canonical().is_loopback() || ip.is_unspecified();
    matches!(peer.transport, Some(Transport::Unix | Transport::Vsock))
        || loopback(src)
        || others.into_iter().any(loopback)
}

fn shows_secret(auth: Option<Auth>) -> bool {
    matches!(
        auth,
        Some(Auth::Jwt | Auth::OauthOpaque | Auth::ApiKey | Auth::Basic | Auth::DbPassword | Auth::K8sSa)
    )
}

fn said(what: What, condition: &mut Condition, about: Key, call: &Call<'_>) -> Draft {
    let event = call.event;
    let auth = event.who.who.as_ref().and_then(|who| who.auth);
    let (template, severity, confidence): (&'static str, _, u8) = match what {
        What::Cleartext if shows_secret(auth) => (
            "{id} calls {svc} in clear text and shows a credential doing so; wrong if: something below encrypts that \
             {source} does not see (a mesh, a tunnel)",
            Severity::Medium,
            85,
        ),
        What::Cleartext => (
            "{id} calls {svc} in clear text; wrong if: something below encrypts that {source} does not see (a mesh, a \
             tunnel)",
            Severity::Low,
            85,
        ),
        What::WeakTls => (
            "{id} calls {svc} by TLS version {version}, older than 1.2; wrong if: {source} tells versions wrongly",
            Severity::Medium,
            95,
        ),
        What::NoIdentity => (
            "{id} called {op} on {svc} without an identity and was served, where {n} callers and more showed one; wrong \
             if: that operation is meant for everybody",
            Severity::Medium,
            80,
        ),
        What::LongToken => (
            "a token of {id} lives {left} more, longer than {limit}; wrong if: it is bound to a key that its holder \
             keeps",
            Severity::Low,
            90,
        ),
        What::LongKey => (
            "a credential of {id} lives {left} more, longer than {limit}; wrong if: so long a life is meant",
            Severity::Informational,
            90,
        ),
    };
    let end = event.who.who.as_ref().and_then(|who| who.cred_exp).unwrap_or(0);
    let left = end.saturating_mul(1_000_000_000).saturating_sub(call.at_ns);
    let limit = if what == What::LongToken { TOKEN_LIFE_S } else { KEY_LIFE_S };
    let version = event.peer.tls.as_ref().and_then(|tls| tls.version).unwrap_or(0);
    let draft = condition.matter.draft(about, FindingState::Open, template).and([
        ("id", call.caller_name()),
        ("svc", call.service_name()),
        ("op", call.operation_name()),
        ("source", event.core.agent.clone()),
        ("version", version_name(version)),
        ("n", IDENTIFIED_MIN.to_string()),
        ("left", span_text(left)),
        ("limit", span_text(limit.saturating_mul(1_000_000_000))),
    ]);
    Draft { severity, confidence, query: query(what, call), subject: Box::new(event.clone()), ..draft }
}

fn version_name(version: u64) -> String {
    match version {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301 => "1.0".to_owned(),
        0x0302 => "1.1".to_owned(),
        other => format!("{other:#06x}"),
    }
}

fn query(what: What, call: &Call<'_>) -> String {
    let service = format!("service:{}", quoted(&call.event.target.svc));
    match what {
        What::Cleartext => format!("{service} tls:none"),
        What::NoIdentity => format!("{service} -who:*"),
        What::WeakTls => service,
        What::LongToken | What::LongKey => {
            format!("who:{}", quoted(call.event.who.who.as_ref().map_or("", |who| &who.id)))
        }
    }
}

impl Watcher for Misconfiguration {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("tls_min", version_name(TLS_1_2)),
            ("token_life_s", TOKEN_LIFE_S.to_string()),
            ("key_life_s", KEY_LIFE_S.to_string()),
            ("over_ns", OVER_NS.to_string()),
            ("grants", self.grants.digest()),
        ]
    }

    fn statistical(&self) -> bool {
        false
    }

    fn see(&mut self, call: &Call<'_>, out: &mut Vec<Draft>) {
        if !call.is_call || call.timely == Timely::Historical {
            return;
        }
        self.connection(call, out);
        self.identity(call, out);
        self.life(call, out);
        self.expiry.see(call, out);
        self.grants.see(call);
    }

    fn advance(&mut self, watermark_ns: i64, _: u64, out: &mut Vec<Draft>) {
        if watermark_ns < self.checked_ns.saturating_add(HOUR_NS) {
            return;
        }
        self.checked_ns = watermark_ns;
        for about in self.open.keys() {
            let over = |condition: &Condition| watermark_ns.saturating_sub(condition.last_ns) > OVER_NS;
            if !self.open.get(&about).is_some_and(over) {
                continue;
            }
            let Some(mut condition) = self.open.remove(&about) else { continue };
            if !condition.quiet {
                let template = "this has not been seen for {t}";
                let draft = condition.matter.draft(about, FindingState::Resolved, template);
                out.push(
                    Draft { severity: Severity::Low, confidence: 90, ..draft }.with("t", span_text(OVER_NS)),
                );
            }
        }
        self.expiry.advance(watermark_ns);
        self.grants.advance(watermark_ns, out);
    }

    fn stats(&self) -> WatcherStats {
        let keys = (self.open.len() + self.identified.len() + self.expiry.len()) as u64;
        let evicted = self.open.evicted() + self.identified.evicted() + self.expiry.evicted();
        WatcherStats { keys, evicted, bytes: keys * 256 }
    }

    fn write(&self, out: &mut Writer) {
        self.open.write(out);
        self.identified.write(out);
        self.expiry.write(out);
        self.grants.write(out);
        out.i64(self.checked_ns);
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let (open, identified) = (Table::read(CONDITIONS_MAX, from)?, Table::read(SERVICES_MAX, from)?);
        self.expiry.read(from)?;
        self.grants.read(from)?;
        self.checked_ns = from.i64()?;
        (self.open, self.identified) = (open, identified);
        Some(())
    }
}

impl Saved for Condition {
    const MIN_BYTES: usize = 10 + Opened::MIN_BYTES;

    fn write(&self, out: &mut Writer) {
        out.u8(self.what as u8);
        out.i64(self.last_ns);
        out.bool(self.quiet);
        self.matter.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Condition> {
        let what = match from.u8()? {
            1 => What::Cleartext,
            2 => What::WeakTls,
            3 => What::NoIdentity,
            4 => What::LongToken,
            5 => What::LongKey,
            _ => return None,
        };
        Some(Condition { what, last_ns: from.i64()?, quiet: from.bool()?, matter: Opened::read(from)? })
    }
}

impl Saved for u32 {
    const MIN_BYTES: usize = 4;

    fn write(&self, out: &mut Writer) {
        out.u32(*self);
    }

    fn read(from: &mut Reader<'_>) -> Option<u32> {
        from.u32()
    }
}

#[cfg(test)]
mod tests;
