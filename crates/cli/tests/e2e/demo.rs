//! README's first command: a fleet that speaks, a ledger that proves it, within ten seconds.

use crate::support::{Home, stop};
use countersign_testkit::Child;
use countersign_testkit::http::Connection;
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn demo(home: &Home, more: &[&str]) -> Child {
    let mut command = home.command(&["demo", "--no-open"]);
    command.args(more);
    Child::start(command, &home.path().join(format!("demo-{}.log", more.len()))).unwrap()
}

#[test]
fn the_demo_names_a_proven_event_within_ten_seconds_and_stops_cleanly() {
    let home = Home::new("demo");
    let start = Instant::now();
    let mut child = demo(&home, &[]);
    let line = child.wait_for_line("proof verified", Duration::from_secs(30)).unwrap();
    println!("after {:.1} s: {line}", start.elapsed().as_secs_f64());
    let output = child.output();
    assert!(output.contains("http://127.0.0.1:"), "{output}");
    assert!(output.matches("countersign ").count() >= 3, "three commands to try next: {output}");
    stop(child);
}

#[test]
fn the_demo_ends_by_itself_and_a_kept_directory_continues_the_same_ledger() {
    let home = Home::new("demo-keep");
    let keep = home.path().join("kept");
    let mut sizes = Vec::new();
    for _ in 0..2 {
        let output = home.run(&["demo", "--no-open", "--for", "8s", "--keep", keep.to_str().unwrap()]);
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{text}");
        let line =
            text.lines().find(|line| line.contains("proof verified")).unwrap_or_else(|| panic!("{text}"));
        let size = line.split("ledger size ").nth(1).unwrap_or_else(|| panic!("no ledger size in {line}"));
        let digits: String = size.chars().take_while(char::is_ascii_digit).collect();
        sizes.push(digits.parse::<u64>().unwrap());
    }
    assert!(sizes[1] > sizes[0], "the second start goes on where the first stopped: {sizes:?}");
}

#[test]
fn a_busy_dashboard_port_is_named_and_the_next_free_one_taken() {
    let home = Home::new("demo-busy");
    // The default port, held by somebody else (or by another demo on this machine, which is as good).
    let _taken = TcpListener::bind("127.0.0.1:7470");
    let mut child = demo(&home, &["--for", "20s"]);
    // Both lines are waited for by their own words: the shop's addresses are printed before them.
    child.wait_for_line("port 7470 is busy", Duration::from_secs(30)).unwrap();
    let line = child.wait_for_line("dashboard  http", Duration::from_secs(30)).unwrap();
    let port = line.split("http://127.0.0.1:").nth(1).unwrap();
    let port: u16 = port.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
    assert_ne!(port, 7470);
    let answer =
        Connection::open(([127, 0, 0, 1], port).into()).unwrap().request("GET", "/healthz", &[], b"");
    assert!(answer.is_ok());
    stop(child);
}
