//! Bodies between an edge and its core: what is written reads back, what is cut or wrong is refused by its place.

use countersign_wire::edge::{
    BATCH_MAX, Batch, Builder, Fault, Kind, Marks, RECORDS_MAX, STREAMS_MAX, VERSION,
};
use countersign_wire::fuzz;
use proptest::prelude::*;

fn batch() -> Vec<u8> {
    let mut builder = Builder::new("example.org/edge/1", 7);
    assert!(
        builder.stream("edge:a/countersign:gateway", [1; 16]) && builder.stream("edge:a/input:b", [2; 16])
    );
    assert!(builder.push(Kind::Event, &[1; 16], 1, b"frame"));
    assert!(builder.push(Kind::Gap, &[2; 16], 9, b"gap"));
    assert!(builder.push(Kind::End, &[1; 16], 1, b""));
    builder.finish(12)
}

fn marks() -> Vec<u8> {
    let marks = vec![([1; 16], 1), ([2; 16], u64::MAX)];
    Marks { origin: "example.org/core/1".to_owned(), size: 99, marks }.to_bytes().unwrap_or_default()
}

#[test]
fn a_batch_reads_back_and_one_that_is_cut_anywhere_is_refused() {
    let bytes = batch();
    let read = Batch::parse(&bytes).unwrap();
    assert_eq!((read.origin, read.first, read.end), ("example.org/edge/1", 7, 12));
    let records: Vec<_> = read.records.iter().map(|r| (r.kind, r.run, r.seq, r.content)).collect();
    let want: Vec<(Kind, usize, u64, &[u8])> =
        vec![(Kind::Event, 0, 1, b"frame"), (Kind::Gap, 1, 9, b"gap"), (Kind::End, 0, 1, b"")];
    assert_eq!(records, want);
    for cut in 0..bytes.len() {
        assert!(Batch::parse(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    assert_eq!(Batch::parse(&[&bytes[..], b"x"].concat()), Err(Fault::Long));
    let all = marks();
    for cut in 0..all.len() {
        assert!(Marks::parse(&all[..cut]).is_err(), "cut at {cut}");
    }
    assert_eq!(Marks::parse(&all).unwrap().marks[1], ([2; 16], u64::MAX));
}

#[test]
fn another_version_another_magic_and_a_run_that_is_not_named_are_told_apart() {
    let mut bytes = batch();
    bytes[7] = VERSION + 1;
    assert_eq!(Batch::parse(&bytes), Err(Fault::Version(2)));
    assert_eq!(Batch::parse(&marks()), Err(Fault::Magic));
    let mut builder = Builder::new("o", 0);
    assert!(!builder.push(Kind::Event, &[1; 16], 1, b"x"), "its run was not named");
    assert!(builder.stream("a", [1; 16]) && builder.stream("a", [1; 16]), "named twice, it stands once");
    assert!(!builder.stream("", [2; 16]) && !builder.stream(&"a".repeat(257), [2; 16]));
    let bytes = builder.finish(0);
    let at = bytes.len() - 4 - 16 - 1 - 2 - 2;
    let twice = [&bytes[..at], &[0, 2], &bytes[at + 2..bytes.len() - 4], &bytes[at + 2..]].concat();
    assert_eq!(Batch::parse(&twice), Err(Fault::Form("run")));
}

#[test]
fn bounds_hold_on_both_sides() {
    let mut builder = Builder::new("o", 0);
    for n in 0..STREAMS_MAX {
        assert!(builder.stream("a", (n as u128).to_be_bytes()));
    }
    assert!(!builder.stream("a", [255; 16]));
    for n in 0..RECORDS_MAX as u64 {
        assert!(builder.push(Kind::Event, &[0; 16], n, b""));
    }
    assert!(!builder.push(Kind::Event, &[0; 16], 1, b""));
    assert_eq!(Batch::parse(&builder.finish(9)).unwrap().records.len(), RECORDS_MAX);
    let mut builder = Builder::new("o", 0);
    assert!(builder.stream("a", [0; 16]));
    assert!(!builder.push(Kind::Event, &[0; 16], 1, &vec![0; BATCH_MAX]));
    let room = BATCH_MAX - builder.len() - 15;
    assert!(builder.push(Kind::Event, &[0; 16], 1, &vec![0; room]));
    assert_eq!(builder.finish(1).len(), BATCH_MAX);
    // A count that the bytes could not hold is refused before anything is kept for it.
    let mut bytes = Builder::new("o", 0).finish(0);
    let at = bytes.len() - 6;
    bytes[at..at + 2].copy_from_slice(&1000_u16.to_be_bytes());
    assert_eq!(Batch::parse(&bytes), Err(Fault::Short("count of runs")));
}

#[test]
fn seeds_and_their_neighbours_return() {
    for bytes in [batch(), marks()] {
        for at in 0..bytes.len() {
            fuzz::edge(&bytes[..at]);
            let mut changed = bytes.clone();
            for step in [1, 0x7f, 0x80, 0xff] {
                changed[at] = bytes[at].wrapping_add(step);
                fuzz::edge(&changed);
            }
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Event), Just(Kind::End), Just(Kind::Gap)]
}

proptest! {
    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..300), head in any::<bool>()) {
        let front: &[u8] = if head { b"CSNEDGE\x01" } else { b"CSNMARK\x01" };
        fuzz::edge(&bytes);
        fuzz::edge(&[front, &bytes].concat());
    }

    #[test]
    fn any_batch_reads_back(
        origin in "[a-z/.0-9]{0,40}",
        range in (any::<u32>(), any::<u32>()),
        agents in proptest::collection::vec("[a-z:/]{1,20}", 1..6),
        records in proptest::collection::vec(
            (kind(), any::<prop::sample::Index>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..60)),
            0..40,
        ),
    ) {
        let first = u64::from(range.0.min(range.1));
        let end = u64::from(range.0.max(range.1));
        let mut builder = Builder::new(&origin, first);
        let stream = |n: usize| (n as u128 + 1).to_be_bytes();
        for (n, agent) in agents.iter().enumerate() {
            prop_assert!(builder.stream(agent, stream(n)));
        }
        for (kind, run, seq, content) in &records {
            prop_assert!(builder.push(*kind, &stream(run.index(agents.len())), *seq, content));
        }
        let bytes = builder.finish(end);
        prop_assert_eq!(bytes.len(), builder.len());
        fuzz::edge(&bytes);
        let read = Batch::parse(&bytes).unwrap();
        prop_assert_eq!((read.origin, read.first, read.end), (origin.as_str(), first, end));
        prop_assert_eq!(read.records.len(), records.len());
        for (read, (kind, run, seq, content)) in read.records.iter().zip(&records) {
            let want = (*kind, run.index(agents.len()), *seq, content.as_slice());
            prop_assert_eq!((read.kind, read.run, read.seq, read.content), want);
        }
    }
}
