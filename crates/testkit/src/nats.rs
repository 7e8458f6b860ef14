//! A real NATS server with JetStream (Debian package `nats-server`) on a free port, and a client on a raw socket to
//! make streams, publish, and ask how far a consumer is.

use crate::servers::local;
use crate::{Child, TempDir, TestkitError, ensure_program, free_port, io, wait_for_port};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

/// Longest start of the server.
const START: Duration = Duration::from_secs(20);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub struct Nats {
    /// Where it listens; stays across restarts.
    pub address: SocketAddr,
    /// Its directory: configuration, log, what it stores.
    pub dir: TempDir,
    /// The process.
    pub child: Child,
}

impl Nats {
    /// Starts one; `more` are further lines of its configuration, such as `authorization { token: x }`.
    ///
    /// # Errors
    /// Where it cannot be installed, started or reached.
    pub fn start(more: &str) -> Result<Nats, TestkitError> {
        let dir = TempDir::new("nats")?;
        let address = local(free_port()?);
        let child = launch(&dir, address, more)?;
        Ok(Nats { address, dir, child })
    }

    /// Kills it as a crash would, and starts it again over what it stored.
    ///
    /// # Errors
    /// As [`Nats::start`].
    pub fn restart(&mut self, more: &str) -> Result<(), TestkitError> {
        self.child.kill();
        self.child = launch(&self.dir, self.address, more)?;
        Ok(())
    }

    /// A connection that shows `login`: members of CONNECT, such as `"user":"a","pass":"b"`; empty = nothing.
    ///
    /// # Errors
    /// Where it cannot be reached, or does not take the login.
    pub fn client(&self, login: &str) -> Result<Client, TestkitError> {
        Client::connect(self.address, login)
    }
}

fn launch(dir: &TempDir, address: SocketAddr, more: &str) -> Result<Child, TestkitError> {
    let program = ensure_program("nats-server", "nats-server")?;
    let config = format!(
        "host: {}\nport: {}\nmax_payload: 8MB\njetstream {{ store_dir: \"{}\" }}\n{more}\n",
        address.ip(),
        address.port(),
        dir.path().display()
    );
    let file = dir.path().join("nats.conf");
    std::fs::write(&file, config).map_err(io("writing nats.conf"))?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&file);
    let child = Child::start(command, &dir.path().join("output.log"))?;
    wait_for_port(address, START).map_err(|error| match error {
        TestkitError::NotReady { what, seconds, .. } => {
            TestkitError::NotReady { what, seconds, output: child.output() }
        }
        other => other,
    })?;
    Ok(child)
}

/// A raw connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
    /// Where answers to this connection go, and to no other.
    inbox: String,
    asked: u64,
}

impl Client {
    fn connect(address: SocketAddr, login: &str) -> Result<Client, TestkitError> {
        let stream = TcpStream::connect(address).map_err(io("connecting"))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(io("setting a timeout"))?;
        stream.set_nodelay(true).map_err(io("setting no delay"))?;
        let port = stream.local_addr().map_err(io("reading the port"))?.port();
        let inbox = format!("_INBOX.testkit{port}");
        let mut client = Client { stream: BufReader::new(stream), inbox, asked: 0 };
        client.line()?;
        let gap = if login.is_empty() { "" } else { "," };
        client.send(&format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true{gap}{login}}}\r\nSUB {}.* 1\r\nPING\r\n",
            client.inbox
        ))?;
        loop {
            let line = client.line()?;
            if line.starts_with("PONG") {
                return Ok(client);
            }
            if line.starts_with("-ERR") {
                return Err(refused(line));
            }
        }
    }

    fn send(&mut self, text: &str) -> Result<(), TestkitError> {
        self.stream.get_mut().write_all(text.as_bytes()).map_err(io("sending"))
    }

    fn line(&mut self) -> Result<String, TestkitError> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).map_err(io("reading a line"))? {
            0 => Err(refused("the server closed the connection".to_owned())),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Publishes and waits for the answer: of a stream that it took the message, of the API what it says.
    ///
    /// # Errors
    /// Where the connection ends before that.
    pub fn ask(&mut self, subject: &str, payload: &[u8]) -> Result<String, TestkitError> {
        self.ask_with(subject, "", payload)
    }

    /// As [`Client::ask`], with headers: lines that end in CRLF.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn ask_with(&mut self, subject: &str, headers: &str, payload: &[u8]) -> Result<String, TestkitError> {
        self.asked += 1;
        let reply = format!("{}.{}", self.inbox, self.asked);
        self.publish(subject, &reply, headers, payload)?;
        loop {
            let (to, answer) = self.message()?;
            if to == reply {
                return Ok(answer);
            }
        }
    }

    /// Publishes; an answer goes to `reply` (empty = to nobody).
    ///
    /// # Errors
    /// Where the connection is gone.
    pub fn publish(
        &mut self,
        subject: &str,
        reply: &str,
        headers: &str,
        payload: &[u8],
    ) -> Result<(), TestkitError> {
        let headers = if headers.is_empty() { String::new() } else { format!("NATS/1.0\r\n{headers}\r\n") };
        let head = if headers.is_empty() {
            format!("PUB {subject} {reply} {}\r\n", payload.len())
        } else {
            format!("HPUB {subject} {reply} {} {}\r\n{headers}", headers.len(), headers.len() + payload.len())
        };
        let whole = [head.as_bytes(), payload, b"\r\n"].concat();
        self.stream.get_mut().write_all(&whole).map_err(io("publishing"))
    }

    /// The next message: its subject, and its content, or its headers where it has none.
    fn message(&mut self) -> Result<(String, String), TestkitError> {
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words.as_slice() {
                ["PING", ..] => self.send("PONG\r\n")?,
                ["-ERR", ..] => return Err(refused(line)),
                ["MSG" | "HMSG", subject, .., length] => {
                    let length = length.parse::<usize>().unwrap_or(0);
                    let mut content = vec![0; length + 2];
                    self.stream.read_exact(&mut content).map_err(io("reading a message"))?;
                    content.truncate(length);
                    return Ok(((*subject).to_owned(), String::from_utf8_lossy(&content).into_owned()));
                }
                _ => {}
            }
        }
    }
}

fn refused(why: String) -> TestkitError {
    io("speaking NATS")(std::io::Error::other(why))
}
