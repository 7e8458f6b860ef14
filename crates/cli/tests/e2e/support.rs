//! A home of its own for each test, the binaries, and a small upstream to talk to.

use countersign_testkit::{Child, TempDir, free_port, wait_for_port};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;
use std::time::Duration;

/// A key home and a data home that belong to one test.
pub(crate) struct Home {
    pub(crate) dir: TempDir,
}

impl Home {
    pub(crate) fn new(label: &str) -> Home {
        Home { dir: TempDir::new(label).unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("state/countersign")
    }

    /// `countersign` that finds its state and key here.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command
            .env("XDG_STATE_HOME", self.path().join("state"))
            .env("XDG_CONFIG_HOME", self.path().join("config"))
            .env_remove("DISPLAY")
            .args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs and expects exit 0; returns standard output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "countersign {args:?}: {:?}\n{text}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// `countersign run --proxy` in front of `upstream`; returns the proxy's address.
    pub(crate) fn gateway(&self, upstream: SocketAddr) -> (SocketAddr, Child) {
        self.gateway_with(upstream, &[])
    }

    pub(crate) fn gateway_with(&self, upstream: SocketAddr, more: &[&str]) -> (SocketAddr, Child) {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let mut command = self.command(&["run", "--proxy", &format!("{address}=http://{upstream}")]);
        command.args(more);
        let child = Child::start(command, &self.path().join("run.log")).unwrap();
        if wait_for_port(address, Duration::from_secs(20)).is_err() {
            panic!("the gateway did not listen: {}", child.output());
        }
        (address, child)
    }

    /// The number of records that match, from a running server or from the directory.
    pub(crate) fn count(&self, filter: &str) -> u64 {
        let output = self.run(&["q", "--count", filter]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        digits.parse().unwrap_or_else(|_| panic!("no number from q --count {filter}: {text}{error}"))
    }

    /// Waits until `filter` has at least `expected` matches.
    pub(crate) fn settle(&self, filter: &str, expected: u64) -> u64 {
        let mut seen = 0;
        for _ in 0..300 {
            seen = self.count(filter);
            if seen >= expected {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        seen
    }
}

/// Ctrl-C, then a clean end within its time.
pub(crate) fn stop(mut child: Child) -> String {
    child.signal("INT").unwrap();
    let status = child.wait(Duration::from_secs(30)).unwrap();
    assert!(status.success(), "a stop by Ctrl-C must be clean: {status}\n{}", child.output());
    child.output()
}

/// The verifier, built where a plain `cargo test -p countersign-cli` has not built it yet.
pub(crate) fn verifier() -> PathBuf {
    static BUILD: Once = Once::new();
    let path = Path::new(env!("CARGO_BIN_EXE_countersign")).with_file_name("countersign-verify");
    BUILD.call_once(|| {
        let profile = path.parent().and_then(Path::file_name).unwrap().to_owned();
        let target = path.parent().and_then(Path::parent).unwrap().to_owned();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["build", "-q", "-p", "countersign-verify", "--profile"])
            .arg(profile)
            .arg("--target-dir")
            .arg(target);
        assert!(cargo.status().unwrap().success(), "building countersign-verify");
    });
    path
}

/// An upstream that answers every request with its path, and counts nothing: the gateway must.
pub(crate) fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = answer(stream);
            });
        }
    });
    address
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.is_empty() {
                break;
            }
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink())?;
        let body = first.split(' ').nth(1).unwrap_or("/").as_bytes().to_vec();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        let stream = reader.get_mut();
        stream.write_all(&[head.as_bytes(), &body].concat())?;
    }
}

/// A small seeded generator (splitmix64), so that a failure replays.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// All files below `dir`, with sizes above zero, in a stable order. Sockets are left out.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() && entry.metadata().unwrap().len() > 0 {
                out.push(entry.path());
            }
        }
    }
    out.sort();
    out
}

/// Copies a directory tree (no sockets).
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_tree(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
