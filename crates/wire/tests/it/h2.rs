//! HTTP/2 frames and gRPC values: any split gives the same, and the limits act where they say.

use countersign_wire::fuzz;
use countersign_wire::grpc::{self, Messages};
use countersign_wire::h2::{Excess, Frame, Kind, PREFACE, Pace, PaceLimits, Packed, Scanner, flags};
use countersign_wire::http1::fields::Fields;
use proptest::prelude::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn client_stream() -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]));
    bytes.extend(frame(1, 5, 1, b"\x82\x86\x84"));
    bytes.extend(frame(0, 1, 1, &[7; 300]));
    bytes.extend(frame(3, 0, 1, &8_u32.to_be_bytes()));
    bytes.extend(frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 11, b'd', b'b', b'g']));
    bytes.extend(frame(6, 1, 0, &[0; 8]));
    bytes
}

fn scan(scanner: &mut Scanner, pieces: &[&[u8]]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for piece in pieces {
        scanner.feed(piece, |frame| frames.push(frame));
    }
    frames
}

fn limits() -> PaceLimits {
    PaceLimits { resets: 200, control: 100, window_ns: 10_000_000_000, continuations: 16 }
}

fn one(bytes: &[u8]) -> Frame {
    scan(&mut Scanner::server(), &[bytes])[0]
}

#[test]
fn frames_are_found_by_their_heads() {
    let bytes = client_stream();
    let frames = scan(&mut Scanner::client(), &[&bytes]);
    let kinds: Vec<_> = frames.iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [Kind::Settings, Kind::Headers, Kind::Data, Kind::RstStream, Kind::GoAway, Kind::Ping]);
    assert_eq!((frames[2].stream, frames[2].len), (1, 300));
    assert!(frames[2].has(flags::END_STREAM) && frames[5].has(flags::ACK));
    assert_eq!(
        (frames[3].error_code(), frames[4].error_code(), frames[2].error_code()),
        (Some(8), Some(11), None)
    );
}

#[test]
fn a_short_reset_has_no_code_and_does_not_shift_what_follows() {
    let bytes = [frame(3, 0, 1, &[1, 2]), frame(6, 0, 0, &[0; 8])].concat();
    let frames = scan(&mut Scanner::server(), &[&bytes]);
    assert_eq!(frames[0].error_code(), None);
    assert_eq!(frames[1].kind, Kind::Ping);
}

#[test]
fn an_http1_answer_is_told_from_frames() {
    assert!(one(b"HTTP/1.1 400 Bad Request\r\n").is_http1_status_line());
    assert!(!one(&frame(4, 0, 0, &[])).is_http1_status_line());
}

#[test]
fn the_two_hundred_and_first_reset_in_ten_seconds_is_too_much() {
    let reset = one(&frame(3, 0, 1, &[0, 0, 0, 8]));
    let mut pace = Pace::new(limits());
    for _ in 0..200 {
        assert_eq!(pace.frame(&reset, 1_000), Ok(()));
    }
    assert_eq!(pace.frame(&reset, 9_999_999_999), Err(Excess::Resets));
    let mut slow = Pace::new(limits());
    for i in 0..2_000 {
        assert_eq!(slow.frame(&reset, i * 50_000_001), Ok(()), "{i}");
    }
}

#[test]
fn settings_and_pings_count_together_and_data_never() {
    let (settings, ping) = (one(&frame(4, 0, 0, &[])), one(&frame(6, 1, 0, &[0; 8])));
    let data = one(&frame(0, 0, 1, &[]));
    let mut pace = Pace::new(limits());
    for _ in 0..50 {
        assert_eq!((pace.frame(&settings, 5), pace.frame(&ping, 5)), (Ok(()), Ok(())));
    }
    for _ in 0..1_000 {
        assert_eq!(pace.frame(&data, 5), Ok(()));
    }
    assert_eq!(pace.frame(&ping, 5), Err(Excess::Control));
}

#[test]
fn the_seventeenth_continuation_of_a_block_is_too_much() {
    let (headers, open) = (one(&frame(1, 0, 1, &[])), one(&frame(9, 0, 1, &[])));
    let last = one(&frame(9, flags::END_HEADERS, 1, &[]));
    let mut pace = Pace::new(limits());
    for _ in 0..10 {
        assert_eq!(pace.frame(&headers, 0), Ok(()));
        for _ in 0..15 {
            assert_eq!(pace.frame(&open, 0), Ok(()));
        }
        assert_eq!(pace.frame(&last, 0), Ok(()));
    }
    for _ in 0..16 {
        assert_eq!(pace.frame(&open, 0), Ok(()));
    }
    assert_eq!(pace.frame(&open, 0), Err(Excess::Continuations));
}

