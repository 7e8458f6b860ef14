//! Text with stars: `*` matches any run, empty ones and line breaks included.

/// A part of a [`Glob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Exactly this text, not empty.
    Text(String),
    /// Any run.
    Star,
}

/// A pattern: no two texts and no two stars side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Glob(pub(crate) Vec<Piece>);

impl Glob {
    /// A pattern without stars.
    pub(crate) fn text(text: &str) -> Glob {
        let mut glob = Glob::default();
        text.chars().for_each(|c| glob.push(c));
        glob
    }
    /// One more literal character.
    pub(crate) fn push(&mut self, c: char) {
        match self.0.last_mut() {
            Some(Piece::Text(text)) => text.push(c),
            _ => self.0.push(Piece::Text(c.to_string())),
        }
    }
    /// One more star.
    pub(crate) fn star(&mut self) {
        if self.0.last() != Some(&Piece::Star) {
            self.0.push(Piece::Star);
        }
    }
    pub(crate) fn stars(&self) -> usize {
        self.0.iter().filter(|piece| **piece == Piece::Star).count()
    }
    /// The text, if there is no star.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
    /// Nothing but a star.
    pub(crate) fn is_any(&self) -> bool {
        self.0 == [Piece::Star]
    }

    /// Whether all of `text` matches. Linear in the text for each star.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.run(text, self.0.first() != Some(&Piece::Star), self.0.last() != Some(&Piece::Star))
    }
    /// Whether some part of `text` matches.
    pub(crate) fn within(&self, text: &str) -> bool {
        self.run(text, false, false)
    }
    /// Greedy from the left; the last text is taken from the end when it is anchored there.
    fn run(&self, text: &str, from_start: bool, to_end: bool) -> bool {
        let parts: Vec<&str> = self
            .0
            .iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Star => None,
            })
            .collect();
        let mut rest = text;
        for (at, part) in parts.iter().enumerate() {
            let (first, last) = (at == 0 && from_start, at + 1 == parts.len() && to_end);
            rest = match (first, last) {
                (true, true) => return rest == *part,
                (true, false) => match rest.strip_prefix(part) {
                    Some(rest) => rest,
                    None => return false,
                },
                (false, true) => return rest.ends_with(part),
                (false, false) => match rest.find(part) {
                    Some(found) => &rest[found + part.len()..],
                    None => return false,
                },
            };
        }
        // the empty pattern matches the empty text alone
        if parts.is_empty() && from_start && to_end { text.is_empty() } else { true }
    }

    /// As a pattern of SQL's LIKE: `%` any run, `\` escapes.
    pub(crate) fn like(&self) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Star => out.push('%'),
                Piece::Text(text) => {
                    for c in text.chars() {
                        if matches!(c, '%' | '_' | '\\') {
                            out.push('\\');
                        }
                        out.push(c);
                    }
                }
            }
        }
        out
    }
    /// From a pattern of LIKE; `_` stands for itself, as we never emit it bare.
    pub(crate) fn from_like(like: &str) -> Glob {
        let mut glob = Glob::default();
        let mut chars = like.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => glob.star(),
                '\\' => glob.push(chars.next().unwrap_or('\\')),
                c => glob.push(c),
            }
        }
        glob
    }
    /// The same pattern, folded.
    pub(crate) fn folded(&self) -> Glob {
        Glob(
            self.0
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => Piece::Text(fold(text)),
                    Piece::Star => Piece::Star,
                })
                .collect(),
        )
    }
}

/// Simple case folding: one character for one character, by way of upper case, so that `ſ`, `ς` and the
/// Kelvin sign meet their plain letters.
pub(crate) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().map(fold_char).collect()
}

fn fold_char(c: char) -> char {
    let one = |mut chars: Box<dyn Iterator<Item = char>>, c| match (chars.next(), chars.next()) {
        (Some(only), None) => only,
        _ => c,
    };
    let upper = one(Box::new(c.to_uppercase()), c);
    one(Box::new(upper.to_lowercase()), upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        Glob::from_like(&text.replace('*', "%"))
    }

    #[test]
    fn stars_match_any_run() {
        for (pattern, text, expected) in [
            ("a*b", "ab", true),
            ("a*b", "axxb", true),
            ("a*b", "abx", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("*x", "xx", true),
            ("x*", "yx", false),
            ("", "", true),
            ("", "a", false),
            ("a*ab", "aab", true),
            ("a*ab", "ab", false),
            ("a", "a", true),
            ("a", "b", false),
        ] {
            assert_eq!(glob(pattern).matches(text), expected, "{pattern} {text}");
        }
        assert!(glob("b*d").within("abcde") && !glob("d*b").within("abcde") && glob("").within("x"));
    }

    #[test]
    fn folding_is_one_for_one() {
        assert_eq!(fold("ABC-Straße ſ ΣΑΣ \u{212a}"), "abc-straße s σασ k");
    }
}
