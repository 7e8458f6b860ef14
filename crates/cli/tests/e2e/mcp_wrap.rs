//! MCP servers on standard input and output, wrapped by the binary: the same transcript, every call recorded, with
//! and without a process that holds the ledger.

use crate::support::Home;
use countersign_event::{Event, Frame, Kind, Principal, Rec, Verified};
use countersign_testkit::{Child, TempDir, mcp};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Clients start servers with an environment of their own: where things lie is told by file.
fn config(home: &Home) -> String {
    let file = home.path().join("countersign.toml");
    let kek = home.path().join("config/countersign/kek");
    std::fs::write(&file, format!("data = \"{}\"\nkek = \"{}\"\n", home.data().display(), kek.display()))
        .unwrap();
    file.display().to_string()
}

fn wrapper(config: &str, name: &str, server: &[String]) -> Vec<String> {
    let binary = env!("CARGO_BIN_EXE_countersign");
    let words = [binary, "mcp", "wrap", "--config", config, "--name", name, "--"].map(str::to_owned);
    words.into_iter().chain(server.iter().cloned()).collect()
}

fn edge(home: &Home, config: &str) -> Child {
    let child = Child::start(
        home.command(&["run", "--role", "edge", "--config", config]),
        &home.path().join("run.log"),
    )
    .unwrap();
    let start = Instant::now();
    while !home.data().join("ingest.sock").exists() {
        assert!(start.elapsed() < Duration::from_secs(30), "{}", child.output());
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn stop(mut child: Child) -> String {
    child.signal("INT").unwrap();
    assert!(child.wait(Duration::from_secs(30)).unwrap().success(), "{}", child.output());
    child.output()
}

fn talk(command: &[String]) -> Vec<String> {
    let target: Vec<String> = std::iter::once("--".to_owned()).chain(command.iter().cloned()).collect();
    mcp::python_client("stdio", &target).unwrap()
}

#[test]
fn a_wrapped_server_has_the_same_transcript_and_each_call_a_record_either_way() {
    for held in [true, false] {
        let home = Home::new("wrap");
        let config = config(&home);
        let dir = TempDir::new("stdio").unwrap();
        let server = mcp::stdio_server(&dir, "python").unwrap();
        let log = dir.path().join("log");
        let edge = held.then(|| edge(&home, &config));
        let direct = talk(&server);
        let before = mcp::lines(&log).len();
        let through = talk(&wrapper(&config, "files", &server));
        assert_eq!(through, direct, "held by another process: {held}");
        let calls = (mcp::lines(&log).len() - before) as u64;
        if let Some(edge) = edge {
            let said = stop(edge);
            assert!(said.contains(" 0 rejected + 0 dropped"), "{said}");
        }
        // The last record is durable before the wrapper ends, and clients wait for that.
        assert_eq!(home.settle("op:session route:local/files", 1), 1);
        let recorded =
            home.count("op:tools/call") + home.count("op:resources/read") + home.count("op:prompts/get");
        assert!(calls > 0 && recorded >= calls, "{recorded} records of {calls} calls");
        let who = home.ok(&[
            "sql",
            "-o",
            "ndjson",
            "select agent, max(verified) as verified, min(verified) as least from events where route = 'local/files' group by agent",
        ]);
        assert!(who.lines().count() == 1 && who.contains("countersign:local/files"), "{who}");
        assert!(who.contains("\"verified\":2"), "a user by the kernel's word, and no more: {who}");
        assert!(who.contains("\"least\":1"), "and what the server asks for is the server's: {who}");
        assert_eq!(home.run(&["fsck"]).status.code(), Some(0));
    }
}

#[test]
fn exit_codes_and_signals_are_passed_on() {
    let home = Home::new("wrap-exit");
    let config = config(&home);
    let run = |script: &str| {
        let words = wrapper(&config, "sh", &["sh".into(), "-c".into(), script.into()]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    };
    assert_eq!(run("exit 7").output().unwrap().status.code(), Some(7));
    let mut child = run("trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done").spawn().unwrap();
    let mut ready = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(9), "the server decides how it ends");
    let missing = wrapper(&config, "none", &["no-such-program".into()]);
    let output = Command::new(&missing[0]).args(&missing[1..]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-program"));
}

#[test]
fn nothing_passes_when_the_ledger_is_gone_and_a_killed_wrapper_leaves_a_gap() {
    let home = Home::new("wrap-kill");
    let config = config(&home);
    let holder = edge(&home, &config);
    let words = wrapper(&config, "cat", &["cat".into()]);
    let start = || {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let call = |child: &mut std::process::Child, id: u32| {
        let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/list\"}}\n");
        let mut back = vec![0; line.len()];
        let stdin = child.stdin.as_mut().unwrap();
        stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).is_ok()
            && child.stdout.as_mut().unwrap().read_exact(&mut back).is_ok()
    };
    let mut killed = start();
    assert!(call(&mut killed, 1));
    killed.kill().unwrap();
    killed.wait().unwrap();
    let mut cut = start();
    assert!(call(&mut cut, 2));
    let said = stop(holder);
    assert!(!said.contains(" + 0 dropped"), "what the killed wrapper owed is declared: {said}");
    assert!(!call(&mut cut, 3), "without a ledger nothing passes");
    drop(cut.stdin.take());
    assert_eq!(cut.wait().unwrap().code(), Some(2));
    let gaps = home.ok(&["sql", "-o", "ndjson", "select reason from gaps"]);
    assert!(gaps.contains("source_declared"), "{gaps}");
}

#[test]
fn where_the_configuration_enforces_a_denied_call_never_reaches_the_server_and_is_recorded_so() {
    for held in [true, false] {
        let home = Home::new("wrap-denied");
        let file = config(&home);
        let policies = home.path().join("rules.cedar");
        let rules = "@id(\"all\")\npermit(principal, action, resource);\n@id(\"no-rm\")\n\
            forbid(principal, action == Action::\"mcp:tools/call\", resource) when { resource.name == \"rm\" };\n";
        std::fs::write(&policies, rules).unwrap();
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str(&format!("[policy]\nfiles = [\"{}\"]\nwrapped = \"enforce\"\n", policies.display()));
        std::fs::write(&file, &text).unwrap();
        let holder = held.then(|| edge(&home, &file));
        let got = home.path().join("got");
        // A server that answers nothing and keeps every line it gets.
        let words = wrapper(&file, "sink", &["sh".into(), "-c".into(), format!("cat > {}", got.display())]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let call = |id: u32, tool: &str| {
            format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"{tool}\"}}}}\n"
            )
        };
        let sent = [call(1, "ls"), call(2, "rm"), call(3, "ls")].concat();
        child.stdin.take().unwrap().write_all(sent.as_bytes()).unwrap();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success());
        if let Some(holder) = holder {
            stop(holder);
        }
        assert_eq!(std::fs::read_to_string(&got).unwrap(), [call(1, "ls"), call(3, "ls")].concat());
        assert_eq!(said.lines().count(), 1, "one error and nothing else: {said}");
        assert!(said.contains("\"error\"") && said.contains("\"id\":2") && said.contains("-32003"), "{said}");
        let denied = home.ok(&[
            "sql",
            "-o",
            "ndjson",
            "select outcome, decision, decision_mode, policies, resource from events where op = 'tools/call' and outcome = 'denied'",
        ]);
        assert_eq!(denied.lines().count(), 1, "held by another process: {held}: {denied}");
        for part in ["\"decision\":\"deny\"", "\"decision_mode\":\"enforce\"", "no-rm", "rm"] {
            assert!(denied.contains(part), "{part}: {denied}");
        }
        assert_eq!(home.count("op:tools/call decision:allow"), 2);

        // A broken policy that enforces is a reason not to start.
        std::fs::write(&policies, "permit(").unwrap();
        let output = Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

fn message(stream: &mut UnixStream, kind: u8, payload: &[u8]) {
    let length = (payload.len() as u32).to_be_bytes();
    stream.write_all(&[&[kind][..], &length, payload].concat()).unwrap();
}

fn answer(stream: &mut UnixStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).ok()?;
    let mut payload = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((head[0], payload))
}

#[test]
fn nothing_that_a_sender_claims_of_itself_is_believed() {
    let home = Home::new("wrap-forged");
    let config = config(&home);
    let edge = edge(&home, &config);
    let connect = |hello: &[u8]| {
        let mut stream = UnixStream::connect(home.data().join("ingest.sock")).unwrap();
        message(&mut stream, 1, hello);
        stream
    };
    let mut event = Event::default();
    event.core.agent = "countersign:gateway".into();
    (event.core.stream, event.core.eid, event.core.seq) = ([9; 16], [9; 16], 77);
    event.core.t_obs = 1;
    event.core.route = "front".into();
    event.core.rec = Some(Rec::Interaction);
    event.core.kind = Some(Kind::Tool);
    event.core.op = "tools/call".into();
    event.who.who = Some(Principal::new("spiffe://example.org/boss", Verified::Bound));
    event.who.also = vec![Principal::new("spiffe://example.org/other", Verified::Bound)];
    let batch = |events: &[Event]| {
        let mut out = (events.len() as u16).to_be_bytes().to_vec();
        for event in events {
            let frame: Frame = event.encode().unwrap();
            let bytes = frame.to_bytes();
            out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            out.extend_from_slice(&bytes);
        }
        out
    };
    let mut stream = connect(b"\x01forger");
    assert_eq!(answer(&mut stream), Some((129, vec![1])));
    let mut platform = event.clone();
    platform.core.rec = Some(Rec::Platform);
    message(&mut stream, 2, &2_u64.to_be_bytes());
    assert_eq!(answer(&mut stream), Some((130, Vec::new())));
    message(&mut stream, 3, &batch(&[event, platform]));
    assert_eq!(answer(&mut stream), Some((131, vec![0, 1, 0, 1])), "one recorded, one rejected");
    message(&mut stream, 4, b"");
    assert_eq!(answer(&mut stream), None);
    for (hello, then) in [
        (&b"\x02name"[..], None),
        (b"\x01a/b", None),
        (b"\x01n", Some((3, &b"\x00\x01\x00\x00\x00\x09x"[..]))),
        (b"\x01n", Some((2, &b"1"[..]))),
        (b"\x01n", Some((77, &b""[..]))),
    ] {
        let mut stream = connect(hello);
        if let Some((kind, payload)) = then {
            assert_eq!(answer(&mut stream), Some((129, vec![1])));
            message(&mut stream, kind, payload);
        }
        assert_eq!(answer(&mut stream).unwrap().0, 132, "{hello:?}");
    }
    stop(edge);
    let row = home.ok(&[
        "sql",
        "-o",
        "ndjson",
        "select who, verified, route, agent, seq from events where op = 'tools/call'",
    ]);
    assert_eq!(row.lines().count(), 1, "{row}");
    assert!(!row.contains("boss") && !row.contains("gateway") && !row.contains("front"), "{row}");
    assert!(row.contains("user:") && row.contains("local/forger") && row.contains("\"verified\":2"), "{row}");
}
