//! The published vectors A, B and C, byte for byte, and what must be rejected.

use countersign_event::cbor::{self, Value};
use countersign_event::*;
use sha2::{Digest, Sha256};
use std::net::IpAddr;

pub(crate) const TIME: u64 = 1_790_000_000_000_000_000;
const AGENT: &str = "spiffe://example.org/gw";

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// `salt_g` = 16 × byte (0xa0 + g).
pub(crate) fn salts() -> [Salt; GROUPS] {
    std::array::from_fn(|g| [0xa0 + g as u8; 16])
}

pub(crate) fn stream() -> [u8; 16] {
    std::array::from_fn(|i| 0x10 + i as u8)
}

fn base(agent: &str, seq: u64) -> Event {
    let core = Core {
        eid: eid(agent, &stream(), seq),
        agent: agent.into(),
        stream: stream(),
        seq,
        t_obs: TIME,
        ..Core::default()
    };
    Event { core, ..Event::default() }
}

fn endpoint(ip: [u8; 4], port: Option<u16>) -> Option<Endpoint> {
    Some(Endpoint { ip: Some(IpAddr::from(ip)), port, ..Endpoint::default() })
}

fn size(size: u64) -> Option<Payload> {
    Some(Payload { size: Some(size), ..Payload::default() })
}

/// A: http success by SVID.
pub(crate) fn a() -> Event {
    let mut event = base(AGENT, 7);
    event.core.t_event = Some(TIME as i64 - 1_500_000);
    event.core.t_basis = Some(TimeBasis::Measured);
    event.core.dur = Some(1_500_000);
    event.core.rec = Some(Rec::Interaction);
    event.core.kind = Some(Kind::Http);
    event.core.proto = "http/1.1".into();
    event.core.op = "GET".into();
    event.core.class = Some(Class::Read);
    event.core.outcome = Some(Outcome::Success);
    event.core.status = Some((StatusSpace::Http, "200".into()));
    event.who.who = Some(Principal {
        kind: Some(PrincipalKind::Workload),
        auth: Some(Auth::SpiffeSvid),
        cred: "x509:abababababababab".into(),
        ..Principal::new("spiffe://example.org/billing", Verified::Bound)
    });
    event.peer.src = endpoint([10, 0, 0, 5], Some(41822));
    event.peer.dst = endpoint([10, 0, 0, 9], Some(8443));
    event.peer.transport = Some(Transport::Tcp);
    event.target.svc = "orders".into();
    event.target.res = "/orders/{id}".into();
    event.target.id = "1234".into();
    event.links.trace = Some(unhex("0af7651916cd43dd8448eb211c80319c").try_into().unwrap());
    event.links.span = Some(unhex("b7ad6b7169203331").try_into().unwrap());
    event.links.tflags = Some(1);
    event.body.rsp = size(512);
    event.body.cap = Some(
        Capture { mode: Some(CaptureMode::Inline), conf: Some(CaptureConf::Full), ..Capture::default() }
            .into(),
    );
    event
}

/// C: a raw syslog record.
fn c() -> Event {
    let mut event = base("input:syslog-1", 1);
    event.core.t_basis = Some(TimeBasis::Missing);
    event.core.rec = Some(Rec::Raw);
    event.peer.src = endpoint([192, 0, 2, 7], None);
    event.peer.transport = Some(Transport::Udp);
    event.content.unmapped.insert("/x".into(), Unmapped::Token("1.50".into()));
    let raw = b"<13>1 not a time host app - - - hi";
    event.body.cap = Some(
        Capture {
            mode: Some(CaptureMode::Push),
            fmt: "syslog5424".into(),
            conf: Some(CaptureConf::RawOnly),
            level: Some(Verified::Claimed),
            ..Capture::default()
        }
        .into(),
    );
    event.body.raw =
        Some(RawBytes { length: Some(raw.len() as u64), bytes: raw.to_vec(), ..RawBytes::default() }.into());
    event
}

