//! Every ambiguous form is refused by name, nothing of it is let through, and any split says the same.

use crate::support::{Way, requests, responses, run};
use countersign_wire::http1::{FIELDS_MAX, Framer, HEAD_MAX, Rule};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

/// (rule, bytes after which the request must be refused).
pub(crate) fn forms() -> Vec<(Rule, Vec<u8>)> {
    let post = |fields: &str| format!("{POST}{fields}\r\n\r\n").into_bytes();
    let get = |line: &str, fields: &str| format!("{line}\r\n{fields}\r\n").into_bytes();
    let chunked = |body: &str| format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}").into_bytes();
    let host = "Host: a\r\n";
    let many = "X: y\r\n".repeat(FIELDS_MAX);
    vec![
        (Rule::ClTe, post("Content-Length: 4\r\nTransfer-Encoding: chunked")),
        (Rule::ClTe, post("Transfer-Encoding: chunked\r\nContent-Length: 4")),
        (Rule::ClTe, post("Content-Length: 4\r\ntransfer-encoding: identity")),
        (Rule::ClDuplicate, post("Content-Length: 4\r\nContent-Length: 4")),
        (Rule::ClDuplicate, post("Content-Length: 4\r\ncontent-length: 5")),
        (Rule::ClList, post("Content-Length: 4, 4")),
        (Rule::ClList, post("Content-Length: 4,5")),
        (Rule::ClInvalid, post("Content-Length: +4")),
        (Rule::ClInvalid, post("Content-Length: -4")),
        (Rule::ClInvalid, post("Content-Length: 4 4")),
        (Rule::ClInvalid, post("Content-Length: 0x4")),
        (Rule::ClInvalid, post("Content-Length:")),
        (Rule::ClInvalid, post("Content-Length: 9223372036854775808")),
        (Rule::ClInvalid, post("Content-Length: 99999999999999999999")),
        (Rule::TeDuplicate, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
        (Rule::TeNotChunked, post("Transfer-Encoding: chunked, gzip")),
        (Rule::TeNotChunked, post("Transfer-Encoding: identity")),
        (Rule::TeNotChunked, post("Transfer-Encoding: xchunked")),
        (Rule::TeNotChunked, post("Transfer-Encoding: \"chunked\"")),
        (Rule::TeUnknown, post("Transfer-Encoding: gzip, chunked")),
        (Rule::TeUnknown, post("Transfer-Encoding: chunked, chunked")),
        (Rule::TeHttp10, get("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n")),
        (Rule::FramingAlias, post("Content_Length: 4")),
        (Rule::FramingAlias, post("transfer_encoding: chunked")),
        (Rule::FramingAlias, post("Transfer.Encoding: chunked")),
        (Rule::FramingAlias, post("Content~Length: 4")),
        (Rule::FramingSpace, post("Content-Length:\t4")),
        (Rule::FramingSpace, post("Content-Length: 4 ")),
        (Rule::FramingSpace, post("Transfer-Encoding:\tchunked")),
        (Rule::FramingSpace, post("Transfer-Encoding: chunked\t")),
        (Rule::BareLf, b"GET / HTTP/1.1\nHost: a\n\n".to_vec()),
        (Rule::BareLf, post("X: y\nZ: w")),
        (Rule::BareLf, b"GET / HTTP/1.1\r\nHost: a\r\n\n".to_vec()),
        (Rule::BareCr, post("X: y\rZ: w")),
        (Rule::BareCr, b"GET / HTTP/1.1\rHost: a\r\n\r\n".to_vec()),
        (Rule::EmptyLine, b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (Rule::ObsFold, post("X: y\r\n folded")),
        (Rule::ObsFold, post("X: y\r\n\tTransfer-Encoding: chunked")),
        (Rule::SpaceBeforeColon, post("Content-Length : 4")),
        (Rule::SpaceBeforeColon, post("Transfer-Encoding\t: chunked")),
        (Rule::FieldName, post("no colon here")),
        (Rule::FieldName, post(": empty")),
        (Rule::FieldName, post("b@d: x")),
        (Rule::Nul, post("X: a\0b")),
        (Rule::Nul, post("X\0: b")),
        (Rule::FieldValue, post("X: a\x01b")),
        (Rule::FieldValue, post("Transfer-Encoding: \x0bchunked")),
        (Rule::RequestLine, get("GET  / HTTP/1.1", host)),
        (Rule::RequestLine, get("GET /", host)),
        (Rule::RequestLine, get("G@T / HTTP/1.1", host)),
        (Rule::TargetChars, get("GET /\u{e9} HTTP/1.1", host)),
        (Rule::TargetChars, get("GET /a#b HTTP/1.1", host)),
        (Rule::RequestLine, get("GET /a b HTTP/1.1", host)),
        (Rule::RequestLine, get("GET / http/1.1", host)),
        (Rule::RequestLine, get("GET / HTTP/1.10", host)),
        (Rule::Version, get("GET / HTTP/2.0", host)),
        (Rule::Version, get("GET / HTTP/1.2", host)),
        (Rule::HostMissing, get("GET / HTTP/1.1", "X: y\r\n")),
        (Rule::HostDuplicate, get("GET / HTTP/1.1", "Host: a\r\nhost: a\r\n")),
        (Rule::HostInvalid, get("GET / HTTP/1.1", "Host: a@b\r\n")),
        (Rule::HostInvalid, get("GET / HTTP/1.1", "Host: a, b\r\n")),
        (Rule::HostInvalid, get("GET / HTTP/1.1", "Host: a/b\r\n")),
        (Rule::AbsoluteFormMismatch, get("GET http://b/ HTTP/1.1", host)),
        (Rule::AbsoluteFormMismatch, get("GET http://a:80/ HTTP/1.1", host)),
        (Rule::TargetForm, get("GET a:80 HTTP/1.1", host)),
        (Rule::TargetForm, get("CONNECT / HTTP/1.1", host)),
        (Rule::TargetForm, get("CONNECT http://a/ HTTP/1.1", host)),
        (Rule::TargetForm, get("CONNECT a HTTP/1.1", host)),
        (Rule::TargetForm, get("CONNECT a:0 HTTP/1.1", "Host: a:0\r\n")),
        (Rule::TargetForm, get("GET * HTTP/1.1", host)),
        (Rule::HostInvalid, get("GET / HTTP/1.1", "Host: a:80:80\r\n")),
        (Rule::HostInvalid, get("GET / HTTP/1.1", "Host: a:b\r\n")),
        (Rule::HostInvalid, get("GET / HTTP/1.1", "Host: [::1\r\n")),
        (Rule::BodyNotAllowed, get("CONNECT a:1 HTTP/1.1", "Host: a:1\r\nContent-Length: 4\r\n")),
        (Rule::BodyNotAllowed, get("CONNECT a:1 HTTP/1.1", "Host: a:1\r\nTransfer-Encoding: chunked\r\n")),
        (Rule::BodyNotAllowed, get("TRACE / HTTP/1.1", "Host: a\r\nContent-Length: 4\r\n")),
        (Rule::TooManyFields, post(&format!("{many}A: b"))),
        (Rule::HeadTooLarge, post(&format!("X: {}", "y".repeat(HEAD_MAX)))),
        (Rule::HeadTooLarge, vec![b'A'; 1 << 20]),
        (Rule::ChunkSize, chunked("zz\r\n")),
        (Rule::ChunkSize, chunked("\r\n")),
        (Rule::ChunkSize, chunked("+5\r\nhello\r\n")),
        (Rule::ChunkSize, chunked("0x5\r\nhello\r\n")),
        (Rule::ChunkSize, chunked("5 \r\nhello\r\n")),
        (Rule::ChunkSize, chunked(" 5\r\nhello\r\n")),
        (Rule::ChunkSize, chunked("5\t;a\r\nhello\r\n")),
        (Rule::ChunkSize, chunked("5_0\r\nhello\r\n")),
        (Rule::BareLf, chunked("5;a\nhello\r\n")),
        (Rule::BareCr, chunked("5\r\r\nhello\r\n")),
        (Rule::ChunkEnd, chunked("5\r\nhelloXX0\r\n\r\n")),
        (Rule::ChunkEnd, chunked("5\r\nhello\r0\r\n\r\n")),
        (Rule::ChunkSize, chunked("-1\r\n")),
        (Rule::ChunkSize, chunked("5;a\0b\r\nhello\r\n")),
        (Rule::ChunkOverflow, chunked("8000000000000000\r\n")),
        (Rule::ChunkOverflow, chunked("00000000000000005\r\nhello\r\n")),
        (Rule::ChunkLine, chunked(&format!("5;{}\r\n", "x".repeat(5000)))),
        (Rule::ChunkEnd, chunked("5\r\nhello0\r\n\r\n")),
        (Rule::ChunkEnd, chunked("5\r\nhello\n0\r\n\r\n")),
        (Rule::BareLf, chunked("5\nhello\r\n")),
        (Rule::BareCr, chunked("5\rx\r\n")),
        (Rule::BareCr, chunked("5;a\rb\r\n")),
        (Rule::BareLf, chunked("0\r\nX: y\n\r\n")),
        (Rule::TrailerForbidden, chunked("0\r\nContent-Length: 5\r\n\r\n")),
        (Rule::TrailerForbidden, chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n")),
        (Rule::ObsFold, chunked("0\r\nX: y\r\n z\r\n\r\n")),
        (Rule::HeadTooLarge, chunked(&format!("0\r\nX: {}\r\n\r\n", "y".repeat(HEAD_MAX)))),
    ]
}

#[test]
fn every_ambiguous_request_is_refused_by_name() {
    for (rule, bytes) in forms() {
        let outcome = requests(&bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        assert_eq!(outcome.refused, Some(rule), "{shown:?}");
        let past_head = outcome.messages.first().is_some_and(|m| !m.head.is_empty());
        let in_body = shown.starts_with(&format!("{POST}Transfer-Encoding: chunked\r\n\r\n"));
        assert_eq!(past_head, in_body, "only a body's fault comes after its head: {shown:?}");
    }
}

#[test]
fn a_split_stream_is_refused_by_the_same_rule() {
    for (rule, bytes) in forms().into_iter().filter(|(_, b)| b.len() < 2000) {
        let every: Vec<usize> = (0..bytes.len()).collect();
        let outcome = run(&mut Framer::default(), Way::Request, &bytes, &every);
        assert_eq!(outcome.refused, Some(rule), "{:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn bytes_behind_a_request_that_was_the_last_are_refused() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for last in [
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let outcome = requests(format!("{get}{last}{get}").as_bytes());
        assert_eq!((outcome.refused, outcome.messages.len()), (Some(Rule::AfterLast), 2), "{last:?}");
        assert_eq!(requests(format!("{get}{last}").as_bytes()).refused, None);
    }
    let kept = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(requests(kept.repeat(3).as_bytes()).messages.len(), 3);
}

#[test]
fn a_refused_direction_stays_refused() {
    let mut framer = Framer::default();
    assert_eq!(framer.request(b"GET / HTTP/1.1\n"), Err(Rule::BareLf));
    assert_eq!(framer.request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Rule::BareLf));
}

#[test]
fn ambiguous_responses_are_refused_by_name() {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    let cases: [(&[u8], Rule, &str); 14] = [
        (get, Rule::ClTe, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (get, Rule::ClDuplicate, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        (get, Rule::TeHttp10, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (get, Rule::BareLf, "HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\n"),
        (get, Rule::ObsFold, "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n"),
        (get, Rule::SpaceBeforeColon, "HTTP/1.1 200 OK\r\nX : y\r\n\r\n"),
        (get, Rule::StatusLine, "HTTP/1.1 20 OK\r\n\r\n"),
        (get, Rule::StatusLine, "HTTP/1.1 099 OK\r\n\r\n"),
        (get, Rule::Version, "HTTP/3.0 200 OK\r\n\r\n"),
        (get, Rule::BodyNotAllowed, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        (get, Rule::BodyNotAllowed, "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (get, Rule::UnexpectedSwitch, "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        (upgrade, Rule::BodyNotAllowed, "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 3\r\n\r\n"),
        (b"", Rule::Unsolicited, "HTTP/1.1 408 Request Timeout\r\n\r\n"),
    ];
    for (request, rule, response) in cases {
        assert_eq!(responses(request, response.as_bytes()).1.refused, Some(rule), "{response:?}");
    }
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(101);
    assert_eq!(responses(get, interim.as_bytes()).1.refused, Some(Rule::TooManyInterim));
}
