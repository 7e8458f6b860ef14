//! Characters of a filter: words, quoted texts and escapes, with their places.

use super::{FilterError, Glob, STARS_MAX};

/// A cursor over the characters of a filter.
pub(super) struct Lexer {
    chars: Vec<char>,
    pub(super) at: usize,
}

/// A word or quoted text as it was written.
pub(super) struct Text {
    pub(super) glob: Glob,
    /// Backslashes kept, for regular expressions.
    pub(super) raw: String,
    pub(super) from: usize,
}

pub(super) fn is_space(c: char) -> bool {
    c == ' ' || c == '\t' || c == '\n' || c == '\r'
}

impl Lexer {
    pub(super) fn new(text: &str) -> Lexer {
        Lexer { chars: text.chars().collect(), at: 0 }
    }
    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }
    pub(super) fn peek_at(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }
    pub(super) fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }
    pub(super) fn eat_str(&mut self, text: &str) -> bool {
        let found = text.chars().enumerate().all(|(at, c)| self.peek_at(at) == Some(c));
        if found {
            self.at += text.chars().count();
        }
        found
    }
    /// Skips spaces; whether there were any.
    pub(super) fn spaces(&mut self) -> bool {
        let from = self.at;
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
        self.at > from
    }
    /// At the end of a term: end, space or closing parenthesis.
    pub(super) fn at_boundary(&self) -> bool {
        self.peek().is_none_or(|c| is_space(c) || c == ')')
    }
    /// The characters between two places.
    pub(super) fn slice(&self, from: usize, to: usize) -> String {
        self.chars.get(from..to).unwrap_or_default().iter().collect()
    }
    /// The next bare word without moving, escapes as written.
    pub(super) fn peek_word(&self) -> String {
        let end = |c: &char| is_space(*c) || c.is_control() || matches!(c, '(' | ')' | '"');
        self.chars.get(self.at..).unwrap_or_default().iter().take_while(|c| !end(c)).collect()
    }
    /// Whether the keyword stands here as a whole word.
    pub(super) fn at_keyword(&self, keyword: &str) -> bool {
        self.peek_word() == keyword
    }

    pub(super) fn error(
        &self,
        code: &'static str,
        from: usize,
        to: usize,
        message: impl Into<String>,
    ) -> FilterError {
        FilterError {
            code,
            message: message.into(),
            column: from + 1,
            len: to.saturating_sub(from).max(1),
            suggestions: Vec::new(),
        }
    }
    pub(super) fn syntax(&self, from: usize, message: impl Into<String>) -> FilterError {
        self.error("query-syntax", from, self.at.max(from + 1), message)
    }

    /// A quoted text or a word; stars count in words only. `stop_at_dots` ends a word before `..`.
    pub(super) fn text(&mut self, stop_at_dots: bool) -> Result<Text, FilterError> {
        let from = self.at;
        let text = if self.eat('"') { self.quoted(from)? } else { self.word(from, stop_at_dots)? };
        if text.glob.stars() > STARS_MAX {
            return Err(self.error(
                "query-too-large",
                from,
                self.at,
                format!("more than {STARS_MAX} stars in one value"),
            ));
        }
        Ok(text)
    }

    fn word(&mut self, from: usize, stop_at_dots: bool) -> Result<Text, FilterError> {
        let (mut glob, mut raw) = (Glob::default(), String::new());
        while let Some(c) = self.peek() {
            match c {
                c if is_space(c) || matches!(c, '(' | ')' | '"') => break,
                '.' if stop_at_dots && self.at > from && self.peek_at(1) == Some('.') => break,
                '\\' => {
                    self.at += 1;
                    let Some(escaped) = self.peek() else {
                        return Err(self.syntax(self.at - 1, "a backslash at the end escapes nothing"));
                    };
                    raw.extend(['\\', escaped]);
                    glob.push(escaped);
                }
                '*' => {
                    raw.push('*');
                    glob.star();
                }
                c if c.is_control() => {
                    return Err(self.syntax(self.at, "a control character: write it as \"\\u{…}\" in quotes"));
                }
                c => {
                    raw.push(c);
                    glob.push(c);
                }
            }
            self.at += 1;
        }
        if self.at == from {
            return Err(match self.peek() {
                Some(c) => self.syntax(from, format!("expected a word or a quoted text, not `{c}`")),
                None => self.syntax(from, "expected a word or a quoted text, not the end"),
            });
        }
        Ok(Text { glob, raw, from })
    }

    fn quoted(&mut self, from: usize) -> Result<Text, FilterError> {
        let mut glob = Glob::default();
        loop {
            let Some(c) = self.peek() else {
                return Err(self.syntax(from, "the quoted text has no end: add a \""));
            };
            self.at += 1;
            match c {
                '"' => break,
                '\\' => glob.push(self.escape()?),
                c if c.is_control() => {
                    return Err(self.syntax(self.at - 1, "a control character: write it as \\u{…}"));
                }
                c => glob.push(c),
            }
        }
        let raw = glob.as_text().unwrap_or_default().to_owned();
        Ok(Text { glob, raw, from })
    }

    fn escape(&mut self) -> Result<char, FilterError> {
        let from = self.at - 1;
        let c = self.peek();
        self.at += 1;
        match c {
            Some(c @ ('"' | '\\' | '*')) => Ok(c),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('u') if self.eat('{') => {
                let start = self.at;
                while self.peek().is_some_and(|c| c.is_ascii_hexdigit()) && self.at - start < 6 {
                    self.at += 1;
                }
                let code = u32::from_str_radix(&self.slice(start, self.at), 16).ok().and_then(char::from_u32);
                match code {
                    Some(c) if self.eat('}') => Ok(c),
                    _ => Err(self.syntax(from, "\\u{…} takes 1 to 6 hex digits of a Unicode character")),
                }
            }
            _ => Err(self.syntax(from, "in quotes a backslash goes before \" \\ n r t * or u{…}")),
        }
    }
}
