//! RFC 9110 and 9112 clause by clause, over raw sockets: what a clause allows passes byte for byte both ways
//! and is one record; what it forbids is tested in `http1_clauses_refused`, sequences in
//! `http1_clauses_sequences`.

use crate::support::{Client, Rig, server};
use countersign_event::{Event, StatusSpace};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// One exchange on a connection of its own.
struct Case {
    clause: &'static str,
    request: &'static str,
    answer: &'static str,
    /// Status in the record.
    status: &'static str,
    /// Content bytes of the request and of the answer in the record.
    content: (Option<u64>, Option<u64>),
    /// The server closes behind its answer.
    closes: bool,
}

const fn case(
    clause: &'static str,
    request: &'static str,
    answer: &'static str,
    status: &'static str,
    content: (Option<u64>, Option<u64>),
) -> Case {
    Case { clause, request, answer, status, content, closes: false }
}

const fn closing(case: Case) -> Case {
    Case { closes: true, ..case }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// RFC 9112, in its order.
const RFC9112: &[Case] = &[
    case("2.3 HTTP/1.0 needs no Host", "GET /a HTTP/1.0\r\n\r\n", OK, "200", (None, Some(2))),
    closing(case(
        "2.3 an HTTP/1.0 answer",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nold",
        "200",
        (None, Some(3)),
    )),
    case("3.1 any method token", "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", OK, "200", (None, Some(2))),
    case(
        "3.1 methods are case-sensitive and not mended",
        "get / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n",
        "405",
        (None, Some(0)),
    ),
    case("3.2 an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", OK, "200", (None, Some(2))),
    case(
        "3.2 a Host with a literal address and a port",
        "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n",
        OK,
        "200",
        (None, Some(2)),
    ),
    case(
        "3.2.1 origin form with a query",
        "GET /where?q=now&x HTTP/1.1\r\nHost: a\r\n\r\n",
        OK,
        "200",
        (None, Some(2)),
    ),
    case(
        "3.2.2 absolute form",
        "GET http://A.example:80/x HTTP/1.1\r\nHost: a.example:80\r\n\r\n",
        OK,
        "200",
        (None, Some(2)),
    ),
    case("3.2.4 asterisk form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", EMPTY, "200", (None, Some(0))),
    case(
        "4 a status line without a reason",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
        "200",
        (None, Some(0)),
    ),
    case(
        "4 a status line without the space before a reason",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        "200",
        (None, Some(0)),
    ),
    case(
        "5 order, case and duplicates of fields",
        "GET / HTTP/1.1\r\nz: 1\r\nHOST: a\r\nZ: 2\r\nA: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nSET-COOKIE: b=2\r\ncontent-LENGTH: 0\r\n\r\n",
        "200",
        (None, Some(0)),
    ),
    case(
        "5.1 white space around a value, and no value",
        "GET / HTTP/1.1\r\nHost:  a\t\r\nX: \t v \t \r\nY:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA:\t1 \r\nB:\r\nContent-Length:0\r\n\r\n",
        "200",
        (None, Some(0)),
    ),
    case(
        "6.2 Content-Length of 0",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        EMPTY,
        "200",
        (None, Some(0)),
    ),
    case(
        "6.2 Content-Length with leading zeros",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\nabc",
        OK,
        "200",
        (Some(3), Some(2)),
    ),
    case(
        "6.2 Content-Length on a GET",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
        OK,
        "200",
        (Some(4), Some(2)),
    ),
    case(
        "6.3 a request without a length has no body",
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        OK,
        "200",
        (None, Some(2)),
    ),
    case(
        "6.3 (1) HEAD, whatever the length says",
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        "200",
        (None, Some(0)),
    ),
    case(
        "6.3 (1) HEAD, whatever the coding says",
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "200",
        (None, Some(0)),
    ),
    case(
        "6.3 (1) 204",
        "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "204",
        (None, Some(0)),
    ),
    case(
        "6.3 (1) 304 with a length",
        "GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n",
        "304",
        (None, Some(0)),
    ),
    closing(case(
        "6.3 (8) an answer without a length ends with the connection",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end",
        "200",
        (None, Some(13)),
    )),
    case(
        "7.1 chunks in capitals, with zeros, with a length of their own each",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0a\r\n0123456789\r\n1\r\nx\r\n00\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "200",
        (Some(21), Some(2)),
    ),
    case(
        "7.1 no content in chunks",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "200",
        (None, Some(0)),
    ),
    case(
        "7.1.1 chunk extensions, quoted ones too",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a;b=c;d=\"e; f\"\r\nabc\r\n0;last\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;sig=\"x\\\"y\"\r\nok\r\n0;e=1\r\n\r\n",
        "200",
        (Some(3), Some(2)),
    ),
    case(
        "7.1.2 trailers both ways",
        "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nx-empty:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTrailer: Server-Timing\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nServer-Timing: db;dur=5\r\n\r\n",
        "200",
        (Some(1), Some(2)),
    ),
    case(
        "9.3 HTTP/1.0 with keep-alive",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        "200",
        (None, Some(2)),
    ),
    closing(case(
        "9.6 close asked for by the client",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "200",
        (None, Some(2)),
    )),
    closing(case(
        "9.6 close announced by the server alone",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: Close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "200",
        (None, Some(2)),
    )),
];

/// RFC 9110, in its order.
const RFC9110: &[Case] = &[
    case(
        "5.5 obs-text in a value",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Name: caf\u{e9}\r\n\r\n",
        OK,
        "200",
        (None, Some(2)),
    ),
    case(
        "6.4.1 content that the type does not describe",
        "PUT /f HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n\0\u{1}x",
        OK,
        "200",
        (Some(3), Some(2)),
    ),
    case(
        "7.6.1 connection options other than close",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\n",
        OK,
        "200",
        (None, Some(2)),
    ),
    case(
        "7.6.2 Max-Forwards",
        "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
        EMPTY,
        "200",
        (None, Some(0)),
    ),
    case(
        "9.3.3 POST that creates",
        "POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 201 Created\r\nLocation: /c/1\r\nContent-Length: 0\r\n\r\n",
        "201",
        (Some(1), Some(0)),
    ),
    case(
        "9.3.5 DELETE with content",
        "DELETE /c/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        "202",
        (Some(2), Some(0)),
    ),
    case(
        "9.3.8 TRACE without content",
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: 2\r\n\r\nok",
        "200",
        (None, Some(2)),
    ),
    case(
        "10.1.1 Expect without a body",
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        OK,
        "200",
        (None, Some(2)),
    ),
    case(
        "10.1.1 Expect whose body was not waited with",
        "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "200",
        (Some(2), Some(2)),
    ),
    case(
        "10.1.1 an expectation that nobody knows",
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n",
        "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n",
        "417",
        (None, Some(0)),
    ),
    case(
        "14.2 a range",
        "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nab",
        "206",
        (None, Some(2)),
    ),
    case(
        "15.2 interim answers of any number",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\nHTTP/1.1 199 What\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "200",
        (None, Some(2)),
    ),
    case(
        "15 a status that has no name",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n",
        "599",
        (None, Some(0)),
    ),
    case(
        "15.3.6 reset content",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        "205",
        (None, Some(0)),
    ),
    case(
        "15.5.20 misdirected",
        "GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n",
        "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n",
        "421",
        (None, Some(0)),
    ),
];

#[test]
fn what_rfc_9112_allows_passes_byte_for_byte() {
    pass(RFC9112);
}

#[test]
fn what_rfc_9110_allows_passes_byte_for_byte() {
    pass(RFC9110);
}

#[test]
fn it_passes_however_the_bytes_are_split() {
    let (upstream, scripts) = scripted();
    let rig = Rig::new(upstream);
    for (n, case) in RFC9112.iter().chain(RFC9110).enumerate() {
        let seen = script(&scripts, case);
        let mut client = rig.client();
        for byte in case.request.as_bytes().chunks(1 + n % 5) {
            client.send(byte);
        }
        check(case, &mut client, &seen);
        drop(client);
        rig.memory.wait(n + 1);
    }
}

fn pass(cases: &[Case]) {
    let (upstream, scripts) = scripted();
    let rig = Rig::new(upstream);
    for (n, case) in cases.iter().enumerate() {
        let seen = script(&scripts, case);
        let mut client = rig.client();
        client.send(case.request);
        check(case, &mut client, &seen);
        drop(client);
        record(case, &rig.memory.wait(n + 1)[n]);
    }
}

fn check(case: &Case, client: &mut Client, seen: &Mutex<Vec<u8>>) {
    let got = if case.closes { client.rest() } else { client.read(case.answer.len()) };
    assert_eq!(String::from_utf8_lossy(&got), case.answer, "{}", case.clause);
    let seen = seen.lock().unwrap();
    assert_eq!(String::from_utf8_lossy(&seen), case.request, "{}", case.clause);
}

fn record(case: &Case, event: &Event) {
    let size = |p: &Option<countersign_event::Payload>| p.as_ref().and_then(|p| p.size);
    assert_eq!((size(&event.body.req), size(&event.body.rsp)), case.content, "{}", case.clause);
    let status = (StatusSpace::Http, case.status.to_owned());
    assert_eq!(event.core.status.as_ref(), Some(&status), "{}", case.clause);
    assert!(event.core.outcome.is_some(), "{}", case.clause);
}

struct Script {
    expect: usize,
    answer: &'static [u8],
    closes: bool,
    seen: Arc<Mutex<Vec<u8>>>,
}

type Scripts = Arc<Mutex<VecDeque<Script>>>;

/// A server whose next connection follows the next script: reads that many bytes, answers, closes or reads on.
fn scripted() -> (SocketAddr, Scripts) {
    let scripts = Scripts::default();
    let queue = Arc::clone(&scripts);
    let address = server(move |mut s| {
        let Some(script) = queue.lock().unwrap().pop_front() else { return };
        let mut buf = vec![0; script.expect];
        s.read_exact(&mut buf).unwrap();
        script.seen.lock().unwrap().extend(&buf);
        s.write_all(script.answer).unwrap();
        if !script.closes {
            let mut more = Vec::new();
            let _ = s.read_to_end(&mut more);
            script.seen.lock().unwrap().extend(more);
        }
    });
    (address, scripts)
}

fn script(scripts: &Scripts, case: &Case) -> Arc<Mutex<Vec<u8>>> {
    let seen = Arc::default();
    scripts.lock().unwrap().push_back(Script {
        expect: case.request.len(),
        answer: case.answer.as_bytes(),
        closes: case.closes,
        seen: Arc::clone(&seen),
    });
    seen
}
