//! RFC 8949 appendix A: the permitted subset decodes and encodes to itself, the rest is refused.

use crate::golden::{hex, unhex};
use countersign_event::cbor::{self, Value};

fn uint(n: u64) -> Value {
    Value::Uint(n)
}
fn text(text: &str) -> Value {
    Value::from(text)
}
fn array(items: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(items.into_iter().collect())
}
fn map<const N: usize>(pairs: [(Value, Value); N]) -> Value {
    Value::Map(pairs.to_vec())
}

#[test]
fn the_permitted_examples_of_appendix_a_have_their_bytes() {
    let examples = [
        (uint(0), "00"),
        (uint(1), "01"),
        (uint(10), "0a"),
        (uint(23), "17"),
        (uint(24), "1818"),
        (uint(25), "1819"),
        (uint(100), "1864"),
        (uint(1000), "1903e8"),
        (uint(1_000_000), "1a000f4240"),
        (uint(1_000_000_000_000), "1b000000e8d4a51000"),
        (uint(u64::MAX), "1bffffffffffffffff"),
        (Value::Nint(u64::MAX), "3bffffffffffffffff"),
        (Value::from(-1_i64), "20"),
        (Value::from(-10_i64), "29"),
        (Value::from(-100_i64), "3863"),
        (Value::from(-1000_i64), "3903e7"),
        (Value::Bool(false), "f4"),
        (Value::Bool(true), "f5"),
        (Value::Bytes(vec![]), "40"),
        (Value::Bytes(vec![1, 2, 3, 4]), "4401020304"),
        (text(""), "60"),
        (text("a"), "6161"),
        (text("IETF"), "6449455446"),
        (text("\"\\"), "62225c"),
        (text("\u{fc}"), "62c3bc"),
        (text("\u{6c34}"), "63e6b0b4"),
        (text("\u{10151}"), "64f0908591"),
        (array([]), "80"),
        (array([uint(1), uint(2), uint(3)]), "83010203"),
        (array([uint(1), array([uint(2), uint(3)]), array([uint(4), uint(5)])]), "8301820203820405"),
        (array((1..=25).map(uint)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
        (map([]), "a0"),
        (map([(uint(1), uint(2)), (uint(3), uint(4))]), "a201020304"),
        (map([(text("a"), uint(1)), (text("b"), array([uint(2), uint(3)]))]), "a26161016162820203"),
        (array([text("a"), map([(text("b"), text("c"))])]), "826161a161626163"),
        (
            map(["a", "b", "c", "d", "e"].map(|key| (text(key), text(&key.to_uppercase())))),
            "a56161614161626142616361436164614461656145",
        ),
    ];
    for (value, bytes) in examples {
        assert_eq!(hex(&cbor::encode(&value).unwrap()), bytes);
        assert_eq!(cbor::decode(&unhex(bytes)).unwrap(), value, "{bytes}");
    }
}

#[test]
fn the_other_examples_of_appendix_a_are_refused() {
    let refused = "c249010000000000000000 c349010000000000000000 f90000 f98000 f93c00 fb3ff199999999999a f93e00 f97bff
        fa47c35000 fa7f7fffff fb7e37e43c8800759c f90001 f90400 f9c400 fbc010666666666666 f97c00 f97e00 f9fc00 fa7f800000
        fa7fc00000 faff800000 fb7ff0000000000000 fb7ff8000000000000 fbfff0000000000000 f6 f7 f0 f8ff
        c074323031332d30332d32315432303a30343a30305a c11a514b67b0 c1fb41d452d9e8000000 d74401020304 d818456449455446
        d82076687474703a2f2f7777772e6578616d706c652e636f6d 5f42010243030405ff 7f657374726561646d696e67ff 9fff
        9f018202039f0405ffff 9f01820203820405ff 83018202039f0405ff 83019f0203ff820405
        9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff bf61610161629f0203ffff 826161bf61626163ff
        bf6346756ef563416d7421ff";
    for bytes in refused.split_whitespace() {
        assert!(cbor::decode(&unhex(bytes)).is_err(), "{bytes}");
    }
}
