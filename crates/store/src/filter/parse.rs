//! Text to tree, by recursive descent; depth, terms and lengths are bounded before anything is built.

use super::lex::{Lexer, Text};
use super::values;
use super::{
    DEPTH_MAX, FIELDS, Field, Filter, FilterError, Node, Op, Pred, REGEX_COMPILED_MAX, REGEX_MAX, Re,
    TERMS_MAX, TEXT_MAX, Test, VALUES_MAX, Value, fields,
};
use crate::error::nearest;

/// Reads a filter.
///
/// # Errors
/// Where it is wrong, why, and the nearest names; also when a bound is exceeded.
pub fn parse(text: &str) -> Result<Filter, FilterError> {
    let mut parser = Parser { lex: Lexer::new(text), terms: 0 };
    if text.len() > TEXT_MAX {
        let message = format!("the filter is {} bytes long, the limit is {TEXT_MAX}", text.len());
        return Err(parser.lex.error("query-too-large", 0, 1, message));
    }
    parser.lex.spaces();
    let root = parser.query(0)?;
    parser.lex.spaces();
    match parser.lex.peek() {
        None => Ok(Filter { root }),
        Some(_) => Err(parser.lex.syntax(parser.lex.at, "a closing parenthesis without an opening one")),
    }
}

struct Parser {
    lex: Lexer,
    terms: usize,
}

type Parsed<T> = Result<T, FilterError>;

impl Parser {
    /// Alternatives up to the end or a closing parenthesis; leading spaces are skipped.
    fn query(&mut self, depth: usize) -> Parsed<Node> {
        if depth > DEPTH_MAX {
            let message = format!("nested deeper than {DEPTH_MAX}");
            return Err(self.lex.error("query-too-large", self.lex.at, self.lex.at + 1, message));
        }
        if self.lex.at_boundary() {
            return Ok(Node::All);
        }
        let mut alternatives = vec![self.and(depth)?];
        while self.lex.at_keyword("OR") {
            self.lex.eat_str("OR");
            if !self.lex.spaces() || self.lex.at_boundary() {
                return Err(self.lex.syntax(self.lex.at, "nothing follows OR"));
            }
            alternatives.push(self.and(depth)?);
        }
        Ok(one_or(alternatives, Node::Or))
    }

    /// Terms side by side; ends before `OR`, `)` or the end, with the spaces before it eaten.
    fn and(&mut self, depth: usize) -> Parsed<Node> {
        let mut terms = vec![self.unary(depth)?];
        loop {
            let spaced = self.lex.spaces();
            if self.lex.at_boundary() || self.lex.at_keyword("OR") {
                break;
            }
            if !spaced {
                return Err(self.lex.syntax(self.lex.at, "a space is missing between two terms"));
            }
            if self.lex.at_keyword("AND") {
                self.lex.eat_str("AND");
                if !self.lex.spaces() || self.lex.at_boundary() {
                    return Err(self.lex.syntax(self.lex.at, "nothing follows AND"));
                }
            }
            terms.push(self.unary(depth)?);
        }
        Ok(one_or(terms, Node::And))
    }

    fn unary(&mut self, depth: usize) -> Parsed<Node> {
        let mut negations = 0;
        loop {
            if self.lex.eat('-') {
                negations += 1;
            } else if self.lex.at_keyword("NOT") {
                let from = self.lex.at;
                self.lex.eat_str("NOT");
                if !self.lex.spaces() {
                    return Err(self
                        .lex
                        .syntax(from, "a space must follow NOT; to look for the word, quote it"));
                }
                negations += 1;
            } else {
                break;
            }
            if depth + negations > DEPTH_MAX {
                let message = format!("nested deeper than {DEPTH_MAX}");
                return Err(self.lex.error("query-too-large", self.lex.at - 1, self.lex.at, message));
            }
        }
        let mut node = self.primary(depth + negations)?;
        for _ in 0..negations {
            node = Node::Not(Box::new(node));
        }
        Ok(node)
    }

