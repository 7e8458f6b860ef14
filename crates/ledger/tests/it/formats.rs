//! Formats: round trips, fixed layouts, and hostile bytes.

use countersign_event::{Entry, EntryKind, Event, Frame};
use countersign_ledger::bodies::{Gap, Manifest, SourceCkpt, SourceReg};
use countersign_ledger::keys::slot::{self, SlotKind};
use countersign_ledger::wal::frame::{
    FRAME_HEAD, FileKeys, FrameContent, FrameFault, FrameHead, FrameKind, append_frame, open_frame,
};
use countersign_ledger::wal::header::Header;
use countersign_ledger::wal::payload::{append_body, append_event, parse_batch};
use countersign_ledger::{GapReason, Kek, SealedSegment, fuzz};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;

fn any_header() -> impl Strategy<Value = Header> {
    (any::<u32>(), any::<u64>(), any::<u64>(), any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(
        |(key_id, file, first, origin, previous_mac)| Header { key_id, file, first, origin, previous_mac },
    )
}

fn any_entry() -> impl Strategy<Value = Entry> {
    (1u8.., any::<u32>(), any::<u64>(), any::<u64>(), any::<[u8; 32]>()).prop_map(
        |(kind, source_ref, source_seq, time_ns, commitment)| Entry {
            kind,
            source_ref,
            source_seq,
            time_ns,
            commitment,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn headers_round_trip_and_every_flip_is_refused(header in any_header(), at in 0usize..128, bit in 0u8..8) {
        let mut bytes = header.to_bytes();
        prop_assert_eq!(Header::parse(&bytes), Ok(header));
        bytes[at] ^= 1 << bit;
        prop_assert!(Header::parse(&bytes).is_err());
    }

    #[test]
    fn frames_round_trip_and_every_flip_is_refused(
        plain in vec(any::<u8>(), 0..300),
        number in any::<u64>(),
        first in any::<u64>(),
        previous in any::<[u8; 32]>(),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let keys = FileKeys::new(&[3; 32], [4; 32]).unwrap();
        let mut bytes = Vec::new();
        let content = FrameContent { kind: FrameKind::Batch, count: 1, first, plain: &plain };
        let mac = append_frame(&mut bytes, &keys, number, content, &previous).unwrap();
        prop_assert_eq!(bytes.len() % 8, 0);
        let head = FrameHead::parse(&bytes).unwrap();
        prop_assert_eq!(head.total(), bytes.len());
        let open = open_frame(head, bytes.clone(), &keys, number, &previous).unwrap();
        prop_assert_eq!((open.plain, open.mac), (plain, mac));
        prop_assert_eq!(
            open_frame(head, bytes.clone(), &keys, number ^ 1, &previous),
            Err(FrameFault::Tampered("frame number is out of order"))
        );
        let other = open_frame(head, bytes.clone(), &keys, number, &[9; 32]);
        prop_assert!(matches!(other, Err(FrameFault::Tampered(_))));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let refused = match FrameHead::parse(&bytes) {
            Err(_) => true,
            Ok(head) => bytes.len() < head.total() || open_frame(head, bytes.clone(), &keys, number, &previous).is_err(),
        };
        prop_assert!(refused, "flip at {} of {}", at, FRAME_HEAD);
    }

    #[test]
    fn batches_round_trip(entries in vec((any_entry(), vec(any::<u8>(), 0..80)), 0..20)) {
        let mut plain = Vec::new();
        entries.iter().for_each(|(entry, body)| append_body(&mut plain, entry, body));
        let records = parse_batch(&plain, entries.len() as u32).unwrap();
        let again: Vec<_> = records.iter().map(|record| (record.entry, record.content.to_vec())).collect();
        prop_assert_eq!(again, entries.clone());
        prop_assert!(parse_batch(&plain, entries.len() as u32 + 1).is_err());
        plain.push(0);
        prop_assert!(parse_batch(&plain, entries.len() as u32).is_err());
    }

    #[test]
    fn event_frames_are_written_as_their_own_crate_writes_them(sizes in vec(0usize..70_000, 7)) {
        let groups: Vec<Vec<u8>> = sizes.iter().map(|size| vec![0xa0; *size]).collect();
        let frame = Frame { schema: 1, groups: <[Vec<u8>; 7]>::try_from(groups).unwrap().into() };
        let entry = Entry { kind: 1, source_ref: 1, source_seq: 1, time_ns: 1, commitment: [0; 32] };
        let mut plain = Vec::new();
        append_event(&mut plain, &entry, &frame);
        let bytes = frame.to_bytes();
        prop_assert_eq!(&plain[57..], &bytes[..]);
    }

    #[test]
    fn key_records_open_under_their_key_only(secret in vec(any::<u8>(), 0..150), id in any::<u64>(), at in 0usize..256, bit in 0u8..8) {
        let mut record = slot::seal(&[1; 32], SlotKind::Part, id, 7, &secret).unwrap();
        prop_assert_eq!(slot::head(&record).id, id);
        prop_assert_eq!(slot::open(&[1; 32], SlotKind::Part, &record).unwrap().to_vec(), secret);
        prop_assert!(slot::open(&[2; 32], SlotKind::Part, &record).is_none());
        prop_assert!(slot::open(&[1; 32], SlotKind::Wal, &record).is_none());
        record[at] ^= 1 << bit;
        prop_assert!(slot::open(&[1; 32], SlotKind::Part, &record).is_none());
    }

    #[test]
    fn bodies_round_trip(
        n in any::<[u64; 6]>(), source_ref in any::<u32>(), previous in any::<Option<u32>>(),
        digest in any::<[u8; 32]>(), stream in any::<[u8; 16]>(), identity in "[a-z/:.]{1,40}", reason in 0usize..6,
        rejected in btree_map("[a-z ]{1,9}", any::<u64>(), 0..5), dropped in btree_map(1u64..7, any::<u64>(), 0..5),
        roots in vec(any::<[u8; 32]>(), 0..17), times in any::<(i64, i64)>(), flag in any::<bool>(),
    ) {
        let reg = SourceReg { source_ref, identity, stream, boot_epoch: n[0], public_key: digest, previous, heartbeat_s: n[1], via: previous.map(|n| format!("example.org/edge/{n}")), after: n[0] / 2 };
        prop_assert_eq!(SourceReg::parse(&reg.to_bytes()), Some(reg));
        let ckpt = SourceCkpt {
            source_ref, first_seq: n[0], last_seq: n[1], seen: n[2], sent: n[3], rejected, dropped, alg: 1,
            chain: digest, last: flag, signature: vec![1; 64],
        };
        prop_assert_eq!(SourceCkpt::parse(&ckpt.to_bytes()), Some(ckpt));
        let gap = Gap {
            source_ref, first_seq: flag.then_some(n[0]), last_seq: flag.then_some(n[1]),
            reason: GapReason::ALL[reason], count: n[2], exact: flag, declared_by: source_ref,
        };
        prop_assert_eq!(Gap::parse(&gap.to_bytes()), Some(gap));
        let segment = SealedSegment {
            first: n[0] / 2, end: n[0] / 2 + 1, version: source_ref, file_digest: digest, file_len: n[2],
            min_time: times.0, max_time: times.1, roots,
        };
        let manifest = Manifest { segment, key_check: digest, ranges: vec![(source_ref, n[3], n[4], n[5])] };
        prop_assert_eq!(Manifest::parse(&manifest.to_bytes()), Some(manifest));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in vec(any::<u8>(), 0..700)) {
        all_fuzz(&bytes);
    }

    #[test]
    fn hostile_edits_of_good_bytes_never_panic(
        header in any_header(), edits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>(),
    ) {
        let body = Gap {
            source_ref: 1, first_seq: Some(1), last_seq: Some(2), reason: GapReason::Crash, count: 2, exact: true, declared_by: 0,
        }.to_bytes();
        let mut meta = 7u64.to_be_bytes().to_vec();
        meta.extend_from_slice(&(body.len() as u32).to_be_bytes());
        meta.extend_from_slice(&body);
        let keys = FileKeys::new(&[1; 32], [0; 32]).unwrap();
        let mut frame = Vec::new();
        let content = FrameContent { kind: FrameKind::Checkpoint, count: 0, first: 9, plain: b"note" };
        append_frame(&mut frame, &keys, 0, content, &[0; 32]).unwrap();
        let slot = slot::seal(&[1; 32], SlotKind::Wal, 1, 1, &[0; 32]).unwrap().to_vec();
        for mut seed in [header.to_bytes().to_vec(), meta, frame, slot, body] {
            for (at, byte) in &edits {
                let at = at.index(seed.len());
                seed[at] = *byte;
            }
            seed.truncate(cut.index(seed.len() + 1));
            all_fuzz(&seed);
        }
    }
}

fn all_fuzz(bytes: &[u8]) {
    fuzz::wal_header(bytes);
    fuzz::wal_frame(bytes);
    fuzz::wal_payload(bytes);
    fuzz::key_ring(bytes);
    fuzz::meta(bytes);
    fuzz::bundle(bytes);
}

#[test]
fn the_released_layouts_do_not_move() {
    let header = Header { key_id: 1, file: 2, first: 3, origin: [4; 32], previous_mac: [5; 32] }.to_bytes();
    assert_eq!(header[..16], *b"CSNWAL1\0\0\x01\0\0\0\0\0\x01");
    assert_eq!(header[16..34], [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 4, 4]);
    assert_eq!(header[100..], [0; 28]);
    let keys = FileKeys::new(&[0; 32], [0; 32]).unwrap();
    let mut frame = Vec::new();
    let content = FrameContent { kind: FrameKind::Batch, count: 1, first: 0x0102, plain: b"x" };
    append_frame(&mut frame, &keys, 5, content, &[0; 32]).unwrap();
    assert_eq!(frame[..4], [0, 0, 0, 17]);
    assert_eq!(
        frame[8..40],
        [1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(frame.len(), 96);
}

#[test]
fn a_frame_over_its_bound_is_not_written() {
    let keys = FileKeys::new(&[0; 32], [0; 32]).unwrap();
    let plain = vec![0; (8 << 20) + 1];
    let content = FrameContent { kind: FrameKind::Batch, count: 1, first: 0, plain: &plain };
    assert_eq!(append_frame(&mut Vec::new(), &keys, 0, content, &[0; 32]), None);
}

#[test]
fn the_schema_that_is_logged_first_is_the_published_one() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = crate::support::open(dir.path());
    let entry = ledger.entry(0).unwrap().unwrap();
    assert_eq!(entry.kind, EntryKind::Schema as u8);
    let body = ledger.body(0).unwrap().unwrap();
    let published = include_str!("../../../../docs/schema/event.cddl");
    assert!(body.windows(published.len()).any(|window| window == published.as_bytes()));
    assert!(Event::default().encode().is_err(), "an empty event is none");
}

#[test]
fn a_key_file_is_made_once_with_mode_0600_and_refused_when_others_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config/kek");
    let (_, created) = Kek::load_or_create(&path).unwrap();
    assert!(created);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!Kek::load_or_create(&path).unwrap().1);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Kek::load(&path).unwrap_err().to_string().contains("chmod 600"));
    std::fs::write(&path, "c2hvcnQ=\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(Kek::load(&path).unwrap_err().to_string().contains("32 bytes"));
}
