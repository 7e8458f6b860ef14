//! Where in a text one of many short needles begins, whatever its case: one step a byte, by the needle's first three.
//!
//! A bit for each hash of three bytes says whether a needle may begin with them; for most places of most texts none
//! does, and nothing else is looked at. Every place that is named was compared in full, so the hash decides only speed.
//! Not a general automaton (`aho-corasick` is one, and costs several times as much a byte on the texts of logs).
//!
//! Invariants: finds every place of every needle, overlapping ones too, by place and then by length; at each place only
//! needles with the same three first bytes, so time is linear in the text.

/// Bits of the table: 8 KiB, which stays in a processor's nearest cache.
const BITS: usize = 1 << 16;

/// See the module. Needles are numbered as they were given.
pub(crate) struct Needles {
    needles: Vec<Box<[u8]>>,
    /// A bit for each hash of three bytes that begin a needle.
    bits: Box<[u64; BITS / 64]>,
    /// For a hash whose bit is set: the first of its entries. Looked at so rarely that its size does not matter.
    firsts: Box<[u16]>,
    /// Three bytes and the needle that they begin: by hash, then by these bytes, then by length, then by number.
    entries: Vec<(u32, u16)>,
}

impl Needles {
    /// For at most 1,000 needles of two bytes or more; shorter ones are never found.
    pub(crate) fn new(needles: &[&str]) -> Needles {
        let needles: Vec<Box<[u8]>> = needles.iter().map(|needle| needle.as_bytes().into()).collect();
        let mut entries = Vec::new();
        for (number, needle) in needles.iter().enumerate() {
            match **needle {
                [a, b, c, ..] => entries.push((three([a, b, c, 0]), number as u16)),
                // Of two bytes: whatever the third is, and none at the end of a text, which counts as 0.
                [a, b] => entries.extend((0..=u8::MAX).map(|c| (three([a, b, c, 0]), number as u16))),
                _ => {}
            }
        }
        let length = |number: u16| needles.get(usize::from(number)).map_or(0, |needle| needle.len());
        entries.sort_unstable_by_key(|(three, number)| (hash(*three), *three, length(*number), *number));
        entries.dedup();
        let mut bits = Box::new([0; BITS / 64]);
        let mut firsts = vec![0; BITS].into_boxed_slice();
        for (at, (three, _)) in entries.iter().enumerate().rev() {
            let hash = hash(*three);
            if let (Some(word), Some(first)) = (bits.get_mut(hash / 64), firsts.get_mut(hash)) {
                *word |= 1 << (hash % 64);
                *first = at as u16;
            }
        }
        Needles { needles, bits, firsts, entries }
    }

    /// Calls `take` with each place and the needle that begins there, until it says `false`.
    pub(crate) fn each(&self, text: &[u8], mut take: impl FnMut(usize, usize) -> bool) {
        // Four bytes at a time, of which the last does not count: they are read at once.
        for (at, four) in text.windows(4).enumerate() {
            if let [a, b, c, d] = *four
                && !self.begin(text, at, three([a, b, c, d]), &mut take)
            {
                return;
            }
        }
        if let [.., a, b, c] = *text
            && !self.begin(text, text.len() - 3, three([a, b, c, 0]), &mut take)
        {
            return;
        }
        if let [.., a, b] = *text {
            self.begin(text, text.len() - 2, three([a, b, 0, 0]), &mut take);
        }
    }

    /// The needles that begin at `at`, with `three`.
    #[inline]
    fn begin(&self, text: &[u8], at: usize, three: u32, take: &mut impl FnMut(usize, usize) -> bool) -> bool {
        let hash = hash(three);
        let may = self.bits.get(hash / 64).is_some_and(|word| word & 1 << (hash % 64) != 0);
        !may || self.compare(text, at, three, hash, take)
    }

    /// As [`Needles::begin`], when there may be some; apart, since it is rare.
    #[inline(never)]
    fn compare(
        &self,
        text: &[u8],
        at: usize,
        three: u32,
        hash: usize,
        take: &mut impl FnMut(usize, usize) -> bool,
    ) -> bool {
        let first = self.firsts.get(hash).map_or(0, |first| usize::from(*first));
        let of_hash = self.entries.iter().skip(first).take_while(|(other, _)| self::hash(*other) == hash);
        for (_, number) in of_hash.filter(|(other, _)| *other == three) {
            let number = usize::from(*number);
            let Some(needle) = self.needles.get(number) else { continue };
            let here = text.get(at..at + needle.len()).unwrap_or_default();
            // From the fourth byte, which tells most apart; the first three are the same but for what case may mean.
            let same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b);
            let rest = here.len() == needle.len() && here.iter().zip(needle).skip(3).all(same);
            if rest && here.iter().zip(needle).take(3).all(same) && !take(at, number) {
                return false;
            }
        }
        true
    }

    /// Length of a needle, bytes.
    pub(crate) fn length(&self, number: usize) -> usize {
        self.needles.get(number).map_or(0, |needle| needle.len())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.needles.len()
    }
}

/// The first three of four bytes as one number; the same for both cases of a letter.
#[inline]
fn three(four: [u8; 4]) -> u32 {
    (u32::from_le_bytes(four) | 0x20_2020) & 0xff_ffff
}

/// The bit of three bytes.
#[inline]
fn hash(three: u32) -> usize {
    (three.wrapping_mul(0x9e37_79b1) >> (u32::BITS - BITS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use aho_corasick::{AhoCorasick, MatchKind};
    use proptest::prelude::*;

    const SOME: &[&str] = &["token", "auth_token", "SK", "sk-", "://", "eyJ", "pin", "ing", "token"];

    fn found(text: &[u8]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        Needles::new(SOME).each(text, |at, number| {
            found.push((at, number));
            true
        });
        found
    }

    #[test]
    fn needles_overlap_in_any_case_and_end_with_the_text() {
        assert_eq!(found(b"AUTH_Token"), [(0, 1), (5, 0), (5, 8)]);
        assert_eq!(found(b"xsk-"), [(1, 2), (1, 3)]);
        assert_eq!(found(b"sk"), [(0, 2)]);
        assert_eq!(found(b"toke"), []);
        assert_eq!(found(b"s"), []);
    }

    #[test]
    fn the_search_ends_when_it_is_told_to() {
        let mut calls = 0;
        Needles::new(SOME).each(b"token token", |_, _| {
            calls += 1;
            false
        });
        assert_eq!(calls, 1);
    }

    proptest! {
        #[test]
        fn finds_what_an_automaton_finds(text in "[SKskptoken_authyJiG:/\u{e9}-]{0,60}") {
            let automaton = AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .ascii_case_insensitive(true)
                .build(SOME)
                .unwrap();
            let mut expected: Vec<_> =
                automaton.find_overlapping_iter(&text).map(|m| (m.start(), m.pattern().as_usize())).collect();
            expected.sort_by_key(|(at, number)| (*at, SOME[*number].len(), *number));
            prop_assert_eq!(found(text.as_bytes()), expected);
        }
    }
}
