//! The body of a request, whole and unpacked, within bounds.

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use std::io::Read;

/// Largest body, packed and unpacked, bytes.
pub(super) const BODY_MAX: usize = 32 << 20;
/// Most bytes that one packed byte may unfold to, above [`RATIO_FREE`].
pub(super) const RATIO_MAX: usize = 100;
/// Unpacked bytes that no ratio is asked about.
const RATIO_FREE: usize = 1 << 20;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// Larger than [`BODY_MAX`], or unfolds to more than [`RATIO_MAX`] allows.
    TooLarge,
    /// Packed in a way that is not known here.
    Encoding,
    /// Not what its encoding says.
    Broken,
    /// The client went away.
    Cut,
}

/// Reads and unpacks the body of a request.
pub(super) async fn whole(headers: &HeaderMap, body: Incoming) -> Result<Bytes, BodyError> {
    let packed = match Limited::new(body, BODY_MAX).collect().await {
        Ok(packed) => packed.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(BodyError::TooLarge),
        Err(_) => return Err(BodyError::Cut),
    };
    match headers.get("content-encoding").map(http::HeaderValue::as_bytes) {
        None | Some(b"identity" | b"") => Ok(packed),
        Some(b"gzip" | b"x-gzip") => gunzip(&packed).map(Bytes::from),
        Some(_) => Err(BodyError::Encoding),
    }
}

/// Unpacks gzip, several members one behind the other included (RFC 1952 section 2.2).
pub(super) fn gunzip(packed: &[u8]) -> Result<Vec<u8>, BodyError> {
    let most = packed.len().saturating_mul(RATIO_MAX).clamp(RATIO_FREE, BODY_MAX);
    let mut out = Vec::new();
    let mut reader = MultiGzDecoder::new(packed).take(most as u64 + 1);
    reader.read_to_end(&mut out).map_err(|_| BodyError::Broken)?;
    if out.len() > most { Err(BodyError::TooLarge) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn what_was_packed_comes_back_and_a_bomb_does_not() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        assert_eq!(gunzip(&gzip(&text)), Ok(text.clone()));
        assert_eq!(gunzip(&[gzip(&text), gzip(b"more")].concat()), Ok([&text[..], b"more"].concat()));
        assert_eq!(gunzip(&gzip(&vec![0; 8 << 20])), Err(BodyError::TooLarge));
        assert_eq!(gunzip(&gzip(&text)[..100]), Err(BodyError::Broken));
    }
}
