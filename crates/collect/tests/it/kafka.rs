//! Kafka against a broker that is not ours, with records of producers that are not ours: each is there once, and is
//! committed when it is durable and not before, whatever dies in between.

use crate::nats_rig::{Rig, line};
use countersign_collect::consumers::kafka::{Sasl, Settings};
use countersign_collect::intake::IntakeLimits;
use countersign_event::{CaptureConf, CaptureMode, LinkVia, Unmapped, Verified};
use countersign_identity::authority::Authority;
use countersign_identity::{
    CertificateFiles, ClientAuth, ClientTls, ClientTlsConfig, Presented, ServerTls, ServerTlsConfig, Trusted,
};
use countersign_testkit::kafka::Kafka;
use countersign_testkit::net::wait_until;
use countersign_testkit::repetitions;
use countersign_wire::scram::{Keys, ServerSide, Verifier};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const TOPIC: &str = "orders";
const GROUP: &str = "audit";

fn quick(at: SocketAddr) -> Settings {
    Settings {
        wait: Duration::from_millis(100),
        durable: Duration::from_millis(200),
        again: Duration::from_millis(100),
        renew: Duration::from_secs(1),
        retry_max: Duration::from_millis(200),
        ..Settings::new(vec![at.to_string().parse().unwrap()], vec![TOPIC.into()], GROUP)
    }
}

/// Work for the producer: numbered records over three partitions.
fn send(packing: &str, lines: impl Iterator<Item = u64>) -> String {
    let records: Vec<_> =
        lines.map(|n| serde_json::json!([n % 3, format!("key-{n}"), line(n), [["h", "v"]]])).collect();
    let packing = Some(packing).filter(|packing| !packing.is_empty());
    serde_json::json!(["send", TOPIC, packing, records]).to_string()
}

fn create() -> String {
    format!("[\"create\",\"{TOPIC}\",3]\n")
}

/// What the group has committed of each partition; 0 = nothing.
fn committed(broker: &Kafka) -> Vec<u64> {
    let found = broker.with_python(&format!("[\"committed\",\"{GROUP}\",\"{TOPIC}\",3]")).unwrap();
    let found: Vec<Option<u64>> = serde_json::from_str(&found[0]).unwrap();
    found.into_iter().map(Option::unwrap_or_default).collect()
}

fn wait_for_committed(broker: &Kafka, sum: u64) {
    let all = || committed(broker).iter().sum::<u64>() == sum;
    wait_until("the last commit", Duration::from_secs(60), all)
        .unwrap_or_else(|e| panic!("{e}: {:?}", committed(broker)));
}

#[test]
fn every_record_is_there_with_its_place_whoever_packed_it_also_a_tombstone() {
    let broker = Kafka::start(None).unwrap();
    let mut work = create();
    for (at, packing) in ["", "gzip", "snappy", "lz4"].into_iter().enumerate() {
        let at = at as u64 * 300;
        work += &format!("{}\n", send(packing, at..at + 300));
    }
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = serde_json::json!([["traceparent", trace], ["Authorization", "Bearer hunter2hunter2"]]);
    work += &serde_json::json!(["send", TOPIC, null, [[0, "gone", null, headers]]]).to_string();
    broker.with_python(&work).unwrap();
    let mut rig = Rig::new(IntakeLimits::default());
    rig.start_kafka(quick(broker.address));
    rig.wait_for_records(1_201);
    wait_for_committed(&broker, 1_201);
    rig.stop();
    let records = rig.records();
    let (gone, rest): (Vec<_>, Vec<_>) =
        records.iter().partition(|event| event.core.labels.iter().any(|label| label == "kafka_tombstone"));
    let mut lines: Vec<String> = rest
        .iter()
        .map(|event| String::from_utf8(event.body.raw.as_ref().unwrap().bytes.clone()).unwrap())
        .collect();
    let mut want: Vec<String> = (0..1_200).map(line).collect();
    lines.sort();
    want.sort();
    assert_eq!(lines, want);
    let token = |event: &countersign_event::Event, name: &str| event.content.unmapped.get(name).cloned();
    assert_eq!((gone.len(), gone[0].links.via), (1, Some(LinkVia::MessageHeader)));
    assert_eq!(token(gone[0], "/kafka/key"), Some(Unmapped::Token("\"gone\"".into())));
    assert!(!format!("{:?}", gone[0]).contains("hunter2"), "a secret in a header");
    let capture = rest[0].body.cap.as_ref().unwrap();
    assert!(capture.source_id.starts_with("kafka:orders/"), "{}", capture.source_id);
    assert!(capture.path.starts_with("orders/") && capture.offset.is_some());
    assert_eq!((capture.mode, capture.level), (Some(CaptureMode::Pull), Some(Verified::Claimed)));
    assert_eq!(token(rest[0], "/kafka/headers/h"), Some(Unmapped::Token("\"v\"".into())));
    let counts = rig.port.intake.counts();
    assert!(counts.adds_up() && counts.dropped == 0 && rig.told().is_empty(), "{counts:?} {:?}", rig.told());
}

