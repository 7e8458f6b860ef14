//! The wire format of Protocol Buffers: fields in, fields out, nothing known of any message.
//!
//! Source: "Protocol Buffers Documentation", Encoding. A [`Fields`] walks one message where it lies; what a message
//! type means is for the caller, who recurses with a bound of its own ([`DEPTH_MAX`] is meant for that). Not a
//! schema, no reflection: the few messages read here (OTLP, Envoy's access log service, Loki) are written out by hand.
//!
//! Invariants: reading is linear in the message and allocates nothing; a length that points behind the end, a varint
//! of more than ten bytes and field number 0 are faults; groups (deprecated) are stepped over, nested at most
//! [`DEPTH_MAX`] deep.

use crate::Fault;
use std::borrow::Cow;

/// Deepest nesting of messages that callers follow.
pub const DEPTH_MAX: usize = 64;
/// Longest varint, bytes.
pub const VARINT_MAX: usize = 10;

/// A field's value, by its wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire<'a> {
    /// Type 0: integers, `bool`, enums.
    Varint(u64),
    /// Type 1: `fixed64`, `sfixed64`, `double`.
    Fixed64(u64),
    /// Type 2: `string`, `bytes`, messages, packed lists.
    Bytes(&'a [u8]),
    /// Type 5: `fixed32`, `sfixed32`, `float`.
    Fixed32(u32),
}

impl<'a> Wire<'a> {
    /// An integer of any width; 0 for what is none, as a reader of another type would find its default.
    pub fn uint(self) -> u64 {
        match self {
            Wire::Varint(n) | Wire::Fixed64(n) => n,
            Wire::Fixed32(n) => u64::from(n),
            Wire::Bytes(_) => 0,
        }
    }

    /// Two's complement, as `int32` and `int64` are written.
    pub fn int(self) -> i64 {
        self.uint() as i64
    }

    /// Bytes of a length-delimited field; empty for any other.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Wire::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    /// Text of a `string`; bytes that are no UTF-8, which the format forbids, are replaced by U+FFFD.
    pub fn text(self) -> Cow<'a, str> {
        // Nearly always it is text, which is found out faster so.
        match std::str::from_utf8(self.bytes()) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(self.bytes()),
        }
    }

    /// A `double`.
    pub fn double(self) -> f64 {
        f64::from_bits(self.uint())
    }
}

/// A field's number, its value, and its bytes as they lie, tag included.
pub type Whole<'a> = (u32, Wire<'a>, &'a [u8]);

