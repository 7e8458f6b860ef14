//! The readers against what the programs print, and the log against a life of a connection.

use super::*;
use countersign_event::Transport;
use countersign_event::witness::{Report, from_event};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ends(seen: &Seen) -> Vec<(String, String, bool)> {
    let source = |c: &Connection| match (c.src, c.src_port) {
        (Some(ip), Some(port)) => SocketAddr::new(ip, port).to_string(),
        (Some(ip), None) => ip.to_string(),
        (None, _) => "local".to_owned(),
    };
    seen.connections.iter().map(|c| (source(c), c.dst.to_string(), c.through)).collect()
}

/// A word of `/proc/net/tcp`, as this machine's kernel prints it.
fn hex(address: &str) -> String {
    let address = at(address);
    let words: Vec<u8> = match address.ip() {
        IpAddr::V4(ip) => ip.octets().into(),
        IpAddr::V6(ip) => ip.octets().into(),
    };
    let words = words.chunks(4).map(|w| format!("{:08X}", u32::from_ne_bytes(w.try_into().unwrap())));
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

fn row(local: &str, remote: &str, state: &str, inode: u64) -> String {
    let (local, remote) = (hex(local), hex(remote));
    format!(
        "   1: {local} {remote} {state} 00000000:00000000 00:00000000 00000000  1000 0 {inode} 1 0 20 4\n"
    )
}

#[test]
fn sockets_of_the_gateway_are_told_from_strangers_and_both_ends_are_one() {
    let head =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    let four = [
        head.to_owned(),
        row("127.0.0.1:40001", "127.0.0.1:5432", "01", 11), // the gateway's
        row("127.0.0.1:5432", "127.0.0.1:40001", "01", 90), // its other end
        row("127.0.0.1:40002", "127.0.0.1:5432", "01", 12), // a stranger's
        row("10.0.0.9:5432", "10.0.0.7:999", "01", 91),     // from another machine
        row("127.0.0.1:40003", "127.0.0.1:5432", "06", 0),  // over
        row("0.0.0.0:5432", "0.0.0.0:0", "0A", 92),         // listens
        row("127.0.0.1:40004", "127.0.0.1:80", "01", 13),   // elsewhere
        "   2: nonsense\n".to_owned(),
    ]
    .concat();
    let six = [head.to_owned(), row("[::ffff:10.0.0.9]:5432", "[::ffff:10.0.0.8]:7", "08", 93)].concat();
    let mut watch = Watch::new([at("127.0.0.1:5432"), at("10.0.0.9:5432")]);
    watch.own = [11].into();
    watch.gateways = ["10.0.0.8".parse().unwrap()].into();
    let seen = proc_net(&[&four, &six], &watch);
    let line = |s: &str, d: &str, through| (s.to_owned(), d.to_owned(), through);
    assert_eq!(
        ends(&seen),
        [
            line("10.0.0.7:999", "10.0.0.9:5432", false),
            line("10.0.0.8:7", "10.0.0.9:5432", true),
            line("127.0.0.1:40001", "127.0.0.1:5432", true),
            line("127.0.0.1:40002", "127.0.0.1:5432", false),
        ]
    );
    assert_eq!(seen.unreadable, 1);
}

#[test]
fn connection_tracking_names_the_real_server_and_the_bytes() {
    let text = "\
tcp      6 431999 ESTABLISHED src=10.0.0.5 dst=10.96.0.1 sport=5123 dport=5432 packets=10 bytes=1000 src=10.0.0.9 dst=10.0.0.5 sport=5432 dport=5123 packets=8 bytes=900 [ASSURED] mark=0 use=1
ipv4     2 udp      17 29 src=10.0.0.5 dst=10.0.0.9 sport=53000 dport=53 [UNREPLIED] src=10.0.0.9 dst=10.0.0.5 sport=53 dport=53000 mark=0 zone=0 use=2
tcp      6 100 SYN_SENT src=10.0.0.6 dst=10.0.0.9 sport=1 dport=5432 [UNREPLIED] src=10.0.0.9 dst=10.0.0.6 sport=5432 dport=1 mark=0 use=1
icmp     1 29 src=10.0.0.5 dst=10.0.0.9 type=8 code=0 id=1 src=10.0.0.9 dst=10.0.0.5 type=0 code=0 id=1 mark=0 use=1
tcp      6 9 ESTABLISHED src=nobody
conntrack v1.4.7 (conntrack-tools): 4 flow entries have been shown.
";
    let seen = conntrack(text, &Watch::new([at("10.0.0.9:5432"), at("10.0.0.9:53")]));
    let found: Vec<_> = seen.connections.iter().map(|c| (c.dst.port(), c.transport, c.bytes)).collect();
    assert_eq!(found, [(5432, Transport::Tcp, Some(1_900)), (53, Transport::Udp, None)]);
    assert_eq!(seen.unreadable, 1);
}

#[test]
fn sessions_of_postgres_are_read_as_csv_and_as_json() {
    let csv = "client_addr,client_port,usename,application_name,datname,backend_start\n\
        10.0.0.5,51234,shop,\"psql, by hand\",orders,2026-11-22 18:40:01.5+00\n\
        ,-1,postgres,backup,orders,2026-11-22 18:40:01+00\n\
        ,,,,,\n\
        somewhere,1,a,b,c,\n";
    let json = r#"[{"client_addr":"10.0.0.5","client_port":51234,"usename":"shop","application_name":"psql, by hand",
        "datname":"orders","backend_start":"2026-11-22T18:40:01.5+00:00"},
        {"client_addr":null,"client_port":-1,"usename":"postgres","application_name":"backup","datname":"orders",
        "backend_start":"2026-11-22T18:40:01+00:00"},{"client_addr":"somewhere"}]"#;
    let (server, watch) = (at("10.0.0.9:5432"), Watch::default());
    let seen = postgres(csv, server, &watch);
    assert_eq!(seen, postgres(json, server, &watch));
    let first = &seen.connections[0];
    assert_eq!(
        (first.user.as_str(), first.app.as_str(), first.src_port),
        ("shop@orders", "psql, by hand", Some(51234))
    );
    assert_eq!(first.since_ns, Some(1_795_372_801_500_000_000));
    assert_eq!((ends(&seen)[1].0.as_str(), seen.connections[1].transport), ("local", Transport::Unix));
    assert_eq!((seen.connections.len(), seen.unreadable), (2, 1));
    assert_eq!(postgres("no,header\n1,2\n", server, &watch).unreadable, 2);
}

