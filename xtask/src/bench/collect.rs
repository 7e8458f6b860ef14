//! Records to hashed events, and beside them the parse functions of Vector's remap language on the same lines.
//!
//! The peer is a package of its own (`xtask/vrl-peer`): its 300 dependencies and its C library stay out of the
//! workspace, and it is built, once, into a directory of its own. What it does is less than what we do: it parses.

use super::{Command, PathBuf, XtaskError, example, output, program, programs, progress};
use crate::stages::cargo;
use std::io::Write;
use std::process::Stdio;

/// A row of `bench_collect`, and the program by which VRL reads the same lines.
const PEERS: &[(&str, &str)] = &[
    ("combined", r#"parse_nginx_log!(.message, format: "combined")"#),
    ("combined", r#"parse_apache_log!(.message, format: "combined")"#),
    ("ingress-nginx", r#"parse_nginx_log!(.message, format: "ingress_upstreaminfo")"#),
    ("syslog", "parse_syslog!(.message)"),
    ("envoy-json", "parse_json!(.message)"),
    ("cloudtrail", "parse_json!(.message)"),
    ("k8s-audit", "parse_json!(.message)"),
];

pub(super) fn run() -> Result<(), XtaskError> {
    example("bench_collect")?;
    let peer = built()?;
    println!(
        "  vrl 0.38 on the same lines, one core: parsing alone (no identity, outcome, secrets, encoding or hash)"
    );
    for (row, source) in PEERS {
        progress(source);
        let lines =
            output("bench_collect", Command::new(program("examples/bench_collect")?).args(["--lines", row]))?;
        let said = piped(Command::new(&peer).arg(source), &lines.stdout)?;
        println!("  {row:<14} {source:<55} {said}");
    }
    Ok(())
}

/// The peer's program.
fn built() -> Result<PathBuf, XtaskError> {
    let target = programs()?.join("vrl-peer");
    let manifest = "xtask/vrl-peer/Cargo.toml";
    let args = ["build", "--release", "--locked", "--manifest-path", manifest, "--target-dir"];
    let target_dir = target.to_string_lossy();
    cargo("vrl-peer", &[&args[..], &[target_dir.as_ref()]].concat(), &[])?;
    Ok(target.join("release/countersign-vrl-peer"))
}

/// What a program says to `input`.
fn piped(command: &mut Command, input: &[u8]) -> Result<String, XtaskError> {
    let failed = |error| XtaskError::Io("running vrl-peer".into(), error);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(XtaskError::Wrong("vrl does not parse a line of the bench".into()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
