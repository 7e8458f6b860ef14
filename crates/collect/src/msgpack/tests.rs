//! What the specification says, and that pieces do not matter.

use super::*;
use proptest::prelude::*;

fn json(bytes: &[u8]) -> String {
    let (mut out, mut reader) = (String::new(), Reader::new(bytes));
    reader.json(&mut out, 1 << 20).unwrap();
    assert!(reader.is_done());
    out
}

#[test]
fn every_type_of_the_specification_is_read() {
    for (bytes, text) in [
        (&b"\xc0"[..], "null"),
        (b"\xc2", "false"),
        (b"\xc3", "true"),
        (b"\x7f", "127"),
        (b"\xe0", "-32"),
        (b"\xcc\xff", "255"),
        (b"\xcd\x01\x00", "256"),
        (b"\xce\x00\x01\x00\x00", "65536"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xd0\x80", "-128"),
        (b"\xd1\x80\x00", "-32768"),
        (b"\xd2\x80\x00\x00\x00", "-2147483648"),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
        (b"\xca\x3f\x80\x00\x00", "1.0"),
        (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "\"NaN\""),
        (b"\xa2a\"", "\"a\\\"\""),
        (b"\xd9\x01a", "\"a\""),
        (b"\xda\x00\x01a", "\"a\""),
        (b"\xdb\x00\x00\x00\x01a", "\"a\""),
        (b"\xc4\x01a", "\"a\""),
        (b"\xc5\x00\x01\xff", "{\"$base64\":\"/w==\"}"),
        (b"\xc6\x00\x00\x00\x00", "\"\""),
        (b"\x92\x01\x90", "[1,[]]"),
        (b"\xdc\x00\x01\xc0", "[null]"),
        (b"\xdd\x00\x00\x00\x01\xc0", "[null]"),
        (b"\x82\xa1a\x01\x02\x80", "{\"a\":1,\"2\":{}}"),
        (b"\xde\x00\x01\xa1a\x01", "{\"a\":1}"),
        (b"\xdf\x00\x00\x00\x01\x91\x01\x01", "{\"[1]\":1}"),
        (b"\xd4\x05\xff", "{\"$ext\":5,\"$base64\":\"/w==\"}"),
        (b"\xd8\xff0123456789abcdef", "{\"$ext\":-1,\"$base64\":\"MDEyMzQ1Njc4OWFiY2RlZg==\"}"),
        (b"\xc7\x01\x05\xff", "{\"$ext\":5,\"$base64\":\"/w==\"}"),
        (b"\xc8\x00\x00\x05", "{\"$ext\":5,\"$base64\":\"\"}"),
        (b"\xc9\x00\x00\x00\x00\x05", "{\"$ext\":5,\"$base64\":\"\"}"),
    ] {
        assert_eq!(json(bytes), text);
        for cut in 0..bytes.len() {
            assert!(Reader::new(&bytes[..cut]).value().is_err(), "{bytes:?} cut at {cut}");
            assert_eq!(Frames::default().next(&bytes[..cut], 99), Ok(None), "{bytes:?} cut at {cut}");
        }
        assert_eq!(Frames::default().next(bytes, 99), Ok(Some(bytes.len())));
    }
}

#[test]
fn what_is_too_deep_too_long_or_no_item_is_refused() {
    let mut out = String::new();
    let deep = [vec![0x91; DEPTH_MAX + 1], vec![0xc0]].concat();
    assert_eq!(Reader::new(&deep).json(&mut out, 1 << 20).unwrap_err().rule, "nested deeper than the bound");
    assert_eq!(Reader::new(&deep).value().unwrap().len(), deep.len(), "stepping over needs no depth");
    let wide = [&b"\xdc\xff\xff"[..], &[0xc0; 0xffff]].concat();
    assert_eq!(Reader::new(&wide).json(&mut out, 99).unwrap_err().rule, "longer than a record may be");
    assert_eq!(Reader::new(b"\xc1").item().unwrap_err().rule, "no item begins so");
    for big in [&b"\xdd\xff\xff\xff\xff"[..], b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xa5ab"] {
        assert_eq!(Frames::default().next(big, 5).unwrap_err().rule, "a message is longer than the bound");
    }
}

#[test]
fn a_value_that_cannot_fit_is_refused_at_the_same_item_whatever_the_pieces() {
    // Four values are promised where three bytes are left.
    let stream = b"\x94\x01\x01\x01\x01";
    for piece in 1..=stream.len() {
        let mut frames = Frames::default();
        let ends: Vec<_> = (piece..=stream.len()).map(|here| frames.next(&stream[..here], 4)).collect();
        assert_eq!(ends[0].unwrap_err(), Fault::new(1, "a message is longer than the bound"));
    }
}

proptest! {
    #[test]
    fn any_bytes_hold(bytes in any::<Vec<u8>>()) {
        crate::fuzz::collect_msgpack(&bytes);
    }
}
