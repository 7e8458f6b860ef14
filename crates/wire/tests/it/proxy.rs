//! PROXY protocol headers: good ones of both versions, and what must be refused.

use countersign_wire::proxy::{Proxied, ProxyError, Transport, V2_MAX_BYTES, parse};
use proptest::prelude::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u16).to_be_bytes();
    [SIGNATURE, &[version_command, family], &len, body].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &(value.len() as u16).to_be_bytes(), value].concat()
}

const IPV4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x1f, 0x90, 0x01, 0xbb];

/// A header with every extension that is read, and its right checksum.
pub(crate) fn full() -> Vec<u8> {
    let inner =
        [tlv(0x21, b"TLSv1.3"), tlv(0x22, b"billing"), tlv(0x23, b"ECDHE"), tlv(0x25, b"RSA2048")].concat();
    let ssl = [&[0x03, 0, 0, 0, 0][..], &inner].concat();
    let body = [
        &IPV4[..],
        &tlv(0x01, b"h2"),
        &tlv(0x02, b"orders.example"),
        &tlv(0x03, &[0x52, 0x4f, 0x20, 0xd4]),
        &tlv(0x05, b"abc-1"),
        &tlv(0x20, &ssl),
        &tlv(0xea, b"vpce"),
        &tlv(0x04, &[0; 5]),
    ]
    .concat();
    v2(0x21, 0x11, &body)
}

#[test]
fn version_1_gives_both_addresses_and_its_length() {
    let bytes = b"PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\r\nGET / HTTP/1.1\r\n";
    let Ok(Proxied::Header { header, len }) = parse(bytes) else { panic!() };
    assert_eq!(&bytes[len..len + 3], b"GET");
    assert_eq!((header.version, header.local, header.transport), (1, false, Transport::Stream));
    assert_eq!(header.source, Some("192.0.2.7:8080".parse().unwrap()));
    assert_eq!(header.destination, Some("198.51.100.1:443".parse().unwrap()));
    let Ok(Proxied::Header { header, .. }) = parse(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n") else {
        panic!()
    };
    assert_eq!(header.source, Some("[2001:db8::1]:1".parse().unwrap()));
    let Ok(Proxied::Header { header, .. }) = parse(b"PROXY UNKNOWN ffff:: whatever 1 2\r\n") else {
        panic!()
    };
    assert_eq!((header.local, header.source), (true, None));
}

#[test]
fn version_1_out_of_form_is_refused() {
    for (line, want) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 8080\r\n", ProxyError::Line),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 8080 443 1\r\n", ProxyError::Line),
        ("PROXY TCP4  192.0.2.7 198.51.100.1 8080 443\r\n", ProxyError::Line),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\n", ProxyError::Line),
        ("PROXY UDP4 192.0.2.7 198.51.100.1 8080 443\r\n", ProxyError::Line),
        ("PROXY TCP4 2001:db8::1 198.51.100.1 8080 443\r\n", ProxyError::Address),
        ("PROXY TCP6 192.0.2.7 198.51.100.1 8080 443\r\n", ProxyError::Address),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n", ProxyError::Address),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 +80 443\r\n", ProxyError::Address),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 080 443\r\n", ProxyError::Address),
        ("PROXY TCP4 192.0.2.07 198.51.100.1 80 443\r\n", ProxyError::Address),
    ] {
        assert_eq!(parse(line.as_bytes()), Err(want), "{line}");
    }
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    assert_eq!(parse(&endless), Err(ProxyError::Endless));
}

#[test]
fn version_2_gives_addresses_tls_and_ids() {
    let bytes = [full(), b"GET".to_vec()].concat();
    let (header, len) = match parse(&bytes) {
        Ok(Proxied::Header { header, len }) => (header, len),
        other => panic!("{other:?}"),
    };
    assert_eq!(&bytes[len..], b"GET");
    assert_eq!(header.source, Some("192.0.2.7:8080".parse().unwrap()));
    assert_eq!((header.alpn.as_deref(), header.authority.as_deref()), (Some("h2"), Some("orders.example")));
    assert_eq!((header.unique_id.as_deref(), header.others), (Some(&b"abc-1"[..]), 1));
    let tls = header.tls.unwrap();
    assert!(tls.secured && tls.certificate && tls.verified);
    assert_eq!((tls.common_name.as_deref(), tls.version.as_deref()), (Some("billing"), Some("TLSv1.3")));
}

