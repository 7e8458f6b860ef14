//! NATS JetStream against a real server: every message one record, acknowledged when it is durable and not before,
//! whatever dies in between.

use crate::nats_rig::{
    CONSUMER, Relay, Rig, STREAM, far, line, make_stream, publish, quick, wait_for_acknowledged,
};
use countersign_collect::consumers::nats::{Login, Settings, login};
use countersign_collect::intake::IntakeLimits;
use countersign_event::{CaptureConf, CaptureMode, LinkVia, Unmapped, Verified};
use countersign_identity::authority::Authority;
use countersign_identity::{CertificateFiles, ClientTls, ClientTlsConfig, Presented, Trusted};
use countersign_testkit::nats::Nats;
use countersign_testkit::net::wait_until;
use countersign_testkit::repetitions;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest wait for durability in tests whose disk stands still.
const SHORT: IntakeLimits = IntakeLimits { in_flight: 32 << 20, durable: Duration::from_millis(200) };

fn server() -> (Nats, countersign_testkit::nats::Client) {
    let server = Nats::start("").unwrap();
    let mut client = server.client("").unwrap();
    make_stream(&mut client, "");
    (server, client)
}

#[test]
fn every_message_is_one_record_with_its_place_and_its_headers_and_is_acknowledged() {
    let (server, mut client) = server();
    publish(&mut client, 0..3_000);
    let headers = "Nats-Msg-Id: id-7\r\nAuthorization: Bearer hunter2hunter2\r\n\
        traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    client.ask_with("orders.h", headers, line(3_000).as_bytes()).unwrap();
    let mut rig = Rig::new(IntakeLimits::default());
    rig.start(quick(server.address));
    rig.wait_for_records(3_001);
    let far = wait_for_acknowledged(&mut client);
    rig.stop();
    rig.once(0..3_001);
    assert_eq!(far.floor, 3_001, "{far:?}");
    let records = rig.records();
    let last = records.iter().find(|event| event.links.trace.is_some()).unwrap();
    let capture = last.body.cap.as_ref().unwrap();
    assert_eq!((capture.offset, capture.path.as_str()), (Some(3_001), STREAM));
    assert!(capture.source_id.starts_with("nats:ORDERS/3001@"), "{}", capture.source_id);
    assert_eq!((capture.mode, capture.deliverer.as_str()), (Some(CaptureMode::Pull), "addr:127.0.0.1"));
    assert_eq!(capture.level, Some(Verified::Claimed), "in plain text nothing is asserted");
    assert_eq!(last.links.via, Some(LinkVia::MessageHeader));
    let token = |name: &str| last.content.unmapped.get(name).cloned();
    assert_eq!(token("/nats/headers/Nats-Msg-Id"), Some(Unmapped::Token("\"id-7\"".into())));
    assert_eq!(token("/nats/subject"), Some(Unmapped::Token("\"orders.h\"".into())));
    assert!(!format!("{last:?}").contains("hunter2"), "a secret in a header");
    let counts = rig.port.intake.counts();
    assert!(counts.adds_up() && counts.recorded >= 3_001 && counts.dropped == 0, "{counts:?}");
    assert!(rig.told().is_empty(), "{:?}", rig.told());
}

#[test]
fn a_message_whose_acknowledgement_was_lost_comes_again_and_is_one_record() {
    let (server, mut client) = server();
    publish(&mut client, 0..50);
    let relay = Relay::start(&server);
    let mut rig = Rig::new(IntakeLimits::default());
    rig.start(quick(relay.address));
    rig.wait_for_records(50);
    // Once more to the same process, and then to the next one.
    wait_until("a repeat", Duration::from_secs(30), || far(&mut client).deliveries >= 100).unwrap();
    assert_eq!(far(&mut client).floor, 0);
    rig.crash();
    relay.deaf.store(false, Ordering::SeqCst);
    rig.start(quick(relay.address));
    wait_for_acknowledged(&mut client);
    rig.stop();
    rig.once(0..50);
    assert!(rig.port.intake.counts().adds_up());
    assert!(!rig.told().iter().any(|(op, _)| op == "input.lost"), "{:?}", rig.told());
}

