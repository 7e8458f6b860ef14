//! A real Redis behind the gateway: clients' results are the same, and every command is one record.
//! Further: `redis_table.rs` (the command table against the server), `redis_suite.rs` (redis-py's own tests).

use crate::support::{Rig, until};
use countersign_event::cbor::Value;
use countersign_event::fields::detail::kv;
use countersign_event::{Class, Decision, Event, Mode, Outcome, Rec, Verdict, Verified};
use countersign_gateway::{GatewayConfig, Protocol};
use countersign_policy::{Policy, PolicySet, Request};
use countersign_testkit::redis::{Client, Redis, benchmark, command};
use countersign_testkit::repetitions;
use countersign_wire::redis::table;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

pub(crate) fn rig(server: SocketAddr, change: impl FnOnce(&mut GatewayConfig)) -> Rig {
    rig_with(server, change, PolicySet::allow_all())
}

fn rig_with(server: SocketAddr, change: impl FnOnce(&mut GatewayConfig), policy: Arc<dyn Policy>) -> Rig {
    let change = |config: &mut GatewayConfig| {
        config.listeners[0].protocol = Protocol::Redis;
        config.listeners[0].service = "cache".into();
        change(config);
    };
    Rig::full(server, change, Default::default(), policy)
}

/// All events once every connection has ended: as many as were owed.
pub(crate) fn drained(rig: &Rig) -> Vec<Event> {
    until("the connections to end", || rig.gateway.stats().open == 0);
    let owed = || rig.memory.owed.load(std::sync::atomic::Ordering::Relaxed) as usize;
    until("the records", || rig.memory.len() >= owed());
    let events = rig.memory.wait(owed());
    assert_eq!(rig.gateway.stats().lost, 0);
    events
}

/// Commands, without the session's own records and without messages.
pub(crate) fn operations(events: &[Event]) -> Vec<&Event> {
    let messages = ["message", "pmessage", "smessage"];
    let is = |e: &&Event| e.core.rec == Some(Rec::Interaction) && !messages.contains(&e.core.op.as_str());
    events.iter().filter(is).collect()
}

fn detail(event: &Event, key: u64) -> String {
    match event.content.detail.get(&key) {
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Uint(n)) => n.to_string(),
        _ => String::new(),
    }
}

/// What a client does and what it is told, in turn: each entry is sent at once, then as many values are read.
const WORK: &[(&str, usize)] = &[
    ("SET user:1 a\r\nGET user:1\r\nGET none\r\nINCR user:1\r\n", 4),
    ("SELECT 3\r\nMSET a 1 b 2\r\nMGET a b c\r\nSELECT 99\r\n", 4),
    ("MULTI\r\nSET x 1\r\nSELECT 4\r\nINCR x\r\nEXEC\r\nGET x\r\n", 6),
    ("MULTI\r\nSET y 1\r\nNOSUCHCOMMAND\r\nEXEC\r\n", 4),
    ("WATCH w\r\nSET w 2\r\nMULTI\r\nSET w 3\r\nEXEC\r\nUNWATCH\r\n", 6),
    ("MULTI\r\nSET z 1\r\nDISCARD\r\n", 3),
    ("EVAL \"return redis.call('INCR',KEYS[1])\" 1 counter\r\n", 1),
    ("EVALSHA ffffffffffffffffffffffffffffffffffffffff 0\r\nSCRIPT LOAD \"return 1\"\r\n", 2),
    ("EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0\r\n", 1),
    (
        "CLIENT REPLY SKIP\r\nSET s 1\r\nGET s\r\nCLIENT REPLY OFF\r\nSET s 2\r\nCLIENT REPLY ON\r\nGET s\r\n",
        3,
    ),
    ("CLIENT SETNAME app\r\nCLIENT GETNAME\r\nLPUSH l a b c\r\nLRANGE l 0 -1\r\nLPOP s\r\n", 5),
    ("ZADD z2 1 a 2 b\r\nZUNIONSTORE d 2 z2 nothing\r\nZRANGE d 0 -1 WITHSCORES\r\n", 3),
    ("XADD st 1-1 f v\r\nXREAD COUNT 1 STREAMS st 0\r\nSORT l ALPHA STORE l2\r\n", 3),
    ("BLPOP l 1\r\nBLPOP nothing 0.05\r\nOBJECT ENCODING l\r\nTYPE l\r\n", 4),
    ("SUBSCRIBE ch1 ch2\r\n", 2),
    ("PSUBSCRIBE p*\r\nPING\r\nUNSUBSCRIBE\r\nPUNSUBSCRIBE\r\n", 5),
    ("HELLO 3\r\nHSET h f 1 g 2\r\nSADD se a\r\n", 3),
    ("SMEMBERS se\r\nDEBUG PROTOCOL attrib\r\nDEBUG PROTOCOL bignum\r\nDEBUG PROTOCOL verbatim\r\n", 4),
    ("SUBSCRIBE ch3\r\nGET x\r\nUNSUBSCRIBE ch3\r\n", 3),
    ("HELLO 2\r\nRESET\r\nPING\r\nECHO hello\r\nget user:1\r\n", 5),
];

