//! From TOML text to checked values, by the table in `schema.rs`. Whatever is wrong is refused with
//! file, line, what was expected and the nearest right name. It reads text, not files.

use super::schema::{self, Key, Kind, Shape};
use super::units;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use thiserror::Error;
use toml::de::{DeTable, DeValue};

/// Longest configuration that is read, bytes.
pub(crate) const CONFIG_MAX: usize = 1 << 20;
/// Most tables of one repeated kind.
const TABLES_MAX: usize = 1_000;
/// Longest text value, bytes.
const TEXT_MAX: usize = 1_024;

/// Why a configuration was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ConfigError {
    /// Not TOML.
    #[error("{file}, line {line}: not valid TOML: {why}")]
    Syntax { file: String, line: usize, why: String },
    /// A name that is no key.
    #[error("{file}, line {line}: unknown key `{key}`{hint}; all keys: countersign check schema")]
    UnknownKey { file: String, line: usize, key: String, hint: String },
    /// A value that its key does not allow.
    #[error(
        "{file}, line {line}: `{key}` must be {expected}, not {found}; see: countersign check explain {}",
        without_numbers(.key)
    )]
    BadValue { file: String, line: usize, key: String, expected: String, found: String },
    /// A key that its table needs.
    #[error("{file}, line {line}: `{key}` is missing; see: countersign check explain {key}")]
    Missing { file: String, line: usize, key: String },
    /// Values that do not fit together.
    #[error("{file}, line {line}: {what}")]
    Conflict { file: String, line: usize, what: String },
}

/// A checked value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Text, path, address, URL or word, as written.
    Text(String),
    /// List of texts.
    Texts(Vec<String>),
    /// Count, size in bytes or span in milliseconds.
    Number(u64),
    /// Truth value.
    Bool(bool),
}

/// All values of a file by concrete path (`listener[0].tls.cert`), with the line of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    values: BTreeMap<String, (Value, usize)>,
    /// Concrete path of a repeated or single table (`listener[0].tls`) → line.
    tables: BTreeMap<String, usize>,
    /// File name for messages.
    pub(crate) file: String,
}

impl Settings {
    /// The value at a concrete path.
    pub(crate) fn get(&self, path: &str) -> Option<&Value> {
        self.values.get(path).map(|(value, _)| value)
    }

    /// Line of a value or table; 0 when it is not in the file.
    pub(crate) fn line(&self, path: &str) -> usize {
        self.values.get(path).map(|(_, line)| *line).or_else(|| self.tables.get(path).copied()).unwrap_or(0)
    }

    /// How many tables `prefix[0]`, `prefix[1]` … there are.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        (0..).take_while(|i| self.tables.contains_key(&format!("{prefix}[{i}]"))).count()
    }

    /// Whether a single table is present.
    pub(crate) fn has_table(&self, path: &str) -> bool {
        self.tables.contains_key(path)
    }

    /// A conflict at a path.
    pub(crate) fn conflict(&self, path: &str, what: impl Into<String>) -> ConfigError {
        ConfigError::Conflict { file: self.file.clone(), line: self.line(path), what: what.into() }
    }
}

/// Reads and checks a whole file's text.
pub(crate) fn parse(text: &str, file: &str) -> Result<Settings, ConfigError> {
    let at = |offset: usize| line_of(text, offset);
    let root = DeTable::parse(text).map_err(|e| ConfigError::Syntax {
        file: file.into(),
        line: at(e.span().map_or(0, |s| s.start)),
        why: first_line(e.message()),
    })?;
    let mut settings = Settings { file: file.into(), ..Settings::default() };
    Walk { text, file, out: &mut settings }.table(root.get_ref(), "", "", 1)?;
    Ok(settings)
}

struct Walk<'a> {
    text: &'a str,
    file: &'a str,
    out: &'a mut Settings,
}