#[test]
fn a_consumer_that_dies_at_any_moment_leaves_each_message_there_once() {
    let (server, mut client) = server();
    let rounds = repetitions(5, 50) as u64;
    let each = 400;
    let mut rig = Rig::new(IntakeLimits::default());
    let mut seed = 0x00c0_11ec_u64;
    for round in 0..rounds {
        rig.start(quick(server.address));
        publish(&mut client, round * each..(round + 1) * each);
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        // So that it ends while it fetches, records, acknowledges, or has nothing to do.
        std::thread::sleep(Duration::from_micros(seed % 30_000));
        rig.crash();
    }
    rig.start(quick(server.address));
    rig.wait_for_records((rounds * each) as usize);
    let far = wait_for_acknowledged(&mut client);
    rig.stop();
    rig.once(0..rounds * each);
    println!("{rounds} kills, {} messages, {} deliveries", rounds * each, far.deliveries);
    assert!(!rig.told().iter().any(|(op, _)| op == "input.lost"), "{:?}", rig.told());
}

#[test]
fn while_the_ledger_stands_still_nothing_is_acknowledged_and_messages_are_given_back() {
    let (server, mut client) = server();
    let mut rig = Rig::new(SHORT);
    rig.start(quick(server.address));
    publish(&mut client, 0..1);
    wait_for_acknowledged(&mut client);
    rig.disk.0.store(true, Ordering::SeqCst);
    publish(&mut client, 1..41);
    wait_until("messages given back", Duration::from_secs(30), || far(&mut client).deliveries >= 121)
        .unwrap();
    let stands = far(&mut client);
    assert_eq!(stands.floor, 1, "{stands:?}");
    rig.disk.0.store(false, Ordering::SeqCst);
    wait_for_acknowledged(&mut client);
    rig.stop();
    rig.once(0..41);
    assert!(rig.port.intake.counts().adds_up());
    assert!(rig.told().is_empty(), "{:?}", rig.told());
}

#[test]
fn a_server_that_dies_and_comes_back_is_told_and_nothing_is_lost_or_doubled() {
    let (mut server, mut client) = server();
    publish(&mut client, 0..200);
    let mut rig = Rig::new(IntakeLimits::default());
    rig.start(quick(server.address));
    rig.wait_for_records(1);
    server.restart("").unwrap();
    rig.wait_for_told("input.disconnected");
    rig.wait_for_told("input.connected");
    let mut client = server.client("").unwrap();
    // What the server itself had not written when it was killed is not there to be fetched.
    publish(&mut client, 200..400);
    rig.wait_for_records(400);
    wait_for_acknowledged(&mut client);
    rig.stop();
    rig.once(0..400);
    assert!(!rig.told().iter().any(|(op, _)| op == "input.lost"), "{:?}", rig.told());
}

#[test]
fn messages_that_left_the_stream_before_they_were_read_are_a_gap_with_their_number() {
    let server = Nats::start("").unwrap();
    let mut client = server.client("").unwrap();
    make_stream(&mut client, ",\"max_msgs\":10");
    // What left before there was a consumer is nobody's loss.
    publish(&mut client, 0..15);
    let mut rig = Rig::new(IntakeLimits::default());
    rig.start(quick(server.address));
    rig.wait_for_records(10);
    wait_for_acknowledged(&mut client);
    assert!(rig.told().is_empty(), "{:?}", rig.told());
    rig.stop();
    publish(&mut client, 15..45);
    rig.start(quick(server.address));
    rig.wait_for_records(20);
    wait_for_acknowledged(&mut client);
    let why = rig.wait_for_told("input.lost");
    assert!(why.contains("20 messages between 16 and 35"), "{why}");
    rig.stop();
    let counts = rig.port.intake.counts();
    assert!(counts.adds_up() && counts.dropped == 20, "{counts:?}");
    rig.once((5..15).chain(35..45));
    // And told once.
    rig.start(quick(server.address));
    publish(&mut client, 45..46);
    rig.wait_for_records(21);
    rig.stop();
    assert_eq!(rig.told().len(), 1, "{:?}", rig.told());
}