#[test]
fn packed_fields_read_as_they_were_written() {
    let mut packed = Packed::default();
    for (name, value) in [("a", &b"1"[..]), ("b", b""), ("a", b"\xff2")] {
        packed.push(name, value);
    }
    let fields = Fields::packed(packed.as_bytes());
    let all: Vec<_> = fields.iter().collect();
    assert_eq!(all, [("a", &b"1"[..]), ("b", b""), ("a", b"\xff2")]);
    assert_eq!(fields.get("A"), Some(&b"1"[..]));
    packed.push("c", &vec![0; 2 << 20]);
    assert!(packed.is_cut());
    assert_eq!(Fields::packed(packed.as_bytes()).iter().count(), 3);
}

#[test]
fn grpc_values_follow_the_protocol_document() {
    for (value, yes) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("Application/GRPC; charset=utf-8", true),
        ("application/grpc-web+proto", false),
        ("application/grpcx", false),
        ("application/json", false),
    ] {
        assert_eq!(grpc::is_grpc(value.as_bytes()), yes, "{value}");
    }
    assert_eq!(grpc::path(b"/grpc.health.v1.Health/Check"), Some(("grpc.health.v1.Health", "Check")));
    for odd in ["", "/", "/a", "//b", "/a/", "a/b", "/a/b?c", "/a b/c"] {
        assert_eq!(grpc::path(odd.as_bytes()), None, "{odd}");
    }
    assert_eq!((grpc::status(b"0"), grpc::status(b"16"), grpc::status(b"")), (Some(0), Some(16), None));
    assert_eq!((grpc::status(b"-1"), grpc::status(b"99999999999")), (None, None));
    assert_eq!((grpc::status_name(4), grpc::status_name(17)), (Some("DEADLINE_EXCEEDED"), None));
    assert_eq!(grpc::timeout(b"100m"), Some(100_000_000));
    assert_eq!(grpc::timeout(b"99999999H"), Some(u64::MAX));
    assert_eq!((grpc::timeout(b"123456789m"), grpc::timeout(b"m"), grpc::timeout(b"1x")), (None, None, None));
    assert_eq!(grpc::message(b"caf%C3%A9 %zz%4", 100), "café %zz%4");
    assert_eq!(grpc::message(b"%FF%FF", 3), "\u{fffd}");
}

fn message(flag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flag];
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn an_undefined_flag_ends_the_counting() {
    let mut messages = Messages::new();
    messages.feed(&[message(0, b"a"), message(0x80, b"grpc-status:0"), message(0, b"b")].concat());
    assert!(messages.is_broken());
    assert_eq!(messages.whole(), 1);
}

#[test]
fn a_first_message_above_the_bound_is_not_kept() {
    let mut messages = Messages::keeping(3);
    messages.feed(&[message(0, b"abcd"), message(0, b"x")].concat());
    assert_eq!((messages.whole(), messages.first()), (2, None));
    let mut messages = Messages::keeping(3);
    messages.feed(&message(1, b"abc"));
    assert_eq!(messages.first(), Some((&b"abc"[..], true)));
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(cuts in proptest::collection::vec(0_usize..400, 0..8)) {
        let bytes = client_stream();
        let whole = scan(&mut Scanner::client(), &[&bytes]);
        let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        prop_assert_eq!(scan(&mut Scanner::client(), &pieces), whole);
    }

    #[test]
    fn any_split_gives_the_same_messages(
        bodies in proptest::collection::vec((0_u8..2, proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
        step in 1_usize..50, missing in 0_usize..3,
    ) {
        let mut bytes: Vec<u8> = bodies.iter().flat_map(|(flag, body)| message(*flag, body)).collect();
        let cut = bodies.last().is_some_and(|(_, last)| missing > 0 && last.len() >= missing);
        if cut {
            bytes.truncate(bytes.len() - missing);
        }
        let mut messages = Messages::keeping(64);
        bytes.chunks(step).for_each(|piece| messages.feed(piece));
        prop_assert_eq!(messages.whole(), bodies.len() as u64 - u64::from(cut));
        prop_assert_eq!(messages.is_inside(), cut);
        prop_assert_eq!(messages.compressed(), bodies.iter().map(|(flag, _)| u64::from(*flag)).sum::<u64>());
        if messages.whole() > 0 {
            prop_assert_eq!(messages.first(), Some((&bodies[0].1[..], bodies[0].0 == 1)));
        }
    }

    #[test]
    fn mutated_frames_and_messages_return(
        flips in proptest::collection::vec((0_usize..4000, any::<u8>()), 0..6), step in any::<u8>()
    ) {
        for seed in [client_stream(), message(1, b"hello"), b"/a.B/C".to_vec()] {
            let mut bytes = [&[step][..], &seed].concat();
            for (at, value) in &flips {
                let n = bytes.len();
                bytes[at % n] = *value;
            }
            fuzz::h2_frames(&bytes);
            fuzz::h2_packed(&bytes);
            fuzz::grpc(&bytes);
        }
    }

    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz::h2_frames(&bytes);
        fuzz::h2_packed(&bytes);
        fuzz::grpc(&bytes);
    }
}
