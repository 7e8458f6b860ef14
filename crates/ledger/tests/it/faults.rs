//! A disk that fails: the first failure is survived, the second stops everything, nothing acknowledged is lost.

use crate::support::{check, events, kek, open, options, source};
use countersign_ledger::{Disk, Ledger, LedgerError, Parts, RealDisk};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Fails chosen operations on the write-ahead log: the `n`th sync or write from now, `count` of them.
#[derive(Default)]
struct BadDisk {
    syncs: AtomicU64,
    writes: AtomicU64,
    fail_sync: AtomicU64,
    fail_write: AtomicU64,
    times: AtomicU64,
    full: AtomicU64,
    used: AtomicU64,
}

impl BadDisk {
    fn hit(&self, counter: &AtomicU64, at: &AtomicU64) -> io::Result<()> {
        let n = counter.fetch_add(1, Ordering::SeqCst) + 1;
        let at = at.load(Ordering::SeqCst);
        if at != 0 && n >= at && self.times.load(Ordering::SeqCst) > 0 {
            self.times.fetch_sub(1, Ordering::SeqCst);
            let code = if self.full.load(Ordering::SeqCst) == 1 { 28 } else { 5 };
            return Err(io::Error::from_raw_os_error(code));
        }
        Ok(())
    }
}

fn is_wal(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wal")
}

impl Disk for BadDisk {
    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        if is_wal(path)
            && let Err(error) = self.hit(&self.writes, &self.fail_write)
        {
            // Half of it got there, as on a real disk.
            RealDisk.write_at(file, path, &bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        RealDisk.write_at(file, path, bytes, offset)
    }
    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        if is_wal(path) {
            self.hit(&self.syncs, &self.fail_sync)?;
        }
        RealDisk.sync(file, path)
    }
    fn allocate(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        RealDisk.allocate(file, path, len)
    }
    fn used_permille(&self, _: &Path) -> io::Result<u32> {
        Ok(self.used.load(Ordering::SeqCst) as u32)
    }
}

fn open_on(dir: &Path, disk: &Arc<BadDisk>) -> Ledger {
    let parts = Parts { disk: disk.clone(), ..Parts::default() };
    Ledger::open_with(dir, kek(), options(), parts).unwrap().0
}

#[test]
fn one_failed_sync_or_write_poisons_the_file_and_loses_nothing() {
    for fail_write in [false, true] {
        for after in 1..6 {
            let dir = tempfile::tempdir().unwrap();
            let disk = Arc::new(BadDisk::default());
            let ledger = open_on(dir.path(), &disk);
            let source = source(&ledger, 1);
            let (counter, at) =
                if fail_write { (&disk.writes, &disk.fail_write) } else { (&disk.syncs, &disk.fail_sync) };
            disk.times.store(1, Ordering::SeqCst);
            at.store(counter.load(Ordering::SeqCst) + after, Ordering::SeqCst);
            for n in 0..8 {
                assert_eq!(source.record_wait(events(n * 5..n * 5 + 5)).unwrap().count, 5);
            }
            assert_eq!(ledger.stats().poisoned, 1, "write={fail_write} after={after}");
            ledger.shutdown().unwrap();
            let size = ledger.size();
            drop((ledger, source));
            assert_eq!(check(dir.path()).findings, [], "write={fail_write} after={after}");
            let (ledger, report) = open(dir.path());
            assert_eq!((report.size, report.clean), (size, true));
            assert_eq!(ledger.sources()[0].last_seq, 40);
        }
    }
}

#[test]
fn a_failure_while_handling_a_failure_stops_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(BadDisk::default());
    let ledger = open_on(dir.path(), &disk);
    let source = source(&ledger, 1);
    let acked = source.record_wait(events(0..5)).unwrap();
    disk.times.store(100, Ordering::SeqCst);
    disk.fail_sync.store(1, Ordering::SeqCst);
    let error = source.record_wait(events(5..10)).unwrap_err();
    assert!(matches!(error, LedgerError::Stopped(_)), "{error}");
    assert!(matches!(source.record_wait(events(5..10)), Err(LedgerError::Stopped(_))));
    assert!(ledger.stats().stopped.is_some());
    assert!(ledger.shutdown().is_err());
    drop((ledger, source));
    let (ledger, report) = open(dir.path());
    assert!(report.size >= acked.first + acked.count);
    assert!(!report.clean);
    ledger.shutdown().unwrap();
    drop(ledger);
    assert_eq!(check(dir.path()).findings, []);
}

#[test]
fn a_full_disk_holds_sources_back_and_goes_on_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(BadDisk::default());
    let ledger = open_on(dir.path(), &disk);
    let source = source(&ledger, 1);
    source.record_wait(events(0..5)).unwrap();
    disk.used.store(960, Ordering::SeqCst);
    while !ledger.stats().disk_full {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let refused = source.try_record(events(5..10), Box::new(|_| {}));
    assert!(matches!(refused, Err(countersign_ledger::TryRecordError::Full(events)) if events.len() == 5));
    disk.used.store(500, Ordering::SeqCst);
    assert_eq!(source.record_wait(events(5..10)).unwrap().count, 5);
    disk.full.store(1, Ordering::SeqCst);
    disk.times.store(1, Ordering::SeqCst);
    disk.fail_write.store(disk.writes.load(Ordering::SeqCst) + 1, Ordering::SeqCst);
    assert_eq!(source.record_wait(events(10..15)).unwrap().count, 5);
    assert_eq!(source.record_wait(events(15..20)).unwrap().count, 5);
    ledger.shutdown().unwrap();
    drop((ledger, source));
    assert_eq!(check(dir.path()).findings, []);
}
