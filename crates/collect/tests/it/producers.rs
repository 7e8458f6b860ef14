//! Programs of others send us their logs by their own means: every request made is one right record.

use crate::push::{Rig, request};
use countersign_collect::files;
use countersign_event::{Event, Kind, Outcome, Rec, Verified};
use countersign_testkit::net::wait_until;
use countersign_testkit::postgres::{Setup, Version};
use countersign_testkit::{Child, TempDir, ensure_program, free_port, node, wait_for_port};
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Requests of each test; every fifth is refused.
const REQUESTS: usize = 50;
const BOUND: Duration = Duration::from_secs(60);

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

fn path(n: usize) -> String {
    if n.is_multiple_of(5) { format!("/denied/{n}") } else { format!("/orders/{n}") }
}

/// A rig whose syslog listens at the address given back.
fn syslog(dir: &Path) -> (Rig, SocketAddr) {
    let rig = Rig::start(&dir.join("ledger"), None);
    let to = rig.syslog();
    (rig, to)
}

/// Makes the requests, one after the other.
fn ask(server: SocketAddr) {
    for n in 0..REQUESTS {
        let (status, _) = request(server, "GET", &path(n), "User-Agent: it/1\r\n", b"");
        assert_eq!(status, if n.is_multiple_of(5) { 403 } else { 200 });
    }
}

/// Waits until `n` records were recorded, and takes them.
fn recorded(rig: Rig, n: usize) -> Vec<Event> {
    let deadline = Instant::now() + BOUND;
    while rig.port.intake.counts().recorded < n as u64 {
        assert!(Instant::now() < deadline, "{:?}", rig.port.intake.counts());
        std::thread::sleep(Duration::from_millis(20));
    }
    rig.events()
}

/// Each request once, with its outcome and its caller, in the given format.
fn each_once(events: &[Event], format: &str) {
    let mut seen = Vec::new();
    for event in events.iter().filter(|event| event.core.rec == Some(Rec::Interaction)) {
        let cap = event.body.cap.as_ref().unwrap();
        assert_eq!(cap.fmt, format, "{event:?}");
        assert_eq!((event.core.kind, event.core.op.as_str()), (Some(Kind::Http), "GET"));
        assert_eq!(event.peer.src.as_ref().unwrap().ip.unwrap().to_string(), "127.0.0.1");
        let number: usize = event.target.raw.rsplit('/').next().unwrap().parse().unwrap();
        assert_eq!(event.target.raw, path(number));
        let (status, outcome) =
            if number.is_multiple_of(5) { ("403", Outcome::Denied) } else { ("200", Outcome::Success) };
        assert_eq!(event.core.status.as_ref().unwrap().1, status);
        assert_eq!(event.core.outcome, Some(outcome));
        assert!(event.core.t_event.is_some(), "the producer's own time");
        assert!(event.who.who.iter().all(|who| who.verified == Verified::Claimed), "syslog proves nobody");
        seen.push(number);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..REQUESTS).collect::<Vec<_>>(), "each request once");
}

