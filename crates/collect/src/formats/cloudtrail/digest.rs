//! CloudTrail digest files: what each log file hashes to, signed by AWS, chained hour to hour.
//!
//! A digest that verifies shows that the log files it names are as CloudTrail wrote them and that none of that hour
//! is missing; it says nothing about identities inside. Verifying is pure: files, signature and keys are
//! parameters, fetched by others. Contents are the uncompressed ones.
//!
//! Source: AWS CloudTrail User Guide, "CloudTrail digest file structure" and "Custom implementations of CloudTrail
//! log file integrity validation". Signature: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 section 8.2) over end time,
//! place, hash and previous signature, each on a line.

use crate::formats::cloud::{hex, text, unhex};
use crate::json::{Doc, TEXT_MAX, Val, split};
use ring::digest::{SHA256, digest};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

/// Most log files in one digest.
pub const LOGS_MAX: usize = 100_000;

/// Why a digest or what it names does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is no digest file, or holds more than the bounds.
    #[error("not a digest file: {0}")]
    Form(&'static str),
    /// It lies elsewhere than it says: moved, or put in another's place.
    #[error("the digest file does not lie where it says")]
    Place,
    /// None of the keys has its fingerprint.
    #[error("no public key with the digest's fingerprint")]
    Key,
    /// The signature is not of this content.
    #[error("the signature of the digest file does not verify")]
    Signature,
    /// The digest before it is another than the one it was chained to.
    #[error("the previous digest file is not the one this was chained to")]
    Previous,
    /// The log file is not named by the digest.
    #[error("the digest file does not name this log file")]
    Unnamed,
    /// The log file's content is not what was signed.
    #[error("the log file was changed")]
    Changed,
}

/// A public key as CloudTrail's `ListPublicKeys` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its fingerprint, hexadecimal.
    pub fingerprint: String,
    /// RSAPublicKey, DER (RFC 8017 appendix A.1.1).
    pub der: Vec<u8>,
}

/// A file in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Bucket.
    pub bucket: String,
    /// Key in the bucket.
    pub object: String,
    /// SHA-256 of its uncompressed content.
    pub sha256: [u8; 32],
}

/// A digest whose signature verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Account.
    pub account: String,
    /// First and last instant it covers, as it spells them.
    pub span: (String, String),
    /// The one before it with its signature, hexadecimal; `None` = a chain begins here.
    pub previous: Option<(File, String)>,
    /// The log files of its span.
    pub logs: Vec<File>,
}

/// Verifies one digest: `content` as found at `bucket` and `object`, `signature` = its metadata
/// `x-amz-meta-signature`, hexadecimal.
///
/// # Errors
/// See [`Broken`]; nothing is known about the log files then.
pub fn verify(
    content: &[u8],
    (bucket, object): (&str, &str),
    signature: &str,
    keys: &[Key],
) -> Result<Verified, Broken> {
    let (head, logs) = parts(content)?;
    let doc = Doc::parse(&head).map_err(|fault| Broken::Form(fault.rule))?;
    let root = doc.root();
    let need = |name| text(root, name).ok_or(Broken::Form("a required field is missing"));
    let (own_bucket, own_object) = (need("digestS3Bucket")?, need("digestS3Object")?);
    if (own_bucket.as_ref(), own_object.as_ref()) != (bucket, object) {
        return Err(Broken::Place);
    }
    if need("digestSignatureAlgorithm")? != "SHA256withRSA" {
        return Err(Broken::Form("an unknown signature algorithm"));
    }
    let fingerprint = need("digestPublicKeyFingerprint")?;
    let before = text(root, "previousDigestSignature");
    let end = need("digestEndTime")?;
    let signed = format!(
        "{end}\n{own_bucket}/{own_object}\n{}\n{}",
        hex(digest(&SHA256, content)),
        before.as_deref().unwrap_or("null"),
    );
    let signature = unhex(signature.trim()).ok_or(Broken::Signature)?;
    let mut candidates =
        keys.iter().filter(|key| key.fingerprint.eq_ignore_ascii_case(&fingerprint)).peekable();
    if candidates.peek().is_none() {
        return Err(Broken::Key);
    }
    let holds = |key: &Key| {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key.der);
        key.verify(signed.as_bytes(), &signature).is_ok()
    };
    if !candidates.any(holds) {
        return Err(Broken::Signature);
    }
    Ok(Verified {
        account: need("awsAccountId")?.into_owned(),
        span: (need("digestStartTime")?.into_owned(), end.into_owned()),
        previous: previous(root)?,
        logs,
    })
}

/// What a digest says of itself before anything of it is verified: only to find what it must be verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Bucket that it says it lies in.
    pub bucket: String,
    /// Its key in that bucket.
    pub object: String,
    /// Last instant of its span.
    pub end: String,
    /// The one before it, with its signature.
    pub previous: Option<(File, String)>,
}

