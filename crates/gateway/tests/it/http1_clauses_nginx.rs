//! The transparency rule against nginx: the same client work direct and through the gateway gives the same
//! results, the same bytes reach the server, and the records equal nginx's access log as a multiset.

use crate::support::{Client, Rig, http, response};
use countersign_event::Event;
use countersign_testkit::ensure_program;
use countersign_testkit::servers::Backend;
use std::net::SocketAddr;
use std::process::Command;

/// Runs of curl: arguments before the address and path.
const CURL: &[(&[&str], &str)] = &[
    (&[], "/"),
    (&[], "/1k.txt"),
    (&[], "/none?token=x"),
    (&["--head"], "/1k.txt"),
    (&["--range", "10-19"], "/1k.txt"),
    (&["--range", "5000-"], "/1k.txt"),
    (&["--http1.0"], "/1k.txt"),
    (&["--http1.0", "-H", "Connection: keep-alive"], "/"),
    (&["-H", "Connection: close"], "/"),
    (&["-X", "OPTIONS"], "/"),
    (&["-X", "DELETE"], "/1k.txt"),
    (&["-d", "a=b"], "/1k.txt"),
    (&["-T", "/etc/hostname", "-H", "Transfer-Encoding: chunked"], "/up"),
    (&["-T", "/etc/hostname", "-H", "Expect: 100-continue"], "/up"),
    (&["-H", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"], "/1k.txt"),
    (&["--compressed"], "/1k.txt"),
    (&["-H", "X-Empty;", "-H", "x-UPPER: A", "-A", ""], "/"),
];

fn curl(args: &[&str], address: SocketAddr, path: &str) -> String {
    let program = ensure_program("curl", "curl").unwrap();
    let url = format!("http://{address}{path}");
    // Host and Date are the only things that may differ.
    let host = ["-s", "-i", "-m", "20", "-H", "Host: same.example", "-w", "%{http_code} %{size_download}"];
    let output = Command::new(program).args(host).args(args).arg(url).output().unwrap();
    assert!(output.status.success(), "{args:?} {path}: {output:?}");
    masked(&String::from_utf8_lossy(&output.stdout))
}

fn masked(text: &str) -> String {
    text.lines().map(|l| if l.starts_with("Date: ") { "Date: -" } else { l }).collect::<Vec<_>>().join("\n")
}

/// `METHOD PATH STATUS BYTES`, as nginx logs it; the gateway keeps no query.
fn line(e: &Event) -> String {
    let status = e.core.status.as_ref().unwrap().1.as_str();
    let bytes = e.body.rsp.as_ref().and_then(|p| p.size).unwrap_or(0);
    format!("{} {} {status} {bytes}", e.core.op, e.target.raw)
}

fn without_query(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    words[1] = words[1].split('?').next().unwrap();
    words.join(" ")
}

#[test]
fn curl_gets_the_same_from_nginx_direct_and_through_and_the_records_are_its_access_log() {
    let backend = Backend::nginx().unwrap();
    let rig = Rig::new(backend.server.address);
    for (args, path) in CURL {
        let direct = curl(args, backend.server.address, path);
        assert_eq!(curl(args, rig.address, path), direct, "{args:?} {path}");
    }
    let logged = backend.wait_for(2 * CURL.len()).unwrap();
    let mut through: Vec<String> = logged.iter().skip(1).step_by(2).map(|l| without_query(l)).collect();
    let mut records: Vec<String> = rig.memory.wait(CURL.len()).iter().map(line).collect();
    through.sort();
    records.sort();
    assert_eq!(records, through);
}

#[test]
fn a_raw_conversation_with_nginx_is_the_same_direct_and_through() {
    let backend = Backend::nginx().unwrap();
    let rig = Rig::new(backend.server.address);
    let post =
        "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n";
    let talks = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(30)
            + "GET /1k.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "HEAD /1k.txt HTTP/1.1\r\nHost: a\r\n\r\nGET /end HTTP/1.0\r\n\r\n".to_owned(),
        post.to_owned() + "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET http://a/1k.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-5, 9-12\r\nConnection: close\r\n\r\n"
            .to_owned(),
        "GET /a%2fb/../c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
        "PRI /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
    ];
    let talk = |address| -> Vec<String> {
        talks
            .iter()
            .map(|bytes| {
                let mut client = Client::new(address);
                client.send(bytes);
                masked(&boundaries(&String::from_utf8_lossy(&client.rest())))
            })
            .collect()
    };
    let direct = talk(backend.server.address);
    let n = backend.requests().len();
    for (through, direct) in talk(rig.address).iter().zip(&direct) {
        assert_eq!(through, direct);
    }
    backend.wait_for(2 * n).unwrap();
    assert_eq!(rig.memory.wait(n).len(), backend.requests().len() - n);
}

/// nginx numbers the boundaries of multipart ranges.
fn boundaries(text: &str) -> String {
    let digits = |w: &str| w.len() == 20 && w.bytes().all(|b| b.is_ascii_digit());
    text.split_inclusive(|c: char| !c.is_ascii_digit())
        .map(|w| if digits(w.trim_end_matches(|c: char| !c.is_ascii_digit())) { "boundary\n" } else { w })
        .collect()
}

#[test]
fn h2load_and_wrk_are_answered_alike_and_every_request_is_one_record_and_one_line() {
    let backend = Backend::nginx().unwrap();
    let rig = Rig::new(backend.server.address);
    let h2load = ensure_program("h2load", "nghttp2-client").unwrap();
    let run = |address: SocketAddr| {
        let url = format!("http://{address}/1k.txt");
        let output =
            Command::new(&h2load).args(["--h1", "-n", "3000", "-c", "16", "-t", "1", &url]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let keep = |l: &&str| l.starts_with("requests:") || l.starts_with("status codes:");
        let lines: Vec<String> = text.lines().filter(keep).map(str::to_owned).collect();
        assert!(lines[0].contains("3000 succeeded, 0 failed"), "{text}");
        lines
    };
    assert_eq!(run(rig.address), run(backend.server.address));
    same_count(&backend, &rig, 6000, 3000);
    let wrk = ensure_program("wrk", "wrk").unwrap();
    let url = format!("http://{}/1k.txt", rig.address);
    let output = Command::new(wrk).args(["-t", "1", "-c", "16", "-d", "1s", &url]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "{text}"
    );
    // wrk leaves in the middle of its last answers, so the server's log and the records are compared, not its count.
    let before = 6000;
    crate::support::until("everything is logged and recorded", || {
        let (logged, open) = (backend.requests().len() - before, rig.gateway.stats().open);
        open == 0 && logged > 0 && logged + 3000 == rig.memory.len()
    });
}

fn same_count(backend: &Backend, rig: &Rig, lines: usize, records: usize) {
    assert_eq!(backend.wait_for(lines).unwrap().len(), lines);
    let events = rig.memory.wait(records);
    assert!(events.iter().all(|e| line(e) == "GET /1k.txt 200 1024"));
}

#[test]
fn the_bytes_at_the_server_are_the_clients_bytes() {
    let requests = [
        "GET /a HTTP/1.1\r\nhost:a\r\nX:\ty \r\n\r\n",
        "POST /b HTTP/1.1\r\nHOST: a\r\ntransfer-encoding: CHUNKED\r\n\r\n0003;q\r\nabc\r\n0\r\nz: 1\r\n\r\n",
        "PUT /c HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nA: 1\r\na: 2\r\n\r\nhi",
    ];
    let (direct, seen_direct) = http(|_| response("x").into_bytes());
    let (behind, seen_behind) = http(|_| response("x").into_bytes());
    let rig = Rig::new(behind);
    for address in [direct, rig.address] {
        let mut client = Client::new(address);
        for request in requests {
            client.send(request);
            client.expect(response("x"));
        }
    }
    assert_eq!(seen_behind.all(), seen_direct.all());
}
