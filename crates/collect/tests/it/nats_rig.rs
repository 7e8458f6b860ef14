//! A ledger with an input that fetches from a broker, and a relay between it and NATS that can lose acknowledgements.

use crate::push::StillDisk;
use countersign_collect::consumers::kafka;
use countersign_collect::consumers::nats::{Fetcher, Settings, run};
use countersign_collect::intake::{Intake, IntakeLimits, Keys};
use countersign_collect::receivers::{Access, Port};
use countersign_collect::{Input, KeepRaw, Keeper};
use countersign_event::{Event, Rec, Verified};
use countersign_ledger::{Feed, Kek, Ledger, Options, Parts, Payload, SourceSpec};
use countersign_redact::Scanner;
use countersign_testkit::nats::{Client, Nats};
use countersign_testkit::net::wait_until;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

pub(crate) const STREAM: &str = "ORDERS";
pub(crate) const CONSUMER: &str = "audit";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// See the module. Its process is a task: [`Rig::crash`] ends that wherever it is, [`Rig::start`] begins another.
pub(crate) struct Rig {
    pub(crate) ledger: Ledger,
    pub(crate) port: Arc<Port>,
    pub(crate) disk: Arc<StillDisk>,
    pub(crate) limits: IntakeLimits,
    _dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    task: Option<tokio::task::JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

/// Times that a test does not wait for.
pub(crate) fn quick(at: SocketAddr) -> Settings {
    Settings {
        create: true,
        ack_wait: Duration::from_millis(700),
        durable: Duration::from_millis(200),
        again: Duration::from_millis(300),
        look: Duration::from_millis(100),
        retry_max: Duration::from_millis(200),
        ..Settings::new(vec![at.to_string().parse().unwrap()], STREAM, CONSUMER)
    }
}

impl Rig {
    pub(crate) fn new(limits: IntakeLimits) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<StillDisk> = Arc::default();
        let parts = Parts { disk: Arc::clone(&disk) as Arc<_>, ..Parts::default() };
        let options = Options::new("example.org/collect/1");
        let kek = Kek::from_bytes([3; 32]);
        let (ledger, _) = Ledger::open_with(&dir.path().join("data"), kek, options, parts).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let port = port(&ledger, limits);
        let (stop, _) = watch::channel(false);
        Rig { ledger, port, disk, limits, _dir: dir, runtime, task: None, stop }
    }

    /// A new process over the same ledger, which remembers what earlier ones recorded, and fetches from NATS.
    pub(crate) fn start(&mut self, settings: Settings) {
        self.renew();
        let fetcher = Fetcher::new(Arc::clone(&self.port), settings).unwrap();
        self.task = Some(self.runtime.spawn(run(fetcher, self.stop.subscribe())));
    }

    /// As [`Rig::start`], and fetches from Kafka.
    pub(crate) fn start_kafka(&mut self, settings: kafka::Settings) {
        self.renew();
        let fetcher = kafka::Fetcher::new(Arc::clone(&self.port), settings).unwrap();
        self.task = Some(self.runtime.spawn(kafka::run(fetcher, self.stop.subscribe())));
    }

    fn renew(&mut self) {
        self.port = port(&self.ledger, self.limits);
        let mut keys = Keys::default();
        for event in self.events() {
            keys.next(&event).into_iter().for_each(|key| self.port.intake.remember(key));
        }
        self.stop = watch::channel(false).0;
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            self.runtime.block_on(task).unwrap();
        }
    }

    /// Ends it wherever it is. What it had given to the ledger comes to its end: nothing of a dead process becomes durable
    /// after the next one has begun.
    pub(crate) fn crash(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = self.runtime.block_on(task);
        }
        let all = IntakeLimits::default().in_flight;
        drop(self.runtime.block_on(self.port.intake.wait_room(all)).unwrap());
    }

    pub(crate) fn events(&self) -> Vec<Event> {
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
        events
    }

    /// The events of records.
    pub(crate) fn records(&self) -> Vec<Event> {
        self.events().into_iter().filter(|event| event.core.rec != Some(Rec::Platform)).collect()
    }

    /// What the input said itself: operation and reason.
    pub(crate) fn told(&self) -> Vec<(String, String)> {
        let own = self.events().into_iter().filter(|event| event.core.rec == Some(Rec::Platform));
        own.map(|event| (event.core.op.clone(), event.content.err.clone())).collect()
    }

    pub(crate) fn wait_for_records(&self, n: usize) {
        let all = || self.records().len() >= n;
        wait_until("records", PATIENCE, all).unwrap_or_else(|e| panic!("{e}: {:?}", self.told()));
    }

    pub(crate) fn wait_for_told(&self, op: &str) -> String {
        let find = || self.told().into_iter().find(|(own, _)| own == op);
        wait_until(op, PATIENCE, || find().is_some()).unwrap_or_else(|e| panic!("{e}: {:?}", self.told()));
        find().unwrap().1
    }

    /// Exactly these lines are there, each once.
    pub(crate) fn once(&self, lines: impl Iterator<Item = u64>) {
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        for event in self.records() {
            let bytes = event.body.raw.as_ref().unwrap().bytes.clone();
            *seen.entry(String::from_utf8(bytes).unwrap()).or_default() += 1;
        }
        for n in lines {
            assert_eq!(seen.remove(&line(n)), Some(1), "line {n}; {:?}", self.told());
        }
        assert!(seen.is_empty(), "nothing else: {seen:?}");
    }
}

