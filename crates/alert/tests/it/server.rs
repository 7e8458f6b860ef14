//! A small HTTP server that answers as a test tells it, and remembers what it got.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) at: Instant,
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// What was answered.
    pub(crate) status: u16,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Status, and headers beside it, for the nth request (from 0).
pub(crate) type Answer = Box<dyn Fn(usize, &Request) -> (u16, String) + Send + Sync>;

/// The server; its thread ends with the test's process.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Request>>>,
    answer: Arc<Mutex<Answer>>,
}

impl Server {
    pub(crate) fn new(answer: impl Fn(usize, &Request) -> (u16, String) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("bind: {e}"));
        let address = listener.local_addr().map(|a| a.to_string()).unwrap_or_default();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Box::new(answer)));
        let server = Server { url: format!("http://{address}/hook?token=hush"), seen, answer };
        let (seen, answer) = (server.seen.clone(), server.answer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || converse(stream, &seen, &answer));
            }
        });
        server
    }

    /// Answers the same to everything.
    pub(crate) fn always(status: u16) -> Server {
        Server::new(move |_, _| (status, String::new()))
    }

    pub(crate) fn answer(&self, answer: impl Fn(usize, &Request) -> (u16, String) + Send + Sync + 'static) {
        if let Ok(mut current) = self.answer.lock() {
            *current = Box::new(answer);
        }
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().map(|s| s.clone()).unwrap_or_default()
    }
}

fn converse(mut stream: TcpStream, seen: &Mutex<Vec<Request>>, answer: &Mutex<Answer>) {
    let Ok(read_half) = stream.try_clone() else { return };
    let Some(mut request) = read_request(&mut BufReader::new(read_half)) else { return };
    let head = {
        let (Ok(mut seen), Ok(answer)) = (seen.lock(), answer.lock()) else { return };
        let (status, headers) = answer(seen.len(), &request);
        request.status = status;
        seen.push(request);
        format!("HTTP/1.1 {status} x\r\n{headers}content-length: 2\r\nconnection: close\r\n\r\nok")
    };
    let _ = stream.write_all(head.as_bytes());
}

/// Reads one request with a content length.
pub(crate) fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(n, _)| n == "content-length").and_then(|(_, v)| v.parse().ok());
    let mut body = Vec::new();
    let length = length.unwrap_or(0);
    reader.take(length).read_to_end(&mut body).ok()?;
    // Whoever was killed in the middle has sent nothing.
    if body.len() as u64 != length {
        return None;
    }
    Some(Request { at: Instant::now(), line: line.trim_end().to_owned(), headers, body, status: 0 })
}
