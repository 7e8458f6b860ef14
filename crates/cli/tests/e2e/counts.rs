//! Exactly as many records as requests: under load, and through a kill -9.

use crate::support::{Home, stop, upstream};
use countersign_testkit::http::Connection;
use countersign_testkit::{ensure_program, repetitions, servers};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[test]
fn every_request_of_a_load_is_exactly_one_record() {
    let home = Home::new("load");
    let h2load = ensure_program("h2load", "nghttp2-client").unwrap();
    let nginx = servers::nginx().unwrap();
    let (address, child) = home.gateway(nginx.address);
    let requests = repetitions(10_000, 100_000);
    let url = format!("http://{address}/1k.txt");
    let output =
        Command::new(h2load).args(["--h1", "-c", "32", "-n", &requests.to_string(), &url]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("{requests} succeeded, 0 failed")), "{text}");
    assert_eq!(home.settle("rec:interaction", requests as u64), requests as u64);
    assert_eq!(home.count("rec:interaction outcome:success status:200"), requests as u64);
    println!("load: {requests} requests, {} records", home.count("rec:interaction"));
    stop(child);
    assert_eq!(home.count("rec:interaction"), requests as u64, "and after the stop");
}

#[test]
fn after_a_kill_every_answered_request_is_recorded_or_inside_a_signed_gap() {
    let kills = repetitions(2, 20);
    for round in 0..kills as u64 {
        let home = Home::new("kill");
        let upstream = upstream();
        let (address, mut child) = home.gateway(upstream);
        let answered = Arc::new(AtomicU64::new(0));
        let clients: Vec<_> = (0..8).map(|client| numbered(address, client, Arc::clone(&answered))).collect();
        std::thread::sleep(Duration::from_millis(700 + 137 * (round % 7)));
        child.kill();
        let asked: Vec<Vec<String>> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        let answered = answered.load(Ordering::SeqCst);
        assert!(answered > 100, "the clients must have been busy: {answered}");

        let (_, child) = home.gateway(upstream);
        let rows = home.ok(&[
            "sql",
            "-o",
            "ndjson",
            "--limit",
            "1000000",
            "select raw_target from events where rec = 'interaction'",
        ]);
        let recorded: std::collections::HashSet<&str> =
            rows.lines().filter_map(|line| line.split('"').nth(3)).collect();
        let lost = asked.iter().flatten().filter(|path| !recorded.contains(path.as_str())).count() as u64;
        let gaps = home.ok(&[
            "sql",
            "-o",
            "ndjson",
            "select coalesce(sum(\"count\"), 0) as n from gaps where reason = 'crash'",
        ]);
        let digits: String = gaps.chars().filter(char::is_ascii_digit).collect();
        let gap: u64 = digits.parse().unwrap();
        println!("kill {round}: {answered} answered, {} recorded, {lost} lost, gap {gap}", recorded.len());
        assert!(lost <= gap, "{lost} answered requests are neither recorded nor inside a gap of {gap}");
        stop(child);
        assert_eq!(home.run(&["fsck"]).status.code(), Some(0));
    }
}

/// Asks for numbered paths until the connection breaks; returns those that were answered.
fn numbered(
    address: std::net::SocketAddr,
    client: u64,
    answered: Arc<AtomicU64>,
) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut done = Vec::new();
        let Ok(mut connection) = Connection::open(address) else { return done };
        for number in 0.. {
            let path = format!("/c{client}/n{number}x");
            match connection.request("GET", &path, &[], b"") {
                Ok(answer) if answer.status == 200 => {
                    answered.fetch_add(1, Ordering::SeqCst);
                    done.push(path);
                }
                _ => break,
            }
        }
        done
    })
}
