//! An edge and its core, two processes and mutual TLS between them: what passes at the edge is found at the core,
//! under the edge's name, and no kill of either loses or doubles a record.

use crate::support::{Home, Random, stop, upstream};
use countersign_identity::authority::Authority;
use countersign_testkit::http::Connection;
use countersign_testkit::{Child, free_port, repetitions, wait_for_port};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest wait for everything to have been shipped.
const SHIPPED: Duration = Duration::from_secs(120);
/// How long the core is away in the middle, besides its restarts.
const OUTAGE: Duration = Duration::from_secs(3);

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

/// Two homes, their certificates and their configurations.
struct Pair {
    edge: Home,
    core: Home,
    /// Where the edge's gateway listens, and the core for edges.
    front: SocketAddr,
    door: SocketAddr,
}

impl Pair {
    fn new(label: &str) -> Pair {
        let (edge, core) = (Home::new(&format!("{label}-edge")), Home::new(&format!("{label}-core")));
        let (front, door) = (free(), free());
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let authority = Authority::new("example.org", now_s).unwrap();
        let stranger = Authority::new("example.org", now_s).unwrap();
        authority.write(core.path()).unwrap();
        authority.write(edge.path()).unwrap();
        authority.issue("/core", &["127.0.0.1"]).unwrap().write(core.path(), "core").unwrap();
        authority.issue("/edge/eu-1", &["edge"]).unwrap().write(edge.path(), "edge").unwrap();
        stranger.issue("/edge/eu-1", &["edge"]).unwrap().write(edge.path(), "stranger").unwrap();
        let pair = Pair { edge, core, front, door };
        std::fs::write(pair.core.path().join("core.toml"), pair.core_text()).unwrap();
        std::fs::write(pair.edge.path().join("edge.toml"), pair.edge_text("edge", upstream())).unwrap();
        pair
    }

    fn core_text(&self) -> String {
        format!(
            "[web]\nenabled = false\n[[identity.trust]]\ntrust_domain = \"example.org\"\nca = \"ca.pem\"\n\
             [[input]]\nname = \"edges\"\nprotocol = \"edge\"\nlisten = \"{}\"\n\
             [input.tls]\ncert = \"core.pem\"\nkey = \"core.key\"\nclient_ca = \"ca.pem\"\n\
             [[input.edge]]\nname = \"eu-1\"\nidentity = \"spiffe://example.org/edge/eu-1\"\n",
            self.door
        )
    }

    /// It keeps everything, so that its own log can be held against its core's.
    fn edge_text(&self, certificate: &str, upstream: SocketAddr) -> String {
        format!(
            "role = \"edge\"\n[web]\nenabled = false\n[[listener]]\nname = \"front\"\nlisten = \"{}\"\n\
             upstream = \"http://{upstream}\"\n[edge]\nname = \"eu-1\"\ncore = \"https://{}\"\nca = \"ca.pem\"\n\
             cert = \"{certificate}.pem\"\nkey = \"{certificate}.key\"\nretry_max = \"300ms\"\nkeep = \"64GiB\"\n",
            self.front, self.door
        )
    }

    fn start(home: &Home, file: &str, address: SocketAddr) -> Child {
        let file: PathBuf = home.path().join(file);
        let command = home.command(&["run", "--config", file.to_str().unwrap()]);
        let child = Child::start(command, &home.path().join("run.log")).unwrap();
        wait_for_port(address, Duration::from_secs(60)).unwrap_or_else(|_| panic!("{}", child.output()));
        child
    }

    fn start_edge(&self) -> Child {
        Pair::start(&self.edge, "edge.toml", self.front)
    }

    fn start_core(&self) -> Child {
        Pair::start(&self.core, "core.toml", self.door)
    }

