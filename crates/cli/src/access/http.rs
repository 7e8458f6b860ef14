//! A tiny blocking HTTP/1.1 client over the server's local socket. It reads what our own server writes
//! (content-length, chunked or until close), with every length bounded; it is no general client.

use crate::exit::CliError;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest head of an answer, bytes.
const HEAD_MAX: usize = 64 << 10;
/// Largest answer that is held in memory, bytes.
pub(crate) const BODY_MAX: usize = 256 << 20;
/// Longest wait for the next bytes of an answer: a query may run 30 s before its first.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait while sending.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The server behind a socket.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

/// An answer: status, and a body to be read.
pub(crate) struct Response {
    /// HTTP status.
    pub(crate) status: u16,
    body: Body,
}

struct Body {
    stream: BufReader<UnixStream>,
    framing: Framing,
}

enum Framing {
    /// Bytes left.
    Length(u64),
    /// Bytes left in the chunk; `None` = the size of the next one comes first.
    Chunked(Option<u64>),
    Close,
    Done,
}

impl Client {
    /// Connects once to see whether a server listens; `None` when none does.
    pub(crate) fn connect(socket: &Path) -> Option<Client> {
        UnixStream::connect(socket).ok().map(|_| Client { socket: socket.to_path_buf() })
    }

    /// `GET` a path with its query.
    pub(crate) fn get(&self, target: &str, accept: &str) -> Result<Response, CliError> {
        self.request("GET", target, accept, None)
    }

    /// `POST` JSON.
    pub(crate) fn post(&self, target: &str, accept: &str, json: &str) -> Result<Response, CliError> {
        self.request("POST", target, accept, Some(json))
    }

    fn request(
        &self,
        method: &str,
        target: &str,
        accept: &str,
        json: Option<&str>,
    ) -> Result<Response, CliError> {
        self.exchange(method, target, accept, json).map_err(|e| {
            CliError::new(
                format!("cannot ask the server behind {}", self.socket.display()),
                e,
                "see whether it runs, or stop it to read the directory itself",
            )
        })
    }

    fn exchange(
        &self,
        method: &str,
        target: &str,
        accept: &str,
        json: Option<&str>,
    ) -> std::io::Result<Response> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\nconnection: close\r\n"
        );
        if let Some(json) = json {
            head.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", json.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(json.unwrap_or("").as_bytes())?;
        let mut stream = BufReader::new(stream);
        let (status, framing) = read_head(&mut stream)?;
        Ok(Response { status, body: Body { stream, framing } })
    }
}

impl Response {
    /// The whole body, refused above [`BODY_MAX`].
    pub(crate) fn bytes(mut self) -> Result<Vec<u8>, CliError> {
        let mut out = Vec::new();
        let read = (&mut self.body).take(BODY_MAX as u64 + 1).read_to_end(&mut out);
        let fail = |why: &dyn std::fmt::Display| {
            CliError::new("cannot read the server's answer", why, "narrow the range or ask again")
        };
        read.map_err(|e| fail(&e))?;
        if out.len() > BODY_MAX { Err(fail(&"it is larger than 256 MiB")) } else { Ok(out) }
    }

    /// The body as it comes, line by line; `wake` is how long one read may take before it gives up.
    pub(crate) fn lines(self, wake: Duration) -> std::io::Result<Lines> {
        self.body.stream.get_ref().set_read_timeout(Some(wake))?;
        Ok(Lines { body: self.body, pending: Vec::new() })
    }
}

/// Lines of a stream without end.
pub(crate) struct Lines {
    body: Body,
    pending: Vec<u8>,
}

/// What a stream gave.
pub(crate) enum Line {
    /// One line without its end.
    Text(String),
    /// Nothing within the time given.
    Quiet,
    /// The stream ended.
    End,
}

impl Lines {
    /// The next line.
    pub(crate) fn next(&mut self) -> std::io::Result<Line> {
        let mut block = [0; 16 << 10];
        loop {
            if let Some(at) = self.pending.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=at).collect();
                return Ok(Line::Text(String::from_utf8_lossy(&line[..at]).into_owned()));
            }
            if self.pending.len() > HEAD_MAX * 32 {
                return Err(bad("a line of the stream is longer than 2 MiB"));
            }
            match self.body.read(&mut block) {
                Ok(0) => return Ok(Line::End),
                Ok(n) => self.pending.extend_from_slice(&block[..n]),
                Err(e) if is_timeout(&e) => return Ok(Line::Quiet),
                Err(e) => return Err(e),
            }
        }
    }
}

fn is_timeout(e: &std::io::Error) -> bool {
    matches!(
        e.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut | std::io::ErrorKind::Interrupted
    )
}

