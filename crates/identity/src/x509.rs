//! Client certificates: SPIFFE X.509-SVIDs and plain X.509 subjects.
//!
//! Not the handshake, which has proved possession of the key. Invariants: a SPIFFE id counts only when the
//! chain leads to an authority of *that* trust domain; a certificate that looks like an SVID and breaks its
//! rules (two URIs, a CA bit, a bad id) names nobody; parsing is bounded by the handshake's own limits.

use crate::IdentityError;
use crate::config::TrustBundle;
use crate::identities::TlsIdentity;
use crate::refusal::{Failure, FailureKind};
use crate::spiffe::{self, SpiffeId};
use crate::text::{CLAIM_MAX, clip, hex, sha256};
use crate::tls::{load_roots, provider};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_event::{Auth, IdentityFrom, Principal, PrincipalKind, Verified};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// Largest leaf certificate that is looked at.
const LEAF_MAX_BYTES: usize = 64 << 10;
/// Longest chain that is looked at.
const CHAIN_MAX: usize = 10;

/// The authorities of client certificates, by trust domain.
#[derive(Default)]
pub(crate) struct Trust {
    bundles: Vec<Bundle>,
}

struct Bundle {
    trust_domain: Option<String>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// What a leaf certificate says, before anybody believes it.
struct Leaf {
    cert_sha256: [u8; 32],
    spki_sha256: [u8; 32],
    /// All URI names in it.
    uris: Vec<String>,
    common_name: String,
    subject: String,
    issuer: String,
    not_after_s: i64,
    /// May sign certificates, by basic constraints or key usage.
    authority: bool,
}

/// The authorities of one trust domain, as a workload API gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// The trust domain, with or without `spiffe://`.
    pub trust_domain: String,
    /// Certificates, DER.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// `workload` adds to the configured files; a trust domain in both believes both.
    pub(crate) fn load(config: &[TrustBundle], workload: &[Authorities]) -> Result<Trust, IdentityError> {
        let mut files: Vec<(Option<String>, Vec<PathBuf>, Vec<CertificateDer<'static>>)> = Vec::new();
        for bundle in config {
            let domain = bundle.trust_domain.as_deref().map(spiffe::trust_domain).transpose();
            let domain = domain.map_err(|why| IdentityError::Setting {
                setting: format!("trust_domain {:?}", bundle.trust_domain.as_deref().unwrap_or("")),
                why: why.into(),
            })?;
            match files.iter_mut().find(|(known, ..)| *known == domain) {
                Some((_, paths, _)) => paths.push(bundle.ca_pem.clone()),
                None => files.push((domain, vec![bundle.ca_pem.clone()], Vec::new())),
            }
        }
        for given in workload {
            let domain = Some(workload_domain(given)?);
            let certificates = given.certificates.clone();
            match files.iter_mut().find(|(known, ..)| *known == domain) {
                Some((.., more)) => more.extend(certificates),
                None => files.push((domain, Vec::new(), certificates)),
            }
        }
        let mut bundles = Vec::with_capacity(files.len());
        for (trust_domain, paths, certificates) in files {
            let mut roots = load_roots(&paths)?;
            roots.add_parsable_certificates(certificates);
            if roots.is_empty() {
                // A workload API may know a trust domain and have no authority for it: nobody of it is believed.
                continue;
            }
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            let verifier = verifier.map_err(|e| IdentityError::Tls {
                path: paths.first().cloned().unwrap_or_default(),
                why: e.to_string(),
            })?;
            bundles.push(Bundle { trust_domain, verifier });
        }
        Ok(Trust { bundles })
    }

    /// Who the peer of a completed handshake is; `certs` leaf first.
    pub(crate) fn identify(&self, certs: &[CertificateDer<'_>], now_s: i64) -> TlsIdentity {
        let Some((first, rest)) = certs.split_first() else { return TlsIdentity::default() };
        let cert_sha256 = Some(sha256(first));
        let refuse = |claimed: Principal, reason: &str| TlsIdentity {
            principal: None,
            cert_sha256,
            failures: vec![failure(claimed, reason)],
        };
        let leaf = match parse_leaf(first) {
            Ok(leaf) => leaf,
            Err(reason) => return refuse(anonymous(), reason),
        };
        if rest.len() >= CHAIN_MAX {
            return refuse(leaf.claimed(), "its chain is longer than 10 certificates");
        }
        match leaf.spiffe_id() {
            None => match self.accepts_x509(first, rest, now_s) {
                Ok(()) => TlsIdentity { principal: Some(leaf.x509()), cert_sha256, failures: Vec::new() },
                Err(reason) => refuse(leaf.claimed(), reason),
            },
            Some(Err(reason)) => refuse(leaf.claimed(), reason),
            Some(Ok(id)) => self.identify_spiffe(&leaf, &id, first, rest, now_s),
        }
    }

    fn identify_spiffe(
        &self,
        leaf: &Leaf,
        id: &SpiffeId,
        first: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now_s: i64,
    ) -> TlsIdentity {
        let cert_sha256 = Some(leaf.cert_sha256);
        let domain = Some(id.trust_domain());
        let named = self.bundles.iter().find(|b| b.trust_domain.as_deref() == domain);
        let reason = match named {
            Some(bundle) if bundle.accepts(first, rest, now_s) => {
                return TlsIdentity { principal: Some(leaf.svid(id)), cert_sha256, failures: Vec::new() };
            }
            Some(_) => "its chain does not lead to an authority of its trust domain",
            None => "no authority is configured for its trust domain; set trust_domain beside the authority",
        };
        // Without a bundle of its own the certificate may still be good as plain X.509: then its key is the
        // identity, and the SPIFFE id remains a claim.
        let plain = named.is_none() && self.accepts_x509(first, rest, now_s).is_ok();
        let failures = vec![failure(leaf.claimed(), reason)];
        TlsIdentity { principal: plain.then(|| leaf.x509()), cert_sha256, failures }
    }

    fn accepts_x509(
        &self,
        first: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now_s: i64,
    ) -> Result<(), &'static str> {
        // No bundle at all: the listener's own authority has accepted the certificate in the handshake.
        let plain = |b: &&Bundle| b.trust_domain.is_none();
        if self.bundles.is_empty() || self.bundles.iter().filter(plain).any(|b| b.accepts(first, rest, now_s))
        {
            Ok(())
        } else {
            Err("its chain leads to no configured authority without a trust domain")
        }
    }
}

fn workload_domain(given: &Authorities) -> Result<String, IdentityError> {
    spiffe::trust_domain(&given.trust_domain).map_err(|why| IdentityError::Setting {
        setting: "trust domain of the workload API".into(),
        why: why.into(),
    })
}

impl Bundle {
    fn accepts(&self, first: &CertificateDer<'_>, rest: &[CertificateDer<'_>], now_s: i64) -> bool {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now_s).unwrap_or(0)));
        self.verifier.verify_client_cert(first, rest, now).is_ok()
    }
}

