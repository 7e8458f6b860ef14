//! MCP against real servers: the official SDKs, direct and through the gateway, in every revision that they
//! speak. Transcripts equal; what the server's own log says is what the records say.

use crate::mcp::rig;
use crate::support::{Rig, until};
use countersign_event::{Event, Kind, Outcome, Rec};
use countersign_gateway::stdio::{StdioOptions, StdioParts, run};
use countersign_gateway::{BodyKey, Recorder};
use countersign_ledger::SystemClock;
use countersign_testkit::{TempDir, mcp};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Records of calls that count: those whose outcome is not on another record.
fn counted(events: &[Event]) -> Vec<&Event> {
    events.iter().filter(|e| matches!(e.core.rec, Some(Rec::Interaction | Rec::Outcome))).collect()
}

/// What a server's log says, and what the records say, as sorted lists.
fn compare(log: &[String], events: &[Event]) {
    let mut seen: Vec<String> = log.to_vec();
    let mut recorded: Vec<String> = counted(events)
        .into_iter()
        // A call that the server's library refuses before the tool runs is in no log of the tools.
        .filter(|e| !matches!(e.target.res.as_str(), "no-such-tool"))
        .filter_map(|e| {
            let name = e.target.res.as_str();
            match e.core.op.as_str() {
                "tools/call" => Some(format!("[\"tool\",\"{name}\"]")),
                "resources/read" => {
                    Some(format!("[\"resource\",\"{}\"]", name.rsplit('/').next().unwrap_or(name)))
                }
                "prompts/get" => Some(format!("[\"prompt\",\"{name}\"]")),
                _ => None,
            }
        })
        .collect();
    seen.iter_mut().for_each(|l| *l = l.replace(", ", ","));
    seen.sort();
    recorded.sort();
    assert_eq!(recorded, seen);
}

/// Runs `client` direct and through a gateway before `server`; the records of the second run.
fn both(server: &mcp::Server, path: &str, mut client: impl FnMut(&str) -> Vec<String>) -> (Rig, Vec<Event>) {
    let direct = client(&format!("http://127.0.0.1:{}{path}", server.port));
    assert!(direct.len() > 5, "{direct:#?}");
    let before = server.log().len();
    let rig = rig(at(server.port));
    let through = client(&format!("http://{}{path}", rig.address));
    assert_eq!(through, direct, "{}", server.output());
    // The last exchange's record is made when its connection is done with it.
    let calls = server.log().len() - before;
    let is_call = |e: &&&Event| matches!(e.core.op.as_str(), "tools/call" | "resources/read" | "prompts/get");
    until("the calls are recorded", || counted(&rig.memory.all()).iter().filter(is_call).count() >= calls);
    let events = rig.memory.all();
    // A wrong argument is refused by the library too: those calls are known by their records alone.
    let wrong = |e: &Event| e.target.res == "add" && e.core.outcome == Some(Outcome::ServerError);
    let events: Vec<Event> = events.into_iter().filter(|e| !wrong(e)).collect();
    compare(&server.log()[before..], &events);
    (rig, events)
}