#[test]
fn messages_that_leave_while_the_ledger_stands_still_are_a_gap_with_their_number() {
    let server = Nats::start("").unwrap();
    let mut client = server.client("").unwrap();
    make_stream(&mut client, ",\"max_msgs\":10");
    let mut rig = Rig::new(SHORT);
    // Records that reached the ledger's queue become durable when the disk moves: only what finds no room is given back.
    rig.limits.in_flight = 1;
    rig.start(quick(server.address));
    publish(&mut client, 0..1);
    wait_for_acknowledged(&mut client);
    rig.disk.0.store(true, Ordering::SeqCst);
    publish(&mut client, 1..2);
    wait_until("it to be given back", Duration::from_secs(30), || far(&mut client).deliveries >= 3).unwrap();
    publish(&mut client, 2..42);
    rig.disk.0.store(false, Ordering::SeqCst);
    rig.wait_for_told("input.lost");
    rig.wait_for_records(11);
    wait_for_acknowledged(&mut client);
    rig.stop();
    let (counts, there) = (rig.port.intake.counts(), rig.records().len() as u64);
    assert!(counts.adds_up(), "{counts:?}");
    // The one that was in the ledger's queue may be counted as lost by then, and there all the same.
    assert!((42..=43).contains(&(counts.dropped + there)), "{counts:?}, {there} there, {:?}", rig.told());
}

#[test]
fn what_nobody_understands_is_a_raw_record_acknowledged_once_also_where_it_is_larger_than_a_record() {
    let (server, mut client) = server();
    let large = vec![b'x'; 5 << 20];
    let poison: [&[u8]; 5] = [b"", b"\x00\xff\xfe", b"{\"a\":", &large, b"what is this"];
    for payload in poison {
        assert!(client.ask("orders.p", payload).unwrap().contains("\"seq\""));
    }
    let mut rig = Rig::new(IntakeLimits::default());
    rig.start(quick(server.address));
    rig.wait_for_records(5);
    let far = wait_for_acknowledged(&mut client);
    rig.stop();
    assert_eq!((rig.records().len(), far.deliveries), (5, 5), "none came again");
    for event in rig.records() {
        assert_eq!(event.body.cap.as_ref().unwrap().conf, Some(CaptureConf::RawOnly), "{event:?}");
    }
    let counts = rig.port.intake.counts();
    assert!(counts.adds_up() && counts.raw == 5, "{counts:?}");
}

#[test]
fn a_consumer_that_is_absent_or_could_lose_messages_is_refused_with_what_to_do() {
    let (server, mut client) = server();
    publish(&mut client, 0..1);
    let mut rig = Rig::new(IntakeLimits::default());
    rig.start(Settings { create: false, ..quick(server.address) });
    let why = rig.wait_for_told("input.disconnected");
    assert!(why.contains("create = true"), "{why}");
    rig.stop();
    for (config, hint) in [
        ("\"ack_policy\":\"all\"", "explicit"),
        ("\"ack_policy\":\"explicit\",\"max_deliver\":3", "max_deliver"),
    ] {
        let _ = client.ask(&format!("$JS.API.CONSUMER.DELETE.{STREAM}.{CONSUMER}"), b"").unwrap();
        let request = format!(
            "{{\"stream_name\":\"{STREAM}\",\"config\":{{\"durable_name\":\"{CONSUMER}\",{config}}}}}"
        );
        let subject = format!("$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.{CONSUMER}");
        let made = client.ask(&subject, request.as_bytes()).unwrap();
        assert!(!made.contains("\"error\""), "{made}");
        let mut rig = Rig::new(IntakeLimits::default());
        rig.start(quick(server.address));
        let why = rig.wait_for_told("input.disconnected");
        assert!(why.contains(hint), "{why}");
        rig.stop();
        assert!(rig.records().is_empty(), "nothing is fetched");
    }
}

