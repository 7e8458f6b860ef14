//! The encoder's vocabulary: one call a field, which writes key and value or nothing at all.

use super::EncodeError;
use crate::ITEMS_MAX;
use crate::cbor::{CborError, Value, Writer};
use crate::model::KeyedMap;

pub(super) type Done = Result<(), EncodeError>;

/// A refusal that names the field.
pub(super) fn refuse(field: &'static str, rule: impl Into<String>) -> EncodeError {
    EncodeError::Rule { field, rule: rule.into() }
}

/// Refuses `len` above `max`.
#[inline]
pub(super) fn at_most(field: &'static str, len: usize, max: usize, unit: &str) -> Done {
    if len > max { Err(refuse(field, format!("{len} {unit}, at most {max}"))) } else { Ok(()) }
}

/// A writer and the number of pairs in the map that is open.
pub(super) struct Enc {
    out: Writer,
    pairs: usize,
}

impl Enc {
    pub(super) fn new(out: Writer) -> Enc {
        Enc { out, pairs: 0 }
    }
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out.into_bytes()
    }
    /// The plain writer, for the elements of arrays.
    #[inline]
    pub(super) fn out(&mut self) -> &mut Writer {
        &mut self.out
    }

    /// A map as a whole group or as an element of a list; `fill` writes its fields, ascending.
    #[inline]
    pub(super) fn map(
        &mut self,
        field: &'static str,
        fill: impl FnOnce(&mut Enc) -> Done,
    ) -> Result<usize, EncodeError> {
        self.out.enter().map_err(|error| from_cbor(field, error))?;
        let outer = std::mem::take(&mut self.pairs);
        let mark = self.out.open_map();
        fill(self)?;
        let pairs = std::mem::replace(&mut self.pairs, outer);
        at_most(field, pairs, ITEMS_MAX, "keys")?;
        self.out.close_map(mark, pairs);
        self.out.leave();
        Ok(pairs)
    }
    /// A map as a field; one that turns out empty is not written.
    #[inline]
    pub(super) fn map_field(
        &mut self,
        key: u64,
        field: &'static str,
        fill: impl FnOnce(&mut Enc) -> Done,
    ) -> Done {
        let before = self.out.position();
        self.key(key);
        if self.map(field, fill)? == 0 {
            self.out.truncate(before);
            self.pairs -= 1;
        }
        Ok(())
    }

    /// The key of a field that the caller writes itself.
    #[inline]
    pub(super) fn key(&mut self, key: u64) {
        self.pairs += 1;
        self.out.uint(key);
    }
    #[inline]
    pub(super) fn uint(&mut self, key: u64, n: Option<u64>) {
        if let Some(n) = n {
            self.key(key);
            self.out.uint(n);
        }
    }
    #[inline]
    pub(super) fn int(&mut self, key: u64, n: Option<i64>) {
        if let Some(n) = n {
            self.key(key);
            self.out.int(n);
        }
    }
    #[inline]
    pub(super) fn bool(&mut self, key: u64, flag: Option<bool>) {
        if let Some(flag) = flag {
            self.key(key);
            self.out.bool(flag);
        }
    }
    /// An enum by its number; 0 is unknown, which is never written.
    #[inline]
    pub(super) fn word(&mut self, key: u64, code: Option<u64>) {
        self.uint(key, code.filter(|code| *code != 0));
    }
    /// A byte string of fixed length.
    #[inline]
    pub(super) fn blob<const N: usize>(&mut self, key: u64, bytes: Option<&[u8; N]>) {
        if let Some(bytes) = bytes {
            self.key(key);
            self.out.bytes(bytes);
        }
    }
    /// A byte string of fixed length, of which all zero means absent (W3C Trace Context).
    #[inline]
    pub(super) fn blob_not_zero<const N: usize>(&mut self, key: u64, bytes: Option<&[u8; N]>) {
        self.blob(key, bytes.filter(|bytes| **bytes != [0; N]));
    }
    /// Bytes that are absent when empty.
    pub(super) fn bytes(&mut self, key: u64, bytes: &[u8], max: usize, field: &'static str) -> Done {
        if bytes.is_empty() {
            return Ok(());
        }
        at_most(field, bytes.len(), max, "bytes")?;
        self.key(key);
        self.out.bytes(bytes);
        Ok(())
    }
    /// Text without a bound of its own.
    #[inline]
    pub(super) fn text(&mut self, key: u64, text: &str) {
        if !text.is_empty() {
            self.key(key);
            self.out.text(text);
        }
    }
    #[inline]
    pub(super) fn text_max(&mut self, key: u64, text: &str, max: usize, field: &'static str) -> Done {
        at_most(field, text.len(), max, "bytes")?;
        self.text(key, text);
        Ok(())
    }

    /// A list in the given order; `item` writes one element.
    #[inline]
    pub(super) fn list<T>(
        &mut self,
        key: u64,
        items: &[T],
        max: usize,
        field: &'static str,
        mut item: impl FnMut(&mut Enc, &T) -> Done,
    ) -> Done {
        if items.is_empty() {
            return Ok(());
        }
        at_most(field, items.len(), max, "items")?;
        self.key(key);
        self.out.enter().map_err(|error| from_cbor(field, error))?;
        self.out.array(items.len());
        for one in items {
            item(self, one)?;
        }
        self.out.leave();
        Ok(())
    }
    /// A set of texts, sorted bytewise and without duplicates whatever the order given.
    #[inline]
    pub(super) fn set(
        &mut self,
        key: u64,
        texts: &[String],
        max: usize,
        each: usize,
        field: &'static str,
    ) -> Done {
        let write = |enc: &mut Enc, text: &str| {
            at_most(field, text.len(), each, "bytes in one")?;
            enc.out.text(text);
            Ok(())
        };
        if texts.is_sorted_by(|a, b| a < b) {
            return self.list(key, texts, max, field, |enc, text| write(enc, text));
        }
        let mut sorted: Vec<&str> = texts.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        self.list(key, &sorted, max, field, |enc, text| write(enc, text))
    }
    /// `detail` and `sys`: registered keys; empty values are left out.
    pub(super) fn keyed(&mut self, key: u64, map: &KeyedMap, field: &'static str) -> Done {
        if map.is_empty() {
            return Ok(());
        }
        self.map_field(key, field, |enc| {
            map.iter().try_for_each(|(key, value)| enc.value(*key, value, field))
        })
    }
    /// Keys of a newer version, carried: they must ascend and lie above every `known` key.
    #[inline]
    pub(super) fn other(&mut self, known: u64, other: &[(u64, Value)], field: &'static str) -> Done {
        let mut last = known;
        for (key, value) in other {
            if *key <= last {
                return Err(refuse(field, format!("key {key} is known to this version, or out of order")));
            }
            last = *key;
            self.value(*key, value, field)?;
        }
        Ok(())
    }
    fn value(&mut self, key: u64, value: &Value, field: &'static str) -> Done {
        if value.is_empty() {
            return Ok(());
        }
        if value.holds_empty_field() {
            return Err(refuse(field, "an empty text, array or map is never the value of a key"));
        }
        self.key(key);
        self.out.value(value).map_err(|error| from_cbor(field, error))
    }
}

fn from_cbor(field: &'static str, error: CborError) -> EncodeError {
    refuse(field, error.rule)
}
