//! Writes deterministic CBOR straight into one growing buffer.

use super::{CborError, Value};
use crate::{ITEMS_MAX, NESTING_MAX};

/// A buffer and the current depth of arrays and maps.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    depth: usize,
}

impl Writer {
    /// An empty writer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { out: Vec::with_capacity(bytes), depth: 0 }
    }
    /// A writer that goes on behind what `out` holds.
    pub fn behind(out: Vec<u8>) -> Writer {
        Writer { out, depth: 0 }
    }
    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
    /// What was written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }
    /// Bytes in the buffer.
    #[inline]
    pub fn position(&self) -> usize {
        self.out.len()
    }
    /// Takes back everything after `position`.
    #[inline]
    pub(crate) fn truncate(&mut self, position: usize) {
        self.out.truncate(position);
    }

    /// Unsigned integer.
    #[inline]
    pub fn uint(&mut self, n: u64) {
        self.head(0, n);
    }
    /// Signed integer.
    #[inline]
    pub fn int(&mut self, n: i64) {
        if n < 0 { self.head(1, !n as u64) } else { self.head(0, n as u64) }
    }
    /// Byte string.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.head(2, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }
    /// Text string.
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.head(3, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }
    /// Boolean.
    #[inline]
    pub fn bool(&mut self, b: bool) {
        self.out.push(if b { 0xf5 } else { 0xf4 });
    }
    /// Head of an array of `items`; the caller writes exactly that many.
    #[inline]
    pub fn array(&mut self, items: usize) {
        self.head(4, items as u64);
    }
    /// Head of a map of `pairs`; the caller writes exactly that many, ascending by encoded key.
    #[inline]
    pub fn map(&mut self, pairs: usize) {
        self.head(5, pairs as u64);
    }

    /// Counts one level of nesting; pair with [`Writer::leave`].
    #[inline]
    pub(crate) fn enter(&mut self) -> Result<(), CborError> {
        if self.depth == NESTING_MAX {
            return Err(self.error("nested deeper than 8"));
        }
        self.depth += 1;
        Ok(())
    }
    /// Ends the level that [`Writer::enter`] began.
    #[inline]
    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Opens a map whose length is not known yet; returns its mark for [`Writer::close_map`].
    #[inline]
    pub(crate) fn open_map(&mut self) -> usize {
        self.out.push(0xa0);
        self.out.len() - 1
    }
    /// Writes the length of the map opened at `mark`, with more head bytes if it takes them.
    #[inline]
    pub(crate) fn close_map(&mut self, mark: usize, pairs: usize) {
        match pairs {
            0..=23 => self.out[mark] = 0xa0 | pairs as u8,
            24..=255 => {
                self.out[mark] = 0xb8;
                self.out.insert(mark + 1, pairs as u8);
            }
            _ => {
                let [high, low] = (pairs.min(ITEMS_MAX) as u16).to_be_bytes();
                self.out[mark] = 0xb9;
                self.out.splice(mark + 1..mark + 1, [high, low]);
            }
        }
    }

    /// Any value; maps are sorted by encoded key.
    ///
    /// # Errors
    /// A duplicate key, or a broken bound on nesting or items.
    pub fn value(&mut self, value: &Value) -> Result<(), CborError> {
        match value {
            Value::Uint(n) => self.head(0, *n),
            Value::Nint(n) => self.head(1, *n),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Text(text) => self.text(text),
            Value::Bool(b) => self.bool(*b),
            Value::Array(items) => {
                self.check_items(items.len())?;
                self.enter()?;
                self.array(items.len());
                for item in items {
                    self.value(item)?;
                }
                self.leave();
            }
            Value::Map(pairs) => {
                self.check_items(pairs.len())?;
                self.enter()?;
                self.map(pairs.len());
                self.pairs(pairs)?;
                self.leave();
            }
        }
        Ok(())
    }

    /// The pairs of a map, as given when they ascend (the usual case), else sorted afterwards.
    fn pairs(&mut self, pairs: &[(Value, Value)]) -> Result<(), CborError> {
        let start = self.out.len();
        let mut spans = Vec::with_capacity(pairs.len());
        let mut ascending = true;
        for (key, value) in pairs {
            let at = self.out.len();
            self.value(key)?;
            let key_end = self.out.len();
            self.value(value)?;
            if let Some(&(last, last_end, _)) = spans.last() {
                ascending &= self.out[last..last_end] < self.out[at..key_end];
            }
            spans.push((at, key_end, self.out.len()));
        }
        if ascending {
            return Ok(());
        }
        let written = self.out.split_off(start);
        let slice = |from: usize, to: usize| &written[from - start..to - start];
        spans.sort_unstable_by(|a, b| slice(a.0, a.1).cmp(slice(b.0, b.1)));
        if spans.windows(2).any(|pair| slice(pair[0].0, pair[0].1) == slice(pair[1].0, pair[1].1)) {
            return Err(self.error("duplicate key"));
        }
        for (from, _, to) in spans {
            self.out.extend_from_slice(slice(from, to));
        }
        Ok(())
    }

    fn check_items(&self, items: usize) -> Result<(), CborError> {
        if items > ITEMS_MAX { Err(self.error("more than 4096 items")) } else { Ok(()) }
    }
    fn error(&self, rule: &'static str) -> CborError {
        CborError { offset: self.out.len(), rule }
    }

    /// Major type and argument, in the shortest form.
    #[inline]
    fn head(&mut self, major: u8, n: u64) {
        let major = major << 5;
        match n {
            0..=23 => self.out.push(major | n as u8),
            _ => self.long_head(major, n),
        }
    }

    fn long_head(&mut self, major: u8, n: u64) {
        match n {
            0..=0xff => self.out.extend_from_slice(&[major | 24, n as u8]),
            0x100..=0xffff => {
                let [a, b] = (n as u16).to_be_bytes();
                self.out.extend_from_slice(&[major | 25, a, b]);
            }
            0x1_0000..=0xffff_ffff => {
                let [a, b, c, d] = (n as u32).to_be_bytes();
                self.out.extend_from_slice(&[major | 26, a, b, c, d]);
            }
            _ => {
                let [a, b, c, d, e, f, g, h] = n.to_be_bytes();
                self.out.extend_from_slice(&[major | 27, a, b, c, d, e, f, g, h]);
            }
        }
    }
}

/// Length of a head with argument `n`, in bytes.
pub(crate) fn head_len(n: u64) -> usize {
    match n {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}
