//! Boundaries of sound messages: any split gives the same messages, every byte passes as it came.

use crate::support::{Outcome, Way, requests, responses, run};
use countersign_wire::http1::{Eof, Framer, PIPELINE_MAX, PieceKind, Rule};
use proptest::prelude::*;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();

#[test]
fn pipelined_requests_are_told_apart_and_bounded() {
    let outcome = requests(&GET.repeat(PIPELINE_MAX + 1));
    assert_eq!(outcome.messages.len(), PIPELINE_MAX);
    assert_eq!(outcome.held, GET.len());
    assert!(outcome.messages.iter().all(|m| m.ended && m.head == GET));
}

#[test]
fn chunks_extensions_and_trailers_pass_byte_for_byte() {
    let stream = b"POST / HTTP/1.1\r\nhOsT:a\r\nTRANSFER-ENCODING: Chunked\r\n\r\n5;a=\"b;c\"\r\nhello\r\n01\r\n!\r\n000\r\nX-Sum: 1\r\nY:\r\n\r\n";
    let outcome = requests(stream);
    assert_eq!(outcome.refused, None);
    assert_eq!(outcome.passed, stream);
    assert_eq!(outcome.messages[0].data, b"hello!");
    assert!(outcome.messages[0].ended);
}

#[test]
fn responses_without_a_body_are_known_by_method_and_status() {
    let head = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let (framer, outcome) = responses(head, response.as_bytes());
        assert!(outcome.messages[0].ended, "{response:?}");
        assert_eq!(framer.open(), 0);
    }
    for response in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
        "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    ] {
        assert!(responses(GET, response.as_bytes()).1.messages[0].ended, "{response:?}");
    }
}

#[test]
fn interim_responses_do_not_answer() {
    let stream = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (framer, outcome) = responses(GET, stream);
    assert_eq!(framer.open(), 0);
    assert_eq!(outcome.passed, stream);
    let last = outcome.messages.last().unwrap();
    assert_eq!((last.data.as_slice(), last.ended), (&b"ok"[..], true));
}

