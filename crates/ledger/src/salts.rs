//! Salts of the commitments: AES-256 in counter mode under a part's salt key, block `row × 7 + group`.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use countersign_event::{GROUPS, Salt};

/// The generator of one part. Wiped when dropped.
#[derive(Clone)]
pub(crate) struct Salts(Aes256);

impl Salts {
    /// From the part's salt key.
    pub(crate) fn new(key: &[u8; 32]) -> Salts {
        Salts(Aes256::new(&Array::from(*key)))
    }

    /// The seven salts of `row`.
    pub(crate) fn of_row(&self, row: u64) -> [Salt; GROUPS] {
        let first = u128::from(row) * GROUPS as u128;
        let mut blocks = [Array::from([0u8; 16]); GROUPS];
        for (group, block) in blocks.iter_mut().enumerate() {
            *block = Array::from((first + group as u128).to_be_bytes());
        }
        self.0.encrypt_blocks(&mut blocks);
        blocks.map(|block| block.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salts_are_the_counter_mode_keystream() {
        // AES-256 of the zero block under the zero key, NIST SP 800-38A style known answer.
        let salts = Salts::new(&[0; 32]).of_row(0);
        assert_eq!(salts[0][..8], [0xdc, 0x95, 0xc0, 0x78, 0xa2, 0x40, 0x89, 0x89]);
        let next = Salts::new(&[0; 32]).of_row(1);
        assert!(salts.iter().all(|salt| !next.contains(salt)));
    }
}