impl Walk<'_> {
    /// `declared` = path in the schema, `concrete` = the same with numbers.
    fn table(
        &mut self,
        table: &DeTable<'_>,
        declared: &str,
        concrete: &str,
        line: usize,
    ) -> Result<(), ConfigError> {
        let children = schema::children(declared);
        for (name, value) in table {
            let at = line_of(self.text, name.span().start);
            let word = name.get_ref().as_ref();
            let Some((known, shape)) = children.iter().find(|(child, _)| *child == word) else {
                return Err(self.unknown(declared, word, &children, at));
            };
            match shape {
                Shape::Value => {
                    self.value(value.get_ref(), &join(declared, known), &join(concrete, known), at)?
                }
                Shape::Table => {
                    let Some(inner) = value.get_ref().as_table() else {
                        return Err(self.bad(&join(concrete, known), "a table", value.get_ref(), at));
                    };
                    let path = join(concrete, known);
                    self.out.tables.insert(path.clone(), at);
                    self.table(inner, &join(declared, known), &path, at)?;
                }
                Shape::Tables => {
                    self.tables(value.get_ref(), &join(declared, known), &join(concrete, known), at)?
                }
            }
        }
        self.required(declared, concrete, line)
    }

    fn tables(
        &mut self,
        value: &DeValue<'_>,
        declared: &str,
        concrete: &str,
        at: usize,
    ) -> Result<(), ConfigError> {
        let expected = format!("a list of tables, [[{}]]", schema::plain(declared));
        let Some(list) = value.as_array() else { return Err(self.bad(concrete, &expected, value, at)) };
        if list.len() > TABLES_MAX {
            return Err(self.bad(concrete, &format!("at most {TABLES_MAX} tables"), value, at));
        }
        for (i, item) in list.iter().enumerate() {
            let line = line_of(self.text, item.span().start);
            let path = format!("{concrete}[{i}]");
            let Some(table) = item.get_ref().as_table() else {
                return Err(self.bad(&path, &expected, item.get_ref(), line));
            };
            self.out.tables.insert(path.clone(), line);
            self.table(table, &format!("{declared}[]"), &path, line)?;
        }
        Ok(())
    }

    fn value(
        &mut self,
        value: &DeValue<'_>,
        declared: &str,
        concrete: &str,
        at: usize,
    ) -> Result<(), ConfigError> {
        let Some(key) = schema::find(declared) else {
            return Err(self.unknown("", declared, &[], at));
        };
        match check(key, value) {
            Some(checked) => {
                self.out.values.insert(concrete.into(), (checked, at));
                Ok(())
            }
            None => {
                let near = value.as_str().and_then(|wrong| schema::nearest_word(key.kind, wrong));
                let hint = near.map_or(String::new(), |word| format!(" (did you mean \"{word}\"?)"));
                let mut error = self.bad(concrete, &key.kind.describe(), value, at);
                if let ConfigError::BadValue { found, .. } = &mut error {
                    found.push_str(&hint);
                }
                Err(error)
            }
        }
    }

    /// Every required key of this very table must be there.
    fn required(&self, declared: &str, concrete: &str, line: usize) -> Result<(), ConfigError> {
        for key in schema::keys().filter(|key| key.required) {
            let Some((table, name)) = key.path.rsplit_once('.') else { continue };
            if table == declared && !self.out.values.contains_key(&join(concrete, name)) {
                return Err(ConfigError::Missing {
                    file: self.file.into(),
                    line,
                    key: schema::plain(key.path),
                });
            }
        }
        Ok(())
    }

    fn unknown(&self, table: &str, word: &str, children: &[(&str, Shape)], line: usize) -> ConfigError {
        let near = schema::nearest(word, children.iter().map(|(name, _)| *name));
        let near = elsewhere(word).or_else(|| near.first().map(|name| schema::plain(&join(table, name))));
        let hint = near.map_or(String::new(), |path| format!(": did you mean `{path}`?"));
        ConfigError::UnknownKey { file: self.file.into(), line, key: schema::plain(&join(table, word)), hint }
    }

    fn bad(&self, concrete: &str, expected: &str, found: &DeValue<'_>, line: usize) -> ConfigError {
        ConfigError::BadValue {
            file: self.file.into(),
            line,
            key: concrete.into(),
            expected: expected.into(),
            found: describe(found),
        }
    }
}

/// A key of this very name in another table.
fn elsewhere(word: &str) -> Option<String> {
    let names: Vec<String> = schema::keys().map(|key| schema::plain(key.path)).collect();
    let last = |path: &str| path.rsplit('.').next().unwrap_or("").to_string();
    names.iter().find(|path| last(path) == word).cloned()
}

fn join(table: &str, name: &str) -> String {
    if table.is_empty() { name.into() } else { format!("{table}.{name}") }
}