fn work(client: &mut Client) -> Vec<String> {
    let mut out = Vec::new();
    for (send, values) in WORK {
        client.send(send.as_bytes()).unwrap();
        for _ in 0..*values {
            out.push(String::from_utf8_lossy(&client.value().unwrap()).into_owned());
        }
    }
    client.send(&command(&["SET", "big", &"v".repeat(300_000)])).unwrap();
    client.send(&command(&["GET", "big"])).unwrap();
    for _ in 0..2 {
        out.push(String::from_utf8_lossy(&client.value().unwrap()).into_owned());
    }
    client.send(b"QUIT\r\n").unwrap();
    out.push(String::from_utf8_lossy(&client.rest()).into_owned());
    // Connection ids are the server's count.
    out.into_iter().filter(|v| !v.contains("proto")).collect()
}

/// (operation, keys, arguments) of a line of MONITOR; `None` for what a script did.
fn monitored(line: &str) -> Option<(String, String, u64)> {
    let (head, rest) = line.split_once("] ")?;
    if head.ends_with("lua") {
        return None;
    }
    let mut words: Vec<String> = Vec::new();
    let mut chars = rest.trim_end().chars();
    while let Some(c) = chars.next() {
        if c != '"' {
            continue;
        }
        let mut word = String::new();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => word.push(chars.next()?),
                c => word.push(c),
            }
        }
        words.push(word);
    }
    let row = table::row(words[0].as_bytes(), words.get(1).map(|w| w.as_bytes()));
    let arg = |at: usize| words.get(at).map(|w| w.as_bytes());
    let found = row.map(|r| table::keys(r.keys, words.len(), 64, &arg)).unwrap_or_default();
    let keys: Vec<&str> = found.at.iter().map(|at| words[*at].as_str()).collect();
    let name = row.map_or(words[0].to_ascii_uppercase(), |r| r.name.replace('|', " "));
    Some((name, keys.join(","), words.len() as u64))
}

/// The same of a record.
fn recorded(event: &Event) -> (String, String, u64) {
    let mut keys = vec![event.target.raw.as_str()];
    keys.extend(event.target.more.iter().map(|t| t.raw.as_str()));
    (event.core.op.clone(), keys.join(","), detail(event, kv::ARGUMENTS).parse().unwrap())
}

fn counted<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut out = BTreeMap::new();
    for item in items {
        *out.entry(item).or_default() += 1;
    }
    out
}

#[test]
fn results_are_the_same_and_records_are_what_monitor_shows() {
    let server = Redis::start(&[]).unwrap();
    let direct = work(&mut server.client().unwrap());
    server.client().unwrap().ask(&["FLUSHALL"]).unwrap();
    server.client().unwrap().ask(&["SCRIPT", "FLUSH"]).unwrap();
    let mut monitor = server.client().unwrap();
    assert_eq!(monitor.ask(&["MONITOR"]).unwrap(), "+OK\r\n");
    let rig = rig(server.address, |_| {});
    let through = work(&mut Client::connect(rig.address).unwrap());
    assert_eq!(direct, through);
    server.client().unwrap().ask(&["ECHO", "the end"]).unwrap();
    let mut lines = Vec::new();
    loop {
        let line = String::from_utf8_lossy(&monitor.value().unwrap()).into_owned();
        if line.contains("the end") {
            break;
        }
        lines.push(line);
    }
    let shown = counted(lines.iter().filter_map(|l| monitored(l)));
    let events = drained(&rig);
    // MONITOR does not show what the server refuses to run, nor commands of administration.
    let refused = |e: &&&Event| {
        let hidden = e.core.class == Some(Class::Admin) || e.core.op == "unknown";
        let aborted = !detail(e, kv::ENDING).is_empty() && detail(e, kv::ENDING) != "silent";
        !hidden && !aborted
    };
    let ours = counted(operations(&events).iter().filter(refused).map(|e| recorded(e)));
    assert_eq!(shown, ours);
    assert_eq!(events.iter().filter(|e| e.core.rec == Some(Rec::SessionOpen)).count(), 1);
    assert_eq!(events.iter().filter(|e| e.core.rec == Some(Rec::SessionClose)).count(), 1);
    check_fields(&events);
}