#[test]
fn a_filter_chooses_and_what_it_leaves_out_is_no_loss() {
    let (server, mut client) = server();
    publish(&mut client, 0..30);
    let mut rig = Rig::new(IntakeLimits::default());
    rig.start(Settings { filter: "orders.1".into(), ..quick(server.address) });
    rig.wait_for_records(10);
    wait_for_acknowledged(&mut client);
    rig.stop();
    rig.once((0..30).filter(|n| n % 3 == 1));
    assert!(rig.told().is_empty(), "{:?}", rig.told());
}

fn secret(dir: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn each_kind_of_login_passes_and_a_wrong_one_is_told_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let (seed, public) = login::mint(&[9; 32]).unwrap();
    let users = format!(
        "authorization {{ users = [ {{ user: a, password: \"pass-word\" }}, {{ nkey: {public} }} ] }}"
    );
    let token = "authorization { token: \"to-ken\" }".to_owned();
    let (as_user, as_token) = ("\"user\":\"a\",\"pass\":\"pass-word\"", "\"auth_token\":\"to-ken\"");
    let password = Login::Password("a".into(), secret(dir.path(), "password", "pass-word\n"));
    let wrong = Login::Password("a".into(), secret(dir.path(), "wrong", "hunter2"));
    let nkey = Login::Nkey(secret(dir.path(), "seed", &seed));
    let token_file = Login::Token(secret(dir.path(), "token", "to-ken\n"));
    for (config, login_of_client, good) in
        [(&users, as_user, vec![password, nkey]), (&token, as_token, vec![token_file])]
    {
        let server = Nats::start(config).unwrap();
        let mut client = server.client(login_of_client).unwrap();
        make_stream(&mut client, "");
        publish(&mut client, 0..3);
        let mut rig = Rig::new(IntakeLimits::default());
        rig.start(Settings { login: wrong.clone(), ..quick(server.address) });
        let why = rig.wait_for_told("input.disconnected");
        assert!(why.contains("Authorization Violation") && !why.contains("hunter2"), "{why}");
        rig.stop();
        for (n, login) in good.into_iter().enumerate() {
            rig.start(Settings { login, ..quick(server.address) });
            publish(&mut client, 3 + n as u64..4 + n as u64);
            rig.wait_for_records(4 + n);
            rig.stop();
        }
    }
}

#[test]
fn over_tls_with_a_certificate_records_are_believed_as_configured_and_without_one_nothing_comes() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let authority = Authority::new("example.org", now).unwrap();
    let ca = authority.write(dir.path()).unwrap().ca;
    for name in ["server", "collector"] {
        authority.issue(&format!("/{name}"), &["127.0.0.1"]).unwrap().write(dir.path(), name).unwrap();
    }
    let mut server = Nats::start("").unwrap();
    let mut client = server.client("").unwrap();
    make_stream(&mut client, "");
    publish(&mut client, 0..5);
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (cert, key) = (file("server.pem"), file("server.key"));
    server
        .restart(&format!(
            "tls {{ cert_file: \"{cert}\", key_file: \"{key}\", ca_file: \"{}\", verify: true }}",
            ca.display()
        ))
        .unwrap();
    let tls = |presented| {
        let trusted = Trusted::Files(vec![ca.clone()]);
        let setup = ClientTlsConfig { presented, trusted, spiffe: None, alpn: Vec::new() };
        Some(Arc::new(ClientTls::new(setup).unwrap()))
    };
    let mut rig = Rig::new(IntakeLimits::default());
    rig.start(quick(server.address));
    let why = rig.wait_for_told("input.disconnected");
    assert!(why.contains("speaks TLS alone"), "{why}");
    rig.stop();
    let mut stranger = Rig::new(IntakeLimits::default());
    stranger.start(Settings { tls: tls(None), ..quick(server.address) });
    stranger.wait_for_told("input.disconnected");
    stranger.stop();
    assert!(stranger.records().is_empty());
    let own =
        CertificateFiles { cert: dir.path().join("collector.pem"), key: dir.path().join("collector.key") };
    rig.start(Settings { tls: tls(Some(Presented::Files(vec![own]))), ..quick(server.address) });
    rig.wait_for_records(5);
    rig.stop();
    rig.once(0..5);
    let records = rig.records();
    assert!(records.iter().all(|event| event.body.cap.as_ref().unwrap().level == Some(Verified::Asserted)));
}
