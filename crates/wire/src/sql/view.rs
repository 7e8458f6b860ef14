//! The significant tokens of one statement, and questions about them that no index can break.

use super::lex::{Kind, Lexer, Token, identifier};

/// Most tokens of a statement that are looked at, comments and white space not counted. The rest of a
/// longer one is not judged: it is `incomplete`, and no read.
pub const TOKENS_MAX: usize = 32_768;

pub(super) struct View<'a> {
    pub(super) text: &'a str,
    tokens: Vec<Token>,
    /// Whether all tokens are here.
    pub(super) whole: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(text: &'a str, conforming: bool) -> Self {
        let mut tokens = Vec::with_capacity((text.len() / 4).min(TOKENS_MAX));
        let mut whole = true;
        for token in Lexer::new(text, conforming).filter(|t| !matches!(t.kind, Kind::Space | Kind::Comment)) {
            if tokens.len() == TOKENS_MAX {
                whole = false;
                break;
            }
            tokens.push(token);
        }
        View { text, tokens, whole }
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn kind(&self, i: usize) -> Option<Kind> {
        self.tokens.get(i).map(|t| t.kind)
    }

    pub(super) fn token(&self, i: usize) -> Option<Token> {
        self.tokens.get(i).copied()
    }

    pub(super) fn text_of(&self, i: usize) -> &'a str {
        self.tokens.get(i).map(|t| t.of(self.text)).unwrap_or_default()
    }

    /// The unquoted word at `i`, or nothing.
    pub(super) fn word(&self, i: usize) -> &'a str {
        if self.kind(i) == Some(Kind::Word) { self.text_of(i) } else { "" }
    }

    pub(super) fn is(&self, i: usize, keyword: &str) -> bool {
        self.word(i).eq_ignore_ascii_case(keyword)
    }

    pub(super) fn any(&self, i: usize, keywords: &[&str]) -> bool {
        let word = self.word(i);
        !word.is_empty() && keywords.iter().any(|k| word.eq_ignore_ascii_case(k))
    }

    /// Whether the words from `i` on are `keywords`.
    pub(super) fn are(&self, i: usize, keywords: &[&str]) -> bool {
        keywords.iter().enumerate().all(|(n, k)| self.is(i + n, k))
    }

    pub(super) fn is_name(&self, i: usize) -> bool {
        matches!(self.kind(i), Some(Kind::Word | Kind::Quoted))
    }

    pub(super) fn is_open(&self, i: usize) -> bool {
        self.kind(i) == Some(Kind::Open)
    }

    /// Number of tokens of the dotted name at `i`; at least 1. `a.b.*` is a name of five.
    pub(super) fn chain(&self, i: usize) -> usize {
        let mut n = 1;
        while self.kind(i + n) == Some(Kind::Dot)
            && (self.is_name(i + n + 1)
                || self.text_of(i + n + 1) == "*" && self.kind(i + n + 1) == Some(Kind::Op))
        {
            n += 2;
        }
        n
    }

    /// Schema (or nothing) and name of the dotted name of `n` tokens at `i`, folded as the server does.
    pub(super) fn qualified(&self, i: usize, n: usize) -> (String, String) {
        let part = |at: usize| identifier(self.text_of(at));
        let schema = if n >= 3 { part(i + n - 3) } else { String::new() };
        (schema, part(i + n - 1))
    }

    pub(super) fn name(&self, i: usize) -> Option<String> {
        self.is_name(i).then(|| identifier(self.text_of(i)))
    }
}
