//! How long work takes, by the time that this thread was on a processor.

use std::time::{Duration, Instant};

/// Each measurement lasts so long.
const ROUND: Duration = Duration::from_millis(200);
/// Rounds; the best one counts, since whatever else runs only ever takes away.
const ROUNDS: usize = 3;

/// The best round.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rate {
    /// MiB a second.
    pub(crate) mib: f64,
    /// Records a second.
    pub(crate) records: f64,
    /// Time on the processor, of the time that passed.
    pub(crate) share: f64,
}

impl Rate {
    /// Of one record.
    pub(crate) fn ns(&self) -> f64 {
        1e9 / self.records
    }
}

/// Does `work` with each input, which holds so many `records`, again and again.
pub(crate) fn best(inputs: &[Vec<u8>], records: u64, work: &mut dyn FnMut(&[u8])) -> Rate {
    let bytes: usize = inputs.iter().map(Vec::len).sum();
    let mut best = Rate::default();
    for _ in 0..ROUNDS {
        let (clock, start, mut passes) = (Instant::now(), on_processor(), 0_u32);
        while on_processor() - start < ROUND {
            inputs.iter().for_each(|input| work(input));
            passes += 1;
        }
        let took = on_processor() - start;
        let rate = f64::from(passes) / took.as_secs_f64();
        if rate * inputs.len() as f64 * records as f64 > best.records {
            best = Rate {
                mib: rate * bytes as f64 / f64::from(1 << 20),
                records: rate * inputs.len() as f64 * records as f64,
                share: took.as_secs_f64() / clock.elapsed().as_secs_f64(),
            };
        }
    }
    best
}

/// What the scheduler says (Linux, `proc(5)`, schedstat); elsewhere the clock. On a busy machine the two differ.
fn on_processor() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = told.and_then(|text| text.split(' ').next()?.parse().ok());
    ns.map_or_else(|| START.elapsed(), Duration::from_nanos)
}
