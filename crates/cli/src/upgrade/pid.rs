//! Which process serves a data directory, for people and service managers: the file `pid`, and sd_notify(3).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

/// Name in the data directory.
const FILE: &str = "pid";

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
