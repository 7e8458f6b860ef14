//! JSON-RPC, server-sent events and WebSocket: what is read, what is flagged, what breaks.

use countersign_wire::jsonrpc::{self, Fault, Flags, Id, Kind, Message, Reader};
use countersign_wire::{fuzz, mcp};
use proptest::prelude::*;

fn one(json: &str) -> Message {
    let (mut messages, end) = jsonrpc::read(json.as_bytes());
    assert_eq!((messages.len(), end), (1, Ok(())), "{json}");
    messages.remove(0)
}

const CALL: &str = r#" {"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"add","arguments":{"a": 1,"b":[2,{"c":null}]},"_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","progressToken":"p"}}} "#;

#[test]
fn reads_a_tool_call_and_hands_on_its_arguments() {
    let call = one(CALL);
    assert_eq!(call.kind(), Kind::Request);
    assert_eq!((call.id.clone(), call.method.as_deref()), (Some(Id::Number("7".into())), Some("tools/call")));
    assert_eq!(mcp::target(&call), Some(("tool", "add")));
    assert_eq!(call.argument_keys, ["a", "b"]);
    assert!(call.traceparent.as_deref().is_some_and(|t| t.starts_with("00-0af7")));
    assert_eq!(call.progress, Some(Id::Text("p".into())));
    assert_eq!((call.size, call.flags), (CALL.len() as u64 - 2, Flags::default()));
    let mut bytes = Vec::new();
    Reader::default().feed(CALL.as_bytes(), &mut |at, part| {
        assert_eq!(at, 0);
        bytes.extend_from_slice(part);
    });
    assert_eq!(bytes, br#"{"a": 1,"b":[2,{"c":null}]}"#);
}

#[test]
fn tells_requests_notifications_and_responses_apart() {
    for (json, kind) in [
        (r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#, Kind::Request),
        (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, Kind::Notification),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#, Kind::Response),
        (r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#, Kind::Response),
    ] {
        let message = one(json);
        assert_eq!((message.kind(), message.flags), (kind, Flags::default()), "{json}");
    }
    let error = one(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602}}"#);
    assert_eq!(error.error_code.as_deref(), Some("-32602"));
    assert_eq!(one(r#"{"jsonrpc":"2.0","id":1,"result":{"isError":false}}"#).is_error, Some(false));
    let hello = one(
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","clientInfo":{"name":"c","version":"1"}}}"#,
    );
    assert_eq!((hello.revision.as_deref(), hello.client.name.as_deref()), (Some("2025-06-18"), Some("c")));
    let discover = one(
        r#"{"jsonrpc":"2.0","id":0,"result":{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}}"#,
    );
    assert_eq!(discover.server.name.as_deref(), Some("s"));
}

#[test]
fn ids_are_kept_as_they_were_spelled() {
    for (token, id) in [
        ("1", Id::Number("1".into())),
        ("1.0", Id::Number("1.0".into())),
        ("-1e+3", Id::Number("-1e+3".into())),
        ("\"1\"", Id::Text("1".into())),
        ("\"\\u0041\\ud83d\\ude00\"", Id::Text("A😀".into())),
        ("null", Id::Null),
    ] {
        assert_eq!(one(&format!(r#"{{"jsonrpc":"2.0","id":{token},"method":"ping"}}"#)).id, Some(id));
    }
}

#[test]
fn what_two_readers_may_read_differently_is_flagged() {
    let long = "9".repeat(jsonrpc::NUMBER_MAX + 1);
    for (json, flag) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#.to_owned(), Flags::DUPLICATE),
        (r#"{"jsonrpc":"2.0","id":1,"\u006dethod":"ping","method":"x"}"#.into(), Flags::DUPLICATE),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","name":"b"}}"#.into(),
            Flags::DUPLICATE,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"a":1,"a":2}}}"#.into(),
            Flags::DUPLICATE,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","Method":"y"}"#.into(), Flags::CASE),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x\u0000y"}"#.into(), Flags::NUL),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","method\u0000":"y"}"#.into(), Flags::NUL),
        (r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#.into(), Flags::SURROGATE),
        (r#"{"jsonrpc":"2.0","id":1,"method":"\udc00\ud800"}"#.into(), Flags::SURROGATE),
        (format!(r#"{{"jsonrpc":"2.0","id":{long},"method":"x"}}"#), Flags::LONG),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}"#.into(), Flags::TYPE),
        (r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#.into(), Flags::TYPE),
        (r#"{"id":1,"method":"x"}"#.into(), Flags::VERSION),
        (r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#.into(), Flags::VERSION),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{}}"#.into(), Flags::SHAPE),
        (r#"{"jsonrpc":"2.0","id":1}"#.into(), Flags::SHAPE),
    ] {
        let message = one(&json);
        assert!(message.flags.has(flag), "{json}: {:?}", message.flags);
        assert_eq!(message.flags.ambiguous(), flag != Flags::VERSION);
    }
    // Values are free to hold such things.
    let free =
        one(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"a":"\u0000\ud800","A":1}}}"#);
    assert!(free.flags.is_clear());
}

#[test]
fn what_is_not_json_rpc_has_a_name_and_complete_messages_before_it_stand() {
    let ok = r#"{"jsonrpc":"2.0","method":"ping"}"#;
    let deep = format!("{}{}", "{\"a\":".repeat(65), "}".repeat(65));
    let many = format!("[{}]", vec![ok; 65].join(","));
    for (bytes, messages, fault) in [
        (&b""[..], 0, Fault::Empty),
        (b" \n", 0, Fault::Empty),
        (b"1", 0, Fault::NotAMessage),
        (b"\xef\xbb\xbf{}", 0, Fault::NotAMessage),
        (b"[1]", 0, Fault::NotAMessage),
        (b"[[]]", 0, Fault::NotAMessage),
        (b"{\"a\":01}", 0, Fault::Syntax),
        (b"{\"a\":.5}", 0, Fault::Syntax),
        (b"{\"a\":1,}", 0, Fault::Syntax),
        (b"{'a':1}", 0, Fault::Syntax),
        (b"{\"a\":NaN}", 0, Fault::Syntax),
        (b"{\"a\":\"\\x\"}", 0, Fault::Syntax),
        (b"{\"a\":\"\n\"}", 0, Fault::Control),
        (b"{\"a\":\"\0\"}", 0, Fault::Control),
        (b"{\"a\":\"\xff\"}", 0, Fault::Utf8),
        (b"{\"a\":\"\xed\xa0\x80\"}", 0, Fault::Utf8),
        (b"{\"a\":\"x", 0, Fault::Truncated),
        (deep.as_bytes(), 0, Fault::Depth),
        (many.as_bytes(), 64, Fault::Batch),
        (format!("{ok}{ok}").as_bytes(), 1, Fault::Trailing),
        (format!("[{ok},{{").as_bytes(), 1, Fault::Truncated),
    ] {
        let (found, end) = jsonrpc::read(bytes);
        assert_eq!((found.len(), end), (messages, Err(fault)), "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(jsonrpc::read(b"[]"), (vec![], Ok(())));
    assert_eq!(jsonrpc::read(format!("[{}]", vec![ok; 64].join(", ")).as_bytes()).0.len(), 64);
}

#[test]
fn arguments_that_do_not_begin_hand_on_nothing() {
    let mut handed = 0;
    let mut reader = Reader::default();
    reader.feed(br#"{"method":"x","params":{"arguments":}}"#, &mut |_, b| handed += b.len());
    assert_eq!((reader.finish(), handed), (Err(Fault::Syntax), 0));
}

#[test]
fn a_huge_message_is_read_in_flat_memory() {
    let mut reader = Reader::default();
    let mut handed = 0;
    reader.feed(
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"x":""#,
        &mut |_, b| {
            handed += b.len();
        },
    );
    let block = [b'z'; 1 << 16];
    for _ in 0..256 {
        reader.feed(&block, &mut |_, b| handed += b.len());
    }
    reader.feed(br#""},"name":"late"}}"#, &mut |_, b| handed += b.len());
    assert_eq!(reader.finish(), Ok(()));
    let call = reader.take().remove(0);
    assert_eq!((call.name.as_deref(), call.argument_keys), (Some("late"), vec!["x".to_owned()]));
    assert_eq!(handed, (256 << 16) + r#"{"x":""}"#.len());
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        CALL,
        r#"[{"jsonrpc":"2.0","id":"é","method":"ping"},{"jsonrpc":"2.0","id":1.5e3,"result":{"isError":true,"content":[{"type":"text","text":"\u00e9\ud83d\ude00"}]}}]"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"x"}}"#,
        "event: message\r\nid: 1\ndata: {\"a\":\rdata: 1}\n\n: c\n\nretry: 5\ndata\n\n",
    ]
    .iter()
    .map(|s| s.as_bytes().to_vec())
    .collect();
    seeds.push(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x88\x82\x00\x00\x00\x00\x03\xe8".to_vec());
    seeds.push(
        [&b"\x01\x03Hel\x89\x00\x80\x02lo\x82\x7e\x01\x00"[..], &[7; 256], b"\x88\x02\x03\xe8"].concat(),
    );
    seeds
}

fn all(data: &[u8]) {
    fuzz::jsonrpc(data);
    fuzz::sse(data);
    fuzz::websocket(data);
}

proptest! {
    #[test]
    fn any_split_of_mutated_seeds_gives_the_same_messages(
        seed in 0_usize..6, lead in proptest::collection::vec(any::<u8>(), 2),
        flips in proptest::collection::vec((0_usize..4000, any::<u8>()), 0..4)
    ) {
        let mut bytes = seeds()[seed].clone();
        for (at, value) in flips {
            let n = bytes.len();
            bytes[at % n] = value;
        }
        all(&[&lead[..1], &bytes].concat());
        fuzz::websocket(&[&lead[..], &bytes].concat());
    }

    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        all(&bytes);
    }

    #[test]
    fn an_unambiguous_message_is_what_another_reader_reads(
        seed in 0_usize..3, flips in proptest::collection::vec((0_usize..4000, any::<u8>()), 0..3)
    ) {
        let mut bytes = seeds()[seed].clone();
        for (at, value) in flips {
            let n = bytes.len();
            bytes[at % n] = value;
        }
        let Ok(other) = serde_json::from_slice::<serde_json::Value>(&bytes) else { return Ok(()) };
        let (messages, end) = jsonrpc::read(&bytes);
        let allowed = [Ok(()), Err(Fault::NotAMessage)];
        prop_assert!(allowed.contains(&end), "{end:?} {}", String::from_utf8_lossy(&bytes));
        let others = match &other {
            serde_json::Value::Array(all) => all.clone(),
            one => vec![one.clone()],
        };
        for (ours, other) in messages.iter().zip(&others) {
            if !ours.flags.ambiguous() {
                prop_assert_eq!(ours.method.as_deref(), other["method"].as_str());
                prop_assert_eq!(ours.name.as_deref(), other["params"]["name"].as_str());
                prop_assert_eq!(ours.is_error, other["result"]["isError"].as_bool());
            }
        }
    }
}
