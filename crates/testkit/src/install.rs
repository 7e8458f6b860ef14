//! Debian packages for tests, installed once and only where the program is missing.

use crate::TestkitError;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// One installation at a time within a process; apt's own lock (waited for) orders processes.
static APT: Mutex<bool> = Mutex::new(false);
/// Longest wait for another process's apt, seconds.
const APT_LOCK_WAIT_S: u32 = 300;

/// Where `program` is on the path (or in the usual system directories that a user's path may lack).
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// Finds `program`, installing the Debian package `package` where it is missing.
///
/// # Errors
/// [`TestkitError::Missing`] with the one line to run where neither root nor password-less sudo is at hand.
pub fn ensure_program(program: &str, package: &str) -> Result<PathBuf, TestkitError> {
    ensure(program, package, || find_program(program))
}

/// The file `path`, installing the Debian package `package` where it is missing: for packages that bring
/// no program to look for, such as a server's extension.
///
/// # Errors
/// As [`ensure_program`].
pub fn ensure_file(path: &Path, package: &str) -> Result<PathBuf, TestkitError> {
    ensure(&path.display().to_string(), package, || path.is_file().then(|| path.to_owned()))
}

fn ensure(program: &str, package: &str, find: impl Fn() -> Option<PathBuf>) -> Result<PathBuf, TestkitError> {
    if let Some(found) = find() {
        return Ok(found);
    }
    let mut updated = APT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(found) = find() {
        return Ok(found);
    }
    let sudo = !is_root();
    let missing = || TestkitError::Missing {
        program: program.to_owned(),
        command: format!("sudo apt-get update && sudo apt-get install -y {package}"),
    };
    if sudo && !quiet("sudo", &["-n", "true"]) {
        return Err(missing());
    }
    eprintln!("testkit: installing the Debian package {package} for {program}");
    if !*updated {
        apt(sudo, package, &["update", "-q"])?;
        *updated = true;
    }
    apt(sudo, package, &["install", "-q", "-y", "--no-install-recommends", package])?;
    find().ok_or_else(missing)
}

pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

fn quiet(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn apt(sudo: bool, package: &str, args: &[&str]) -> Result<(), TestkitError> {
    let failed = |output: String| TestkitError::Install { package: package.to_owned(), output };
    let mut command = if sudo { Command::new("sudo") } else { Command::new("apt-get") };
    if sudo {
        command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    }
    let lock = format!("DPkg::Lock::Timeout={APT_LOCK_WAIT_S}");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", &lock]).args(args).stdin(Stdio::null());
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(failed(text.lines().rev().take(5).collect::<Vec<_>>().join(" | ")))
}
