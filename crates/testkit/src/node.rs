//! Node packages for tests: directories with `node_modules`, built once and kept between runs.
//!
//! Not a package manager: what is asked for is what npm installs. Invariants: as in [`crate::python`].

use crate::{TestkitError, ensure_program, io, python};
use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Present in a directory whose packages are all installed.
const MARK: &str = "complete";
/// Attempts of npm: a registry may time out.
const ATTEMPTS: u32 = 3;

/// The `node` executable.
///
/// # Errors
/// Where it is missing and cannot be installed.
pub fn node() -> Result<PathBuf, TestkitError> {
    ensure_program("node", "nodejs")
}

/// A directory in which scripts can import `packages` (`name@version`). The same name and packages give the
/// same one, so a script in it must have a name of its own.
///
/// # Errors
/// Where Node cannot be installed, or npm failed three times; the text ends with what it printed.
pub fn modules(name: &str, packages: &[&str]) -> Result<PathBuf, TestkitError> {
    node()?;
    let npm = ensure_program("npm", "npm")?;
    let mut hasher = DefaultHasher::new();
    packages.hash(&mut hasher);
    let cache = python::cache_dir();
    std::fs::create_dir_all(&cache).map_err(io(format!("creating {}", cache.display())))?;
    let label = format!("node-{name}-{:016x}", hasher.finish());
    let dir = cache.join(&label);
    let lock = cache.join(format!("{label}.lock"));
    let lock = File::create(&lock).map_err(io(format!("creating {}", lock.display())))?;
    lock.lock().map_err(io("waiting for another process that builds the same directory"))?;
    if !dir.join(MARK).is_file() {
        build(&npm, &dir, name, packages)?;
    }
    Ok(dir)
}

fn build(npm: &Path, dir: &Path, name: &str, packages: &[&str]) -> Result<(), TestkitError> {
    eprintln!("testkit: installing Node packages for {name} ({})", packages.join(" "));
    // What a killed builder left is not to be trusted.
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).map_err(io(format!("creating {}", dir.display())))?;
    std::fs::write(dir.join("package.json"), "{\"private\":true}").map_err(io("writing package.json"))?;
    let mut attempt = 1;
    loop {
        let mut command = Command::new(npm);
        command.current_dir(dir).args(["install", "--no-audit", "--no-fund", "--silent"]).args(packages);
        match run(name, &mut command) {
            Ok(()) => break,
            Err(error) if attempt >= ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
    std::fs::write(dir.join(MARK), packages.join("\n")).map_err(io("marking the directory"))
}

fn run(name: &str, command: &mut Command) -> Result<(), TestkitError> {
    let failed =
        |output: String| TestkitError::Install { package: format!("Node packages for {name}"), output };
    let output = command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let last: Vec<&str> = text.lines().rev().take(8).collect();
    Err(failed(last.into_iter().rev().collect::<Vec<_>>().join(" | ")))
}