/// nginx in one process with `log` as its `access_log`, refusing everything below `/denied`.
fn nginx(dir: &Path, log: &str) -> (Child, SocketAddr) {
    let program = ensure_program("nginx", "nginx-light").unwrap();
    let (address, root) = (free(), dir.display());
    let config = format!(
        "daemon off; master_process off; pid {root}/nginx.pid; error_log {root}/error.log;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log {log};\n\
         client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;\n\
         uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n\
         server {{ listen {address}; location / {{ return 200 ok; }} location /denied {{ return 403; }} }} }}\n"
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(program);
    command.arg("-e").arg(dir.join("error.log")).arg("-c").arg(&file);
    let child = Child::start(command, &dir.join("nginx.log")).unwrap();
    wait_for_port(address, BOUND).unwrap();
    (child, address)
}

/// HAProxy that answers by itself, with `log` as the lines that say where its log goes.
fn haproxy(dir: &Path, log: &str, ring: &str) -> (Child, SocketAddr) {
    let program = ensure_program("haproxy", "haproxy").unwrap();
    let address = free();
    let config = format!(
        "global\n nbthread 1\n{ring}defaults\n mode http\n option httplog\n option dontlognull\n {log}\n timeout connect 5s\n \
         timeout client 30s\n timeout server 30s\nfrontend in\n bind {address}\n \
         http-request deny if {{ path_beg /denied }}\n http-request return status 200\n"
    );
    let file = dir.join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(&file);
    let child = Child::start(command, &dir.join("haproxy.log")).unwrap();
    wait_for_port(address, BOUND).unwrap();
    (child, address)
}

#[test]
fn what_nginx_sends_by_syslog_is_one_right_record_a_request() {
    let dir = TempDir::new("nginx-syslog").unwrap();
    let (rig, to) = syslog(dir.path());
    let (_nginx, address) = nginx(dir.path(), &format!("syslog:server={to},tag=shop,severity=info combined"));
    ask(address);
    let events = recorded(rig, REQUESTS);
    each_once(&events, "syslog/combined");
    assert_eq!(events.len(), REQUESTS);
}

#[test]
fn what_haproxy_sends_by_datagrams_is_one_right_record_a_request() {
    let dir = TempDir::new("haproxy-udp").unwrap();
    let (rig, to) = syslog(dir.path());
    let (_haproxy, address) = haproxy(dir.path(), &format!("log {to} local0"), "");
    ask(address);
    each_once(&recorded(rig, REQUESTS), "syslog/haproxy");
}

#[test]
fn what_haproxy_sends_by_its_ring_over_tcp_is_one_right_record_a_request() {
    let dir = TempDir::new("haproxy-tcp").unwrap();
    let (rig, to) = syslog(dir.path());
    let ring = format!(
        "ring out\n format rfc5424\n maxlen 1500\n size 262144\n timeout connect 5s\n timeout server 10s\n \
         server s {} log-proto octet-count\n",
        to
    );
    let (_haproxy, address) = haproxy(dir.path(), "log ring@out local0", &ring);
    ask(address);
    each_once(&recorded(rig, REQUESTS), "syslog/haproxy");
}

#[test]
fn what_rsyslog_forwards_of_a_file_is_one_right_record_a_request() {
    let program = ensure_program("rsyslogd", "rsyslog").unwrap();
    let dir = TempDir::new("rsyslog").unwrap();
    let (rig, to) = syslog(dir.path());
    let root = dir.path().display();
    let log = dir.path().join("access.log");
    let (_nginx, address) = nginx(dir.path(), &format!("{} combined", log.display()));
    let mut config = String::new();
    write!(
        config,
        "global(workDirectory=\"{root}\")\nmodule(load=\"imfile\" mode=\"polling\" PollingInterval=\"1\")\n\
         input(type=\"imfile\" File=\"{}\" Tag=\"shop\")\n\
         action(type=\"omfwd\" target=\"{}\" port=\"{}\" protocol=\"tcp\" TCP_Framing=\"octet-counted\" \
         template=\"RSYSLOG_SyslogProtocol23Format\")\n",
        log.display(),
        to.ip(),
        to.port(),
    )
    .unwrap();
    let file = dir.path().join("rsyslog.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(program);
    command.args(["-n", "-f"]).arg(&file).arg("-i").arg(dir.path().join("rsyslog.pid"));
    let _rsyslog = Child::start(command, &dir.path().join("rsyslog.log")).unwrap();
    ask(address);
    let events = recorded(rig, REQUESTS);
    each_once(&events, "syslog/combined");
    assert!(
        events.iter().all(|event| !event.content.unmapped.contains_key("/rest")),
        "a line end is no text"
    );
}

/// Client and server spans of Node's own HTTP, by the SDK's own exporter: `proto` or `http` (JSON).
const JAVASCRIPT: &str = r#"
const [way, endpoint, total] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const { NodeTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-node');
const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-' + way);
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { SpanKind, trace, context } = require('@opentelemetry/api');
const provider = (name) => new NodeTracerProvider({
  resource: resourceFromAttributes({ 'service.name': name }),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: endpoint + '/v1/traces' }))],
});
(async () => {
  const web = provider('web'), shop = provider('shop');
  for (let n = 0; n < total; n++) {
    const path = n % 5 ? `/orders/${n}` : `/denied/${n}`;
    const call = web.getTracer('t').startSpan('GET', { kind: SpanKind.CLIENT,
      attributes: { 'http.request.method': 'GET', 'url.full': 'http://shop.example' + path } });
    const span = shop.getTracer('t').startSpan('GET ' + path, { kind: SpanKind.SERVER,
      attributes: { 'http.request.method': 'GET', 'url.path': path, 'client.address': '127.0.0.1',
        'http.response.status_code': n % 5 ? 200 : 403 } }, trace.setSpan(context.active(), call));
    span.end(); call.end();
  }
  await web.shutdown(); await shop.shutdown();
})().catch((e) => { console.error(e); process.exit(1); });
"#;

/// The SDK's packages, pinned.
const SDK: [&str; 5] = [
    "@opentelemetry/api@1.9.0",
    "@opentelemetry/sdk-trace-node@2.2.0",
    "@opentelemetry/resources@2.2.0",
    "@opentelemetry/exporter-trace-otlp-proto@0.207.0",
    "@opentelemetry/exporter-trace-otlp-http@0.207.0",
];

