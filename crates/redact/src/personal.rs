//! Personal data that proves itself by a checksum: card numbers, bank accounts, national ids. Looked for on
//! request only, in text that an operator chose to keep.
//!
//! Sources: ISO/IEC 7812 (Luhn), ISO 13616 (IBAN, mod 97), and each state's published rule.

/// Longest run of digits, spaces and hyphens that is looked at as one number, bytes.
pub const NUMBER_MAX: usize = 40;

/// Every kind there is: the rule's name in hits.
pub const KINDS: [&str; 8] =
    ["card-number", "iban", "fr-nir", "br-cpf", "de-tax-id", "pl-pesel", "uk-nhs-number", "nl-bsn"];

/// The kinds that are looked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted(u16);

impl Wanted {
    /// The kind with this name is looked for, too; `false` = there is none.
    pub(crate) fn add(&mut self, kind: &str) -> bool {
        let at = KINDS.iter().position(|known| *known == kind);
        self.0 |= at.map_or(0, |at| 1 << at);
        at.is_some()
    }

    pub(crate) fn any(self) -> bool {
        self.0 != 0
    }

    fn has(self, kind: &str) -> bool {
        KINDS.iter().position(|known| *known == kind).is_some_and(|at| self.0 & (1 << at) != 0)
    }
}

/// What a number or account is, by its checksum; `None` = none of the wanted. `run` holds digits, spaces, hyphens.
pub(crate) fn number(run: &[u8], wanted: Wanted) -> Option<&'static str> {
    let mut digits = [0_u8; NUMBER_MAX];
    let mut n = 0;
    for b in run.iter().filter(|b| b.is_ascii_digit()) {
        *digits.get_mut(n)? = b - b'0';
        n += 1;
    }
    let digits = digits.get(..n)?;
    if digits.iter().all(|d| Some(d) == digits.first()) {
        return None;
    }
    let is =
        |kind: &'static str, check: fn(&[u8]) -> bool| (wanted.has(kind) && check(digits)).then_some(kind);
    match n {
        15 => is("card-number", card).or_else(|| is("fr-nir", insee)),
        13..=19 => is("card-number", card),
        11 => is("br-cpf", cpf).or_else(|| is("de-tax-id", tax_id)).or_else(|| is("pl-pesel", pesel)),
        10 => is("uk-nhs-number", nhs),
        9 => is("nl-bsn", bsn),
        _ => None,
    }
}

/// Luhn, and a first digit that card networks use.
fn card(digits: &[u8]) -> bool {
    let network = matches!(digits.first(), Some(2..=6)) && !digits.starts_with(&[2, 0]);
    network && luhn(digits)
}

/// ISO/IEC 7812-1 annex B.
pub fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| if i % 2 == 1 { u32::from(*d) * 2 } else { u32::from(*d) })
        .map(|d| if d > 9 { d - 9 } else { d })
        .sum();
    sum.is_multiple_of(10)
}

fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(d, w)| u32::from(*d) * w).sum()
}

fn last(digits: &[u8]) -> u32 {
    digits.last().map_or(99, |d| u32::from(*d))
}

/// France: 97 less the first 13 digits mod 97.
fn insee(digits: &[u8]) -> bool {
    let (Some(number), Some(key)) = (digits.get(..13), digits.get(13..)) else { return false };
    let value = |d: &[u8]| d.iter().fold(0_u64, |v, d| v * 10 + u64::from(*d));
    matches!(digits.first(), Some(1 | 2 | 7 | 8)) && 97 - value(number) % 97 == value(key)
}

/// Brazil: two check digits mod 11.
fn cpf(digits: &[u8]) -> bool {
    let check = |n: usize| {
        let weights: Vec<u32> = (2..=n as u32 + 1).rev().collect();
        let rest = weighted(digits.get(..n).unwrap_or_default(), &weights) * 10 % 11;
        u32::from(digits.get(n).copied().unwrap_or(99)) == rest % 10
    };
    check(9) && check(10)
}

/// Germany: ISO 7064 mod 11,10, one digit twice or thrice among the first ten.
fn tax_id(digits: &[u8]) -> bool {
    let Some(first) = digits.get(..10) else { return false };
    let mut seen = [0_u8; 10];
    for d in first {
        if let Some(n) = seen.get_mut(usize::from(*d)) {
            *n += 1;
        }
    }
    let repeated = seen.iter().filter(|n| **n > 1).count() == 1 && seen.iter().all(|n| *n <= 3);
    let mut product = 10_u32;
    for d in first {
        let sum = (u32::from(*d) + product) % 10;
        product = (if sum == 0 { 10 } else { sum }) * 2 % 11;
    }
    repeated && digits.first() != Some(&0) && (11 - product) % 10 == last(digits)
}

/// Poland: weights 1 3 7 9, and a month that exists.
fn pesel(digits: &[u8]) -> bool {
    let sum = weighted(digits.get(..10).unwrap_or_default(), &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
    let month = digits.get(2).zip(digits.get(3)).map_or(0, |(a, b)| (u32::from(*a) % 2) * 10 + u32::from(*b));
    (10 - sum % 10) % 10 == last(digits) && (1..=12).contains(&month)
}

/// United Kingdom: mod 11 over nine digits.
fn nhs(digits: &[u8]) -> bool {
    let rest = weighted(digits.get(..9).unwrap_or_default(), &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    let check = (11 - rest) % 11;
    check != 10 && check == last(digits)
}

/// The Netherlands: the eleven test.
fn bsn(digits: &[u8]) -> bool {
    let sum = weighted(digits.get(..8).unwrap_or_default(), &[9, 8, 7, 6, 5, 4, 3, 2]);
    sum > 0 && sum % 11 == last(digits) % 11
}

/// Lengths of IBANs by country, from the SWIFT registry.
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BR", 29),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NL", 18),
    (b"NO", 15),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
];

/// Length in bytes of the IBAN that begins at the front of `text`, spaces between groups included.
pub(crate) fn iban(text: &[u8], wanted: Wanted) -> Option<usize> {
    if !wanted.has("iban") {
        return None;
    }
    let country: &[u8; 2] = text.first_chunk()?;
    let (_, length) = IBAN_LENGTHS.iter().find(|(c, _)| *c == country)?;
    let mut compact = [0_u8; 34];
    let (mut n, mut used) = (0, 0);
    for b in text.iter().take(NUMBER_MAX + 8) {
        if n == *length {
            break;
        }
        match b {
            b' ' if n >= 4 => {}
            b if b.is_ascii_digit() || b.is_ascii_uppercase() => {
                *compact.get_mut(n)? = *b;
                n += 1;
            }
            _ => return None,
        }
        used += 1;
    }
    let whole = n == *length && !text.get(used).is_some_and(u8::is_ascii_alphanumeric);
    let compact = compact.get(..n)?;
    let moved = compact.get(4..)?.iter().chain(compact.get(..4)?);
    let rest = moved.fold(0_u32, |rest, b| match b {
        b'0'..=b'9' => (rest * 10 + u32::from(b - b'0')) % 97,
        _ => (rest * 100 + u32::from(b - b'A') + 10) % 97,
    });
    (whole && rest == 1).then_some(used)
}
