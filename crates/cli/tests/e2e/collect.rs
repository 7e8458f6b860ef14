//! What others logged, through the binary: received, found, and after a kill there exactly once.

use crate::support::{Home, Random, stop};
use countersign_testkit::http::Connection;
use countersign_testkit::{Child, free_port, repetitions, wait_for_port};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

const LINE: &str =
    r#"192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] "GET /orders/7 HTTP/1.1" 200 803 "-" "curl/8""#;
/// Records in one batch of the client that sends again.
const BATCH: u64 = 20;
/// Longest wait for an answer that may never come.
const ANSWER: Duration = Duration::from_secs(60);

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

/// A server with these inputs, `http` and `syslog`, at addresses of its own.
struct Server {
    home: Home,
    file: String,
    push: SocketAddr,
    syslog: SocketAddr,
}

impl Server {
    fn new(label: &str) -> Server {
        let home = Home::new(label);
        let (push, syslog) = (free(), free());
        let text = format!(
            "[web]\nenabled = false\n[[input]]\nname = \"push\"\nlisten = \"{push}\"\n\
             [[input]]\nname = \"sys\"\nlisten = \"{syslog}\"\nprotocol = \"syslog\"\n"
        );
        let file = home.path().join("countersign.toml");
        std::fs::write(&file, text).unwrap();
        Server { file: file.to_str().unwrap().to_owned(), home, push, syslog }
    }

    fn start(&self) -> Child {
        let command = self.home.command(&["run", "--config", &self.file]);
        let child = Child::start(command, &self.home.path().join("run.log")).unwrap();
        for address in [self.push, self.syslog] {
            wait_for_port(address, Duration::from_secs(30)).unwrap_or_else(|_| panic!("{}", child.output()));
        }
        child
    }
}

#[test]
fn what_is_pushed_and_logged_is_found_with_its_deliverer_and_nobody_is_more_than_claimed() {
    let server = Server::new("collect");
    let child = server.start();
    let answer =
        Connection::open(server.push).unwrap().request("POST", "/v1/events", &[], LINE.as_bytes()).unwrap();
    assert_eq!(answer.status, 200);
    let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagram.send_to(b"<13>Mar 13 12:08:33 host app[7]: hello from a datagram", server.syslog).unwrap();
    let mut stream = TcpStream::connect(server.syslog).unwrap();
    stream.write_all(b"<13>1 2024-03-13T12:08:33Z host app 7 - - hello from a stream\n").unwrap();
    drop(stream);
    let home = &server.home;
    assert_eq!(home.settle("route:push op:GET", 1), 1);
    assert_eq!(home.settle("route:sys", 2), 2);
    let sql = "select index, verified from events where route in ('push', 'sys')";
    let rows = home.ok(&["sql", sql, "-o", "csv"]);
    assert_eq!(rows.lines().count(), 4, "{rows}");
    for row in rows.lines().skip(1) {
        let (index, level) = row.split_once(',').unwrap();
        assert!(matches!(level.trim(), "" | "1"), "nobody is more than claimed: {rows}");
        let shown = home.ok(&["show", index, "-o", "json"]);
        assert!(shown.contains("addr:127.0.0.1"), "{shown}");
    }
    let said = stop(child);
    assert!(said.contains("inputs: 3 received = 3 recorded + 0 rejected + 0 dropped"), "{said}");
    assert_eq!(home.run(&["fsck"]).status.code(), Some(0));
}

