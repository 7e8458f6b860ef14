//! Reads deterministic CBOR from a slice; refuses every other encoding by offset and rule.

use super::{CborError, Value};
use crate::{ITEMS_MAX, NESTING_MAX};

type Result<T> = std::result::Result<T, CborError>;

const UINT: u8 = 0;
const NINT: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// A position in a slice. After an error the position is meaningless: stop reading.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// At the first byte of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, depth: 0 }
    }
    /// Bytes read so far.
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }
    /// Refuses anything after the last item.
    #[inline]
    pub fn end(&self) -> Result<()> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.error_at(self.at, "bytes after the end")) }
    }
    /// An error at `offset`.
    pub fn error_at(&self, offset: usize, rule: &'static str) -> CborError {
        CborError { offset, rule }
    }

    /// Unsigned integer.
    #[inline]
    pub fn uint(&mut self) -> Result<u64> {
        self.argument(UINT, "expected an unsigned integer")
    }
    /// Signed integer of 64 bits.
    #[inline]
    pub fn int(&mut self) -> Result<i64> {
        let at = self.at;
        let (major, n) = self.head()?;
        let n = match (major, i64::try_from(n)) {
            (UINT, Ok(n)) => n,
            (NINT, Ok(n)) => -1 - n,
            (UINT | NINT, Err(_)) => return Err(self.error_at(at, "integer beyond 64 bits, signed")),
            _ => return Err(self.error_at(at, "expected an integer")),
        };
        Ok(n)
    }
    /// Boolean.
    #[inline]
    pub fn bool(&mut self) -> Result<bool> {
        let at = self.at;
        let flag = match self.bytes.get(at) {
            Some(0xf4) => false,
            Some(0xf5) => true,
            _ => return Err(self.error_at(at, "expected a boolean")),
        };
        self.at += 1;
        Ok(flag)
    }
    /// Byte string, borrowed.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let n = self.argument(BYTES, "expected a byte string")?;
        self.take(n)
    }
    /// Byte string of exactly `N` bytes.
    #[inline]
    pub fn bytes_of<const N: usize>(&mut self) -> Result<[u8; N]> {
        let at = self.at;
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_| self.error_at(at, "byte string of the wrong length"))
    }
    /// Text, borrowed.
    #[inline]
    pub fn text(&mut self) -> Result<&'a str> {
        let n = self.argument(TEXT, "expected text")?;
        self.utf8(n)
    }
    /// Whether the next item is text.
    #[inline]
    pub(crate) fn at_text(&self) -> bool {
        self.bytes.get(self.at).is_some_and(|first| first >> 5 == TEXT)
    }
    /// Number of items in the array that begins here.
    #[inline]
    pub fn array(&mut self) -> Result<usize> {
        let at = self.at;
        let n = self.argument(ARRAY, "expected an array")?;
        self.items(n, at)
    }
    /// Refuses an array of any length but `n`.
    #[inline]
    pub fn array_of(&mut self, n: usize) -> Result<()> {
        let at = self.at;
        if self.array()? == n { Ok(()) } else { Err(self.error_at(at, "array of the wrong length")) }
    }
    /// Number of pairs in the map that begins here.
    #[inline]
    pub fn map(&mut self) -> Result<usize> {
        let at = self.at;
        let n = self.argument(MAP, "expected a map")?;
        self.items(n, at)
    }
    /// A map with unsigned keys: calls `field` with each key, ascending, to read its value.
    #[inline]
    pub fn fields(&mut self, mut field: impl FnMut(&mut Self, u64) -> Result<()>) -> Result<()> {
        self.enter()?;
        let pairs = self.map()?;
        let mut last = None;
        for _ in 0..pairs {
            let at = self.at;
            let key = self.argument(UINT, "expected an unsigned key")?;
            match last {
                Some(last) if key == last => return Err(self.error_at(at, "duplicate key")),
                Some(last) if key < last => return Err(self.error_at(at, "keys do not ascend")),
                _ => last = Some(key),
            }
            field(self, key)?;
        }
        self.leave();
        Ok(())
    }
    /// Counts one level of nesting; pair with [`Reader::leave`].
    #[inline]
    pub(crate) fn enter(&mut self) -> Result<()> {
        if self.depth == NESTING_MAX {
            return Err(self.error_at(self.at, "nested deeper than 8"));
        }
        self.depth += 1;
        Ok(())
    }
    /// Ends the level that [`Reader::enter`] began.
    #[inline]
    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Any item of the permitted subset.
    pub fn value(&mut self) -> Result<Value> {
        let at = self.at;
        if let Some(flag @ (0xf4 | 0xf5)) = self.bytes.get(at) {
            self.at += 1;
            return Ok(Value::Bool(*flag == 0xf5));
        }
        let (major, n) = self.head()?;
        match major {
            UINT => Ok(Value::Uint(n)),
            NINT => Ok(Value::Nint(n)),
            BYTES => Ok(Value::Bytes(self.take(n)?.to_vec())),
            TEXT => Ok(Value::Text(self.utf8(n)?.to_owned())),
            ARRAY => self.value_array(n, at),
            _ => self.value_map(n, at),
        }
    }

    fn value_array(&mut self, n: u64, at: usize) -> Result<Value> {
        let n = self.items(n, at)?;
        self.enter()?;
        let mut items = Vec::with_capacity(n);
        for _ in 0..n {
            items.push(self.value()?);
        }
        self.leave();
        Ok(Value::Array(items))
    }

    fn value_map(&mut self, n: u64, at: usize) -> Result<Value> {
        let n = self.items(n, at)?;
        self.enter()?;
        let mut pairs = Vec::with_capacity(n);
        let mut last: &[u8] = &[];
        for _ in 0..n {
            let at = self.at;
            let key = self.value()?;
            let encoded = &self.bytes[at..self.at];
            match last.cmp(encoded) {
                std::cmp::Ordering::Less => last = encoded,
                std::cmp::Ordering::Equal => return Err(self.error_at(at, "duplicate key")),
                std::cmp::Ordering::Greater => return Err(self.error_at(at, "keys do not ascend")),
            }
            pairs.push((key, self.value()?));
        }
        self.leave();
        Ok(Value::Map(pairs))
    }

    #[inline]
    fn argument(&mut self, want: u8, rule: &'static str) -> Result<u64> {
        let at = self.at;
        let (major, n) = self.head()?;
        if major == want { Ok(n) } else { Err(self.error_at(at, rule)) }
    }

    /// Major type 0 to 5 and its argument; everything that is not permitted ends here.
    #[inline]
    fn head(&mut self) -> Result<(u8, u64)> {
        let at = self.at;
        let Some(&first) = self.bytes.get(at) else {
            return Err(self.error_at(at, "ends too early"));
        };
        let (major, info) = (first >> 5, first & 0x1f);
        if major > MAP {
            return Err(self.error_at(at, refused(first)));
        }
        self.at += 1;
        if info < 24 {
            return Ok((major, u64::from(info)));
        }
        Ok((major, self.long_argument(at, major, info)?))
    }

    fn long_argument(&mut self, at: usize, major: u8, info: u8) -> Result<u64> {
        let (n, least) = match info {
            24 => (u64::from(u8::from_be_bytes(self.fixed()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.fixed()?)), 0x100),
            26 => (u64::from(u32::from_be_bytes(self.fixed()?)), 0x1_0000),
            27 => (u64::from_be_bytes(self.fixed()?), 0x1_0000_0000),
            31 if major >= BYTES => return Err(self.error_at(at, "indefinite length")),
            _ => return Err(self.error_at(at, "reserved additional information")),
        };
        if n < least { Err(self.error_at(at, "not the shortest form")) } else { Ok(n) }
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some(chunk) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) else {
            return Err(self.error_at(self.bytes.len(), "ends too early"));
        };
        self.at += N;
        Ok(*chunk)
    }

    #[inline]
    fn take(&mut self, n: u64) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        match usize::try_from(n).ok().and_then(|n| rest.get(..n)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => Err(self.error_at(self.bytes.len(), "ends too early")),
        }
    }

    #[inline]
    fn utf8(&mut self, n: u64) -> Result<&'a str> {
        let at = self.at;
        let bytes = self.take(n)?;
        std::str::from_utf8(bytes)
            .map_err(|error| self.error_at(at + error.valid_up_to(), "text is not valid UTF-8"))
    }

    /// A count of items that the bound permits and the remaining bytes could hold.
    #[inline]
    fn items(&self, n: u64, at: usize) -> Result<usize> {
        match usize::try_from(n) {
            Ok(n) if n > ITEMS_MAX => Err(self.error_at(at, "more than 4096 items")),
            Ok(n) if n <= self.bytes.len() - self.at => Ok(n),
            Ok(_) => Err(self.error_at(self.bytes.len(), "ends too early")),
            Err(_) => Err(self.error_at(at, "more than 4096 items")),
        }
    }
}

/// What a first byte of major type 6 or 7 stands for.
fn refused(first: u8) -> &'static str {
    match first {
        0xc0..=0xdf => "tag",
        0xf4 | 0xf5 => "boolean not permitted here",
        0xf6 => "null",
        0xf7 => "undefined",
        0xf9..=0xfb => "floating-point number",
        0xff => "indefinite length",
        _ => "simple value",
    }
}
