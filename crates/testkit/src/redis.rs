//! A real Redis (Debian package `redis-server`) on a free port, and a client on a raw socket.
//!
//! The server keeps nothing, allows DEBUG from the loopback address, and is gone with its handle.

use crate::{Child, TempDir, TestkitError, ensure_program, free_port, io, wait_for_port};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Longest start of the server.
const START: Duration = Duration::from_secs(20);
/// Longest wait for a reply.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub struct Redis {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its directory.
    pub dir: TempDir,
    /// The process.
    pub child: Child,
}

impl Redis {
    /// Starts one; `arguments` are further lines of its command line, such as `["--maxmemory", "1mb"]`.
    ///
    /// # Errors
    /// Where it cannot be installed, started or reached.
    pub fn start(arguments: &[&str]) -> Result<Redis, TestkitError> {
        let program = ensure_program("redis-server", "redis-server")?;
        let dir = TempDir::new("redis")?;
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), free_port()?);
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--enable-debug-command", "local"]);
        command.arg("--dir").arg(dir.path()).args(arguments);
        let child = Child::start(command, &dir.path().join("redis.log"))?;
        wait_for_port(address, START)?;
        Ok(Redis { address, dir, child })
    }

    /// A connection to it.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub fn client(&self) -> Result<Client, TestkitError> {
        Client::connect(self.address)
    }
}

/// `redis-benchmark`, which comes with the server's package.
///
/// # Errors
/// Where it cannot be installed.
pub fn benchmark() -> Result<PathBuf, TestkitError> {
    ensure_program("redis-benchmark", "redis-tools")
}

/// A raw connection: sends bytes, reads whole values.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody listens.
    pub fn connect(address: SocketAddr) -> Result<Client, TestkitError> {
        let stream = TcpStream::connect(address).map_err(io("connecting"))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(io("setting a timeout"))?;
        stream.set_nodelay(true).map_err(io("setting no delay"))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), TestkitError> {
        self.stream.get_mut().write_all(bytes).map_err(io("sending"))
    }

    /// Reads one whole value of RESP2 or RESP3, as bytes.
    ///
    /// # Errors
    /// Where the connection ends before it.
    pub fn value(&mut self) -> Result<Vec<u8>, TestkitError> {
        let mut out = Vec::new();
        let mut left = 1_i64;
        while left > 0 {
            let start = out.len();
            let n = self.stream.read_until(b'\n', &mut out).map_err(io("reading a reply"))?;
            let line = out.get(start..).unwrap_or_default();
            if n == 0 {
                return Err(ended());
            }
            let number = || std::str::from_utf8(line.get(1..)?).ok()?.trim().parse::<i64>().ok();
            left -= 1;
            match line.first() {
                Some(b'$' | b'=' | b'!') => {
                    let body = number().unwrap_or(-1);
                    if body >= 0 {
                        let from = out.len();
                        out.resize(from + usize::try_from(body).unwrap_or(0) + 2, 0);
                        let room = out.get_mut(from..).unwrap_or_default();
                        self.stream.read_exact(room).map_err(io("reading a bulk reply"))?;
                    }
                }
                Some(b'*' | b'~' | b'>') => left += number().unwrap_or(0).max(0),
                Some(b'%') => left += 2 * number().unwrap_or(0).max(0),
                // The value that an attribute describes is still to come.
                Some(b'|') => left += 2 * number().unwrap_or(0).max(0) + 1,
                _ => {}
            }
        }
        Ok(out)
    }

    /// Sends a command of words and reads its reply.
    ///
    /// # Errors
    /// As [`Client::value`].
    pub fn ask(&mut self, words: &[&str]) -> Result<String, TestkitError> {
        self.send(&command(words))?;
        Ok(String::from_utf8_lossy(&self.value()?).into_owned())
    }

    /// Everything until the server ends the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = self.stream.read_to_end(&mut out);
        out
    }
}

fn ended() -> TestkitError {
    io("reading a reply")(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
}

/// A command as an array of bulk strings.
pub fn command(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    out
}