fn check(event: &Event, groups: [&str; GROUPS], c: &str, leaf: &str) -> Frame {
    let frame = event.encode().unwrap();
    for (g, want) in groups.iter().enumerate() {
        assert_eq!(hex(&frame.groups[g]), *want, "group {g}");
    }
    let commitment = commit::event_commitment(&salts(), &frame.groups.each());
    assert_eq!(hex(&commitment), c);
    let entry = Entry { kind: 1, source_ref: 1, source_seq: event.core.seq, time_ns: TIME, commitment };
    assert_eq!(hex(&entry.leaf()), leaf);
    assert_eq!(Entry::from_bytes(&entry.to_bytes()), Some(entry));
    assert_eq!(&Event::decode(&frame).unwrap(), event);
    let bytes = frame.to_bytes();
    assert_eq!(bytes.len(), frame.encoded_len());
    assert_eq!(Frame::from_bytes(&bytes).unwrap(), frame);
    frame
}

#[test]
fn vector_a_is_reproduced_byte_for_byte() {
    let groups = [
        "b00001015039a7cf97307106bd4d78dc098d79b05902777370696666653a2f2f6578616d706c652e6f72672f67770350101112131415161718191a1b1c1d1e1f0407051b18d75b8423f30000061b18d75b8423dc1ca00701091a0016e3600a010b010c68687474702f312e310d634745540e010f0110820163323030",
        "a100a500781c7370696666653a2f2f6578616d706c652e6f72672f62696c6c696e670102020203040575783530393a61626162616261626162616261626162",
        "a300a200440a0000050119a35e01a200440a000009011920fb0301",
        "a300666f7264657273016c2f6f72646572732f7b69647d046431323334",
        "a300500af7651916cd43dd8448eb211c80319c0148b7ad6b71692033310301",
        "a0",
        "a201a10019020002a200010301",
    ];
    let event = a();
    let frame = check(
        &event,
        groups,
        "7c6514ba9a192e2ec6ca39f98c50b4f799a80667e3aa01f5a890ae9562ddcc0c",
        "e391a4ae5ccfd9c90b4e1dbc492c2743b1416154ca5744d83579b9f91b0adb56",
    );
    let commitment =
        |g: u8| hex(&group_commitment(&salts()[usize::from(g)], g, &frame.groups[usize::from(g)]));
    assert_eq!(commitment(0), "a88b8f611b39539f863deb128e4d76a8e2860979e16f0ed65a5316ad8c494528");
    assert_eq!(commitment(5), "f2d46e8181e4ff166895053e610e9608e02fc94f9594e17ceeb709457041d5b7");
    let bytes = frame.to_bytes();
    assert_eq!(bytes.len(), 302);
    assert_eq!(
        hex(&Sha256::digest(&bytes)),
        "cddad86747cd636789749ef169f832c52df5ee3104fa6a0606e05c2192b6b480"
    );
}

#[test]
fn vector_b_the_smallest_event_is_reproduced() {
    let event = base(AGENT, 8);
    assert_eq!(hex(&event.core.eid), "ff81e7ff6b36ff8e0e270c0dbcfac831");
    let g0 = format!(
        "a600010150{}0277{}0350{}0408051b18d75b8423f30000",
        "ff81e7ff6b36ff8e0e270c0dbcfac831",
        hex(AGENT.as_bytes()),
        hex(&stream())
    );
    check(
        &event,
        [&g0, "a0", "a0", "a0", "a0", "a0", "a0"],
        "2f55ae902194c7d6dfbcfb885a26c71c6a9f0239461269e927449d83fa2cc9d7",
        "b4ecf5351887cdb0bb8b4dc76d9071f69d806f753490189cbb944afdd143ef68",
    );
}

#[test]
fn vector_c_a_raw_record_is_reproduced() {
    let groups = [
        "a8000101504d311f6115e1a5df560e273e36eb9262026e696e7075743a7379736c6f672d310350101112131415161718191a1b1c1d1e1f0401051b18d75b8423f3000007040a09",
        "a0",
        "a200a10044c00002070302",
        "a0",
        "a0",
        "a106a1622f7864312e3530",
        "a202a40004016a7379736c6f67353432340303080103a20118220358223c31333e31206e6f7420612074696d6520686f737420617070202d202d202d206869",
    ];
    check(
        &c(),
        groups,
        "929fd6fcee6c3f044c29ddae92ac7fe24b21c73d7a7fa1fb03652cdd8d3bac8f",
        "3b17ef4e29d794954263f10ecdcc6d962e1b9f70596dce28ff8f438039a4f8b3",
    );
}

