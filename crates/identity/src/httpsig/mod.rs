//! HTTP Message Signatures (RFC 9421): a request that its sender signed.
//!
//! Not for responses, and never a reason to change a byte. Invariants: a signature counts only with a configured
//! key, for at most [`MAX_AGE_S`] unless configured otherwise, and only if it covers what makes the request what
//! it is; a covered `Content-Digest` is held against the body here, or handed back to be held against it later.

mod base;
mod keys;
pub(crate) mod sf;

use crate::IdentityError;
use crate::config::SignatureConfig;
use crate::identities::LEEWAY_S;
use crate::refusal::{Failure, FailureKind, Refusal};
use crate::replay::Replay;
use crate::request::{ContentDigest, HttpRequest};
use crate::text::{ID_MAX, clip};
use countersign_event::{Auth, IdentityFrom, Principal, PrincipalKind, Verified};
use keys::{Algorithm, Key};
use sf::{Bare, Dictionary, Item, Member, Params};
use std::collections::HashMap;

/// How old a signature may be when the configuration says nothing, seconds.
pub(crate) const MAX_AGE_S: i64 = 300;
/// Most signatures of one request that are checked.
const SIGNATURES_MAX: usize = 4;
/// Longest key id, bytes.
const KEYID_MAX_BYTES: usize = 256;
/// Most keys.
const KEYS_MAX: usize = 10_000;
/// Longest nonce, bytes.
const NONCE_MAX_BYTES: usize = 256;

/// The configured keys and what is asked of a signature.
pub(crate) struct Signatures {
    keys: HashMap<String, Key>,
    required: Vec<String>,
    max_age_s: i64,
    tag: Option<String>,
    require_nonce: bool,
}

/// What a request's signatures prove.
#[derive(Debug, Default)]
pub(crate) struct Signed {
    pub(crate) principals: Vec<Principal>,
    pub(crate) failures: Vec<Failure>,
    /// Set when a good signature covers a digest that could not be compared yet.
    pub(crate) content: Option<ContentDigest>,
}

/// The parameters of one signature (section 2.3).
#[derive(Default)]
struct Stated<'a> {
    created: Option<i64>,
    expires: Option<i64>,
    nonce: Option<&'a str>,
    keyid: Option<&'a str>,
    alg: Option<&'a str>,
    tag: Option<&'a str>,
}

impl Signatures {
    pub(crate) fn load(config: &SignatureConfig) -> Result<Signatures, IdentityError> {
        let wrong = |setting: String, why: &str| IdentityError::Setting { setting, why: why.into() };
        let mut keys = HashMap::new();
        for key in &config.keys {
            let setting = format!("signature key {:?}", clip(&key.keyid, KEYID_MAX_BYTES));
            if key.keyid.is_empty() || key.keyid.len() > KEYID_MAX_BYTES {
                return Err(wrong(setting, "keyid must have 1 to 256 bytes"));
            }
            if key.principal.len() > ID_MAX {
                return Err(wrong(setting, "principal must have at most 1,024 bytes"));
            }
            if keys.insert(key.keyid.clone(), Key::load(key)?).is_some() {
                return Err(wrong(setting, "is given twice"));
            }
            if keys.len() > KEYS_MAX {
                return Err(wrong("signature keys".into(), "are more than 10,000"));
            }
        }
        Ok(Signatures {
            keys,
            required: config.required.iter().map(|name| name.to_ascii_lowercase()).collect(),
            max_age_s: if config.max_age_s > 0 { config.max_age_s } else { MAX_AGE_S },
            tag: config.tag.clone(),
            require_nonce: config.require_nonce,
        })
    }

