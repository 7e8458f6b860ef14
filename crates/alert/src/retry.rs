//! When to try again: exponential with full jitter, within bounds; and what an answer means.

use crate::config::Timing;
use std::time::Duration;

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Accepted.
    Delivered { status: u16 },
    /// Worth another try, at the earliest after the receiver's own wish.
    Failed { status: Option<u16>, after: Option<Duration>, why: String },
    /// Will never be accepted.
    Refused { status: u16, why: String },
    /// The receiver wants nothing any more (410).
    Gone,
}

/// What a status means; `after` is the receiver's `Retry-After`.
pub(crate) fn judge(status: u16, after: Option<Duration>) -> Attempt {
    match status {
        200..=299 => Attempt::Delivered { status },
        408 | 425 | 429 | 500..=599 => {
            Attempt::Failed { status: Some(status), after, why: format!("the receiver answered {status}") }
        }
        410 => Attempt::Gone,
        300..=399 => Attempt::Refused {
            status,
            why: "the receiver redirects, which is not followed; set its new url".to_owned(),
        },
        _ => Attempt::Refused { status, why: "the receiver refused the message for good".to_owned() },
    }
}

/// How long to wait after attempt number `attempts` (from 1) failed.
pub(crate) fn wait(timing: &Timing, attempts: u32, after: Option<Duration>) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    let ceiling = timing.retry_first.saturating_mul(1 << doublings).min(timing.retry_max);
    let ceiling_ms = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
    let jittered = Duration::from_millis((timing.jitter)(ceiling_ms).min(ceiling_ms));
    jittered.max(after.unwrap_or_default().min(timing.retry_after_max))
}

/// `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(value: &str, now_ns: u64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = crate::time::http_date(value)?;
    Some(Duration::from_secs(at.saturating_sub(now_ns / 1_000_000_000)))
}

/// A number from 0 to `max` by the system's randomness.
pub(crate) fn system_jitter(max: u64) -> u64 {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 8];
    match ring::rand::SystemRandom::new().fill(&mut bytes) {
        // The modulo's bias is far below anything that a wait could show.
        Ok(()) => u64::from_be_bytes(bytes) % max.saturating_add(1).max(1),
        Err(_) => max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    #[test]
    fn statuses_mean_what_the_specification_says() {
        let failed = |s| matches!(judge(s, None), Attempt::Failed { .. });
        assert!([408, 425, 429, 500, 502, 503, 504, 599].into_iter().all(failed));
        let refused = |s| matches!(judge(s, None), Attempt::Refused { .. });
        assert!([100, 301, 302, 307, 308, 400, 401, 403, 404, 413, 422, 600].into_iter().all(refused));
        assert!([200, 201, 202, 204].into_iter().all(|s| judge(s, None) == Attempt::Delivered { status: s }));
        assert_eq!(judge(410, None), Attempt::Gone);
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_honoured_up_to_an_hour() {
        assert_eq!(retry_after("120", 0), Some(Duration::from_secs(120)));
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_700_000_000_000),
            Some(Duration::from_secs(77))
        );
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", u64::MAX), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", 0), None);
        let timing = Timing::default();
        assert_eq!(wait(&timing, 1, Some(Duration::from_secs(1_000_000))), Duration::from_secs(3600));
    }

    proptest! {
        #[test]
        fn the_wait_is_below_a_ceiling_that_doubles_to_five_minutes(attempts in 0..u32::MAX, part in 0.0..=1.0f64) {
            let jitter = Arc::new(move |max: u64| (max as f64 * part) as u64);
            let timing = Timing { jitter, ..Timing::default() };
            let ceiling = 2f64.powi(attempts.saturating_sub(1).min(1000) as i32).min(300.0);
            let got = wait(&timing, attempts, None).as_secs_f64();
            prop_assert!((got - ceiling * part).abs() < 0.002, "{} of {}", got, ceiling);
        }
        #[test]
        fn the_systems_jitter_stays_in_range(max in 0..u64::MAX) {
            prop_assert!(system_jitter(max) <= max);
        }
    }
}
