//! CSV records, as PostgreSQL's csvlog: a line break inside quotation marks is part of a field.
//!
//! The state of the quotation marks alone decides, also behind a cut: whoever can write a line break into a
//! statement must not be able to begin a record with it. So reading has to start where a record does.

use super::lines::line;
use super::{Framer, RECORD_MAX, Step};

/// See the module. The last record needs no end.
#[derive(Clone, Debug, Default)]
pub struct Csv {
    /// Bytes at the front that were looked at.
    seen: usize,
    /// The state behind them: inside quotation marks.
    quoted: bool,
    /// The rest of a record that was cut is being skipped.
    skipping: bool,
}

impl Framer for Csv {
    fn step(&mut self, buf: &[u8], end: bool) -> Step {
        let most = if self.skipping { buf.len() } else { buf.len().min(RECORD_MAX + 1) };
        let found = self.scan(buf.get(..most).unwrap_or_default());
        if self.skipping {
            self.seen = 0;
            self.skipping = found.is_none();
            return match (found, buf.len()) {
                (None, 0) => Step::More,
                (found, all) => {
                    Step::Skip { taken: found.map_or(all, |at| at + 1), lost: found.unwrap_or(all) }
                }
            };
        }
        match found {
            Some(at) => {
                self.seen = 0;
                line(buf, at, at + 1)
            }
            None if buf.len() <= RECORD_MAX && (!end || buf.is_empty()) => Step::More,
            None if buf.len() <= RECORD_MAX => {
                (self.seen, self.quoted) = (0, false);
                line(buf, buf.len(), buf.len())
            }
            None => {
                // One byte behind the cut was looked at: it is the first to be skipped.
                if buf.get(RECORD_MAX) == Some(&b'"') {
                    self.quoted = !self.quoted;
                }
                (self.seen, self.skipping) = (0, true);
                Step::Record { record: 0..RECORD_MAX, taken: RECORD_MAX, cut: true }
            }
        }
    }
}

impl Csv {
    /// The next line break outside quotation marks.
    fn scan(&mut self, buf: &[u8]) -> Option<usize> {
        while let Some(at) = buf.get(self.seen..).and_then(|new| memchr::memchr2(b'"', b'\n', new)) {
            let at = self.seen + at;
            self.seen = at + 1;
            if buf.get(at) == Some(&b'"') {
                self.quoted = !self.quoted;
            } else if !self.quoted {
                return Some(at);
            }
        }
        self.seen = buf.len();
        None
    }
}
