//! Snappy's block format, unpacked: what Loki's and Prometheus' clients send. Not the framing format, and no packer.
//!
//! Source: google/snappy, `format_description.txt`. The stated length comes first and is held against a bound before
//! anything is written; a copy reaches only what is already there. Linear in packed plus unpacked size.

use crate::Fault;

/// Longest copy, bytes (three-byte element).
const COPY_MAX: usize = 64;

/// Unpacks `packed` to at most `most` bytes.
///
/// # Errors
/// The offset and the rule broken: larger than `most`, an element that is cut, reaches before the beginning or beyond
/// the stated length, or a length that is not reached.
pub fn unpack(packed: &[u8], most: usize) -> Result<Vec<u8>, Fault> {
    let (length, mut at) = stated(packed)?;
    if length > most {
        return Err(Fault::new(0, "larger than the bound"));
    }
    let mut out = Vec::new();
    while let Some(&tag) = packed.get(at) {
        let start = at;
        let fault = |rule| Fault::new(start, rule);
        let number = |from: usize, bytes: usize| {
            let bytes = packed.get(from..from + bytes).ok_or(fault("an element is cut"))?;
            Ok(bytes.iter().rev().fold(0_usize, |n, b| n << 8 | usize::from(*b)))
        };
        let upper = usize::from(tag >> 2);
        let (count, offset) = match tag & 3 {
            0 => {
                // Up to 60 bytes in the tag, more in one to four bytes behind it.
                let extra = upper.saturating_sub(59);
                let count = if extra == 0 { upper } else { number(at + 1, extra)? } + 1;
                at += 1 + extra;
                (count, None)
            }
            1 => {
                let offset = upper >> 3 << 8 | number(at + 1, 1)?;
                at += 2;
                ((upper & 7) + 4, Some(offset))
            }
            kind => {
                let bytes = if kind == 2 { 2 } else { 4 };
                let offset = number(at + 1, bytes)?;
                at += 1 + bytes;
                (upper + 1, Some(offset))
            }
        };
        if count > length - out.len() {
            return Err(fault("longer than it says"));
        }
        match offset {
            None => {
                let end = at.checked_add(count).filter(|end| *end <= packed.len());
                let end = end.ok_or(fault("a literal is cut"))?;
                out.extend_from_slice(packed.get(at..end).unwrap_or_default());
                at = end;
            }
            Some(offset) => {
                let from = out.len().checked_sub(offset).filter(|_| offset > 0);
                let from = from.ok_or(fault("a copy reaches before the beginning"))?;
                copy(&mut out, from, count);
            }
        }
    }
    if out.len() == length { Ok(out) } else { Err(Fault::new(at, "shorter than it says")) }
}

/// Appends `count` bytes of `out` from `from` on; what is appended may be part of them.
fn copy(out: &mut Vec<u8>, from: usize, count: usize) {
    debug_assert!(count <= COPY_MAX);
    if from + count <= out.len() {
        return out.extend_from_within(from..from + count);
    }
    for at in from..from + count {
        let byte = out.get(at).copied().unwrap_or_default();
        out.push(byte);
    }
}

/// The stated length, a varint of at most 32 bits, and where the elements begin.
fn stated(packed: &[u8]) -> Result<(usize, usize), Fault> {
    let mut length = 0_u64;
    for (place, byte) in packed.iter().take(5).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let length = u32::try_from(length).map_err(|_| Fault::new(place, "a length is too large"))?;
            return Ok((usize::try_from(length).unwrap_or(usize::MAX), place + 1));
        }
    }
    Err(Fault::new(0, "a length is cut or too long"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_elements_of_the_format_are_read() {
        // Literal `ab`, a copy that overlaps itself with each kind of offset.
        assert_eq!(unpack(b"\x06\x04ab\x01\x02", 99).unwrap(), b"ababab");
        assert_eq!(unpack(b"\x06\x04ab\x0e\x02\x00", 99).unwrap(), b"ababab");
        assert_eq!(unpack(b"\x06\x04ab\x0f\x02\x00\x00\x00", 99).unwrap(), b"ababab");
        let long = vec![b'x'; 300];
        let packed = [&b"\xac\x02\xf4\x2b\x01"[..], &long].concat();
        assert_eq!(unpack(&packed, 300).unwrap(), long);
        assert_eq!(unpack(b"\x00", 0).unwrap(), b"");
    }

    #[test]
    fn what_breaks_the_format_is_refused() {
        for (packed, rule) in [
            (&b""[..], "a length is cut or too long"),
            (b"\xff\xff\xff\xff\xff\x01", "a length is cut or too long"),
            (b"\xff\xff\xff\xff\x7f", "a length is too large"),
            (b"\x64\x00a", "larger than the bound"),
            (b"\x02\x00a", "shorter than it says"),
            (b"\x01\x04ab", "longer than it says"),
            (b"\x05\x04a", "a literal is cut"),
            (b"\x05\x00a\x01\x02", "a copy reaches before the beginning"),
            (b"\x05\x00a\x01\x00", "a copy reaches before the beginning"),
            (b"\x05\x00a\x02\x01", "an element is cut"),
            (b"\x05\xfc\xff", "an element is cut"),
        ] {
            assert_eq!(unpack(packed, 99).unwrap_err().rule, rule, "{packed:?}");
        }
    }

    /// Packs by literals and copies of what the choices name: every kind of element, nothing clever.
    fn pack(choices: &[(u8, Vec<u8>, usize)]) -> (Vec<u8>, Vec<u8>) {
        let (mut plain, mut elements) = (Vec::new(), Vec::new());
        for (kind, literal, offset) in choices {
            if literal.is_empty() {
                continue;
            }
            if plain.is_empty() || kind % 4 == 0 {
                let count = literal.len() - 1;
                match count {
                    0..60 => elements.push((count << 2) as u8),
                    _ => elements.extend([60 << 2, count as u8]),
                }
                elements.extend_from_slice(literal);
                plain.extend_from_slice(literal);
                continue;
            }
            let offset = offset % plain.len() + 1;
            let (kind, count) = match kind % 4 {
                1 if offset < 2048 => (1, literal.len() % 8 + 4),
                1 | 2 => (2, literal.len() % 64 + 1),
                _ => (3, literal.len() % 64 + 1),
            };
            match kind {
                1 => elements.extend([((offset >> 8) << 5 | (count - 4) << 2 | 1) as u8, offset as u8]),
                2 => {
                    elements.push(((count - 1) << 2 | 2) as u8);
                    elements.extend_from_slice(&(offset as u16).to_le_bytes());
                }
                _ => {
                    elements.push(((count - 1) << 2 | 3) as u8);
                    elements.extend_from_slice(&(offset as u32).to_le_bytes());
                }
            }
            for _ in 0..count {
                plain.push(plain[plain.len() - offset]);
            }
        }
        let (mut head, mut rest) = (Vec::new(), plain.len());
        while rest >= 0x80 {
            head.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        head.push(rest as u8);
        ([head, elements].concat(), plain)
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back(
            choices in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..200), any::<usize>()), 0..40)
        ) {
            let (packed, plain) = pack(&choices);
            prop_assert_eq!(unpack(&packed, plain.len()).unwrap(), plain);
        }

        #[test]
        fn any_bytes_hold(bytes in any::<Vec<u8>>()) {
            crate::fuzz::collect_snappy(&bytes);
        }
    }
}
