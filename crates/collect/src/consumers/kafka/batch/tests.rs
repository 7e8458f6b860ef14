//! Batches written after the documentation; those of real producers are in `tests/it/kafka.rs`.

use super::*;
use proptest::prelude::*;
use std::io::Write;

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left > 0x7f {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn field(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn body(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let mut record = vec![0];
        varint(&mut record, at as i64);
        varint(&mut record, at as i64);
        field(&mut record, Some(b"key"));
        field(&mut record, *value);
        varint(&mut record, 1);
        field(&mut record, Some(b"h"));
        field(&mut record, Some(b"v"));
        varint(&mut out, record.len() as i64);
        out.extend_from_slice(&record);
    }
    out
}

fn batch(base: i64, attributes: i16, producer: i64, count: i32, body: &[u8]) -> Vec<u8> {
    let mut tail = Vec::new();
    tail.extend_from_slice(&attributes.to_be_bytes());
    tail.extend_from_slice(&(count - 1).to_be_bytes());
    tail.extend_from_slice(&1_000_i64.to_be_bytes());
    tail.extend_from_slice(&2_000_i64.to_be_bytes());
    tail.extend_from_slice(&producer.to_be_bytes());
    tail.extend_from_slice(&[0; 6]);
    tail.extend_from_slice(&count.to_be_bytes());
    tail.extend_from_slice(body);
    let mut out = base.to_be_bytes().to_vec();
    out.extend_from_slice(&(tail.len() as i32 + 9).to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0, 2]);
    out.extend_from_slice(&crc32c::crc32c(&tail).to_be_bytes());
    out.extend_from_slice(&tail);
    out
}

fn offsets(taken: &Taken) -> Vec<i64> {
    let offset = |piece: &Piece| match piece {
        Piece::Record(record) => record.offset,
        Piece::Unread(offset, ..) => -offset,
    };
    taken.pieces.iter().map(offset).collect()
}

#[test]
fn records_are_read_with_all_that_stands_beside_them_also_tombstones() {
    let bytes = batch(7, 0, -1, 2, &body(&[Some(b"a"), None]));
    let taken = read(bytes.into(), 7, &[]);
    assert_eq!((offsets(&taken), taken.next), (vec![7, 8], 9));
    let Piece::Record(first) = &taken.pieces[0] else { panic!("{taken:?}") };
    assert_eq!((first.value.as_deref(), first.time), (Some(&b"a"[..]), 1_000));
    assert_eq!(first.headers, [("h".to_owned(), Bytes::from_static(b"v"))]);
    let Piece::Record(second) = &taken.pieces[1] else { panic!("{taken:?}") };
    assert_eq!((second.value.as_ref(), second.key.as_deref(), second.time), (None, Some(&b"key"[..]), 1_001));
    let by_broker = read(batch(7, 8, -1, 1, &body(&[None])).into(), 7, &[]);
    let Piece::Record(first) = &by_broker.pieces[0] else { panic!("{by_broker:?}") };
    assert_eq!(first.time, 2_000);
}

#[test]
fn a_batch_is_given_from_what_was_asked_for_and_a_cut_one_is_left() {
    let values = [Some(&b"a"[..]), Some(b"b"), Some(b"c")];
    let two = [batch(0, 0, -1, 3, &body(&values)), batch(3, 0, -1, 3, &body(&values))].concat();
    let whole = read(two.clone().into(), 1, &[]);
    assert_eq!((offsets(&whole), whole.next), (vec![1, 2, 3, 4, 5], 6));
    for cut in 0..two.len() {
        let taken = read(two[..cut].to_vec().into(), 1, &[]);
        let want = if cut < two.len() / 2 { (vec![], 1) } else { (vec![1, 2], 3) };
        assert_eq!((offsets(&taken), taken.next), want, "cut at {cut}");
    }
}

