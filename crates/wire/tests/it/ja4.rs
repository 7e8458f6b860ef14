//! JA4 against the published example, and ClientHellos that are not whole or not right.

use countersign_wire::ja4::{Carrier, Hello, hello, host_name, ja4, of_stream, parse};
use proptest::prelude::*;

const CIPHERS: [u16; 16] = [
    0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
    0x009d, 0x002f, 0x0035,
];
const SIGNATURES: [u16; 8] = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];

fn vec16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn words(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vec16(data)].concat()
}

/// The body of a ClientHello like the one of FoxIO's example, GREASE included.
fn body(alpn: Option<&[u8]>, sni: bool) -> Vec<u8> {
    let mut extensions = vec![extension(0x1a1a, b"")];
    if sni {
        extensions.push(extension(0x0000, b"\0\x0e\0\0\x0bexample.com"));
    }
    for kind in
        [0x001b, 0x0033, 0xff01, 0x4469, 0x000a, 0x000b, 0x0017, 0x0023, 0x0005, 0x0012, 0x002d, 0x0015]
    {
        extensions.push(extension(kind, b""));
    }
    if let Some(alpn) = alpn {
        let name = [&[alpn.len() as u8], alpn].concat();
        extensions.push(extension(0x0010, &vec16(&name)));
    }
    extensions.push(extension(0x000d, &vec16(&words(&SIGNATURES))));
    extensions.push(extension(0x002b, &[&[6][..], &words(&[0x8a8a, 0x0304, 0x0303])].concat()));
    let ciphers = vec16(&words(&CIPHERS));
    [&[3, 3][..], &[7; 32], &[0], &ciphers, &[1, 0], &vec16(&extensions.concat())].concat()
}

/// As TLS records of at most `size` bytes.
pub(crate) fn stream(body: &[u8], size: usize) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    let message = [&[1], &len[1..], body].concat();
    message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &vec16(part)].concat()).collect()
}

pub(crate) fn sample() -> Vec<u8> {
    stream(&body(Some(b"h2"), true), 16_000)
}

#[test]
fn the_published_example_has_its_published_fingerprint() {
    assert_eq!(of_stream(&sample()).unwrap(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

#[test]
fn carrier_name_and_protocol_show_in_the_first_part() {
    let first = |body: &[u8], carrier| {
        let whole = ja4(&parse(body).unwrap(), carrier);
        whole.split('_').next().unwrap().to_owned()
    };
    assert_eq!(first(&body(None, false), Carrier::Quic), "q13i151400");
    assert_eq!(first(&body(Some(b"http/1.1"), true), Carrier::Tcp), "t13d1516h1");
    assert_eq!(first(&body(Some(b"h"), true), Carrier::Tcp), "t13d1516hh");
    assert_eq!(first(&body(Some(&[0xab]), true), Carrier::Tcp), "t13d1516ab");
    assert_eq!(first(&body(Some(&[0xab, 0xcd]), true), Carrier::Dtls), "d13d1516ad");
    assert_eq!(first(&body(Some(&[0x30, 0x31, 0xab, 0xcd]), true), Carrier::Tcp), "t13d15163d");
}

#[test]
fn server_names_are_read_in_lower_case_and_only_where_a_host_can_have_them() {
    for (name, read) in [
        (&b"API.Example.org"[..], Some("api.example.org")),
        (b"a_b-c.9", Some("a_b-c.9")),
        (b"", None),
        (b"a..b", None),
        (b"a.b.", None),
        (b"*.example.org", None),
        (b"ex ample", None),
        (b"\xc3\xbc", None),
        (&[b'a'; 64], None),
        (&[b'a'; 63], Some(std::str::from_utf8(&[b'a'; 63]).unwrap())),
    ] {
        assert_eq!(host_name(name).as_deref(), read, "{name:?}");
        let entry = [&[0, 0, name.len() as u8][..], name].concat();
        let list = [&[0, entry.len() as u8][..], &entry].concat();
        let extension = [&[0, 0, 0, list.len() as u8][..], &list].concat();
        let hello =
            [&[3, 3][..], &[7; 32], &[0, 0, 0, 1, 0], &[0, extension.len() as u8], &extension].concat();
        let parsed = parse(&hello).unwrap();
        assert_eq!((parsed.server_name.as_deref(), parsed.sni), (read, true));
    }
}

#[test]
fn a_hello_without_extensions_has_zeros() {
    let bare = [&[3, 1][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
    let fingerprint = ja4(&parse(&bare).unwrap(), Carrier::Tcp);
    assert!(
        fingerprint.starts_with("t10i010000_") && fingerprint.ends_with("_000000000000"),
        "{fingerprint}"
    );
    let none = [&[3, 3][..], &[7; 32], &[0, 0, 0, 1, 0]].concat();
    assert_eq!(ja4(&parse(&none).unwrap(), Carrier::Tcp), "t12i000000_000000000000_000000000000");
}

#[test]
fn what_does_not_add_up_has_no_fingerprint() {
    let good = body(Some(b"h2"), true);
    for cut in 1..good.len() {
        // A cut between the fields leaves a shorter, valid ClientHello; there is exactly one such place.
        assert!(parse(&good[..cut]).is_none_or(|part| part.extensions.is_empty()), "{cut}");
    }
    assert!(parse(&[&good[..], &[0]].concat()).is_none());
    assert_eq!(hello(b"GET / HTTP/1.1\r\n"), Hello::Other);
    assert_eq!(hello(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), Hello::Other);
    assert_eq!(hello(&[22, 3, 1, 0, 0]), Hello::Other);
    assert_eq!(hello(&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff]), Hello::Other);
    assert_eq!(hello(&stream(&good, 4)), Hello::Other, "more records than the bound");
}

proptest! {
    #[test]
    fn records_of_any_size_and_any_split_give_the_same(size in 24_usize..600, cut in 0_usize..700) {
        let whole = stream(&body(Some(b"h2"), true), size);
        let seen = hello(whole.get(..cut).unwrap_or(&whole));
        if cut < whole.len() {
            prop_assert_eq!(seen, Hello::More);
        } else {
            prop_assert_eq!(seen, Hello::Whole(body(Some(b"h2"), true)));
        }
    }

    #[test]
    fn one_changed_byte_never_panics(at in 0_usize..700, value in any::<u8>()) {
        let mut bytes = sample();
        let n = bytes.len();
        bytes[at % n] = value;
        let _ = of_stream(&bytes);
    }
}
