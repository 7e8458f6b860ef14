//! One HTTP request as far as a proof of identity may depend on it.
//!
//! Not a parser: the caller has read the message and lends its parts. Invariant: nothing here is believed; a part
//! that a proof needs and that is not there makes the proof fail.

use std::net::IpAddr;

/// Headers of one request. Names are asked for in lower case.
pub trait HeaderLookup {
    /// First value of the header, as it was on the wire.
    fn get(&self, name: &str) -> Option<&[u8]>;
    /// How many times the header is there; a credential given twice is refused.
    fn count(&self, name: &str) -> usize {
        usize::from(self.get(name).is_some())
    }
    /// All values of the header, in wire order. Whoever can hold a header more than once must give them all: a
    /// signature over a field of which some lines are missing is refused.
    fn values(&self, name: &str) -> Vec<&[u8]> {
        self.get(name).into_iter().collect()
    }
}

/// The request that a DPoP proof (RFC 9449) or a signature (RFC 9421) is about.
#[derive(Clone, Copy)]
pub struct HttpRequest<'a> {
    /// Method as on the wire.
    pub method: &'a str,
    /// `https` or `http`, as the client used it.
    pub scheme: &'a str,
    /// The `Host` field, the absolute target's authority, or `:authority`.
    pub authority: &'a str,
    /// Path and query as on the wire, beginning with `/` (`*` for `OPTIONS *`).
    pub path_and_query: &'a str,
    /// The HTTP/1.1 request target where it is not `path_and_query` (absolute form, `CONNECT`).
    pub target: Option<&'a str>,
    /// Its header section, without trailers.
    pub headers: &'a dyn HeaderLookup,
    /// Address of the socket's peer, for headers that only listed proxies may set.
    pub peer: Option<IpAddr>,
    /// Digests of the whole body, if it is here already.
    pub body: Option<BodyDigests>,
}

/// Digests of a body as it was received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyDigests {
    /// SHA-256, if it was computed.
    pub sha256: Option<[u8; 32]>,
    /// SHA-512, if it was computed.
    pub sha512: Option<[u8; 64]>,
}

/// What a signed `Content-Digest` (RFC 9530) says of the body; the identity holds only if the body agrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentDigest {
    /// The stated SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// The stated SHA-512.
    pub sha512: Option<[u8; 64]>,
}

impl ContentDigest {
    /// Whether the body is the signed one; `None` = no digest is known on both sides, so it stays unchecked.
    pub fn check(&self, body: &BodyDigests) -> Option<bool> {
        let short = self.sha256.zip(body.sha256).map(|(stated, is)| stated == is);
        let long = self.sha512.zip(body.sha512).map(|(stated, is)| stated == is);
        match (short, long) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(true) && b.unwrap_or(true)),
        }
    }
}