    /// Checks every signature that the request carries and that is meant for us.
    pub(crate) fn check(&self, request: &HttpRequest<'_>, replay: &Replay, now_s: i64) -> Signed {
        let mut found = Signed::default();
        if self.keys.is_empty() || request.headers.get("signature-input").is_none() {
            return found;
        }
        let (inputs, signatures) = match (read(request, "signature-input"), read(request, "signature")) {
            (Ok(inputs), Ok(signatures)) => (inputs, signatures),
            (Err(refusal), _) | (_, Err(refusal)) => {
                found.failures.push(refusal.of("signature", claimed(None)));
                return found;
            }
        };
        for (label, input) in inputs.iter().take(SIGNATURES_MAX) {
            let Member::Inner(covered, params) = input else {
                let refusal = Refusal::from("its input is not a list of components");
                found.failures.push(refusal.of("signature", claimed(None)));
                continue;
            };
            let stated = match Stated::read(params) {
                Ok(stated) => stated,
                Err(refusal) => {
                    found.failures.push(refusal.of("signature", claimed(None)));
                    continue;
                }
            };
            // A signature with another tag is meant for another reader.
            if self.tag.is_some() && stated.tag != self.tag.as_deref() {
                continue;
            }
            let one = One { label, covered, params, stated, signatures: &signatures };
            match self.verify(&one, request, replay, now_s) {
                Ok((principal, content)) => {
                    found.principals.push(principal);
                    found.content = found.content.or(content);
                }
                Err(refusal) => found.failures.push(refusal.of("signature", claimed(one.stated.keyid))),
            }
        }
        found
    }

    fn verify(
        &self,
        one: &One<'_>,
        request: &HttpRequest<'_>,
        replay: &Replay,
        now_s: i64,
    ) -> Result<(Principal, Option<ContentDigest>), Refusal> {
        let keyid = one.stated.keyid.ok_or("it names no key (keyid)")?;
        let key = self
            .keys
            .get(keyid)
            .ok_or_else(|| Refusal::new(FailureKind::UnknownKey, "its key (keyid) is not configured"))?;
        if one.stated.alg.is_some_and(|alg| Algorithm::of(alg) != Some(key.algorithm)) {
            return Err("its algorithm (alg) is not that of its key".into());
        }
        let expires_s = self.check_times(&one.stated, now_s)?;
        self.check_coverage(one.covered, request)?;
        if self.require_nonce && one.stated.nonce.is_none() {
            return Err("it has no nonce, and one is required".into());
        }
        let signature = match one.signatures.iter().find(|(label, _)| label == one.label) {
            Some((_, Member::Item(Item { bare: Bare::Bytes(bytes), .. }))) => bytes,
            _ => return Err("its label has no value in the Signature header".into()),
        };
        let base = base::signature_base(request, one.covered, one.params)?;
        if !key.verifies(&base, signature) {
            return Err(Refusal::new(FailureKind::Signature, "it does not fit the request"));
        }
        let content = check_content(one.covered, request)?;
        if let Some(nonce) = one.stated.nonce {
            replay.first_use([b"sig", keyid.as_bytes(), nonce.as_bytes()], expires_s, now_s)?;
        }
        let principal = Principal {
            kind: Some(PrincipalKind::Service),
            auth: Some(Auth::HttpSig),
            from: Some(IdentityFrom::Header),
            cred: format!("key:{}", clip(keyid, 128)),
            cred_exp: one.stated.expires,
            ..Principal::new(key.principal.clone(), Verified::Bound)
        };
        Ok((principal, content))
    }

    /// When the signature stops being accepted.
    fn check_times(&self, stated: &Stated<'_>, now_s: i64) -> Result<i64, Refusal> {
        let created = stated.created.ok_or("it has no time (created)")?;
        let age = now_s.saturating_sub(created);
        if age < -LEEWAY_S {
            let why = format!("it was made {} s in the future (created): clocks differ", age.unsigned_abs());
            return Err(Refusal::new(FailureKind::Skew, why));
        }
        let ends = created.saturating_add(self.max_age_s).min(stated.expires.unwrap_or(i64::MAX));
        let late = now_s.saturating_sub(ends);
        if late >= LEEWAY_S {
            return Err(Refusal::new(FailureKind::Expired, format!("it expired {late} s ago")));
        }
        Ok(ends.saturating_add(LEEWAY_S + 1))
    }

    /// A signature over less than the method and the target would fit another request as well.
    fn check_coverage(&self, covered: &[Item], request: &HttpRequest<'_>) -> Result<(), Refusal> {
        let has = |name: &str| {
            covered.iter().any(|c| c.params.is_empty() && matches!(&c.bare, Bare::String(n) if n == name))
        };
        if let Some(missing) = self.required.iter().find(|name| !has(name)) {
            return Err(format!("it does not cover {missing}, which is required").into());
        }
        if !self.required.is_empty() {
            return Ok(());
        }
        let query = !request.path_and_query.contains('?') || has("@query") || has("@request-target");
        let target =
            has("@target-uri") || (has("@authority") && query && (has("@path") || has("@request-target")));
        if has("@method") && target {
            Ok(())
        } else {
            Err("it covers too little: @method and the target (@target-uri, or @authority, @path and @query)"
                .into())
        }
    }
}

