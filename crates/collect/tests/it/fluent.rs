//! Fluent's forward protocol against a real ledger: by hand, and by the libraries that applications use.

use countersign_collect::intake::{Intake, IntakeLimits};
use countersign_collect::receivers::fluent::{SharedKey, serve};
use countersign_collect::receivers::{Access, Port, http};
use countersign_collect::{Counts, Input, Keeper};
use countersign_event::{Event, Kind};
use countersign_ledger::{Feed, Kek, Ledger, Options, Payload, SourceSpec};
use countersign_redact::Scanner;
use countersign_testkit::node::{modules, node};
use countersign_testkit::python::venv;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

struct Server {
    address: SocketAddr,
    ledger: Ledger,
    port: Arc<Port>,
    stop: watch::Sender<bool>,
    runtime: tokio::runtime::Runtime,
    served: tokio::task::JoinHandle<()>,
}

impl Server {
    fn start(dir: &Path, key: Option<&str>) -> Server {
        let options = Options::new("example.org/collect/1");
        let (ledger, _) = Ledger::open(&dir.join("data"), Kek::from_bytes([3; 32]), options).unwrap();
        let source = ledger.register(SourceSpec { identity: "input:test".into(), stream: [1; 16] }).unwrap();
        let port = Arc::new(Port {
            input: Input::new("test"),
            format: None,
            intake: Intake::new(source, IntakeLimits::default()),
            keeper: Arc::new(Keeper::new(Scanner::default(), &[7; 32])),
            access: Access { identities: None, required: key.is_some() },
        });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let key = key.map(|key| SharedKey::new(key.as_bytes()).unwrap());
        let served =
            runtime.spawn(serve(listener, Arc::clone(&port), http::Settings::default(), key, stopped));
        Server { address, ledger, port, stop, runtime, served }
    }

    fn counts(&self, received: u64) -> Counts {
        let until = Instant::now() + Duration::from_secs(60);
        while self.port.intake.counts().received < received {
            assert!(Instant::now() < until, "{:?}", self.port.intake.counts());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.port.intake.counts()
    }

    fn events(self) -> Vec<Event> {
        self.stop.send_replace(true);
        self.runtime.block_on(self.served).unwrap();
        let (size, mut reader, mut events) = (self.ledger.size(), self.ledger.reader(0), Vec::new());
        while reader.position() < size {
            if let Some(Feed::Batch(batch)) = reader.next(Duration::from_secs(5)).unwrap() {
                for record in &batch.records {
                    if let Payload::Event { event, .. } = &record.payload {
                        events.push((**event).clone());
                    }
                }
            }
        }
        self.ledger.shutdown().unwrap();
        events
    }
}

fn deliverer(event: &Event) -> &str {
    &event.body.cap.as_ref().unwrap().deliverer
}

const ENTRY: &[u8] = b"\x92\x01\x81\xa3log\xa5hello";

#[test]
fn a_chunk_is_answered_by_its_id_and_known_again_and_equal_events_in_it_stay_two() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), None);
    let message = [b"\x93\xa1t\x92", ENTRY, ENTRY, b"\x81\xa5chunk\xa2c1"].concat();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        // A heartbeat before it, and pieces.
        stream.write_all(b"\xc0").unwrap();
        for piece in message.chunks(7) {
            stream.write_all(piece).unwrap();
        }
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"\x81\xa3ack\xa2c1");
    }
    let counts = server.counts(4);
    assert_eq!((counts.received, counts.recorded), (4, 4));
    let events = server.events();
    let ids: Vec<_> = events.iter().map(|e| e.body.cap.as_ref().unwrap().source_id.clone()).collect();
    assert_eq!(ids, ["c1/0", "c1/1"]);
    assert!(events.iter().all(|event| deliverer(event) == "addr:127.0.0.1"));
}

#[test]
fn what_is_no_message_ends_the_connection_and_what_came_before_it_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), None);
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(&[&b"\x92\xa1t\x91"[..], ENTRY, b"\xc1"].concat()).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "closed");
    // Half a message and then nothing.
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"\x93\xa1t").unwrap();
    drop(stream);
    let counts = server.counts(3);
    assert_eq!((counts.recorded, counts.rejected), (1, 2));
    assert_eq!(server.events().len(), 1);
}