#[test]
fn what_is_exported_as_ocsf_and_opentelemetry_is_read_back_with_who_what_and_outcome() {
    let server = Server::new("export");
    let child = server.start();
    let lines: Vec<String> = (0..250).map(|n| LINE.replace("/orders/7", &format!("/orders/{n}"))).collect();
    let body = lines.join("\n");
    let answer =
        Connection::open(server.push).unwrap().request("POST", "/v1/events", &[], body.as_bytes()).unwrap();
    assert_eq!(answer.status, 200);
    let home = &server.home;
    assert_eq!(home.settle("route:push op:GET", 250), 250);
    let ocsf = home.ok(&["export", "--format", "ocsf", "route:push"]);
    assert_eq!(ocsf.lines().count(), 250);
    let first: serde_json::Value = serde_json::from_str(ocsf.lines().next().unwrap()).unwrap();
    assert_eq!(
        (first["class_uid"].as_u64(), first["http_request"]["http_method"].as_str()),
        (Some(4002), Some("GET"))
    );
    let file = home.path().join("export.ndjson");
    std::fs::write(&file, &ocsf).unwrap();
    let back = home.ok(&["parse", "--format", "ocsf", "-o", "ndjson", file.to_str().unwrap()]);
    for (n, line) in back.lines().enumerate() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["target"]["raw"], format!("/orders/{n}"), "in the order of the ledger");
        assert_eq!(event["core"]["outcome"], "success");
    }
    assert_eq!(back.lines().count(), 250);
    let otel = home.ok(&["export", "--format", "otel", "route:push"]);
    assert_eq!(otel.lines().count(), 3, "a hundred records a request");
    for request in otel.lines() {
        let headers = ["Content-Type: application/json"];
        let answer = Connection::open(server.push)
            .unwrap()
            .request("POST", "/v1/logs", &headers, request.as_bytes())
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(home.settle("route:push op:GET", 500), 500, "observed again, as what somebody says");
    assert_eq!(home.run(&["export", "--format", "ocsf", "op:NOTHING"]).status.code(), Some(1));
    stop(child);
}

#[test]
fn a_format_of_the_operators_own_is_tried_by_parse_and_read_by_an_input() {
    let home = Home::new("own-format");
    let format = home.path().join("shop.toml");
    std::fs::write(&format, "[format.shop]\nnginx = '$status|$time_iso8601|$remote_addr|$request'\n")
        .unwrap();
    let log = home.path().join("shop.log");
    let line = |n: u32| format!("503|2024-03-13T12:08:33+00:00|192.0.2.1|GET /a/{n} HTTP/1.1\n");
    std::fs::write(&log, (0..20).map(line).collect::<String>()).unwrap();
    let [format_path, log_path] = [&format, &log].map(|path| path.to_str().unwrap().to_owned());
    let parsed = home.ok(&["parse", "--format-file", &format_path, "-o", "ndjson", &log_path]);
    assert_eq!(parsed.matches("server_error").count(), 20, "{parsed}");
    let config = home.path().join("own.toml");
    let text = format!(
        "[web]\nenabled = false\n[[input]]\nname = \"shop\"\nprotocol = \"file\"\npaths = [\"{log_path}\"]\n\
         format_file = \"shop.toml\"\n"
    );
    std::fs::write(&config, &text).unwrap();
    let file = config.to_str().unwrap();
    let mut child =
        Child::start(home.command(&["run", "--config", file]), &home.path().join("run.log")).unwrap();
    child.wait_for_line("files that are followed", Duration::from_secs(30)).unwrap();
    assert_eq!(home.settle("route:shop outcome:server_error", 20), 20);
    stop(child);
    std::fs::write(&format, "[format.shop]\nnginx = '$remote_adr$status'\n").unwrap();
    let refused = home.run(&["check", "--config", file]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && said.contains("format.shop.nginx"), "{said}");
}