#[test]
fn a_body_until_close_ends_with_the_stream() {
    let (mut framer, outcome) = responses(GET, b"HTTP/1.1 200 OK\r\n\r\nanything");
    assert!(!outcome.messages[0].ended);
    assert_eq!(framer.response_eof(false), Eof::EndsBody);
    assert_eq!(framer.open(), 0);
    let (mut framer, _) = responses(GET, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    assert_eq!(framer.response_eof(false), Eof::Truncated(Rule::TruncatedBody));
}

#[test]
fn bytes_after_an_upgrade_are_held_until_the_server_switched() {
    let ask = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut framer = Framer::default();
    let sent = run(&mut framer, Way::Request, &[ask, &b"\x81\x05hello"[..]].concat(), &[]);
    assert_eq!((sent.held, sent.refused), (7, None));
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02ok";
    let got = run(&mut framer, Way::Response, answer, &[]);
    assert!(framer.is_tunnel());
    assert_eq!(got.passed, answer);
    assert_eq!(framer.request(b"\x81\x05hello").unwrap().kind, PieceKind::Tunnel);

    // Refused upgrade: the held bytes are the next request.
    let mut framer = Framer::default();
    let sent = run(&mut framer, Way::Request, &[&ask[..], GET].concat(), &[]);
    assert_eq!(sent.held, GET.len());
    run(&mut framer, Way::Response, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &[]);
    assert_eq!(framer.request(GET).unwrap().kind, PieceKind::Head);
}

#[test]
fn connect_becomes_a_tunnel_only_when_the_server_agrees() {
    let ask = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    let (framer, _) = responses(ask, b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(framer.is_tunnel());
    let (framer, outcome) = responses(ask, b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    assert!(!framer.is_tunnel() && outcome.messages[0].ended);
}

#[test]
fn an_end_of_stream_inside_a_message_is_told() {
    let mut framer = Framer::default();
    assert_eq!(framer.request_eof(false), Eof::Clean);
    run(&mut framer, Way::Request, b"GET / HT", &[]);
    assert_eq!(framer.request_eof(true), Eof::Truncated(Rule::TruncatedHead));
    let mut framer = Framer::default();
    run(&mut framer, Way::Request, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf", &[]);
    assert_eq!(framer.request_eof(false), Eof::Truncated(Rule::TruncatedBody));
}

#[test]
fn http_1_0_and_absolute_form_pass() {
    assert_eq!(requests(b"GET / HTTP/1.0\r\n\r\n").messages.len(), 1);
    assert_eq!(
        requests(b"GET http://u:p@A.example:80/x HTTP/1.1\r\nHost: a.EXAMPLE:80\r\n\r\n").refused,
        None
    );
    assert_eq!(requests(b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n").refused, None);
    assert_eq!(requests(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\r\n\r\n").refused, None);
}

/// A sound request of random shape.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let chunk = (1_usize..40, "(;[a-z]{1,5}(=[a-z]{1,5})?)?");
    let body = prop_oneof![
        Just(None),
        (0_usize..200).prop_map(|n| Some(Err(n))),
        proptest::collection::vec(chunk, 0..4).prop_map(|c| Some(Ok(c))),
    ];
    ("[A-Z]{1,7}", "/[a-z0-9/?=]{0,30}", body).prop_map(|(method, path, body)| {
        let method = if method == "CONNECT" { "GET".to_owned() } else { method };
        let mut out = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n").into_bytes();
        match body {
            None => out.extend_from_slice(b"\r\n"),
            Some(Err(n)) => {
                out.extend_from_slice(format!("Content-Length: {n}\r\n\r\n").as_bytes());
                out.extend(std::iter::repeat_n(b'\n', n));
            }
            Some(Ok(chunks)) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for (size, extension) in chunks {
                    out.extend_from_slice(format!("{size:x}{extension}\r\n").as_bytes());
                    out.extend(std::iter::repeat_n(b'\r', size));
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"0\r\nT: v\r\n\r\n");
            }
        }
        out
    })
}

/// Joins neighbouring pieces so that only messages are compared.
fn shape(outcome: Outcome) -> Outcome {
    Outcome { held: 0, ..outcome }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_messages(
        list in proptest::collection::vec(request(), 1..6),
        cuts in proptest::collection::vec(0_usize..2000, 0..40),
    ) {
        let stream = list.concat();
        let whole = requests(&stream);
        prop_assert_eq!(whole.refused, None);
        prop_assert_eq!(whole.messages.len(), list.len());
        prop_assert!(whole.messages.iter().all(|m| m.ended));
        prop_assert_eq!(&whole.passed, &stream);
        let split = run(&mut Framer::default(), Way::Request, &stream, &cuts);
        prop_assert_eq!(shape(split), shape(whole));
    }

    #[test]
    fn any_bytes_give_the_same_result_however_they_are_split(
        start in prop_oneof![Just(&b""[..]), Just(GET), Just(&b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"[..])],
        noise in proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b' '), Just(b':'), Just(b'G'), any::<u8>()], 0..80),
        cuts in proptest::collection::vec(0_usize..200, 0..20),
    ) {
        let stream = [start, &noise[..]].concat();
        let whole = requests(&stream);
        let split = run(&mut Framer::default(), Way::Request, &stream, &cuts);
        prop_assert_eq!(split.refused, whole.refused);
        prop_assert_eq!(split.messages, whole.messages);
    }
}

#[test]
fn a_head_fed_byte_by_byte_takes_linear_time() {
    // 60 KiB, one byte at a time: a quadratic scan would look at 1.8 billion bytes, a linear one at 60 thousand.
    let stream = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(60_000));
    let every: Vec<usize> = (0..stream.len()).collect();
    let outcome = run(&mut Framer::default(), Way::Request, stream.as_bytes(), &every);
    assert_eq!((outcome.refused, outcome.messages.len()), (None, 1));
}
