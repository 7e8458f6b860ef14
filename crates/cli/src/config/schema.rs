//! What a configuration key is, and finding one: parser, refusals, `check explain`, `check schema` and
//! `docs/reference/configuration.md` all come from the one table in `keys`, so they cannot drift.
//!
//! A path with `[]` stands for a table that may be repeated. There is no key that holds a secret:
//! secrets are named by file or by environment variable.

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text, 1 to 1,024 bytes.
    Text,
    /// File or directory; relative ones count from the configuration file's directory.
    Path,
    /// `IP:PORT`.
    Address,
    /// Scheme, host and port.
    Upstream,
    /// Absolute `http` or `https` URL.
    Url,
    /// `true` or `false`.
    Bool,
    /// Whole number within bounds.
    Count(u64, u64),
    /// Size like `64KiB`, bounds in bytes.
    Size(u64, u64),
    /// Time span like `250ms`, `10s`, `1h`, bounds in milliseconds.
    Span(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// List of texts.
    Texts,
}

impl Kind {
    /// In words, for messages and documentation.
    pub(crate) fn describe(self) -> String {
        match self {
            Kind::Text => "text".into(),
            Kind::Path => "path".into(),
            Kind::Address => "address, IP:PORT".into(),
            Kind::Upstream => {
                "upstream, SCHEME://HOST:PORT with http, https, postgres, postgres+tls, redis, rediss or tcp"
                    .into()
            }
            Kind::Url => "URL".into(),
            Kind::Bool => "true or false".into(),
            Kind::Count(min, max) => format!("whole number, {min} to {max}"),
            Kind::Size(min, max) => {
                format!("size, {} to {}", super::units::size(min), super::units::size(max))
            }
            Kind::Span(min, max) => {
                format!("time span, {} to {}", super::units::span_ms(min), super::units::span_ms(max))
            }
            Kind::Word(words) => format!("one of {}", words.join(", ")),
            Kind::Texts => "list of texts".into(),
        }
    }
}

/// Declaration of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Where it stands: `listener[].tls.cert`.
    pub(crate) path: &'static str,
    /// What it may be.
    pub(crate) kind: Kind,
    /// The default, as it would be written; `""` = none; in parentheses when computed.
    pub(crate) default: &'static str,
    /// Must be given wherever its table is given.
    pub(crate) required: bool,
    /// Masked when printed.
    pub(crate) secret: bool,
    /// What it means.
    pub(crate) doc: &'static str,
}

/// Every key there is, in the order of the documentation.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    super::keys::all()
}

/// A path without the marks of repeated tables, as people write it: `listener.tls.cert`.
pub(crate) fn plain(path: &str) -> String {
    path.replace("[]", "")
}

/// The declaration of a path, with or without `[]`.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    keys().find(|key| key.path == path || plain(key.path) == path)
}

/// The nearest declared names to a wrong one among `names`, best first, at most three.
pub(crate) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    const LIKENESS_MIN: f64 = 0.7;
    let mut scored: Vec<(f64, &str)> = names
        .map(|name| (strsim::jaro_winkler(&wrong.to_lowercase(), name), name))
        .filter(|(score, _)| *score >= LIKENESS_MIN)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by_key(|(_, name)| *name);
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// The nearest of the words that a key allows, for a refused value.
pub(crate) fn nearest_word(kind: Kind, wrong: &str) -> Option<&'static str> {
    match kind {
        Kind::Word(words) => nearest(wrong, words.iter().copied()).first().copied(),
        _ => None,
    }
}

/// What may stand directly in the table `prefix` (`""` = the top): name and whether it is a table.
pub(crate) fn children(prefix: &str) -> Vec<(&'static str, Shape)> {
    let mut out: Vec<(&'static str, Shape)> = Vec::new();
    for key in keys() {
        let Some(rest) = key.path.strip_prefix(prefix) else { continue };
        let rest = if prefix.is_empty() { rest } else { rest.strip_prefix('.').unwrap_or("") };
        let (name, shape) = match rest.split_once('.') {
            None => (rest, Shape::Value),
            Some((head, _)) => match head.strip_suffix("[]") {
                Some(name) => (name, Shape::Tables),
                None => (head, Shape::Table),
            },
        };
        if !name.is_empty() && !out.iter().any(|(seen, _)| *seen == name) {
            out.push((name, shape));
        }
    }
    out
}

/// What a name in a table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A value.
    Value,
    /// One table.
    Table,
    /// A table that may be repeated.
    Tables,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_declared_once_and_explained() {
        for (i, key) in keys().enumerate() {
            assert!(!key.doc.is_empty(), "{} has no documentation", key.path);
            assert!(keys().skip(i + 1).all(|other| other.path != key.path), "{} twice", key.path);
            assert!(key.doc.ends_with('.'), "{}: the documentation is a sentence", key.path);
        }
    }

    #[test]
    fn no_key_holds_a_secret_in_clear() {
        for key in keys() {
            let name = key.path.rsplit('.').next().unwrap_or("");
            let suspicious = ["secret", "password", "token", "passphrase"].contains(&name);
            assert!(!suspicious, "{}: secrets come from a file or the environment", key.path);
        }
    }

    #[test]
    fn children_of_the_top_are_values_tables_and_repeated_tables() {
        let top = children("");
        assert!(top.contains(&("data", Shape::Value)));
        assert!(top.contains(&("listener", Shape::Tables)));
        assert!(top.contains(&("limits", Shape::Table)));
        assert!(children("listener[]").contains(&("tls", Shape::Table)));
        assert!(children("identity").contains(&("jwt", Shape::Tables)));
    }
}
