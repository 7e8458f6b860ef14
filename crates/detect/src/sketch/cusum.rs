//! A small change that lasts: the cumulative sum of log-likelihood ratios (E. S. Page, 1954).
//!
//! Sums up how much better the counts fit a changed mean than the usual one, never below zero; it crosses a limit `h`
//! by chance about once in exp(h) observations at most. Invariants: 4 bytes a direction; additions, multiplications
//! and comparisons only, so every machine computes the same.

use super::tail::ln;

/// What a count of a Poisson distribution adds: `x` where `usual` was expected, for a mean `ratio` × as large (below 1:
/// as small), its variance `spread` × its mean.
pub(crate) fn poisson(x: f64, usual: f64, ratio: f64, spread: f64) -> f64 {
    (x * ln(ratio) - (ratio - 1.0) * usual) / spread.max(1.0)
}

/// What a yes or no adds, for a share `changed` where `usual` is so; both between 0 and 1.
pub(crate) fn yes(so: bool, usual: f64, changed: f64) -> f64 {
    if so { ln(changed / usual) } else { ln((1.0 - changed) / (1.0 - usual)) }
}

/// Adds to the sum.
pub(crate) fn add(sum: &mut f32, more: f64) -> f64 {
    let now = (f64::from(*sum) + more).clamp(0.0, 1_000.0);
    *sum = now as f32;
    now
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_doubled_share_crosses_and_the_usual_one_does_not() {
        let (mut usual, mut changed, mut worst) = (0.0f32, 0.0f32, 0.0f64);
        let mut crossed = None;
        for n in 0..20_000u64 {
            let draw = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            worst = worst.max(add(&mut usual, yes(draw % 100 < 5, 0.05, 0.15)));
            if add(&mut changed, yes(draw % 100 < 12, 0.05, 0.15)) > 12.0 {
                crossed.get_or_insert(n);
            }
        }
        assert!(worst < 12.0, "{worst}");
        assert!(crossed.is_some_and(|n| n < 600), "{crossed:?}");
    }

    proptest! {
        #[test]
        fn at_its_usual_mean_it_falls_and_at_the_changed_mean_it_rises(usual in 0.1..1e3f64, ratio in 1.2..4.0f64) {
            prop_assert!(poisson(usual, usual, ratio, 1.0) < 0.0);
            prop_assert!(poisson(usual * ratio, usual, ratio, 1.0) > 0.0);
            prop_assert!(poisson(usual / ratio, usual, 1.0 / ratio, 1.0) > 0.0);
        }
    }
}