/// Reads [`Claims`].
///
/// # Errors
/// [`Broken::Form`].
pub fn claims(content: &[u8]) -> Result<Claims, Broken> {
    let (head, _) = parts(content)?;
    let doc = Doc::parse(&head).map_err(|fault| Broken::Form(fault.rule))?;
    let root = doc.root();
    let need = |name| match text(root, name) {
        Some(text) => Ok(text.into_owned()),
        None => Err(Broken::Form("a required field is missing")),
    };
    let (bucket, object, end) = (need("digestS3Bucket")?, need("digestS3Object")?, need("digestEndTime")?);
    Ok(Claims { bucket, object, end, previous: previous(root)? })
}

fn previous(root: Val<'_, '_>) -> Result<Option<(File, String)>, Broken> {
    let Some(signature) = text(root, "previousDigestSignature") else { return Ok(None) };
    let names = ["previousDigestS3Bucket", "previousDigestS3Object", "previousDigestHashValue"];
    Ok(Some((file(root, names, "previousDigestHashAlgorithm")?, signature.into_owned())))
}

/// Most keys in one answer of `ListPublicKeys`.
pub const KEYS_MAX: usize = 1_000;

/// The keys of an answer of `aws cloudtrail list-public-keys`: `{"PublicKeyList":[{"Value":…,"Fingerprint":…}]}`, the
/// value DER in Base64.
///
/// # Errors
/// [`Broken::Form`].
pub fn keys(answer: &[u8]) -> Result<Vec<Key>, Broken> {
    use base64::Engine as _;
    let doc = Doc::parse(answer).map_err(|fault| Broken::Form(fault.rule))?;
    let list = doc.root().get("PublicKeyList").ok_or(Broken::Form("no PublicKeyList"))?;
    let mut keys = Vec::new();
    for key in list.elements().take(KEYS_MAX) {
        let (Some(value), Some(fingerprint)) = (text(key, "Value"), text(key, "Fingerprint")) else {
            return Err(Broken::Form("a key without Value or Fingerprint"));
        };
        let der = base64::engine::general_purpose::STANDARD.decode(value.as_bytes());
        let der = der.map_err(|_| Broken::Form("a key is not Base64"))?;
        keys.push(Key { fingerprint: fingerprint.into_owned(), der });
    }
    if keys.is_empty() { Err(Broken::Form("no key in PublicKeyList")) } else { Ok(keys) }
}

impl Verified {
    /// Whether `content` with `signature` is the digest that this one was chained to. It must itself be verified.
    ///
    /// # Errors
    /// [`Broken::Previous`], also when this begins a chain: then there is no link to lean on.
    pub fn follows(&self, content: &[u8], signature: &str) -> Result<(), Broken> {
        match &self.previous {
            Some((file, signed))
                if hashes_to(content, file) && signed.eq_ignore_ascii_case(signature.trim()) =>
            {
                Ok(())
            }
            _ => Err(Broken::Previous),
        }
    }

    /// Whether `content`, found at `bucket` and `object`, is a log file as CloudTrail wrote it.
    ///
    /// # Errors
    /// [`Broken::Unnamed`] or [`Broken::Changed`].
    pub fn covers(&self, content: &[u8], (bucket, object): (&str, &str)) -> Result<(), Broken> {
        let named = self.logs.iter().find(|log| log.bucket == bucket && log.object == object);
        match named {
            None => Err(Broken::Unnamed),
            Some(log) if hashes_to(content, log) => Ok(()),
            Some(_) => Err(Broken::Changed),
        }
    }
}

fn hashes_to(content: &[u8], file: &File) -> bool {
    digest(&SHA256, content).as_ref() == file.sha256
}

/// The text without the elements of `logFiles`, and these: an hour may have more of them than a `Doc` has items.
fn parts(content: &[u8]) -> Result<(Vec<u8>, Vec<File>), Broken> {
    if content.len() > TEXT_MAX {
        return Err(Broken::Form("longer than the bound"));
    }
    let mut logs = Vec::new();
    let mut cut: Option<(usize, usize)> = None;
    for span in split::elements(content, Some("logFiles")) {
        let span = span.map_err(|fault| Broken::Form(fault.rule))?;
        if logs.len() >= LOGS_MAX {
            return Err(Broken::Form("more log files than the bound"));
        }
        let doc = Doc::parse(&content[span.clone()]).map_err(|fault| Broken::Form(fault.rule))?;
        logs.push(file(doc.root(), ["s3Bucket", "s3Object", "hashValue"], "hashAlgorithm")?);
        cut = Some((cut.map_or(span.start, |(start, _)| start), span.end));
    }
    let (start, end) = cut.unwrap_or((content.len(), content.len()));
    Ok(([&content[..start], &content[end..]].concat(), logs))
}

