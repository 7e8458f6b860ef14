//! Where a demo lives on the disk: its data, the key that opens them, and the fleet's throw-away files.
//!
//! Invariants: the key is never under the data directory; nothing real is touched: a directory whose
//! ledger is not a demo's is refused; what is not kept is removed at the end.

use crate::config::{self, defaults};
use crate::exit::CliError;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What every demo's origin begins with.
const ORIGIN: &str = "demo/";
/// Longest name of a log, bytes.
const ORIGIN_MAX: u64 = 1_024;

/// The directories of one demo.
pub(super) struct Home {
    /// The data directory.
    pub(super) data: PathBuf,
    /// The file with the key that opens it.
    pub(super) kek: PathBuf,
    /// A configuration file that names both, for the commands to try next.
    pub(super) config: PathBuf,
    /// Certificates, keys and tokens of this run.
    pub(super) fleet: PathBuf,
    /// Whether the data stay.
    pub(super) kept: bool,
    /// Removed at the end.
    scratch: PathBuf,
}

impl Home {
    /// In a temporary directory, or with the data in `keep`.
    pub(super) fn open(keep: Option<&Path>) -> Result<Home, CliError> {
        let id = random_hex()?;
        let scratch = std::env::temp_dir().join(format!("countersign-demo-{id}"));
        let (data, keys) = match keep {
            None => (scratch.join("data"), scratch.join("keys")),
            Some(dir) => {
                let dir = std::path::absolute(dir).map_err(|e| failed(dir, &e))?;
                let keys = keys_of(&dir);
                (dir, keys)
            }
        };
        refuse_real(&data)?;
        let home = Home {
            kek: keys.join("kek"),
            config: keys.join("countersign.toml"),
            fleet: scratch.join("fleet"),
            kept: keep.is_some(),
            data,
            scratch,
        };
        for dir in [&home.data, &keys, &home.fleet] {
            private_dir(dir).map_err(|e| failed(dir, &e))?;
        }
        fs::write(&home.config, home.toml()).map_err(|e| failed(&home.config, &e))?;
        Ok(home)
    }

    fn toml(&self) -> String {
        let text = |path: &Path| toml::Value::from(path.display().to_string()).to_string();
        format!(
            "# Written by `countersign demo`: opens the demo's data with other commands.\ndata = {}\nkek = {}\n",
            text(&self.data),
            text(&self.kek)
        )
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Named by ourselves from random digits, so it is ours to remove.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// The key of a kept directory lies with our configuration, under a name of its own.
fn keys_of(data: &Path) -> PathBuf {
    let name = digest::digest(&digest::SHA256, data.as_os_str().as_encoded_bytes());
    let name = countersign_event::json::hex(name.as_ref().get(..8).unwrap_or_default());
    defaults::kek_path().with_file_name("demo").join(name)
}

/// Only a demo's ledger, or none, may be where the demo writes.
fn refuse_real(data: &Path) -> Result<(), CliError> {
    let path = data.join("origin");
    if !path.exists() {
        return Ok(());
    }
    if config::read_bounded(&path, ORIGIN_MAX)?.starts_with(ORIGIN) {
        return Ok(());
    }
    Err(CliError::new(
        format!("cannot show the demo in {}", data.display()),
        "it holds a ledger that is not a demo's",
        "name another directory with --keep",
    ))
}

fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn random_hex() -> Result<String, CliError> {
    let mut id = [0; 6];
    let filled = SystemRandom::new().fill(&mut id);
    filled.map_err(|_| CliError::Failed("the system gave no randomness; try again".into()))?;
    Ok(countersign_event::json::hex(&id))
}

fn failed(path: &Path, why: &dyn std::fmt::Display) -> CliError {
    CliError::new(
        format!("cannot use {} for the demo", path.display()),
        why,
        "check its permissions, or name another directory with --keep",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_cleans_up_and_keeps_its_key_apart() {
        let home = Home::open(None).unwrap();
        let scratch = home.scratch.clone();
        assert!(home.data.is_dir() && home.fleet.is_dir());
        assert!(!home.kek.starts_with(&home.data) && !home.fleet.starts_with(&home.data));
        let settings = crate::config::read_settings(Some(&home.config)).unwrap();
        assert!(settings.get("data").is_some() && settings.get("kek").is_some());
        drop(home);
        assert!(!scratch.exists());
    }

    #[test]
    fn a_real_ledger_is_refused_and_a_demos_own_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| fs::write(dir.path().join("origin"), text).unwrap();
        assert!(refuse_real(dir.path()).is_ok(), "nothing there yet");
        write("demo/0011/1\n");
        assert!(refuse_real(dir.path()).is_ok());
        write("example.org/0011/1\n");
        assert!(refuse_real(dir.path()).unwrap_err().to_string().contains("not a demo's"));
    }
}