/// The fields of one message in their order.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Of the message `bytes`.
    pub fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The next field's number and value; `None` at the end.
    ///
    /// # Errors
    /// The offset and the rule broken; the message cannot be read further.
    // Called for each field of each message; a call costs more than what it does.
    #[inline(always)]
    pub fn read(&mut self) -> Result<Option<(u32, Wire<'a>)>, Fault> {
        loop {
            if self.at == self.bytes.len() {
                return Ok(None);
            }
            let (number, kind) = self.tag()?;
            match kind {
                3 => self.group(number)?,
                kind => return Ok(Some((number, self.value(kind)?))),
            }
        }
    }

    /// As [`Fields::read`], with the field's bytes as they lie, tag included.
    ///
    /// # Errors
    /// As [`Fields::read`].
    #[inline]
    pub fn read_whole(&mut self) -> Result<Option<Whole<'a>>, Fault> {
        let start = self.at;
        let found = self.read()?;
        Ok(found.map(|(number, wire)| (number, wire, self.bytes.get(start..self.at).unwrap_or_default())))
    }

    fn fault(&self, rule: &'static str) -> Fault {
        Fault::new(self.at, rule)
    }

    #[inline]
    fn tag(&mut self) -> Result<(u32, u8), Fault> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| self.fault("a field's number is too large"))?;
        if number == 0 || number >= 1 << 29 {
            return Err(self.fault("no field has this number"));
        }
        Ok((number, (tag & 7) as u8))
    }

    #[inline]
    fn value(&mut self, kind: u8) -> Result<Wire<'a>, Fault> {
        Ok(match kind {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(self.fault("no wire type")),
        })
    }

    /// Steps over the rest of group `number`.
    fn group(&mut self, number: u32) -> Result<(), Fault> {
        let mut open = vec![number];
        while let Some(innermost) = open.last() {
            let (number, kind) = self.tag()?;
            match kind {
                3 if open.len() >= DEPTH_MAX => return Err(self.fault("nested deeper than the bound")),
                3 => open.push(number),
                4 if number == *innermost => drop(open.pop()),
                4 => return Err(self.fault("a group ends that did not begin")),
                kind => drop(self.value(kind)?),
            }
        }
        Ok(())
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.fault("a field is longer than its message"))?;
        let taken = self.bytes.get(self.at..end).unwrap_or_default();
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let fault = self.fault("a number is cut");
        self.take(N)?.try_into().map_err(|_| fault)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Fault> {
        // Tags and lengths are nearly always one byte.
        match self.bytes.get(self.at) {
            Some(byte) if byte & 0x80 == 0 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Fault> {
        let mut number = 0;
        for place in 0..VARINT_MAX {
            let Some(byte) = self.bytes.get(self.at) else { return Err(self.fault("a number is cut")) };
            self.at += 1;
            // The tenth byte has room for one bit; what does not fit is dropped, as every reader does.
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.fault("a number is too long"))
    }
}

/// The numbers of a packed list (`repeated uint64`), or the one that was written unpacked.
///
/// # Errors
/// A number is cut or too long.
pub fn packed(wire: Wire<'_>, out: &mut Vec<u64>) -> Result<(), Fault> {
    let Wire::Bytes(bytes) = wire else {
        out.push(wire.uint());
        return Ok(());
    };
    let mut list = Fields::new(bytes);
    while list.at < bytes.len() {
        out.push(list.varint()?);
    }
    Ok(())
}

/// Writes one message. Defaults (0, empty) are left out by the methods called after their types, as proto3 does;
/// the ones that end in `_always` write them (`oneof`, `optional`).
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty message.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty message, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(bytes) }
    }

    /// The message.
    pub fn done(self) -> Vec<u8> {
        self.bytes
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn tag(&mut self, number: u32, kind: u8) {
        self.varint(u64::from(number) << 3 | u64::from(kind));
    }

    /// An integer, unless 0.
    pub fn uint(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.uint_always(number, value);
        }
    }

    /// An integer, also 0.
    pub fn uint_always(&mut self, number: u32, value: u64) {
        self.tag(number, 0);
        self.varint(value);
    }

    /// Eight bytes, unless 0.
    pub fn fixed64(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.fixed64_always(number, value);
        }
    }

    /// Eight bytes, also 0.
    pub fn fixed64_always(&mut self, number: u32, value: u64) {
        self.tag(number, 1);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Four bytes, unless 0.
    pub fn fixed32(&mut self, number: u32, value: u32) {
        if value != 0 {
            self.tag(number, 5);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A `string` or `bytes`, unless empty.
    pub fn bytes(&mut self, number: u32, value: &[u8]) {
        if !value.is_empty() {
            self.bytes_always(number, value);
        }
    }

    /// A `string`, `bytes` or message, also empty.
    pub fn bytes_always(&mut self, number: u32, value: &[u8]) {
        self.tag(number, 2);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// A message, also an empty one.
    pub fn message(&mut self, number: u32, write: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::new();
        write(&mut inner);
        self.bytes_always(number, &inner.bytes);
    }

    /// The beginning of a message of `length` bytes, which the caller writes next.
    pub fn open(&mut self, number: u32, length: usize) {
        self.tag(number, 2);
        self.varint(length as u64);
    }

    /// Fields as they were read by [`Fields::read_whole`].
    pub fn whole(&mut self, fields: &[u8]) {
        self.bytes.extend_from_slice(fields);
    }
}

#[cfg(test)]
#[path = "proto/tests.rs"]
mod tests;
