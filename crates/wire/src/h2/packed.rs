//! A list of fields in one piece of memory: what a header block becomes on its way to the decoder.
//!
//! One allocation for a whole block, in the order of the fields. Each is `name length u16 | value length u32 |
//! name | value`, big-endian. Reading it again can never fail or go outside: a damaged rest is no field.

/// Most bytes of one list; what does not fit is left out and [`Packed::is_cut`] says so.
pub const PACKED_MAX: usize = 1 << 20;
/// Bytes before each field.
const FIELD_HEAD: usize = 6;

/// A list of fields, written front to back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    bytes: Vec<u8>,
    cut: bool,
}

impl Packed {
    /// Room for `bytes` bytes of fields.
    pub fn with_capacity(bytes: usize) -> Packed {
        Packed { bytes: Vec::with_capacity(bytes.min(PACKED_MAX)), cut: false }
    }

    /// Appends a field.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let (Ok(n), Ok(v)) = (u16::try_from(name.len()), u32::try_from(value.len())) else {
            self.cut = true;
            return;
        };
        if self.bytes.len() + FIELD_HEAD + name.len() + value.len() > PACKED_MAX {
            self.cut = true;
            return;
        }
        self.bytes.extend_from_slice(&n.to_be_bytes());
        self.bytes.extend_from_slice(&v.to_be_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(value);
    }

    /// The list as bytes, for [`packed_iter`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no field is held.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether a field did not fit.
    pub fn is_cut(&self) -> bool {
        self.cut
    }
}

/// The fields of a packed list, in order.
pub fn packed_iter(mut rest: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    std::iter::from_fn(move || {
        let (head, tail) = rest.split_at_checked(FIELD_HEAD)?;
        let [n0, n1, v0, v1, v2, v3] = head else { return None };
        let (name, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes([*n0, *n1])))?;
        let value_len = usize::try_from(u32::from_be_bytes([*v0, *v1, *v2, *v3])).ok()?;
        let (value, tail) = tail.split_at_checked(value_len)?;
        rest = tail;
        Some((std::str::from_utf8(name).ok()?, value))
    })
}