    fn primary(&mut self, depth: usize) -> Parsed<Node> {
        let from = self.lex.at;
        if self.lex.eat('(') {
            self.lex.spaces();
            let node = self.query(depth + 1)?;
            self.lex.spaces();
            if !self.lex.eat(')') {
                return Err(self.lex.error("query-syntax", from, from + 1, "this parenthesis is not closed"));
            }
            return Ok(node);
        }
        self.term(from)?;
        let word = self.lex.peek_word();
        if matches!(word.as_str(), "AND" | "OR") {
            return Err(self
                .lex
                .syntax(from, format!("{word} stands between two terms; to look for the word, quote it")));
        }
        if let Some(digits) =
            word.strip_prefix('#').filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
        {
            self.lex.at += word.chars().count();
            return match digits.parse() {
                Ok(index) if self.lex.at_boundary() => Ok(Node::Entry(index)),
                _ => Err(self.lex.error("bad-value", from, self.lex.at, "not an index of a ledger")),
            };
        }
        if let Some((field, key)) = self.field()? {
            let test = self.test(field)?;
            self.boundary()?;
            return Ok(Node::Pred(Pred { field, key, test }));
        }
        let text = self.lex.text(false)?;
        self.boundary()?;
        Ok(Node::Text(text.glob))
    }

    fn term(&mut self, at: usize) -> Parsed<()> {
        self.terms += 1;
        if self.terms > TERMS_MAX {
            return Err(self.lex.error(
                "query-too-large",
                at,
                at + 1,
                format!("more than {TERMS_MAX} terms"),
            ));
        }
        Ok(())
    }

    fn boundary(&self) -> Parsed<()> {
        if self.lex.at_boundary() {
            return Ok(());
        }
        Err(self.lex.error("query-syntax", self.lex.at, self.lex.at + 1, "a space is missing here"))
    }

    /// `name:` or `name.key:`; nothing is eaten when what stands here is text.
    fn field(&mut self) -> Parsed<Option<(&'static Field, Option<String>)>> {
        let from = self.lex.at;
        let name = self.name();
        let mut parts = vec![name];
        while self.lex.peek() == Some('.') && !parts[0].is_empty() {
            self.lex.at += 1;
            if self.lex.peek() == Some('"') {
                let key = self.lex.text(false)?;
                parts.push(key.glob.as_text().unwrap_or_default().to_owned());
            } else {
                parts.push(self.key());
            }
        }
        let end = self.lex.at;
        let is_name = self.lex.eat(':') && parts.iter().all(|part| !part.is_empty());
        if is_name && !(self.lex.peek() == Some('/') && self.lex.peek_at(1) == Some('/')) {
            return self.lookup(&parts, from, end).map(Some);
        }
        self.lex.at = from;
        self.refuse_unknown(from)?;
        Ok(None)
    }

    /// A word with a colon that reads like a field but is spelled like none.
    fn refuse_unknown(&self, from: usize) -> Parsed<()> {
        let word = self.lex.peek_word();
        let Some((before, after)) = word.split_once(':') else { return Ok(()) };
        let nameish = before.starts_with(|c: char| c.is_ascii_alphabetic())
            && before.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if !nameish || after.starts_with("//") {
            return Ok(());
        }
        Err(self.unknown(before, from, from + before.chars().count()))
    }

    fn unknown(&self, name: &str, from: usize, to: usize) -> FilterError {
        let names =
            FIELDS.iter().flat_map(|field| std::iter::once(&field.name).chain(field.aliases)).copied();
        let mut error =
            self.lex.error("unknown-field", from, to, format!("unknown field `{name}` in the filter"));
        error.suggestions = nearest(&name.to_lowercase(), names);
        error
    }

    fn lookup(&self, parts: &[String], from: usize, end: usize) -> Parsed<(&'static Field, Option<String>)> {
        let whole = parts.join(".");
        if let Some(field) = fields::find(&whole) {
            if field.keyed {
                let message = format!("`{whole}` needs a key: `{whole}.<name>:…`");
                return Err(self.lex.error("query-syntax", from, end, message));
            }
            return Ok((field, None));
        }
        for split in (1..parts.len()).rev() {
            let (name, key) = parts.split_at(split);
            if let Some(field) = fields::find(&name.join(".")).filter(|field| field.keyed) {
                return Ok((field, Some(key.join("."))));
            }
        }
        Err(self.unknown(&whole, from, end))
    }