#[test]
fn nothing_is_read_of_a_client_that_does_not_know_the_shared_key() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), Some("secret"));
    let mut stream = TcpStream::connect(server.address).unwrap();
    let mut helo = [0; 6];
    stream.read_exact(&mut helo).unwrap();
    assert_eq!(&helo, b"\x92\xa4HELO");
    stream.write_all(b"\x96\xa4PING\xa1h\xa1s\xa1d\xa0\xa0").unwrap();
    stream.write_all(&[&b"\x92\xa1t\x91"[..], ENTRY].concat()).unwrap();
    let mut rest = Vec::new();
    // It may be reset, since what was sent behind is not read.
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(server.counts(1).rejected, 1);
    assert!(server.events().iter().all(|event| event.body.raw.is_none()), "nothing was delivered");
}

/// The library of Node applications, with acknowledgement, in one mode after the other.
const LOGGER: &str = r#"
const { FluentClient } = require("@fluent-org/logger");
const [host, port, key] = process.argv[2].split(":");
(async () => {
  for (const mode of ["Message", "Forward", "PackedForward", "CompressedPackedForward"]) {
    const options = { eventMode: mode, socket: { host, port: +port, timeout: 10000 }, ack: { ackTimeout: 20000 },
                      milliseconds: true, sendQueueIntervalMs: 5 };
    if (key) options.security = { clientHostname: "n1", sharedKey: key };
    const client = new FluentClient("app", options);
    const sent = [];
    for (let n = 0; n < 25; n++) sent.push(client.emit("log", { message: `192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] "GET /${mode}/${n} HTTP/1.1" 200 803` }));
    await Promise.all(sent);
    await client.shutdown();
  }
  console.log("all acknowledged");
})().catch((error) => { console.error(error); process.exit(1); });
"#;

fn log_by_node(key: Option<&str>) {
    let packages = modules("fluent", &["@fluent-org/logger@1.0.10"]).unwrap();
    let script = packages.join(if key.is_some() { "keyed.js" } else { "plain.js" });
    std::fs::write(&script, LOGGER).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), key);
    let target = format!("{}:{}", server.address, key.unwrap_or_default());
    let output = Command::new(node().unwrap()).arg(&script).arg(target).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout.starts_with(b"all acknowledged"), "{said}");
    let events = server.events();
    let mut paths: Vec<_> = events.iter().map(|event| event.target.raw.clone()).collect();
    paths.sort();
    paths.dedup();
    assert_eq!((events.len(), paths.len()), (100, 100), "each once");
    assert!(events.iter().all(|event| event.core.kind == Some(Kind::Http)));
    let who = if key.is_some() { "key:fluent/test" } else { "addr:127.0.0.1" };
    assert!(events.iter().all(|event| deliverer(event) == who));
}

#[test]
fn every_mode_of_a_library_is_recorded_and_acknowledged() {
    log_by_node(None);
}

#[test]
fn a_library_that_knows_the_shared_key_is_let_in() {
    log_by_node(Some("a secret"));
}

/// The library of Python applications, which asks for no answer.
const SENDER: &str = r#"
import sys
from fluent import sender
host, port = sys.argv[1].split(":")
logger = sender.FluentSender("app", host=host, port=int(port), nanosecond_precision=True)
for n in range(50):
    assert logger.emit("log", {"log": f"order {n} shipped", "n": n, "x": None, "f": 1.5}), logger.last_error
logger.close()
"#;

#[test]
fn a_library_that_asks_for_no_answer_is_read_to_its_end() {
    let python = venv("fluent", &["fluent-logger==0.11.1"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), None);
    let output = Command::new(python).args(["-c", SENDER, &server.address.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.counts(50).recorded, 50);
    let events = server.events();
    assert!(events.iter().all(|event| event.core.t_event.is_some() && event.content.err.is_empty()));
}
