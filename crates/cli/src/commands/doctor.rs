//! `doctor`: what would hurt, each with a fix. It looks; it changes nothing but a short-lived test file.

use crate::access::{SOCKET, http::Client};
use crate::args::{DoctorArgs, Format, Global};
use crate::commands::check::warnings;
use crate::config::{self, Config, units};
use crate::exit::{CliError, Exit};
use crate::output::{self, Row, escape_line};
use rustix::process::{Resource, getrlimit};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Free space below which there is a warning.
const SPACE_LOW: u64 = 1 << 30;
/// Used share, in thousandths, at which the ledger stops taking events.
const SPACE_FULL: u64 = 950;
/// Syncs measured, and the median above which there is a warning.
const SYNCS: usize = 32;
const SYNC_SLOW: Duration = Duration::from_millis(20);
/// A clock earlier than this (2026-01-01) is wrong.
const CLOCK_FLOOR_S: u64 = 1_767_225_600;
/// Files dated further in the future than this show that the clock went back.
const CLOCK_AHEAD: Duration = Duration::from_secs(2);

/// One thing looked at.
struct Check {
    name: &'static str,
    state: State,
    what: String,
    fix: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Warn,
    Fail,
}

impl Check {
    fn ok(name: &'static str, what: impl Into<String>) -> Check {
        Check { name, state: State::Ok, what: what.into(), fix: String::new() }
    }
    fn warn(name: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { name, state: State::Warn, what: what.into(), fix: fix.into() }
    }
    fn fail(name: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { name, state: State::Fail, what: what.into(), fix: fix.into() }
    }
    fn word(&self) -> &'static str {
        match self.state {
            State::Ok => "ok",
            State::Warn => "warning",
            State::Fail => "fault",
        }
    }
}

/// Looks at everything.
pub(crate) fn run(global: &Global, _args: &DoctorArgs) -> Result<Exit, CliError> {
    let config = config::resolve(global)?;
    let mut checks = vec![Check::ok(
        "config",
        global.config.as_ref().map_or("built-in defaults".into(), |p| p.display().to_string()),
    )];
    checks.extend(
        warnings(&config).into_iter().map(|what| Check::warn("config", what, "see: countersign check")),
    );
    let running = Client::connect(&config.data.join(SOCKET)).is_some();
    checks.push(server(&config, running));
    checks.extend([
        key(&config),
        directory(&config.data),
        space(&config.data),
        sync(&config.data),
        clock(&config.data),
        files(&config),
    ]);
    checks.extend(ports(&config, running));
    print(global, &checks)?;
    Ok(if checks.iter().all(|check| check.state == State::Ok) { Exit::Yes } else { Exit::No })
}

fn server(config: &Config, running: bool) -> Check {
    if running {
        Check::ok("server", format!("runs on {}", config.data.display()))
    } else {
        Check::ok("server", "none runs on this data directory")
    }
}

fn key(config: &Config) -> Check {
    let path = config.kek.display();
    if config::kek_under_data(&config.data, &config.kek) {
        let what = format!("{path} lies under the data directory: a copy of it opens itself");
        return Check::fail("key", what, "move the key elsewhere and set `kek`");
    }
    match std::fs::metadata(&config.kek) {
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
            Check::fail("key", format!("others may read {path}"), format!("chmod 600 {path}"))
        }
        Ok(_) => Check::ok("key", format!("{path}, readable by its owner alone; is there a copy elsewhere?")),
        Err(_) if config.data.join("origin").exists() => Check::fail(
            "key",
            format!("{path} is missing, and the ledger exists"),
            "restore the key's file or name it with `kek`",
        ),
        Err(_) => Check::ok("key", format!("{path} will be made at the first start")),
    }
}

fn directory(data: &Path) -> Check {
    let place = nearest_existing(data);
    let probe = place.join(format!(".countersign-doctor-{}", std::process::id()));
    if let Err(e) = std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe)) {
        return Check::fail(
            "directory",
            format!("cannot write in {}: {e}", place.display()),
            "change its owner, or choose another with --data",
        );
    }
    match std::fs::metadata(data) {
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
            let data = data.display();
            Check::warn("directory", format!("others may enter {data}"), format!("chmod 700 {data}"))
        }
        _ => Check::ok("directory", format!("{} is writable", place.display())),
    }
}

fn space(data: &Path) -> Check {
    let place = nearest_existing(data);
    let Ok(stat) = rustix::fs::statvfs(&place) else {
        return Check::warn("space", format!("cannot tell for {}", place.display()), "check the mount");
    };
    let (free, all) =
        (stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize).max(1));
    let used = 1_000 - u64::try_from(u128::from(free) * 1_000 / u128::from(all)).unwrap_or(0).min(1_000);
    let what = format!("{} free, {}.{} % used", units::size_rough(free), used / 10, used % 10);
    match () {
        () if used >= SPACE_FULL => {
            Check::fail("space", what, "free some: at 95 % the ledger stops taking events, and traffic waits")
        }
        () if free < SPACE_LOW => Check::warn("space", what, "free some, or move the data with --data"),
        () => Check::ok("space", what),
    }
}

