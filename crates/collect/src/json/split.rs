//! The elements of a large JSON array, one after the other, without parsing the text around them.
//!
//! Producers send records in batches: `{"Records":[…]}` (CloudTrail), `{"items":[…]}` (Kubernetes), a bare `[…]`
//! (HTTP pushes). A [`super::Doc`] of such a text could hold more items than its bound, and one bad record would
//! spoil all; so the batch is cut here into the bytes of its elements, and each is parsed for itself. Not a
//! validator: only what is needed to know where an element ends is looked at, what is inside an element is for its
//! parser to judge.
//!
//! Invariants: one pass, no copy, memory does not grow with the text; spans are ascending, inside the text and do
//! not overlap; every span is given before a fault behind it is. An object that gives the member twice yields the
//! elements of both: nothing that came is passed over.

use super::value::decoded;
use crate::Fault;
use std::ops::Range;

/// Deepest nesting around and inside an element; deeper is a fault. Above [`super::DEPTH_MAX`], so that an element
/// that is too deep is refused by its own parser, with its bytes known.
pub const DEPTH_MAX: u32 = 120;

/// Iterates over the byte spans of the elements. Ends behind the first fault.
#[derive(Debug)]
pub struct Split<'a> {
    bytes: &'a [u8],
    /// Name of the member that holds the array; `None` = the text is the array.
    member: Option<&'a str>,
    at: usize,
    state: State,
    found: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing read yet.
    Start,
    /// In the top object, behind a member or the bracket; whether a comma must come first.
    Members(bool),
    /// In the array, behind an element or the bracket; whether a comma must come first.
    Elements(bool),
    /// Between values that follow each other.
    Values,
    /// Behind the end, or a fault was given.
    Done,
}

/// The elements of the array in `member` of the object `bytes`, or, with `None`, of the array `bytes`.
///
/// An object without the member is a fault, so that no batch vanishes by being spelled otherwise.
pub fn elements<'a>(bytes: &'a [u8], member: Option<&'a str>) -> Split<'a> {
    Split { bytes, member, at: 0, state: State::Start, found: false }
}

/// The values of `bytes` that follow each other, with white space between them or nothing (JSON text sequences
/// without separators, as Splunk's clients send them).
pub fn values(bytes: &[u8]) -> Split<'_> {
    Split { bytes, member: None, at: 0, state: State::Values, found: false }
}

impl Iterator for Split<'_> {
    type Item = Result<Range<usize>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let step = match self.state {
                State::Start => self.start(),
                State::Members(comma) => self.member(comma),
                State::Elements(comma) => match self.element(comma) {
                    Ok(Some(span)) => return Some(Ok(span)),
                    Ok(None) => Ok(()),
                    Err(fault) => Err(fault),
                },
                State::Values => match self.following() {
                    Ok(Some(span)) => return Some(Ok(span)),
                    Ok(None) => return None,
                    Err(fault) => Err(fault),
                },
                State::Done => return None,
            };
            if let Err(fault) = step {
                self.state = State::Done;
                return Some(Err(fault));
            }
        }
    }
}

