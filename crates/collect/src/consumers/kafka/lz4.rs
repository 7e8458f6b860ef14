//! LZ4's frame format, unpacked: what Kafka's producers write. No packer, no dictionaries, no checksums (Kafka's own
//! stands over the packed bytes).
//!
//! Source: lz4, `doc/lz4_Frame_format.md` and `doc/lz4_Block_format.md`. A copy reaches only what is already there, and
//! nothing is written beyond the bound. Linear in packed plus unpacked size.

use crate::Fault;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Shortest copy, bytes.
const COPY_MIN: usize = 4;
/// A block that is not packed.
const STORED: u32 = 1 << 31;

/// Unpacks `packed` to at most `most` bytes.
///
/// # Errors
/// The offset and the rule broken.
pub fn unpack(packed: &[u8], most: usize) -> Result<Vec<u8>, Fault> {
    let fault = Fault::new;
    let [a, b, c, d, flags, _, ..] = packed else { return Err(fault(0, "a frame is cut")) };
    if [*a, *b, *c, *d] != MAGIC || flags >> 6 != 1 {
        return Err(fault(0, "no LZ4 frame of version 1"));
    }
    if flags & 1 != 0 {
        return Err(fault(4, "a dictionary is needed"));
    }
    // Descriptor: flags, block size, 8 bytes of content size where flagged, its checksum.
    let mut at = 4 + 2 + if flags & 8 != 0 { 8 } else { 0 } + 1;
    let mut out = Vec::new();
    loop {
        let head =
            packed.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(fault(at, "a block is cut"))?;
        let head = u32::from_le_bytes(*head);
        at += 4;
        if head == 0 {
            return Ok(out);
        }
        let length = (head & !STORED) as usize;
        let block =
            at.checked_add(length).and_then(|end| packed.get(at..end)).ok_or(fault(at, "a block is cut"))?;
        if head & STORED != 0 {
            if out.len() + block.len() > most {
                return Err(fault(at, "larger than the bound"));
            }
            out.extend_from_slice(block);
        } else {
            self::block(block, &mut out, most).map_err(|rule| fault(at, rule))?;
        }
        at += length + if flags & 0x10 != 0 { 4 } else { 0 };
    }
}

/// One block, behind what earlier ones gave.
fn block(packed: &[u8], out: &mut Vec<u8>, most: usize) -> Result<(), &'static str> {
    let mut at = 0;
    while let Some(&token) = packed.get(at) {
        at += 1;
        let literals = length(packed, &mut at, token >> 4)?;
        let end = at.checked_add(literals).ok_or("a literal is cut")?;
        let bytes = packed.get(at..end).ok_or("a literal is cut")?;
        if out.len() + literals > most {
            return Err("larger than the bound");
        }
        out.extend_from_slice(bytes);
        at = end;
        if at == packed.len() {
            return Ok(());
        }
        let offset = packed.get(at..).and_then(|rest| rest.first_chunk::<2>()).ok_or("a copy is cut")?;
        let offset = usize::from(u16::from_le_bytes(*offset));
        at += 2;
        let count = length(packed, &mut at, token & 15)?.checked_add(COPY_MIN).ok_or("a copy is too long")?;
        let from = out
            .len()
            .checked_sub(offset)
            .filter(|_| offset > 0)
            .ok_or("a copy reaches before the beginning")?;
        if count > most.saturating_sub(out.len()) {
            return Err("larger than the bound");
        }
        if offset >= count {
            out.extend_from_within(from..from + count);
        } else {
            // It reads what it writes.
            for place in from..from + count {
                let byte = out.get(place).copied().unwrap_or_default();
                out.push(byte);
            }
        }
    }
    Err("a block is cut")
}

/// Four bits, and bytes behind them while they are all ones.
fn length(packed: &[u8], at: &mut usize, first: u8) -> Result<usize, &'static str> {
    let mut length = usize::from(first);
    if first < 15 {
        return Ok(length);
    }
    loop {
        let byte = *packed.get(*at).ok_or("a length is cut")?;
        *at += 1;
        length = length.checked_add(usize::from(byte)).ok_or("a length is too large")?;
        if byte < 255 {
            return Ok(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];

    fn frame(block: &[u8]) -> Vec<u8> {
        [&HEAD[..], &(block.len() as u32).to_le_bytes(), block, &[0; 4]].concat()
    }

    #[test]
    fn copies_that_read_what_they_write_and_long_lengths_are_unpacked() {
        // "abc", then 15 + 4 + 1 bytes from 3 back; then a last literal.
        let block = [0x3f, b'a', b'b', b'c', 3, 0, 1, 0x10, b'z'];
        assert_eq!(unpack(&frame(&block), 99).unwrap(), b"abcabcabcabcabcabcabcabz");
        assert_eq!(unpack(&frame(&block), 23).unwrap_err().rule, "larger than the bound");
        let stored = [&HEAD[..], &(3_u32 | STORED).to_le_bytes(), b"abc", &[0; 4]].concat();
        assert_eq!(unpack(&stored, 3).unwrap(), b"abc");
        let long = [&[0xf0, 255, 0][..], &[b'x'; 270]].concat();
        assert_eq!(unpack(&frame(&long), 1_000).unwrap(), [b'x'; 270]);
    }

    #[test]
    fn what_reaches_out_or_ends_early_is_refused() {
        for (block, rule) in [
            (&[0x1f, b'a', 2, 0, 0, 0][..], "before the beginning"),
            (&[0x1f, b'a', 0, 0, 0, 0], "before the beginning"),
            (&[0x30, b'a'], "literal is cut"),
            (&[0x10, b'a', 1], "copy is cut"),
            (&[0xf0, 255], "length is cut"),
            (&[0x14, b'a', 1, 0], "block is cut"),
        ] {
            let found = unpack(&frame(block), 99).unwrap_err();
            assert!(found.rule.contains(rule), "{found:?}");
        }
        assert!(unpack(b"", 9).is_err() && unpack(&HEAD, 9).is_err());
    }

    proptest! {
        #[test]
        fn any_block_stays_within_the_bound(block: Vec<u8>) {
            if let Ok(out) = unpack(&frame(&block), 1 << 16) {
                prop_assert!(out.len() <= 1 << 16);
            }
        }
    }
}