/// One signature of a request.
struct One<'a> {
    label: &'a str,
    covered: &'a [Item],
    params: &'a Params,
    stated: Stated<'a>,
    signatures: &'a Dictionary,
}

impl<'a> Stated<'a> {
    fn read(params: &'a Params) -> Result<Stated<'a>, Refusal> {
        let mut stated = Stated::default();
        for (key, value) in params {
            match (key.as_str(), value) {
                ("created", Bare::Integer(n)) => stated.created = Some(*n),
                ("expires", Bare::Integer(n)) => stated.expires = Some(*n),
                ("nonce", Bare::String(s)) if s.len() <= NONCE_MAX_BYTES => stated.nonce = Some(s),
                ("keyid", Bare::String(s)) if s.len() <= KEYID_MAX_BYTES => stated.keyid = Some(s),
                ("alg", Bare::String(s)) => stated.alg = Some(s),
                ("tag", Bare::String(s)) => stated.tag = Some(s),
                ("created" | "expires" | "nonce" | "keyid" | "alg" | "tag", _) => {
                    return Err(format!("its parameter {key} is of a wrong type or too long").into());
                }
                // Parameters that we do not know are covered by the signature and mean nothing to us.
                _ => {}
            }
        }
        Ok(stated)
    }
}

/// A dictionary field of the request, all lines of it.
fn read(request: &HttpRequest<'_>, name: &str) -> Result<Dictionary, Refusal> {
    let values = request.headers.values(name);
    if values.len() != request.headers.count(name) {
        return Err(format!("not every line of {name} is at hand").into());
    }
    sf::dictionary(&values.join(&b", "[..])).map_err(|why| format!("{name} is out of form: {why}").into())
}

/// Holds a covered `Content-Digest` (RFC 9530) against the body; what is to be compared later, if it is not here.
fn check_content(covered: &[Item], request: &HttpRequest<'_>) -> Result<Option<ContentDigest>, Refusal> {
    let covers = covered.iter().any(|c| matches!(&c.bare, Bare::String(n) if n == "content-digest"));
    if !covers {
        return Ok(None);
    }
    let mut stated = ContentDigest::default();
    for (key, member) in read(request, "content-digest")? {
        let Member::Item(Item { bare: Bare::Bytes(bytes), .. }) = member else {
            return Err("its Content-Digest is out of form".into());
        };
        match key.as_str() {
            "sha-256" => {
                stated.sha256 = Some(bytes.try_into().map_err(|_| "its SHA-256 has a wrong length")?)
            }
            "sha-512" => {
                stated.sha512 = Some(bytes.try_into().map_err(|_| "its SHA-512 has a wrong length")?)
            }
            _ => {}
        }
    }
    match request.body.and_then(|body| stated.check(&body)) {
        Some(true) => Ok(None),
        Some(false) => {
            let why = "the body is not the one that was signed (Content-Digest)";
            Err(Refusal::new(FailureKind::Digest, why))
        }
        None => Ok(Some(stated)),
    }
}

/// What a signature that did not pass says of itself.
fn claimed(keyid: Option<&str>) -> Principal {
    let (auth, from) = (Some(Auth::HttpSig), Some(IdentityFrom::Header));
    match keyid {
        Some(keyid) => {
            Principal { auth, from, ..Principal::new(format!("key:{}", clip(keyid, 128)), Verified::Claimed) }
        }
        None => Principal {
            auth,
            from,
            kind: Some(PrincipalKind::Anonymous),
            ..Principal::new("anon:", Verified::Claimed)
        },
    }
}

/// Takes two fields of any bytes apart and builds a base over them, for fuzzing.
pub(crate) fn judge(input: &[u8], request: &HttpRequest<'_>) {
    if let Ok(dictionary) = sf::dictionary(input) {
        let written = sf::write_dictionary(&dictionary);
        assert_eq!(sf::dictionary(written.as_bytes()), Ok(dictionary.clone()), "written back as itself");
        for (_, member) in &dictionary {
            if let Member::Inner(covered, params) = member {
                let _ = Stated::read(params).is_ok();
                let _ = base::signature_base(request, covered, params);
            }
        }
    }
    let _ = (sf::list(input).map(|l| sf::write_list(&l)), sf::item(input));
}