#[test]
fn what_cannot_be_read_is_one_raw_record_a_batch_and_is_passed_and_told() {
    let broker = Kafka::start(None).unwrap();
    let one = |value: &str| serde_json::json!(["send", TOPIC, null, [[0, null, value, []]]]).to_string();
    let zstd =
        serde_json::json!(["send", TOPIC, "zstd", [[0, null, "a".repeat(400), []], [0, null, "b", []]]]);
    broker
        .with_python(&format!("{}{}\n{zstd}\n{}\n", create(), one("what is this"), one("and this")))
        .unwrap();
    let mut rig = Rig::new(IntakeLimits::default());
    rig.start_kafka(quick(broker.address));
    let why = rig.wait_for_told("input.unreadable");
    assert!(why.contains("zstd") && why.contains("orders/0"), "{why}");
    wait_for_committed(&broker, 4);
    rig.stop();
    let records = rig.records();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|event| event.body.cap.as_ref().unwrap().conf == Some(CaptureConf::RawOnly)));
    assert!(records[1].content.err.contains("batch of 2 records"), "{}", records[1].content.err);
}

#[test]
fn a_consumer_of_kafka_that_dies_at_any_moment_leaves_each_record_there_once() {
    let broker = Kafka::start(None).unwrap();
    let (rounds, each) = (repetitions(5, 50) as u64, 600);
    broker.with_python(&create()).unwrap();
    let mut rig = Rig::new(IntakeLimits::default());
    let mut seed = 0x00c0_11ec_u64;
    for round in 0..rounds {
        broker.with_python(&send("", round * each..(round + 1) * each)).unwrap();
        rig.start_kafka(quick(broker.address));
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        // So that it ends while it connects, fetches, records, or commits.
        std::thread::sleep(Duration::from_micros(seed % 60_000));
        rig.crash();
    }
    rig.start_kafka(quick(broker.address));
    rig.wait_for_records((rounds * each) as usize);
    wait_for_committed(&broker, rounds * each);
    rig.stop();
    rig.once(0..rounds * each);
    assert!(rig.told().is_empty(), "{:?}", rig.told());
}

#[test]
fn while_the_ledger_stands_still_nothing_is_committed_and_nothing_lost() {
    let limits = IntakeLimits { durable: Duration::from_millis(200), ..IntakeLimits::default() };
    let broker = Kafka::start(None).unwrap();
    broker.with_python(&format!("{}{}", create(), send("", 0..3))).unwrap();
    let mut rig = Rig::new(limits);
    rig.start_kafka(quick(broker.address));
    wait_for_committed(&broker, 3);
    rig.disk.0.store(true, Ordering::SeqCst);
    broker.with_python(&send("gzip", 3..60)).unwrap();
    for _ in 0..3 {
        // Each look takes longer than the wait for durability.
        assert_eq!(committed(&broker).iter().sum::<u64>(), 3);
    }
    rig.disk.0.store(false, Ordering::SeqCst);
    wait_for_committed(&broker, 60);
    rig.stop();
    rig.once(0..60);
    assert!(rig.port.intake.counts().adds_up() && rig.told().is_empty());
}

