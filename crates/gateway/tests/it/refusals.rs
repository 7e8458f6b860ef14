//! Ambiguous and oversized messages are answered, recorded by rule, and never reach the server.

use crate::support::{Client, Rig, get, http, ok, response, server};
use countersign_event::{Decision, Mode, Outcome, Rec, Verdict};
use countersign_identity::IdentityConfig;
use countersign_policy::{Policy, Request};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

const POST: &str = "POST /r HTTP/1.1\r\nHost: a\r\n";

/// (rule, status, bytes): every form in which one reader may see another request than the next reader does.
/// What comes behind the point of doubt is a request that must never be seen.
pub(crate) fn forms() -> Vec<(&'static str, &'static str, String)> {
    let post = |fields: &str| format!("{POST}{fields}\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    let chunked = |body: &str| {
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    };
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    vec![
        // CL.TE and TE.CL: both lengths, in either order, hidden or not.
        ("cl-te", "400", post("Content-Length: 4\r\nTransfer-Encoding: chunked")),
        ("cl-te", "400", post("Transfer-Encoding: chunked\r\nContent-Length: 4")),
        ("cl-te", "400", post("Content-Length: 0\r\ntransfer-ENCODING: identity")),
        ("space-before-colon", "400", post("Content-Length: 4\r\nTransfer-Encoding : chunked")),
        ("obs-fold", "400", post("Content-Length: 4\r\nTransfer-Encoding:\r\n chunked")),
        ("bare-lf", "400", post("Content-Length: 4\r\nX: y\nTransfer-Encoding: chunked")),
        ("bare-cr", "400", post("Content-Length: 4\r\nX: y\rTransfer-Encoding: chunked")),
        ("nul", "400", post("Content-Length: 4\r\nX: y\0\r\nTransfer-Encoding: chunked")),
        ("framing-alias", "400", post("Content-Length: 4\r\nTransfer_Encoding: chunked")),
        ("framing-alias", "400", post("Content-Length: 4\r\nTransfer.Encoding: chunked")),
        // TE.TE: codings that one reader takes for chunked and another does not.
        ("te-not-chunked", "400", post("Transfer-Encoding: xchunked")),
        ("te-not-chunked", "400", post("Transfer-Encoding: \"chunked\"")),
        ("te-not-chunked", "400", post("Transfer-Encoding: chunked;q=1")),
        ("te-not-chunked", "400", post("Transfer-Encoding: identity")),
        ("te-not-chunked", "400", post("Transfer-Encoding:")),
        ("te-unknown", "400", post("Transfer-Encoding: ,chunked")),
        ("te-unknown", "400", post("Transfer-Encoding: identity, chunked")),
        ("te-unknown", "400", post("Transfer-Encoding: chunked, chunked")),
        ("te-duplicate", "400", post("Transfer-Encoding: chunked\r\nTransfer-encoding: x")),
        ("framing-space", "400", post("Transfer-Encoding:\tchunked")),
        ("framing-space", "400", post("Transfer-Encoding: chunked ")),
        ("field-value", "400", post("Transfer-Encoding: \x0bchunked")),
        ("field-name", "400", post("\u{a0}Transfer-Encoding: chunked")),
        ("field-name", "400", post("Transfer Encoding: chunked")),
        // 0.CL and CL.0: a length that one reader does not see, or reads otherwise.
        ("cl-invalid", "400", post("Content-Length: 0x4")),
        ("cl-invalid", "400", post("Content-Length: 4\u{b2}")),
        ("cl-invalid", "400", post("Content-Length: -0")),
        ("cl-invalid", "400", post("Content-Length: 4 4")),
        ("cl-invalid", "400", post("Content-Length: 18446744073709551620")),
        ("cl-duplicate", "400", post("Content-Length: 0\r\nContent-length: 4")),
        ("framing-space", "400", post("Content-Length:\t4")),
        ("framing-space", "400", post("Content-Length: 4\t")),
        ("space-before-colon", "400", post("Content-Length\t: 4")),
        ("obs-fold", "400", "POST /r HTTP/1.1\r\nHost: a\r\nX: y\r\n\tContent-Length: 4\r\n\r\nabcd".into()),
        (
            "body-not-allowed",
            "400",
            line("CONNECT a:1 HTTP/1.1").replace("Host: a", "Host: a:1\r\nContent-Length: 4"),
        ),
        (
            "body-not-allowed",
            "400",
            line("TRACE / HTTP/1.1").replace("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx"),
        ),
        // Start lines.
        ("empty-line", "400", format!("\r\n{}", line("GET / HTTP/1.1"))),
        ("request-line", "400", line("GET /a /b HTTP/1.1")),
        ("request-line", "400", line("GET /\tHTTP/1.1")),
        ("request-line", "400", line(" GET / HTTP/1.1")),
        ("target-chars", "400", line("GET /a#/../b HTTP/1.1")),
        ("target-form", "400", line("GET * HTTP/1.1")),
        ("target-form", "400", line("GET a:80 HTTP/1.1")),
        ("target-form", "400", line("CONNECT a HTTP/1.1")),
        ("request-line", "400", line("GET / HTTP/1.10")),
        ("version", "505", line("GET / HTTP/2.0")),
        ("request-line", "400", line("GET / http/1.1")),
        ("host-invalid", "400", line("GET / HTTP/1.1").replace("Host: a", "Host: a, b")),
        ("host-invalid", "400", line("GET / HTTP/1.1").replace("Host: a", "Host: a:80:81")),
        ("host-invalid", "400", line("GET / HTTP/1.1").replace("Host: a", "Host: u@a")),
        // Chunk lines (0x, white space, signs, line ends, what stands behind the data).
        ("chunk-size", "400", chunked("0x5\r\nhello\r\n0\r\n\r\n")),
        ("chunk-size", "400", chunked("5 \r\nhello\r\n0\r\n\r\n")),
        ("chunk-size", "400", chunked(" 5\r\nhello\r\n0\r\n\r\n")),
        ("chunk-size", "400", chunked("+5\r\nhello\r\n0\r\n\r\n")),
        ("chunk-size", "400", chunked("\r\nhello\r\n0\r\n\r\n")),
        ("chunk-size", "400", chunked("5_\r\nhello\r\n0\r\n\r\n")),
        ("chunk-overflow", "400", chunked("00000000000000005\r\nhello\r\n0\r\n\r\n")),
        ("chunk-overflow", "400", chunked("100000000000000000\r\n0\r\n\r\n")),
        ("chunk-line-too-long", "400", chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(5000)))),
        ("bare-lf", "400", chunked("5;a\nhello\r\n0\r\n\r\n")),
        ("bare-cr", "400", chunked("5;a\rb\r\nhello\r\n0\r\n\r\n")),
        ("bare-cr", "400", chunked("5\r\r\nhello\r\n0\r\n\r\n")),
        ("chunk-end", "400", chunked("5\r\nhelloXX0\r\n\r\n")),
        ("chunk-end", "400", chunked("5\r\nhello\n0\r\n\r\n")),
        ("bare-lf", "400", chunked("0\r\nX: y\n\r\n")),
        ("bare-lf", "400", chunked("0\r\n\n")),
        ("obs-fold", "400", chunked("0\r\nX: y\r\n z\r\n\r\n")),
        ("trailer-forbidden", "400", chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n")),
        ("trailer-forbidden", "400", chunked("0\r\nHost: b\r\n\r\n")),
        ("cl-duplicate", "400", post("Content-Length: 4\r\nContent-Length: 5")),
        ("cl-list", "400", post("Content-Length: 4,4")),
        ("cl-invalid", "400", post("Content-Length: +4")),
        ("te-duplicate", "400", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
        ("te-not-chunked", "400", post("Transfer-Encoding: chunked, identity")),
        ("te-unknown", "400", post("Transfer-Encoding: gzip, chunked")),
        ("te-http10", "400", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into()),
        ("framing-alias", "400", post("Content_Length: 4")),
        ("bare-lf", "400", post("X: y\nZ: w")),
        ("bare-cr", "400", post("X: y\rZ: w")),
        ("obs-fold", "400", post("X: y\r\n z")),
        ("space-before-colon", "400", post("Content-Length : 4")),
        ("nul", "400", post("X: a\0b")),
        ("field-value", "400", post("X: a\x01b")),
        ("field-name", "400", post("nonsense")),
        ("host-missing", "400", "GET / HTTP/1.1\r\nX: y\r\n\r\n".into()),
        ("host-duplicate", "400", post("Host: b")),
        ("absolute-form-mismatch", "400", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("request-line", "400", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("version", "505", "GET / HTTP/1.7\r\nHost: a\r\n\r\n".into()),
        ("chunk-size", "400", chunked("zz\r\n")),
        ("chunk-overflow", "400", chunked("ffffffffffffffff\r\n")),
        ("chunk-end", "400", chunked("1\r\nab\r\n")),
        ("bare-lf", "400", chunked("1\na\r\n")),
        ("trailer-forbidden", "400", chunked("0\r\nContent-Length: 3\r\n\r\n")),
        ("head-too-large", "431", format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(1 << 20))),
        ("too-many-fields", "431", post(&"X: y\r\n".repeat(120))),
    ]
}

#[test]
fn every_ambiguous_form_is_refused_recorded_and_never_seen_by_the_server() {
    let (upstream, seen) = ok("x");
    let rig = Rig::new(upstream);
    for (n, (rule, status, bytes)) in forms().into_iter().enumerate() {
        let mut client = rig.client();
        // The gateway may stop reading and close while the rest of a huge head is still being written.
        let _ = client.0.write_all(bytes.as_bytes());
        assert_eq!(client.last_status(), status, "{rule}");
        let event = rig.memory.wait(n + 1).pop().unwrap();
        assert_eq!((event.content.err.as_str(), event.core.rec), (rule, Some(Rec::Interaction)));
        assert_eq!(event.core.outcome, Some(Outcome::CallerError), "{rule}");
        assert_eq!(event.core.status.unwrap().1, status);
    }
    assert_eq!(seen.all().concat(), b"", "the server saw a byte of a refused message");
}

#[test]
fn a_refusal_comes_behind_the_answers_already_owed() {
    let (upstream, seen) = http(|_| {
        std::thread::sleep(Duration::from_millis(50));
        response("slow").into_bytes()
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send([get("/1").as_bytes(), get("/2").as_bytes(), b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"].concat());
    client.expect(response("slow"));
    client.expect(response("slow"));
    assert_eq!(client.last_status(), "400");
    let events = rig.memory.wait(3);
    assert_eq!(seen.all().concat(), [get("/1"), get("/2")].concat().into_bytes());
    let refused = events.iter().find(|e| e.content.err == "space-before-colon").unwrap();
    assert_eq!(refused.links.conn_seq, Some(3));
}

#[test]
fn a_fault_late_in_a_body_cuts_the_request_before_the_bad_bytes() {
    let (upstream, seen) = ok("x");
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    let start = format!("{POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    client.send(&start);
    crate::support::until("the server has the first part", || seen.all().concat() == start.as_bytes());
    client.send("5\nGET /smuggled HTTP/1.1\r\n");
    assert_eq!(client.last_status(), "400");
    let events = rig.memory.wait(1);
    assert_eq!(events[0].content.err, "bare-lf");
    assert_eq!(seen.all().concat(), start.as_bytes());
}

#[test]
fn a_head_that_does_not_end_is_answered_408() {
    let (upstream, seen) = ok("x");
    let rig = Rig::with(upstream, |c| c.limits.head_time = Duration::from_millis(100));
    let mut client = rig.client();
    client.send("GET /slow HTTP/1.1\r\nHo");
    assert_eq!(client.last_status(), "408");
    let events = rig.memory.wait(1);
    assert_eq!(
        (events[0].content.err.as_str(), events[0].core.outcome),
        ("head-timeout", Some(Outcome::Timeout))
    );
    assert!(seen.all().is_empty());
}

#[test]
fn a_body_that_trickles_is_answered_408() {
    let (upstream, _) = ok("x");
    let rig = Rig::with(upstream, |c| c.limits.body_window = Duration::from_millis(200));
    let mut client = rig.client();
    client.send(format!("{POST}Content-Length: 100000\r\n\r\nx"));
    assert_eq!(client.last_status(), "408");
    assert_eq!(rig.memory.wait(1)[0].content.err, "body-timeout");
}

#[test]
fn a_head_cut_by_the_client_is_recorded() {
    let (upstream, seen) = ok("x");
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n");
    client.end();
    client.rest();
    assert_eq!(rig.memory.wait(1)[0].content.err, "truncated-head");
    assert!(seen.all().is_empty());
}

#[test]
fn an_ambiguous_response_becomes_502() {
    for (rule, bytes) in [
        ("cl-te", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx"),
        ("bare-lf", "HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\nx"),
        ("status-line", "HTTP/1.1 9 OK\r\n\r\n"),
    ] {
        let (upstream, _) = http(move |_| bytes.as_bytes().to_vec());
        let rig = Rig::new(upstream);
        let mut client = rig.client();
        client.send(get("/"));
        assert_eq!(client.last_status(), "502", "{rule}");
        let events = rig.memory.wait(1);
        assert_eq!(
            (events[0].content.err.as_str(), events[0].core.outcome),
            (rule, Some(Outcome::ServerError))
        );
    }
}

#[test]
fn a_response_nobody_asked_for_does_not_answer_the_next_request() {
    let upstream = server(|mut s| {
        let _ = s.read(&mut [0; 4096]).unwrap();
        s.write_all(format!("{}HTTP/1.1 200 OK\r\nX: poison\r\n\r\n", response("one")).as_bytes()).unwrap();
        let _ = s.read(&mut [0; 4096]);
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(get("/"));
    let rest = client.rest();
    assert!(!rest.windows(6).any(|w| w == b"poison"));
    let events = rig.memory.wait(2);
    assert_eq!(events[0].core.outcome, Some(Outcome::Success));
    let told = (events[1].core.rec, events[1].content.err.as_str());
    assert_eq!(told, (Some(Rec::Cut), "server: unsolicited-response"));
}

struct DenyDeletes;
impl Policy for DenyDeletes {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let verdict = if request.operation == "DELETE" { Verdict::Deny } else { Verdict::Allow };
        Decision {
            verdict: Some(verdict),
            mode: Some(Mode::Enforce),
            policies: vec!["p1".into()],
            ..Decision::default()
        }
    }
}

#[test]
fn a_denied_request_gets_403_and_never_reaches_the_server() {
    let (upstream, seen) = ok("x");
    let rig = Rig::full(upstream, |c| c.enforce = true, IdentityConfig::default(), Arc::new(DenyDeletes));
    let mut client = rig.client();
    client.send([get("/a"), "DELETE /a/5 HTTP/1.1\r\nHost: a\r\n\r\n".into(), get("/never")].concat());
    client.expect(response("x"));
    assert_eq!(client.last_status(), "403");
    let events = rig.memory.wait(2);
    assert_eq!(seen.all().concat(), get("/a").into_bytes());
    let denied = events.iter().find(|e| e.core.op == "DELETE").unwrap();
    assert_eq!((denied.core.outcome, denied.links.conn_seq), (Some(Outcome::Denied), Some(2)));
    assert_eq!(denied.core.decision.as_ref().unwrap().verdict, Some(Verdict::Deny));
}

#[test]
fn connections_above_the_limit_are_refused_and_folded_into_one_record() {
    let (upstream, _) = ok("x");
    let rig = Rig::with(upstream, |c| c.limits.connections_listener = 2);
    let mut held: Vec<Client> = (0..2).map(|_| rig.client()).collect();
    for client in &mut held {
        client.send(get("/"));
        client.expect(response("x"));
    }
    for _ in 0..5 {
        assert_eq!(rig.client().rest(), b"");
    }
    let events = rig.memory.wait(3);
    assert_eq!((events[2].core.outcome, events[2].core.n), (Some(Outcome::Denied), Some(5)));
    assert_eq!(rig.gateway.stats().refused_limit, 5);
}
