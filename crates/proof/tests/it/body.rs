//! Bodies of entries: the round trip, and what is refused.

use countersign_proof::body::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_registration_survives_the_round_trip(
        source_ref: u32, identity in ".{0,40}", stream: [u8; 16], public_key: [u8; 32], boot_epoch: u64, previous: Option<u32>, heartbeat_s: u64,
    ) {
        let body = SourceReg { source_ref, identity, stream, boot_epoch, public_key, previous, heartbeat_s };
        prop_assert_eq!(SourceReg::decode(&body.encode()).unwrap(), body);
    }

    #[test]
    fn any_gap_survives_the_round_trip(source_ref: u32, first: Option<u32>, more: u32, reason in 0usize..6, count: u64, exact: bool, by: u32) {
        let range = first.map(|first| (u64::from(first), u64::from(first) + u64::from(more)));
        let body = Gap { source_ref, range, reason: GapReason::ALL[reason], count, exact, declared_by: by };
        prop_assert_eq!(Gap::decode(&body.encode()).unwrap(), body);
    }

    #[test]
    fn any_erasure_survives_the_round_trip_and_covers_what_it_names(
        ranges in proptest::collection::vec((0u64..50, 0u64..50), 0..6), mask: u8, index in 0u64..50, group in 0u8..20,
    ) {
        let body = Erase { ranges: ranges.clone(), mask, ground: "g".into(), approvers: vec!["a".into()], request: [1; 32] };
        let read = Erase::decode(&body.encode()).unwrap();
        let named = group < 8 && mask >> group & 1 == 1;
        prop_assert_eq!(read.covers(index, group), named && ranges.iter().any(|(first, end)| *first <= index && index < *end));
        prop_assert_eq!(read, body);
    }

    #[test]
    fn any_retirement_survives_the_round_trip(policy in ".{0,20}", first: u64, end: u64, root: [u8; 32], level: u64, no_hold: bool) {
        let body = Retire { policy, first, end, root, level, no_hold };
        prop_assert_eq!(Retire::decode(&body.encode()).unwrap(), body);
    }
}

#[test]
fn unknown_keys_are_skipped_and_known_ones_needed() {
    let body = Retire { policy: "p".into(), first: 1, end: 2, root: [0; 32], level: 0, no_hold: true };
    let mut more = body.encode();
    more[0] += 1;
    more.extend([0x18, 0x63, 0x81, 0x01]);
    assert_eq!(Retire::decode(&more).unwrap(), body);
    assert!(Retire::decode(&more[..more.len() - 1]).is_err());
    assert!(Retire::decode(&[0xa0]).is_err());
    assert!(Gap::decode(&[0xa0]).is_err());
    assert!(Gap::decode(&vec![0; BODY_MAX + 1]).is_err());
    let half = Gap {
        source_ref: 1,
        range: Some((5, 4)),
        reason: GapReason::Crash,
        count: 0,
        exact: true,
        declared_by: 0,
    };
    assert!(Gap::decode(&half.encode()).is_err(), "a range that ends before it begins");
}

/// As the ledger writes it for a source that died: a first number, no last one. Key by key, because the
/// writer here never makes this form.
#[test]
fn a_gap_whose_end_is_unknown_is_read_and_excuses_no_hole() {
    let open = [0xa6, 0, 3, 1, 9, 3, GapReason::Crash as u8, 4, 0, 5, 0xf4, 6, 0];
    let gap = Gap::decode(&open).unwrap();
    assert_eq!((gap.source_ref, gap.range, gap.count, gap.exact), (3, None, 0, false));
    let endless = [0xa6, 0, 3, 2, 9, 3, GapReason::Crash as u8, 4, 0, 5, 0xf4, 6, 0];
    assert!(Gap::decode(&endless).is_err(), "a last number without a first one");
}
