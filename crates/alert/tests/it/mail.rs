//! E-mail to a real SMTP server (aiosmtpd), and to servers that cheat.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::{Clock, config, finding, in_state, start, until};
use countersign_alert::{AlertConfig, Mail, Receiver, ReceiverKind};
use countersign_event::FindingState;
use countersign_identity::authority::Authority;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Prints its port, then each mail as a line of JSON. Arguments: certificate, key, `starttls` or `implicit`.
const PEER: &str = r#"
import asyncio, json, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult
cert, key, mode = sys.argv[1:4]
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(cert, key)
class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith('nobody'):
            return '550 no such user'
        envelope.rcpt_tos.append(address)
        return '250 OK'
    async def handle_DATA(self, server, session, envelope):
        out = {'from': envelope.mail_from, 'to': envelope.rcpt_tos, 'tls': session.ssl is not None or mode == 'implicit',
               'user': session.auth_data.login.decode() if session.auth_data else '',
               'mail': envelope.content.decode('ascii')}
        print(json.dumps(out), flush=True)
        return '250 taken'
def check(server, session, envelope, mechanism, data):
    good = data.password == b'secret'
    return AuthResult(success=good, handled=good, auth_data=data)
options = dict(auth_required=True, authenticator=check, auth_require_tls=(mode == 'starttls'))
if mode == 'starttls':
    options.update(tls_context=tls, require_starttls=True)
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), loop=loop, **options), '127.0.0.1', 0,
                                      ssl=tls if mode == 'implicit' else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"#;

struct Peer {
    child: Child,
    port: u16,
    mails: Arc<Mutex<Vec<serde_json::Value>>>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Files {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

fn files(dir: &Path) -> Files {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let authority = Authority::new("example.org", now).unwrap();
    let ca = authority.write(dir).unwrap().ca;
    let (cert, key) = authority.issue("/mail", &["127.0.0.1"]).unwrap().write(dir, "mail").unwrap();
    Files { ca, cert, key }
}

fn peer(files: &Files, mode: &str) -> Peer {
    let python = countersign_testkit::python::venv("smtp", &["aiosmtpd==1.4.6"]).unwrap();
    let mut child = Command::new(python)
        .args(["-c", PEER])
        .args([&files.cert, &files.key])
        .arg(mode)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = lines.next().unwrap().trim().parse().unwrap();
    let mails: Arc<Mutex<Vec<serde_json::Value>>> = Arc::default();
    let sink = mails.clone();
    std::thread::spawn(move || {
        for line in lines {
            sink.lock().unwrap().push(serde_json::from_str(&line).unwrap());
        }
    });
    Peer { child, port, mails }
}

fn mail(port: u16) -> Mail {
    Mail {
        host: "127.0.0.1".into(),
        port,
        user: "alerts".into(),
        password: "secret".into(),
        from: "alerts@example.org".into(),
        to: vec!["ops@example.org".into()],
        ..Mail::default()
    }
}

fn with(dir: &Path, ca: &Path, mail: Mail) -> AlertConfig {
    let receivers = vec![Receiver { name: "mail".into(), kind: ReceiverKind::Mail(mail) }];
    AlertConfig { receivers, ca: Some(ca.to_owned()), ..config(dir, Vec::new()) }
}

fn header(mail: &serde_json::Value, name: &str) -> String {
    let mail = mail["mail"].as_str().unwrap();
    let line = mail.split("\r\n").find(|line| line.starts_with(&format!("{name}: ")));
    line.map(|line| line[name.len() + 2..].to_owned()).unwrap_or_default()
}

#[test]
fn a_real_server_takes_mails_over_starttls_and_updates_answer_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let peer = peer(&files, "starttls");
    let clock = Clock::default();
    let both = Mail { to: vec!["ops@example.org".into(), "nobody@example.org".into()], ..mail(peer.port) };
    let running = start(with(dir.path(), &files.ca, both), clock.timing());
    running.alerts.fire(&finding("spiffe://td/wëb\r\n.\r\nQUIT"), 1);
    until("the mail", || peer.mails.lock().unwrap().len() == 1);
    running.alerts.fire(&finding("key:b"), 2);
    clock.forward(Duration::from_secs(10));
    until("the update", || peer.mails.lock().unwrap().len() == 2);
    let mails = peer.mails.lock().unwrap().clone();
    assert_eq!(
        (&mails[0]["from"], &mails[0]["to"][0]),
        (&"alerts@example.org".into(), &"ops@example.org".into())
    );
    assert_eq!((&mails[0]["tls"], &mails[0]["user"]), (&true.into(), &"alerts".into()));
    assert_eq!(header(&mails[1], "In-Reply-To"), header(&mails[0], "Message-ID"));
    assert_ne!(header(&mails[1], "Message-ID"), header(&mails[0], "Message-ID"));
    assert_eq!(header(&mails[0], "Auto-Submitted"), "auto-generated");
    // A recipient who is refused is a dead letter and stops nobody else.
    until("burial", || running.alerts.dead().len() == 2);
    assert!(running.alerts.dead().iter().all(|d| d.receiver == "mail.2" && d.why.contains("550")));
    assert!(running.alerts.counters().conserved());
}

#[test]
fn implicit_tls_works_and_a_wrong_password_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let peer = peer(&files, "implicit");
    let implicit = Mail { implicit_tls: true, ..mail(peer.port) };
    let wrong = Mail { password: "wrong".into(), ..implicit.clone() };
    let running = start(with(dir.path(), &files.ca, wrong), crate::quick());
    running.alerts.fire(&finding("key:a"), 1);
    until("the failure", || running.alerts.status()[1].last_error.contains("535"));
    assert_eq!(running.alerts.status()[1].counters.pending, 1);
    drop(running);
    // After a restart with the right one it arrives.
    let running = start(with(dir.path(), &files.ca, implicit), crate::quick());
    until("the mail", || peer.mails.lock().unwrap().len() == 1);
    running.alerts.fire(&in_state(finding("key:a"), FindingState::Resolved), 2);
    until("the end", || peer.mails.lock().unwrap().len() == 2);
    assert!(header(&peer.mails.lock().unwrap()[1], "Subject").starts_with("=?utf-8?B?"));
}

