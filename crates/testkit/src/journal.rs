//! systemd's journal tools, taken out of their Debian packages and not installed: a machine's own systemd stays as it is.

use crate::TestkitError;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Packages that hold the tools, and their libraries in the same version.
const PACKAGES: [&str; 5] =
    ["systemd-journal-remote", "systemd", "libsystemd-shared", "libmicrohttpd12", "libcurl3-gnutls"];

/// The tools of one directory.
#[derive(Debug)]
pub struct JournalTools {
    root: PathBuf,
}

impl JournalTools {
    /// Downloads and unpacks them into `dir`.
    ///
    /// # Errors
    /// There is no apt-get or dpkg, or no package.
    pub fn unpack(dir: &Path) -> Result<JournalTools, TestkitError> {
        std::fs::create_dir_all(dir).map_err(|error| install(error.to_string()))?;
        if !run(Command::new("apt-get").arg("download").args(PACKAGES).current_dir(dir))? {
            // A machine whose lists are older than the packages.
            let sudo = !crate::install::is_root();
            let mut update = Command::new(if sudo { "sudo" } else { "apt-get" });
            update.args(if sudo { &["-n", "apt-get", "update", "-q"][..] } else { &["update", "-q"][..] });
            run(&mut update)?;
            if !run(Command::new("apt-get").arg("download").args(PACKAGES).current_dir(dir))? {
                return Err(install("apt-get download failed".to_owned()));
            }
        }
        let root = dir.join("root");
        for entry in std::fs::read_dir(dir).map_err(|error| install(error.to_string()))?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "deb")
                && !run(Command::new("dpkg").arg("-x").arg(&path).arg(&root))?
            {
                return Err(install(format!("{} cannot be unpacked", path.display())));
            }
        }
        Ok(JournalTools { root })
    }

    /// `systemd-journal-remote`, which writes journals.
    pub fn remote(&self) -> Command {
        self.command("lib/systemd/systemd-journal-remote")
    }

    /// `systemd-journal-upload`.
    pub fn upload(&self) -> Command {
        self.command("lib/systemd/systemd-journal-upload")
    }

    /// `journalctl`.
    pub fn journalctl(&self) -> Command {
        self.command("bin/journalctl")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.root.join(program));
        let lib = self.root.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        command.env("LD_LIBRARY_PATH", format!("{0}:{0}/systemd", lib.display()));
        command
    }
}

fn install(output: String) -> TestkitError {
    TestkitError::Install { package: PACKAGES[0].to_owned(), output }
}

fn run(command: &mut Command) -> Result<bool, TestkitError> {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(quiet.status().map_err(|error| install(error.to_string()))?.success())
}