#[test]
fn a_batch_that_got_no_answer_before_a_kill_is_sent_again_and_every_record_is_there_once() {
    let rounds = repetitions(5, 50);
    let server = Server::new("collect-kill");
    let mut random = Random(0x00c0_11ec);
    let mut sent: BTreeSet<String> = BTreeSet::new();
    let mut child = server.start();
    let mut batch = 0;
    for _ in 0..rounds {
        let end = Instant::now() + Duration::from_millis(20 + random.below(400));
        let mut waiting = Vec::new();
        while Instant::now() < end {
            batch += 1;
            if push(server.push, batch, &mut sent).is_none() {
                waiting.push(batch);
            }
        }
        // A request on its way while the process dies.
        let address = server.push;
        batch += 1;
        let last = batch;
        let sender = std::thread::spawn(move || push(address, last, &mut BTreeSet::new()));
        std::thread::sleep(Duration::from_micros(random.below(3_000)));
        child.kill();
        let _ = sender.join().unwrap();
        waiting.push(last);
        child = server.start();
        // Whoever got no answer sends again until there is one.
        for batch in waiting {
            let until = Instant::now() + ANSWER;
            while push(server.push, batch, &mut sent).is_none() {
                assert!(Instant::now() < until, "batch {batch} was never answered: {}", child.output());
            }
        }
    }
    let home = &server.home;
    assert_eq!(home.settle("route:push", sent.len() as u64), sent.len() as u64);
    let sql = "select count(*) as n, count(distinct source_id) as ids from events where route = 'push'";
    let counts = home.ok(&["sql", sql, "-o", "csv"]);
    let want = format!("{0},{0}", sent.len());
    assert!(counts.contains(&want), "{rounds} kills: {counts}, wanted {want}");
    println!("{rounds} kills: {} records sent until answered, each there once", sent.len());
    stop(child);
    assert_eq!(home.run(&["fsck"]).status.code(), Some(0));
}

/// One `_bulk` request on a connection of its own; `None` = no answer. What is answered is in `sent`.
fn push(address: SocketAddr, batch: u64, sent: &mut BTreeSet<String>) -> Option<()> {
    let ids: Vec<String> = (0..BATCH).map(|n| format!("{batch}-{n}")).collect();
    let lines =
        ids.iter().map(|id| format!("{{\"create\":{{\"_id\":\"{id}\"}}}}\n{{\"message\":\"{id}\"}}\n"));
    let body: String = lines.collect();
    let mut connection = Connection::open(address).ok()?;
    let answer = connection.request("POST", "/app/_bulk", &[], body.as_bytes()).ok()?;
    (answer.status == 200 && answer.body.windows(14).any(|w| w == b"\"errors\":false"))
        .then(|| sent.extend(ids))
}

#[test]
fn a_file_that_is_followed_is_there_once_across_rotation_and_kills() {
    let home = Home::new("collect-files");
    let logs = home.path().join("log");
    std::fs::create_dir(&logs).unwrap();
    let file = home.path().join("countersign.toml");
    let text = "[web]\nenabled = false\n[[input]]\nname = \"app\"\nprotocol = \"file\"\npaths = [\"log/app.log*\"]\n";
    std::fs::write(&file, text).unwrap();
    let start = || {
        let command = home.command(&["run", "--config", file.to_str().unwrap()]);
        Child::start(command, &home.path().join("run.log")).unwrap()
    };
    let (mut random, mut next) = (Random(0x000f_11e5), 0);
    let rounds = repetitions(4, 50);
    let mut child = start();
    for round in 0..rounds {
        for _ in 0..200 {
            let mut log =
                std::fs::File::options().append(true).create(true).open(logs.join("app.log")).unwrap();
            writeln!(log, "{{\"message\":\"line {next}\"}}").unwrap();
            next += 1;
            if random.below(100) == 0 {
                std::fs::rename(logs.join("app.log"), logs.join(format!("app.log.{round}-{next}"))).unwrap();
            }
        }
        // Somewhere between the start and the last line.
        std::thread::sleep(Duration::from_millis(random.below(1_500)));
        child.kill();
        child = start();
    }
    assert_eq!(home.settle("route:app -rec:platform", next), next, "{}", child.output());
    let sql = "select count(*) as n, count(distinct source_id) as ids from events where route = 'app' and rec <> 'platform'";
    let counts = home.ok(&["sql", sql, "-o", "csv"]);
    assert!(counts.contains(&format!("{next},{next}")), "{counts}, wanted {next}");
    let said = stop(child);
    assert!(said.contains("files that are followed"), "{said}");
    assert_eq!(home.run(&["fsck"]).status.code(), Some(0));
}

