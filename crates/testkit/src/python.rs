//! Python packages for tests: virtual environments, built once and kept between runs.
//!
//! Not a package manager: what is asked for is what pip installs. Invariants: an environment that is there
//! is whole (it is marked only after pip has succeeded); two processes never build the same one at once;
//! nothing is written outside the cache directory.

use crate::{TestkitError, ensure_file, ensure_program, io};
use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Present in an environment whose packages are all installed.
const MARK: &str = "complete";
/// Attempts of pip: a registry may time out.
const ATTEMPTS: u32 = 3;

/// The Python executable of an environment that has `packages` (pip requirements). Built on first use below
/// `$XDG_CACHE_HOME` or the system's temporary directory; the same name and packages give the same one.
///
/// # Errors
/// Where Python itself cannot be installed, or pip failed three times; the text ends with what it printed.
pub fn venv(name: &str, packages: &[&str]) -> Result<PathBuf, TestkitError> {
    let python = ensure_program("python3", "python3")?;
    let mut hasher = DefaultHasher::new();
    packages.hash(&mut hasher);
    let cache = cache_dir();
    std::fs::create_dir_all(&cache).map_err(io(format!("creating {}", cache.display())))?;
    let label = format!("venv-{name}-{:016x}", hasher.finish());
    let dir = cache.join(&label);
    let executable = dir.join("bin/python");
    let lock = cache.join(format!("{label}.lock"));
    let lock = File::create(&lock).map_err(io(format!("creating {}", lock.display())))?;
    lock.lock().map_err(io("waiting for another process that builds the same environment"))?;
    if !dir.join(MARK).is_file() {
        build(&python, &dir, name, packages)?;
    }
    Ok(executable)
}

/// The unpacked source distribution of `requirement` (`name==version`), for the tests in it, fetched once with
/// the pip of the environment of `python`. Its library, the folder `package`, is left out, so that its tests
/// use the one installed in an environment.
///
/// # Errors
/// Where pip could not fetch it.
pub fn source(python: &Path, requirement: &str, package: &str) -> Result<PathBuf, TestkitError> {
    let label = requirement.replace("==", "-");
    let name = requirement.split("==").next().unwrap_or(requirement);
    let dir = cache_dir().join(format!("{label}-sdist"));
    let source = dir.join(&label);
    let lock = cache_dir().join(format!("{label}-sdist.lock"));
    let lock = File::create(&lock).map_err(io(format!("creating {}", lock.display())))?;
    lock.lock().map_err(io("waiting for another process that fetches the same source"))?;
    if source.is_dir() && !source.join(package).exists() {
        return Ok(source);
    }
    std::fs::create_dir_all(&dir).map_err(io(format!("creating {}", dir.display())))?;
    let mut pip = Command::new(python);
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-binary",
        name,
    ]);
    run(name, pip.arg("--dest").arg(&dir).arg(requirement))?;
    let archive = dir.join(format!("{label}.tar.gz"));
    run(name, Command::new(python).args(["-m", "tarfile", "-e"]).arg(archive).arg(&dir))?;
    std::fs::remove_dir_all(source.join(package)).map_err(io("removing the library"))?;
    Ok(source)
}

/// Where environments are kept between runs.
pub fn cache_dir() -> PathBuf {
    // Servers that refuse root run as another user, who cannot read below root's home.
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.filter(|path| path.is_absolute() && !crate::install::is_root());
    home.unwrap_or_else(std::env::temp_dir).join("countersign-testkit")
}

fn build(python: &Path, dir: &Path, name: &str, packages: &[&str]) -> Result<(), TestkitError> {
    eprintln!("testkit: building the Python environment {name} ({})", packages.join(" "));
    // What a killed builder left is not to be trusted.
    let _ = std::fs::remove_dir_all(dir);
    if python.starts_with("/usr/bin") {
        // Debian's python3 comes without the wheels that an environment begins with.
        ensure_file(Path::new("/usr/share/doc/python3-venv/copyright"), "python3-venv")?;
    }
    run(name, Command::new(python).args(["-m", "venv"]).arg(dir))?;
    let mut attempt = 1;
    loop {
        let mut pip = Command::new(dir.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
        match run(name, &mut pip) {
            Ok(()) => break,
            Err(error) if attempt >= ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
    std::fs::write(dir.join(MARK), packages.join("\n")).map_err(io("marking the environment"))
}

fn run(name: &str, command: &mut Command) -> Result<(), TestkitError> {
    let failed =
        |output: String| TestkitError::Install { package: format!("Python environment {name}"), output };
    let output = command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = text.lines().rev().take(8).collect();
    Err(failed(last.into_iter().rev().collect::<Vec<_>>().join(" | ")))
}
