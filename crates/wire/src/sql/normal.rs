//! Statements without their literals: the normalised text that is kept, and the canonical form that is
//! digested.
//!
//! One pass over the tokens. Output is only ever a name, a keyword, an operator, a parameter, punctuation or
//! `?`; tokens that are or may be literals are never copied. Lists fold as they end: an element of an `IN`
//! list or array that is `?` again, and a parenthesis that reads like the one before it (rows of `VALUES`),
//! are taken back. Time is linear: each level of nesting compares what was written at most once, and no
//! deeper than [`FOLD_DEPTH_MAX`].

use super::Normalised;
use super::functions;
use super::lex::{Kind, Lexer, Token};

/// Longest normalised text and canonical form, in bytes.
pub const STATEMENT_MAX: usize = 64 * 1024;
/// Deepest nesting in which lists fold.
pub(super) const FOLD_DEPTH_MAX: usize = 16;

pub(super) fn normalise(text: &str, conforming: bool) -> Normalised {
    let (text_out, full) = Writer::new(text, false).run(conforming);
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    Normalised { text: text_out, truncated: full.then_some(length) }
}

pub(super) fn shape(text: &str, conforming: bool) -> String {
    Writer::new(text, true).run(conforming).0
}

/// A parenthesis or bracket that is open in the output.
#[derive(Clone, Copy, Default)]
struct Group {
    /// Whether single literals fold in it.
    list: bool,
    /// Where the current element begins.
    element: usize,
    /// Where the element before it lies.
    before: Option<(usize, usize)>,
}

/// What stands behind the names of settings and passwords, which may be secret without being literals.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mask {
    /// Nothing so far: the first word decides.
    Start,
    /// Not in this statement.
    Off,
    /// In `CREATE` and `ALTER`: the word behind `PASSWORD`.
    Definition,
    /// Behind `SET`: the name of a setting; whether it has a dot, that is, belongs to the user.
    Setting(bool),
    /// The next name is a password.
    Password,
    /// All names to the end are values of a user's setting.
    Values,
}

struct Writer<'a> {
    text: &'a str,
    canonical: bool,
    out: String,
    full: bool,
    /// Whether white space or a comment stood before the current token.
    gap: bool,
    /// Kind of the last token, and whether a sign behind it belongs to a number.
    last: Option<Kind>,
    unary: bool,
    /// Length of the output before a sign that may belong to the number that follows, and the gap there.
    sign: Option<(usize, bool)>,
    mask: Mask,
    /// Whether the last word makes the parenthesis that follows a list.
    lists: bool,
    group: Group,
    outer: Vec<Group>,
    /// Open parentheses below the fold.
    deeper: usize,
}

impl<'a> Writer<'a> {
    fn new(text: &'a str, canonical: bool) -> Self {
        Writer {
            text,
            canonical,
            out: String::with_capacity(text.len().min(STATEMENT_MAX)),
            full: false,
            gap: false,
            last: None,
            unary: true,
            sign: None,
            mask: Mask::Start,
            lists: false,
            group: Group::default(),
            outer: Vec::new(),
            deeper: 0,
        }
    }

    fn run(mut self, conforming: bool) -> (String, bool) {
        for token in Lexer::new(self.text, conforming) {
            if self.full {
                break;
            }
            match token.kind {
                Kind::Space | Kind::Comment => {
                    self.gap = true;
                    continue;
                }
                Kind::Word | Kind::Quoted => self.name(token),
                Kind::Str | Kind::Number | Kind::Bad => self.literal(token.kind),
                Kind::Open | Kind::OpenSquare => self.open(token),
                Kind::Close | Kind::CloseSquare => self.close(token),
                Kind::Comma => self.comma(),
                Kind::Param => self.param(token),
                Kind::Op => self.operator(token),
                Kind::Semicolon | Kind::Dot | Kind::Cast | Kind::Other => self.mark(token),
            }
            self.last = Some(token.kind);
            self.gap = false;
        }
        let kept = self.out.trim_end_matches([';', ' ']).len();
        self.out.truncate(kept);
        (self.out, self.full)
    }

    /// Writes `piece`, with a space before it where one belongs.
    fn put(&mut self, kind: Kind, piece: &str) {
        let tight =
            matches!(kind, Kind::Comma | Kind::Close | Kind::CloseSquare | Kind::Dot | Kind::Semicolon)
                || matches!(self.last, None | Some(Kind::Open | Kind::OpenSquare | Kind::Dot));
        let space = !tight && (self.gap || self.canonical || self.last == Some(Kind::Comma));
        let room = STATEMENT_MAX.saturating_sub(self.out.len() + usize::from(space));
        if space && self.out.len() < STATEMENT_MAX {
            self.out.push(' ');
        }
        // The element begins behind that space.
        if matches!(self.last, Some(Kind::Comma)) || self.group.element > self.out.len() {
            self.group.element = self.out.len();
        }
        if piece.len() > room {
            self.full = true;
            let cut = (0..=room).rev().find(|i| piece.is_char_boundary(*i)).unwrap_or(0);
            self.out.push_str(piece.get(..cut).unwrap_or_default());
        } else {
            self.out.push_str(piece);
        }
    }