fn bad(why: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_string())
}

fn read_head(stream: &mut impl BufRead) -> std::io::Result<(u16, Framing)> {
    let mut left = HEAD_MAX;
    let status_line = head_line(stream, &mut left)?;
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse::<u16>().ok())
        .ok_or_else(|| bad("not an HTTP answer"))?;
    let mut framing = Framing::Close;
    loop {
        let line = head_line(stream, &mut left)?;
        let Some((name, value)) = line.split_once(':') else {
            return if line.is_empty() { Ok((status, framing)) } else { Err(bad("a broken header")) };
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                framing = Framing::Length(value.trim().parse().map_err(|_| bad("a broken content-length"))?);
            }
            "transfer-encoding" if value.trim().eq_ignore_ascii_case("chunked") => {
                framing = Framing::Chunked(None)
            }
            "transfer-encoding" => return Err(bad("an unknown transfer-encoding")),
            _ => {}
        }
    }
}

/// One line of a head or a chunk, without its end; `left` bounds all of them together.
fn head_line(stream: &mut impl BufRead, left: &mut usize) -> std::io::Result<String> {
    let mut line = Vec::new();
    stream.take(*left as u64).read_until(b'\n', &mut line)?;
    *left = left.saturating_sub(line.len());
    if line.pop() != Some(b'\n') {
        return Err(if *left == 0 {
            bad("a head larger than 64 KiB")
        } else {
            bad("the answer was cut off")
        });
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| bad("a head that is not text"))
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.framing {
            Framing::Done | Framing::Length(0) => Ok(0),
            Framing::Close => self.stream.read(out),
            Framing::Length(left) => {
                let n = read_some(&mut self.stream, out, *left)?;
                *left -= n as u64;
                Ok(n)
            }
            Framing::Chunked(Some(left)) => {
                let n = read_some(&mut self.stream, out, *left)?;
                *left -= n as u64;
                if *left == 0 {
                    head_line(&mut self.stream, &mut 2)?;
                    self.framing = Framing::Chunked(None);
                }
                Ok(n)
            }
            Framing::Chunked(None) => {
                // A timeout must not lose half a size line: wait for a byte before reading it.
                if self.stream.fill_buf()?.is_empty() {
                    return Err(bad("the answer was cut off"));
                }
                let line = head_line(&mut self.stream, &mut HEAD_MAX.clone())?;
                let digits = line.split(';').next().unwrap_or("").trim();
                let size = u64::from_str_radix(digits, 16).map_err(|_| bad("a broken chunk"))?;
                self.framing = if size == 0 { Framing::Done } else { Framing::Chunked(Some(size)) };
                self.read(out)
            }
        }
    }
}

/// At least one byte, at most `left`.
fn read_some(stream: &mut impl Read, out: &mut [u8], left: u64) -> std::io::Result<usize> {
    let most = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
    match stream.read(&mut out[..most])? {
        0 if most > 0 => Err(bad("the answer was cut off")),
        n => Ok(n),
    }
}

/// Percent-encodes a query value.
pub(crate) fn encode(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A server that gives `answer` to whoever connects.
    fn serve(answer: &'static [u8]) -> (tempfile::TempDir, Client) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut seen = [0; 1024];
                let _ = stream.read(&mut seen);
                let _ = stream.write_all(answer);
            }
        });
        (dir, Client { socket })
    }

    fn body(answer: &'static [u8]) -> Result<Vec<u8>, CliError> {
        let (_dir, client) = serve(answer);
        client.get("/x", "*/*").and_then(Response::bytes)
    }

    #[test]
    fn all_three_framings_are_read() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap(), b"hello");
        assert_eq!(
            body(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=1\r\nlo\r\n0\r\n\r\n"
            )
            .unwrap(),
            b"hello"
        );
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap(), b"hello");
    }

    #[test]
    fn a_cut_answer_is_an_error_and_never_a_short_one() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"nonsense\r\n\r\n",
            b"",
        ] {
            assert!(body(answer).is_err(), "{}", String::from_utf8_lossy(answer));
        }
    }

    #[test]
    fn lines_come_as_they_are_written() {
        let (_dir, client) = serve(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na\nb\n\r\n2\r\nc\n\r\n0\r\n\r\n",
        );
        let mut lines = client.get("/x", "*/*").unwrap().lines(Duration::from_secs(5)).unwrap();
        let mut seen = Vec::new();
        while let Line::Text(line) = lines.next().unwrap() {
            seen.push(line);
        }
        assert_eq!(seen, ["a", "b", "c"]);
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encode("who:a b&c=\u{fc}"), "who%3Aa%20b%26c%3D%C3%BC");
    }
}
