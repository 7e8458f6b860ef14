//! Time from a proof file to a verdict, as a whole process.

use super::{countersign, median, output, program, row, temp};
use crate::XtaskError;
use countersign_testkit::{Child, free_port, servers, wait_for_port};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

/// Verifications measured.
const RUNS: usize = 51;

pub(super) fn run() -> Result<(), XtaskError> {
    let home = temp("bench-verify")?;
    let backend = servers::nginx()?;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut server = countersign(home.path())?;
    server.args(["run", "--proxy", &format!("{address}=http://{}", backend.address)]);
    let mut server = Child::start(server, &home.path().join("countersign.log"))?;
    wait_for_port(address, Duration::from_secs(20))?;
    let mut connection = countersign_testkit::http::Connection::open(address)?;
    connection.request("GET", "/1k.txt", &[], b"")?;
    std::thread::sleep(Duration::from_secs(1));

    let file = home.path().join("e.csne");
    let mut prove = countersign(home.path())?;
    prove.arg("prove").arg("rec:interaction").arg("--out").arg(&file).arg("--write-policy").arg(home.path());
    let made = output("countersign prove", &mut prove)?;
    if !made.status.success() {
        return Err(XtaskError::Wrong(String::from_utf8_lossy(&made.stderr).into_owned()));
    }
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let mut verify = Command::new(program("countersign-verify")?);
        verify.arg(&file).arg("--policy").arg(home.path().join("trust.policy"));
        verify.arg("--trust").arg(home.path().join("trust.toml"));
        let start = Instant::now();
        let verdict = output("countersign-verify", &mut verify)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if !verdict.status.success() {
            return Err(XtaskError::Wrong(String::from_utf8_lossy(&verdict.stdout).into_owned()));
        }
    }
    server.signal("INT")?;
    server.wait(Duration::from_secs(30))?;
    let size = std::fs::metadata(&file).map_or(0, |meta| meta.len());
    println!("verify: one event's evidence file of {size} B, the whole process, median of {RUNS}");
    row("countersign-verify", &format!("{:.2} ms", median(times)), "1 ms for the proof alone");
    Ok(())
}
