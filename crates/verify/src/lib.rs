//! The offline verifier: arguments in, files read, report out, exit code back.
//!
//! Shared by the small binary `countersign-verify` and by `countersign verify`. It links `proof` and
//! nothing of the server, opens no socket, writes no file. Invariant: the exit code is 0 only when every
//! check was made and passed; whatever goes wrong here on the way is 2.

mod args;

use args::{Args, Parsed};
use countersign_proof::{Policy, Report, Trust, tlog_proof, verify_evidence, verify_tlog_proof};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

/// Exit code of usage errors and unreadable files.
const UNUSABLE: u8 = 2;

/// Runs the command with `args` (without the program's name); gives the exit code 0, 1, 2 or 3.
pub fn main_with(args: &[String], out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let args = match args::parse(args) {
        Ok(Parsed::Run(args)) => args,
        Ok(Parsed::Print(text)) => return written(out.write_all(text.as_bytes()), 0),
        Err(why) => return complain(err, &format!("{why}\nrun countersign-verify --help for examples")),
    };
    let report = match verify(&args) {
        Ok(report) => report,
        Err(why) => return complain(err, &why),
    };
    let text = if args.json { report.to_json() + "\n" } else { report.to_text(args.explain) };
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()), report.exit_code())
}

fn verify(args: &Args) -> Result<Report, String> {
    let policy = load("policy file", &args.policy, countersign_proof::policy::FILE_MAX as u64)?;
    let policy = Policy::parse(&policy).map_err(|error| located(&args.policy, error))?;
    let trust = load("trust file", &args.trust, countersign_proof::policy::FILE_MAX as u64)?;
    let trust = Trust::parse(&trust).map_err(|error| located(&args.trust, error))?;
    if policy.logs().is_empty() {
        return Err(located(&args.policy, "no log line, so no log is trusted; add 'log VKEY'"));
    }
    let file = load("evidence file", &args.file, countersign_proof::evidence::FILE_MAX)?;
    let is_text = file.starts_with(tlog_proof::HEADER.as_bytes());
    Ok(if is_text {
        verify_tlog_proof(&file, &policy, &trust)
    } else {
        verify_evidence(&file, &policy, &trust)
    })
}

/// Reads a whole file of at most `limit` bytes.
fn load(what: &str, path: &str, limit: u64) -> Result<Vec<u8>, String> {
    let fail = |error: io::Error| format!("cannot read the {what} {path}: {error}");
    let file = File::open(Path::new(path)).map_err(fail)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a full file from one that goes on.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit {
        return Err(format!("the {what} {path} is over the limit of {limit} bytes"));
    }
    Ok(bytes)
}

fn located(path: &str, error: impl Display) -> String {
    format!("{path}: {error}")
}

fn complain(err: &mut dyn Write, why: &str) -> u8 {
    // Nobody is left to tell when standard error is gone; the exit code still says it.
    let _ = writeln!(err, "countersign-verify: {why}");
    UNUSABLE
}

/// A reader that went away is no fault of the evidence; any other failed write is not a success.
fn written(result: io::Result<()>, code: u8) -> u8 {
    match result {
        Ok(()) => code,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => code,
        Err(_) => code.max(UNUSABLE),
    }
}