fn javascript(way: &str) {
    let modules = node::modules("otel", &SDK).unwrap();
    let dir = TempDir::new("otel-js").unwrap();
    let rig = Rig::start(&dir.path().join("ledger"), None);
    let script = modules.join(format!("export-{way}-{}.js", std::process::id()));
    std::fs::write(&script, JAVASCRIPT).unwrap();
    let output = Command::new(node::node().unwrap())
        .arg(&script)
        .args([way, &format!("http://{}", rig.address), &REQUESTS.to_string()])
        .output()
        .unwrap();
    std::fs::remove_file(&script).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = rig.events();
    let calls: Vec<Event> =
        events.into_iter().filter(|event| event.core.rec == Some(Rec::Interaction)).collect();
    each_once(&calls, "otlp_span");
    for call in &calls {
        assert_eq!((call.who.who.as_ref().unwrap().svc.as_str(), call.target.svc.as_str()), ("web", "shop"));
    }
}

#[test]
fn every_call_that_the_javascript_sdk_exports_as_protobuf_is_one_right_record() {
    javascript("proto");
}

#[test]
fn every_call_that_the_javascript_sdk_exports_as_json_is_one_right_record() {
    javascript("http");
}

/// Statements of each kind that PostgreSQL is asked.
const STATEMENTS: usize = 30;

/// PostgreSQL with pgaudit writes its log as CSV and as JSON; the file `suffix` is followed as an input.
fn postgres(suffix: &str, format: &str) {
    let mut setup = Setup::new(Version::V15);
    setup.lines = "logging_collector = on\nlog_destination = 'csvlog,jsonlog'\nlog_directory = 'audit'\n\
                   log_filename = 'pg.log'\nshared_preload_libraries = 'pgaudit'\npgaudit.log = 'all'\n\
                   log_statement = 'none'\nlog_min_messages = 'warning'\n"
        .to_owned();
    let server = countersign_testkit::postgres::start(&setup).unwrap();
    server.sql("postgres", "create table parts (id int, name text)").unwrap();
    for n in 0..STATEMENTS {
        let text = format!("insert into parts values ({n}, 'of, \"two\"\nlines')");
        server.sql("postgres", &text).unwrap();
        server.sql("postgres", &format!("select name from parts where id = {n}")).unwrap();
        assert!(server.sql("postgres", &format!("select {n} from no_such_table")).is_err());
    }
    let log = server.dir.path().join("data/audit").join(format!("pg.{suffix}"));
    let last = format!("select {} from no_such_table", STATEMENTS - 1);
    let written =
        || std::fs::read_to_string(&log).is_ok_and(|text| text.contains(&last) && text.ends_with('\n'));
    wait_until("the last statement in the log", BOUND, written).unwrap();
    let dir = TempDir::new("pg-audit").unwrap();
    let rig = Rig::start(&dir.path().join("ledger"), Some(format));
    let settings = files::Settings {
        paths: vec![files::glob::Pattern::new(log.to_str().unwrap()).unwrap()],
        exclude: Vec::new(),
        framing: files::Framing::of_format(format),
        checkpoint: dir.path().join("checkpoint"),
        patience: files::Patience::default(),
        trail: None,
    };
    let mut follower = files::Follower::open(Arc::clone(&rig.port), settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    while runtime.block_on(follower.poll(true)).unwrap() {}
    let events = rig.events();
    // pgaudit writes before it is known how the statement ends, so nothing says that.
    let audited = |op: &str| {
        let of = |event: &&Event| {
            let core = &event.core;
            core.kind == Some(Kind::Sql) && core.op == op && core.outcome.is_none()
        };
        events.iter().filter(of).collect::<Vec<_>>()
    };
    let inserts = audited("INSERT");
    assert_eq!(
        inserts.len(),
        STATEMENTS,
        "{format}: {:?}",
        events.iter().map(|e| (&e.core.op, e.core.outcome)).collect::<Vec<_>>()
    );
    for insert in inserts {
        assert!(insert.who.who.as_ref().unwrap().id.starts_with("db:postgres@"), "{:?}", insert.who);
        assert!(insert.content.stmt.contains("insert into parts"), "{:?}", insert.content);
        assert!(insert.core.t_event.is_some());
    }
    let selects = audited("SELECT");
    assert_eq!(selects.iter().filter(|event| event.content.stmt.contains("from parts")).count(), STATEMENTS);
    let refused: Vec<_> = events
        .iter()
        .filter(|event| event.core.status.as_ref().is_some_and(|(_, code)| code == "42P01"))
        .collect();
    assert_eq!(refused.len(), STATEMENTS);
    assert!(refused.iter().all(|event| event.core.outcome == Some(Outcome::CallerError)));
    assert!(events.iter().all(|event| {
        event.body.cap.as_ref().is_none_or(|cap| cap.conf != Some(countersign_event::CaptureConf::RawOnly))
    }));
}

#[test]
fn what_postgresql_and_pgaudit_log_as_csv_is_one_right_record_a_statement() {
    postgres("csv", "postgres-csv");
}

#[test]
fn what_postgresql_and_pgaudit_log_as_json_is_one_right_record_a_statement() {
    postgres("json", "postgres-json");
}

/// Entries of a journal, the third field of each entry binary, as `systemd-journal-remote` takes them.
fn journal_entries() -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0..REQUESTS {
        let head = format!(
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID=0123456789abcdef0123456789abcdef\n_HOSTNAME=m\n\
             _COMM=sshd\nSYSLOG_IDENTIFIER=sshd\n_PID=7\nPRIORITY=6\nMESSAGE\n",
            1_710_331_713_000_000 + n,
            10 + n
        );
        out.extend_from_slice(head.as_bytes());
        let (what, lines) = if n.is_multiple_of(5) { ("Failed", "") } else { ("Accepted", "\nand more") };
        let message = format!("{what} password for deploy{n} from 192.0.2.1 port {} ssh2{lines}", 5_000 + n);
        out.extend_from_slice(&(message.len() as u64).to_le_bytes());
        out.extend_from_slice(message.as_bytes());
        out.extend_from_slice(b"\n\n");
    }
    out
}

