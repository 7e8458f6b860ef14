//! Push protocols over HTTP against a real ledger: what is answered is durable, once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_collect::intake::{Intake, IntakeLimits};
use countersign_collect::receivers::{Access, Port, http, syslog};
use countersign_collect::{Input, Keeper};
use countersign_event::Event;
use countersign_identity::{Identities, IdentityConfig, mint_api_key};
use countersign_ledger::{Disk, Feed, Kek, Ledger, Options, Parts, Payload, RealDisk, SourceSpec};
use countersign_redact::Scanner;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// A ledger with one input that listens.
pub(crate) struct Rig {
    pub(crate) address: SocketAddr,
    pub(crate) ledger: Ledger,
    pub(crate) port: Arc<Port>,
    stop: watch::Sender<bool>,
    runtime: tokio::runtime::Runtime,
    served: tokio::task::JoinHandle<()>,
}

/// A disk whose log stands still while it is told to.
#[derive(Default)]
pub(crate) struct StillDisk(pub(crate) AtomicBool);

impl Disk for StillDisk {
    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        RealDisk.write_at(file, path, bytes, offset)
    }
    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        while self.0.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        RealDisk.sync(file, path)
    }
    fn allocate(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        RealDisk.allocate(file, path, len)
    }
    fn used_permille(&self, dir: &Path) -> io::Result<u32> {
        RealDisk.used_permille(dir)
    }
}

impl Rig {
    pub(crate) fn start(dir: &Path, format: Option<&str>) -> Rig {
        Rig::with(dir, format, Arc::default(), IntakeLimits::default())
    }

    pub(crate) fn with(dir: &Path, format: Option<&str>, disk: Arc<StillDisk>, limits: IntakeLimits) -> Rig {
        Rig::behind(dir, format, disk, limits, Access::open(), http::Settings::default())
    }

    /// A rig to which only the API key that is given back may deliver.
    pub(crate) fn guarded(dir: &Path) -> (Rig, String) {
        let (key, line) = mint_api_key("shipper", "user:test/shipper", &[7; 32]).unwrap();
        let (keys, pepper) = (dir.join("keys"), dir.join("pepper"));
        std::fs::write(&keys, line).unwrap();
        std::fs::write(&pepper, STANDARD.encode([7; 32])).unwrap();
        let config = IdentityConfig {
            api_keys: Some(keys),
            api_key_pepper: Some(pepper),
            ..IdentityConfig::default()
        };
        let identities = Some(Arc::new(Identities::new(config, 0).unwrap()));
        let access = Access { identities, required: true };
        let limits = IntakeLimits::default();
        (Rig::behind(dir, None, Arc::default(), limits, access, http::Settings::default()), key)
    }

    pub(crate) fn behind(
        dir: &Path,
        format: Option<&str>,
        disk: Arc<StillDisk>,
        limits: IntakeLimits,
        access: Access,
        settings: http::Settings,
    ) -> Rig {
        let parts = Parts { disk, ..Parts::default() };
        let options = Options::new("example.org/collect/1");
        let (ledger, _) =
            Ledger::open_with(&dir.join("data"), Kek::from_bytes([3; 32]), options, parts).unwrap();
        let stream = [ledger.sources().len() as u8 + 1; 16];
        let source = ledger.register(SourceSpec { identity: "input:test".into(), stream }).unwrap();
        let port = Arc::new(Port {
            input: Input::new("test"),
            format: format.map(|name| countersign_collect::formats::by_name(name).unwrap()),
            intake: Intake::new(source, limits),
            keeper: Arc::new(Keeper::new(Scanner::default(), &[7; 32])),
            access,
        });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let served = runtime.spawn(http::serve(listener, Arc::clone(&port), settings, stopped));
        Rig { address, ledger, port, stop, runtime, served }
    }

    /// Ends it as `kill -9` would, but for the ledger, whose records are given back.
    pub(crate) fn crash(self) -> Vec<Event> {
        self.runtime.shutdown_background();
        let events = recorded(&self.ledger);
        self.ledger.shutdown().unwrap();
        events
    }

