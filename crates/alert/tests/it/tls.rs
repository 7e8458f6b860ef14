//! An https receiver under an authority of its own.

use crate::server::read_request;
use crate::{config, finding, quick, start, until, webhook};
use countersign_alert::AlertConfig;
use countersign_identity::authority::Authority;
use countersign_identity::{ClientAuth, server_tls};
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

#[test]
fn https_is_spoken_with_the_configured_authority_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let authority = Authority::new("example.org", now).unwrap();
    let files = authority.write(dir.path()).unwrap();
    let (cert, key) = authority.issue("/hook", &["127.0.0.1"]).unwrap().write(dir.path(), "hook").unwrap();
    let tls = server_tls(&cert, &key, &[], ClientAuth::None).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/hook", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(connection) = rustls::ServerConnection::new(tls.clone()) else { continue };
            let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
            if read_request(&mut stream).is_some() {
                let _ = stream.get_mut().write_all(b"HTTP/1.1 204 x\r\nconnection: close\r\n\r\n");
                let _ = stream.get_mut().flush();
            }
        }
    });
    let trusting = AlertConfig { ca: Some(files.ca), ..config(dir.path(), vec![webhook(&url)]) };
    let running = start(trusting, quick());
    running.alerts.fire(&finding("key:a"), 1);
    until("delivery", || running.alerts.status()[1].counters.delivered == 1);
    drop(running);

    let other = Authority::new("other.example", now).unwrap();
    let other_ca = dir.path().join("other.pem");
    std::fs::write(&other_ca, other.ca_pem()).unwrap();
    let distrusting = AlertConfig { ca: Some(other_ca), ..config(dir.path(), vec![webhook(&url)]) };
    let running = start(distrusting, quick());
    running.alerts.fire(&finding("key:b"), 2);
    until("failure", || running.told_of("alert.failed", "ops") == 1);
    let error = running.alerts.status().remove(1).last_error;
    assert!(error.contains("tls"), "{error}");
}