fn port(ledger: &Ledger, limits: IntakeLimits) -> Arc<Port> {
    let mut stream = [7; 16];
    stream[..8].copy_from_slice(&(ledger.sources().len() as u64 + 1).to_be_bytes());
    let source = ledger.register(SourceSpec { identity: "input:test".into(), stream }).unwrap();
    let mut input = Input::new("test");
    input.keep_raw = KeepRaw::All;
    input.level = Verified::Asserted;
    Arc::new(Port {
        input,
        format: None,
        intake: Intake::new(source, limits),
        keeper: Arc::new(Keeper::new(Scanner::default(), &[7; 32])),
        access: Access::open(),
    })
}

/// Numbered records, each of which can be told from every other.
pub(crate) fn line(n: u64) -> String {
    format!("{{\"n\":{n},\"ts\":{}}}", 1_710_331_713 + n)
}

/// Makes the stream of the tests; `more` are further members of its configuration, each with a comma before it.
pub(crate) fn make_stream(client: &mut Client, more: &str) {
    let config = format!("{{\"name\":\"{STREAM}\",\"subjects\":[\"orders.>\"]{more}}}");
    let answer = client.ask(&format!("$JS.API.STREAM.CREATE.{STREAM}"), config.as_bytes()).unwrap();
    assert!(answer.contains("\"did_create\":true"), "{answer}");
}

/// Publishes lines, each of which the stream has taken.
pub(crate) fn publish(client: &mut Client, lines: impl Iterator<Item = u64>) {
    for n in lines {
        let answer = client.ask(&format!("orders.{}", n % 3), line(n).as_bytes()).unwrap();
        assert!(answer.contains("\"seq\""), "{answer}");
    }
}

/// How far the consumer is, as the server says: newest delivery, its number, all acknowledged up to, not acknowledged, waiting.
#[derive(Debug)]
pub(crate) struct Far {
    pub(crate) deliveries: u64,
    pub(crate) floor: u64,
    pub(crate) unacknowledged: u64,
    pub(crate) waiting: u64,
}

pub(crate) fn far(client: &mut Client) -> Far {
    let answer = client.ask(&format!("$JS.API.CONSUMER.INFO.{STREAM}.{CONSUMER}"), b"").unwrap();
    let json: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let number = |path: &str| json.pointer(path).and_then(serde_json::Value::as_u64).unwrap_or(0);
    Far {
        deliveries: number("/delivered/consumer_seq"),
        floor: number("/ack_floor/stream_seq"),
        unacknowledged: number("/num_ack_pending"),
        waiting: number("/num_pending"),
    }
}

/// Waits until everything was acknowledged.
pub(crate) fn wait_for_acknowledged(client: &mut Client) -> Far {
    wait_until("the last acknowledgement", PATIENCE, || {
        let far = far(client);
        far.unacknowledged == 0 && far.waiting == 0 && far.deliveries > 0
    })
    .unwrap_or_else(|e| panic!("{e}: {:?}", far(client)));
    far(client)
}

/// A relay to `server` that loses what acknowledges while it is told to.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    pub(crate) deaf: Arc<AtomicBool>,
}

impl Relay {
    pub(crate) fn start(server: &Nats) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, deaf) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(true)));
        let (to, is_deaf) = (server.address, Arc::clone(&deaf));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                let (mut down, mut up) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || drop(std::io::copy(&mut down, &mut up)));
                let is_deaf = Arc::clone(&is_deaf);
                std::thread::spawn(move || pass(client, server, &is_deaf));
            }
        });
        Relay { address, deaf }
    }
}

fn pass(client: TcpStream, mut server: TcpStream, deaf: &AtomicBool) {
    let (mut client, mut lose) = (BufReader::new(client), false);
    loop {
        let mut line = Vec::new();
        if client.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
            return;
        }
        // An acknowledgement is two lines.
        let content = std::mem::take(&mut lose);
        lose = !content && line.starts_with(b"PUB $JS.ACK.") && deaf.load(Ordering::SeqCst);
        if !lose && !content && server.write_all(&line).is_err() {
            return;
        }
    }
}
