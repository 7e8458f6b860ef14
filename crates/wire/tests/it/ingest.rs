//! Messages of `ingest.sock`: any split gives the same ones, and hostile bytes are refused within the bounds.

use countersign_wire::fuzz::{self, read_ingest};
use countersign_wire::ingest::{
    EVENTS_MAX, Framer, Message, PAYLOAD_MAX, TooLong, frames, is_name, kind, message, pack,
};
use proptest::prelude::*;

fn some() -> (Vec<Message>, Vec<u8>) {
    let one = |kind, payload: Vec<u8>| Message { kind, payload };
    let batch = pack(&[b"one".to_vec(), Vec::new(), vec![7; 700]]);
    let all = vec![
        one(kind::HELLO, b"\x01files".to_vec()),
        one(kind::OWE, 3_u64.to_be_bytes().to_vec()),
        one(kind::EVENTS, batch),
        one(kind::DURABLE, vec![0, 3, 0, 0]),
        one(kind::BYE, Vec::new()),
        one(77, vec![0; 300]),
    ];
    let bytes = all.iter().flat_map(|m| message(m.kind, &m.payload).unwrap_or_default()).collect();
    (all, bytes)
}

#[test]
fn messages_are_the_same_however_they_are_cut_and_a_cut_one_is_no_message() {
    let (all, bytes) = some();
    for step in 1..bytes.len() {
        assert_eq!(read_ingest(&bytes, step), (all.clone(), Ok(true)), "step {step}");
    }
    let mut ends = 0;
    for cut in 0..bytes.len() {
        let (found, end) = read_ingest(&bytes[..cut], 64);
        assert!(all.starts_with(&found));
        ends += usize::from(end == Ok(true));
    }
    assert_eq!(ends, all.len(), "a stream may end between two messages and nowhere else");
}

#[test]
fn a_length_beyond_the_bound_is_refused_before_a_byte_of_it_and_for_good() {
    let mut framer = Framer::default();
    let head = [&[3][..], &(PAYLOAD_MAX as u32 + 1).to_be_bytes()].concat();
    assert_eq!(framer.push(&head), Err(TooLong));
    assert_eq!(framer.push(b"more"), Err(TooLong));
    let largest = message(9, &vec![1; PAYLOAD_MAX]).unwrap();
    let (found, end) = read_ingest(&largest, 64 << 10);
    assert_eq!((found.len(), end), (1, Ok(true)));
    assert_eq!(message(9, &vec![1; PAYLOAD_MAX + 1]), None);
}

#[test]
fn frames_of_a_batch_read_back_and_what_is_out_of_form_is_none() {
    let batch = [b"one".to_vec(), Vec::new(), vec![7; 70_000]];
    let packed = pack(&batch);
    assert_eq!(frames(&packed).unwrap(), batch.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for cut in 0..packed.len().min(200) {
        assert_eq!(frames(&packed[..cut]), None, "cut at {cut}");
    }
    for bad in [&[][..], &[0], &[0, 0], &[0, 1], &[0, 1, 0, 0, 0, 9, 1], &[0, 1, 0, 0, 0, 0, 1]] {
        assert_eq!(frames(bad), None, "{bad:?}");
    }
    assert_eq!(frames(&pack(&vec![Vec::new(); EVENTS_MAX])).map(|all| all.len()), Some(EVENTS_MAX));
    assert_eq!(frames(&pack(&vec![Vec::new(); EVENTS_MAX + 1])), None);
}

#[test]
fn names_are_short_and_plain() {
    assert!(is_name("files") && is_name("a.b-c_D9"));
    for bad in ["", "a b", "a/b", "é", "a\n", &"x".repeat(65)] {
        assert!(!is_name(bad), "{bad:?}");
    }
}

#[test]
fn seeds_and_their_neighbours_return() {
    let (_, bytes) = some();
    for at in 0..bytes.len() {
        let mut changed = [&[at as u8][..], &bytes].concat();
        fuzz::ingest(&changed[..at]);
        changed[at] = changed[at].wrapping_add(1 + (at % 7) as u8 * 36);
        fuzz::ingest(&changed);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged_alike_whole_and_split(
        // Mostly small numbers, so that lengths sometimes fit.
        bytes in proptest::collection::vec(prop_oneof![4 => 0_u8..4, 1 => any::<u8>()], 0..400)
    ) {
        fuzz::ingest(&bytes);
    }

    #[test]
    fn any_messages_read_back_from_any_split(
        all in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..12),
        step in 1_usize..50,
    ) {
        let bytes: Vec<u8> = all.iter().flat_map(|(kind, payload)| message(*kind, payload).unwrap()).collect();
        let all: Vec<Message> = all.into_iter().map(|(kind, payload)| Message { kind, payload }).collect();
        prop_assert_eq!(read_ingest(&bytes, step), (all, Ok(true)));
    }
}
