//! From a call to somebody's telephone, through the binary: told at once, not lost over kills and dead receivers, few in a
//! storm, and answered.

use crate::support::{Home, Random, stop, upstream};
use countersign_testkit::http::Connection;
use countersign_testkit::{Child, free_port, torture_full, wait_for_port};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const RULE: &str = "title: Deleted\nid: it-deleted\nlevel: high\nexplain: '{op} of {resource} on {service}'\n\
falsepositives: [an order is closed by its owner]\n\
logsource: {category: webserver}\ndetection: {sel: {op: DELETE}, condition: sel}\n";

/// A receiver that keeps what it is told.
struct Hook {
    address: SocketAddr,
    told: Arc<Mutex<Vec<(String, serde_json::Value)>>>,
    /// Whether it answers 503.
    down: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
}

impl Hook {
    fn new() -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hook = Hook { address, told: Arc::default(), down: Arc::default(), refused: Arc::default() };
        let (told, down, refused) = (hook.told.clone(), hook.down.clone(), hook.refused.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (told, down, refused) = (told.clone(), down.clone(), refused.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    while let Some((id, body)) = message(&mut reader) {
                        let refuse = down.load(Ordering::SeqCst);
                        if refuse {
                            refused.fetch_add(1, Ordering::SeqCst);
                        } else {
                            told.lock().unwrap().push((id, body));
                        }
                        let status = if refuse { "503 Service Unavailable" } else { "200 OK" };
                        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        hook
    }

    fn told(&self) -> Vec<(String, serde_json::Value)> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until `enough` of what was told.
    fn wait(&self, enough: impl Fn(&[(String, serde_json::Value)]) -> bool) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            if enough(&self.told()) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Findings told of, by the sums of the messages.
    fn findings(&self) -> u64 {
        self.told().iter().map(|(_, body)| body["data"]["count"].as_u64().unwrap_or(1)).sum()
    }

    /// No message came twice.
    fn assert_once(&self) {
        let mut ids: BTreeMap<String, usize> = BTreeMap::new();
        self.told().into_iter().for_each(|(id, _)| *ids.entry(id).or_default() += 1);
        assert!(ids.values().all(|n| *n == 1), "{ids:?}");
    }
}

fn message(reader: &mut BufReader<TcpStream>) -> Option<(String, serde_json::Value)> {
    let (mut length, mut id) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let lower = line.trim_end().to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if lower.starts_with("webhook-id:") {
            id = line.split_once(':')?.1.trim().to_owned();
        }
        if lower.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((id, serde_json::from_slice(&body).ok()?))
}

/// A server with one rule and one receiver.
struct Watched {
    home: Home,
    hook: Hook,
    address: SocketAddr,
    config: String,
}

impl Watched {
    fn new(label: &str) -> Watched {
        let (home, hook) = (Home::new(label), Hook::new());
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        std::fs::write(home.path().join("rule.yml"), RULE).unwrap();
        std::fs::write(home.path().join("secret"), "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
            .unwrap();
        let text = format!(
            "[web]\nenabled = false\n[detect]\nrules = [\"rule.yml\"]\n[[webhook]]\nurl = \"http://{}/\"\nsecret_file = \"secret\"\n\
             [[listener]]\nname = \"front\"\nlisten = \"{address}\"\nupstream = \"http://{}\"\nservice = \"orders\"\n",
            hook.address,
            upstream()
        );
        let config = home.path().join("countersign.toml");
        std::fs::write(&config, text).unwrap();
        Watched { config: config.to_str().unwrap().to_owned(), home, hook, address }
    }

    fn start(&self) -> Child {
        let command = self.home.command(&["run", "--config", &self.config]);
        let child = Child::start(command, &self.home.path().join("run.log")).unwrap();
        wait_for_port(self.address, Duration::from_secs(30)).unwrap_or_else(|_| panic!("{}", child.output()));
        child
    }

    /// Deletes that were answered; ends with the first that was not.
    fn delete(&self, range: std::ops::Range<u64>) -> u64 {
        let Ok(mut connection) = Connection::open(self.address) else { return 0 };
        let mut done = 0;
        for n in range {
            if connection.request("DELETE", &format!("/orders/{n}"), &[], b"").is_err() {
                break;
            }
            done += 1;
        }
        done
    }

    /// What fired is delivered, merged, … or waits: nothing is missing.
    fn sum(&self) -> String {
        self.home.ok(&["alerts", "sum"])
    }
}

#[test]
fn a_finding_is_told_while_its_connection_is_open_acknowledged_silenced_and_judged() {
    let watched = Watched::new("alerts");
    let child = watched.start();
    let home = &watched.home;
    let mut open = Connection::open(watched.address).unwrap();
    open.request("DELETE", "/orders/7", &[], b"").unwrap();
    assert!(watched.hook.wait(|told| !told.is_empty()), "{}", child.output());
    let (_, body) = watched.hook.told().remove(0);
    let said = body.to_string();
    assert!(
        said.contains("DELETE of /orders/") && said.contains("wrong if: an order is closed by its owner"),
        "{said}"
    );
    open.request("GET", "/orders/8", &[], b"").unwrap();

    // Somebody knows of it; a silence holds for others; nothing is missing in the sum.
    let matters = home.ok(&["alerts", "-o", "ndjson"]);
    let matter: serde_json::Value = serde_json::from_str(matters.lines().next().unwrap()).unwrap();
    assert_eq!(matter["rule"], "it-deleted", "{matters}");
    let fingerprint = matter["fingerprint"].as_str().unwrap();
    home.ok(&["alerts", "ack", fingerprint, "--note", "on it"]);
    assert!(home.ok(&["alerts", "-o", "ndjson"]).contains("on it"));
    let silence = home.ok(&["alerts", "silence", "--rule", "it-*", "--reason", "a test", "--for", "1h"]);
    assert!(home.ok(&["alerts", "silences", "-o", "ndjson"]).contains("a test"));
    open.request("DELETE", "/orders/9", &[], b"").unwrap();
    assert_eq!(home.settle("rec:finding label:it-deleted", 2), 2);
    home.ok(&["alerts", "expire", silence.trim()]);
    let refused = home.run(&["alerts", "silence", "--rule", "sequence-gap", "--reason", "x", "--for", "1h"]);
    assert!(!refused.status.success(), "findings about the record are never silenced");
    assert_eq!(home.settle("op:alert.acknowledged", 1), 1);
    assert_eq!(home.settle("op:alert.silence.made", 1), 1);
    assert_eq!(home.settle("op:alert.silence.ended", 1), 1);
    watched.sum();

    home.ok(&["alerts", "change", "--service", "orders", "--reason", "version 2", "--for", "10m"]);
    assert_eq!(home.settle("op:change_window service:orders", 1), 1);

    // Feedback: a filter for what was false, refused if it hides what was true.
    let found = home.ok(&["findings", "label:it-deleted", "-o", "ndjson"]);
    let index = |at: usize| {
        let row: serde_json::Value = serde_json::from_str(found.lines().nth(at).unwrap()).unwrap();
        row["index"].to_string()
    };
    home.ok(&["alerts", "feedback", &index(0), "false", "--why", "its owner"]);
    let filter = home.ok(&["alerts", "propose", "it-deleted", "--config", &watched.config]);
    assert!(filter.contains("filter:") && filter.contains("it-deleted"), "{filter}");
    std::fs::write(home.path().join("rule.yml"), format!("{RULE}---\n{filter}")).unwrap();
    let checked = home.ok(&["rules", "check", home.path().join("rule.yml").to_str().unwrap()]);
    assert!(checked.contains("it-deleted"), "{checked}");
    home.ok(&["alerts", "feedback", &index(1), "true", "--why", "a thief"]);
    let refused = home.run(&["alerts", "propose", "it-deleted", "--config", &watched.config]);
    assert!(
        !refused.status.success(),
        "it would hide the thief: {}",
        String::from_utf8_lossy(&refused.stdout)
    );
    stop(child);
}

#[test]
fn a_storm_of_related_findings_rings_at_most_three_times_and_loses_nothing() {
    let watched = Watched::new("alert-storm");
    let child = watched.start();
    let calls = if torture_full() { 10_000 } else { 1_500 };
    assert_eq!(watched.delete(0..calls), calls);
    // Of one rule and day a thousand findings are recorded, the rest is counted; 20 notify.
    assert_eq!(watched.home.settle("rec:finding label:it-deleted", 1_000), 1_000);
    assert!(watched.hook.wait(|told| !told.is_empty()), "the first is told at once");
    watched.sum();
    assert!(watched.hook.told().len() <= 3, "{:#?}", watched.hook.told());
    watched.hook.assert_once();
    stop(child);
    assert!(watched.hook.told().len() <= 3);
}

#[test]
fn what_a_dead_receiver_missed_arrives_once_when_it_is_back() {
    let watched = Watched::new("alert-down");
    let child = watched.start();
    watched.hook.down.store(true, Ordering::SeqCst);
    assert_eq!(watched.delete(0..3), 3);
    let down = Duration::from_secs(if torture_full() { 600 } else { 4 });
    std::thread::sleep(down);
    assert!(watched.hook.refused.load(Ordering::SeqCst) > 0 && watched.hook.told().is_empty());
    watched.hook.down.store(false, Ordering::SeqCst);
    let wait = Instant::now();
    // The longest pause between two attempts is five minutes.
    while watched.hook.told().is_empty() && wait.elapsed() < Duration::from_secs(400) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!watched.hook.told().is_empty());
    watched.hook.assert_once();
    assert_eq!(watched.home.settle("op:alert.delivered route:webhook-1", 1), 1);
    watched.sum();
    stop(child);
}

#[test]
fn kill_nine_loses_no_finding_says_none_twice_and_rings_for_the_first() {
    let watched = Watched::new("alert-kill");
    let rounds = if torture_full() { 50 } else { 5 };
    let mut random = Random(0x5eed);
    let mut at = 0;
    for _ in 0..rounds {
        let mut child = watched.start();
        let killed = std::thread::scope(|scope| {
            let sender = scope.spawn(|| watched.delete(at..at + 900 / rounds));
            std::thread::sleep(Duration::from_millis(random.below(120)));
            child.kill();
            sender.join().unwrap()
        });
        at += killed + 1;
    }
    let child = watched.start();
    assert_eq!(watched.delete(at..at + 1), 1);
    assert!(watched.hook.wait(|told| !told.is_empty()), "{}", child.output());
    watched.hook.assert_once();
    watched.sum();
    stop(child);
    // A call that the kill cut off is a record and a finding too.
    let deleted = watched.home.count("op:DELETE -rec:finding");
    assert!(deleted > 0);
    assert_eq!(watched.home.count("rec:finding label:it-deleted"), deleted);
    // What an unbroken run would find is what the ledger holds, with the same ids.
    watched.home.ok(&["detect", "replay", "--config", &watched.config, "-q"]);
    assert!(watched.hook.findings() >= 1);
}