#[test]
fn a_certificate_of_somebody_else_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let peer = peer(&files, "starttls");
    let other = tempfile::tempdir().unwrap();
    let ca = self::files(other.path()).ca;
    let running = start(with(dir.path(), &ca, mail(peer.port)), crate::quick());
    running.alerts.fire(&finding("key:a"), 1);
    until("the failure", || running.alerts.status()[1].last_error.contains("tls"));
    assert!(peer.mails.lock().unwrap().is_empty());
}

/// A server that says what it is told to, and remembers what it heard.
fn scripted(answers: &'static [&'static str]) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let sink = heard.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 4096];
            for answer in answers {
                let _ = stream.write_all(answer.as_bytes());
                let Ok(n) = stream.read(&mut buffer) else { break };
                sink.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        }
    });
    (port, heard)
}

#[test]
fn without_starttls_neither_password_nor_mail_goes_out() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let cases: [(&[&str], &str); 2] = [
        (&["220 hi\r\n", "250-hi\r\n250 AUTH PLAIN LOGIN\r\n", "250 ok\r\n"], "does not offer STARTTLS"),
        // What is said in clear text after the answer would count as said under TLS.
        (
            &["220 hi\r\n", "250-hi\r\n250 STARTTLS\r\n", "220 go\r\n250-x\r\n250 AUTH PLAIN\r\n"],
            "more than its answer",
        ),
    ];
    for (at, (answers, want)) in cases.into_iter().enumerate() {
        let (port, heard) = scripted(answers);
        let running = start(with(&dir.path().join(at.to_string()), &files.ca, mail(port)), crate::quick());
        running.alerts.fire(&finding("key:a"), 1);
        until("the failure", || running.alerts.status()[1].last_error.contains(want));
        drop(running);
        let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
        assert!(heard.starts_with("EHLO [127.0.0.1]\r\n"), "{heard}");
        assert!(!heard.contains("AUTH") && !heard.contains("MAIL") && !heard.contains("c2VjcmV0"), "{heard}");
    }
}
