//! `kill -9` in mid-storm: no finding that was taken in is lost, none is told of twice.

use crate::server::Server;
use crate::{Clock, config, finding, start, until, webhook};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

const URL: &str = "COUNTERSIGN_ALERT_CHILD_URL";
const DIR: &str = "COUNTERSIGN_ALERT_CHILD_DIR";

/// Not a test of its own: the process that is killed. Does nothing unless the test below starts it.
#[test]
fn child() {
    let (Some(url), Some(dir)) = (std::env::var_os(URL), std::env::var_os(DIR)) else { return };
    let running =
        start(config(dir.as_ref(), vec![webhook(url.to_str().unwrap())]), Clock::default().timing());
    for index in 0..100_000 {
        running.alerts.fire(&finding(&format!("key:{index}")), index);
        println!("fired {index}");
    }
}

#[test]
fn nothing_is_lost_and_nothing_told_twice_over_kill_9() {
    let rounds = if std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|v| v == "full") { 20 } else { 3 };
    for round in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::always(if round % 2 == 0 { 503 } else { 200 });
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child", "--nocapture"])
            .env(URL, &server.url)
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let fired = lines.map_while(Result::ok).filter(|line| line.contains("fired "));
        fired.take(1 + round * 37).for_each(drop);
        child.kill().unwrap();
        child.wait().unwrap();
        server.answer(|_, _| (200, String::new()));
        let clock = Clock::default();
        let running = start(config(dir.path(), vec![webhook(&server.url)]), clock.timing());
        let handled = running.alerts.handled();
        assert!(handled > round as u64 * 37, "{handled} taken in, of {} at least", 1 + round * 37);
        assert!(running.alerts.counters().conserved());
        clock.forward(Duration::from_secs(400));
        until("everything is told", || running.alerts.counters().pending == 0);
        let mut by_id = BTreeMap::new();
        for request in server.seen().iter().filter(|r| r.status == 200) {
            let data = request.json()["data"].clone();
            let range = (
                data["first_index"].as_u64().or(data["index"].as_u64()).unwrap(),
                data["count"].as_u64().unwrap_or(1),
            );
            let known = by_id.insert(request.header("webhook-id").to_owned(), range);
            assert!(known.is_none_or(|known| known == range), "an id stands for one content");
        }
        let mut ranges: Vec<(u64, u64)> = by_id.into_values().collect();
        ranges.sort_unstable();
        let mut next = 0;
        for (first, count) in ranges {
            assert_eq!(first, next, "round {round}: each finding is in one message");
            next = first + count;
        }
        assert_eq!(next, handled);
    }
}
