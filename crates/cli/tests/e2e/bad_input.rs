//! Bad input gets a clear answer and loses nothing.

use crate::support::{Home, stop, upstream};
use countersign_testkit::http::Connection;
use countersign_testkit::{free_port, repetitions, wait_for_port};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn refused(home: &Home, args: &[&str], words: &[&str]) {
    let output = home.run(args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert!(text.starts_with("error: "), "{args:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{args:?} does not name `{word}`: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

fn config(home: &Home, text: &str) -> String {
    let file = home.path().join("countersign.toml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn broken_configuration_is_refused_with_line_and_nearest_key() {
    let home = Home::new("config");
    let file = config(&home, "[web\nlisten = 1\n");
    refused(&home, &["check", "--config", &file], &["countersign.toml", "line 1"]);
    refused(&home, &["run", "--config", &file], &["countersign.toml"]);
    let file = config(&home, "[web]\nlissen = \"127.0.0.1:0\"\n");
    refused(&home, &["check", "--config", &file], &["lissen", "listen"]);
    let file = config(&home, "[web]\nlisten = \"0.0.0.0:8000\"\n");
    refused(&home, &["check", "--config", &file], &["loopback"]);
    refused(&home, &["check", "--config", "no-such-file.toml"], &["no-such-file.toml"]);
    refused(&home, &["run", "--proxy", "nonsense"], &["--proxy"]);
    assert!(!home.data().exists(), "a refused configuration leaves nothing behind");
}

#[test]
fn what_configured_files_and_rules_hold_is_checked_without_a_start() {
    let home = Home::new("check");
    let garbage = home.path().join("garbage");
    std::fs::write(&garbage, "no certificate, no descriptors\n").unwrap();
    let garbage = garbage.display().to_string();
    let listener =
        "[[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\nupstream = \"http://127.0.0.1:9\"\n";
    for (text, word) in [
        ("[redact]\npersonal = [\"cards\"]\n".to_owned(), "card-number"),
        ("[[redact.rule]]\nname = \"r\"\nkeyword = \"ab\"\npattern = \"(\"\n".to_owned(), "redaction rule r"),
        (format!("[redact]\npersonal = [\"all\"]\npseudonym_key = \"{garbage}\"\n"), "32 to 64 random bytes"),
        ("[identity]\nworkload_api = \"nonsense\"\n".to_owned(), "workload api"),
        (
            format!("{listener}[listener.grpc]\ndescriptors = \"{garbage}\"\nfields = [\"a\"]\n"),
            "FileDescriptorSet",
        ),
        (
            format!("{listener}[listener.tls]\ncert = \"{garbage}\"\nkey = \"{garbage}\"\n"),
            "BEGIN CERTIFICATE",
        ),
    ] {
        let file = config(&home, &text);
        refused(&home, &["check", "--config", &file], &[word]);
        refused(&home, &["run", "--config", &file], &[word]);
    }
    assert!(!home.data().exists(), "a refused configuration leaves nothing behind");
}

#[test]
fn a_port_in_use_and_an_unwritable_directory_are_named() {
    let home = Home::new("ports");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    refused(&home, &["run", "--proxy", &format!("{address}=http://127.0.0.1:9")], &[&address.to_string()]);
    let file = home.path().join("a-file");
    std::fs::write(&file, b"x").unwrap();
    let below = file.join("data");
    let proxy = format!("127.0.0.1:{}=http://127.0.0.1:9", free_port().unwrap());
    refused(&home, &["run", "--data", below.to_str().unwrap(), "--proxy", &proxy], &["a-file"]);
    refused(&home, &["run", "--data", "/proc/countersign", "--proxy", &proxy], &["/proc/countersign"]);
}

#[test]
fn two_writers_on_one_directory_are_refused() {
    let home = Home::new("two-writers");
    let (_, child) = home.gateway(upstream());
    let proxy = format!("127.0.0.1:{}=http://127.0.0.1:9", free_port().unwrap());
    refused(&home, &["run", "--proxy", &proxy], &["another"]);
    stop(child);
}

#[test]
fn malformed_requests_are_answered_recorded_and_never_forwarded() {
    let home = Home::new("malformed");
    let (address, child) = home.gateway(upstream());
    let big = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Big: {}\r\n\r\n", "a".repeat(1 << 20));
    let forms: [(&[u8], u16); 5] = [
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", 400),
        (big.as_bytes(), 431),
    ];
    for (bytes, status) in forms {
        let mut connection = Connection::open(address).unwrap();
        let _ = connection.send(bytes);
        let answer = connection.response(false).unwrap();
        assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]));
    }
    let mut odd = Connection::open(address).unwrap();
    odd.send(b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\nX-Odd: \xff\xfe\r\n\r\n").unwrap();
    assert!(odd.response(false).is_ok(), "invalid UTF-8 gets an answer");
    assert_eq!(home.settle("rec:interaction", 6), 6, "each of them is a record");
    assert!(home.count("rec:interaction error:*") >= 5, "each refusal names its rule");
    let after = Connection::open(address).unwrap().request("GET", "/after", &[], b"").unwrap();
    assert_eq!(after.status, 200);
    stop(child);
}

#[test]
fn half_closed_and_vanished_connections_lose_nothing() {
    let home = Home::new("half-closed");
    let (address, child) = home.gateway(upstream());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let mut gone = TcpStream::connect(address).unwrap();
    gone.write_all(b"GET /gone HTTP/1.1\r\nHo").unwrap();
    drop(gone);
    let mut other = TcpStream::connect(address).unwrap();
    other.write_all(b"\x00\x01\x02 this is no HTTP at all").unwrap();
    drop(other);
    assert_eq!(home.settle("rec:interaction raw_target:/half", 1), 1);
    assert_eq!(home.settle("rec:opaque", 1), 1, "what is not HTTP is recorded as opaque");
    stop(child);
}

#[test]
fn a_client_that_never_reads_a_huge_body_costs_little_memory() {
    let size: u64 = repetitions(256 << 20, 1 << 30) as u64;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = listener.local_addr().unwrap();
    std::thread::spawn(move || huge(&listener, size));
    let home = Home::new("never-reads");
    let (address, child) = home.gateway(backend);
    wait_for_port(address, Duration::from_secs(5)).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let before = child.rss().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut most = before;
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(50));
        most = most.max(child.rss().unwrap());
    }
    let mut seen = 0;
    let mut block = vec![0; 1 << 20];
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while seen < size {
        let read = stream.read(&mut block).unwrap();
        assert!(read > 0, "closed after {seen} bytes");
        seen += read as u64;
        most = most.max(child.rss().unwrap());
    }
    println!("never reads, then reads {size} B: resident memory rose by {} MiB", (most - before) >> 20);
    assert!(most - before <= 16 << 20, "rose by {} MiB", (most - before) >> 20);
    drop(stream);
    assert_eq!(home.settle("rec:interaction raw_target:/huge", 1), 1);
    stop(child);
}

fn huge(listener: &TcpListener, size: u64) {
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let mut stream = stream;
            let mut head = [0; 4096];
            if stream.read(&mut head).unwrap_or(0) == 0 {
                return;
            }
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
            let block = vec![b'z'; 1 << 20];
            let mut left = size;
            while left > 0 {
                let part = left.min(block.len() as u64) as usize;
                if stream.write_all(&block[..part]).is_err() {
                    return;
                }
                left -= part as u64;
            }
        });
    }
}