#[test]
fn a_journal_that_systemd_uploads_or_exports_is_there_entry_by_entry_and_once() {
    let dir = TempDir::new("collect-journal").unwrap();
    let tools = countersign_testkit::journal::JournalTools::unpack(&dir.path().join("tools")).unwrap();
    let journals = dir.path().join("journal");
    std::fs::create_dir(&journals).unwrap();
    std::fs::write(dir.path().join("in"), journal_entries()).unwrap();
    let file = journals.join("remote-it.journal");
    let made = tools.remote().arg("-o").arg(&file).arg(dir.path().join("in")).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let rig = Rig::start(&dir.path().join("ledger"), None);
    // Twice, as after an answer that was lost.
    for _ in 0..2 {
        let url = format!("--url=http://{}", rig.address);
        let sent = tools.upload().arg(url).arg("-D").arg(&journals).arg("--follow=no").output().unwrap();
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    }
    // And as journalctl exports it: the same entries again.
    let exported = tools.journalctl().arg("-D").arg(&journals).args(["-o", "export"]).output().unwrap();
    assert!(exported.status.success() && exported.stdout.len() > 1_000);
    let kind = "Content-Type: application/vnd.fdo.journal\r\n";
    let (status, said) = request(rig.address, "POST", "/upload", kind, &exported.stdout);
    assert_eq!(status, 200, "{said}");
    let counts = rig.port.intake.counts();
    assert_eq!((counts.received, counts.recorded), (3 * REQUESTS as u64, 3 * REQUESTS as u64));
    let events = recorded(rig, REQUESTS);
    let entries: Vec<&Event> = events.iter().filter(|event| event.body.cap.is_some()).collect();
    assert_eq!(entries.len(), REQUESTS);
    for (n, event) in entries.iter().enumerate() {
        let cap = event.body.cap.as_ref().unwrap();
        assert!(cap.fmt.starts_with("journald") && cap.source_id.starts_with("s="), "{cap:?}");
        let who = event.who.who.as_ref().map(|who| who.id.as_str()).unwrap_or_default();
        assert!(who.contains(&format!("deploy{n}")), "{event:?}");
        let refused = event.core.outcome == Some(Outcome::Denied);
        assert_eq!(refused, n.is_multiple_of(5), "{event:?}");
    }
}

#[test]
fn an_upload_of_a_journal_that_breaks_off_or_is_none_is_answered_so_and_what_was_whole_is_kept() {
    let dir = TempDir::new("collect-journal-cut").unwrap();
    let rig = Rig::start(&dir.path().join("ledger"), None);
    let (status, _) = request(
        rig.address,
        "POST",
        "/upload",
        "",
        b"MESSAGE=a\n\nMESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xff",
    );
    assert_eq!(status, 400);
    let (status, said) = request(rig.address, "POST", "/upload", "", b"");
    assert_eq!((status, said.as_str()), (200, "0 entries are durable\n"));
    // An entry without the empty line at its end is one all the same when the body ends.
    let (status, said) = request(rig.address, "POST", "/upload", "", b"__CURSOR=a\nMESSAGE=b\n");
    assert_eq!((status, said.as_str()), (200, "1 entries are durable\n"));
    let events = recorded(rig, 3);
    assert_eq!(events.iter().filter(|event| event.body.cap.is_some()).count(), 3);
}