fn without_numbers(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

/// The value when it is what its key allows.
fn check(key: &Key, value: &DeValue<'_>) -> Option<Value> {
    let text =
        value.as_str().filter(|t| !t.is_empty() && t.len() <= TEXT_MAX && !t.chars().any(char::is_control));
    match key.kind {
        Kind::Text | Kind::Path => Some(Value::Text(text?.into())),
        Kind::Address => {
            text?.parse::<SocketAddr>().ok().map(|_| Value::Text(text.unwrap_or_default().into()))
        }
        Kind::Upstream => {
            super::Upstream::parse(text?).ok().map(|_| Value::Text(text.unwrap_or_default().into()))
        }
        Kind::Url => is_url(text?).then(|| Value::Text(text.unwrap_or_default().into())),
        Kind::Word(words) => words.contains(&text?).then(|| Value::Text(text.unwrap_or_default().into())),
        Kind::Bool => value.as_bool().map(Value::Bool),
        Kind::Count(min, max) => within(integer(value)?, min, max),
        Kind::Size(min, max) => within(text.map_or_else(|| integer(value), units::parse_size)?, min, max),
        Kind::Span(min, max) => within(units::parse_span_ms(text?)?, min, max),
        Kind::Texts => {
            let list = value.as_array()?;
            let texts: Option<Vec<String>> =
                list.iter().map(|item| item.get_ref().as_str().map(str::to_string)).collect();
            texts.filter(|t| !t.is_empty() && t.len() <= TABLES_MAX).map(Value::Texts)
        }
    }
}

fn within(n: u64, min: u64, max: u64) -> Option<Value> {
    (min..=max).contains(&n).then_some(Value::Number(n))
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace))
}

/// A found value for a message: short, no control characters.
fn describe(value: &DeValue<'_>) -> String {
    const SHOWN_MAX: usize = 60;
    match value {
        DeValue::String(text) => {
            let shown: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
            format!("\"{shown}\"")
        }
        DeValue::Integer(n) => n.to_string(),
        DeValue::Boolean(b) => b.to_string(),
        other => format!("a {}", other.type_str()),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("").to_string()
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text, "c.toml").unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_the_nearest_right_one() {
        let message = refused("data = \"d\"\n[web]\nlisten = \"127.0.0.1:1\"\nenabeld = true\n");
        assert!(
            message.starts_with("c.toml, line 4: unknown key `web.enabeld`: did you mean `web.enabled`?"),
            "{message}"
        );
        let message =
            refused("[[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\nupstrem = \"http://a:1\"\n");
        assert!(message.contains("`listener.upstream`"), "{message}");
    }

    #[test]
    fn a_key_in_the_wrong_table_is_pointed_to_its_own() {
        assert!(refused("learning = \"1m\"\n").contains("did you mean `detect.learning`?"));
    }

    #[test]
    fn broken_toml_names_the_line() {
        let message = refused("data = \"d\"\nkek = = 3\n");
        assert!(message.starts_with("c.toml, line 2: not valid TOML"), "{message}");
    }

    #[test]
    fn a_bad_value_says_what_was_expected_and_found() {
        let message = refused("[web]\nlisten = \"nonsense\"\n");
        assert!(message.contains("`web.listen` must be address, IP:PORT, not \"nonsense\""), "{message}");
        let message = refused("role = \"egde\"\n");
        assert!(
            message.contains("must be one of all, edge, not \"egde\" (did you mean \"edge\"?)"),
            "{message}"
        );
        let message = refused("[limits]\ntap_buffer = \"9GiB\"\n");
        assert!(message.contains("size, 1MiB to 1GiB"), "{message}");
        let message = refused("listener = 3\n");
        assert!(message.contains("[[listener]]"), "{message}");
    }

    #[test]
    fn a_required_key_is_asked_for() {
        let message = refused("\n[[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\n");
        assert_eq!(
            message,
            "c.toml, line 2: `listener.upstream` is missing; see: countersign check explain listener.upstream"
        );
    }

    #[test]
    fn values_arrive_with_their_lines() {
        let settings = parse(
            "[[listener]]\nname=\"a\"\nlisten=\"127.0.0.1:1\"\nupstream=\"http://h:1\"\n[listener.tls]\ncert=\"c\"\nkey=\"k\"\n\
             [[listener]]\nname=\"b\"\nlisten=\"127.0.0.1:2\"\nupstream=\"tcp://h:2\"\n[limits]\ntap_buffer=\"32MiB\"\nconnections=1_000\n",
            "c.toml",
        )
        .unwrap();
        assert_eq!(settings.count("listener"), 2);
        assert_eq!(settings.get("listener[1].name"), Some(&Value::Text("b".into())));
        assert_eq!(settings.line("listener[1].name"), 9);
        assert!(settings.has_table("listener[0].tls") && !settings.has_table("listener[1].tls"));
        assert_eq!(settings.get("limits.tap_buffer"), Some(&Value::Number(32 << 20)));
        assert_eq!(settings.get("limits.connections"), Some(&Value::Number(1000)));
    }

    #[test]
    fn hostile_text_is_refused_without_a_panic() {
        for text in [
            "\u{0}",
            "[[[",
            "a.b.c.d = 1",
            "= 1",
            "[listener]\nname=1",
            "data = \"\\u0007\"",
            "[web]\n[web]\n",
        ] {
            assert!(parse(text, "c.toml").is_err(), "{text:?}");
        }
    }
}
