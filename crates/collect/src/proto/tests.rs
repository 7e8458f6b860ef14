//! What is written is read again; what is broken is named.

use super::*;
use proptest::prelude::*;

fn all(bytes: &[u8]) -> Result<Vec<(u32, Wire<'_>)>, Fault> {
    let mut fields = Fields::new(bytes);
    let mut out = Vec::new();
    while let Some(field) = fields.read()? {
        out.push(field);
    }
    Ok(out)
}

#[test]
fn the_examples_of_the_documentation_are_read_and_written() {
    // Encoding, "A Simple Message" and "Length-Delimited Records".
    assert_eq!(all(b"\x08\x96\x01"), Ok(vec![(1, Wire::Varint(150))]));
    assert_eq!(all(b"\x12\x07testing"), Ok(vec![(2, Wire::Bytes(b"testing"))]));
    assert_eq!(all(b"\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01").unwrap()[0].1.int(), -2);
    let mut packed_list = Vec::new();
    packed(Wire::Bytes(b"\x03\x8e\x02\x9e\xa7\x05"), &mut packed_list).unwrap();
    assert_eq!(packed_list, [3, 270, 86942]);
    let mut writer = Writer::new();
    writer.uint(1, 150);
    writer.bytes(2, b"testing");
    writer.uint(3, 0);
    writer.message(3, |inner| inner.uint(1, 150));
    assert_eq!(writer.done(), b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01");
}

#[test]
fn what_is_broken_is_a_fault_at_its_place() {
    for (bytes, rule) in [
        (&b"\x08"[..], "a number is cut"),
        (b"\x08\x80", "a number is cut"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a number is too long"),
        (b"\x12\x05abc", "a field is longer than its message"),
        (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a field is longer than its message"),
        (b"\x09\x01\x02", "a field is longer than its message"),
        (b"\x00\x01", "no field has this number"),
        (b"\x0e\x01", "no wire type"),
        (b"\x0c", "no wire type"),
        (b"\x0b\x14", "a group ends that did not begin"),
    ] {
        assert_eq!(all(bytes).unwrap_err().rule, rule, "{bytes:?}");
    }
}

#[test]
fn a_group_is_stepped_over_and_its_nesting_is_bounded() {
    assert_eq!(all(b"\x0b\x08\x01\x13\x14\x0c\x10\x07"), Ok(vec![(2, Wire::Varint(7))]));
    let deep = [vec![0x0b; 1000], vec![0x0c; 1000]].concat();
    assert_eq!(all(&deep).unwrap_err().rule, "nested deeper than the bound");
}

fn any_field() -> impl Strategy<Value = (u32, u8, u64, Vec<u8>)> {
    (1..(1_u32 << 29), 0..4_u8, any::<u64>(), prop::collection::vec(any::<u8>(), 0..40))
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(fields in prop::collection::vec(any_field(), 0..20)) {
        let mut writer = Writer::new();
        for (number, kind, value, bytes) in &fields {
            match kind {
                0 => writer.uint_always(*number, *value),
                1 => writer.fixed64_always(*number, *value),
                2 => writer.bytes_always(*number, bytes),
                _ => writer.fixed32(*number, (*value as u32).max(1)),
            }
        }
        let written = writer.done();
        let read = all(&written).unwrap();
        prop_assert_eq!(read.len(), fields.len());
        for ((number, kind, value, bytes), (read_number, wire)) in fields.iter().zip(&read) {
            let want = match kind {
                0 => Wire::Varint(*value),
                1 => Wire::Fixed64(*value),
                2 => Wire::Bytes(bytes),
                _ => Wire::Fixed32((*value as u32).max(1)),
            };
            prop_assert_eq!((*number, want), (*read_number, *wire));
        }
        let (mut again, mut fields) = (Writer::new(), Fields::new(&written));
        while let Some((_, _, whole)) = fields.read_whole().unwrap() {
            again.whole(whole);
        }
        prop_assert_eq!(again.done(), written);
    }

    #[test]
    fn any_bytes_are_judged_without_panic(bytes in any::<Vec<u8>>()) {
        crate::fuzz::collect_proto(&bytes);
    }
}
