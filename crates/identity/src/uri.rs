//! URIs made comparable: syntax-based and scheme-based normalisation (RFC 3986, sections 6.2.2 and 6.2.3).
//!
//! Only `http` and `https`, and only up to the query: that is what a DPoP proof names. Invariant: two texts that
//! normalise to the same are the same resource to every HTTP server.

/// Longest URI that is looked at, bytes.
const URI_MAX_BYTES: usize = 8 << 10;

/// `scheme://host[:port]/path` of an absolute URI, without query and fragment; `None` = not one.
pub(crate) fn normalise(uri: &str) -> Option<String> {
    if uri.len() > URI_MAX_BYTES || !uri.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let (scheme, rest) = uri.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority(host, &scheme)?;
    Some(format!("{scheme}://{host}{}", path_of(path)?))
}

/// A lower-case authority without its scheme's own port; `None` = it names nobody, or a user.
pub(crate) fn authority(text: &str, scheme: &str) -> Option<String> {
    let default = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return None,
    };
    if text.contains('@') {
        return None;
    }
    let in_brackets = text.rfind(']').unwrap_or(0);
    let (host, port) = match text.rfind(':').filter(|colon| *colon > in_brackets) {
        Some(colon) => (text.get(..colon)?, text.get(colon + 1..)?),
        None => (text, ""),
    };
    if host.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let host = host.to_ascii_lowercase();
    Some(if port.is_empty() || port == default { host } else { format!("{host}:{port}") })
}

/// A path with dot segments removed and its escapes in one spelling.
fn path_of(path: &str) -> Option<String> {
    let path = escapes(path)?;
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(&path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    Some(format!("/{}", kept.join("/")))
}

/// Escapes of letters, digits, `-`, `.`, `_` and `~` are undone; the others get upper-case digits.
fn escapes(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(char::from(byte));
            continue;
        }
        let digit = |b: u8| char::from(b).to_digit(16);
        let value = (digit(bytes.next()?)? << 4) | digit(bytes.next()?)?;
        let byte = u8::try_from(value).ok()?;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_resource_are_one() {
        for (uri, want) in [
            ("HTTPS://API.Example:443/a/./b/../c?x#y", "https://api.example/a/c"),
            ("https://api.example", "https://api.example/"),
            ("http://api.example:80/%7euser/%2f%c3", "http://api.example/~user/%2F%C3"),
            ("http://api.example:8080/a/", "http://api.example:8080/a/"),
            ("http://[2001:DB8::1]:80/..", "http://[2001:db8::1]/"),
            ("http://a:/b/%2e%2e/c", "http://a/c"),
            ("http://a/b/..", "http://a/"),
            ("http://a//b", "http://a//b"),
        ] {
            assert_eq!(normalise(uri).as_deref(), Some(want), "{uri}");
        }
    }

    #[test]
    fn what_is_no_web_address_is_none() {
        for bad in [
            "",
            "a",
            "/a",
            "ftp://a/",
            "https://",
            "https:///a",
            "https://u@a/",
            "https://a:x/",
            "https://a/%2",
            "https://a/%zz",
            "https://a/ b",
            "https://ä/",
        ] {
            assert_eq!(normalise(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(path in "(/[a-c.%2eE/]{0,6}){0,4}", host in "[a-zA-Z]{1,4}(:[0-9]{0,3})?") {
            if let Some(once) = normalise(&format!("http://{host}{path}")) {
                prop_assert_eq!(normalise(&once), Some(once.clone()));
            }
        }
    }
}