/// An acknowledgement waits for one sync, so its speed is the latency of durable records.
fn sync(data: &Path) -> Check {
    let place = nearest_existing(data);
    let probe = place.join(format!(".countersign-doctor-sync-{}", std::process::id()));
    let result = measure(&probe);
    let _ = std::fs::remove_file(&probe);
    let mut times = match result {
        Ok(times) => times,
        Err(e) => {
            return Check::fail(
                "sync",
                format!("cannot sync a file in {}: {e}", place.display()),
                "choose another disk with --data",
            );
        }
    };
    times.sort();
    let at = |share: usize| {
        times.get((times.len() * share / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    let what = format!("fdatasync p50 {:.2?}, p99 {:.2?}", at(50), at(99));
    if at(50) > SYNC_SLOW {
        Check::warn("sync", what, "each acknowledgement waits for one: use a faster disk for --data")
    } else {
        Check::ok("sync", what)
    }
}

fn measure(path: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = std::fs::File::create(path)?;
    let block = [0; 4_096];
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&block)?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

fn clock(data: &Path) -> Check {
    let now = SystemTime::now();
    if now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()) < CLOCK_FLOOR_S {
        return Check::fail(
            "clock",
            "it is set before 2026",
            "set the clock, then start: times of records cannot be corrected",
        );
    }
    let newest =
        ["wal", "log"].iter().filter_map(|dir| std::fs::read_dir(data.join(dir)).ok()).flatten().flatten();
    let newest = newest.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max();
    match newest {
        Some(time) if time > now + CLOCK_AHEAD => Check::warn(
            "clock",
            "files of the ledger are dated in the future: the clock went back",
            "set the clock",
        ),
        _ => Check::ok("clock", crate::access::time::rfc3339(crate::access::time::now_ns())),
    }
}

fn files(config: &Config) -> Check {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // Two descriptors a connection, and some for the ledger.
    let wanted = (config.limits.gateway.connections as u64).saturating_mul(2).saturating_add(256);
    let what =
        format!("{limit} open files allowed, {} connections wanted", config.limits.gateway.connections);
    if limit < wanted {
        Check::warn("files", what, format!("ulimit -n {wanted}, or lower `limits.connections`"))
    } else {
        Check::ok("files", what)
    }
}

fn ports(config: &Config, running: bool) -> Vec<Check> {
    let listeners = config.listeners.iter().map(|l| (l.listen, format!("listener `{}`", l.name)));
    let web = config.web.map(|address| (address, "dashboard".to_string()));
    listeners.chain(web).map(|(address, name)| port(address, &name, running)).collect()
}

fn port(address: SocketAddr, name: &str, running: bool) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => Check::ok("port", format!("{address} is free for {name}")),
        Err(e) if running => Check::ok("port", format!("{address} for {name}: {e}, as the server runs")),
        Err(e) if name == "dashboard" => Check::warn(
            "port",
            format!("{address} for the {name}: {e}"),
            "the next free one will be taken; or set `web.listen`",
        ),
        Err(e) => Check::fail(
            "port",
            format!("{address} for {name}: {e}"),
            "stop what uses it, or choose another address",
        ),
    }
}

fn nearest_existing(path: &Path) -> PathBuf {
    path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/")).to_path_buf()
}

fn print(global: &Global, checks: &[Check]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match output::format(global) {
        Format::Text => {
            for check in checks {
                writeln!(out, "{:<8} {:<10} {}", check.word(), check.name, escape_line(&check.what))?;
                if !check.fix.is_empty() {
                    writeln!(out, "{:<8} {:<10} fix: {}", "", "", escape_line(&check.fix))?;
                }
            }
        }
        format => {
            let columns = ["check", "state", "what", "fix"].map(String::from);
            let row = |check: &Check| -> Row {
                let value = serde_json::json!({"check": check.name, "state": check.word(), "what": check.what, "fix": check.fix});
                value.as_object().cloned().unwrap_or_default()
            };
            output::rows(&mut out, format, &columns, &checks.iter().map(row).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readable_key_and_one_inside_the_data_are_faults() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config::resolve(&Global::default()).unwrap();
        config.data = dir.path().join("data");
        config.kek = dir.path().join("kek");
        assert!(key(&config).state == State::Ok, "none yet");
        std::fs::write(&config.kek, "x").unwrap();
        std::fs::set_permissions(&config.kek, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(key(&config).fix.starts_with("chmod 600"));
        config.kek = config.data.join("kek");
        assert!(key(&config).what.contains("opens itself"));
    }

    #[test]
    fn a_busy_port_is_a_fault_for_a_listener_and_a_warning_for_the_dashboard() {
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = busy.local_addr().unwrap();
        assert!(port(address, "listener `a`", false).state == State::Fail);
        assert!(port(address, "dashboard", false).state == State::Warn);
        assert!(port(address, "listener `a`", true).state == State::Ok);
    }

    #[test]
    fn the_disk_is_measured_in_the_nearest_directory_that_exists() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("not/yet");
        assert_eq!(nearest_existing(&data), dir.path());
        assert!(sync(&data).what.contains("p99"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
