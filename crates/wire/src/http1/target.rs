//! Request targets (RFC 9112 section 3.2), taken apart without being decoded.

/// Form of a request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`
    Origin,
    /// `http://host/path`
    Absolute,
    /// `host:port`
    Authority,
    /// `*`
    Asterisk,
}

/// The form of `target`; `None` for something that has none of them.
pub fn form(target: &[u8]) -> Option<Form> {
    match target.first()? {
        b'/' => Some(Form::Origin),
        b'*' if target.len() == 1 => Some(Form::Asterisk),
        _ if scheme_end(target).is_some() => Some(Form::Absolute),
        _ if is_authority(target) => Some(Form::Authority),
        _ => None,
    }
}

/// Offset behind `://`, when `target` begins with a scheme.
fn scheme_end(target: &[u8]) -> Option<usize> {
    let colon = memchr::memchr(b':', target)?;
    let scheme = target.get(..colon)?;
    let first = scheme.first()?.is_ascii_alphabetic();
    let rest = scheme.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let slashes = target.get(colon + 1..colon + 3) == Some(b"//");
    (first && rest && slashes).then_some(colon + 3)
}

/// Authority of an absolute-form target, without user information.
pub fn authority(target: &[u8]) -> Option<&[u8]> {
    let rest = target.get(scheme_end(target)?..)?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = rest.get(..end)?;
    match memchr::memrchr(b'@', authority) {
        Some(at) => authority.get(at + 1..),
        None => Some(authority),
    }
}

/// Path and query of any target: `(path, query)`, both as sent, the query without its `?` and fragment.
pub fn path_and_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let from = scheme_end(target).map_or(0, |start| {
        let rest = target.get(start..).unwrap_or_default();
        start + rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len())
    });
    let whole = target.get(from..).unwrap_or_default();
    let cut = memchr::memchr(b'#', whole).unwrap_or(whole.len());
    let whole = whole.get(..cut).unwrap_or_default();
    match memchr::memchr(b'?', whole) {
        Some(at) => (whole.get(..at).unwrap_or_default(), whole.get(at + 1..)),
        None => (whole, None),
    }
}

/// Whether `text` may stand in `Host`: a registered name or address with an optional port in digits; empty is
/// allowed.
pub fn is_authority(text: &[u8]) -> bool {
    let (host, port) = split_port(text);
    let host_is_sound = match host.strip_prefix(b"[") {
        Some(literal) => literal.strip_suffix(b"]").is_some_and(|inside| inside.iter().all(in_literal)),
        None => host.iter().all(in_name),
    };
    host_is_sound && port.unwrap_or_default().iter().all(u8::is_ascii_digit)
}

/// Whether an authority names a port, which CONNECT demands (RFC 9110 section 9.3.6).
pub fn has_port(text: &[u8]) -> bool {
    let (host, port) = split_port(text);
    let digits = port.filter(|p| p.iter().all(u8::is_ascii_digit));
    let number = digits.and_then(|p| std::str::from_utf8(p).ok()?.parse::<u16>().ok());
    !host.is_empty() && number.is_some_and(|n| n > 0)
}

/// The part before the last colon outside of brackets, and the part behind it.
fn split_port(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let from = memchr::memrchr(b']', text).map_or(0, |end| end + 1);
    let colon = memchr::memchr(b':', text.get(from..).unwrap_or_default());
    match colon {
        Some(at) => (text.get(..from + at).unwrap_or_default(), text.get(from + at + 1..)),
        None => (text, None),
    }
}

fn in_name(b: &u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'')
        || matches!(b, b'(' | b')' | b'*' | b'+' | b';' | b'=')
}

fn in_literal(b: &u8) -> bool {
    in_name(b) || *b == b':'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_targets_apart() {
        assert_eq!(form(b"/a?b"), Some(Form::Origin));
        assert_eq!(form(b"*"), Some(Form::Asterisk));
        assert_eq!(form(b"http://u:p@h:1/x"), Some(Form::Absolute));
        assert_eq!(form(b"h:443"), Some(Form::Authority));
        assert!(is_authority(b"[::1]:80") && is_authority(b"h") && is_authority(b"h:") && is_authority(b""));
        for odd in [&b"h:80:80"[..], b"h:x", b"[::1", b"[::1]x", b"::1", b"a]b", b"[[::1]]", b"[a]:b]"] {
            assert!(!is_authority(odd), "{}", String::from_utf8_lossy(odd));
        }
        assert!(has_port(b"h:443") && has_port(b"[::1]:1"));
        assert!(!has_port(b"h") && !has_port(b"h:") && !has_port(b":1") && !has_port(b"h:0"));
        assert!(!has_port(b"h:65536") && !has_port(b"h:+1"));
        assert_eq!(form(b""), None);
        assert_eq!(form(b"a/b"), None);
        assert_eq!(authority(b"http://u:p@h:1/x"), Some(&b"h:1"[..]));
        assert_eq!(authority(b"http://h?x"), Some(&b"h"[..]));
        assert_eq!(path_and_query(b"http://h/x?y=1#z"), (&b"/x"[..], Some(&b"y=1"[..])));
        assert_eq!(path_and_query(b"http://h"), (&b""[..], None));
        assert_eq!(path_and_query(b"/x?"), (&b"/x"[..], Some(&b""[..])));
        assert_eq!(path_and_query(b"/x:/\x2f?u=http://h/"), (&b"/x:/\x2f"[..], Some(&b"u=http://h/"[..])));
    }
}
