//! The scanner: RFC 8259 byte by byte, with spans of strings taken at once.

mod keep;

use super::place::{KEY_MAX, Place, Wants};
use super::{ARGUMENT_KEY_MAX, BATCH_MAX, DEPTH_MAX, Fault, Flags, Id, Kind, Message, NUMBER_MAX};
use memchr::memchr2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    /// After `[`.
    ValueOrEnd,
    /// After `{`.
    KeyOrEnd,
    /// After `,` in an object.
    Key,
    Colon,
    /// After a value.
    Next,
    Text(Escape),
    Number(Digits),
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    No,
    Slash,
    /// Digits seen, value so far.
    Hex(u8, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    Minus,
    Zero,
    Whole,
    Dot,
    Fraction,
    E,
    Sign,
    Exponent,
}

/// A container that is open.
#[derive(Clone, Copy, Debug)]
struct Frame {
    array: bool,
    place: Place,
    /// Bits of the places seen in it.
    seen: u64,
}

/// Where the arguments' bytes go: index of the message in the document, bytes.
type Sink<'s> = &'s mut dyn FnMut(usize, &[u8]);

/// Reads one document. See the module's documentation.
#[derive(Debug)]
pub struct Reader {
    state: State,
    frames: Vec<Frame>,
    /// Place of the next value.
    place: Place,
    /// The string being read is a key.
    in_key: bool,
    /// What is kept of the current string or number, and how much of it may be.
    text: Vec<u8>,
    text_max: usize,
    text_flags: Flags,
    high: Option<u16>,
    /// Depth outside of the arguments that are being read.
    arguments: Option<usize>,
    message: Message,
    started: u64,
    /// Messages that have begun.
    begun: usize,
    done: Vec<Message>,
    fault: Option<Fault>,
    carry: [u8; 4],
    carried: usize,
    read: u64,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            state: State::Value,
            frames: Vec::new(),
            place: Place::Root,
            in_key: false,
            text: Vec::new(),
            text_max: 0,
            text_flags: Flags::default(),
            high: None,
            arguments: None,
            message: Message::default(),
            started: 0,
            begun: 0,
            done: Vec::new(),
            fault: None,
            carry: [0; 4],
            carried: 0,
            read: 0,
        }
    }
}