    fn name(&mut self) -> String {
        let from = self.lex.at;
        if self.lex.peek().is_some_and(|c| c.is_ascii_lowercase()) {
            while self.lex.peek().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
                self.lex.at += 1;
            }
        }
        self.lex.slice(from, self.lex.at)
    }

    fn key(&mut self) -> String {
        let from = self.lex.at;
        while self.lex.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            self.lex.at += 1;
        }
        self.lex.slice(from, self.lex.at)
    }

    fn test(&mut self, field: &'static Field) -> Parsed<Test> {
        let from = self.lex.at;
        if self.lex.eat('~') {
            return self.regex(field);
        }
        for (sign, op) in
            [(">=", Op::GreaterOrEqual), ("<=", Op::LessOrEqual), (">", Op::Greater), ("<", Op::Less)]
        {
            if self.lex.eat_str(sign) {
                self.ordered(field, from)?;
                let literal = self.lex.text(false)?;
                return Ok(Test::Compare(op, values::number(&self.lex, field, &literal)?));
            }
        }
        if self.lex.peek() == Some('(') {
            return self.list(field);
        }
        if field.ordered() {
            let low = self.lex.text(true)?;
            if self.lex.eat_str("..") {
                let high = self.lex.text(false)?;
                let low = values::number(&self.lex, field, &low)?;
                return Ok(Test::Between(low, values::number(&self.lex, field, &high)?));
            }
            self.lex.at = from;
        }
        let text = self.lex.text(false)?;
        if text.glob.is_any() {
            return Ok(Test::Present);
        }
        Ok(Test::Any(vec![values::read(&self.lex, field, &text)?]))
    }

    fn ordered(&self, field: &Field, from: usize) -> Parsed<()> {
        if field.ordered() {
            return Ok(());
        }
        let message = format!("`{}` has no order: use `{}:value`, `*` or `~`", field.name, field.name);
        Err(self.lex.error("query-syntax", from, self.lex.at, message))
    }

    fn regex(&mut self, field: &'static Field) -> Parsed<Test> {
        let from = self.lex.at;
        if !values::is_text(field) {
            let message = format!("`{}` is no text: regular expressions do not apply", field.name);
            return Err(self.lex.error("query-syntax", from, from + 1, message));
        }
        let Text { raw, .. } = self.lex.text(false)?;
        if raw.len() > REGEX_MAX {
            let message = format!("the regular expression is longer than {REGEX_MAX} bytes");
            return Err(self.lex.error("query-too-large", from, self.lex.at, message));
        }
        match regex::RegexBuilder::new(&raw).size_limit(REGEX_COMPILED_MAX).build() {
            Ok(compiled) => Ok(Test::Regex(Re { text: raw, compiled })),
            Err(regex::Error::CompiledTooBig(_)) => {
                let message =
                    format!("the regular expression needs more than {} MiB", REGEX_COMPILED_MAX >> 20);
                Err(self.lex.error("query-too-large", from, self.lex.at, message))
            }
            Err(error) => {
                let why = error.to_string().lines().last().unwrap_or_default().replace("error: ", "");
                Err(self.lex.error(
                    "bad-value",
                    from,
                    self.lex.at,
                    format!("not a regular expression: {why}"),
                ))
            }
        }
    }

    fn list(&mut self, field: &'static Field) -> Parsed<Test> {
        let from = self.lex.at;
        self.lex.at += 1;
        let mut values: Vec<Value> = Vec::new();
        loop {
            let spaced = self.lex.spaces();
            if self.lex.eat(')') {
                break;
            }
            if self.lex.peek().is_none() {
                return Err(self.lex.error("query-syntax", from, from + 1, "this parenthesis is not closed"));
            }
            if !values.is_empty() {
                if !spaced {
                    return Err(self.lex.syntax(self.lex.at, "a space is missing between two values"));
                }
                if self.lex.at_keyword("OR") {
                    self.lex.eat_str("OR");
                    if !self.lex.spaces() {
                        return Err(self.lex.syntax(self.lex.at, "nothing follows OR"));
                    }
                }
            }
            self.term(self.lex.at)?;
            let text = self.lex.text(false)?;
            if text.glob.is_any() {
                return Err(self
                    .lex
                    .syntax(text.from, format!("`*` inside a list: write `{}:*`", field.name)));
            }
            values.push(values::read(&self.lex, field, &text)?);
            if values.len() > VALUES_MAX {
                return Err(self.lex.error(
                    "query-too-large",
                    from,
                    self.lex.at,
                    format!("more than {VALUES_MAX} values"),
                ));
            }
        }
        if values.is_empty() {
            return Err(self.lex.syntax(from, "an empty list matches nothing"));
        }
        Ok(Test::Any(values))
    }
}

fn one_or(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match nodes.len() {
        1 => nodes.remove(0),
        _ => many(nodes),
    }
}