    /// What `countersign status` says of the edge: exit code and lines.
    fn status(&self) -> (Option<i32>, String) {
        let output = self.edge.run(&["status", "-o", "text"]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn wait_status(&self, done: impl Fn(Option<i32>, &str) -> bool) -> String {
        let end = Instant::now() + SHIPPED;
        loop {
            let (code, text) = self.status();
            if done(code, &text) {
                return text;
            }
            assert!(Instant::now() < end, "{code:?}: {text}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn is_shipped(code: Option<i32>, text: &str) -> bool {
    code == Some(0) && text.lines().any(|line| line.split_whitespace().eq(["behind", "0"]))
}

fn ask(address: SocketAddr, path: &str) -> Option<()> {
    let mut connection = Connection::open(address).ok()?;
    let answer = connection.request("GET", path, &[], b"").ok()?;
    (answer.status == 200).then_some(())
}

#[test]
fn a_call_that_a_killed_edge_left_open_is_closed_at_its_core_as_unknown() {
    let pair = Pair::new("ship-open");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = pair.edge_text("edge", silent.local_addr().unwrap());
    let text = text.replace("[edge]\n", "durability = \"strict\"\n[edge]\n");
    std::fs::write(pair.edge.path().join("edge.toml"), text).unwrap();
    let core = pair.start_core();
    let mut edge = pair.start_edge();
    let mut client = std::net::TcpStream::connect(pair.front).unwrap();
    std::io::Write::write_all(&mut client, b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (mut taken, _) = silent.accept().unwrap();
    std::io::Read::read_exact(&mut taken, &mut [0; 16]).unwrap();
    assert_eq!(pair.core.settle("rec:intent", 1), 1);
    edge.kill();
    let edge = pair.start_edge();
    assert_eq!(pair.core.settle("rec:cut agent:\"edge:eu-1/countersign:platform\" route:front", 1), 1);
    pair.wait_status(is_shipped);
    let open = "select count(*) as n from events i left anti join (select \"of\" from events where \"of\" is not null) o \
                on i.id = o.\"of\" where i.rec = 'intent'";
    assert!(pair.core.ok(&["sql", open, "-o", "csv"]).trim().ends_with('0'), "every intent has an end");
    stop(edge);
    stop(core);
}

#[test]
fn what_passes_at_an_edge_is_found_at_its_core_under_its_name_and_a_wrong_certificate_is_refused() {
    let pair = Pair::new("ship");
    let core = pair.start_core();
    let edge = pair.start_edge();
    for n in 0..50 {
        ask(pair.front, &format!("/orders/{n}")).unwrap();
    }
    let found = pair.core.settle("rec:interaction agent:edge:eu-1/*", 50);
    assert_eq!(found, 50, "{}\n{}", edge.output(), core.output());
    assert_eq!(pair.core.count("agent:\"edge:eu-1/countersign:gateway\" route:front op:GET"), 50);
    pair.wait_status(is_shipped);
    stop(edge);

    // Another certificate of the same name, of an authority that the core does not know.
    let text = std::fs::read_to_string(pair.edge.path().join("edge.toml")).unwrap();
    let wrong = text.replace("edge.pem", "stranger.pem").replace("edge.key", "stranger.key");
    std::fs::write(pair.edge.path().join("edge.toml"), wrong).unwrap();
    let edge = pair.start_edge();
    ask(pair.front, "/orders/late").unwrap();
    let told = pair.wait_status(|code, text| code == Some(1) && text.contains("refuses our certificate"));
    assert!(told.contains("not shipping") && told.contains("check `cert` and `key` in [edge]"), "{told}");
    stop(edge);
    assert_eq!(pair.core.count("rec:interaction"), 50, "nothing of it came through");

    // The right one again: what waited is shipped.
    std::fs::write(pair.edge.path().join("edge.toml"), text).unwrap();
    let edge = pair.start_edge();
    assert_eq!(pair.core.settle("rec:interaction", 51), 51);
    let said = stop(edge);
    assert!(said.contains("eu-1 ships to https://") && said.contains("edge: shipped up to"), "{said}");
    let said = stop(core);
    assert!(said.contains("refused"), "{said}");
    assert_eq!(pair.core.run(&["fsck"]).status.code(), Some(0));
    assert_eq!(pair.edge.run(&["fsck"]).status.code(), Some(0));
}

#[test]
fn kills_of_edge_and_core_and_an_outage_lose_no_answered_record_and_double_none() {
    let rounds = repetitions(5, 50);
    let pair = Pair::new("ship-kill");
    let mut random = Random(0x0000_ed9e);
    let (mut core, mut edge) = (pair.start_core(), pair.start_edge());
    let mut answered: Vec<String> = Vec::new();
    let mut next = 0;
    for round in 0..rounds {
        let end = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..3)
            .map(|client| {
                let (end, front) = (Arc::clone(&end), pair.front);
                let first = next + client * 1_000_000;
                std::thread::spawn(move || {
                    let mut paths = Vec::new();
                    for n in 0.. {
                        let path = format!("/c{}", first + n);
                        match ask(front, &path) {
                            Some(()) => paths.push(path),
                            None if end.load(Ordering::Relaxed) => break,
                            None => std::thread::sleep(Duration::from_millis(5)),
                        }
                        if end.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    paths
                })
            })
            .collect();
        next += 10_000_000;
        std::thread::sleep(Duration::from_millis(100 + random.below(500)));
        if round % 2 == 0 {
            edge.kill();
            end.store(true, Ordering::Relaxed);
            answered.extend(clients.into_iter().flat_map(|client| client.join().unwrap()));
            edge = pair.start_edge();
        } else {
            core.kill();
            let outage = if round == 1 { OUTAGE } else { Duration::from_millis(random.below(400)) };
            std::thread::sleep(outage);
            end.store(true, Ordering::Relaxed);
            answered.extend(clients.into_iter().flat_map(|client| client.join().unwrap()));
            core = pair.start_core();
        }
    }
    ask(pair.front, "/last").unwrap();
    answered.push("/last".to_owned());
    pair.wait_status(is_shipped);
    assert_eq!(pair.core.settle("resource:/last", 1), 1);
    // The edge's own log is what it acknowledged; the core has exactly that.
    stop(edge);
    let runs = "select agent, stream, count(*) as n, count(distinct seq) as numbers, min(seq) as first, \
                max(seq) as last from events where rec = 'interaction' group by agent, stream order by stream";
    let at_core = pair.core.ok(&["sql", runs, "-o", "csv"]);
    assert_eq!(pair.edge.ok(&["sql", runs, "-o", "csv"]), at_core, "{rounds} kills");
    for row in at_core.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        assert_eq!(cells[2], cells[3], "no number twice: {row}");
    }
    let lost = "select agent, stream, first_seq, last_seq, reason, count from gaps where count > 0 \
                and agent like 'edge:%' order by stream, first_seq";
    let gaps = pair.core.run(&["sql", lost, "-o", "csv"]).stdout;
    assert_eq!(pair.edge.run(&["sql", lost, "-o", "csv"]).stdout, gaps, "losses are carried over exactly");
    let gaps = String::from_utf8(gaps).unwrap();
    let count = |row: &str| row.rsplit(',').next().and_then(|n| n.trim().parse::<u64>().ok());
    let missing: u64 = gaps.lines().skip(1).filter_map(count).sum();
    let recorded = targets(&pair.core);
    let all: HashSet<&String> = recorded.iter().collect();
    assert_eq!(all.len(), recorded.len(), "each call made one record");
    let absent = answered.iter().filter(|path| !all.contains(path)).count() as u64;
    assert!(absent <= missing, "{} answered, {absent} absent, {missing} declared", answered.len());
    println!(
        "{rounds} kills: {} answered at the edge, {} at the core, {absent} absent, {missing} declared lost there",
        answered.len(),
        recorded.len()
    );
    stop(core);
    assert_eq!(pair.core.run(&["fsck"]).status.code(), Some(0));
}

/// The target of every call that a home has.
fn targets(home: &Home) -> Vec<String> {
    const PAGE: usize = 1_000;
    let mut found = Vec::new();
    loop {
        let sql = format!(
            "select raw_target from events where rec = 'interaction' order by index limit {PAGE} offset {}",
            found.len()
        );
        let output = home.run(&["sql", &sql, "-o", "csv", "--limit", "1000"]);
        let page = String::from_utf8(output.stdout).unwrap();
        let before = found.len();
        found.extend(page.lines().skip(1).map(|line| line.trim().to_owned()));
        if found.len() < before + PAGE {
            return found;
        }
    }
}
