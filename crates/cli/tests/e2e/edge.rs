//! An edge: gateway and ledger alone. Little memory, no search, and nothing of what it recorded is lost to the
//! process that opens the same data directory later.

use crate::support::{Home, stop, upstream};
use countersign_testkit::http::Connection;
use countersign_testkit::{Child, free_port, wait_for_port};
use std::net::SocketAddr;
use std::time::Duration;

/// Memory that an edge may take at rest, bytes.
const AT_REST: u64 = 32 << 20;

fn ask(address: SocketAddr, calls: usize) {
    let mut connection = Connection::open(address).unwrap();
    for n in 0..calls {
        let answer = connection.request("GET", &format!("/orders/{n}"), &[], b"").unwrap();
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn an_edge_is_small_and_what_it_recorded_is_found_by_the_process_that_opens_its_data() {
    let home = Home::new("edge");
    let upstream = upstream();
    let (address, child) = home.gateway_with(upstream, &["--role", "edge"]);
    let idle = child.rss().unwrap();
    ask(address, 500);
    let after = child.rss().unwrap();
    println!("edge: {idle} bytes at rest, {after} after 500 calls");
    assert!(idle <= AT_REST && after <= AT_REST, "{idle} bytes, then {after}");
    assert!(!home.data().join("api.sock").exists(), "nobody is let in");
    assert!(!home.data().join("seg").exists(), "no segment is sealed");
    let said = stop(child);
    assert!(said.contains(" 500 requests, 0 refused"), "{said}");
    assert!(said.contains(" 0 rejected + 0 dropped"), "{said}");
    assert_eq!(home.run(&["fsck"]).status.code(), Some(0));

    let (address, child) = home.gateway(upstream);
    assert_eq!(home.count("rec:interaction"), 500);
    ask(address, 1);
    assert_eq!(home.settle("rec:interaction", 501), 501);
    stop(child);
    assert_eq!(home.run(&["fsck"]).status.code(), Some(0));
}

#[test]
fn intents_that_a_killed_edge_left_are_closed_once_by_the_edge_itself_or_by_a_process_that_can_search() {
    let home = Home::new("edge-strict");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    // A server that takes requests and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let file = home.path().join("countersign.toml");
    let text = format!(
        "role = \"edge\"\n[[listener]]\nname = \"front\"\nlisten = \"{address}\"\nupstream = \"http://{}\"\n\
         durability = \"strict\"\n[web]\nenabled = false\n",
        silent.local_addr().unwrap()
    );
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let start = |more: &[&str]| {
        let mut command = home.command(&["run", "--config", file]);
        command.args(more);
        let child = Child::start(command, &home.path().join("run.log")).unwrap();
        wait_for_port(address, Duration::from_secs(30)).unwrap_or_else(|_| panic!("{}", child.output()));
        child
    };
    let leave_open = |child: &mut Child| {
        let mut client = std::net::TcpStream::connect(address).unwrap();
        std::io::Write::write_all(&mut client, b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        // The server sees the request, so its intent is durable.
        let (mut taken, _) = silent.accept().unwrap();
        std::io::Read::read_exact(&mut taken, &mut [0; 16]).unwrap();
        child.kill();
    };
    let closed = "1 calls of strict routes have no outcome";
    leave_open(&mut start(&[]));
    // The next edge finds it in its own log, and only once.
    for _ in 0..2 {
        assert_eq!(stop(start(&[])).matches(closed).count(), 1, "told and closed once");
    }
    leave_open(&mut start(&[]));
    let child = start(&["--role", "all"]);
    assert_eq!(home.settle("rec:cut", 2), 2);
    assert_eq!(child.output().matches(closed).count(), 2, "{}", child.output());
    stop(child);
    let child = start(&["--role", "all"]);
    assert_eq!(home.count("rec:cut"), 2, "and only once");
    stop(child);
}

#[test]
fn an_unknown_role_is_refused_with_the_nearest_right_one() {
    let home = Home::new("role");
    let output = home.run(&["run", "--role", "egde"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("'edge'"), "{text}");
    let file = home.path().join("c.toml");
    std::fs::write(&file, "role = \"egde\"\n").unwrap();
    let output = home.run(&["check", "--config", file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("line 1") && text.contains("did you mean \"edge\"?"), "{text}");
}