#[test]
fn a_certificate_that_the_proxy_did_not_verify_is_not_called_verified() {
    for (client, verify, certificate, verified) in
        [(1, [0, 0, 0, 0], false, false), (3, [0, 0, 0, 1], true, false), (5, [0, 0, 0, 0], true, true)]
    {
        let ssl = [&[client][..], &verify].concat();
        let Ok(Proxied::Header { header, .. }) =
            parse(&v2(0x21, 0x11, &[&IPV4[..], &tlv(0x20, &ssl)].concat()))
        else {
            panic!()
        };
        let tls = header.tls.unwrap();
        assert_eq!((tls.certificate, tls.verified), (certificate, verified));
    }
}

#[test]
fn a_local_connection_keeps_the_sockets_own_addresses() {
    let Ok(Proxied::Header { header, len }) = parse(&v2(0x20, 0x11, &IPV4)) else { panic!() };
    assert_eq!((header.local, header.source, len), (true, None, 28));
    let Ok(Proxied::Header { header, .. }) = parse(&v2(0x21, 0x31, &[b'/'; 216])) else { panic!() };
    assert_eq!((header.transport, header.source), (Transport::Unix, None));
}

#[test]
fn version_2_out_of_form_is_refused() {
    let many: Vec<u8> = (0..65).flat_map(|_| tlv(0xee, b"")).collect();
    for (bytes, want) in [
        (v2(0x11, 0x11, &IPV4), ProxyError::Version),
        (v2(0x22, 0x11, &IPV4), ProxyError::Command),
        (v2(0x21, 0x41, &IPV4), ProxyError::Family),
        (v2(0x21, 0x13, &IPV4), ProxyError::Family),
        (v2(0x21, 0x21, &IPV4), ProxyError::Short),
        (v2(0x21, 0x11, &[0; V2_MAX_BYTES]), ProxyError::Long),
        (v2(0x21, 0x11, &[&IPV4[..], &[1, 0, 9, 1]].concat()), ProxyError::Tlv),
        (v2(0x21, 0x11, &[&IPV4[..], &[1, 0]].concat()), ProxyError::Tlv),
        (v2(0x21, 0x11, &[&IPV4[..], &many].concat()), ProxyError::Tlv),
        (v2(0x21, 0x11, &[&IPV4[..], &tlv(0x20, b"1")].concat()), ProxyError::Tlv),
        (v2(0x21, 0x11, &[&IPV4[..], &tlv(0x03, &[1, 2, 3, 4])].concat()), ProxyError::Checksum),
        (v2(0x21, 0x11, &[&IPV4[..], &tlv(0x02, &[b'a'; 256])].concat()), ProxyError::Tlv),
    ] {
        assert_eq!(parse(&bytes), Err(want));
    }
}

#[test]
fn what_is_no_header_is_left_alone() {
    for bytes in [&b"GET / HTTP/1.1"[..], b"\x16\x03\x01", b"\r\n\r\nx", b"PROXYx", b"\0"] {
        assert_eq!(parse(bytes), Ok(Proxied::Absent));
    }
    assert_eq!(parse(b""), Ok(Proxied::More));
}

proptest! {
    #[test]
    fn a_header_is_the_same_however_it_arrives(cut in 0_usize..400, which in 0_u8..3) {
        let whole = match which {
            0 => full(),
            1 => b"PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\r\n".to_vec(),
            _ => v2(0x20, 0, b"anything"),
        };
        let bytes = [&whole[..], b"rest"].concat();
        let seen = parse(bytes.get(..cut).unwrap_or(&bytes)).unwrap();
        if cut < whole.len() {
            prop_assert_eq!(seen, Proxied::More);
        } else {
            prop_assert_eq!(seen, parse(&whole).unwrap());
        }
    }

    #[test]
    fn one_changed_byte_never_panics(at in 0_usize..400, value in any::<u8>()) {
        let mut bytes = full();
        let n = bytes.len();
        bytes[at % n] = value;
        let _ = parse(&bytes);
    }
}
