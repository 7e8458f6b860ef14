//! Whether a server is there and records, and what a second one on the same data is told.

use crate::support::{Home, stop, upstream};
use std::time::{Duration, Instant};

#[test]
fn a_server_says_that_it_is_ready_and_a_second_one_is_told_which_process_holds_the_data() {
    let home = Home::new("status");
    let none = home.run(&["status"]);
    assert_eq!(none.status.code(), Some(1), "{none:?}");
    assert!(String::from_utf8_lossy(&none.stdout).contains("not running"));
    let (_, child) = home.gateway(upstream());
    let start = Instant::now();
    while !(home.data().join("pid").exists() && home.run(&["status"]).status.success()) {
        assert!(start.elapsed() < Duration::from_secs(60), "{}", child.output());
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = std::fs::read_to_string(home.data().join("pid")).unwrap().trim().to_owned();
    let ready = home.ok(&["status", "-o", "text"]);
    assert!(ready.lines().any(|line| line.split_whitespace().eq(["state", "ready"])), "{ready}");
    assert!(ready.lines().any(|line| line.split_whitespace().eq(["recording", "ok"])), "{ready}");
    assert!(ready.lines().any(|line| line.split_whitespace().eq(["process", pid.as_str()])), "{ready}");
    let second = home.run(&["run"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("process {pid} ")), "{said}");
    assert_eq!(home.count("rec:interaction"), 0, "the first one goes on answering");
    stop(child);
    assert_eq!(home.run(&["status"]).status.code(), Some(1));
}
