//! Just enough HTTP/1.1 for a small service: heads, bodies by `Content-Length`, connections kept open.
//!
//! Not a general parser: it reads what the demo's own programs and the gateway send, and refuses the
//! rest. Invariants: every head and body is bounded; a length that is not clear ends the connection.

use std::io::{self, BufRead, Read};

/// Largest head, bytes.
pub(super) const HEAD_MAX: u64 = 16 << 10;
/// Largest body, bytes.
const BODY_MAX: usize = 1 << 20;

/// First line and headers, names in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    /// The request or status line.
    pub(super) first: String,
    /// Headers in order.
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads a head; `None` when the peer ended the connection before one began.
    pub(super) fn read(from: &mut dyn BufRead) -> io::Result<Option<Head>> {
        let mut from = from.take(HEAD_MAX);
        let Some(first) = line(&mut from)? else { return Ok(None) };
        let mut head = Head { first, headers: Vec::new() };
        loop {
            let text = line(&mut from)?.ok_or_else(|| broken("the head ends in the middle"))?;
            if text.is_empty() {
                return Ok(Some(head));
            }
            let (name, value) = text.split_once(':').ok_or_else(|| broken("a header has no colon"))?;
            head.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The first header of this name (lower case).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether the sender closes the connection after this message.
    pub(super) fn closes(&self) -> bool {
        self.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The body that follows this head.
    pub(super) fn body(&self, from: &mut dyn Read) -> io::Result<Vec<u8>> {
        if self.get("transfer-encoding").is_some() {
            return Err(broken("a chunked body is not for this small reader"));
        }
        let length = match self.get("content-length") {
            None => 0,
            Some(text) => text.parse::<usize>().map_err(|_| broken("the body's length is not a number"))?,
        };
        if length > BODY_MAX {
            return Err(broken("the body is larger than 1 MiB"));
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body)?;
        Ok(body)
    }
}

/// One line without its end; `None` at the end of the stream.
fn line(from: &mut dyn BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    from.read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = bytes.strip_suffix(b"\n").ok_or_else(|| broken("a line is too long or cut off"))?;
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    String::from_utf8(text.to_vec()).map(Some).map_err(|_| broken("a head is not text"))
}

/// A message that cannot be read.
pub(super) fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_to_its_end_and_not_further() {
        let mut from: &[u8] = b"POST /v1/orders HTTP/1.1\r\nContent-Length: 2\r\nX-A:  b \r\n\r\nhiGET";
        let head = Head::read(&mut from).unwrap().unwrap();
        assert_eq!((head.first.as_str(), head.get("x-a")), ("POST /v1/orders HTTP/1.1", Some("b")));
        assert_eq!(head.body(&mut from).unwrap(), b"hi");
        assert_eq!(from, b"GET");
        assert!(Head::read(&mut &b""[..]).unwrap().is_none());
    }

    #[test]
    fn unclear_or_endless_messages_are_refused() {
        let head = |text: &str| Head::read(&mut text.as_bytes());
        assert!(head("GET / HTTP/1.1\r\nbroken\r\n\r\n").is_err());
        assert!(head("GET / HTTP/1.1\r\n").is_err());
        assert!(head(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(HEAD_MAX as usize))).is_err());
        for bad in ["transfer-encoding: chunked", "content-length: x", "content-length: 9999999"] {
            let head = head(&format!("GET / HTTP/1.1\r\n{bad}\r\n\r\n")).unwrap().unwrap();
            assert!(head.body(&mut &b""[..]).is_err(), "{bad}");
        }
    }
}
