//! Syslog over TLS, and over plain TCP to this machine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::{config, finding, start, until};
use countersign_alert::{AlertConfig, Receiver, ReceiverKind, Syslog, SyslogBody};
use countersign_identity::authority::Authority;
use countersign_identity::{ClientAuth, server_tls};
use std::io::Read;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// Cuts frames of octet counting.
fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(space) = bytes.iter().position(|b| *b == b' ') {
        let length: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
        found.push(String::from_utf8(bytes[space + 1..][..length].to_vec()).unwrap());
        bytes = &bytes[space + 1 + length..];
    }
    found
}

fn with(dir: &std::path::Path, syslog: Syslog) -> AlertConfig {
    let receivers = vec![Receiver { name: "siem".into(), kind: ReceiverKind::Syslog(syslog) }];
    AlertConfig { receivers, ..config(dir, Vec::new()) }
}

#[test]
fn cef_over_tls_arrives_in_one_frame() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let authority = Authority::new("example.org", now).unwrap();
    let ca = authority.write(dir.path()).unwrap().ca;
    let (cert, key) = authority.issue("/siem", &["127.0.0.1"]).unwrap().write(dir.path(), "siem").unwrap();
    let tls = server_tls(&cert, &key, &[], ClientAuth::None).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let sink = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(tls.clone()).unwrap();
            let mut bytes = Vec::new();
            // An end without close_notify would be an error here.
            if rustls::StreamOwned::new(connection, stream).read_to_end(&mut bytes).is_ok() {
                sink.lock().unwrap().push(bytes);
            }
        }
    });
    let syslog = Syslog { host: "127.0.0.1".into(), port, plain: false, body: SyslogBody::Cef };
    let running = start(AlertConfig { ca: Some(ca), ..with(dir.path(), syslog) }, crate::quick());
    running.alerts.fire(&finding("a|b=c\\d"), 7);
    until("delivery", || running.alerts.status()[1].counters.delivered == 1);
    until("the message", || heard.lock().unwrap().len() == 1);
    let message = frames(&heard.lock().unwrap()[0]).remove(0);
    assert!(
        message.starts_with("<108>1 20")
            && message.contains("Z - countersign - finding - CEF:0|Countersign|"),
        "{message}"
    );
    assert!(
        message.contains("|first-seen-edge|first-seen-edge|5|rt=") && message.contains(r" suser=a|b\=c\\d "),
        "{message}"
    );
}

#[test]
fn plain_tcp_goes_to_this_machine_and_a_server_that_is_away_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let syslog = Syslog { host: "127.0.0.1".into(), port, plain: true, body: SyslogBody::Json };
    let running = start(with(dir.path(), syslog), crate::quick());
    running.alerts.fire(&finding("key:a"), 7);
    until("the failure", || !running.alerts.status()[1].last_error.is_empty());
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    drop(stream);
    let message = frames(&bytes).remove(0);
    let json: serde_json::Value = serde_json::from_str(&message[message.find('{').unwrap()..]).unwrap();
    assert_eq!((&json["rule"], &json["index"]), (&"first-seen-edge".into(), &7.into()));
    until("delivery", || running.alerts.status()[1].counters.delivered == 1);
}
