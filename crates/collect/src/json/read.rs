//! The one pass over a JSON text. The open containers are a list, not the machine's stack.

use super::{DEPTH_MAX, Kind, Node};
use crate::Fault;
use std::cell::Cell;

/// Objects of at most this many members are checked for double names pair by pair.
const PAIRS_MAX: usize = 8;

pub(super) struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// Most items.
    most: usize,
    /// Containers that are open, by item.
    open: Vec<u32>,
    /// Members of the object at hand, to compare their names; reused.
    names: Vec<u32>,
    ambiguous: bool,
}

/// What comes next.
enum Step {
    /// A value, with the name read before it.
    Value(Option<((u32, u32), bool)>),
    /// The end of the innermost container.
    Close,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, most: usize) -> Reader<'a> {
        let nodes = Vec::with_capacity((text.len() / 24).clamp(4, most.max(4)));
        Reader {
            text,
            bytes: text.as_bytes(),
            at: 0,
            nodes,
            most,
            open: Vec::new(),
            names: Vec::new(),
            ambiguous: false,
        }
    }

    pub(super) fn done(self) -> (Vec<Node>, bool) {
        (self.nodes, self.ambiguous)
    }

    /// Reads one value and gives the offset behind it.
    pub(super) fn value(&mut self) -> Result<usize, Fault> {
        self.space();
        self.item(None)?;
        while let Some(&container) = self.open.last() {
            match self.step(container)? {
                Step::Value(name) => self.item(name)?,
                Step::Close => self.close(container),
            }
        }
        Ok(self.at)
    }

    /// Behind an item or an opening bracket: the comma, the name, or the end.
    fn step(&mut self, container: u32) -> Result<Step, Fault> {
        let node = &self.nodes[container as usize];
        let (object, first) = (node.kind == Kind::Object, self.nodes.len() == container as usize + 1);
        self.space();
        let end = if object { b'}' } else { b']' };
        if self.peek() == Some(end) {
            self.at += 1;
            return Ok(Step::Close);
        }
        if !first {
            self.expect(b',', "expected a comma or the end of the container")?;
            self.space();
        }
        if !object {
            return Ok(Step::Value(None));
        }
        self.expect(b'"', "expected a name")?;
        let name = self.string()?;
        self.space();
        self.expect(b':', "expected a colon")?;
        self.space();
        Ok(Step::Value(Some(name)))
    }

    fn item(&mut self, name: Option<((u32, u32), bool)>) -> Result<(), Fault> {
        if self.nodes.len() >= self.most {
            return Err(self.fault("more items than the bound"));
        }
        let start = self.at;
        let (key, key_escaped) = name.unwrap_or_default();
        let kind = match self.peek() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::Text,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => return Err(self.fault("expected a value")),
        };
        let mut escaped = false;
        match kind {
            Kind::Object | Kind::Array => {
                if self.open.len() >= DEPTH_MAX {
                    return Err(self.fault("nested deeper than the bound"));
                }
                self.at += 1;
                self.open.push(self.nodes.len() as u32);
            }
            Kind::Text => {
                self.at += 1;
                escaped = self.string()?.1;
            }
            Kind::Number => self.number()?,
            Kind::Bool | Kind::Null => self.word()?,
        }
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node {
            kind,
            escaped: (key_escaped, escaped),
            key,
            span: (start as u32, self.at as u32),
            next,
            used: Cell::new(false),
        });
        Ok(())
    }

    fn close(&mut self, container: u32) {
        self.open.pop();
        let (next, end) = (self.nodes.len() as u32, self.at as u32);
        let node = &mut self.nodes[container as usize];
        node.next = next;
        node.span.1 = end;
        if node.kind == Kind::Object && !self.ambiguous {
            self.ambiguous = self.doubles(container, next);
        }
    }

    /// Whether two members of `container` have one name.
    fn doubles(&mut self, container: u32, end: u32) -> bool {
        self.names.clear();
        let mut at = container + 1;
        while at < end {
            self.names.push(at);
            at = self.nodes[at as usize].next;
        }
        let (text, nodes) = (self.text, &self.nodes);
        let key = |at: &u32| {
            let node = &nodes[*at as usize];
            (&text[node.key.0 as usize..node.key.1 as usize], node.escaped.0)
        };
        if self.names.iter().any(|at| key(at).1) {
            let name = |at: &u32| super::value::decoded(key(at).0, key(at).1);
            self.names.sort_unstable_by(|a, b| name(a).cmp(&name(b)));
            return self.names.windows(2).any(|two| name(&two[0]) == name(&two[1]));
        }
        let name = |at: &u32| key(at).0;
        if self.names.len() <= PAIRS_MAX {
            let same = |(i, a): (usize, &u32)| self.names[..i].iter().any(|b| name(a) == name(b));
            return self.names.iter().enumerate().any(same);
        }
        if all_differ(self.names.iter().map(name)) {
            return false;
        }
        // Shorter ones first: most are told apart without being compared.
        self.names.sort_unstable_by(|a, b| (name(a).len(), name(a)).cmp(&(name(b).len(), name(b))));
        self.names.windows(2).any(|two| name(&two[0]) == name(&two[1]))
    }

    /// Behind an opening quotation mark: the place of the text, and whether it has escapes.
    fn string(&mut self) -> Result<((u32, u32), bool), Fault> {
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = &self.bytes[self.at..];
            let Some(stop) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.bytes.len();
                return Err(self.fault("a string does not end"));
            };
            if let Some(bad) = rest[..stop].iter().position(|b| *b < 0x20) {
                self.at += bad;
                return Err(self.fault("a control character in a string"));
            }
            self.at += stop;
            if self.bytes[self.at] == b'"' {
                self.at += 1;
                return Ok(((start as u32, self.at as u32 - 1), escaped));
            }
            escaped = true;
            self.escape()?;
        }
    }

    /// At a backslash. A surrogate must be half of a pair.
    fn escape(&mut self) -> Result<(), Fault> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = self.unit(self.at)?;
                self.at += 6;
                match unit {
                    0xd800..=0xdbff => {
                        let low = self.bytes.get(self.at..self.at + 2) == Some(b"\\u");
                        let low = if low { self.unit(self.at)? } else { 0 };
                        if !(0xdc00..=0xdfff).contains(&low) {
                            return Err(self.fault("a lone surrogate"));
                        }
                        self.at += 6;
                    }
                    0xdc00..=0xdfff => return Err(self.fault("a lone surrogate")),
                    _ => {}
                }
            }
            _ => return Err(self.fault("an unknown escape")),
        }
        Ok(())
    }

    /// The four hexadecimal digits of the escape at `at`.
    fn unit(&self, at: usize) -> Result<u32, Fault> {
        let digits = self.bytes.get(at + 2..at + 6).ok_or_else(|| self.fault("an escape does not end"))?;
        digits.iter().try_fold(0, |unit, b| {
            char::from(*b).to_digit(16).map(|d| unit << 4 | d).ok_or_else(|| self.fault("an unknown escape"))
        })
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.fault("a number without digits")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(())
    }

    fn some_digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.digits();
        if self.at == start { Err(self.fault("a number without digits")) } else { Ok(()) }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn word(&mut self) -> Result<(), Fault> {
        for word in ["true", "false", "null"] {
            if self.bytes[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(());
            }
        }
        Err(self.fault("expected a value"))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, rule: &'static str) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(self.fault(rule));
        }
        self.at += 1;
        Ok(())
    }

    fn fault(&self, rule: &'static str) -> Fault {
        Fault::new(self.at, rule)
    }
}

/// Whether the names certainly differ: each has a mark that none before it has. `false` says nothing.
fn all_differ<'t>(names: impl Iterator<Item = &'t str>) -> bool {
    const MARKS: usize = 1 << 10;
    let mut seen = [0_u64; MARKS / 64];
    for name in names {
        let bytes = name.as_bytes();
        let at = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let some = [at(0), at(bytes.len() / 2), at(bytes.len().saturating_sub(3)), bytes.len() as u8];
        let mark = u32::from_le_bytes(some).wrapping_mul(0x9e37_79b1) as usize >> 22;
        let Some(word) = seen.get_mut(mark / 64) else { return false };
        if *word & 1 << (mark % 64) != 0 {
            return false;
        }
        *word |= 1 << (mark % 64);
    }
    true
}
