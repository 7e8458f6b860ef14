//! Child processes: output captured to a file, readiness waited for, killed on drop.

use crate::{TestkitError, io};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running program whose two output streams go to one log file.
#[derive(Debug)]
pub struct Child {
    name: String,
    log: PathBuf,
    child: std::process::Child,
}

impl Child {
    /// Starts `command` with output appended to `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Child, TestkitError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .map_err(io(format!("opening {}", log.display())))?;
        let second = file.try_clone().map_err(io("cloning the log's handle"))?;
        command.stdin(Stdio::null()).stdout(file).stderr(second);
        let child =
            command.spawn().map_err(|source| TestkitError::Spawn { program: name.clone(), source })?;
        Ok(Child { name, log: log.to_owned(), child })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All it has printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until its output has a line that contains `needle`, and returns that line.
    pub fn wait_for_line(&mut self, needle: &str, bound: Duration) -> Result<String, TestkitError> {
        let start = Instant::now();
        loop {
            let output = self.output();
            if let Some(line) = output.lines().find(|line| line.contains(needle)) {
                return Ok(line.to_owned());
            }
            let ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || start.elapsed() > bound {
                let what = format!(
                    "a line with `{needle}` from {}{}",
                    self.name,
                    if ended { " (which has ended)" } else { "" }
                );
                return Err(TestkitError::NotReady { what, seconds: bound.as_secs(), output });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal by name, such as `INT` or `TERM`.
    pub fn signal(&self, name: &str) -> Result<(), TestkitError> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        status.map(|_| ()).map_err(io("sending a signal"))
    }

    /// `SIGKILL`, then reaps it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end, at most `bound`; kills it after that.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus, TestkitError> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().map_err(io("waiting for a child"))? {
                return Ok(status);
            }
            if start.elapsed() > bound {
                let output = self.output();
                self.kill();
                let what = format!("the end of {}", self.name);
                return Err(TestkitError::NotReady { what, seconds: bound.as_secs(), output });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Resident memory in bytes, from `/proc`.
    pub fn rss(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