    /// Its input also takes syslog, by datagrams and streams, at the address given back. What has been recorded
    /// when the rig ends is in its events.
    pub(crate) fn syslog(&self) -> SocketAddr {
        let bound = async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            (listener, tokio::net::UdpSocket::bind(address).await.unwrap(), address)
        };
        let (listener, socket, address) = self.runtime.block_on(bound);
        let (stop, settings) = (self.stop.subscribe(), http::Settings::default());
        self.runtime.spawn(syslog::tcp(listener, Arc::clone(&self.port), settings, stop.clone()));
        self.runtime.spawn(syslog::udp(socket, Arc::clone(&self.port), stop));
        address
    }

    /// Ends it in order and gives every event.
    pub(crate) fn events(self) -> Vec<Event> {
        self.stop.send_replace(true);
        self.runtime.block_on(self.served).unwrap();
        let events = recorded(&self.ledger);
        assert!(self.port.intake.counts().adds_up());
        self.ledger.shutdown().unwrap();
        events
    }
}

/// Every event of a ledger.
fn recorded(ledger: &Ledger) -> Vec<Event> {
    let size = ledger.size();
    let mut reader = ledger.reader(0);
    let mut events = Vec::new();
    while reader.position() < size {
        if let Some(Feed::Batch(batch)) = reader.next(Duration::from_secs(5)).unwrap() {
            for record in &batch.records {
                if let Payload::Event { event, .. } = &record.payload {
                    events.push((**event).clone());
                }
            }
        }
    }
    events
}

/// One request on a connection of its own: status and body.
pub(crate) fn request(to: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let text = String::from_utf8(reply).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
}

const LINE: &str = r#"192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] "GET /a/7 HTTP/1.1" 200 803"#;

#[test]
fn lines_pushed_are_events_with_their_deliverer_and_what_nobody_understands_is_raw() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let body = format!("{LINE}\nwhat is this\n\n{{\"ts\":1,\"a\":2}}\n");
    let (status, counts) = request(rig.address, "POST", "/v1/events", "", body.as_bytes());
    assert_eq!((status, counts.as_str()), (200, "{\"recorded\":3,\"repeated\":0,\"rejected\":0}\n"));
    let events = rig.events();
    let formats: Vec<_> = events.iter().map(|e| e.body.cap.as_ref().unwrap().fmt.clone()).collect();
    assert_eq!(formats, ["combined", "unknown", "json"]);
    assert!(events.iter().all(|e| e.body.cap.as_ref().unwrap().deliverer == "addr:127.0.0.1"));
    assert_eq!(events[1].body.raw.as_ref().unwrap().bytes, b"what is this");
}

#[test]
fn a_batch_sent_again_under_its_key_is_recorded_once_and_equal_lines_in_it_stay_two() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let body = format!("{LINE}\n{LINE}\n");
    let send = |key: &str| {
        request(rig.address, "POST", "/v1/events", &format!("Idempotency-Key: {key}\r\n"), body.as_bytes())
    };
    assert_eq!(send("a").1, "{\"recorded\":2,\"repeated\":0,\"rejected\":0}\n");
    assert_eq!(send("a").1, "{\"recorded\":0,\"repeated\":2,\"rejected\":0}\n");
    assert_eq!(send("b").1, "{\"recorded\":2,\"repeated\":0,\"rejected\":0}\n");
    let counts = rig.port.intake.counts();
    assert_eq!((counts.received, counts.recorded), (6, 6));
    assert_eq!(rig.events().len(), 4);
}

#[test]
fn a_bulk_answers_each_action_in_order_and_knows_ids_again() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let body = "{\"index\":{\"_id\":\"1\"}}\n{\"a\":1}\n{\"delete\":{\"_id\":\"9\"}}\n{\"create\":{\"_index\":\"logs\"}}\n{\"a\":2}\n{\"index\":{}}\n";
    let (status, first) = request(rig.address, "POST", "/app/_bulk", "", body.as_bytes());
    assert_eq!(status, 200);
    let reply: serde_json::Value = serde_json::from_str(&first).unwrap();
    let seen: Vec<_> = reply["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let (verb, of) = item.as_object().unwrap().iter().next().unwrap();
            (verb.clone(), of["status"].as_u64().unwrap(), of["_index"].as_str().unwrap().to_owned())
        })
        .collect();
    let want =
        [("index", 201, "app"), ("delete", 400, "app"), ("create", 201, "logs"), ("index", 400, "app")];
    assert_eq!(seen, want.map(|(v, s, i)| (v.to_owned(), s, i.to_owned())));
    assert_eq!(reply["errors"], true);
    request(rig.address, "POST", "/app/_bulk", "", body.as_bytes());
    // Sent again: `1` by its id, the other by its content.
    let counts = rig.port.intake.counts();
    assert_eq!((counts.received, counts.recorded, counts.rejected), (8, 4, 4));
    let events = rig.events();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].body.cap.as_ref().unwrap().source_id, "app/1");
}

