//! HTTP/2 with parts that others made: nginx as server; curl and h2load as clients, direct and through.

use crate::h2_support::rig;
use crate::support::{Rig, until};
use countersign_event::Outcome;
use countersign_testkit::http2::{access_log, nginx_h2};
use countersign_testkit::{ensure_program, servers::Server};
use std::net::SocketAddr;
use std::process::Command;

/// What curl says of each form of request, with the name of the server taken out.
fn curl(address: SocketAddr, arguments: &[&str]) -> String {
    let program = ensure_program("curl", "curl").unwrap();
    let mut command = Command::new(program);
    command.args(["-sS", "--http2-prior-knowledge", "--max-time", "30", "-i", "-H", "X-Mark: m"]);
    command.args(arguments.iter().map(|a| a.replace("@", &format!("http://{address}"))));
    let out = command.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    let varies =
        |l: &&str| !l.starts_with("date:") && !l.starts_with("etag:") && !l.starts_with("last-modified:");
    text.lines().filter(varies).collect::<Vec<_>>().join("\n").replace(&address.to_string(), "SERVER")
}

const FORMS: [&[&str]; 8] = [
    &["@/"],
    &["@/1k.txt?a=b"],
    &["-I", "@/1k.txt"],
    &["@/none"],
    &["@/moved"],
    &["@/missing/deep/path"],
    &["-r", "10-19", "@/1k.txt"],
    &["@/echo"],
];

#[test]
fn curl_sees_the_same_direct_and_through_and_records_equal_the_log() {
    let server = nginx_h2(1 << 20).unwrap();
    let rig = Rig::new(server.address);
    let direct: Vec<_> = FORMS.iter().map(|f| curl(server.address, f)).collect();
    let before = access_log(&server).len();
    let through: Vec<_> = FORMS.iter().map(|f| curl(rig.address, f)).collect();
    for (form, (a, b)) in FORMS.iter().zip(direct.iter().zip(&through)) {
        assert_eq!(a, b, "{form:?}");
        assert!(a.contains("HTTP/2"), "{a}");
    }
    let logged = logged_after(&server, before, FORMS.len());
    let mut ours: Vec<_> = rig.memory.wait(logged.len()).iter().map(line).collect();
    let mut theirs = logged.clone();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
}

/// A record as nginx would have logged it, without the query.
fn line(e: &countersign_event::Event) -> String {
    let status = e.core.status.as_ref().map_or("", |s| s.1.as_str());
    format!("{} {} {status}", e.core.op, e.target.raw)
}

fn logged_after(server: &Server, before: usize, n: usize) -> Vec<String> {
    until("nginx has logged", || access_log(server).len() >= before + n);
    let log = access_log(server);
    let words = |l: &String| {
        let mut words = l.split(' ');
        let (method, uri, status) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        assert_eq!(words.next(), Some("HTTP/2.0"));
        format!("{method} {} {status}", uri.split('?').next().unwrap())
    };
    log[before..].iter().map(words).collect()
}

#[test]
fn every_request_of_h2load_is_one_record_and_one_line_of_the_log() {
    let server = nginx_h2(1 << 20).unwrap();
    let rig = rig(server.address);
    let n = if std::env::var_os("COUNTERSIGN_TORTURE").is_some() { 200_000 } else { 20_000 };
    let out = Command::new(ensure_program("h2load", "nghttp2-client").unwrap())
        .args(["-n", &n.to_string(), "-c", "16", "-m", "32"])
        .arg(format!("http://{}/1k.txt", rig.address))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains(&format!("{n} succeeded, 0 failed, 0 errored, 0 timeout")), "{text}");
    let memory = rig.memory.clone();
    rig.gateway.shutdown(std::time::Duration::from_secs(10));
    let events = memory.wait(n);
    assert!(events.iter().all(|e| e.core.outcome == Some(Outcome::Success)));
    assert!(events.iter().all(|e| e.body.rsp.as_ref().unwrap().size == Some(1024)));
    until("nginx has logged", || access_log(&server).len() >= n);
    assert_eq!(access_log(&server).len(), n);
    assert_eq!(memory.owed.load(std::sync::atomic::Ordering::Relaxed), n as u64);
}

#[test]
fn a_large_download_to_a_client_that_stops_reading_stays_small_in_memory() {
    use std::io::Read;
    let size = 256 << 20;
    let server = nginx_h2(size).unwrap();
    let rig = rig(server.address);
    let mut child = Command::new(ensure_program("curl", "curl").unwrap())
        .args(["-sS", "--http2-prior-knowledge", "--limit-rate", "2M"])
        .arg(format!("http://{}/big", rig.address))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut buf = vec![0; 64 << 10];
    let mut read = 0;
    let mut most_ahead = 0;
    while read < 4 << 20 {
        read += out.read(&mut buf).unwrap();
        most_ahead = most_ahead.max(rig.gateway.stats().bytes_down.saturating_sub(read as u64));
    }
    let _ = child.kill();
    let _ = child.wait();
    // curl's own window is 10 MiB or more: what is ahead of its reader is what it asked for and sockets.
    assert!(most_ahead < 64 << 20, "{most_ahead} bytes ahead of the reader");
    let event = &rig.memory.wait(1)[0];
    assert_ne!(event.core.outcome, Some(Outcome::Success), "it was not read to the end");
}