#[test]
fn clients_of_redis_and_of_nats_are_read() {
    let text = "id=3 addr=127.0.0.1:51234 laddr=127.0.0.1:6379 fd=8 name=worker age=12 idle=0 flags=N db=0 \
                tot-net-in=100 tot-net-out=20 user=default lib-name=redis-py\n\
                id=4 addr=/run/redis.sock:0 laddr=/run/redis.sock:0 name= age=0 user=admin\nid=5 addr=??\n";
    let seen = redis(text, at("127.0.0.1:6379"), 100 * SECOND, &Watch::default());
    let first = &seen.connections[0];
    assert_eq!((first.bytes, first.since_ns, first.app.as_str()), (Some(120), Some(88 * SECOND), "worker"));
    assert_eq!((ends(&seen)[1].0.as_str(), seen.connections[1].user.as_str()), ("local", "admin"));
    assert_eq!(seen.unreadable, 1);

    let text = r#"{"server_id":"X","num_connections":1,"total":3,"offset":0,"limit":1024,"connections":[
        {"cid":5,"kind":"Client","ip":"10.0.0.5","port":4711,"start":"2026-11-22T18:40:01.5Z","in_bytes":7,
         "out_bytes":8,"name":"billing","authorized_user":"bill"},{"cid":6,"ip":"?"}]}"#;
    let seen = nats(text, at("10.0.0.9:4222"), &Watch::default());
    assert_eq!(ends(&seen), [("10.0.0.5:4711".to_owned(), "10.0.0.9:4222".to_owned(), false)]);
    assert_eq!((seen.connections[0].bytes, seen.unreadable, seen.unlisted), (Some(15), 1, 1));
    assert_eq!(nats("{}", at("10.0.0.9:4222"), &Watch::default()).unreadable, 1);
}

fn looked(connections: &[(&str, Option<u64>)]) -> Seen {
    let one = |(src, bytes): &(&str, Option<u64>)| Connection {
        bytes: *bytes,
        ..Connection::tcp(at(src), at("10.0.0.9:5432"))
    };
    Seen { connections: connections.iter().map(one).collect(), ..Seen::default() }
}

fn report(log: &mut Log, seen: Seen, second: u64) -> Option<Report> {
    let events = log.events(seen, second * SECOND);
    events.first().and_then(from_event)
}

