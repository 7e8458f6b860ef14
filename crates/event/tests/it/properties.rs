//! What holds for every event and for any bytes.

use crate::golden::{a, salts};
use crate::random::{Manner, Random};
use countersign_event::cbor::Value;
use countersign_event::*;
use proptest::prelude::*;

/// Cases of one property: a seeded tenth, or all.
pub(crate) fn cases(whole: u32) -> u32 {
    if std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|how| how == "full") { whole } else { whole / 10 }
}

/// The same cases in every run, so that a failure comes again; PROPTEST_RNG_SEED chooses others.
pub(crate) fn config(whole: u32) -> ProptestConfig {
    let mut config =
        ProptestConfig { cases: cases(whole), failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = proptest::test_runner::RngSeed::Fixed(1);
    }
    config
}

fn tidy_event() -> impl Strategy<Value = Event> {
    any::<u64>().prop_map(|seed| Random::new(seed, Manner::Tidy).event())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u64>().prop_map(Value::Uint),
        any::<u64>().prop_map(Value::Nint),
        any::<bool>().prop_map(Value::Bool),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        ".{0,30}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec((inner.clone(), inner), 0..6).prop_map(|pairs| {
                let mut pairs: Vec<_> = pairs
                    .into_iter()
                    .map(|pair| (cbor::encode(&pair.0).expect("a key encodes"), pair))
                    .collect();
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                pairs.dedup_by(|a, b| a.0 == b.0);
                Value::Map(pairs.into_iter().map(|(_, pair)| pair).collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(config(10_000))]

    #[test]
    fn an_event_survives_its_encoding(event in tidy_event()) {
        let frame = event.encode().unwrap();
        prop_assert_eq!(Event::decode(&frame).unwrap(), event);
        let bytes = frame.to_bytes();
        prop_assert_eq!(bytes.len(), frame.encoded_len());
        prop_assert_eq!(Frame::from_bytes(&bytes).unwrap(), frame);
    }

    #[test]
    fn a_loose_event_is_encoded_as_its_tidy_twin(seed in any::<u64>()) {
        let event = Random::new(seed, Manner::Loose).event();
        if let Ok(frame) = event.encode() {
            let tidy = Event::decode(&frame).unwrap();
            prop_assert_eq!(tidy.encode().unwrap(), frame);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz::event_decode(&bytes);
        fuzz::event_group(&bytes);
        fuzz::event_cbor(&bytes);
        fuzz::event_json(&bytes);
    }

    #[test]
    fn changed_json_never_panics_and_loses_nothing(seed in any::<u64>()) {
        let mut random = Random::new(seed, Manner::Tidy);
        let mut text = json::to_json(&random.event()).into_bytes();
        for _ in 0..=random.below(2) {
            let at = random.below(text.len());
            text[at] = b"\"\\{}[]:,0129-.ntz "[random.below(18)];
        }
        fuzz::event_json(&text);
    }

    #[test]
    fn a_group_of_changed_bytes_never_panics(seed in any::<u64>()) {
        let mut random = Random::new(seed, Manner::Tidy);
        let frame = random.event().encode().unwrap();
        let g = random.below(GROUPS);
        let mut bytes = vec![g as u8];
        bytes.extend(&frame.groups[g]);
        for _ in 0..=random.below(3) {
            let at = 1 + random.below(bytes.len() - 1);
            bytes[at] = random.next() as u8;
        }
        fuzz::event_group(&bytes);
    }

    #[test]
    fn every_cut_of_a_frame_is_rejected(event in tidy_event(), at in any::<prop::sample::Index>()) {
        let bytes = event.encode().unwrap().to_bytes();
        prop_assert!(Frame::from_bytes(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn values_agree_with_ciborium(value in value()) {
        let bytes = cbor::encode(&value).unwrap();
        prop_assert_eq!(&cbor::decode(&bytes).unwrap(), &value);
        let theirs: ciborium::Value = ciborium::from_reader(bytes.as_slice()).unwrap();
        let mut again = Vec::new();
        ciborium::into_writer(&theirs, &mut again).unwrap();
        prop_assert_eq!(again, bytes);
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn every_one_bit_flip_is_rejected_or_commits_to_something_else(event in tidy_event()) {
        flip_all(&event);
    }
}

#[test]
fn every_one_bit_flip_of_vector_a_is_rejected_or_commits_to_something_else() {
    flip_all(&a());
}

fn flip_all(event: &Event) {
    let frame = event.encode().unwrap();
    let honest = commit::event_commitment(&salts(), &frame.groups.each());
    let mut bytes = frame.to_bytes();
    // a frame of many KiB: its first and last bytes, and every ninth between
    let step = if bytes.len() > 2000 { 9 } else { 1 };
    for at in (0..bytes.len()).filter(|at| at % step == 0 || *at < 400) {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            if let Ok(frame) = Frame::from_bytes(&bytes)
                && Event::decode(&frame).is_ok()
            {
                assert_ne!(
                    commit::event_commitment(&salts(), &frame.groups.each()),
                    honest,
                    "byte {at}, bit {bit}"
                );
            }
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn a_claimed_length_is_not_allocated() {
    // heads that promise 4,096 items, or 2^64 bytes, with nothing behind them
    for claim in ["991000", "b91000", "9bffffffffffffffff", "5bffffffffffffffff", "7bffffffffffffffff"] {
        assert!(cbor::decode(&crate::golden::unhex(claim)).is_err());
    }
}

#[test]
fn bounds_on_size_are_enforced_both_ways() {
    let mut event = a();
    event.content.params = vec!["x".repeat(1024); 512];
    let error = event.encode().unwrap_err();
    assert_eq!(error.to_string().split(':').next(), Some("content"), "{error}");
    event.content.params.truncate(500);
    event.who.other = vec![(9, Value::Bytes(vec![0; 500 << 10]))].into();
    event.target.id = "x".repeat(100 << 10);
    let error = event.encode().unwrap_err();
    assert_eq!(error.to_string().split(':').next(), Some("frame"), "{error}");
    assert!(Frame::from_bytes(&vec![0x88; EVENT_MAX + 1]).is_err());
    let mut frame = a().encode().unwrap();
    let long = vec![0; GROUP_MAX + 1];
    frame.groups =
        std::array::from_fn::<_, GROUPS, _>(|g| if g == 5 { &long } else { &frame.groups[g] }).into();
    assert_eq!(Event::decode(&frame).unwrap_err().place, "content");
}

#[test]
fn refusals_name_the_field_and_the_rule() {
    let refused = |change: fn(&mut Event)| {
        let mut event = a();
        change(&mut event);
        event.encode().unwrap_err().to_string()
    };
    assert_eq!(refused(|e| e.core.agent.clear()), "agent: required in every event");
    assert_eq!(refused(|e| e.core.agent = "x".repeat(257)), "agent: 257 bytes, at most 256");
    assert_eq!(refused(|e| e.core.n = Some(1)), "n: the default 1 is never written");
    assert_eq!(refused(|e| e.core.seq = 0), "seq: required in every event, from 1");
    assert_eq!(refused(|e| e.core.labels = vec!["x".repeat(65)]), "labels: 65 bytes in one, at most 64");
    assert_eq!(
        refused(|e| e.core.sys = KeyedMap::from([(0, Value::Uint(1))])),
        "sys: only with rec finding or platform"
    );
    assert_eq!(
        refused(|e| e.who.who.as_mut().unwrap().rel = Some(Relation::Via)),
        "principal.rel: only in obo"
    );
    assert_eq!(refused(|e| e.links.conn_seq = Some(0)), "conn_seq: counts from 1");
    assert_eq!(
        refused(|e| e.core.other = vec![(24, Value::Uint(1))].into()),
        "core: key 24 is known to this version, or out of order"
    );
    assert_eq!(
        refused(|e| e.target.more = vec![Target { more: vec![Target::default()], ..Target::default() }]),
        "more: a further resource holds no further ones"
    );
}

#[test]
fn a_withheld_group_does_not_keep_the_others_from_decoding() {
    let frame = a().encode().unwrap();
    let mut event = Event::default();
    codec::decode_group(0, &frame.groups[0], &mut event).unwrap();
    codec::decode_group(3, &frame.groups[3], &mut event).unwrap();
    assert_eq!((event.core, event.target, event.who), (a().core, a().target, Shared::default()));
    assert!(codec::decode_group(7, &[0xa0], &mut Event::default()).is_err());
    assert!(codec::encode_group(&a(), 7).is_err());
}

#[test]
fn the_dearest_value_costs_32_bytes_an_input_byte() {
    fn cost(value: &Value) -> usize {
        match value {
            Value::Array(items) => {
                items.capacity() * size_of::<Value>() + items.iter().map(cost).sum::<usize>()
            }
            Value::Map(pairs) => {
                let inner = pairs.iter().map(|(key, value)| cost(key) + cost(value));
                pairs.capacity() * 2 * size_of::<Value>() + inner.sum::<usize>()
            }
            Value::Text(text) => text.capacity(),
            Value::Bytes(bytes) => bytes.capacity(),
            _ => 0,
        }
    }
    let numbers = Value::Array(vec![Value::Uint(0); ITEMS_MAX]);
    let arrays = Value::Array(vec![Value::Array(vec![]); ITEMS_MAX]);
    let pairs = Value::Map((0..24).map(|n| (Value::Uint(n), Value::Bool(true))).collect());
    for value in [numbers, arrays, pairs] {
        let bytes = cbor::encode(&value).unwrap();
        let cost = cost(&cbor::decode(&bytes).unwrap());
        assert!(cost <= 32 * bytes.len(), "{cost} bytes for {}", bytes.len());
    }
}
