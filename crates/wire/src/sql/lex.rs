//! Lexer of PostgreSQL's SQL (documentation chapter 4.1; `scan.l` of the server).
//!
//! It finds where tokens begin and end; what they mean is the business of its callers. It is not
//! PostgreSQL's parser: operators are cut more coarsely (a run of operator characters is one token,
//! except that a sign in front of a number stands alone). Invariants: tokens are adjacent, cover the text
//! from its first byte to its last and begin and end on character boundaries; each byte is looked at a
//! constant number of times; no allocation. A literal, a quoted name or a comment that never ends is one
//! [`Kind::Bad`] token that reaches to the end of the text; so is `$tag` without its second `$`, up to there.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keyword or unquoted identifier.
    Word,
    /// `"identifier"`, `U&"identifier"`.
    Quoted,
    /// String constant of any kind: plain, `E''`, `U&''`, `N''`, `B''`, `X''`, dollar-quoted.
    Str,
    /// Numeric constant, with letters that stick to it.
    Number,
    /// `$1`.
    Param,
    /// Run of operator characters.
    Op,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `[`
    OpenSquare,
    /// `]`
    CloseSquare,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `.`
    Dot,
    /// `::`
    Cast,
    /// Any other single byte.
    Other,
    /// Comment of either kind.
    Comment,
    /// White space.
    Space,
    /// Unterminated token.
    Bad,
}

/// One token: bytes `start..end` of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    pub(crate) fn of<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

const SPACE: u8 = 1;
const IDENT_START: u8 = 2;
const DIGIT: u8 = 4;
const OPERATOR: u8 = 8;
/// `$` goes on within an identifier.
const IDENT: u8 = 16;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = match b {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => SPACE,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => IDENT_START | IDENT,
            b'0'..=b'9' => DIGIT | IDENT,
            b'$' => IDENT,
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-' | b'*' | b'/'
            | b'%' => OPERATOR,
            b'<' | b'>' | b'=' => OPERATOR,
            _ => 0,
        };
        i += 1;
    }
    table
}

fn is(byte: u8, class: u8) -> bool {
    CLASS.get(usize::from(byte)).is_some_and(|c| c & class != 0)
}

/// Tokens of `text`, comments and white space among them.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    conforming: bool,
}

impl<'a> Lexer<'a> {
    /// `conforming`: the session's `standard_conforming_strings`; when off, a backslash escapes in plain strings.
    pub(crate) fn new(text: &'a str, conforming: bool) -> Self {
        Lexer { bytes: text.as_bytes(), at: 0, conforming }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// End of the run of bytes of `class` from `from` on.
    fn run(&self, from: usize, class: u8) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        from + rest.iter().position(|b| !is(*b, class)).unwrap_or(rest.len())
    }

