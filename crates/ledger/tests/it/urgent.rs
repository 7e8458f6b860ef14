//! What somebody waits for: it ends its batch, shares a sync with who came meanwhile, and goes ahead of what nobody
//! waits for. Syncs of the write-ahead log are held by the test, and batches age in an hour, so that no time decides.

use crate::support::{PATIENCE, event, events, kek, options, source};
use countersign_event::EntryKind;
use countersign_ledger::{
    Ack, Disk, Done, Feed, Ledger, LedgerError, Limits, Options, Parts, RealDisk, TryRecordError,
};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A disk whose syncs of the write-ahead log wait while it is held.
#[derive(Default)]
struct HeldDisk {
    /// Whether it is held, and how many syncs wait.
    state: Mutex<(bool, u32)>,
    news: Condvar,
}

impl HeldDisk {
    fn hold(&self, held: bool) {
        self.state.lock().unwrap().0 = held;
        self.news.notify_all();
    }

    fn wait_held(&self) {
        let state = self.state.lock().unwrap();
        let (state, timeout) = self.news.wait_timeout_while(state, PATIENCE, |s| s.1 == 0).unwrap();
        assert!(!timeout.timed_out(), "{state:?}");
    }
}

impl Disk for HeldDisk {
    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        RealDisk.write_at(file, path, bytes, offset)
    }
    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        if path.extension().is_some_and(|extension| extension == "wal") {
            let mut state = self.state.lock().unwrap();
            state.1 += 1;
            self.news.notify_all();
            state = self.news.wait_while(state, |s| s.0).unwrap();
            state.1 -= 1;
        }
        RealDisk.sync(file, path)
    }
    fn allocate(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        RealDisk.allocate(file, path, len)
    }
    fn used_permille(&self, path: &Path) -> io::Result<u32> {
        RealDisk.used_permille(path)
    }
}

/// A ledger whose batches age in an hour, and that signs once now and then nothing for an hour: a note is a batch of
/// its own. What the next source's registration flushes has that one in it. A shutdown would wait for a signature.
fn open(dir: &Path, change: impl FnOnce(&mut Limits)) -> (Ledger, Arc<HeldDisk>) {
    let disk = Arc::new(HeldDisk::default());
    let hour = Duration::from_secs(3600);
    let mut limits = Limits { batch_age: hour, sign_every: hour, heartbeat_busy: hour, ..options().limits };
    change(&mut limits);
    let parts = Parts { disk: disk.clone(), ..Parts::default() };
    let (ledger, _) = Ledger::open_with(dir, kek(), Options { limits, ..options() }, parts).unwrap();
    ledger.wait_checkpoint(1, PATIENCE).unwrap();
    (ledger, disk)
}

/// A callback, and where its answer comes out.
fn waiting() -> (Done, Receiver<Result<Ack, LedgerError>>) {
    let (send, receive) = sync_channel(1);
    (Box::new(move |result| drop(send.send(result))), receive)
}

fn ack(receive: &Receiver<Result<Ack, LedgerError>>) -> Ack {
    receive.recv_timeout(PATIENCE).unwrap().unwrap()
}

/// Sizes of the batches that hold events, and for each event its source and its number there, in log order.
fn logged(ledger: &Ledger) -> (Vec<usize>, Vec<(u32, u64)>) {
    let mut reader = ledger.reader(0);
    let (mut sizes, mut order) = (Vec::new(), Vec::new());
    while reader.position() < ledger.size() {
        let Some(Feed::Batch(batch)) = reader.next(PATIENCE).unwrap() else { continue };
        let entries = batch.records.iter().map(|record| record.entry);
        let before = order.len();
        order.extend(
            entries.filter(|e| e.kind == EntryKind::Event as u8).map(|e| (e.source_ref, e.source_seq)),
        );
        if order.len() > before {
            sizes.push(order.len() - before);
        }
    }
    (sizes, order)
}

fn assert_whole(ledger: &Ledger, order: &[(u32, u64)]) {
    for info in ledger.sources() {
        let seqs: Vec<u64> = order.iter().filter(|(s, _)| *s == info.source_ref).map(|(_, n)| *n).collect();
        assert_eq!(seqs, (1..=info.seen).collect::<Vec<_>>(), "source {}", info.source_ref);
        assert_eq!((info.sent, info.rejected, info.dropped), (info.seen, 0, 0));
    }
}

