//! A small HTTP/1.1 client over one connection, for tests that want to know what went over the wire.

use crate::{TestkitError, io};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for a peer, seconds.
const TIMEOUT_S: u64 = 30;

/// An answer, body decoded from its framing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header lines, names lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// First header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Connection, TestkitError> {
        let stream = TcpStream::connect(address).map_err(io(format!("connecting to {address}")))?;
        let bound = Some(Duration::from_secs(TIMEOUT_S));
        stream.set_read_timeout(bound).map_err(io("setting a timeout"))?;
        stream.set_write_timeout(bound).map_err(io("setting a timeout"))?;
        stream.set_nodelay(true).map_err(io("setting nodelay"))?;
        Ok(Connection { reader: BufReader::new(stream) })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), TestkitError> {
        self.reader.get_mut().write_all(bytes).map_err(io("sending a request"))
    }

    /// Sends a request with the given header lines (`name: value`) and body, and reads its answer.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Result<Response, TestkitError> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        for line in headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes)?;
        self.response(method == "HEAD")
    }

    /// Reads one answer; `bodiless` for the answer to HEAD.
    pub fn response(&mut self, bodiless: bool) -> Result<Response, TestkitError> {
        let (status, headers) = self.head()?;
        let mut response = Response { status, headers, body: Vec::new() };
        if bodiless || matches!(status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            response.body = self.chunks()?;
        } else if let Some(length) = response.header("content-length").and_then(|value| value.parse().ok()) {
            response.body = vec![0; length];
            self.reader.read_exact(&mut response.body).map_err(io("reading a body"))?;
        } else {
            self.reader.read_to_end(&mut response.body).map_err(io("reading a body"))?;
        }
        Ok(response)
    }

    fn head(&mut self) -> Result<(u16, Vec<(String, String)>), TestkitError> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| bad(format!("no status in `{first}`")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad(format!("no colon in `{line}`")))?;
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, TestkitError> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length =
                usize::from_str_radix(digits, 16).map_err(|_| bad(format!("chunk size `{line}`")))?;
            if length == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            let start = body.len();
            body.resize(start + length, 0);
            self.reader.read_exact(&mut body[start..]).map_err(io("reading a chunk"))?;
            self.line()?;
        }
    }

    fn line(&mut self) -> Result<String, TestkitError> {
        let mut line = Vec::new();
        let read = self.reader.read_until(b'\n', &mut line).map_err(io("reading a line"))?;
        if read == 0 {
            return Err(bad("the peer closed".to_owned()));
        }
        Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())
    }
}

fn bad(what: String) -> TestkitError {
    TestkitError::Io { what: "reading an answer".to_owned(), source: std::io::Error::other(what) }
}
