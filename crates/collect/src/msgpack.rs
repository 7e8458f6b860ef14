//! MessagePack, read where it lies: one item after the other, and whole values as JSON. Not a tree and not a writer.
//!
//! Source: the MessagePack specification (`spec.md`). Invariants: nothing is allocated but the JSON that is asked for,
//! which has a bound; every step goes forward, so all is linear in the bytes; [`Frames`] finds where a value ends in a
//! stream in any pieces without reading a byte twice.

use crate::Fault;
use crate::formats::pushed::{BASE64, text_or_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;

/// Deepest nesting of a value that becomes JSON; as deep as JSON is read here.
pub const DEPTH_MAX: usize = crate::json::DEPTH_MAX;

/// One item: a value without parts, or the head of one with parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    /// `nil`
    Nil,
    /// `true` or `false`
    Bool(bool),
    /// A negative integer, or one that was written as signed.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A number of either float type.
    Float(f64),
    /// `str`: should be UTF-8, and may be anything.
    Str(&'a [u8]),
    /// `bin`
    Bin(&'a [u8]),
    /// So many values follow.
    Array(u32),
    /// So many pairs of values follow.
    Map(u32),
    /// An extension's type and bytes.
    Ext(i8, &'a [u8]),
}

impl<'a> Item<'a> {
    /// The bytes of a `str` or `bin`.
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Item::Str(bytes) | Item::Bin(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// How many values follow that belong to it.
    fn parts(self) -> u64 {
        match self {
            Item::Array(n) => u64::from(n),
            Item::Map(n) => 2 * u64::from(n),
            _ => 0,
        }
    }
}

/// Head of an item: bytes of its length or number, what it is, and bytes that follow.
enum Head {
    /// All is in the first byte.
    Fixed(u8),
    /// A number of so many bytes, of this type.
    Number(usize, u8),
    /// A length of so many bytes, then as many bytes (and one more for an extension's type).
    Sized(usize, u8),
}

fn head(first: u8) -> Option<Head> {
    Some(match first {
        0x00..=0xbf | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => Head::Fixed(first),
        0xc4 | 0xc7 | 0xd9 => Head::Sized(1, first),
        0xc5 | 0xc8 | 0xda => Head::Sized(2, first),
        0xc6 | 0xc9 | 0xdb => Head::Sized(4, first),
        0xcc | 0xd0 => Head::Number(1, first),
        0xcd | 0xd1 | 0xdc | 0xde => Head::Number(2, first),
        0xca | 0xce | 0xd2 | 0xdd | 0xdf => Head::Number(4, first),
        0xcb | 0xcf | 0xd3 => Head::Number(8, first),
        0xd4..=0xd8 => Head::Fixed(first),
        0xc1 => return None,
    })
}

/// Reads items of a text that is here whole.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Of `bytes`, from the beginning.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Whether all was read.
    pub fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next item.
    ///
    /// # Errors
    /// The bytes end inside it, or no item begins so.
    pub fn item(&mut self) -> Result<Item<'a>, Fault> {
        let first = self.number(1)? as u8;
        Ok(match head(first).ok_or(Fault::new(self.at, "no item begins so"))? {
            Head::Fixed(b) => self.fixed(b)?,
            Head::Number(size, kind) => {
                let n = self.number(size)?;
                let signed = |bits: u32| (n << (64 - bits)) as i64 >> (64 - bits);
                match kind {
                    0xcc..=0xcf => Item::Uint(n),
                    0xd0 => Item::Int(signed(8)),
                    0xd1 => Item::Int(signed(16)),
                    0xd2 => Item::Int(signed(32)),
                    0xd3 => Item::Int(n as i64),
                    0xca => Item::Float(f64::from(f32::from_bits(n as u32))),
                    0xcb => Item::Float(f64::from_bits(n)),
                    0xdc | 0xdd => Item::Array(n as u32),
                    _ => Item::Map(n as u32),
                }
            }
            Head::Sized(size, kind) => {
                let length = usize::try_from(self.number(size)?).unwrap_or(usize::MAX);
                match kind {
                    0xc4..=0xc6 => Item::Bin(self.take(length)?),
                    0xc7..=0xc9 => self.extension(length)?,
                    _ => Item::Str(self.take(length)?),
                }
            }
        })
    }

    fn fixed(&mut self, b: u8) -> Result<Item<'a>, Fault> {
        Ok(match b {
            0x00..=0x7f => Item::Uint(u64::from(b)),
            0x80..=0x8f => Item::Map(u32::from(b & 0x0f)),
            0x90..=0x9f => Item::Array(u32::from(b & 0x0f)),
            0xa0..=0xbf => Item::Str(self.take(usize::from(b & 0x1f))?),
            0xc2 | 0xc3 => Item::Bool(b == 0xc3),
            0xd4..=0xd8 => self.extension(1 << (b - 0xd4))?,
            0xe0..=0xff => Item::Int(i64::from(b as i8)),
            _ => Item::Nil,
        })
    }

    fn extension(&mut self, length: usize) -> Result<Item<'a>, Fault> {
        let kind = self.number(1)? as u8 as i8;
        Ok(Item::Ext(kind, self.take(length)?))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(Fault::new(self.at, "an item is cut"))?;
        self.at += length;
        Ok(taken)
    }

    /// A number of up to eight bytes, the highest first.
    fn number(&mut self, bytes: usize) -> Result<u64, Fault> {
        Ok(self.take(bytes)?.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// Steps over one whole value and gives its bytes.
    ///
    /// # Errors
    /// As [`Reader::item`].
    pub fn value(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.at;
        let mut left = 1_u64;
        while left > 0 {
            left = (left - 1).saturating_add(self.item()?.parts());
        }
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    /// Writes the next value as JSON behind `out`, until that holds more than `most` bytes. What JSON has no form for
    /// keeps its bytes: `{"$base64":…}`, an extension beside its `$ext`; a key that is no text is the JSON of it.
    ///
    /// # Errors
    /// As [`Reader::item`]; deeper than [`DEPTH_MAX`]; longer than `most`.
    pub fn json(&mut self, out: &mut String, most: usize) -> Result<(), Fault> {
        self.json_at(out, most, 0)
    }

    fn json_at(&mut self, out: &mut String, most: usize, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::new(self.at, "nested deeper than the bound"));
        }
        if out.len() > most {
            return Err(Fault::new(self.at, "longer than a record may be"));
        }
        // Writing to a String cannot fail.
        let _ = match self.item()? {
            Item::Nil => write!(out, "null"),
            Item::Bool(value) => write!(out, "{value}"),
            Item::Int(n) => write!(out, "{n}"),
            Item::Uint(n) => write!(out, "{n}"),
            Item::Float(n) if n.is_finite() => write!(out, "{n:?}"),
            Item::Float(n) => write!(out, "\"{n}\""),
            Item::Str(bytes) | Item::Bin(bytes) => {
                out.push_str(&text_or_bytes(bytes));
                Ok(())
            }
            Item::Ext(kind, bytes) => {
                write!(out, "{{\"$ext\":{kind},\"{BASE64}\":\"{}\"}}", STANDARD.encode(bytes))
            }
            Item::Array(count) => {
                out.push('[');
                for n in 0..count {
                    if n > 0 {
                        out.push(',');
                    }
                    self.json_at(out, most, depth + 1)?;
                }
                out.push(']');
                Ok(())
            }
            Item::Map(count) => {
                out.push('{');
                for n in 0..count {
                    if n > 0 {
                        out.push(',');
                    }
                    self.key(out, most, depth + 1)?;
                    out.push(':');
                    self.json_at(out, most, depth + 1)?;
                }
                out.push('}');
                Ok(())
            }
        };
        Ok(())
    }

    fn key(&mut self, out: &mut String, most: usize, depth: usize) -> Result<(), Fault> {
        let mut name = String::new();
        let mut ahead = *self;
        match ahead.item()?.bytes().map(std::str::from_utf8) {
            Some(Ok(text)) => {
                *self = ahead;
                name.push_str(text);
            }
            _ => self.json_at(&mut name, most.saturating_sub(out.len()), depth)?,
        }
        out.push_str(&crate::draft::json_text(&name));
        Ok(())
    }
}

/// Finds the ends of the values of a stream.
#[derive(Debug, Default)]
pub struct Frames {
    /// Bytes of the buffer that were looked at.
    at: usize,
    /// Values that the one which is open lacks; 0 = none is open.
    left: u64,
}

impl Frames {
    /// The length of the first value of `buffer`, which holds what no value was given of before; `None` = more bytes
    /// are needed. The caller takes a value that was given off the buffer before it asks again, and gives at least
    /// what it gave before otherwise.
    ///
    /// # Errors
    /// No item begins so, or a value is longer than `most` bytes for sure.
    pub fn next(&mut self, buffer: &[u8], most: usize) -> Result<Option<usize>, Fault> {
        if self.left == 0 {
            *self = Frames { at: 0, left: 1 };
        }
        while self.left > 0 {
            let Some(&first) = buffer.get(self.at) else { return Ok(None) };
            let sized = match head(first).ok_or(Fault::new(self.at, "no item begins so"))? {
                Head::Fixed(b @ 0xa0..=0xbf) => 1 + usize::from(b & 0x1f),
                Head::Fixed(b @ 0xd4..=0xd8) => 2 + (1 << (b - 0xd4)),
                Head::Fixed(_) => 1,
                Head::Number(size, _) => 1 + size,
                Head::Sized(size, kind) => {
                    let length = buffer.get(self.at + 1..self.at + 1 + size);
                    let Some(length) = length else { return Ok(None) };
                    let length = length.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b));
                    1 + size + usize::from(matches!(kind, 0xc7..=0xc9)) + length
                }
            };
            let end = self.at.saturating_add(sized);
            if end > most {
                return Err(Fault::new(self.at, "a message is longer than the bound"));
            }
            if end > buffer.len() {
                return Ok(None);
            }
            let parts = Reader { bytes: buffer, at: self.at }.item()?.parts();
            self.at = end;
            self.left = (self.left - 1).saturating_add(parts);
            // Each value that is missing has a byte at least. Asked of every item, so that it does not matter where
            // a piece ends.
            if self.left > most.saturating_sub(end) as u64 {
                return Err(Fault::new(self.at, "a message is longer than the bound"));
            }
        }
        Ok(Some(std::mem::take(&mut self.at)))
    }
}

#[cfg(test)]
#[path = "msgpack/tests.rs"]
mod tests;
