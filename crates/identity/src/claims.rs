//! Claims of a token that passed, for those who ask for one by name: why the call is made, for instance.
//!
//! Texts only, and of them no more than [`TEXTS_MAX`] of at most [`TEXT_MAX_BYTES`]. Invariant: a claim that is given
//! twice is none; nothing of a claim shows in debug output.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_event::Verified;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Most claims of one token that are kept.
const TEXTS_MAX: usize = 32;
/// Longest name or value that is kept, bytes.
const TEXT_MAX_BYTES: usize = 256;

/// The texts among the claims of one token.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Texts(BTreeMap<String, Option<String>>);

/// What a token says beside who its bearer is, at the level of its check.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenClaims {
    texts: Arc<Texts>,
    verified: Verified,
}

impl TokenClaims {
    pub(crate) fn new(texts: Arc<Texts>, verified: Verified) -> TokenClaims {
        TokenClaims { texts, verified }
    }

    /// The text of a claim at the top of the token; `None` = it is not there, no text, or longer than 256 bytes.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.0.get(name)?.as_deref()
    }

    /// How strongly the token was proved.
    pub fn verified(&self) -> Verified {
        self.verified
    }
}

impl fmt::Debug for TokenClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenClaims({} texts, {})", self.texts.0.len(), self.verified.word())
    }
}

impl Texts {
    /// Of the part of a compact JWS that its signature covers. What cannot be read is left out.
    pub(crate) fn read(message: &str) -> Texts {
        let claims = message.split_once('.').map_or("", |(_, claims)| claims);
        let bytes = URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Texts, D::Error> {
        deserializer.deserialize_map(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
        let mut texts = Texts::default();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value::<serde_json::Value>()?;
            if let Some(known) = texts.0.get_mut(&name) {
                *known = None;
                continue;
            }
            let short = |text: &str| text.len() <= TEXT_MAX_BYTES;
            let text = value.as_str().filter(|text| short(text));
            if short(&name) && texts.0.len() < TEXTS_MAX {
                texts.0.insert(name, text.map(str::to_owned));
            }
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> TokenClaims {
        let message = format!("x.{}", URL_SAFE_NO_PAD.encode(json));
        TokenClaims::new(Arc::new(Texts::read(&message)), Verified::Checked)
    }

    #[test]
    fn only_texts_given_once_are_claims() {
        let found = claims(r#"{"purpose":"billing","n":1,"twice":"a","list":["a"],"twice":"b"}"#);
        assert_eq!(found.text("purpose"), Some("billing"));
        for none in ["n", "twice", "list", "absent", ""] {
            assert_eq!(found.text(none), None, "{none}");
        }
        assert!(!format!("{found:?}").contains("billing"));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = claims(&format!(r#"{{"a":"{}","b":"{}"}}"#, "x".repeat(257), "x".repeat(256)));
        assert_eq!((long.text("a"), long.text("b").map(str::len)), (None, Some(256)));
        let many: Vec<String> = (0..100).map(|n| format!(r#""c{n:03}":"v""#)).collect();
        assert!(claims(&format!("{{{}}}", many.join(","))).texts.0.len() <= TEXTS_MAX);
        for broken in ["", "[]", "{", "null"] {
            assert_eq!(claims(broken).text("a"), None);
        }
    }
}
