//! What slow and silent clients cost: memory of an idle connection, of a result that nobody reads, and how much
//! slower others are served meanwhile.

use super::super::{progress, row};
use super::Scale;
use super::clients::{self, Latency};
use super::cost::rss;
use super::peers::{edge, edge_records};
use crate::XtaskError;
use countersign_testkit::{Child, ensure_program, free_port, wait_for_port};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Opens N connections (TLS when a fourth argument is there), sends `first` on each, says so, and holds them: with
/// a `first`, each gets one more field of its head every 5 s, evenly spread (slowhttptest waits 10 s).
const HOLD: &str = r#"
import socket, ssl, sys, time
host, port, n, tls, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
context = ssl._create_unverified_context() if tls == 'tls' else None
held = []
for i in range(n):
    s = socket.create_connection((host, port))
    if context: s = context.wrap_socket(s)
    if first: s.sendall(first.encode().decode('unicode_escape').encode())
    held.append(s)
print('open', flush=True)
at = 0
while True:
    time.sleep(0.01)
    if first:
        for s in (held[(at + i) % n] for i in range(n // 500)):
            try: s.send(b'X: y\r\n')
            except OSError: pass
        at += n // 500
"#;
/// Result that nobody reads, bytes.
const HUGE: u64 = 1 << 30;

pub(super) fn run(home: &Path, backend: SocketAddr, rate: f64, scale: Scale) -> Result<(), XtaskError> {
    progress("idle connections");
    println!("slow and silent clients, gateway and ledger in one process");
    let (cert, key) = certificate(home)?;
    for (n, label) in scale.idle().iter().copied() {
        for (tls, bar) in [(false, "4 KiB"), (true, "24 KiB")] {
            let each = idle(home, backend, n, tls.then_some((&cert, &key)))?;
            let name = format!("idle connection, {}, of {label}", if tls { "TLS" } else { "plain" });
            row(&name, &format!("{:.1} KiB", each / 1024.0), bar);
        }
    }
    progress("beside slow clients");
    disturbed(home, backend, rate, scale)
}

fn address() -> Result<SocketAddr, XtaskError> {
    Ok(SocketAddr::from(([127, 0, 0, 1], free_port()?)))
}

fn hold(home: &Path, to: SocketAddr, n: usize, tls: bool, first: &str) -> Result<Child, XtaskError> {
    let file = home.join("hold.py");
    std::fs::write(&file, HOLD).map_err(|error| XtaskError::Io("writing a script".into(), error))?;
    let mut command = Command::new(ensure_program("python3", "python3")?);
    command.arg(file).args([to.ip().to_string(), to.port().to_string(), n.to_string()]);
    command.args([if tls { "tls" } else { "plain" }, first]);
    let mut child = Child::start(command, &home.join(format!("hold-{}.log", to.port())))?;
    child.wait_for_line("open", Duration::from_secs(120))?;
    Ok(child)
}

/// Bytes of resident memory for each of `n` connections that were opened and say nothing.
fn idle(
    home: &Path,
    backend: SocketAddr,
    n: usize,
    tls: Option<(&PathBuf, &PathBuf)>,
) -> Result<f64, XtaskError> {
    let listen = address()?;
    let files = tls.map_or(String::new(), |(cert, key)| format!(",{},{}", cert.display(), key.display()));
    let spec = format!("http1,{listen},{backend}{files}");
    let mut child = edge(home, &format!("idle-{}", listen.port()), &[spec])?;
    wait_for_port(listen, Duration::from_secs(20))?;
    std::thread::sleep(Duration::from_millis(500));
    let before = rss(child.id());
    let held = hold(home, listen, n, tls.is_some(), "")?;
    std::thread::sleep(Duration::from_secs(1));
    let each = rss(child.id()).saturating_sub(before) as f64 / n as f64;
    drop(held);
    child.kill();
    Ok(each)
}

/// Others' p99 before, under slowloris, and beside a client that does not read; memory for the latter.
pub(super) fn disturbed(home: &Path, backend: SocketAddr, rate: f64, scale: Scale) -> Result<(), XtaskError> {
    let (listen, big) = (address()?, address()?);
    let huge = huge_server()?;
    let listeners = [format!("http1,{listen},{backend}"), format!("http1,{big},{huge}")];
    let mut child = edge(home, "disturbed", &listeners)?;
    wait_for_port(listen, Duration::from_secs(20))?;
    let calm = clients::open_loop(listen, rate, scale.open_loop())?;
    let p99 = |latency: &Latency| format!("{:.0} µs", latency.p99());
    row("others' p99, nobody disturbs", &p99(&calm), "-");
    let before = rss(child.id());
    let mut reader = TcpStream::connect(big).map_err(failed)?;
    reader.write_all(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n").map_err(failed)?;
    std::thread::sleep(Duration::from_secs(1));
    let beside = clients::open_loop(listen, rate, scale.open_loop())?;
    row("others' p99 beside a reader that does not read", &p99(&beside), "-");
    row("  of undisturbed", &format!("{:.2}", beside.p99() / calm.p99()), "2");
    let grew = rss(child.id()).saturating_sub(before);
    row("  memory for its 1 GiB, and the run beside it", &format!("{} KiB", grew >> 10), "8 MiB");
    drop(reader);
    let attack = hold(home, listen, 10_000, false, "GET /slow HTTP/1.1\\r\\nHost: a\\r\\n")?;
    let under = clients::open_loop(listen, rate, scale.open_loop())?;
    row("others' p99 under slowloris of 10,000", &p99(&under), "-");
    row("  of undisturbed", &format!("{:.2}", under.p99() / calm.p99()), "2");
    drop(attack);
    // One for the reader, and one for each head that did not end.
    let expected = calm.requests + beside.requests + under.requests + 1 + 10_000;
    let records = edge_records(&mut child)?;
    row("  records", &format!("{records} of {expected}"), "all");
    if records == expected {
        return Ok(());
    }
    Err(XtaskError::Wrong(format!("{records} records for {expected} requests")))
}

fn failed(error: std::io::Error) -> XtaskError {
    XtaskError::Io("the reader that does not read".into(), error)
}

/// Answers every connection's first request with [`HUGE`] bytes.
pub(super) fn huge_server() -> Result<SocketAddr, XtaskError> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || -> std::io::Result<()> {
                let _ = stream.read(&mut [0; 4096])?;
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n")?;
                let block = vec![b'z'; 64 << 10];
                for _ in 0..HUGE / block.len() as u64 {
                    stream.write_all(&block)?;
                }
                Ok(())
            });
        }
    });
    Ok(address)
}

fn certificate(home: &Path) -> Result<(PathBuf, PathBuf), XtaskError> {
    let (cert, key) = (home.join("cert.pem"), home.join("key.pem"));
    let mut command = Command::new(ensure_program("openssl", "openssl")?);
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]);
    command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout"]);
    command.arg(&key).arg("-out").arg(&cert);
    let output = super::super::output("openssl", &mut command)?;
    if output.status.success() {
        return Ok((cert, key));
    }
    Err(XtaskError::Wrong(String::from_utf8_lossy(&output.stderr).into_owned()))
}