#[test]
fn only_changes_are_told_and_a_sign_of_life() {
    let mut log = Log::new("proc");
    let first = report(&mut log, looked(&[("10.0.0.1:1", Some(10)), ("10.0.0.1:2", None)]), 0).unwrap();
    assert_eq!((first.began, first.open.len()), (true, 2));
    assert_eq!(report(&mut log, looked(&[("10.0.0.1:1", Some(11)), ("10.0.0.1:2", None)]), 10), None);
    let grown = report(&mut log, looked(&[("10.0.0.1:1", Some(20)), ("10.0.0.1:2", None)]), 20).unwrap();
    assert_eq!((grown.began, grown.open.len(), grown.open[0].bytes), (false, 1, Some(20)));
    let over = report(&mut log, looked(&[("10.0.0.1:1", Some(21))]), 30).unwrap();
    assert_eq!((over.open.len(), over.ended.len()), (0, 1));
    assert_eq!(report(&mut log, looked(&[("10.0.0.1:1", Some(22))]), 89), None);
    let alive = report(&mut log, looked(&[("10.0.0.1:1", Some(23))]), 90).unwrap();
    assert_eq!((alive.began, alive.open.len(), alive.ended.len()), (false, 0, 0));
    let over = report(&mut log, Seen::default(), 91).unwrap();
    assert_eq!(over.ended[0].bytes, Some(23));
}

#[test]
fn a_flood_of_connections_stays_within_its_bound_and_is_counted() {
    let lines: String = (0..CONNECTIONS_MAX as u64 + 9)
        .map(|n| row(&format!("10.{}.{}.{}:1", n >> 16, n >> 8 & 255, n & 255), "10.0.0.9:80", "01", n))
        .collect();
    let seen = proc_net(&[&lines], &Watch::new([at("10.0.0.9:80")]));
    assert_eq!((seen.connections.len(), seen.unlisted), (CONNECTIONS_MAX, 9));
    assert_eq!(proc_net(&[&"x".repeat(TEXT_MAX + 9)], &Watch::default()).unreadable, 2);
}

/// This process plays the gateway, a child the client that goes around it.
#[test]
fn a_look_at_this_machine_tells_our_own_connection_from_another_process() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let ours = std::net::TcpStream::connect(address).unwrap();
    let (_ours_far, _) = server.accept().unwrap();
    let mut child = std::process::Command::new("bash")
        .args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{}; cat <&3 >/dev/null", address.port())])
        .spawn()
        .unwrap();
    let (far, stranger) = server.accept().unwrap();
    let seen = look(&Places::default(), &Watch::new([address])).unwrap();
    let mut wanted = vec![
        (ours.local_addr().unwrap().to_string(), address.to_string(), true),
        (stranger.to_string(), address.to_string(), false),
    ];
    wanted.sort();
    let mut found = ends(&seen);
    found.sort();
    drop(far);
    child.wait().unwrap();
    assert_eq!(found, wanted);
}

#[test]
fn what_is_cut_off_anywhere_is_read_without_a_panic() {
    let seeds = [
        row("127.0.0.1:5432", "10.0.0.9:5432", "01", 11),
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.0.5 dst=10.0.0.9 sport=1 dport=2 bytes=7 src=10.0.0.9 dst=10.0.0.5 \
         sport=5432 dport=1 bytes=8"
            .to_owned(),
        "client_addr,client_port\n10.0.0.5,1\n".to_owned(),
        "id=1 addr=10.0.0.1:1 age=7 tot-net-in=9\n".to_owned(),
        r#"{"total":1,"connections":[{"ip":"10.0.0.5","port":1,"start":"2026-11-22T18:40:01Z"}]}"#.to_owned(),
    ];
    for seed in seeds {
        for end in 0..=seed.len() {
            crate::fuzz::collect_witness(&seed.as_bytes()[..end]);
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic_and_within_its_bounds(text in "(?s).{0,400}") {
        crate::fuzz::collect_witness(text.as_bytes());
    }

    #[test]
    fn any_row_of_the_kernel_is_read_as_it_was_written(
        a: [u8; 4], b: [u8; 4], ports: (u16, u16), inode in 1..u64::MAX,
    ) {
        let (local, remote) = (SocketAddr::from((a, ports.0)), SocketAddr::from((b, ports.1)));
        prop_assume!(local != remote);
        let text = row(&local.to_string(), &remote.to_string(), "01", inode);
        let mut watch = Watch::new([remote]);
        watch.own = [inode].into();
        let seen = proc_net(&[&text], &watch);
        prop_assert_eq!(ends(&seen), [(local.to_string(), remote.to_string(), true)]);
    }
}