fn file(value: Val<'_, '_>, names: [&str; 3], algorithm: &str) -> Result<File, Broken> {
    let need = |name| text(value, name).ok_or(Broken::Form("a required field is missing"));
    if need(algorithm)? != "SHA-256" {
        return Err(Broken::Form("an unknown hash algorithm"));
    }
    let hash = unhex(&need(names[2])?).and_then(|hash| hash.try_into().ok());
    Ok(File {
        bucket: need(names[0])?.into_owned(),
        object: need(names[1])?.into_owned(),
        sha256: hash.ok_or(Broken::Form("a hash is not 64 hexadecimal digits"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = include_str!("../../../tests/fixtures/cloudtrail/key.hex");
    const FIRST: &str = include_str!("../../../tests/fixtures/cloudtrail/digest-13.json");
    const FIRST_SIGNATURE: &str = include_str!("../../../tests/fixtures/cloudtrail/digest-13.sig");
    const SECOND: &str = include_str!("../../../tests/fixtures/cloudtrail/digest-14.json");
    const SECOND_SIGNATURE: &str = include_str!("../../../tests/fixtures/cloudtrail/digest-14.sig");
    const LOG: &str = include_str!("../../../tests/fixtures/cloudtrail/log.json");
    const LOG_PLACE: (&str, &str) = ("audit-bucket", "AWSLogs/111122223333/CloudTrail/eu-west-1/log.json.gz");

    fn place(hour: u8) -> (&'static str, String) {
        let object =
            format!("AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/digest_20240313T{hour}0000Z.json.gz");
        ("audit-bucket", object)
    }

    fn keys() -> Vec<Key> {
        let value: serde_json::Value = serde_json::from_str(FIRST).unwrap();
        let fingerprint = value["digestPublicKeyFingerprint"].as_str().unwrap().to_owned();
        vec![Key { fingerprint, der: unhex(KEY.trim()).unwrap() }]
    }

    fn check(content: &str, hour: u8, signature: &str) -> Result<Verified, Broken> {
        let (bucket, object) = place(hour);
        verify(content.as_bytes(), (bucket, &object), signature, &keys())
    }

    #[test]
    fn a_chain_that_another_implementation_signed_verifies_to_its_log_file() {
        let first = check(FIRST, 14, FIRST_SIGNATURE).unwrap();
        assert_eq!((first.previous.as_ref(), first.logs.len()), (None, 0));
        let second = check(SECOND, 15, SECOND_SIGNATURE).unwrap();
        assert_eq!(second.follows(FIRST.as_bytes(), FIRST_SIGNATURE), Ok(()));
        assert_eq!(second.covers(LOG.as_bytes(), LOG_PLACE), Ok(()));
        assert_eq!(second.span.1, "2024-03-13T15:00:00Z");
    }

    #[test]
    fn a_change_anywhere_in_a_digest_is_found() {
        for at in (0..SECOND.len()).step_by(7) {
            let mut changed = SECOND.as_bytes().to_vec();
            changed[at] ^= 1;
            let (bucket, object) = place(15);
            assert!(verify(&changed, (bucket, &object), SECOND_SIGNATURE, &keys()).is_err(), "at {at}");
        }
        assert_eq!(check(SECOND, 15, FIRST_SIGNATURE), Err(Broken::Signature));
        assert_eq!(check(SECOND, 15, "zz"), Err(Broken::Signature));
        assert_eq!(check(SECOND, 15, ""), Err(Broken::Signature));
    }

    #[test]
    fn a_digest_in_another_place_or_of_another_key_is_found() {
        assert_eq!(check(SECOND, 16, SECOND_SIGNATURE), Err(Broken::Place));
        let (bucket, object) = place(15);
        assert_eq!(verify(SECOND.as_bytes(), (bucket, &object), SECOND_SIGNATURE, &[]), Err(Broken::Key));
    }

    #[test]
    fn a_log_file_changed_or_not_named_and_a_digest_not_chained_are_found() {
        let (first, second) =
            (check(FIRST, 14, FIRST_SIGNATURE).unwrap(), check(SECOND, 15, SECOND_SIGNATURE).unwrap());
        assert_eq!(second.covers(b"{\"Records\":[]}", LOG_PLACE), Err(Broken::Changed));
        assert_eq!(first.covers(LOG.as_bytes(), LOG_PLACE), Err(Broken::Unnamed));
        assert_eq!(second.follows(SECOND.as_bytes(), SECOND_SIGNATURE), Err(Broken::Previous));
        assert_eq!(first.follows(FIRST.as_bytes(), FIRST_SIGNATURE), Err(Broken::Previous));
    }

    #[test]
    fn an_hour_with_more_log_files_than_a_document_has_items_is_read() {
        let one = r#"{"s3Bucket":"b","s3Object":"o","hashValue":"00","hashAlgorithm":"SHA-256"}"#;
        let one = one.replace("00", &"0".repeat(64));
        let text = format!(r#"{{"logFiles":[{}],"x":1}}"#, vec![one; 5_000].join(","));
        let (head, logs) = parts(text.as_bytes()).unwrap();
        assert_eq!((head.as_slice(), logs.len()), (&br#"{"logFiles":[],"x":1}"#[..], 5_000));
    }
}