/// A relay to a broker; what passes can be cut, and once it is told to, a login is asked for first.
struct Front {
    address: SocketAddr,
    asks: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Front {
    /// The broker behind it is given with the relay's start, since it must know the relay's address.
    fn start(login: Option<&'static str>) -> (Front, Arc<Mutex<Option<SocketAddr>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, open) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (to, all) = (Arc::new(Mutex::new(None)), Arc::clone(&open));
        let (broker, asks) = (Arc::clone(&to), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&asks);
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let Some(to) = *broker.lock().unwrap() else { continue };
                let all = Arc::clone(&all);
                let login = login.filter(|_| asked.load(Ordering::SeqCst));
                std::thread::spawn(move || {
                    if login.is_some_and(|mechanism| !logs_in(&mut client, mechanism)) {
                        return;
                    }
                    let server = TcpStream::connect(to).unwrap();
                    all.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                    let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                    std::thread::spawn(move || drop(std::io::copy(&mut down, &mut up)));
                    let _ = std::io::copy(&mut client, &mut { server });
                });
            }
        });
        (Front { address, asks, open }, to)
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Key, number and body of a request whose client names itself.
fn request(client: &mut TcpStream) -> Option<(u16, [u8; 4], Vec<u8>)> {
    let mut length = [0; 4];
    client.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    client.read_exact(&mut bytes).ok()?;
    let name = usize::from(u16::from_be_bytes([bytes[8], bytes[9]]));
    Some((
        u16::from_be_bytes([bytes[0], bytes[1]]),
        bytes[4..8].try_into().unwrap(),
        bytes[10 + name..].to_vec(),
    ))
}

fn answer(client: &mut TcpStream, number: [u8; 4], body: &[u8]) {
    let length = (body.len() as u32 + 4).to_be_bytes();
    client.write_all(&[&length[..], &number, body].concat()).unwrap();
}

fn said(error: u16, message: &[u8]) -> Vec<u8> {
    [&error.to_be_bytes()[..], &[0xff, 0xff], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// A broker's end of a login as `alice` with `pass-word`, written after the protocol guide.
fn logs_in(client: &mut TcpStream, mechanism: &str) -> bool {
    let Some((17, number, body)) = request(client) else { return false };
    let name = [&(mechanism.len() as u16).to_be_bytes(), mechanism.as_bytes()].concat();
    let good = body == name;
    answer(client, number, &[&[0, if good { 0 } else { 33 }, 0, 0, 0, 1][..], &name].concat());
    let Some((36, number, body)) = request(client).filter(|_| good) else { return false };
    let message = &body[4..];
    if mechanism == "PLAIN" {
        let good = message == b"\0alice\0pass-word";
        answer(client, number, &said(if good { 0 } else { 58 }, b""));
        return good;
    }
    let verifier = Verifier::of_keys(
        &Keys::of_password(b"pass-word", b"salt-salt-salt", 4_096),
        b"salt-salt-salt",
        4_096,
    );
    let (server, challenge) = ServerSide::begin(message, false, None, "nonceofours", verifier).unwrap();
    answer(client, number, &said(0, &challenge));
    let Some((36, number, body)) = request(client) else { return false };
    match server.finish(&body[4..]) {
        Ok(proved) => {
            answer(client, number, &said(0, &proved.last));
            true
        }
        Err(_) => {
            answer(client, number, &said(58, b""));
            false
        }
    }
}

#[test]
fn a_connection_that_breaks_is_told_once_and_each_record_is_there_once() {
    let (front, to) = Front::start(None);
    let broker = Kafka::start(Some(front.address)).unwrap();
    *to.lock().unwrap() = Some(broker.address);
    broker.with_python(&format!("{}{}", create(), send("", 0..300))).unwrap();
    let mut rig = Rig::new(IntakeLimits::default());
    rig.start_kafka(quick(front.address));
    rig.wait_for_records(1);
    front.cut();
    rig.wait_for_told("input.disconnected");
    rig.wait_for_told("input.connected");
    broker.with_python(&send("", 300..600)).unwrap();
    rig.wait_for_records(600);
    wait_for_committed(&broker, 600);
    rig.stop();
    rig.once(0..600);
    assert!(!rig.told().iter().any(|(op, _)| op == "input.lost"), "{:?}", rig.told());
}

#[test]
fn logins_pass_by_plain_and_scram_and_a_wrong_one_is_told_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (right, wrong) = (file("right", "pass-word\n"), file("wrong", "hunter2"));
    for (mechanism, good, bad) in [
        ("PLAIN", Sasl::Plain("alice".into(), right.clone()), Sasl::Plain("alice".into(), wrong.clone())),
        (
            "SCRAM-SHA-256",
            Sasl::Scram("alice".into(), right.clone()),
            Sasl::Scram("alice".into(), wrong.clone()),
        ),
    ] {
        let (front, to) = Front::start(Some(mechanism));
        let broker = Kafka::start(Some(front.address)).unwrap();
        *to.lock().unwrap() = Some(broker.address);
        broker.with_python(&format!("{}{}", create(), send("", 0..30))).unwrap();
        front.asks.store(true, Ordering::SeqCst);
        let mut rig = Rig::new(IntakeLimits::default());
        rig.start_kafka(Settings { sasl: bad, ..quick(front.address) });
        let why = rig.wait_for_told("input.disconnected");
        assert!(why.contains("SASL_AUTHENTICATION_FAILED") && !why.contains("hunter2"), "{why}");
        rig.stop();
        assert!(rig.records().is_empty());
        rig.start_kafka(Settings { sasl: good, ..quick(front.address) });
        rig.wait_for_records(30);
        rig.stop();
        rig.once(0..30);
    }
}

/// A relay that ends TLS, with a client's certificate, before a broker; until it is told to, all passes in plain text.
fn behind_tls(
    config: Arc<rustls::ServerConfig>,
) -> (SocketAddr, Arc<Mutex<Option<SocketAddr>>>, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, to) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(None)));
    let broker: Arc<Mutex<Option<SocketAddr>>> = Arc::clone(&to);
    let asks = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&asks);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(config);
            while let Ok((mut client, _)) = listener.accept().await {
                let Some(to) = *broker.lock().unwrap() else { continue };
                let (acceptor, plain) = (acceptor.clone(), !asked.load(Ordering::SeqCst));
                tokio::spawn(async move {
                    if plain {
                        let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                        return;
                    }
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
    });
    (address, to, asks)
}