fn check_fields(events: &[Event]) {
    let find = |op: &str, raw: &str| {
        let mut found = operations(events).into_iter().filter(|e| e.core.op == op && e.target.raw == raw);
        found.next().unwrap_or_else(|| panic!("{op} {raw}")).clone()
    };
    let get = find("GET", "user:1");
    assert_eq!(
        (get.target.res.as_str(), get.target.ns.as_str(), get.core.class),
        ("user:{id}", "0", Some(Class::Read))
    );
    assert_eq!((get.core.proto.as_str(), detail(&get, kv::REPLY).as_str()), ("redis/2", "bulk"));
    let mset = find("MSET", "a");
    assert_eq!(
        (mset.target.ns.as_str(), mset.target.more.len(), detail(&mset, kv::KEYS_COUNT)),
        ("3", 1, "2".into())
    );
    let incr = find("INCR", "x");
    assert_eq!((incr.target.ns.as_str(), incr.core.outcome), ("4", Some(Outcome::Success)));
    assert_eq!(detail(&find("SET", "y"), kv::ENDING), "aborted");
    assert_eq!(find("SET", "y").core.outcome, Some(Outcome::Cancelled));
    assert_eq!(detail(&find("SET", "z"), kv::ENDING), "discarded");
    let pop = find("LPOP", "s");
    assert_eq!(pop.core.status.as_ref().map(|s| s.1.as_str()), Some("WRONGTYPE"));
    assert_eq!(detail(&find("EVAL", "counter"), kv::SCRIPT).len(), 40);
    assert_eq!(detail(&find("LPUSH", "l"), kv::CLIENT), "app");
    assert_eq!(find("SMEMBERS", "se").core.proto, "redis/3");
    let silent = operations(events).into_iter().filter(|e| detail(e, kv::ENDING) == "silent");
    assert!(silent.clone().count() == 4 && silent.clone().all(|e| e.core.outcome.is_none()));
}

