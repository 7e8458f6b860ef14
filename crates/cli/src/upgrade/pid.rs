//! Which process serves a data directory, for people and service managers: the file `pid`, and sd_notify(3).

use rustix::process::{Pid, test_kill_process};
use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

/// Name in the data directory.
const FILE: &str = "pid";
/// Most of it that is read, bytes.
const FILE_MAX: u64 = 32;

/// The file with our process id; removed when dropped, unless another process has put its own there.
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it over what a process before this one left.
    pub(crate) fn write(data: &Path) -> io::Result<PidFile> {
        let path = data.join(FILE);
        let fresh = data.join("pid.new");
        std::fs::write(&fresh, format!("{}\n", std::process::id()))?;
        std::fs::rename(&fresh, &path)?;
        Ok(PidFile(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let ours = format!("{}\n", std::process::id());
        if std::fs::read_to_string(&self.0).is_ok_and(|text| text == ours) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

/// The process that the file names, if one with this number runs. After a kill the number may have gone to a stranger:
/// it is told to people, and never signalled.
pub(crate) fn process_of(data: &Path) -> Option<u32> {
    let mut text = String::new();
    std::fs::File::open(data.join(FILE)).ok()?.take(FILE_MAX).read_to_string(&mut text).ok()?;
    let pid = text.trim().parse::<i32>().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)?;
    match test_kill_process(pid) {
        Ok(()) | Err(rustix::io::Errno::PERM) => u32::try_from(pid.as_raw_nonzero().get()).ok(),
        Err(_) => None,
    }
}

/// Tells a service manager (systemd with `Type=notify`) that this process serves and is the main one. Without one,
/// or without a manager that listens, nothing happens.
pub(crate) fn notify() {
    let Some(to) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let bytes = to.as_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(Path::new(&to)),
    };
    let told = address.and_then(|address| {
        let text = format!("READY=1\nMAINPID={}\n", std::process::id());
        UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address)
    });
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_named_while_it_runs_and_nonsense_names_nobody() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(process_of(dir.path()), None);
        let file = PidFile::write(dir.path()).unwrap();
        assert_eq!(process_of(dir.path()), Some(std::process::id()));
        drop(file);
        assert_eq!(process_of(dir.path()), None);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = child.id();
        child.wait().unwrap();
        for text in [format!("{gone}\n"), "0".into(), "-1".into(), "1x".into(), "9".repeat(40)] {
            std::fs::write(dir.path().join(FILE), &text).unwrap();
            assert_eq!(process_of(dir.path()), None, "{text}");
        }
    }
}