impl Leaf {
    /// The certificate's SPIFFE id: `None` when it is no SVID, an error when it is a wrong one.
    fn spiffe_id(&self) -> Option<Result<SpiffeId, &'static str>> {
        let first = self.uris.iter().find(|uri| spiffe::claims_spiffe(uri))?;
        Some(if self.uris.len() != 1 {
            Err("it has more than one URI name; an SVID has exactly one")
        } else if self.authority {
            Err("it may sign certificates; an SVID of a workload must not")
        } else {
            SpiffeId::parse(first)
        })
    }

    fn svid(&self, id: &SpiffeId) -> Principal {
        Principal {
            kind: Some(PrincipalKind::Workload),
            auth: Some(Auth::SpiffeSvid),
            iss: id.trust_domain().to_owned(),
            svc: clip(id.workload(), CLAIM_MAX).to_owned(),
            ..self.principal(id.to_string(), Verified::Bound)
        }
    }

    fn x509(&self) -> Principal {
        let name = if self.common_name.is_empty() { &self.subject } else { &self.common_name };
        Principal {
            auth: Some(Auth::Mtls),
            iss: clip(&self.issuer, CLAIM_MAX).to_owned(),
            name: clip(name, CLAIM_MAX).to_owned(),
            ..self.principal(format!("x509:{}", hex(&self.spki_sha256)), Verified::Bound)
        }
    }

    fn principal(&self, id: String, verified: Verified) -> Principal {
        Principal {
            cred: format!("x5t#S256:{}", URL_SAFE_NO_PAD.encode(self.cert_sha256)),
            cred_exp: Some(self.not_after_s),
            from: Some(IdentityFrom::Tls),
            ..Principal::new(id, verified)
        }
    }

    /// What a certificate that was not accepted says of itself, at level 1.
    fn claimed(&self) -> Principal {
        let spiffe = self.uris.iter().find(|uri| spiffe::claims_spiffe(uri));
        let (id, auth) = match spiffe {
            Some(uri) => (clip(uri, CLAIM_MAX).to_owned(), Auth::SpiffeSvid),
            None => (format!("x509:{}", hex(&self.spki_sha256)), Auth::Mtls),
        };
        Principal { auth: Some(auth), ..self.principal(id, Verified::Claimed) }
    }
}