#[test]
fn packed_batches_are_unpacked_whoever_packed_them() {
    let plain = body(&[Some(b"aaaaaaaaaaaaaaaa"), Some(b"b")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let short = plain.len() as u8;
    // One literal: the length as a number of Snappy's, then a tag.
    let snappy = [&[short, 60 << 2, short - 1][..], &plain].concat();
    let java = [XERIAL, &[0, 0, 0, 1, 0, 0, 0, 1], &(snappy.len() as u32).to_be_bytes(), &snappy].concat();
    let stored = (u32::from(short) | 1 << 31).to_le_bytes();
    let lz4 = [&[4, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82][..], &stored, &plain, &[0; 4]].concat();
    for (kind, packed) in [(1, gzip.finish().unwrap()), (2, snappy), (2, java), (3, lz4)] {
        let taken = read(batch(0, kind, -1, 2, &packed).into(), 0, &[]);
        assert_eq!(offsets(&taken), [0, 1], "{kind}: {taken:?}");
        assert!(matches!(&taken.pieces[1], Piece::Record(record) if record.value.as_deref() == Some(b"b")));
    }
}

#[test]
fn what_cannot_be_read_is_one_piece_and_is_passed() {
    let good = batch(10, 0, -1, 2, &body(&[Some(b"a"), Some(b"b")]));
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let mut old = good.clone();
    old[16] = 1;
    for (bytes, next, why) in [
        (damaged, 12, "checksum"),
        (old, 11, "older"),
        (batch(10, 4, -1, 2, b"zstd"), 12, "zstd"),
        (batch(10, 7, -1, 2, b"?"), 12, "unknown way"),
        (batch(10, 1, -1, 2, b"?"), 12, "gzip"),
        (batch(10, 0, -1, 2, &body(&[Some(b"a")])), 12, "is cut"),
        (batch(10, 0, -1, 1, &body(&[Some(b"a"), Some(b"b")])), 11, "offset is outside"),
    ] {
        let taken = read(bytes.into(), 10, &[]);
        let Some(Piece::Unread(10, _, found, _)) = taken.pieces.first() else { panic!("{why}: {taken:?}") };
        assert!(found.contains(why) || why == "offset is outside", "{found}");
        assert_eq!((taken.pieces.len(), taken.next), (1, next), "{why}");
    }
}

#[test]
fn records_of_aborted_transactions_and_markers_are_left_out_and_nothing_else() {
    let one = body(&[Some(b"a")]);
    let bytes = [
        batch(0, 0x10, 5, 1, &one),
        batch(1, 0x10, 6, 1, &one),
        batch(2, 0, -1, 1, &one),
        batch(3, 0x30, 5, 1, &one),
        batch(4, 0x30, 6, 1, &one),
        batch(5, 0x10, 5, 1, &one),
        batch(6, 0x30, 5, 1, &one),
    ];
    let taken = read(bytes.concat().into(), 0, &[(5, 0)]);
    assert_eq!((offsets(&taken), taken.next), (vec![1, 2, 5], 7));
}

#[test]
fn a_bomb_is_given_as_a_whole() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&[0; 1_000]).unwrap();
    let packed = gzip.finish().unwrap();
    assert_eq!(gunzip(&packed, 1_000).map(|plain| plain.len()), Ok(1_000));
    assert_eq!(gunzip(&packed, 999), Err("it unpacks to more than may be"));
    // Snappy says its length first.
    let stated = [0x81, 0x80, 0x80, 0x10, 0];
    let taken = read(batch(0, 2, -1, 1, &stated).into(), 0, &[]);
    assert!(matches!(&taken.pieces[..], [Piece::Unread(0, 1, "larger than the bound", _)]), "{taken:?}");
}

proptest! {
    #[test]
    fn any_bytes_hold(bytes: Vec<u8>) {
        crate::fuzz::collect_kafka(&bytes);
    }

    #[test]
    fn changed_batches_hold(at: prop::sample::Index, byte: u8, kind in 0_i16..5) {
        let mut bytes = batch(10, kind, -1, 2, &body(&[Some(b"a"), Some(b"b")]));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        crate::fuzz::collect_kafka(&bytes);
    }
}
