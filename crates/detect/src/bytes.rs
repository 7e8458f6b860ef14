//! The bytes of a detector's saved state: fixed-width big-endian numbers and texts behind their length.
//!
//! Not a format for others: a snapshot is read by the version that wrote it or dropped. Invariant: reading never
//! panics and never takes more memory than the bytes given; what does not fit is `None`.

/// Appends.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Writer {
        Writer::default()
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn u8(&mut self, n: u8) {
        self.0.push(n);
    }

    pub(crate) fn bool(&mut self, yes: bool) {
        self.0.push(u8::from(yes));
    }

    pub(crate) fn u16(&mut self, n: u16) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, n: u32) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, n: i64) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }

    /// Bit for bit, so that what is read back computes the same.
    pub(crate) fn f64(&mut self, n: f64) {
        self.u64(n.to_bits());
    }

    /// A length that fits memory also fits 32 bits here: states are bounded far below.
    pub(crate) fn len(&mut self, n: usize) {
        self.u32(u32::try_from(n).unwrap_or(u32::MAX));
    }

    pub(crate) fn key(&mut self, key: &[u8; 16]) {
        self.0.extend_from_slice(key);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

/// Takes from the front.
pub(crate) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    pub(crate) fn bool(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// Finite ones only: nothing that we save is anything else.
    pub(crate) fn f64(&mut self) -> Option<f64> {
        self.u64().map(f64::from_bits).filter(|n| n.is_finite())
    }

    /// A count of things that take at least `each` bytes; `None` if so many cannot follow.
    pub(crate) fn len(&mut self, each: usize) -> Option<usize> {
        let n = usize::try_from(self.u32()?).ok()?;
        (n.checked_mul(each.max(1))? <= self.0.len()).then_some(n)
    }

    pub(crate) fn key(&mut self) -> Option<[u8; 16]> {
        self.array()
    }

    pub(crate) fn bytes(&mut self) -> Option<&'b [u8]> {
        let n = self.len(1)?;
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }
}

/// What a table keeps of one key.
pub(crate) trait Saved: Sized {
    /// Fewest bytes of one.
    const MIN_BYTES: usize;
    fn write(&self, out: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Option<Self>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_written_is_read_and_no_length_is_believed() {
        let mut out = Writer::new();
        out.u16(7);
        out.i64(-3);
        out.f64(0.1);
        out.text("häuser");
        out.key(&[9; 16]);
        let bytes = out.done();
        let mut read = Reader::new(&bytes);
        assert_eq!((read.u16(), read.i64(), read.f64()), (Some(7), Some(-3), Some(0.1)));
        assert_eq!((read.text().as_deref(), read.key()), (Some("häuser"), Some([9; 16])));
        assert!(read.is_empty() && read.u8().is_none());
        assert_eq!(Reader::new(&[0xff; 8]).bytes(), None);
        assert_eq!(Reader::new(&f64::NAN.to_bits().to_be_bytes()).f64(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut read = Reader::new(&bytes);
            while read.text().is_some() || read.u16().is_some() {}
            prop_assert!(bytes.len() < 2 || !bytes.is_empty());
        }
    }
}