impl Reader {
    /// Reads on. `sink` is given the bytes of each `params.arguments`, as they stand, with the number of the
    /// message in the document. After a fault, bytes are ignored.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(usize, &[u8])) {
        let mut rest = bytes;
        // A character that the last split cut in two is completed first.
        while self.carried > 0 && !rest.is_empty() {
            let (first, tail) = rest.split_at(1);
            if let (Some(place), Some(b)) = (self.carry.get_mut(self.carried), first.first()) {
                *place = *b;
            }
            self.carried += 1;
            rest = tail;
            let whole = self.carry;
            let now = whole.get(..self.carried).unwrap_or_default();
            match std::str::from_utf8(now) {
                Ok(_) => {
                    self.carried = 0;
                    self.run(now, sink);
                }
                Err(e) if e.error_len().is_some() => return self.fail(Fault::Utf8),
                Err(_) => {}
            }
        }
        if rest.is_empty() || self.fault.is_some() {
            return;
        }
        match std::str::from_utf8(rest) {
            Ok(_) => self.run(rest, sink),
            Err(e) => {
                let (fine, tail) = rest.split_at(e.valid_up_to().min(rest.len()));
                self.run(fine, sink);
                if e.error_len().is_some() {
                    return self.fail(Fault::Utf8);
                }
                for (place, b) in self.carry.iter_mut().zip(tail) {
                    *place = *b;
                }
                self.carried = tail.len();
            }
        }
    }

    /// The complete messages so far, in order; each is given once.
    pub fn take(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.done)
    }

    /// What broke, if something did.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Messages that have begun so far, complete or not.
    pub fn begun(&self) -> usize {
        self.begun
    }

    /// The document ends here.
    ///
    /// # Errors
    /// The first fault; [`Fault::Empty`] when nothing but white space was fed.
    pub fn finish(&mut self) -> Result<(), Fault> {
        let complete = self.frames.is_empty() && self.carried == 0 && self.state == State::Next;
        if self.fault.is_none() && !complete {
            let nothing = self.place == Place::Root && self.state == State::Value && self.carried == 0;
            self.fail(if nothing { Fault::Empty } else { Fault::Truncated });
        }
        self.fault.map_or(Ok(()), Err)
    }

    fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    fn run(&mut self, bytes: &[u8], sink: Sink<'_>) {
        if self.fault.is_some() {
            return;
        }
        let (mut at, mut from) = (0, 0);
        while let Some(front) = bytes.get(at..)
            && let Some(b) = front.first()
        {
            let inside = self.arguments.is_some();
            let step = match self.state {
                State::Text(escape) => self.text_bytes(escape, front),
                _ => self.byte(*b, at as u64),
            };
            match step {
                Ok(n) => {
                    match (inside, self.arguments.is_some()) {
                        (false, true) => from = at,
                        (true, false) => self.hand_on(bytes.get(from..at + n), sink),
                        _ => {}
                    }
                    at += n;
                }
                Err(fault) => {
                    if !inside {
                        // What broke the grammar began nothing.
                        self.arguments = None;
                    }
                    self.fail(fault);
                    break;
                }
            }
        }
        if self.arguments.is_some() {
            self.hand_on(bytes.get(from..at), sink);
        }
        self.read += bytes.len() as u64;
    }

    fn hand_on(&self, bytes: Option<&[u8]>, sink: Sink<'_>) {
        if let Some(bytes) = bytes.filter(|b| !b.is_empty()) {
            sink(self.begun.saturating_sub(1), bytes);
        }
    }

    /// One byte outside of a string; how many were taken (0 or 1).
    fn byte(&mut self, b: u8, at: u64) -> Result<usize, Fault> {
        if let State::Number(digits) = self.state {
            return self.digit(digits, b);
        }
        if let State::Word(rest) = self.state {
            return self.word(rest, b);
        }
        if matches!(b, b' ' | b'\t' | b'\r' | b'\n') {
            return Ok(1);
        }
        match self.state {
            State::Value => self.value(b, at)?,
            State::ValueOrEnd if b == b']' => self.close(at)?,
            State::ValueOrEnd => self.value(b, at)?,
            State::KeyOrEnd if b == b'}' => self.close(at)?,
            State::KeyOrEnd | State::Key if b == b'"' => self.key_begins(),
            State::Colon if b == b':' => self.state = State::Value,
            State::Next => self.next(b, at)?,
            _ => return Err(Fault::Syntax),
        }
        Ok(1)
    }

    fn next(&mut self, b: u8, at: u64) -> Result<(), Fault> {
        let Some(frame) = self.frames.last() else { return Err(Fault::Trailing) };
        match (b, frame.array) {
            (b',', true) => {
                self.place = if frame.place == Place::Batch { Place::Message } else { Place::Other };
                self.state = State::Value;
            }
            (b',', false) => self.state = State::Key,
            (b']', true) | (b'}', false) => return self.close(at),
            _ => return Err(Fault::Syntax),
        }
        Ok(())
    }

    fn value(&mut self, b: u8, at: u64) -> Result<(), Fault> {
        if self.place == Place::Root {
            self.place = match b {
                b'{' => Place::Message,
                b'[' => Place::Batch,
                _ => return Err(Fault::NotAMessage),
            };
        }
        if self.place == Place::Message && b != b'{' {
            return Err(Fault::NotAMessage);
        }
        self.check_type(b);
        if self.place == Place::Arguments && self.arguments.is_none() {
            self.arguments = Some(self.frames.len());
            self.message.arguments = true;
        }
        match b {
            b'{' | b'[' => self.open(b == b'[', at)?,
            b'"' => self.text_begins(self.place.text_max(), false),
            b'-' => self.number_begins(b, Digits::Minus),
            b'0' => self.number_begins(b, Digits::Zero),
            b'1'..=b'9' => self.number_begins(b, Digits::Whole),
            b't' | b'f' => {
                if self.place == Place::IsError {
                    self.message.is_error = Some(b == b't');
                }
                self.state = State::Word(if b == b't' { b"rue" } else { b"alse" });
            }
            b'n' => self.state = State::Word(b"ull"),
            _ => return Err(Fault::Syntax),
        }
        Ok(())
    }

    fn check_type(&mut self, b: u8) {
        let fits = match self.place.wants() {
            Wants::Any => true,
            Wants::Object => b == b'{',
            Wants::Text(_) => b == b'"',
            Wants::Bool => matches!(b, b't' | b'f'),
            Wants::Number => matches!(b, b'-' | b'0'..=b'9'),
            Wants::Id => matches!(b, b'"' | b'-' | b'0'..=b'9' | b'n'),
        };
        if !fits {
            self.message.flags.set(Flags::TYPE);
        }
        match self.place {
            Place::Result => self.message.result = true,
            Place::Error => self.message.error = true,
            _ => {}
        }
    }

    fn open(&mut self, array: bool, at: u64) -> Result<(), Fault> {
        if self.frames.len() >= DEPTH_MAX {
            return Err(Fault::Depth);
        }
        if self.place == Place::Message {
            if self.begun >= BATCH_MAX {
                return Err(Fault::Batch);
            }
            self.begun += 1;
            self.started = self.read + at;
        }
        self.frames.push(Frame { array, place: self.place, seen: 0 });
        self.place = match self.place {
            Place::Batch => Place::Message,
            _ => Place::Other,
        };
        self.state = if array { State::ValueOrEnd } else { State::KeyOrEnd };
        Ok(())
    }

    fn close(&mut self, at: u64) -> Result<(), Fault> {
        let Some(frame) = self.frames.pop() else { return Err(Fault::Syntax) };
        if frame.place == Place::Message {
            let mut message = std::mem::take(&mut self.message);
            message.size = (self.read + at + 1).saturating_sub(self.started);
            if frame.seen & Place::Version.bit() == 0 {
                message.flags.set(Flags::VERSION);
            }
            if message.kind() == Kind::Invalid || (message.result && message.error) {
                message.flags.set(Flags::SHAPE);
            }
            self.done.push(message);
        }
        self.value_ends();
        Ok(())
    }

    fn value_ends(&mut self) {
        if self.arguments == Some(self.frames.len()) {
            self.arguments = None;
        }
        self.place = Place::Other;
        self.state = State::Next;
    }

    fn key_begins(&mut self) {
        let frame = self.frames.last().map_or(Place::Other, |f| f.place);
        let max = match frame {
            Place::Arguments => ARGUMENT_KEY_MAX,
            place if place.has_keys() => KEY_MAX,
            _ => 0,
        };
        self.text_begins(max, true);
    }

    fn text_begins(&mut self, max: usize, key: bool) {
        self.text.clear();
        self.text_max = max;
        self.text_flags = Flags::default();
        self.in_key = key;
        self.high = None;
        self.state = State::Text(Escape::No);
    }

    /// Bytes of a string; how many were taken (at least 1).
    fn text_bytes(&mut self, escape: Escape, front: &[u8]) -> Result<usize, Fault> {
        let first = front.first().copied().unwrap_or_default();
        match escape {
            Escape::No => {
                let end = memchr2(b'"', b'\\', front).unwrap_or(front.len());
                let span = front.get(..end).unwrap_or_default();
                if span.iter().any(|b| *b < 0x20) {
                    // What stands before it is taken first, as it is when it comes alone.
                    let fine =
                        span.iter().position(|b| *b < 0x20).filter(|n| *n > 0).ok_or(Fault::Control)?;
                    self.keep(span.get(..fine).unwrap_or_default());
                    return Ok(fine);
                }
                self.keep(span);
                match front.get(end) {
                    None => Ok(end),
                    Some(b'\\') => {
                        self.state = State::Text(Escape::Slash);
                        Ok(end + 1)
                    }
                    Some(_) => {
                        self.lone_half();
                        self.text_ends();
                        Ok(end + 1)
                    }
                }
            }
            Escape::Slash => self.escaped(first),
            Escape::Hex(n, value) => {
                let digit = (first as char).to_digit(16).ok_or(Fault::Syntax)?;
                let value = (value << 4) | u16::try_from(digit).unwrap_or_default();
                if n < 3 {
                    self.state = State::Text(Escape::Hex(n + 1, value));
                } else {
                    self.state = State::Text(Escape::No);
                    self.unit(value);
                }
                Ok(1)
            }
        }
    }

    fn escaped(&mut self, b: u8) -> Result<usize, Fault> {
        let plain = match b {
            b'"' | b'\\' | b'/' => b,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.state = State::Text(Escape::Hex(0, 0));
                return Ok(1);
            }
            _ => return Err(Fault::Syntax),
        };
        self.keep(&[plain]);
        self.state = State::Text(Escape::No);
        Ok(1)
    }

    fn number_begins(&mut self, b: u8, digits: Digits) {
        self.text.clear();
        self.text_flags = Flags::default();
        let wanted = matches!(self.place.wants(), Wants::Id | Wants::Number);
        self.text_max = if wanted { NUMBER_MAX } else { 0 };
        self.keep_bytes(&[b]);
        self.state = State::Number(digits);
    }

    fn digit(&mut self, digits: Digits, b: u8) -> Result<usize, Fault> {
        let next = match (digits, b) {
            (Digits::Minus, b'0') => Digits::Zero,
            (Digits::Minus, b'1'..=b'9') | (Digits::Whole, b'0'..=b'9') => Digits::Whole,
            (Digits::Zero | Digits::Whole, b'.') => Digits::Dot,
            (Digits::Dot | Digits::Fraction, b'0'..=b'9') => Digits::Fraction,
            (Digits::Zero | Digits::Whole | Digits::Fraction, b'e' | b'E') => Digits::E,
            (Digits::E, b'+' | b'-') => Digits::Sign,
            (Digits::E | Digits::Sign | Digits::Exponent, b'0'..=b'9') => Digits::Exponent,
            (Digits::Zero | Digits::Whole | Digits::Fraction | Digits::Exponent, _) => {
                if self.text_max > 0 {
                    self.message.flags.set(self.text_flags);
                    let text = self.kept();
                    self.store(text, true);
                }
                self.value_ends();
                return Ok(0);
            }
            _ => return Err(Fault::Syntax),
        };
        self.keep_bytes(&[b]);
        self.state = State::Number(next);
        Ok(1)
    }

    fn word(&mut self, rest: &'static [u8], b: u8) -> Result<usize, Fault> {
        match rest.split_first() {
            Some((first, rest)) if *first == b => {
                if !rest.is_empty() {
                    self.state = State::Word(rest);
                    return Ok(1);
                }
                if self.place == Place::Id && b == b'l' {
                    self.message.id = Some(Id::Null);
                }
                self.value_ends();
                Ok(1)
            }
            _ => Err(Fault::Syntax),
        }
    }
}
