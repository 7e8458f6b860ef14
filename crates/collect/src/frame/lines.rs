//! Lines: LF ends one, a CR before it belongs to the end. Empty lines are none.

use super::{Framer, RECORD_MAX, Step};

/// See the module. The last line needs no end.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Bytes at the front that hold no end.
    seen: usize,
    /// The rest of a line that was cut is being skipped.
    skipping: bool,
}

impl Lines {
    /// Whether no line has begun.
    pub(super) fn is_between(&self) -> bool {
        self.seen == 0 && !self.skipping
    }
}

impl Framer for Lines {
    fn step(&mut self, buf: &[u8], end: bool) -> Step {
        let found = buf.get(self.seen..).and_then(|new| memchr::memchr(b'\n', new)).map(|at| self.seen + at);
        if self.skipping {
            self.skipping = found.is_none();
            self.seen = 0;
            return match (found, buf.len()) {
                (None, 0) => Step::More,
                (found, all) => {
                    Step::Skip { taken: found.map_or(all, |at| at + 1), lost: found.unwrap_or(all) }
                }
            };
        }
        match found {
            Some(at) if at <= RECORD_MAX => {
                self.seen = 0;
                line(buf, at, at + 1)
            }
            None if buf.len() <= RECORD_MAX => {
                if !end || buf.is_empty() {
                    self.seen = buf.len();
                    return Step::More;
                }
                self.seen = 0;
                line(buf, buf.len(), buf.len())
            }
            _ => {
                (self.seen, self.skipping) = (0, true);
                Step::Record { record: 0..RECORD_MAX, taken: RECORD_MAX, cut: true }
            }
        }
    }
}

/// The line that ends at `at`.
pub(super) fn line(buf: &[u8], at: usize, taken: usize) -> Step {
    let text = buf.get(..at).unwrap_or_default();
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.is_empty() {
        return Step::Skip { taken, lost: 0 };
    }
    Step::Record { record: 0..text.len(), taken, cut: false }
}