fn protocols(events: &[Event]) -> Vec<String> {
    let mut all: Vec<String> =
        events.iter().filter(|e| e.core.op == "tools/call").map(|e| e.core.proto.clone()).collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn the_python_sdk_has_the_same_transcript_through_the_gateway_in_every_revision() {
    let server = mcp::python_server("http").unwrap();
    for (mode, revision) in
        [("legacy", "mcp/2025-11-25"), ("2026-07-28", "mcp/2026-07-28"), ("auto", "mcp/2026-07-28")]
    {
        let (_rig, events) =
            both(&server, "/mcp", |url| mcp::python_client(mode, &[url.to_owned()]).unwrap());
        assert_eq!(protocols(&events), [revision], "{mode}");
        let fail = events.iter().find(|e| e.target.res == "fail").unwrap();
        assert_eq!(fail.core.outcome, Some(Outcome::ServerError));
        assert!(
            events.iter().all(|e| e.core.labels.iter().all(|l| l == "from-server")),
            "no mismatch, nothing odd"
        );
    }
    for revision in ["2025-03-26", "2025-06-18"] {
        let (_rig, events) =
            both(&server, "/mcp", |url| mcp::python_client_of(revision, "http", url).unwrap());
        assert_eq!(protocols(&events), [format!("mcp/{revision}")]);
    }
    for (transport, mode, revision) in [
        ("h2", "h2-legacy", "mcp/2025-11-25"),
        ("h2", "h2-2026-07-28", "mcp/2026-07-28"),
        ("h2-json", "h2-auto", "mcp/2026-07-28"),
    ] {
        let server = mcp::python_server(transport).unwrap();
        let (_rig, events) =
            both(&server, "/mcp", |url| mcp::python_client(mode, &[url.to_owned()]).unwrap());
        assert_eq!(protocols(&events), [revision], "{mode}");
        let reencoded = |e: &Event| e.body.cap.iter().all(|cap| cap.changes == ["reencoded"]);
        assert!(events.iter().all(reencoded), "over HTTP/2");
    }
    let server = mcp::python_server("json").unwrap();
    both(&server, "/mcp", |url| mcp::python_client("legacy", &[url.to_owned()]).unwrap());
}

#[test]
fn http_with_sse_of_2024_11_05_has_the_same_transcript_and_one_counted_record_a_call() {
    let server = mcp::python_server("sse").unwrap();
    let (_rig, events) =
        both(&server, "/sse", |url| mcp::python_client_of("2024-11-05", "sse", url).unwrap());
    assert_eq!(protocols(&events), ["mcp/2024-11-05"]);
    let calls: Vec<_> = counted(&events).into_iter().filter(|e| e.core.op == "tools/call").collect();
    assert!(calls.iter().all(|e| e.core.rec == Some(Rec::Outcome) && e.core.outcome.is_some()));
    let (_rig, _) = both(&server, "/sse", |url| mcp::python_client("sse", &[url.to_owned()]).unwrap());
}

#[test]
fn the_javascript_sdk_has_the_same_transcript_through_the_gateway() {
    for (kind, clients) in [("v1", &["v1", "v2-auto"][..]), ("v1-json", &["v1"]), ("v2", &["v2", "v1"])] {
        let server = mcp::javascript_server(kind).unwrap();
        for client in clients {
            let (_rig, events) =
                both(&server, "/mcp", |url| mcp::javascript_client(client, &[url.to_owned()]).unwrap());
            let wanted = if *client == "v2" { "mcp/2026-07-28" } else { "mcp/2025-11-25" };
            assert_eq!(protocols(&events), [wanted], "{kind} {client}");
            let add = events.iter().find(|e| e.target.res == "add").unwrap();
            assert_eq!((add.core.kind, add.core.outcome), (Some(Kind::Tool), Some(Outcome::Success)));
        }
    }
}

#[test]
fn servers_on_standard_input_and_output_are_wrapped_unchanged() {
    // This test binary is the wrapper: the client starts it with the server's command.
    for (client, kind) in [("python", "python"), ("v1-stdio", "v1-stdio"), ("v2-stdio", "v2-stdio")] {
        let dir = TempDir::new("stdio").unwrap();
        let server = mcp::stdio_server(&dir, kind).unwrap();
        let talk = |command: Vec<String>| match client {
            "python" => {
                let target: Vec<String> = std::iter::once("--".to_owned()).chain(command).collect();
                mcp::python_client("stdio", &target).unwrap()
            }
            kind => mcp::javascript_client(kind, &command).unwrap(),
        };
        let direct = talk(server.clone());
        let log = dir.path().join("log");
        let before = mcp::lines(&log).len();
        let records = dir.path().join("records");
        let me = std::env::current_exe().unwrap().to_string_lossy().into_owned();
        let shell = format!(
            "COUNTERSIGN_WRAP='{}' COUNTERSIGN_RECORDS='{}' '{me}' --nocapture --exact mcp_sdk::wrapper 3>&1 >/dev/null 2>/dev/null | cat",
            server.join("\u{1f}"),
            records.display()
        );
        let through = talk(vec!["/bin/sh".to_owned(), "-c".to_owned(), shell]);
        assert_eq!(through, direct, "{kind}");
        until("the session is recorded", || {
            std::fs::read_to_string(&records).unwrap_or_default().contains(" session ")
        });
        let text = std::fs::read_to_string(&records).unwrap();
        let calls = text.lines().filter(|l| {
            let op = l.split(' ').nth(1).unwrap_or_default();
            matches!(op, "tools/call" | "resources/read" | "prompts/get") && !l.contains("no-such-tool")
        });
        let wrong = text.lines().filter(|l| l.contains("tools/call add Some(ServerError)")).count();
        assert_eq!(calls.count() - wrong, mcp::lines(&log).len() - before, "{kind}\n{text}");
        assert!(text.lines().last().unwrap().contains(" session "));
    }
}

/// Not a test of its own: the wrapper that the test above has clients start.
#[test]
fn wrapper() {
    let Ok(command) = std::env::var("COUNTERSIGN_WRAP") else { return };
    let words: Vec<&str> = command.split('\u{1f}').collect();
    let mut child = Command::new(words[0]);
    child.args(&words[1..]);
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(std::env::var("COUNTERSIGN_RECORDS").unwrap());
    let recorder = Arc::new(ToFile(file.unwrap(), std::sync::atomic::AtomicI64::new(0)));
    let key = BodyKey::Raw(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[1; 32]));
    let parts = StdioParts { recorder, key, clock: Arc::new(SystemClock::default()) };
    let options = StdioOptions { route: "wrap".to_owned(), service: String::new(), config: [1; 8] };
    // Standard output belongs to the test harness; the shell that started this put ours, a pipe, at 3.
    let output = std::fs::OpenOptions::new().write(true).open("/proc/self/fd/3").unwrap();
    let _ = run(&options, parts, child, std::io::stdin(), output);
    std::process::exit(0);
}

/// One line for each event; fails on an event that nobody owed.
struct ToFile(std::fs::File, std::sync::atomic::AtomicI64);

impl Recorder for ToFile {
    fn record(&self, events: Vec<Event>) -> Result<(), countersign_gateway::RecordError> {
        use std::io::Write;
        for event in events {
            let left = self.1.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            let owed = if left > 0 { "owed" } else { "unowed" };
            let (op, res, outcome) = (&event.core.op, &event.target.res, event.core.outcome);
            let mut encoded = event.clone();
            (encoded.core.agent, encoded.core.seq) = ("a".to_owned(), 1);
            let fits = encoded.encode().is_ok();
            writeln!(&self.0, "{owed} {op} {res} {outcome:?} {} {fits}", event.core.proto).unwrap();
        }
        Ok(())
    }
    fn owe(&self, n: u64) -> Result<(), countersign_gateway::RecordError> {
        self.1.fetch_add(n as i64, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
    fn record_intents(
        &self,
        _: Vec<Event>,
        _: Box<dyn FnOnce(Option<Vec<usize>>) + Send>,
    ) -> Result<Vec<[u8; 16]>, countersign_gateway::RecordError> {
        unreachable!("a wrapper has no intents")
    }
    fn folded(&self, _: u64) {
        unreachable!("a wrapper folds nothing")
    }
    fn dropped(&self, _: u64) -> Result<(), countersign_gateway::RecordError> {
        unreachable!("a wrapper drops nothing")
    }
}
