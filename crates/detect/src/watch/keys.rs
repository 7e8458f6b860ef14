//! Keyed 128-bit hashes of names: SipHash-1-3 with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast
//! short-input PRF", 2012), the key from the tenant's digest key.
//!
//! Not for evidence: ids of findings are HMAC-SHA-256. Invariants: nobody without the key can make two names meet;
//! lengths stand before the names, so no two lists of names share the hashed bytes; the same on every machine.

use crate::Hmac;
use crate::bytes::{Reader, Writer};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A hash of names.
pub(crate) type Key = [u8; 16];
/// Bytes of a name that tell it from another.
const NAME_MAX_BYTES: usize = 4096;

/// A map by key. Keys are hashes already.
pub(crate) type KeyMap<V> = HashMap<Key, V, BuildHasherDefault<KeyHasher>>;

/// Takes the first eight bytes of a key as they are.
#[derive(Clone, Copy, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some((head, _)) = bytes.split_first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*head);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}

/// Makes keys. Small, so that each call carries it.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    k0: u64,
    k1: u64,
}

impl Keys {
    pub(crate) fn new(hmac: &Hmac) -> Keys {
        let seed = hmac(b"countersign-detect-keys-v1");
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&seed[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        Keys { k0: word(0), k1: word(8) }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u64(self.k0);
        out.u64(self.k1);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Keys> {
        Some(Keys { k0: from.u64()?, k1: from.u64()? })
    }

    /// The key of these names. `kind` tells apart what the names are of.
    pub(crate) fn of(&self, kind: u8, names: &[&str]) -> Key {
        let mut sip = Sip::new(self.k0, self.k1);
        sip.write(&[kind]);
        for name in names {
            let name = &name.as_bytes()[..name.len().min(NAME_MAX_BYTES)];
            sip.write(&(name.len() as u16).to_le_bytes());
            sip.write(name);
        }
        sip.done()
    }

    /// The key of a pair of keys.
    pub(crate) fn pair(&self, kind: u8, a: &Key, b: &Key) -> Key {
        let mut sip = Sip::new(self.k0, self.k1);
        sip.write(&[kind]);
        sip.write(a);
        sip.write(b);
        sip.done()
    }

    /// The key of bytes.
    pub(crate) fn bytes(&self, kind: u8, bytes: &[u8]) -> Key {
        let mut sip = Sip::new(self.k0, self.k1);
        sip.write(&[kind]);
        sip.write(bytes);
        sip.done()
    }
}

/// The first half of a key, where so much is enough.
pub(crate) fn half(key: &Key) -> u64 {
    key.first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head))
}

struct State([u64; 4]);

impl State {
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }

    fn take(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    fn fold(&mut self) -> u64 {
        for _ in 0..3 {
            self.round();
        }
        self.0.iter().fold(0, |sum, word| sum ^ word)
    }
}

/// Takes bytes in pieces, without copying them together first.
struct Sip {
    state: State,
    /// Bytes that fill no word yet, in the low end, and how many.
    rest: u64,
    filled: u32,
    length: usize,
}

impl Sip {
    fn new(k0: u64, k1: u64) -> Sip {
        let state = State([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ]);
        Sip { state, rest: 0, filled: 0, length: 0 }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len());
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            let word = u64::from_le_bytes(*word);
            self.state.take(self.rest | word << (8 * self.filled));
            self.rest = if self.filled == 0 { 0 } else { word >> (64 - 8 * self.filled) };
        }
        for byte in tail {
            self.rest |= u64::from(*byte) << (8 * self.filled);
            self.filled += 1;
            if self.filled == 8 {
                self.state.take(self.rest);
                (self.rest, self.filled) = (0, 0);
            }
        }
    }

    fn done(mut self) -> Key {
        self.state.take(self.rest | (self.length as u64) << 56);
        self.state.0[2] ^= 0xee;
        let low = self.state.fold();
        self.state.0[1] ^= 0xdd;
        let high = self.state.fold();
        let mut key = [0; 16];
        key[..8].copy_from_slice(&low.to_le_bytes());
        key[8..].copy_from_slice(&high.to_le_bytes());
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn names_that_join_to_the_same_text_have_different_keys() {
        let hmac: Hmac = Arc::new(|_: &[u8]| [7; 32]);
        let keys = Keys::new(&hmac);
        assert_ne!(keys.of(1, &["ab", "c"]), keys.of(1, &["a", "bc"]));
        assert_ne!(keys.of(1, &["ab"]), keys.of(2, &["ab"]));
        assert_eq!(keys.of(1, &["ab"]), keys.of(1, &["ab"]));
        let other: Hmac = Arc::new(|_: &[u8]| [8; 32]);
        assert_ne!(keys.of(1, &["ab"]), Keys::new(&other).of(1, &["ab"]));
    }

    fn siphash128(k0: u64, k1: u64, bytes: &[u8]) -> Key {
        let mut sip = Sip::new(k0, k1);
        sip.write(bytes);
        sip.done()
    }

    #[test]
    fn pieces_hash_as_the_whole() {
        let bytes: Vec<u8> = (0..64).collect();
        for cut in 0..64 {
            for end in cut..64 {
                let mut sip = Sip::new(1, 2);
                sip.write(&bytes[..cut]);
                sip.write(&bytes[cut..end]);
                assert_eq!(sip.done(), siphash128(1, 2, &bytes[..end]));
            }
        }
    }

    #[test]
    fn one_changed_bit_changes_half_of_the_key() {
        let (mut sum, mut count) = (0, 0);
        for len in 1..64usize {
            let bytes = vec![0x55; len];
            let base = u128::from_le_bytes(siphash128(1, 2, &bytes));
            for bit in 0..len * 8 {
                let mut other = bytes.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                sum += (base ^ u128::from_le_bytes(siphash128(1, 2, &other))).count_ones();
                count += 1;
            }
        }
        let mean = f64::from(sum) / f64::from(count);
        assert!((63.0..65.0).contains(&mean), "{mean}");
    }
}