    fn rest(&self, from: usize) -> &'a [u8] {
        self.bytes.get(from..).unwrap_or_default()
    }

    /// Kind and end of the token at `self.at`, whose first byte is `first`.
    fn token(&self, first: u8) -> (Kind, usize) {
        let next = self.peek(1);
        match first {
            b'e' | b'E' if next == b'\'' => self.string(2, true),
            b'b' | b'B' | b'x' | b'X' if next == b'\'' => self.string(2, false),
            b'n' | b'N' if next == b'\'' => self.string(2, !self.conforming),
            b'u' | b'U' if next == b'&' && self.peek(2) == b'\'' => self.string(3, false),
            b'u' | b'U' if next == b'&' && self.peek(2) == b'"' => self.quoted(3),
            _ if is(first, IDENT_START) => (Kind::Word, self.run(self.at + 1, IDENT)),
            _ if is(first, SPACE) => (Kind::Space, self.run(self.at + 1, SPACE)),
            _ if is(first, DIGIT) => self.number(),
            b'\'' => self.string(1, !self.conforming),
            b'"' => self.quoted(1),
            b'-' if next == b'-' => (Kind::Comment, self.line_end(self.at)),
            b'/' if next == b'*' => self.comment(),
            b'$' => self.dollar(),
            b'.' if is(next, DIGIT) => self.number(),
            b':' if next == b':' => (Kind::Cast, self.at + 2),
            _ if is(first, OPERATOR) => (Kind::Op, self.operator()),
            _ => (single(first), self.at + 1),
        }
    }

    fn line_end(&self, from: usize) -> usize {
        let rest = self.rest(from);
        from + memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len())
    }

    /// Block comments nest.
    fn comment(&self) -> (Kind, usize) {
        let (mut at, mut depth) = (self.at + 2, 1_usize);
        while let Some(found) = memchr::memchr2(b'*', b'/', self.rest(at)) {
            at += found;
            match self.rest(at) {
                [b'*', b'/', ..] => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return (Kind::Comment, at);
                    }
                }
                [b'/', b'*', ..] => {
                    depth += 1;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        (Kind::Bad, self.bytes.len())
    }

    /// A string constant whose opening takes `skip` bytes. Two string constants with a line break between
    /// them are one, in the first one's escape rules.
    fn string(&self, skip: usize, escapes: bool) -> (Kind, usize) {
        let mut at = self.at + skip;
        loop {
            let rest = self.rest(at);
            let found =
                if escapes { memchr::memchr2(b'\'', b'\\', rest) } else { memchr::memchr(b'\'', rest) };
            let Some(found) = found else { return (Kind::Bad, self.bytes.len()) };
            at += found;
            match self.rest(at) {
                // The escaped character may be of several bytes; its tail is none of the two looked for.
                [b'\\', ..] | [b'\'', b'\'', ..] => at += 2,
                _ => match self.continued(at + 1) {
                    Some(next) => at = next,
                    None => return (Kind::Str, at + 1),
                },
            }
        }
    }

    /// Where the next piece of a string that closed just before `from` begins: past white space with at
    /// least one line break, and line comments, and a quote.
    fn continued(&self, from: usize) -> Option<usize> {
        let (mut at, mut broken) = (from, false);
        loop {
            let end = self.run(at, SPACE);
            broken |= self.bytes.get(at..end)?.iter().any(|b| matches!(b, b'\n' | b'\r'));
            match self.rest(end) {
                [b'\'', ..] if broken => return Some(end + 1),
                [b'-', b'-', ..] => at = self.line_end(end),
                _ => return None,
            }
        }
    }

    fn quoted(&self, skip: usize) -> (Kind, usize) {
        let mut at = self.at + skip;
        while let Some(found) = memchr::memchr(b'"', self.rest(at)) {
            at += found + 1;
            if self.bytes.get(at) != Some(&b'"') {
                return (Kind::Quoted, at);
            }
            at += 1;
        }
        (Kind::Bad, self.bytes.len())
    }

    /// `$1`, `$tag$ … $tag$`, or a lone `$`.
    fn dollar(&self) -> (Kind, usize) {
        let from = self.at + 1;
        if is(self.peek(1), DIGIT) {
            return (Kind::Param, self.run(from, DIGIT));
        }
        let tag_end = self.tag_end(from);
        match self.bytes.get(tag_end) {
            Some(b'$') => {}
            // No SQL, but it may be the head of a literal that was cut.
            _ if tag_end > from => return (Kind::Bad, tag_end),
            _ => return (Kind::Other, from),
        }
        let tag = self.bytes.get(from..tag_end).unwrap_or_default();
        let mut at = tag_end + 1;
        // A tag holds no `$`: what is compared lies between two of them, so the whole stays linear.
        while let Some(found) = memchr::memchr(b'$', self.rest(at)) {
            at += found + 1;
            if let Some([b'$', ..]) = self.rest(at).strip_prefix(tag) {
                return (Kind::Str, at + tag.len() + 1);
            }
        }
        (Kind::Bad, self.bytes.len())
    }

    fn tag_end(&self, from: usize) -> usize {
        match self.bytes.get(from) {
            Some(b) if is(*b, IDENT_START) => {
                let rest = self.rest(from);
                from + rest.iter().position(|b| *b == b'$' || !is(*b, IDENT)).unwrap_or(rest.len())
            }
            _ => from,
        }
    }

    /// Decimal and other constants; letters that stick to digits are part of it, so that they do not
    /// survive as a name (PostgreSQL 15 refuses them, older servers read a name).
    fn number(&self) -> (Kind, usize) {
        let mut at = self.run(self.at, DIGIT);
        if self.bytes.get(at) == Some(&b'.') && self.bytes.get(at + 1) != Some(&b'.') {
            at = self.run(at + 1, DIGIT);
        }
        if let [b'e' | b'E', b'+' | b'-', digit, ..] = self.rest(at)
            && is(*digit, DIGIT)
        {
            at = self.run(at + 3, DIGIT);
        }
        if self.bytes.get(at).is_some_and(|b| is(*b, IDENT_START)) {
            at = self.run(at, IDENT);
        }
        (Kind::Number, at)
    }

    /// Comments end an operator; so does a sign in front of a number.
    fn operator(&self) -> usize {
        let rest = self.rest(self.at);
        let mut len = 0;
        while let [first, tail @ ..] = rest.get(len..).unwrap_or_default() {
            let comment = matches!((first, tail.first()), (b'-', Some(b'-')) | (b'/', Some(b'*')));
            if comment && len > 0 || !is(*first, OPERATOR) {
                break;
            }
            len += 1;
        }
        let sign = len > 1 && matches!(rest.get(len - 1), Some(b'-' | b'+'));
        if sign && rest.get(len).is_some_and(|b| is(*b, DIGIT) || *b == b'.') {
            len -= 1;
        }
        self.at + len
    }
}

