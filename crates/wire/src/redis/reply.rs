//! Replies as bytes arrive: RESP2 and RESP3, whole values found without holding them.
//!
//! Of a value only a summary is kept: its type, the beginning of its text, the number of its elements, its
//! first word. Streamed aggregates (`$?`, `*?`), which no server sends, are refused. Depth and numbers of
//! elements are bounded; memory does not depend on them beyond one small frame a level.

use super::number::{LINE_MAX, Line, line};
use super::rules;
use memchr::memchr;

/// Deepest nesting of aggregates.
pub const DEPTH_MAX: usize = 128;
/// Most elements of one aggregate.
pub const ELEMENTS_MAX: i64 = i32::MAX as i64;
/// Longest bulk reply, bytes. A server may send more than it takes (`DUMP` of a large collection).
pub const REPLY_BULK_MAX: i64 = 64 << 30;
/// Bytes kept of a text.
pub const TEXT_MAX: usize = 256;
/// Bytes kept of an aggregate's first word.
pub(super) const WORD_MAX: usize = 16;

/// The beginning of a text.
#[derive(Clone, Copy)]
pub(super) struct Start<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Start<N> {
    const EMPTY: Start<N> = Start { bytes: [0; N], len: 0 };

    pub(super) fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        let n = piece.len().min(N - self.len);
        if let (Some(to), Some(from)) = (self.bytes.get_mut(self.len..self.len + n), piece.get(..n)) {
            to.copy_from_slice(from);
            self.len += n;
        }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    fn set(&mut self, text: &[u8]) {
        self.clear();
        self.push(text);
    }
}

impl<const N: usize> Default for Start<N> {
    fn default() -> Start<N> {
        Start::EMPTY
    }
}

/// What is kept of a value.
#[derive(Clone, Copy)]
pub(super) struct Summary {
    /// Type byte.
    pub(super) kind: u8,
    /// Null, in any of its forms.
    pub(super) null: bool,
    /// Beginning of its text: of a line always, of a bulk string below the top level only.
    pub(super) text: Start<TEXT_MAX>,
    /// Length of a bulk string; elements of an aggregate (a map's keys and values both).
    pub(super) size: u64,
    /// Text of the first element.
    pub(super) first: Start<WORD_MAX>,
    /// Third element, when it is a number.
    pub(super) third: Option<i64>,
}

impl Summary {
    const EMPTY: Summary =
        Summary { kind: 0, null: false, text: Start::EMPTY, size: 0, first: Start::EMPTY, third: None };

    pub(super) fn is_error(&self) -> bool {
        matches!(self.kind, b'-' | b'!')
    }
}

#[derive(Clone, Copy)]
struct Frame {
    left: u64,
    index: u64,
    attribute: bool,
}

#[derive(Clone, Copy, Default)]
enum State {
    /// Before a value.
    #[default]
    Value,
    /// Inside a line; the last byte taken was a CR.
    Line(bool),
    Bulk(u64),
    /// Behind a bulk string; a CR was taken already.
    BulkEnd(bool),
    /// A value has ended; what it completes is still to be told.
    Close,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// The buffer's end.
    More,
    /// The first element of the value ([`Reader::stop_at_first`]).
    First,
    /// An element of the value ([`Reader::stop_at_elements`]): [`Reader::element`], by its index.
    Element(u64),
    /// The end of the value: [`Reader::value`].
    End,
}

/// See the module's documentation.
pub(super) struct Reader {
    /// The value, an element of it, an element of that.
    levels: [Summary; 3],
    stack: Vec<Frame>,
    state: State,
    /// Frames of the stack up to and with the outermost attribute; 0 = none is open.
    skipping: usize,
    /// Report the first element.
    pub(super) stop_at_first: bool,
    /// Report each element, and keep the beginnings of their texts.
    pub(super) stop_at_elements: bool,
    started: bool,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            levels: [Summary::EMPTY; 3],
            stack: Vec::new(),
            state: State::Value,
            skipping: 0,
            stop_at_first: false,
            stop_at_elements: false,
            started: false,
        }
    }
}

impl Reader {
    /// Whether no value is half read.
    pub(super) fn is_between(&self) -> bool {
        !self.started
    }