    fn name(&mut self, token: Token) {
        let word = token.of(self.text);
        let plain = token.kind == Kind::Word;
        if self.masked(word, plain) {
            return self.literal(token.kind);
        }
        if plain && self.canonical {
            self.put(token.kind, "");
            let from = self.out.len();
            let room = STATEMENT_MAX.saturating_sub(from);
            self.out.push_str(word.get(..room.min(word.len())).unwrap_or_default());
            self.full |= word.len() > room;
            if let Some(written) = self.out.get_mut(from..) {
                written.make_ascii_lowercase();
            }
        } else {
            self.put(token.kind, word);
        }
        self.lists = plain && matches!(word.len(), 2 | 5) && (is(word, "in") || is(word, "array"));
        if plain && is(word, "values") {
            (self.group.element, self.group.before) = (usize::MAX, None);
        }
        self.unary = false;
        self.sign = None;
    }

    /// Whether the name at hand may be a secret by its place.
    fn masked(&mut self, word: &str, plain: bool) -> bool {
        let keyword = |k: &str| plain && is(word, k);
        match self.mask {
            Mask::Off => return false,
            Mask::Values => return !keyword("to") && !keyword("default"),
            Mask::Password => {
                self.mask = Mask::Definition;
                return !keyword("null");
            }
            Mask::Start if keyword("set") => self.mask = Mask::Setting(false),
            Mask::Start if keyword("create") || keyword("alter") => self.mask = Mask::Definition,
            Mask::Start => self.mask = Mask::Off,
            Mask::Definition if keyword("password") => self.mask = Mask::Password,
            Mask::Definition if keyword("set") => self.mask = Mask::Setting(false),
            Mask::Setting(true) if keyword("to") => self.mask = Mask::Values,
            Mask::Setting(_) if keyword("password") => self.mask = Mask::Password,
            Mask::Definition | Mask::Setting(_) => {}
        }
        false
    }

    fn literal(&mut self, kind: Kind) {
        if let Some((sign, gap)) = self.sign.take().filter(|_| kind == Kind::Number) {
            self.out.truncate(sign);
            self.gap = gap;
        }
        self.value(kind, "?");
        self.lists = false;
        self.unary = false;
    }

    fn param(&mut self, token: Token) {
        if self.canonical {
            self.value(Kind::Param, "$");
        } else {
            self.put(Kind::Param, token.of(self.text));
        }
        (self.lists, self.unary, self.sign) = (false, false, None);
    }

    /// Writes what stands for a value; in a list, not twice in a row.
    fn value(&mut self, kind: Kind, mark: &str) {
        self.put(kind, mark);
        let alone = self.group.element + mark.len() == self.out.len();
        if self.group.list && alone {
            self.fold();
        }
    }

    /// Takes the current element back if it reads like the one before it.
    fn fold(&mut self) {
        let Some((start, end)) = self.group.before else { return };
        let bytes = self.out.as_bytes();
        if self.deeper == 0 && !self.full && bytes.get(start..end) == bytes.get(self.group.element..) {
            self.out.truncate(end);
            self.group.element = start;
        }
    }

    fn open(&mut self, token: Token) {
        self.put(token.kind, token.of(self.text));
        if self.outer.len() >= FOLD_DEPTH_MAX {
            self.deeper += 1;
        } else {
            let inside = Group { list: self.lists, element: usize::MAX, before: None };
            self.outer.push(std::mem::replace(&mut self.group, inside));
        }
        (self.lists, self.unary, self.sign) = (false, true, None);
    }

    fn close(&mut self, token: Token) {
        self.put(token.kind, token.of(self.text));
        if self.deeper > 0 {
            self.deeper -= 1;
        } else if let Some(group) = self.outer.pop() {
            self.group = group;
            if self.out.as_bytes().get(self.group.element) == Some(&b'(') {
                self.fold();
            }
        }
        (self.lists, self.unary, self.sign) = (false, false, None);
    }

    fn comma(&mut self) {
        if self.deeper == 0 {
            self.group.before = Some((self.group.element.min(self.out.len()), self.out.len()));
        }
        self.put(Kind::Comma, ",");
        (self.lists, self.unary, self.sign) = (false, true, None);
    }

    fn operator(&mut self, token: Token) {
        let op = token.of(self.text);
        let sign =
            matches!(op, "-" | "+") && (self.unary || self.last == Some(Kind::Word) && self.keyword_before());
        self.sign = sign.then_some((self.out.len(), self.gap));
        if op == "=" && self.mask == Mask::Setting(true) {
            self.mask = Mask::Values;
        }
        self.put(token.kind, op);
        (self.lists, self.unary) = (false, true);
    }

    /// Whether the output ends with a keyword that a value follows.
    fn keyword_before(&self) -> bool {
        let start = self.out.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |i| i + 1);
        let word = self.out.get(start..).unwrap_or_default();
        let value = ["current_", "local", "null", "true", "false", "end", "user", "session_"];
        functions::is_syntax(word) && !value.iter().any(|v| word.get(..v.len()).is_some_and(|w| is(w, v)))
    }

    fn mark(&mut self, token: Token) {
        let piece = token.of(self.text);
        match (token.kind, self.mask) {
            (Kind::Dot, Mask::Setting(false)) => self.mask = Mask::Setting(true),
            (Kind::Semicolon, _) => self.mask = Mask::Start,
            _ => {}
        }
        let control = piece.bytes().any(|b| b.is_ascii_control());
        self.put(token.kind, if control { " " } else { piece });
        (self.lists, self.unary, self.sign) = (false, token.kind == Kind::Semicolon, None);
    }
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}
