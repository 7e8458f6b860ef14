//! Durability and policies by configuration, through the real binary: strict through a kill -9, a denial that the
//! server never sees, a reload.

use crate::support::{Home, stop, upstream};
use countersign_testkit::http::Connection;
use countersign_testkit::{Child, free_port, repetitions, wait_for_port};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A server with one listener of the given settings.
fn serve(home: &Home, upstream: SocketAddr, settings: &str, tables: &str) -> (SocketAddr, Child, PathBuf) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let file = home.path().join("countersign.toml");
    let text = format!(
        "{tables}\n[web]\nenabled = false\n[[listener]]\nname = \"front\"\nservice = \"orders\"\nlisten = \"{address}\"\n\
         upstream = \"http://{upstream}\"\n{settings}\n"
    );
    std::fs::write(&file, text).unwrap();
    let (child, _) = (start(home, &file), ());
    if wait_for_port(address, Duration::from_secs(30)).is_err() {
        panic!("the gateway did not listen: {}", child.output());
    }
    (address, child, file)
}

fn start(home: &Home, file: &std::path::Path) -> Child {
    let command = home.command(&["run", "--config", file.to_str().unwrap()]);
    Child::start(command, &home.path().join("run.log")).unwrap()
}

fn number(home: &Home, sql: &str) -> u64 {
    let text = home.ok(&["sql", "-o", "ndjson", sql]);
    text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[test]
fn on_a_strict_route_a_kill_leaves_no_gap_and_every_forwarded_call_its_intent() {
    for round in 0..repetitions(1, 10) as u64 {
        let home = Home::new("strict");
        let upstream = upstream();
        let (address, mut child, file) = serve(&home, upstream, "durability = \"strict\"", "");
        let answered = Arc::new(AtomicU64::new(0));
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let answered = Arc::clone(&answered);
                std::thread::spawn(move || {
                    let Ok(mut connection) = Connection::open(address) else { return };
                    for number in 0.. {
                        let path = format!("/c{client}/n{number}x");
                        match connection.request("GET", &path, &[], b"") {
                            Ok(answer) if answer.status == 200 => answered.fetch_add(1, Ordering::SeqCst),
                            _ => return,
                        };
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(900 + 137 * (round % 7)));
        child.kill();
        clients.into_iter().for_each(|client| client.join().unwrap());
        let answered = answered.load(Ordering::SeqCst);
        assert!(answered > 20, "the clients must have been busy: {answered}");

        let child = start(&home, &file);
        wait_for_port(address, Duration::from_secs(30)).unwrap();
        let intents = number(&home, "select count(*) as n from events where rec = 'intent'");
        let ended = number(&home, "select count(*) as n from events where rec in ('outcome', 'cut')");
        let gaps = number(&home, "select coalesce(sum(\"count\"), 0) as n from gaps");
        println!(
            "strict kill {round}: {answered} answered, {intents} intents, {ended} ended or cut, gap {gaps}"
        );
        assert!(intents >= answered, "{intents} intents for {answered} answers");
        assert_eq!(ended, intents, "an intent without an outcome is closed as unknown");
        assert_eq!(gaps, 0);
        stop(child);
        assert_eq!(home.run(&["fsck"]).status.code(), Some(0));
    }
}

#[test]
fn a_denied_call_gets_403_is_recorded_with_its_policy_and_a_changed_file_counts_at_once() {
    const FORBID: &str = "@id(\"no-deletes\")\n@reason(\"deletes are for people\")\n\
        forbid(principal, action in Action::\"class:delete\", resource);\n@id(\"all\")\npermit(principal, action, resource);\n";
    let home = Home::new("deny");
    let policies = home.path().join("policies.cedar");
    std::fs::write(&policies, FORBID).unwrap();
    let tables = format!("[policy]\nfiles = [\"{}\"]", policies.display());
    let (address, child, file) = serve(&home, upstream(), "policy = \"enforce\"", &tables);
    let ask = |method: &str| {
        let mut connection = Connection::open(address).unwrap();
        connection.request(method, "/orders/7", &[], b"").unwrap().status
    };
    assert_eq!((ask("GET"), ask("DELETE")), (200, 403));
    assert_eq!(home.settle("op:DELETE outcome:denied status:403", 1), 1);
    let row = home.ok(&[
        "sql",
        "-o",
        "ndjson",
        "select decision, reason, policies from events where op = 'DELETE'",
    ]);
    assert!(
        row.contains("deny") && row.contains("deletes are for people") && row.contains("no-deletes"),
        "{row}"
    );

    let check = home.ok(&["policy", "check", "--config", file.to_str().unwrap()]);
    assert!(check.contains("valid"), "{check}");
    std::fs::write(&policies, "@id(\"all\")\npermit(principal, action, resource);\n").unwrap();
    assert_eq!(home.settle("op:reload resource:policy outcome:success", 1), 1);
    assert_eq!(ask("DELETE"), 200);
    std::fs::write(&policies, "permit(nonsense").unwrap();
    assert_eq!(home.settle("op:reload resource:policy outcome:caller_error", 1), 1);
    assert_eq!(ask("DELETE"), 200, "a broken file leaves what was in force");
    stop(child);
}