#[test]
fn published_values_have_their_published_bytes() {
    let text = |text: &str| Value::from(text);
    let pairs = [
        (Value::Uint(23), "17"),
        (Value::Uint(24), "1818"),
        (Value::Uint(255), "18ff"),
        (Value::Uint(256), "190100"),
        (Value::Uint(65536), "1a00010000"),
        (Value::Uint(u64::MAX), "1bffffffffffffffff"),
        (Value::from(-1_i64), "20"),
        (Value::from(-25_i64), "3818"),
        (Value::from(i64::MIN), "3b7fffffffffffffff"),
        (text("ü"), "62c3bc"),
        (
            Value::Map([9, 10, 24, 256].map(|n| (Value::Uint(n), Value::Uint(1))).to_vec()),
            "a409010a0118180119010001",
        ),
    ];
    for (value, want) in pairs {
        assert_eq!(hex(&cbor::encode(&value).unwrap()), want);
        assert_eq!(cbor::decode(&unhex(want)).unwrap(), value);
    }
    let unsorted = Value::Map(vec![(text("aa"), text("2")), (text("b"), text("1")), (text("a"), text("3"))]);
    assert_eq!(hex(&cbor::encode(&unsorted).unwrap()), "a361616133616261316261616132");
}

#[test]
fn bytes_that_must_be_rejected_are_rejected_by_rule() {
    let cases = [
        ("1800", "not the shortest form"),
        ("a201000000", "keys do not ascend"),
        ("a200010002", "duplicate key"),
        ("bf0001ff", "indefinite length"),
        ("f6", "null"),
        ("f93c00", "floating-point number"),
        ("c000", "tag"),
        ("61ff", "text is not valid UTF-8"),
        ("a1000000", "bytes after the end"),
    ];
    for (bytes, rule) in cases {
        assert_eq!(cbor::decode(&unhex(bytes)).unwrap_err().rule, rule, "{bytes}");
    }
    let mut event = Event::default();
    let verified_0 = codec::decode_group(1, &unhex("a100a10300"), &mut event).unwrap_err();
    assert_eq!((verified_0.place, verified_0.offset), ("who", 4), "{verified_0}");
    let b = base(AGENT, 8).encode().unwrap();
    let mut g0 = b.groups[0].to_vec();
    g0[0] += 1;
    g0.extend([0x14, 0x01]);
    let n_1 = codec::decode_group(0, &g0, &mut event).unwrap_err();
    assert_eq!((n_1.offset, n_1.rule.as_str()), (g0.len() - 1, "the default 1 is never written"));
}

#[test]
fn an_import_takes_its_event_id_from_its_own_id() {
    let mut message = b"countersign/eid/1".to_vec();
    message.extend([0, 7]);
    message.extend(b"input:x");
    message.extend(Sha256::digest(b"4f2a"));
    assert_eq!(import_eid("input:x", b"4f2a"), Sha256::digest(message)[..16]);
    assert_ne!(import_eid("input:x", b"4f2a"), import_eid("input:y", b"4f2a"));
}

#[test]
fn entries_keep_unknown_kinds_and_refuse_kind_0() {
    let entry = Entry { kind: 0x7f, source_ref: 2, source_seq: 3, time_ns: 4, commitment: [5; 32] };
    let mut bytes = entry.to_bytes();
    assert_eq!(bytes[..21], unhex("7f0000000200000000000000030000000000000004"));
    assert_eq!(Entry::from_bytes(&bytes), Some(entry));
    bytes[0] = 0;
    assert_eq!(Entry::from_bytes(&bytes), None);
    assert_eq!(EntryKind::from_byte(0x7f), None);
    for kind in EntryKind::ALL {
        assert_eq!(EntryKind::from_byte(kind as u8), Some(kind));
    }
    assert_eq!(hex(&commit::body_commitment(b"x")), hex(&Sha256::digest(b"\x04x")));
}

#[test]
fn words_and_numbers_of_enums_lead_back_to_their_value() {
    for kind in Kind::ALL {
        assert_eq!((Kind::from_word(kind.word()), Kind::from_code(kind.code())), (Some(*kind), Some(*kind)));
    }
    assert_eq!(Kind::from_code(0), None);
    assert_eq!(Kind::from_code(99), Some(Kind::Other(99)));
    assert_eq!((Kind::Other(99).word(), Kind::from_word("other")), ("other", None));
    let mut last = ("", 0, "");
    for (name, code, word) in fields::enums() {
        assert_eq!(code, if name == last.0 { last.1 + 1 } else { 1 }, "{name} {word}");
        last = (name, code, word);
    }
}
