//! SPIFFE ids (SPIFFE-ID standard, section 2): parsing and nothing else.
//!
//! Not certificates. Invariant: what parses prints back as itself, apart from the trust domain's case.

/// Longest SPIFFE id that implementations must support; longer ones are refused.
const SPIFFE_ID_MAX: usize = 2048;
/// Longest trust domain.
const TRUST_DOMAIN_MAX: usize = 255;

/// A workload's name: `spiffe://trust-domain/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpiffeId {
    trust_domain: String,
    path: String,
}

impl SpiffeId {
    /// Parses an id with a path (a bare trust domain names an authority, not a caller).
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<SpiffeId, &'static str> {
        if text.len() > SPIFFE_ID_MAX {
            return Err("spiffe id is longer than 2,048 bytes");
        }
        let rest = strip_scheme(text).ok_or("scheme is not spiffe://")?;
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let trust_domain = domain.to_ascii_lowercase();
        check_trust_domain(&trust_domain)?;
        if path.is_empty() {
            return Err("spiffe id has no path, so it names no workload");
        }
        for segment in path[1..].split('/') {
            check_segment(segment)?;
        }
        Ok(SpiffeId { trust_domain, path: path.to_owned() })
    }

    /// The trust domain, lower case.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The path with its leading `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Last segment of the path: what people call the workload.
    pub fn workload(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or("")
    }
}

impl std::fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "spiffe://{}{}", self.trust_domain, self.path)
    }
}

/// Whether a URI claims to be a SPIFFE id, right or wrong.
pub(crate) fn claims_spiffe(uri: &str) -> bool {
    strip_scheme(uri).is_some()
}

/// A trust domain as an operator writes it, with or without the scheme, in any case.
pub(crate) fn trust_domain(text: &str) -> Result<String, &'static str> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_prefix("spiffe://").unwrap_or(&lower);
    check_trust_domain(bare)?;
    Ok(bare.to_owned())
}

fn strip_scheme(text: &str) -> Option<&str> {
    const SCHEME: &str = "spiffe://";
    let head = text.get(..SCHEME.len())?;
    head.eq_ignore_ascii_case(SCHEME).then(|| &text[SCHEME.len()..])
}

fn check_trust_domain(domain: &str) -> Result<(), &'static str> {
    if domain.is_empty() {
        return Err("trust domain is empty");
    }
    if domain.len() > TRUST_DOMAIN_MAX {
        return Err("trust domain is longer than 255 bytes");
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    if domain.bytes().all(allowed) {
        Ok(())
    } else {
        Err("trust domain may hold only letters, digits, '.', '-' and '_' (no port, no user)")
    }
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if segment.is_empty() {
        return Err("spiffe path has an empty segment or ends in '/'");
    }
    if segment == "." || segment == ".." {
        return Err("spiffe path has a '.' or '..' segment");
    }
    if segment.bytes().all(allowed) {
        Ok(())
    } else {
        Err("spiffe path may hold only letters, digits, '.', '-' and '_' (no query, no percent-encoding)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_trust_domain_is_lowered() {
        let id = SpiffeId::parse("SPIFFE://Example.ORG/NS/Payments").unwrap();
        assert_eq!(id.to_string(), "spiffe://example.org/NS/Payments");
        assert_eq!(
            (id.trust_domain(), id.path(), id.workload()),
            ("example.org", "/NS/Payments", "Payments")
        );
    }

    #[test]
    fn ids_against_the_standard_are_refused() {
        let long = format!("spiffe://example.org/{}", "a".repeat(2048));
        let wide = format!("spiffe://{}/a", "a".repeat(256));
        for bad in [
            "",
            "spiffe://",
            "spiffe:///a",
            "spiffe://example.org",
            "spiffe://example.org/",
            "https://example.org/a",
            "spiffe://example.org:8080/a",
            "spiffe://user@example.org/a",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/a//b",
            "spiffe://example.org/a/",
            "spiffe://example.org/./a",
            "spiffe://example.org/..",
            "spiffe://example.org/%41",
            "spiffe://exämple.org/a",
            "spiffe://example.org/ü",
            &long,
            &wide,
        ] {
            assert!(SpiffeId::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_as_itself(text in "(?i:spiffe)://[a-zA-Z0-9._:@-]{0,12}(/[a-zA-Z0-9._%-]{0,6}){0,4}") {
            if let Ok(id) = SpiffeId::parse(&text) {
                prop_assert_eq!(SpiffeId::parse(&id.to_string()), Ok(id.clone()));
                prop_assert!(text.eq_ignore_ascii_case(&id.to_string()));
            }
        }
        #[test]
        fn any_text_is_judged_without_panic(text in ".{0,80}") {
            let _ = SpiffeId::parse(&text);
            let _ = trust_domain(&text);
        }
    }
}
