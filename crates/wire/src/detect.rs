//! What a connection speaks, told from its first bytes. At most [`PEEK_MAX`] of them are looked at.
//!
//! Not a proof: only a choice of parser. A message that then breaks the chosen protocol's rules is refused
//! by its framer, and what is [`Detected::Other`] is passed and recorded as opaque.

/// Most bytes that detection looks at.
pub const PEEK_MAX: usize = 64;
/// Longest method token that is still taken for HTTP.
const METHOD_MAX: usize = 24;

/// What the first bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// An HTTP/1.x request line.
    Http1,
    /// An HTTP/2 connection preface.
    Http2,
    /// A TLS client hello.
    Tls,
    /// None of the above.
    Other,
    /// More bytes may still decide.
    Undecided,
}

impl Detected {
    /// A word for the record of an opaque session.
    pub fn word(self) -> &'static str {
        match self {
            Detected::Http1 => "http1",
            Detected::Http2 => "http2",
            Detected::Tls => "tls",
            Detected::Other => "other",
            Detected::Undecided => "undecided",
        }
    }
}

/// Methods after which a space alone is enough: what follows is then judged by the framer, so that a
/// malformed request of a real HTTP client is refused by name and not passed as opaque.
const WELL_KNOWN: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"];

/// Judges the first bytes a client sent.
pub fn detect(first: &[u8]) -> Detected {
    let seen = first.get(..PEEK_MAX).unwrap_or(first);
    match seen.first() {
        None => Detected::Undecided,
        Some(0x16) => tls(seen),
        Some(_) if preface(seen) => {
            if seen.len() >= 14 {
                Detected::Http2
            } else {
                Detected::Undecided
            }
        }
        Some(_) => after_blanks(seen),
    }
}

/// Servers that skip empty lines and blanks before a request line would serve what passed as opaque, so the
/// framer gets it, which refuses it by name.
fn after_blanks(seen: &[u8]) -> Detected {
    let blank = |b: &u8| matches!(b, b'\r' | b'\n' | b' ' | b'\t');
    match seen.iter().position(|b| !blank(b)) {
        Some(at) => http1(seen.get(at..).unwrap_or_default()),
        None if seen.len() < PEEK_MAX => Detected::Undecided,
        None => Detected::Http1,
    }
}

/// TLS record: handshake (22), major version 3.
fn tls(seen: &[u8]) -> Detected {
    match seen.get(1) {
        None => Detected::Undecided,
        Some(3) => Detected::Tls,
        Some(_) => Detected::Other,
    }
}

/// Whether `seen` begins, or is a beginning of, `PRI * HTTP/2.0`. A lone `P` is also one of `POST`.
fn preface(seen: &[u8]) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";
    let n = seen.len().min(PREFACE.len());
    n >= 3 && seen.get(..n) == PREFACE.get(..n)
}

fn http1(seen: &[u8]) -> Detected {
    let Some(space) = memchr::memchr(b' ', seen) else {
        let token = seen.iter().all(|b| is_method_byte(*b));
        return if token && seen.len() <= METHOD_MAX { Detected::Undecided } else { Detected::Other };
    };
    let (method, rest) = seen.split_at(space);
    if method.is_empty() || method.len() > METHOD_MAX || !method.iter().all(|b| is_method_byte(*b)) {
        return Detected::Other;
    }
    if WELL_KNOWN.contains(&method) {
        return Detected::Http1;
    }
    match rest.get(1) {
        None => Detected::Undecided,
        Some(b'/' | b'*') => Detected::Http1,
        Some(b'h' | b'H') => {
            let tail = rest.get(1..).unwrap_or_default();
            let scheme = &b"http://"[..];
            let n = tail.len().min(scheme.len());
            match tail.get(..n).zip(scheme.get(..n)) {
                Some((a, b)) if a.eq_ignore_ascii_case(b) && n == scheme.len() => Detected::Http1,
                Some((a, b)) if a.eq_ignore_ascii_case(b) => Detected::Undecided,
                _ => Detected::Other,
            }
        }
        Some(_) => Detected::Other,
    }
}

/// Methods in use are letters and hyphens; other token characters mark another protocol.
fn is_method_byte(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'-' || b == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_protocols_apart() {
        assert_eq!(detect(b"GET / HTTP/1.1\r\n"), Detected::Http1);
        assert_eq!(detect(b"GET \x00"), Detected::Http1);
        assert_eq!(detect(b"PROPFIND /x"), Detected::Http1);
        assert_eq!(detect(b"BREW http://h/"), Detected::Http1);
        assert_eq!(detect(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Detected::Http2);
        assert_eq!(detect(b"\x16\x03\x01\x02"), Detected::Tls);
        assert_eq!(detect(b"\x16\x02"), Detected::Other);
        assert_eq!(detect(b"*1\r\n$4\r\nPING\r\n"), Detected::Other);
        assert_eq!(detect(b"EHLO mail.example"), Detected::Other);
        assert_eq!(detect(b"PING\r\n"), Detected::Other);
        assert_eq!(detect(b"\r\n\r\n GET / HTTP/1.1\r\n"), Detected::Http1);
        assert_eq!(detect(b"\r\n\r\n\0\r\nQUIT\n"), Detected::Other);
        assert_eq!(detect(b"\n\n"), Detected::Undecided);
        assert_eq!(detect(&[b'\n'; 64]), Detected::Http1);
        assert_eq!(detect(b""), Detected::Undecided);
        assert_eq!(detect(b"GE"), Detected::Undecided);
        assert_eq!(detect(b"PRI"), Detected::Undecided);
        assert_eq!(detect(b"P"), Detected::Undecided);
        assert_eq!(detect(&[b'A'; 64]), Detected::Other);
    }

    #[test]
    fn a_decision_never_changes_with_more_bytes() {
        let inputs: [&[u8]; 7] = [
            b"\r\n\tPOST /x HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"POST /x HTTP/1.1\r\n",
            b"\x16\x03\x01\x00\x05hello",
            b"LIST http://x/ HTTP/1.1\r\n",
            b"AUTH secret\r\n",
        ];
        for input in inputs {
            let mut decided = None;
            for n in 0..=input.len() {
                let now = detect(&input[..n]);
                match decided {
                    None if now != Detected::Undecided => decided = Some(now),
                    Some(before) => assert_eq!(now, before, "{n} of {input:?}"),
                    None => {}
                }
            }
            assert!(decided.is_some(), "{input:?}");
        }
    }
}
