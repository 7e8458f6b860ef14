//! Commands as bytes arrive: arrays of bulk strings, and inline commands.
//!
//! Reads any split of the stream to the same arguments, holding nothing but an unfinished line (at most
//! [`INLINE_MAX`] bytes, and [`super::number::LINE_MAX`] for numbers). What the server would read in a lax way
//! (a CR LF that is none, a number with a plus) is refused, not guessed.

use super::number::{Line, line};
use super::rules;
use memchr::memchr;

/// Most arguments of one command.
pub const ARGS_MAX: u32 = 1 << 20;
/// Longest argument, bytes (`proto-max-bulk-len` of the server by default).
pub const BULK_MAX: u64 = 512 << 20;
/// Longest inline command, bytes (`PROTO_INLINE_MAX_SIZE` of the server).
pub const INLINE_MAX: usize = 64 << 10;

/// Takes the arguments of a command as they come.
pub(super) trait Args {
    /// A command of `argc` arguments begins.
    fn begin(&mut self, argc: u32);
    /// Argument `index` of `len` bytes begins; `at` is where its bytes stand behind the front of the buffer
    /// given to [`Reader::read`], unless the command is inline.
    fn arg(&mut self, index: u32, len: u64, at: Option<usize>);
    /// Bytes of argument `index`.
    fn bytes(&mut self, index: u32, piece: &[u8]);
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Between commands; so many bytes of an inline command were searched for its end.
    #[default]
    Start,
    Inline(usize),
    /// Before the length of argument `index`.
    Arg(u32),
    Bulk(u32, u64),
    /// Behind argument `index`; a CR was taken already.
    End(u32, bool),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Reader {
    state: State,
    argc: u32,
}

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// Bytes taken.
    pub(super) len: usize,
    /// A command ended with the last of them.
    pub(super) done: bool,
}

impl Reader {
    /// Whether no command is half read.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.state, State::Start | State::Inline(0))
    }

    /// Reads to the end of one command, or as far as `buf` goes. Bytes that were not taken come again.
    pub(super) fn read(&mut self, buf: &[u8], args: &mut impl Args) -> Result<Read, &'static str> {
        let mut at = 0;
        loop {
            let rest = buf.get(at..).unwrap_or_default();
            let Some(first) = rest.first() else { return Ok(Read { len: at, done: false }) };
            match self.state {
                State::Start if *first == b'*' => match line(rest) {
                    Line::More => return Ok(Read { len: at, done: false }),
                    Line::Bad => return Err(rules::COUNT),
                    Line::Number(n, len) => {
                        at += len;
                        if n > i64::from(ARGS_MAX) {
                            return Err(rules::COUNT);
                        }
                        // None or a negative number of arguments is no command; the server says nothing.
                        self.argc = u32::try_from(n).unwrap_or(0);
                        if self.argc > 0 {
                            args.begin(self.argc);
                            self.state = State::Arg(0);
                        }
                    }
                },
                State::Start => self.state = State::Inline(0),
                State::Inline(searched) => match inline(rest, searched, args)? {
                    None => {
                        self.state = State::Inline(rest.len());
                        return Ok(Read { len: at, done: false });
                    }
                    Some((len, any)) => {
                        self.state = State::Start;
                        at += len;
                        if any {
                            return Ok(Read { len: at, done: true });
                        }
                    }
                },
                State::Arg(index) => {
                    if *first != b'$' {
                        return Err(rules::BULK);
                    }
                    match line(rest) {
                        Line::More => return Ok(Read { len: at, done: false }),
                        Line::Bad => return Err(rules::LENGTH),
                        Line::Number(n, len) => {
                            let n = u64::try_from(n).map_err(|_| rules::LENGTH)?;
                            if n > BULK_MAX {
                                return Err(rules::LENGTH);
                            }
                            at += len;
                            args.arg(index, n, Some(at));
                            self.state =
                                if n == 0 { State::End(index, false) } else { State::Bulk(index, n) };
                        }
                    }
                }
                State::Bulk(index, left) => {
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    args.bytes(index, rest.get(..n).unwrap_or_default());
                    at += n;
                    let left = left - n as u64;
                    self.state = if left == 0 { State::End(index, false) } else { State::Bulk(index, left) };
                }
                State::End(index, false) => {
                    if *first != b'\r' {
                        return Err(rules::TERMINATOR);
                    }
                    at += 1;
                    self.state = State::End(index, true);
                }
                State::End(index, true) => {
                    if *first != b'\n' {
                        return Err(rules::TERMINATOR);
                    }
                    at += 1;
                    if index + 1 == self.argc {
                        self.state = State::Start;
                        return Ok(Read { len: at, done: true });
                    }
                    self.state = State::Arg(index + 1);
                }
            }
        }
    }
}

/// Reads an inline command. `None` = its end has not come. Otherwise its length, and whether it is a command
/// at all (a blank line is none).
fn inline(rest: &[u8], searched: usize, args: &mut impl Args) -> Result<Option<(usize, bool)>, &'static str> {
    let fresh = rest.get(searched..).unwrap_or_default();
    let Some(end) = memchr(b'\n', fresh).map(|n| searched + n) else {
        return if rest.len() > INLINE_MAX { Err(rules::INLINE) } else { Ok(None) };
    };
    let text = rest.get(..end).unwrap_or_default();
    // The server looks for the end with a function that stops at a zero byte.
    if end > INLINE_MAX || memchr(0, text).is_some() {
        return Err(rules::INLINE);
    }
    let words = split(text.strip_suffix(b"\r").unwrap_or(text)).ok_or(rules::QUOTES)?;
    if words.is_empty() {
        return Ok(Some((end + 1, false)));
    }
    args.begin(u32::try_from(words.len()).unwrap_or(u32::MAX));
    for (index, word) in (0..).zip(&words) {
        args.arg(index, word.len() as u64, None);
        args.bytes(index, word);
    }
    Ok(Some((end + 1, true)))
}

/// Splits an inline command as the server does (`sdssplitargs`): quotes, and escapes within double quotes.
/// `None` = quotes that do not close, or that close in the middle of a word.
fn split(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.get(rest.iter().position(|b| !is_space(*b)).unwrap_or(rest.len())..)?;
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        loop {
            rest = match rest {
                [] => break,
                [b, ..] if is_space(*b) => break,
                [b'"', tail @ ..] => double_quoted(tail, &mut word)?,
                [b'\'', tail @ ..] => single_quoted(tail, &mut word)?,
                [b, tail @ ..] => {
                    word.push(*b);
                    tail
                }
            };
        }
        words.push(word);
    }
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    let hex = |b: &u8| (*b as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
    loop {
        rest = match rest {
            [b'\\', b'x', a, b, tail @ ..] if hex(a).is_some() && hex(b).is_some() => {
                word.push(hex(a)? * 16 + hex(b)?);
                tail
            }
            [b'\\', c, tail @ ..] => {
                word.push(match c {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    c => *c,
                });
                tail
            }
            [b'"', tail @ ..] => return closed(tail),
            [c, tail @ ..] => {
                word.push(*c);
                tail
            }
            [] => return None,
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                tail
            }
            [b'\'', tail @ ..] => return closed(tail),
            [c, tail @ ..] => {
                word.push(*c);
                tail
            }
            [] => return None,
        };
    }
}

/// A closing quote must end its word.
fn closed(tail: &[u8]) -> Option<&[u8]> {
    tail.first().is_none_or(|b| is_space(*b)).then_some(tail)
}