#[test]
fn benchmark_leaves_exactly_as_many_records_as_the_server_counts_calls() {
    let server = Redis::start(&[]).unwrap();
    let rig = rig(server.address, |_| {});
    server.client().unwrap().ask(&["CONFIG", "RESETSTAT"]).unwrap();
    let n = repetitions(1_000, 10_000);
    let mut command = Command::new(benchmark().unwrap());
    command.args(["-h", "127.0.0.1", "-p", &rig.address.port().to_string(), "-q", "-c", "10"]);
    command.args(["-P", "16", "-r", "1000", "-d", "100", "-n", &n.to_string()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let stats = server.client().unwrap().ask(&["INFO", "commandstats"]).unwrap();
    let mut calls = BTreeMap::new();
    for line in stats.lines().filter_map(|l| l.strip_prefix("cmdstat_")) {
        let (name, rest) = line.split_once(":calls=").unwrap();
        let number: usize = rest.split(',').next().unwrap().parse().unwrap();
        let name = name.to_ascii_uppercase().replace('|', " ");
        // Two of them were asked directly.
        let own = usize::from(name == "CONFIG RESETSTAT");
        if number > own {
            calls.insert(name, number - own);
        }
    }
    let events = drained(&rig);
    let ours = counted(operations(&events).iter().map(|e| e.core.op.clone()));
    assert_eq!(calls, ours);
    assert!(calls["SET"] >= n && calls["LRANGE"] >= n);
}

#[test]
fn messages_are_one_record_each_and_answer_nobody() {
    let server = Redis::start(&[]).unwrap();
    let rig = rig(server.address, |_| {});
    for version in ["2", "3"] {
        let mut subscriber = Client::connect(rig.address).unwrap();
        subscriber.ask(&["HELLO", version]).unwrap();
        subscriber.ask(&["SUBSCRIBE", "orders:17"]).unwrap();
        subscriber.ask(&["PSUBSCRIBE", "ord*"]).unwrap();
        let mut publisher = server.client().unwrap();
        for _ in 0..50 {
            assert_eq!(publisher.ask(&["PUBLISH", "orders:17", "payload"]).unwrap(), ":2\r\n");
        }
        for _ in 0..100 {
            assert!(String::from_utf8_lossy(&subscriber.value().unwrap()).contains("payload"));
        }
        assert!(subscriber.ask(&["PING"]).unwrap().to_ascii_lowercase().contains("pong"));
    }
    let events = drained(&rig);
    for (op, proto) in
        [("message", "redis/2"), ("pmessage", "redis/2"), ("message", "redis/3"), ("pmessage", "redis/3")]
    {
        let of = |e: &&Event| e.core.op == op && e.core.proto == proto;
        let found: Vec<&Event> = events.iter().filter(of).collect();
        assert_eq!(found.len(), 50, "{op} {proto}");
        assert_eq!(found[0].core.class, Some(Class::Read));
        assert_eq!(
            (found[0].target.raw.as_str(), found[0].target.res.as_str()),
            ("orders:17", "orders:{id}")
        );
        assert_eq!(found[0].body.rsp.as_ref().unwrap().size, Some(7));
    }
    assert!(!format!("{events:?}").contains("payload"));
}

#[test]
fn a_login_is_asserted_by_the_server_and_its_secret_is_nowhere() {
    let secret = "s3cret-Pa55word";
    let password = format!(">{secret}");
    let server = Redis::start(&["--user", "bob", "on", &password, "~*", "&*", "+@all"]).unwrap();
    let rig = rig(server.address, |_| {});
    let mut client = Client::connect(rig.address).unwrap();
    assert!(client.ask(&["AUTH", "bob", &format!("{secret}-wrong")]).unwrap().starts_with("-WRONGPASS"));
    assert_eq!(client.ask(&["AUTH", "bob", secret]).unwrap(), "+OK\r\n");
    client.ask(&["SET", "k", "v"]).unwrap();
    client.ask(&["HELLO", "3", "AUTH", "bob", secret]).unwrap();
    client.ask(&["CONFIG", "SET", "masterauth", secret]).unwrap();
    client.ask(&["ACL", "SETUSER", "eve", "on", &format!(">{secret}")]).unwrap();
    client.send(&command(&["AUTH", secret])).unwrap();
    client.value().unwrap();
    client.send(format!("{secret}\r\nAUTH {secret}\r\n").as_bytes()).unwrap();
    client.value().unwrap();
    client.value().unwrap();
    drop(client);
    let events = drained(&rig);
    assert!(!format!("{events:?}").contains("s3cret"));
    for event in &events {
        let frame: Vec<u8> =
            (1..7).flat_map(|g| countersign_event::codec::encode_group(event, g).unwrap()).collect();
        assert!(!String::from_utf8_lossy(&frame).contains("s3cret"));
    }
    let set = operations(&events).into_iter().find(|e| e.core.op == "SET").unwrap();
    let who = set.who.who.as_ref().unwrap();
    assert_eq!((who.id.as_str(), who.verified), ("db:bob@cache", Verified::Asserted));
    let first = operations(&events)[0];
    assert_eq!((first.core.op.as_str(), first.core.outcome), ("AUTH", Some(Outcome::Denied)));
    assert!(!first.who.who.as_ref().unwrap().id.contains("bob"));
    let counted: u64 = events.iter().flat_map(|e| &e.content.redacted).map(|(_, n)| n).sum();
    assert_eq!(counted, 7, "every secret is counted, but for the one typed as a command");
}

struct DenyFlush;

impl Policy for DenyFlush {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let denied = matches!(request.operation, "FLUSHALL" | "DEL")
            || (request.operation == "SET" && request.resource.starts_with("secret:"));
        Decision {
            verdict: Some(if denied { Verdict::Deny } else { Verdict::Allow }),
            mode: Some(Mode::Enforce),
            policies: vec!["no-flush".into()],
            reason: if denied { "not for this caller".into() } else { String::new() },
            ..Decision::default()
        }
    }
}

#[test]
fn a_denied_command_never_reaches_the_server_and_breaks_its_transaction() {
    let server = Redis::start(&[]).unwrap();
    let rig = rig_with(server.address, |c| c.enforce = true, Arc::new(DenyFlush));
    let mut monitor = server.client().unwrap();
    monitor.ask(&["MONITOR"]).unwrap();
    let mut client = Client::connect(rig.address).unwrap();
    let noperm = "-NOPERM this command is not permitted by policy (countersign)\r\n";
    client.send(b"SET a 1\r\nFLUSHALL\r\nGET a\r\n").unwrap();
    let answers: Vec<_> = (0..3).map(|_| String::from_utf8(client.value().unwrap()).unwrap()).collect();
    assert_eq!(answers, ["+OK\r\n", noperm, "$1\r\n1\r\n"]);
    client.send(b"MULTI\r\nSET a 2\r\nDEL a\r\nEXEC\r\nGET a\r\n").unwrap();
    let answers: Vec<_> = (0..5).map(|_| String::from_utf8(client.value().unwrap()).unwrap()).collect();
    assert_eq!(&answers[..3], ["+OK\r\n", "+QUEUED\r\n", noperm]);
    assert!(answers[3].starts_with("-EXECABORT") && answers[4] == "$1\r\n1\r\n", "{answers:?}");
    assert_eq!(client.ask(&["SET", "secret:x", &"v".repeat(3 << 20)]).unwrap(), noperm);
    client.send(b"CLIENT REPLY OFF\r\nDEL a\r\nCLIENT REPLY ON\r\nEXISTS a\r\n").unwrap();
    assert_eq!((client.value().unwrap(), client.value().unwrap()), (b"+OK\r\n".to_vec(), b":1\r\n".to_vec()));
    drop(client);
    server.client().unwrap().ask(&["ECHO", "the end"]).unwrap();
    loop {
        let line = String::from_utf8_lossy(&monitor.value().unwrap()).to_ascii_lowercase();
        if line.contains("the end") {
            break;
        }
        assert!(
            !line.contains("flushall") && !line.contains("\"del\"") && !line.contains("secret:"),
            "{line}"
        );
    }
    let events = drained(&rig);
    let denied: Vec<_> = events.iter().filter(|e| e.core.outcome == Some(Outcome::Denied)).collect();
    assert_eq!(
        denied.iter().map(|e| e.core.op.as_str()).collect::<Vec<_>>(),
        ["FLUSHALL", "DEL", "SET", "DEL"]
    );
    for event in denied {
        let decision = event.core.decision.as_ref().unwrap();
        assert_eq!(
            (decision.verdict, decision.policies.clone()),
            (Some(Verdict::Deny), vec!["no-flush".to_owned()])
        );
        assert_eq!(decision.reason, "not for this caller");
    }
}

#[test]
fn what_the_server_would_read_otherwise_is_refused_and_recorded() {
    let server = Redis::start(&[]).unwrap();
    let rig = rig(server.address, |_| {});
    let mut client = Client::connect(rig.address).unwrap();
    client.send(b"*1\r\n$4\r\nPINGXX*1\r\n$8\r\nFLUSHALL\r\n").unwrap();
    let rest = client.rest();
    assert!(rest.starts_with(b"-ERR Protocol error") || rest.is_empty(), "{rest:?}");
    let events = drained(&rig);
    let broken = events.iter().find(|e| e.core.rec == Some(Rec::Cut)).unwrap();
    assert_eq!(broken.content.err, "client: redis.argument_terminator");
    assert_eq!(events.len(), 3, "its begin, its end, and why");
}

#[test]
fn a_cut_connection_leaves_what_was_open_without_an_outcome() {
    let server = Redis::start(&[]).unwrap();
    let rig = rig(server.address, |_| {});
    let mut client = Client::connect(rig.address).unwrap();
    client.ask(&["PING"]).unwrap();
    client.send(b"BLPOP nothing 0\r\n").unwrap();
    until("the command at the server", || {
        server.client().unwrap().ask(&["CLIENT", "LIST"]).unwrap().contains("cmd=blpop")
    });
    server.client().unwrap().ask(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    client.rest();
    drop(client);
    let events = rig.memory.wait(4);
    let open = operations(&events).into_iter().find(|e| e.core.op == "BLPOP").unwrap();
    assert!(open.core.outcome.is_none() && !open.content.err.is_empty());
}