#[test]
fn a_batch_of_the_api_server_joins_stages_that_came_together_and_is_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let stage = |id: &str, stage: &str, more: &str| {
        format!(
            "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"{id}\",\
             \"stage\":\"{stage}\",\"requestURI\":\"/api/v1/namespaces/a/pods/b\",\"verb\":\"get\",\
             \"user\":{{\"username\":\"u\"}},\"sourceIPs\":[\"192.0.2.1\"],\
             \"requestReceivedTimestamp\":\"2024-03-13T12:08:33.000000Z\",\
             \"stageTimestamp\":\"2024-03-13T12:08:33.010000Z\"{more}}}"
        )
    };
    let done = ",\"responseStatus\":{\"code\":200}";
    let body = format!(
        "{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"items\":[{},{},{},7]}}",
        stage("x", "RequestReceived", ""),
        stage("x", "ResponseComplete", done),
        stage("y", "ResponseComplete", done)
    );
    for _ in 0..2 {
        assert_eq!(request(rig.address, "POST", "/k8s/audit", "", body.as_bytes()).0, 200);
    }
    let counts = rig.port.intake.counts();
    assert_eq!(
        (counts.recorded, counts.raw),
        (4 + 3, 1),
        "two stages in one, three more; then three repeats"
    );
    let events = rig.events();
    let merged: Vec<_> = events.iter().map(|event| event.body.cap.as_ref().unwrap().merged).collect();
    assert_eq!(merged, [Some(2), None, None]);
    assert_eq!(events[0].core.status.as_ref().unwrap().1, "200");
}

#[test]
fn what_clients_of_elasticsearch_ask_first_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    for (method, path) in [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/_license"),
        ("GET", "/_index_template/x"),
        ("PUT", "/_ilm/policy/x"),
    ] {
        assert_eq!(request(rig.address, method, path, "", b"").0, 200, "{method} {path}");
    }
    let (status, why) = request(rig.address, "GET", "/nothing", "", b"");
    assert_eq!(status, 404);
    assert!(why.contains("POST /v1/events"), "{why}");
    assert!(rig.events().is_empty());
}

#[test]
fn a_body_that_unfolds_without_end_and_one_that_is_no_gzip_are_refused_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![b'a'; 8 << 20]).unwrap();
    let gzip = "Content-Encoding: gzip\r\n";
    assert_eq!(request(rig.address, "POST", "/v1/events", gzip, &packer.finish().unwrap()).0, 413);
    assert_eq!(request(rig.address, "POST", "/v1/events", gzip, b"no gzip").0, 400);
    assert_eq!(request(rig.address, "POST", "/v1/events", "Content-Encoding: br\r\n", b"x").0, 415);
    assert_eq!(rig.port.intake.counts().rejected, 3);
    assert!(rig.events().is_empty());
}

#[test]
fn while_the_ledger_stands_still_senders_are_told_to_come_again_and_nothing_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(StillDisk::default());
    let limits = IntakeLimits { durable: Duration::from_millis(200), ..IntakeLimits::default() };
    let rig = Rig::with(dir.path(), None, Arc::clone(&disk), limits);
    let body = |n: usize| format!("{{\"create\":{{\"_id\":\"{n}\"}}}}\n{{\"n\":{n}}}\n");
    let send = |n: usize| request(rig.address, "POST", "/_bulk", "", body(n).as_bytes()).0;
    assert_eq!(send(0), 200);
    disk.0.store(true, Ordering::SeqCst);
    for n in 1..5 {
        // Its record may be on its way: the sender cannot know, and is told that it is not durable.
        assert!(matches!(send(n), 429 | 503), "not durable, so no success");
    }
    disk.0.store(false, Ordering::SeqCst);
    for n in 1..5 {
        while send(n) != 200 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let events = rig.events();
    let ids: Vec<_> = events.iter().map(|event| event.body.cap.as_ref().unwrap().source_id.clone()).collect();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 5, "{ids:?}");
    assert_eq!(ids.len(), 5, "each once");
}