fn single(byte: u8) -> Kind {
    match byte {
        b'(' => Kind::Open,
        b')' => Kind::Close,
        b'[' => Kind::OpenSquare,
        b']' => Kind::CloseSquare,
        b',' => Kind::Comma,
        b';' => Kind::Semicolon,
        b'.' => Kind::Dot,
        _ => Kind::Other,
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let first = *self.bytes.get(self.at)?;
        let (kind, end) = self.token(first);
        // Never past the end, never without progress, whatever the rules above say.
        let end = end.clamp(self.at + 1, self.bytes.len());
        let token = Token { kind, start: self.at, end };
        self.at = end;
        Some(token)
    }
}

/// An identifier as the server folds it: unquoted ones in lower case (ASCII), quoted ones unescaped; cut at
/// 63 bytes, as `NAMEDATALEN` says.
pub(crate) fn identifier(token: &str) -> String {
    let mut name = match token.as_bytes() {
        [b'"', ..] => inside(token).replace("\"\"", "\""),
        [b'u' | b'U', b'&', b'"', ..] => unicode_escapes(inside(token.get(2..).unwrap_or_default())),
        _ => token.to_ascii_lowercase(),
    };
    if name.len() > IDENTIFIER_MAX {
        let cut = (0..=IDENTIFIER_MAX).rev().find(|i| name.is_char_boundary(*i)).unwrap_or(0);
        name.truncate(cut);
    }
    name
}

fn inside(quoted: &str) -> &str {
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()
}

/// Longest identifier of a server with the usual `NAMEDATALEN`, in bytes.
pub const IDENTIFIER_MAX: usize = 63;

/// `\XXXX`, `\+XXXXXX` and `\\` with the usual escape character; a wrong escape stays as it is.
fn unicode_escapes(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let digits = match after.strip_prefix('+') {
            Some(long) => long.get(..6).map(|d| (d, 7)),
            None => after.get(..4).map(|d| (d, 4)),
        };
        let decoded = digits.and_then(|(d, n)| Some((char::from_u32(u32::from_str_radix(d, 16).ok()?)?, n)));
        match decoded {
            Some((c, n)) => {
                out.push(c);
                rest = after.get(n..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = after.strip_prefix('\\').unwrap_or(after);
            }
        }
    }
    out.push_str(rest);
    out.replace("\"\"", "\"")
}
