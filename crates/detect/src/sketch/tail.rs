//! How surprising a count is: upper bounds of the tails of the Poisson and the binomial distribution.
//!
//! Chernoff's bound (H. Chernoff, 1952) in its closed form: `P(X ≥ x) ≤ exp(−λ·…)`, here as its exponent in nats, so
//! that 23 means "less than 1 in 10,000,000,000". A bound, not the exact tail: it never calls more surprising what is
//! less. Overdispersed counts (variance = d × mean, a negative binomial among them) divide the exponent by d
//! (quasi-Poisson). Invariant: additions, multiplications and comparisons only, so every machine computes the same.

/// `−ln` of a bound of `P(X ≥ x)` for `x` above the mean `lambda`, and of `P(X ≤ x)` below it, X of a Poisson
/// distribution whose variance is `dispersion` × its mean. 0 at the mean; never negative.
pub fn poisson_nats(x: f64, lambda: f64, dispersion: f64) -> f64 {
    let lambda = lambda.max(1e-9);
    let nats = if x <= 0.0 { lambda } else { x * ln(x / lambda) - (x - lambda) };
    (nats / dispersion.max(1.0)).max(0.0)
}

/// `−ln` of a bound of `P(K ≥ k)`, K of `n` trials that each succeed with probability `p`; 0 for `k` at or below the
/// mean.
pub fn binomial_nats(k: u64, n: u64, p: f64) -> f64 {
    let p = p.clamp(1e-9, 1.0 - 1e-9);
    if n == 0 || k as f64 <= p * n as f64 {
        return 0.0;
    }
    let (k, n) = (k.min(n) as f64, n as f64);
    let share = k / n;
    let missed = if share >= 1.0 { 0.0 } else { (1.0 - share) * ln((1.0 - share) / (1.0 - p)) };
    (n * (share * ln(share / p) + missed)).max(0.0)
}

/// The natural logarithm of a positive number: exponent and a series of atanh, within 1e-14. Of others 0.
pub fn ln(x: f64) -> f64 {
    if !x.is_finite() || x < f64::MIN_POSITIVE {
        return 0.0;
    }
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as f64 - 1023.0;
    let mut m = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if m > std::f64::consts::SQRT_2 {
        m /= 2.0;
        exponent += 1.0;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let (mut term, mut sum) = (s, 0.0);
    for odd in 0..12 {
        sum += term / f64::from(2 * odd + 1);
        term *= square;
    }
    2.0 * sum + exponent * std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact_poisson_tail(x: u32, lambda: f64) -> f64 {
        let mut term = (-lambda).exp();
        let mut below = 0.0;
        for k in 0..x {
            below += term;
            term *= lambda / f64::from(k + 1);
        }
        1.0 - below
    }

    #[test]
    fn known_values() {
        assert!((poisson_nats(20.0, 1.0, 1.0) - (20.0 * 20f64.ln() - 19.0)).abs() < 1e-9);
        assert_eq!(poisson_nats(5.0, 5.0, 1.0), 0.0);
        assert!((poisson_nats(0.0, 7.0, 1.0) - 7.0).abs() < 1e-9, "P(X = 0) is exp(-7)");
        assert!((binomial_nats(8, 8, 0.01) - 8.0 * 100f64.ln()).abs() < 1e-6);
        assert_eq!(binomial_nats(0, 0, 0.5), 0.0);
        assert_eq!((ln(0.0), ln(f64::NAN), ln(-1.0)), (0.0, 0.0, 0.0));
    }

    proptest! {
        #[test]
        fn the_logarithm_is_right(x in 1e-30..1e30f64) {
            prop_assert!((ln(x) - x.ln()).abs() <= 1e-13 * x.ln().abs().max(1.0));
        }

        #[test]
        fn the_poisson_bound_is_above_the_exact_tail_and_not_far(lambda in 0.1..40.0f64, above in 1u32..40) {
            let x = lambda.ceil() as u32 + above;
            let (exact, bound) = (exact_poisson_tail(x, lambda), (-poisson_nats(f64::from(x), lambda, 1.0)).exp());
            prop_assert!(bound >= exact - 1e-12, "{bound} < {exact}");
            if exact > 1e-9 {
                prop_assert!(bound <= exact * 40.0, "{bound} for {exact}");
            }
        }

        #[test]
        fn the_binomial_bound_is_above_the_exact_tail(n in 1u64..60, k in 0u64..60, p in 0.001..0.9f64) {
            let k = k.min(n);
            let mut term = (1.0 - p).powi(n as i32);
            let mut below = 0.0;
            for j in 0..k {
                below += term;
                term *= (n - j) as f64 / (j + 1) as f64 * p / (1.0 - p);
            }
            prop_assert!((-binomial_nats(k, n, p)).exp() >= 1.0 - below - 1e-9);
        }

        #[test]
        fn more_is_more_surprising(lambda in 0.01..1e4f64, x in 0.0..1e4f64, more in 0.1..100.0f64) {
            let x = x + lambda;
            prop_assert!(poisson_nats(x + more, lambda, 1.0) >= poisson_nats(x, lambda, 1.0));
            prop_assert!(poisson_nats(x, lambda, 3.0) <= poisson_nats(x, lambda, 1.0));
        }
    }
}