#[test]
fn over_tls_with_a_certificate_records_of_kafka_are_believed_as_configured_and_without_one_nothing_comes() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let authority = Authority::new("example.org", now).unwrap();
    let ca = authority.write(dir.path()).unwrap().ca;
    let files = |name: &str| {
        authority.issue(&format!("/{name}"), &["127.0.0.1"]).unwrap().write(dir.path(), name).unwrap();
        let (cert, key) = (dir.path().join(format!("{name}.pem")), dir.path().join(format!("{name}.key")));
        Presented::Files(vec![CertificateFiles { cert, key }])
    };
    let setup = ServerTlsConfig {
        presented: files("broker"),
        trusted: Trusted::Files(vec![ca.clone()]),
        client_auth: ClientAuth::Required,
        alpn: Vec::new(),
    };
    let (address, to, asks) = behind_tls(ServerTls::new(setup).unwrap().config().unwrap());
    let broker = Kafka::start(Some(address)).unwrap();
    *to.lock().unwrap() = Some(broker.address);
    broker.with_python(&format!("{}{}", create(), send("", 0..30))).unwrap();
    asks.store(true, Ordering::SeqCst);
    let tls = |presented| {
        let trusted = Trusted::Files(vec![ca.clone()]);
        let setup = ClientTlsConfig { presented, trusted, spiffe: None, alpn: Vec::new() };
        Some(Arc::new(ClientTls::new(setup).unwrap()))
    };
    for settings in [quick(address), Settings { tls: tls(None), ..quick(address) }] {
        let mut rig = Rig::new(IntakeLimits::default());
        rig.start_kafka(settings);
        rig.wait_for_told("input.disconnected");
        rig.stop();
        assert!(rig.records().is_empty());
    }
    let mut rig = Rig::new(IntakeLimits::default());
    rig.start_kafka(Settings { tls: tls(Some(files("collector"))), ..quick(address) });
    rig.wait_for_records(30);
    rig.stop();
    rig.once(0..30);
    let asserted =
        |event: &countersign_event::Event| event.body.cap.as_ref().unwrap().level == Some(Verified::Asserted);
    assert!(rig.records().iter().all(asserted));
}