    /// Whether there is more to report without more bytes.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.state, State::Close)
    }

    pub(super) fn value(&self) -> &Summary {
        &self.levels[0]
    }

    pub(super) fn element(&self) -> &Summary {
        &self.levels[1]
    }

    /// Reads on, to what is to be reported or as far as `buf` goes. Bytes not taken come again.
    pub(super) fn read(&mut self, buf: &[u8]) -> Result<(usize, Got), &'static str> {
        let mut at = 0;
        loop {
            if let State::Close = self.state {
                if let Some(got) = self.close() {
                    return Ok((at, got));
                }
                continue;
            }
            let rest = buf.get(at..).unwrap_or_default();
            let Some(first) = rest.first() else { return Ok((at, Got::More)) };
            match self.state {
                State::Value => match self.begin(*first, rest)? {
                    0 => return Ok((at, Got::More)),
                    n => {
                        at += n;
                        self.started = true;
                    }
                },
                State::Line(true) if *first == b'\n' => {
                    at += 1;
                    self.state = State::Close;
                }
                State::Line(_) => {
                    let (n, cr) = match memchr(b'\r', rest) {
                        Some(n) => (n, 1),
                        None => (rest.len(), 0),
                    };
                    if let Some(level) = self.level() {
                        level.text.push(rest.get(..n).unwrap_or_default());
                    }
                    at += n + cr;
                    self.state = State::Line(cr == 1);
                }
                State::Bulk(left) => {
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    self.bulk(rest.get(..n).unwrap_or_default());
                    at += n;
                    let left = left - n as u64;
                    self.state = if left == 0 { State::BulkEnd(false) } else { State::Bulk(left) };
                }
                State::BulkEnd(cr) => {
                    if *first != if cr { b'\n' } else { b'\r' } {
                        return Err(rules::REPLY_TERMINATOR);
                    }
                    at += 1;
                    self.state = if cr { State::Close } else { State::BulkEnd(true) };
                }
                State::Close => {}
            }
        }
    }

    /// The summary of the value that is being read, if it is of a level that is kept.
    fn level(&mut self) -> Option<&mut Summary> {
        if self.skipping > 0 { None } else { self.levels.get_mut(self.stack.len()) }
    }

    fn bulk(&mut self, piece: &[u8]) {
        let depth = self.stack.len();
        let first = self.stack.last().is_some_and(|f| f.index == 0);
        let error = depth == 0 && self.levels[0].kind == b'!';
        let kept = error || (depth == 1 && (first || self.stop_at_elements)) || (depth == 2 && first);
        if kept && let Some(level) = self.level() {
            level.text.push(piece);
        }
    }

    /// Takes the beginning of a value and says how many bytes that was; 0 = not complete.
    fn begin(&mut self, kind: u8, rest: &[u8]) -> Result<usize, &'static str> {
        match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {
                if let Some(level) = self.level() {
                    (level.kind, level.null, level.size) = (kind, kind == b'_', 0);
                    (level.text.len, level.first.len, level.third) = (0, 0, None);
                }
                self.state = State::Line(false);
                return Ok(1);
            }
            b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => {}
            _ => return Err(rules::REPLY_TYPE),
        }
        if rest.get(1) == Some(&b'?') {
            return Err(rules::REPLY_STREAMED);
        }
        let (n, len) = match line(rest) {
            Line::Number(n, len) => (n, len),
            Line::More if rest.len() < LINE_MAX => return Ok(0),
            Line::More | Line::Bad => return Err(rules::REPLY_LENGTH),
        };
        let null = n == -1 && matches!(kind, b'$' | b'*');
        let bulk = matches!(kind, b'$' | b'=' | b'!');
        if (n < 0 && !null) || n > if bulk { REPLY_BULK_MAX } else { ELEMENTS_MAX } {
            return Err(rules::REPLY_LENGTH);
        }
        let n = u64::try_from(n).unwrap_or(0);
        let children = if matches!(kind, b'%' | b'|') { 2 * n } else { n };
        if kind == b'|' {
            if children > 0 {
                self.open(children, true)?;
            }
            return Ok(len);
        }
        if let Some(level) = self.level() {
            (level.kind, level.null, level.size) = (kind, null, if bulk { n } else { children });
            (level.text.len, level.first.len, level.third) = (0, 0, None);
        }
        if null || (!bulk && children == 0) {
            self.state = State::Close;
        } else if bulk {
            self.state = if n == 0 { State::BulkEnd(false) } else { State::Bulk(n) };
        } else {
            self.open(children, false)?;
        }
        Ok(len)
    }

    fn open(&mut self, left: u64, attribute: bool) -> Result<(), &'static str> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(rules::REPLY_DEPTH);
        }
        self.stack.push(Frame { left, index: 0, attribute });
        if attribute && self.skipping == 0 {
            self.skipping = self.stack.len();
        }
        self.state = State::Value;
        Ok(())
    }

    /// Tells a frame that a value in it has ended. `None` = read on.
    fn close(&mut self) -> Option<Got> {
        let depth = self.stack.len();
        let Some(frame) = self.stack.last_mut() else {
            self.state = State::Value;
            self.started = false;
            return Some(Got::End);
        };
        let index = frame.index;
        frame.index += 1;
        frame.left = frame.left.saturating_sub(1);
        let (done, attribute) = (frame.left == 0, frame.attribute);
        if done {
            self.stack.pop();
        }
        // An attribute that has ended is no value: the one it describes is still to come.
        self.state = if done && !attribute { State::Close } else { State::Value };
        if self.skipping > 0 {
            if done && self.skipping == depth {
                self.skipping = 0;
            }
            return None;
        }
        if depth <= 2 && (index == 0 || index == 2) {
            self.note(depth, index);
        }
        match depth {
            1 if self.stop_at_first && index == 0 => {
                self.stop_at_first = false;
                // Reported as the first; whoever wants elements asks for this one himself.
                Some(Got::First)
            }
            1 if self.stop_at_elements => Some(Got::Element(index)),
            _ => None,
        }
    }

    fn note(&mut self, depth: usize, index: u64) {
        let (above, below) = self.levels.split_at_mut(depth);
        let (Some(parent), Some(child)) = (above.last_mut(), below.first()) else { return };
        if index == 0 {
            parent.first.set(child.text.get());
        } else if child.kind == b':' {
            parent.third = std::str::from_utf8(child.text.get()).ok().and_then(|t| t.parse().ok());
        }
    }
}