/// The SPIFFE id of a certificate that keeps the rules of an SVID.
pub(crate) fn svid_id(der: &[u8]) -> Result<SpiffeId, &'static str> {
    parse_leaf(der)?.spiffe_id().unwrap_or(Err("it holds no SPIFFE id"))
}

/// When a certificate ends, Unix seconds.
pub(crate) fn not_after_s(der: &[u8]) -> Option<i64> {
    Some(x509_parser::parse_x509_certificate(der).ok()?.1.validity().not_after.timestamp())
}

/// The DNS names of a certificate, lower case.
pub(crate) fn dns_names(der: &[u8]) -> Vec<String> {
    let Ok((_, cert)) = x509_parser::parse_x509_certificate(der) else { return Vec::new() };
    let names = cert.subject_alternative_name().ok().flatten();
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    names.map(|n| n.value.general_names.iter().filter_map(dns).collect()).unwrap_or_default()
}

fn parse_leaf(der: &[u8]) -> Result<Leaf, &'static str> {
    if der.len() > LEAF_MAX_BYTES {
        return Err("it is larger than 64 KiB");
    }
    let (rest, cert) = x509_parser::parse_x509_certificate(der).map_err(|_| "it is not readable")?;
    if !rest.is_empty() {
        return Err("it has bytes after its end");
    }
    let common_name = cert.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok()).unwrap_or("");
    Ok(Leaf {
        cert_sha256: sha256(der),
        spki_sha256: sha256(cert.public_key().raw),
        uris: uris(&cert)?,
        common_name: clip(common_name, CLAIM_MAX).to_owned(),
        subject: cert.subject().to_string(),
        issuer: cert.issuer().to_string(),
        not_after_s: cert.validity().not_after.timestamp(),
        authority: may_sign(&cert)?,
    })
}

fn uris(cert: &X509Certificate<'_>) -> Result<Vec<String>, &'static str> {
    let names = cert.subject_alternative_name().map_err(|_| "its alternative names are not readable")?;
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    Ok(names.map(|n| n.value.general_names.iter().filter_map(uri).collect()).unwrap_or_default())
}

fn may_sign(cert: &X509Certificate<'_>) -> Result<bool, &'static str> {
    let ca = cert.basic_constraints().map_err(|_| "its basic constraints are not readable")?;
    let usage = cert.key_usage().map_err(|_| "its key usage is not readable")?;
    Ok(ca.is_some_and(|c| c.value.ca) || usage.is_some_and(|u| u.value.key_cert_sign() || u.value.crl_sign()))
}

fn anonymous() -> Principal {
    let (auth, from) = (Some(Auth::Mtls), Some(IdentityFrom::Tls));
    Principal {
        auth,
        from,
        kind: Some(PrincipalKind::Anonymous),
        ..Principal::new("anon:", Verified::Claimed)
    }
}

fn failure(claimed: Principal, reason: &str) -> Failure {
    Failure { claimed, reason: format!("certificate refused: {reason}"), kind: FailureKind::Invalid }
}
