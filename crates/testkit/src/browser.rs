//! Debian's Chromium, headless, driven by its command line: enough to see what a page becomes.

use crate::{TempDir, TestkitError, ensure_program, io};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest life of one browser run, seconds.
const RUN_S: u64 = 90;

/// A headless browser with a profile of its own.
#[derive(Debug)]
pub struct Chromium {
    program: PathBuf,
    profile: TempDir,
}

impl Chromium {
    /// Finds or installs the browser and gives it an empty profile, kept between calls of this handle.
    pub fn new() -> Result<Chromium, TestkitError> {
        Ok(Chromium { program: ensure_program("chromium", "chromium")?, profile: TempDir::new("chromium")? })
    }

    /// Loads `url`, lets scripts and timers run for `budget` of virtual time, and returns the document.
    pub fn dump_dom(&self, url: &str, budget: Duration) -> Result<String, TestkitError> {
        let budget = format!("--virtual-time-budget={}", budget.as_millis());
        self.run(&[&budget, "--dump-dom", url])
    }

    /// Loads `url` and returns the document after `wait` of real time (for pages with live streams).
    pub fn dump_dom_after(&self, url: &str, wait: Duration) -> Result<String, TestkitError> {
        let timeout = format!("--timeout={}", wait.as_millis());
        self.run(&[&timeout, "--dump-dom", url])
    }

    /// Writes a picture of the page to `file`.
    pub fn screenshot(&self, url: &str, file: &Path, width: u32, height: u32) -> Result<(), TestkitError> {
        let size = format!("--window-size={width},{height}");
        let shot = format!("--screenshot={}", file.display());
        self.run(&[&size, "--hide-scrollbars", "--virtual-time-budget=4000", &shot, url]).map(|_| ())
    }

    fn run(&self, args: &[&str]) -> Result<String, TestkitError> {
        let out = self.profile.path().join("stdout");
        let file = std::fs::File::create(&out).map_err(io("creating the browser's output"))?;
        let mut command = Command::new(&self.program);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg("--disable-dev-shm-usage")
            .arg(format!("--user-data-dir={}", self.profile.path().join("data").display()))
            .args(args)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(Stdio::null());
        let mut child = command
            .spawn()
            .map_err(|source| TestkitError::Spawn { program: "chromium".to_owned(), source })?;
        let start = Instant::now();
        while child.try_wait().map_err(io("waiting for chromium"))?.is_none() {
            if start.elapsed() > Duration::from_secs(RUN_S) {
                let _ = child.kill();
                let _ = child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let bytes = std::fs::read(&out).map_err(io("reading the browser's output"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
