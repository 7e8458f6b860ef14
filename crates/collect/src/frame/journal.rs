//! The Journal Export Format (systemd, "Journal Export Formats"): fields `NAME=text LF`, or `NAME LF`, a length of
//! eight bytes, little-endian, as many bytes of any kind, LF; an empty line ends an entry.

use super::{Framer, RECORD_MAX, Step};

/// Longest name of a field, bytes (systemd allows 64).
pub const NAME_MAX: usize = 256;
/// Largest field that is skipped behind a cut, bytes; a larger length is absurd.
pub const FIELD_MAX: u64 = 1 << 32;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// Where the next field begins.
    at: usize,
    /// Bytes that hold no line break, from `at` on.
    seen: usize,
    /// The rest of an entry that was cut is being skipped.
    skipping: Option<Rest>,
}

/// Where in an entry that is skipped the front lies.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Field,
    Text,
    Binary(u64),
}

/// What stands at the beginning of a field.
enum Field {
    /// An empty line that ends here.
    End(usize),
    /// Text up to here, its line break included.
    Text(usize),
    /// Binary up to here, its line break included; the bytes before its content.
    Binary(u64),
    /// A text without its end, so far.
    Open,
    More,
    Broken(&'static str),
}

impl Framer for Journal {
    fn step(&mut self, buf: &[u8], end: bool) -> Step {
        if let Some(rest) = self.skipping {
            return self.skip(rest, buf, end);
        }
        loop {
            match self.field(buf.get(self.at..).unwrap_or_default()) {
                Field::End(length) => return self.entry(length),
                Field::Text(length) if self.at + length <= RECORD_MAX => self.next(length),
                Field::Binary(length) if (self.at as u64).saturating_add(length) <= RECORD_MAX as u64 => {
                    let behind = self.at + length as usize;
                    match buf.get(behind.wrapping_sub(1)) {
                        Some(b'\n') => self.next(length as usize),
                        Some(_) => return Step::Broken("a binary field does not end with a line break"),
                        None => return self.wait(buf, end),
                    }
                }
                Field::Text(_) | Field::Open if buf.len() > RECORD_MAX => return self.cut(Rest::Text),
                Field::Binary(length) if buf.len() >= RECORD_MAX => {
                    return self
                        .cut(Rest::Binary((self.at as u64 + length).saturating_sub(RECORD_MAX as u64)));
                }
                Field::Broken(rule) => return Step::Broken(rule),
                _ => return self.wait(buf, end),
            }
        }
    }
}

impl Journal {
    fn next(&mut self, length: usize) {
        (self.at, self.seen) = (self.at + length, 0);
    }

    fn entry(&mut self, length: usize) -> Step {
        let (record, taken) = (0..self.at, self.at + length);
        (self.at, self.seen) = (0, 0);
        if record.is_empty() {
            Step::Skip { taken, lost: 0 }
        } else {
            Step::Record { record, taken, cut: false }
        }
    }

    /// At the end of the stream an entry needs no empty line, but whole fields.
    fn wait(&mut self, buf: &[u8], end: bool) -> Step {
        match (end, buf.len() - self.at.min(buf.len())) {
            (false, _) => Step::More,
            (true, 0) if self.at > 0 => self.entry(0),
            (true, 0) => Step::More,
            (true, _) => Step::Broken("a journal entry is cut short"),
        }
    }

    fn cut(&mut self, rest: Rest) -> Step {
        (self.at, self.seen, self.skipping) = (0, 0, Some(rest));
        Step::Record { record: 0..RECORD_MAX, taken: RECORD_MAX, cut: true }
    }

    fn skip(&mut self, rest: Rest, buf: &[u8], end: bool) -> Step {
        let taken = match rest {
            _ if buf.is_empty() => return Step::More,
            Rest::Text => match memchr::memchr(b'\n', buf) {
                Some(at) => {
                    self.skipping = Some(Rest::Field);
                    at + 1
                }
                None => buf.len(),
            },
            Rest::Binary(owed) => {
                let taken = usize::try_from(owed).unwrap_or(usize::MAX).min(buf.len());
                let left = owed - taken as u64;
                self.skipping = Some(if left == 0 { Rest::Field } else { Rest::Binary(left) });
                taken
            }
            Rest::Field => {
                self.seen = 0;
                match self.field(buf) {
                    Field::End(taken) => {
                        self.skipping = None;
                        return Step::Skip { taken, lost: 0 };
                    }
                    Field::Text(taken) => taken,
                    Field::Binary(length) => {
                        self.skipping = Some(Rest::Binary(length));
                        return self.skip(Rest::Binary(length), buf, end);
                    }
                    Field::Open => {
                        self.skipping = Some(Rest::Text);
                        buf.len()
                    }
                    Field::More if end => buf.len(),
                    Field::More => return Step::More,
                    Field::Broken(rule) => return Step::Broken(rule),
                }
            }
        };
        Step::Skip { taken, lost: taken }
    }

    /// Judges the field at the front of `buf`.
    fn field(&mut self, buf: &[u8]) -> Field {
        let found = buf.get(self.seen..).and_then(|new| memchr::memchr(b'\n', new)).map(|at| self.seen + at);
        self.seen = found.unwrap_or(buf.len());
        let name = buf.get(..NAME_MAX + 1).unwrap_or(buf);
        let name = found.map_or(name, |at| name.get(..at).unwrap_or(name));
        let is_text = memchr::memchr(b'=', name).is_some();
        match found {
            Some(0) => Field::End(1),
            Some(at) if is_text => Field::Text(at + 1),
            Some(at) if at <= NAME_MAX => match buf.get(at + 1..at + 9).and_then(|size| size.try_into().ok())
            {
                None => Field::More,
                Some(size) => match u64::from_le_bytes(size) {
                    size if size > FIELD_MAX => Field::Broken("a binary field is absurdly long"),
                    size => Field::Binary(at as u64 + 10 + size),
                },
            },
            None if is_text => Field::Open,
            None if buf.len() <= NAME_MAX => Field::More,
            _ => Field::Broken("a field has no name"),
        }
    }
}
