//! Conservation and time: what was seen is recorded, rejected or declared lost, and clocks never run back.

use crate::support::{Seeded, check, event, kek, open, options, rounds, source};
use countersign_event::EntryKind;
use countersign_ledger::bodies::{Gap, SOURCE_DOMAIN, SourceCkpt, SourceReg};
use countersign_ledger::{Clock, GapReason, Ledger, Options};
use ring::digest::{SHA256, digest};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn seen_is_sent_plus_rejected_plus_dropped_in_counters_and_heartbeats() {
    let mut seeded = Seeded(5);
    for _ in 0..rounds(3, 30) {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options();
        options.limits.heartbeat_busy = std::time::Duration::from_millis(1);
        let (ledger, _) = Ledger::open(dir.path(), kek(), options).unwrap();
        let source = source(&ledger, 1);
        let (mut sent, mut rejected, mut dropped) = (0, 0, 0);
        for step in 0..120 {
            match seeded.below(5) {
                0 => {
                    let n = 1 + seeded.below(9);
                    source.dropped(n, GapReason::ALL[seeded.below(6) as usize]).unwrap();
                    dropped += n;
                }
                1 => {
                    source.rejected(2, "parse error");
                    rejected += 2;
                }
                2 => {
                    let mut bad = event(step);
                    bad.core.proto = "x".repeat(500);
                    let ack = source.record_wait(vec![event(step), bad, event(step)]).unwrap();
                    assert_eq!((ack.count, ack.rejected[0].0), (2, 1));
                    sent += 2;
                    rejected += 1;
                }
                _ => {
                    let n = seeded.below(30);
                    source.record((0..n).map(event).collect(), Box::new(|_| {})).unwrap();
                    sent += n;
                }
            }
            if step % 40 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(260));
            }
        }
        ledger.shutdown().unwrap();
        let info = ledger.sources().remove(0);
        assert_eq!(
            (info.seen, info.sent, info.rejected, info.dropped),
            (sent + rejected + dropped, sent, rejected, dropped)
        );
        assert_eq!(ledger.stats().heartbeats_refused, 0);
        verify_heartbeats(&ledger, sent + dropped);
        assert_eq!(check(dir.path()).findings, []);
    }
}

/// Windows tile the sequence, signatures hold, and the running hash is that of the entries.
fn verify_heartbeats(ledger: &Ledger, last_seq: u64) {
    let entries = ledger.entries(0, ledger.size()).unwrap();
    let (mut chain, mut next, mut beats, mut key) = ([0; 32], 1, 0, None);
    let mut seqs = Vec::new();
    for (entry, index) in entries.iter().zip(0..) {
        let body = ledger.body(index).unwrap();
        match EntryKind::from_byte(entry.kind).unwrap() {
            EntryKind::Event => {
                let next = digest(&SHA256, &[chain, entry.commitment].concat());
                chain.copy_from_slice(next.as_ref());
                seqs.push(entry.source_seq);
            }
            EntryKind::SourceReg => key = Some(SourceReg::parse(&body.unwrap()).unwrap().public_key),
            EntryKind::SourceCkpt => {
                let body = body.unwrap();
                let ckpt = SourceCkpt::parse(&body).unwrap();
                assert_eq!(ckpt.to_bytes(), body);
                assert!(ckpt.adds_up());
                assert_eq!((ckpt.first_seq, ckpt.chain, ckpt.alg), (next, chain, 1));
                next = ckpt.last_seq + 1;
                assert!(ckpt.signed_bytes().starts_with(SOURCE_DOMAIN));
                let key = ed25519_dalek::VerifyingKey::from_bytes(&key.unwrap()).unwrap();
                let signature = ed25519_dalek::Signature::from_slice(&ckpt.signature).unwrap();
                key.verify_strict(&ckpt.signed_bytes(), &signature).unwrap();
                beats += 1;
            }
            EntryKind::Gap => {
                let gap = Gap::parse(&body.unwrap()).unwrap();
                assert_eq!(gap.last_seq.unwrap() - gap.first_seq.unwrap() + 1, gap.count);
                seqs.extend(gap.first_seq.unwrap()..=gap.last_seq.unwrap());
            }
            _ => {}
        }
    }
    assert_eq!(seqs, (1..=last_seq).collect::<Vec<_>>(), "every number is an event or inside a gap");
    assert_eq!(next, last_seq + 1);
    assert!(beats >= 2);
}

/// A wall clock that jumps, over a monotonic one that creeps.
struct Jumpy {
    steps: AtomicU64,
}

impl Clock for Jumpy {
    fn now_ns(&self) -> u64 {
        let n = self.steps.load(Ordering::Relaxed);
        let day = 86_400_000_000_000;
        let base = 1_790_000_000_000_000_000 + n * 1_000_000;
        if n % 7 == 3 {
            base - day
        } else if n % 11 == 5 {
            base + day
        } else {
            base
        }
    }
    fn monotonic_ns(&self) -> u64 {
        self.steps.fetch_add(1, Ordering::Relaxed) * 1_000_000
    }
}

#[test]
fn a_jumping_wall_clock_never_moves_entry_times_back_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Jumpy { steps: AtomicU64::new(0) });
    let (ledger, _) = Ledger::open(dir.path(), kek(), Options { clock, ..options() }).unwrap();
    source(&ledger, 1).record_wait((0..500).map(event).collect()).unwrap();
    while ledger.stats().clock_steps == 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    ledger.shutdown().unwrap();
    let entries = ledger.entries(0, ledger.size()).unwrap();
    assert!(entries.windows(2).all(|pair| pair[0].time_ns <= pair[1].time_ns));
    let span = entries.last().unwrap().time_ns - entries[0].time_ns;
    assert!(span < 3_600_000_000_000, "a step of a day is not followed at once");
}

#[test]
fn a_full_intake_blocks_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.limits.intake_bytes = 64 << 10;
    let (ledger, _) = Ledger::open(dir.path(), kek(), options).unwrap();
    let threads: Vec<_> = (1..4)
        .map(|run| {
            let source = source(&ledger, run);
            std::thread::spawn(move || {
                for n in 0..200 {
                    source
                        .record((0..20).map(|i| event(n * 20 + i)).collect(), Box::new(|r| drop(r.unwrap())))
                        .unwrap();
                }
                source.record_wait(Vec::new()).unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(ledger.sources().iter().all(|source| source.sent == 4000 && source.seen == 4000));
    ledger.shutdown().unwrap();
    drop(ledger);
    assert_eq!(open(dir.path()).1.gaps, []);
}
