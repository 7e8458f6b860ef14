//! The machine's own limits, printed above every result: what no ledger on it can beat.

use super::temp;
use crate::XtaskError;
use sha2::{Digest, Sha256};
use std::io::{Seek, Write};
use std::time::{Duration, Instant};

/// Synced writes measured.
const SYNCS: usize = 200;
/// Bytes hashed.
const HASHED: usize = 256 << 20;

pub(super) fn print() -> Result<(), XtaskError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (p50, p99) = fdatasync()?;
    println!(
        "machine: {cores} cores; fdatasync of 4 KiB p50 {:.2} ms, p99 {:.2} ms; SHA-256 {:.0} MB/s a core",
        ms(p50),
        ms(p99),
        sha256()
    );
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// p50 and p99 of a synced write of 4 KiB.
pub(super) fn fdatasync() -> Result<(Duration, Duration), XtaskError> {
    let failed = |error| XtaskError::Io("measuring fdatasync".into(), error);
    let dir = temp("fdatasync")?;
    let mut file = std::fs::File::create(dir.path().join("file")).map_err(failed)?;
    file.write_all(&vec![1; SYNCS * 4096]).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    file.rewind().map_err(failed)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[2; 4096]).map_err(failed)?;
        let start = Instant::now();
        file.sync_data().map_err(failed)?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok((times[SYNCS / 2], times[SYNCS * 99 / 100]))
}

fn sha256() -> f64 {
    let block = vec![7; 1 << 20];
    let start = Instant::now();
    let mut hash = Sha256::new();
    for _ in 0..HASHED >> 20 {
        hash.update(&block);
    }
    std::hint::black_box(hash.finalize());
    HASHED as f64 / 1e6 / start.elapsed().as_secs_f64()
}
