//! Several real servers count the same requests: what passed the gateway as N requests is N requests at each
//! of them, and of an ambiguous form none of them sees anything.

use crate::refusals::forms;
use crate::support::Rig;
use countersign_testkit::servers::Backend;
use countersign_wire::http1::{Framer, PieceKind};
use std::io::{Read, Write};

/// One connection's requests. All are answered, whatever the server makes of them.
fn work() -> Vec<Vec<String>> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = |path: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let chunked = |path: &str, chunks: &str| {
        format!("PUT {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
    };
    // Bodies that look like requests: a server that loses its place would count them.
    let lure = get("/lure");
    vec![
        vec![get("/"), get("/1k.txt"), get("/none")],
        (0..40).map(|n| get(&format!("/p{n}"))).collect(),
        vec!["HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".into(), get("/after-head")],
        vec![post("/a", &lure)],
        vec![post("/b", &lure.repeat(50))],
        vec![post("/c", "")],
        vec![chunked("/d", "5\r\nhello\r\n0\r\n\r\n")],
        vec![chunked("/e", &format!("{:X};x=\"y\"\r\n{lure}\r\n00\r\nX-T: 1\r\n\r\n", lure.len()))],
        vec!["DELETE /g HTTP/1.1\r\nHost: a\r\n\r\n".into()],
        vec!["GET /close HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into()],
        vec!["GET /old HTTP/1.0\r\n\r\n".into()],
        vec!["GET /kept HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".into(); 3],
        vec![post("/expect", "hi").replace("Host", "Expect: 100-continue\r\nHost")],
    ]
}

/// Sends all of `requests` at once and reads until each is answered or the server ends the connection.
/// Returns how many were answered.
fn talk(rig: &Rig, requests: &[String]) -> usize {
    let mut client = rig.client();
    client.send(requests.concat());
    let mut framer = Framer::default();
    let mut sent = requests.concat().into_bytes();
    while let Ok(piece) = framer.request(&sent)
        && piece.len > 0
    {
        sent.drain(..piece.len);
    }
    let (mut held, mut answered, mut buf) = (Vec::new(), 0, [0; 16 << 10]);
    while answered < requests.len() {
        let n = client.0.read(&mut buf).unwrap();
        if n == 0 {
            answered += usize::from(framer.response_eof(false) == countersign_wire::http1::Eof::EndsBody);
            return answered;
        }
        held.extend_from_slice(&buf[..n]);
        while let Ok(piece) = framer.response(&held)
            && piece.len > 0
        {
            held.drain(..piece.len);
            answered += usize::from(piece.end && piece.kind != PieceKind::Interim);
        }
    }
    answered
}

#[test]
fn every_backend_counts_as_many_requests_as_there_are_records() {
    for backend in Backend::all().unwrap() {
        let rig = Rig::new(backend.server.address);
        let mut expected = Vec::new();
        for requests in work() {
            let answered = talk(&rig, &requests);
            assert_eq!(answered, requests.len(), "{}: {:?}", backend.kind, requests[0]);
            expected.extend(requests.iter().map(|r| method_and_path(r)));
        }
        let mut logged: Vec<String> =
            backend.wait_for(expected.len()).unwrap().iter().map(|line| method_and_path(line)).collect();
        let events = rig.memory.wait(expected.len());
        let mut records: Vec<String> =
            events.iter().map(|e| format!("{} {}", e.core.op, e.target.raw)).collect();
        expected.sort();
        logged.sort();
        records.sort();
        assert_eq!(logged, expected, "{}", backend.kind);
        assert_eq!(records, expected, "{}", backend.kind);
    }
}

fn method_and_path(line: &str) -> String {
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn no_backend_sees_anything_of_an_ambiguous_request() {
    for backend in Backend::all().unwrap() {
        let rig = Rig::new(backend.server.address);
        let forms = forms();
        for (n, (rule, status, bytes)) in forms.iter().enumerate() {
            let mut client = rig.client();
            // The gateway may close while the rest of a huge head is still being written.
            let _ = client.0.write_all(bytes.as_bytes());
            assert_eq!(client.last_status(), *status, "{}: {rule}", backend.kind);
            drop(client);
            let event = rig.memory.wait(n + 1).pop().unwrap();
            assert_eq!(&event.content.err, rule, "{}: {bytes:.80}", backend.kind);
        }
        // A chunked body's head may have passed before its fault was there; then the server saw the
        // beginning of one request and no end of it.
        assert_eq!(talk(&rig, &["GET /sentinel HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()]), 1);
        let logged = backend.wait_for(1).unwrap();
        let whole: Vec<_> = logged.iter().map(|line| method_and_path(line)).collect();
        assert_eq!(whole, ["GET /sentinel"], "{}", backend.kind);
    }
}