#[test]
fn what_was_recorded_is_known_again_after_starts_that_recorded_nothing() {
    let home = Home::new("collect-silent-start");
    let log = home.path().join("app.log");
    let line = |n: u32| format!("{{\"message\":\"line {n}\"}}\n");
    std::fs::write(&log, (0..50).map(line).collect::<String>()).unwrap();
    let config = home.path().join("countersign.toml");
    let text =
        "[web]\nenabled = false\n[[input]]\nname = \"app\"\nprotocol = \"file\"\npaths = [\"app.log\"]\n";
    std::fs::write(&config, text).unwrap();
    let start = || {
        let command = home.command(&["run", "--config", config.to_str().unwrap()]);
        let mut child = Child::start(command, &home.path().join("run.log")).unwrap();
        child.wait_for_line("files that are followed", Duration::from_secs(30)).unwrap();
        child
    };
    let mut child = start();
    assert_eq!(home.settle("route:app -rec:platform", 50), 50);
    child.kill();
    // Nothing is new, so these runs have no records of their own, and what the write-ahead log holds at last is
    // theirs.
    for _ in 0..4 {
        child = start();
        std::thread::sleep(Duration::from_secs(1));
        child.kill();
    }
    // Without its checkpoint the input reads everything again.
    std::fs::remove_file(home.data().join("collect/app.files")).unwrap();
    std::fs::File::options().append(true).open(&log).unwrap().write_all(line(50).as_bytes()).unwrap();
    child = start();
    assert_eq!(home.settle("route:app -rec:platform", 51), 51);
    stop(child);
}

#[test]
fn records_that_nobody_understands_and_a_name_given_twice_are_findings() {
    let home = Home::new("collect-findings");
    let log = home.path().join("app.log");
    let mut text: String = (0..150).map(|n| format!("%% nothing known {n}\n")).collect();
    text.push_str("{\"user\":\"a\",\"user\":\"b\",\"message\":\"hi\"}\n");
    std::fs::write(&log, text).unwrap();
    let config = home.path().join("countersign.toml");
    let text =
        "[web]\nenabled = false\n[[input]]\nname = \"app\"\nprotocol = \"file\"\npaths = [\"app.log\"]\n";
    std::fs::write(&config, text).unwrap();
    let start = || {
        let command = home.command(&["run", "--config", config.to_str().unwrap()]);
        let mut child = Child::start(command, &home.path().join("run.log")).unwrap();
        child.wait_for_line("files that are followed", Duration::from_secs(30)).unwrap();
        child
    };
    let mut child = start();
    assert_eq!(home.settle("rec:finding label:collect.raw-share", 1), 1);
    assert_eq!(home.settle("rec:finding label:collect.mark.ambiguous_json", 1), 1);
    // The filter that shows what the finding rests on.
    assert_eq!(home.count("agent:\"input:app\" rec:raw"), 151);
    // After a kill the same is not told again.
    child.kill();
    child = start();
    let mut log = std::fs::File::options().append(true).open(&log).unwrap();
    (0..10).for_each(|n| writeln!(log, "%% nothing known either {n}").unwrap());
    assert_eq!(home.settle("agent:\"input:app\" rec:raw", 161), 161);
    stop(child);
    assert_eq!(home.count("rec:finding label:collect.raw-share"), 1);
    assert_eq!(home.count("rec:finding label:collect.mark.ambiguous_json"), 1);
}

#[test]
fn parse_shows_what_would_be_recorded_and_its_sum() {
    let home = Home::new("parse");
    let file = home.path().join("log");
    std::fs::write(&file, format!("{LINE}\nnothing known\n{LINE}\n")).unwrap();
    let output = home.run(&["parse", file.to_str().unwrap()]);
    let (events, sum) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "one was not understood");
    assert_eq!(events.lines().count(), 3);
    assert!(events.lines().next().unwrap().contains("\"outcome\":\"success\""), "{events}");
    assert!(sum.contains("received 3 = recorded 3 + rejected 0 + dropped 0"), "{sum}");
    let wrong = home.run(&["parse", "--format", "combind", file.to_str().unwrap()]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("nearest: combined"));
}