#[test]
fn what_somebody_waits_for_ends_the_batch_and_takes_along_what_gathered() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path(), |_| {});
    let (waits, gathers) = (source(&ledger, 1), source(&ledger, 2));
    let (mut quiet, mut order) = (Vec::new(), Vec::new());
    for n in 0..5 {
        let (done, receive) = waiting();
        gathers.record(events(n * 10..n * 10 + 10), done).unwrap();
        quiet.push(receive);
    }
    let (done, receive) = waiting();
    assert_eq!(waits.record_urgent(events(0..2), done).unwrap(), 1);
    let last = ack(&receive);
    for receive in &quiet {
        order.push(ack(receive).first);
    }
    order.push(last.first);
    assert!(order.is_sorted() && last.count == 2, "{order:?}");
    let (sizes, order) = logged(&ledger);
    assert_eq!(sizes, [52], "what nobody waits for had gathered, and went with it");
    assert_whole(&ledger, &order);
}

#[test]
fn those_who_come_while_one_is_written_share_the_next_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, disk) = open(dir.path(), |_| {});
    let sources: Vec<_> = (1..=4).map(|run| source(&ledger, run)).collect();
    sources.iter().for_each(countersign_ledger::Source::go_ahead);
    disk.hold(true);
    let mut all = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let (done, receive) = waiting();
        source.record_urgent(events(0..3), done).unwrap();
        all.push(receive);
        if at == 0 {
            disk.wait_held();
        }
    }
    assert!(all.iter().all(|receive| receive.try_recv().is_err()), "nothing is acknowledged before its sync");
    disk.hold(false);
    all.iter().for_each(|receive| assert_eq!(ack(receive).count, 3));
    let (sizes, order) = logged(&ledger);
    assert_eq!(sizes, [3, 9], "one sync for the first, one for all who came meanwhile");
    assert_whole(&ledger, &order);
}

/// Submits one event each until the intake takes no more.
fn fill(source: &countersign_ledger::Source) -> Vec<Receiver<Result<Ack, LedgerError>>> {
    let mut taken = Vec::new();
    loop {
        let (done, receive) = waiting();
        if let Err(error) = source.try_record(vec![event(taken.len() as u64)], done) {
            assert!(matches!(error, TryRecordError::Full(_)), "{error:?}");
            return taken;
        }
        taken.push(receive);
    }
}

#[test]
fn a_source_that_goes_ahead_is_taken_while_the_intake_is_full_and_comes_out_first() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, disk) = open(dir.path(), |limits| {
        // The last of the others ends with nobody behind it.
        limits.batch_age = options().limits.batch_age;
        limits.batch_entries = 1;
        limits.intake_bytes = 512 << 10;
    });
    let (slow, first) = (source(&ledger, 1), source(&ledger, 2));
    first.go_ahead();
    disk.hold(true);
    let queued = fill(&slow);
    assert!(queued.len() > 60, "{}", queued.len());
    let mut urgent = Vec::new();
    for n in 0..30 {
        let (done, receive) = waiting();
        first.record_urgent(vec![event(n)], done).unwrap();
        urgent.push(receive);
    }
    assert!(matches!(slow.try_record(events(0..1), waiting().0), Err(TryRecordError::Full(_))));
    disk.hold(false);
    let urgent: Vec<u64> = urgent.iter().map(|receive| ack(receive).first).collect();
    let queued: Vec<u64> = queued.iter().map(|receive| ack(receive).first).collect();
    // At most four had left the queue: one syncs, one waits for it, one is being handed over, one begins the next.
    let before = queued.iter().filter(|index| **index < urgent[0]).count();
    assert!(before <= 5, "{before} of the others came before the first");
    let between = queued.iter().filter(|index| (urgent[0]..urgent[29]).contains(*index)).count();
    assert!((1..10).contains(&between), "{between} of the others came between: they go on, in their turn");
    assert_whole(&ledger, &logged(&ledger).1);
}

#[test]
fn a_source_that_goes_ahead_later_keeps_its_own_order() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, disk) = open(dir.path(), |limits| limits.batch_entries = 1);
    let source = source(&ledger, 1);
    disk.hold(true);
    for n in 0..50 {
        source.record(vec![event(n)], waiting().0).unwrap();
        if n == 25 {
            source.dropped(3, countersign_ledger::GapReason::Overload).unwrap();
        }
    }
    source.go_ahead();
    let (done, receive) = waiting();
    assert_eq!(source.record_urgent(vec![event(50)], done).unwrap(), 54);
    disk.hold(false);
    ack(&receive);
    let order: Vec<u64> = logged(&ledger).1.into_iter().map(|(_, seq)| seq).collect();
    assert_eq!(order, (1..=26).chain(30..=54).collect::<Vec<_>>());
    assert_eq!((ledger.sources()[0].sent, ledger.sources()[0].dropped), (51, 3));
}
