//! Who a caller is at a moment: certificates, tokens and keys, and how they are replaced.
//!
//! Old and new are valid together for a while: a new certificate is made at half of the old one's life, a token is
//! fetched anew before it ends, the replicas of a deployment take a new API key one after the other.

use super::fleet::Instance;
use super::rng::Rng;
use super::topology::{Edge, Service, Shape, Style, Tier};
use super::{DAY, HOUR, MINUTE, SECOND};
use countersign_event::json::{base64url, hex};
use countersign_event::{Auth, IdentityFrom, Principal, PrincipalKind, Verified};

/// Life of a certificate; a new one is made at half of it.
pub(super) const CERT_LIFE: u64 = DAY;
/// Life of a token, and the age at which a new one is fetched.
pub(super) const TOKEN_LIFE: u64 = HOUR;
pub(super) const TOKEN_RENEWED: u64 = 50 * MINUTE;
/// For so long after a renewal calls under way still show the old credential.
const OVERLAP: u64 = 4 * MINUTE;
/// The replicas of a deployment take a new API key within this time.
const KEY_ROLLOUT: u64 = 6 * HOUR;

/// What a caller shows.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) who: Principal,
    /// SHA-256 of the client certificate, where there is one.
    pub(super) cert: Option<[u8; 32]>,
}

/// Number of the credential in use, and when it was made. Right after a renewal the one before may still be seen.
fn turn(born: u64, at: u64, period: u64, rng: &mut Rng) -> (u64, u64) {
    let age = at.saturating_sub(born);
    let (mut number, into) = (age / period, age % period);
    if number > 0 && into < OVERLAP && rng.chance(0.4) {
        number -= 1;
    }
    (number, born + number * period)
}

/// A number that stands for one secret thing of an instance.
fn stamp<const N: usize>(seed: u64, service: usize, what: &str, instance: usize, number: u64) -> [u8; N] {
    let key = (service as u64) << 40 ^ (instance as u64) << 20 ^ number;
    Rng::of(seed, what, key).bytes()
}

/// The certificate of an instance: digest, end of life in s since 1970.
fn certificate(seed: u64, place: (usize, usize), born: u64, at: u64, rng: &mut Rng) -> ([u8; 32], i64) {
    let (number, made) = turn(born, at, CERT_LIFE / 2, rng);
    (stamp(seed, place.0, "certificate", place.1, number), ((made + CERT_LIFE) / SECOND) as i64)
}

/// Public id of a JWT: which key signed it, and a digest of its own id.
pub(super) fn token_id(digest: &[u8; 32]) -> String {
    format!("kid:id-prod-7/jti-sha256:{}", hex(digest))
}

/// What a caller without certificate is to a database: the account that it logged in as. The server accepted the
/// login; the gateway only saw that.
pub(super) fn account(caller: &Service, callee: &Service, pod: &str) -> Shown {
    let mut who = Principal::new(account_id(caller, callee), Verified::Asserted);
    who.kind = Some(PrincipalKind::Service);
    who.auth = Some(Auth::Scram);
    who.from = Some(IdentityFrom::WireHandshake);
    who.inst = pod.to_owned();
    Shown { who, cert: None }
}

/// Id of the key in use after `number` changes.
pub(super) fn key_id(service: &Service, number: usize) -> String {
    format!("key:{}-{}", service.name, number + 1)
}

/// Principal id of a database account.
pub(super) fn account_id(caller: &Service, callee: &Service) -> String {
    format!("db:{}@{}", caller.name.replace('-', "_"), callee.name)
}

/// Whether callers without certificate show an account there.
pub(super) fn by_account(edge: &Edge, caller: &Service) -> bool {
    matches!(edge.shape, Shape::Sql | Shape::Kv) && caller.style != Style::Svid
}

/// What `instance` (number `place.1` of service number `place.0`) shows at `at`, to an observer that checks it.
pub(super) fn shown(
    seed: u64,
    (service, place): (&Service, (usize, usize)),
    at: u64,
    rng: &mut Rng,
) -> Shown {
    let none = Instance {
        pod: String::new(),
        ip: service.address,
        node: String::new(),
        zone: "",
        born: 0,
        dies: u64::MAX,
    };
    let instance = service.instances.get(place.1).unwrap_or(&none);
    let partner = service.tier == Tier::Partner;
    let mut who = Principal::new(service.id.clone(), Verified::Checked);
    who.kind =
        Some(if service.style == Style::Svid { PrincipalKind::Workload } else { PrincipalKind::Service });
    who.inst = instance.pod.clone();
    let mut cert = None;
    if matches!(service.style, Style::Svid | Style::BoundJwt) {
        let (digest, ends) = certificate(seed, place, instance.born, at, rng);
        cert = Some(digest);
        if service.style == Style::Svid {
            // Of all credentials only an SVID names a service.
            who.svc = service.name.clone();
            who.auth = Some(Auth::SpiffeSvid);
            who.verified = Verified::Bound;
            who.iss = "prod.example".to_owned();
            who.cred = format!("x5t#S256:{}", base64url(&digest));
            who.cred_exp = Some(ends);
            who.from = Some(IdentityFrom::Tls);
        }
    }
    match service.style {
        Style::Svid => {}
        Style::Jwt | Style::BoundJwt => {
            // A partner's machines share the time zone of nothing: each fetches when it began.
            let born = instance.born + (place.1 as u64 * 7 * MINUTE);
            let (number, made) = turn(born, at, TOKEN_RENEWED, rng);
            let bound = service.style == Style::BoundJwt;
            who.auth = Some(if bound { Auth::JwtMtlsBound } else { Auth::Jwt });
            who.verified = if bound { Verified::Bound } else { Verified::Checked };
            who.iss = "https://id.prod.example".to_owned();
            who.cred = token_id(&stamp(seed, place.0, "token", place.1, number));
            who.cred_exp = Some(((made + TOKEN_LIFE) / SECOND) as i64);
            who.from = Some(IdentityFrom::Token);
        }
        Style::Key => {
            let late = stamp::<8>(seed, place.0, "key rollout", place.1, 0);
            let late = u64::from_be_bytes(late) % KEY_ROLLOUT;
            let number = service.key_changes.iter().filter(|change| at >= **change + late).count();
            // A new key is a new id; the name beside it stays.
            who.auth = Some(Auth::ApiKey);
            who.cred = key_id(service, number);
            who.id.clone_from(&who.cred);
            who.name = service.name.clone();
            who.from = Some(IdentityFrom::Header);
        }
    }
    if partner {
        who.inst = String::new();
    }
    Shown { who, cert }
}
