//! Pseudo-random numbers and the few distributions that the generator draws from.
//!
//! xoshiro256** seeded by splitmix64 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021;
//! public domain algorithms). Not for secrets. `ln` and `exp` are written out here, by additions and
//! multiplications only, because the library's may differ in the last bit from one platform to the next.
//!
//! Invariant: one seed gives the same numbers on every machine and in every build.

/// A generator of pseudo-random numbers.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// From a seed.
    pub fn new(seed: u64) -> Rng {
        let mut state = seed;
        Rng(std::array::from_fn(|_| splitmix(&mut state)))
    }

    /// A generator of its own for one purpose, so that what one part draws never moves what another part draws.
    pub fn of(seed: u64, purpose: &str, number: u64) -> Rng {
        // FNV-1a of the purpose.
        let tag = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let mut state = seed ^ tag.rotate_left(17) ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93);
        splitmix(&mut state);
        Rng::new(state)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        let Rng([a, b, c, d]) = self;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= t;
        *d = d.rotate_left(45);
        result
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..n; 0 for `n` = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in 0..n as an index; 0 for `n` = 0.
    pub fn index(&mut self, n: usize) -> usize {
        self.below(n as u64) as usize
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -ln(1.0 - self.unit()) * mean
    }

    /// Standard normal, as the sum of twelve uniforms less six (Irwin-Hall): never beyond six deviations.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// Log-normal by its median and the deviation of its logarithm.
    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * exp(sigma * self.normal())
    }

    /// An index with probability proportional to its weight; 0 where there are no weights.
    pub fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut left = self.unit() * weights.clone().sum::<f64>();
        let mut last = 0;
        for (index, weight) in weights.enumerate() {
            last = index;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for part in out.chunks_mut(8) {
            let bits = self.bits().to_be_bytes();
            part.copy_from_slice(&bits[..part.len()]);
        }
        out
    }

    /// The items in an order of chance.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

/// Natural logarithm of a positive number.
pub fn ln(x: f64) -> f64 {
    if x <= 0.0 {
        return -744.0;
    }
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    // ln m = 2 artanh((m - 1) / (m + 1)); m in [1, 2) makes the argument at most 1/3.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let (mut term, mut sum) = (z, 0.0);
    for odd in 0..18 {
        sum += term / f64::from(2 * odd + 1);
        term *= z * z;
    }
    2.0 * sum + exponent as f64 * std::f64::consts::LN_2
}

/// e to the `x`, for |x| up to 700.
pub fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let halvings = (x / std::f64::consts::LN_2).round();
    let rest = x - halvings * std::f64::consts::LN_2;
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..16 {
        term *= rest / f64::from(n);
        sum += term;
    }
    sum * f64::from_bits(((halvings as i64 + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        // First outputs of xoshiro256** for the state 1, 2, 3, 4, of the authors' reference program.
        let mut rng = Rng([1, 2, 3, 4]);
        let seen: Vec<u64> = (0..4).map(|_| rng.bits()).collect();
        assert_eq!(seen, [11520, 0, 1509978240, 1215971899390074240]);
    }

    #[test]
    fn purposes_draw_apart() {
        let draw = |purpose, n| Rng::of(7, purpose, n).bits();
        assert_ne!(draw("a", 0), draw("b", 0));
        assert_ne!(draw("a", 0), draw("a", 1));
        assert_eq!(draw("a", 1), draw("a", 1));
    }

    #[test]
    fn logarithm_and_power_agree_with_the_library() {
        for x in [1e-9, 0.01, 0.5, 1.0, 1.5, 2.0, 10.0, 12345.678, 1e12] {
            assert!((ln(x) - f64::ln(x)).abs() < 1e-12 * (1.0 + f64::ln(x).abs()), "{x}");
        }
        for x in [-30.0, -1.0, -0.1, 0.0, 0.3, 1.0, 5.5, 40.0] {
            assert!((exp(x) / f64::exp(x) - 1.0).abs() < 1e-12, "{x}");
        }
    }

    #[test]
    fn draws_have_their_means() {
        let mut rng = Rng::new(1);
        let mean = |f: &mut dyn FnMut() -> f64| (0..40_000).map(|_| f()).sum::<f64>() / 40_000.0;
        assert!((mean(&mut || rng.exponential(3.0)) - 3.0).abs() < 0.1);
        assert!(mean(&mut || rng.normal()).abs() < 0.05);
        assert!((mean(&mut || rng.below(10) as f64) - 4.5).abs() < 0.1);
        let picked = (0..4000).filter(|_| rng.weighted([1.0, 3.0].into_iter()) == 1).count();
        assert!((2800..3200).contains(&picked), "{picked}");
    }
}
