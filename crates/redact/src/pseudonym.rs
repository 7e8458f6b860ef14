//! Values that join and do not read: HMAC-SHA-256 under a key of the tenant. Destroying the key unlinks them.

use ring::hmac;

/// Makes pseudonyms. A plain digest of a short value could be guessed; this can not without the key.
#[derive(Clone)]
pub struct Pseudonyms(hmac::Key);

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms")
    }
}

impl Pseudonyms {
    /// With the tenant's key, at least 16 bytes.
    pub fn new(key: &[u8]) -> Pseudonyms {
        Pseudonyms(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// `tok:<rule>:<26 characters>`: equal for equal values of one rule, 128 bits.
    pub fn of(&self, rule: &str, value: &[u8]) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&(rule.len() as u64).to_be_bytes());
        context.update(rule.as_bytes());
        context.update(value);
        let tag = context.sign();
        let mut out = format!("tok:{rule}:");
        let (mut bits, mut held) = (0_u32, 0_u32);
        for byte in tag.as_ref().iter().take(16) {
            held = (held << 8) | u32::from(*byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                let index = (held >> bits) & 31;
                out.push(ALPHABET.get(index as usize).map_or('a', |c| char::from(*c)));
            }
        }
        let index = (held << (5 - bits)) & 31;
        out.push(ALPHABET.get(index as usize).map_or('a', |c| char::from(*c)));
        out
    }
}