impl Split<'_> {
    fn start(&mut self) -> Result<(), Fault> {
        self.space();
        if self.member.is_none() {
            self.expect(b'[', "expected an array")?;
            self.state = State::Elements(false);
        } else {
            self.expect(b'{', "expected an object")?;
            self.state = State::Members(false);
        }
        Ok(())
    }

    /// Up to the array in the member that is looked for, or to the end of the object.
    fn member(&mut self, mut comma: bool) -> Result<(), Fault> {
        loop {
            self.space();
            if self.peek() == Some(b'}') {
                self.at += 1;
                return if self.found { self.end() } else { Err(self.fault("the array is missing")) };
            }
            if comma {
                self.expect(b',', "expected a comma or the end of the object")?;
                self.space();
            }
            comma = true;
            let (name, escaped) = self.string()?;
            self.space();
            self.expect(b':', "expected a colon")?;
            self.space();
            let is = std::str::from_utf8(&self.bytes[name])
                .is_ok_and(|name| self.member.is_some_and(|member| decoded(name, escaped) == member));
            if is && self.peek() == Some(b'[') {
                self.at += 1;
                self.found = true;
                self.state = State::Elements(false);
                return Ok(());
            }
            self.value()?;
        }
    }

    /// The next element; nothing behind the last.
    fn element(&mut self, comma: bool) -> Result<Option<Range<usize>>, Fault> {
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            if self.member.is_some() {
                self.state = State::Members(true);
                return Ok(None);
            }
            return self.end().map(|()| None);
        }
        if comma {
            self.expect(b',', "expected a comma or the end of the array")?;
            self.space();
        }
        let start = self.at;
        self.value()?;
        self.state = State::Elements(true);
        Ok(Some(start..self.at))
    }

    /// The next of values that follow each other; nothing behind the last.
    fn following(&mut self) -> Result<Option<Range<usize>>, Fault> {
        self.space();
        let start = self.at;
        if start == self.bytes.len() {
            return Ok(None);
        }
        self.value()?;
        Ok(Some(start..self.at))
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.space();
        self.state = State::Done;
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.fault("text behind the JSON value")) }
    }

    /// Passes over one value, looking at brackets and strings only.
    fn value(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'{' | b'[') => self.container(),
            Some(b'"') => self.string().map(drop),
            Some(b) if !matches!(b, b',' | b':' | b'}' | b']') => {
                let rest = &self.bytes[self.at..];
                // A form feed is no white space to JSON: it is part of a word that the parser will refuse.
                let ends = |b: &u8| {
                    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'"' | b'[' | b'{' | b'}' | b']')
                };
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
                Ok(())
            }
            _ => Err(self.fault("expected a value")),
        }
    }

    /// At an opening bracket: to behind the one that closes it. Kinds of the open ones are bits, innermost lowest.
    fn container(&mut self) -> Result<(), Fault> {
        let (mut objects, mut depth) = (0_u128, 0_u32);
        loop {
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    if depth >= DEPTH_MAX {
                        return Err(self.fault("nested deeper than the bound"));
                    }
                    depth += 1;
                    objects = objects << 1 | u128::from(open == b'{');
                    self.at += 1;
                }
                Some(close @ (b'}' | b']')) => {
                    if (objects & 1 == 1) != (close == b'}') {
                        return Err(self.fault("a bracket closes another kind"));
                    }
                    depth -= 1;
                    objects >>= 1;
                    self.at += 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                Some(b'"') => {
                    self.string()?;
                }
                Some(_) => self.at += 1,
                None => return Err(self.fault("a container does not end")),
            }
        }
    }

    /// At a quotation mark: the place of the text, and whether it has escapes.
    fn string(&mut self) -> Result<(Range<usize>, bool), Fault> {
        self.expect(b'"', "expected a name")?;
        let (start, mut escaped) = (self.at, false);
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest) {
                Some(stop) if rest[stop] == b'"' => {
                    self.at += stop + 1;
                    return Ok((start..self.at - 1, escaped));
                }
                Some(stop) => {
                    escaped = true;
                    self.at += stop + 2;
                }
                None => {
                    self.at = self.bytes.len();
                    return Err(self.fault("a string does not end"));
                }
            }
        }
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
        Fault::new(self.at.min(self.bytes.len()), rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn split<'a>(text: &'a str, member: Option<&'a str>) -> (Vec<&'a str>, Option<Fault>) {
        let (mut spans, mut fault) = (Vec::new(), None);
        for element in elements(text.as_bytes(), member) {
            match element {
                Ok(span) => spans.push(&text[span]),
                Err(found) => fault = Some(found),
            }
        }
        (spans, fault)
    }

    #[test]
    fn elements_come_as_the_bytes_that_the_source_wrote() {
        let text = r#" {"v":[0],"Re\u0063ords" : [ {"a":"]}\""} ,[ ],1.50,"x\\",null],"z":{}} "#;
        let want = vec![r#"{"a":"]}\""}"#, "[ ]", "1.50", r#""x\\""#, "null"];
        assert_eq!(split(text, Some("Records")), (want, None));
        assert_eq!(split("[ ]", None), (vec![], None));
        assert_eq!(split(r#"{"items":[],"items":[1]}"#, Some("items")), (vec!["1"], None));
    }

    #[test]
    fn an_element_with_a_fault_inside_does_not_spoil_the_others() {
        assert_eq!(split(r#"[{"a":tru},{"b":1}]"#, None), (vec![r#"{"a":tru}"#, r#"{"b":1}"#], None));
    }

    #[test]
    fn what_is_cut_or_crooked_gives_the_elements_before_and_then_a_fault() {
        for (text, count) in [
            (r#"[1,{"a":2"#, 1),
            ("[1,2", 2),
            ("[1]]", 1),
            ("[1,{]}]", 1),
            ("[1 2]", 1),
            ("[1,,2]", 1),
            ("{}", 0),
        ] {
            let (spans, fault) = split(text, None);
            assert_eq!((spans.len(), fault.is_some()), (count, true), "{text}");
        }
        assert_eq!(split(r#"{"records":[1]}"#, Some("Records")).1.unwrap().rule, "the array is missing");
        assert!(split(r#"{"Records":{}}"#, Some("Records")).1.is_some());
        assert_eq!(split("[\u{c}]", None), (vec!["\u{c}"], None));
        let deep = format!("[{}", "[".repeat(1 << 20));
        assert_eq!(split(&deep, None).1.unwrap().rule, "nested deeper than the bound");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<String>().prop_map(Value::from), any::<i64>().prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_reads_as_elements_are_the_elements(items in prop::collection::vec(any_value(), 0..6), pretty: bool) {
            let batch = json!({"kind": "List", "items": items, "z": [[{}]]});
            let text = if pretty { serde_json::to_string_pretty(&batch).unwrap() } else { batch.to_string() };
            let (spans, fault) = split(&text, Some("items"));
            prop_assert_eq!(fault, None);
            let back: Vec<Value> = spans.iter().map(|span| serde_json::from_str(span).unwrap()).collect();
            prop_assert_eq!(back, items);
        }

        #[test]
        fn any_bytes_end_and_never_panic(bytes in any::<Vec<u8>>(), named: bool) {
            crate::fuzz::split(&[&[u8::from(named)], &bytes[..]].concat());
        }
    }
}
