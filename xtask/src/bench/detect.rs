//! Detection: rules beside `rsigma-eval` on the same events in the same run, all detectors' rate and state, and how long a
//! finding takes to its receiver.
//!
//! The peer is in a package of its own (`crates/detect/oracle`), built once into a directory of its own, as the tests of its
//! equality are.

use super::{Command, XtaskError, countersign, example, output, programs, progress, row, temp};
use crate::stages::cargo;
use countersign_testkit::http::Connection;
use countersign_testkit::{Child, free_port, wait_for_port};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Rules (generated ones beside our own) and events of the comparison.
const RULES: &str = "600";
const EVENTS: &str = "100000";
/// Calls whose alerts are timed: fewer than the 64 paths beyond which a recorded path becomes a template.
const CALLS: usize = 60;

/// `quick` = the way to the webhook alone.
pub(super) fn run(quick: bool) -> Result<(), XtaskError> {
    if quick {
        return latency();
    }
    example("bench_detect")?;
    let target = programs()?.join("oracle");
    let args = [
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        "crates/detect/oracle/Cargo.toml",
        "--target-dir",
    ];
    let target_dir = target.to_string_lossy();
    cargo("oracle", &[&args[..], &[target_dir.as_ref()]].concat(), &[])?;
    progress("rules beside rsigma-eval");
    let said = output(
        "oracle",
        Command::new(target.join("release/countersign-detect-oracle")).args(["bench", RULES, EVENTS]),
    )?;
    print!("{}", String::from_utf8_lossy(&said.stdout));
    if !said.status.success() {
        return Err(XtaskError::Wrong(String::from_utf8_lossy(&said.stderr).into_owned()));
    }
    progress("event to webhook");
    latency()
}

/// From the answer of a call that a rule matches to the receiver's having the message, while the call's connection is open.
/// Each call meets a rule of its own, so that each finding is the first of its group and told at once.
fn latency() -> Result<(), XtaskError> {
    let home = temp("bench-alert")?;
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error| XtaskError::Io(what, error)
    };
    let hook = TcpListener::bind("127.0.0.1:0").map_err(failed("listening"))?;
    let upstream = TcpListener::bind("127.0.0.1:0").map_err(failed("listening"))?;
    let front = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let addresses = (hook.local_addr(), upstream.local_addr());
    let (Ok(hook_at), Ok(upstream_at)) = addresses else {
        return Err(XtaskError::Wrong("a listener has no address".into()));
    };
    let (told, heard) = mpsc::sync_channel(1024);
    serve(hook, move |path, body| {
        let _ = told.send((path.to_owned(), body.to_vec(), Instant::now()));
    });
    serve(upstream, |_, _| {});
    let rules: Vec<String> = (0..CALLS)
        .map(|n| {
            format!(
                "title: Call {n}\nid: bench-{n}-\nlevel: high\nexplain: 'call {{resource}}'\nlogsource: {{category: webserver}}\n\
                 detection: {{sel: {{resource: '/{}'}}, condition: sel}}\n",
                word(n)
            )
        })
        .collect();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).map_err(failed(name));
    write("rules.yml", &rules.join("---\n"))?;
    write("secret", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")?;
    write(
        "countersign.toml",
        &format!(
            "[web]\nenabled = false\n[detect]\nrules = [\"rules.yml\"]\n[[webhook]]\nurl = \"http://{hook_at}/\"\n\
             secret_file = \"secret\"\n[[listener]]\nname = \"front\"\nlisten = \"{front}\"\n\
             upstream = \"http://{upstream_at}\"\nservice = \"orders\"\n"
        ),
    )?;
    let mut command = countersign(home.path())?;
    command.args(["run", "--config"]).arg(home.path().join("countersign.toml"));
    let server = Child::start(command, &home.path().join("run.log"))?;
    wait_for_port(front, Duration::from_secs(30))?;
    let mut connection = Connection::open(front)?;
    let mut took = Vec::new();
    for n in 0..CALLS {
        connection.request("GET", &format!("/{}", word(n)), &[], b"")?;
        let answered = Instant::now();
        let needle = format!("bench-{n}-");
        // The connection stays open, and the next call is only made once this one was told of.
        loop {
            let Ok((_, body, at)) = heard.recv_timeout(Duration::from_secs(10)) else {
                return Err(XtaskError::Wrong(format!("no alert for call {n}:\n{}", server.output())));
            };
            if String::from_utf8_lossy(&body).contains(&needle) {
                took.push(at.saturating_duration_since(answered));
                break;
            }
        }
    }
    took.sort_unstable();
    let at = |q: usize| took[(took.len() - 1) * q / 100].as_secs_f64() * 1_000.0;
    row("answer of a call to its webhook, p50", &format!("{:.1} ms", at(50)), "-");
    row("the same, p99", &format!("{:.1} ms", at(99)), "1,000 ms");
    row("the same, worst of 60", &format!("{:.1} ms", at(100)), "-");
    Ok(())
}

/// A path of letters alone: one with digits would be recorded as a template.
fn word(n: usize) -> String {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    format!("call{}{}", letter(n / 26), letter(n))
}

/// Answers every request with 200, after `each` saw its path and body.
fn serve(listener: TcpListener, each: impl Fn(&str, &[u8]) + Clone + Send + 'static) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let each = each.clone();
            std::thread::spawn(move || answer(stream, &each));
        }
    });
}

fn answer(stream: TcpStream, each: &impl Fn(&str, &[u8])) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        reader.read_line(&mut first).ok().filter(|n| *n > 0)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        each(first.split(' ').nth(1).unwrap_or_default(), &body);
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
    }
}
