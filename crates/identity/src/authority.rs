//! A throw-away authority: SPIFFE certificates, tokens and API keys for the demo and for tests.
//!
//! Not a certificate authority to run: its keys live in memory, are written nowhere and end with the process.
//! Invariant: everything it issues is good for [`LIFE`] at most.

use crate::IdentityError;
use crate::config::{JwtIssuer, TrustBundle};
use crate::text::{hex, sha256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use ring::rand::{SecureRandom, SystemRandom};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long certificates are good for.
pub const LIFE: Duration = Duration::from_secs(7 * 86_400);
/// Certificates begin this long before they are made, for clocks that lag.
const BACKDATED: Duration = Duration::from_secs(300);
/// A clock beyond this is broken; certificates could not hold its time.
const YEAR_3000_S: u64 = 32_503_680_000;

/// Keys and names of one throw-away trust domain.
pub struct Authority {
    trust_domain: String,
    now_s: i64,
    ca_pem: String,
    ca: Issuer<'static, KeyPair>,
    token_key: EncodingKey,
    token_point: Vec<u8>,
    kid: String,
    pepper: [u8; 32],
}

/// A workload's certificate and key, both PEM.
pub struct Issued {
    /// Its name.
    pub spiffe_id: String,
    /// Leaf certificate.
    pub cert_pem: String,
    /// Private key (PKCS#8).
    pub key_pem: String,
}

/// What a server needs to believe the authority, as files.
#[derive(Clone, Debug)]
pub struct AuthorityFiles {
    /// CA certificate (PEM).
    pub ca: PathBuf,
    /// Public key of the tokens (JWKS).
    pub jwks: PathBuf,
    /// Pepper of the API keys.
    pub pepper: PathBuf,
}

impl Authority {
    /// A fresh authority for `trust_domain`, beginning at `now_s` (Unix seconds).
    ///
    /// # Errors
    /// A bad trust domain, or a system without randomness.
    pub fn new(trust_domain: &str, now_s: i64) -> Result<Authority, IdentityError> {
        crate::provider::install();
        let trust_domain = crate::spiffe::trust_domain(trust_domain)
            .map_err(|why| IdentityError::Setting { setting: "trust domain".into(), why: why.into() })?;
        let ca_key = KeyPair::generate().map_err(failed)?;
        let mut params = params(&format!("{trust_domain} throw-away authority"), now_s)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(format!("spiffe://{trust_domain}"))?];
        let ca_pem = params.self_signed(&ca_key).map_err(failed)?.pem();
        let token = KeyPair::generate().map_err(failed)?;
        let token_point = token.public_key_raw().to_vec();
        let mut pepper = [0; 32];
        SystemRandom::new().fill(&mut pepper).map_err(|_| failed("the system gave no randomness"))?;
        Ok(Authority {
            now_s,
            ca_pem,
            ca: Issuer::new(params, ca_key),
            token_key: EncodingKey::from_ec_der(&token.serialize_der()),
            kid: hex(&sha256(&token_point)[..8]),
            token_point,
            pepper,
            trust_domain,
        })
    }

    /// Its trust domain, lower case.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Its CA certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The `iss` of its tokens.
    pub fn token_issuer(&self) -> String {
        format!("https://{}", self.trust_domain)
    }

    /// The pepper of its API keys, for [`crate::mint_api_key`].
    pub fn pepper(&self) -> &[u8] {
        &self.pepper
    }

    /// An SVID for `path` (`/ns/demo/sa/payments`), good as client and as server under the names in `hosts`
    /// (DNS names or addresses).
    ///
    /// # Errors
    /// A path or host name out of form.
    pub fn issue(&self, path: &str, hosts: &[&str]) -> Result<Issued, IdentityError> {
        let spiffe_id = format!("spiffe://{}{path}", self.trust_domain);
        crate::SpiffeId::parse(&spiffe_id).map_err(failed)?;
        self.issue_named(&spiffe_id.clone(), &[spiffe_id], hosts)
    }

    /// A certificate with any URI names, for tests of what must be refused; `common_name` is its subject.
    ///
    /// # Errors
    /// Names out of form.
    pub fn issue_named(
        &self,
        common_name: &str,
        uris: &[String],
        hosts: &[&str],
    ) -> Result<Issued, IdentityError> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = params(common_name, self.now_s)?;
        // The extension is written out: readers of SVIDs want to see that it is no authority.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![Usage::ClientAuth, Usage::ServerAuth];
        for name in uris {
            params.subject_alt_names.push(uri(name.clone())?);
        }
        for host in hosts {
            params.subject_alt_names.push(match host.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.to_string().try_into().map_err(failed)?),
            });
        }
        let cert_pem = params.signed_by(&key, &self.ca).map_err(failed)?.pem();
        let spiffe_id = uris.first().cloned().unwrap_or_default();
        Ok(Issued { spiffe_id, cert_pem, key_pem: key.serialize_pem() })
    }

    /// A token for a service that speaks for itself (client credentials): `sub` and `client_id` are `subject`.
    ///
    /// # Errors
    /// Signing failed.
    pub fn token(
        &self,
        subject: &str,
        audience: &str,
        now_s: i64,
        life_s: i64,
    ) -> Result<String, IdentityError> {
        let mut id = [0; 12];
        SystemRandom::new().fill(&mut id).map_err(|_| failed("the system gave no randomness"))?;
        self.sign(&serde_json::json!({
            "iss": self.token_issuer(), "sub": subject, "client_id": subject, "aud": audience,
            "iat": now_s, "nbf": now_s, "exp": now_s.saturating_add(life_s), "jti": hex(&id),
        }))
    }

    /// A token with any claims, signed with ES256 under the authority's key id.
    ///
    /// # Errors
    /// Signing failed.
    pub fn sign(&self, claims: &serde_json::Value) -> Result<String, IdentityError> {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.token_key).map_err(failed)
    }

    /// The public key of the tokens as a JWKS.
    pub fn jwks(&self) -> String {
        let (x, y) = self.token_point[1..].split_at(32);
        let key = serde_json::json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        serde_json::json!({ "keys": [key] }).to_string()
    }

    /// Writes what a server needs (`ca.pem`, `jwks.json`, `api-keys.pepper`) into `dir`. No signing key.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<AuthorityFiles, IdentityError> {
        let files = AuthorityFiles {
            ca: dir.join("ca.pem"),
            jwks: dir.join("jwks.json"),
            pepper: dir.join("api-keys.pepper"),
        };
        write_private(&files.ca, self.ca_pem.as_bytes())?;
        write_private(&files.jwks, self.jwks().as_bytes())?;
        write_private(&files.pepper, STANDARD.encode(self.pepper).as_bytes())?;
        Ok(files)
    }

    /// The trust bundle that believes its certificates, given the files of [`Authority::write`].
    pub fn trust(&self, files: &AuthorityFiles) -> TrustBundle {
        TrustBundle { trust_domain: Some(self.trust_domain.clone()), ca_pem: files.ca.clone() }
    }

    /// The issuer entry that believes its tokens for `audience`, given the files of [`Authority::write`].
    pub fn jwt(&self, files: &AuthorityFiles, audience: &str) -> JwtIssuer {
        JwtIssuer {
            issuer: self.token_issuer(),
            audience: vec![audience.to_owned()],
            keys: files.jwks.clone(),
            ..JwtIssuer::default()
        }
    }
}

impl Issued {
    /// Writes `<name>.pem` and `<name>.key` (mode 0600) into `dir` and gives their paths.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, dir: &Path, name: &str) -> Result<(PathBuf, PathBuf), IdentityError> {
        let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        write_private(&cert, self.cert_pem.as_bytes())?;
        write_private(&key, self.key_pem.as_bytes())?;
        Ok((cert, key))
    }
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    use std::os::unix::fs::OpenOptionsExt;
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
    };
    write().map_err(|source| IdentityError::Write { path: path.to_owned(), source })
}

fn params(common_name: &str, now_s: i64) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = Duration::from_secs(u64::try_from(now_s).unwrap_or(0).min(YEAR_3000_S));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now.saturating_add(LIFE);
    Ok(params)
}

fn uri(text: String) -> Result<SanType, IdentityError> {
    Ok(SanType::URI(text.try_into().map_err(failed)?))
}

fn failed(error: impl std::fmt::Display) -> IdentityError {
    IdentityError::Authority(error.to_string())
}
