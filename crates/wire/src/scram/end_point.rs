//! The channel binding `tls-server-end-point` (RFC 5929, section 4): a digest of the server's certificate.
//!
//! Reads of a certificate (DER, RFC 5280) its signature algorithm and nothing else. Linear; whatever does not have
//! the expected form has no binding.

use ring::digest::{self, Algorithm, SHA256, SHA384, SHA512};

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const CONTEXT_0: u8 = 0xa0;
/// 1.2.840.113549.1.1
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
/// 2.16.840.1.101.3.4.2
const NIST_HASH: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

/// The binding's data for a connection whose server showed `certificate` (DER): its digest by the hash that it was
/// signed with, by SHA-256 where that was MD5 or SHA-1. `None` = it names no hash that is known here (Ed25519 has
/// none at all), and RFC 5929 defines nothing for it.
pub fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (inside, _) = tlv(certificate, SEQUENCE)?;
    let (_signed, rest) = tlv(inside, SEQUENCE)?;
    let (algorithm, _) = tlv(rest, SEQUENCE)?;
    let (id, parameters) = tlv(algorithm, OBJECT_ID)?;
    let hash = if let Some(last) = id.strip_prefix(PKCS1) {
        match last {
            [4 | 5 | 11] => &SHA256,
            [12] => &SHA384,
            [13] => &SHA512,
            [10] => pss(parameters)?,
            _ => return None,
        }
    } else {
        match id.strip_prefix(ECDSA)? {
            [1] | [3, 2] => &SHA256,
            [3, 3] => &SHA384,
            [3, 4] => &SHA512,
            _ => return None,
        }
    };
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// The hash of RSASSA-PSS (RFC 4055, section 3.1), which is a parameter and by default SHA-1.
fn pss(parameters: &[u8]) -> Option<&'static Algorithm> {
    let (inside, _) = tlv(parameters, SEQUENCE)?;
    let Some((tagged, _)) = tlv(inside, CONTEXT_0) else { return Some(&SHA256) };
    let (id, _) = tlv(tlv(tagged, SEQUENCE)?.0, OBJECT_ID)?;
    match id.strip_prefix(NIST_HASH)? {
        [1] => Some(&SHA256),
        [2] => Some(&SHA384),
        [3] => Some(&SHA512),
        _ => None,
    }
}

/// Content of the element with `tag` at the front, and what follows it.
fn tlv(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (len, rest) = rest.split_first()?;
    let (len, rest) = match *len {
        short @ 0..=0x7f => (usize::from(short), rest),
        // At most three bytes of length: a certificate in TLS is no longer.
        long @ 0x81..=0x83 => {
            let n = usize::from(long & 0x7f);
            let len = rest.get(..n)?.iter().fold(0, |len, b| len << 8 | usize::from(*b));
            (len, rest.get(n..)?)
        }
        _ => return None,
    };
    (*found == tag && len <= rest.len()).then(|| rest.split_at(len))
}
