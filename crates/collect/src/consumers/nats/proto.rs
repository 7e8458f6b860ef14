//! The NATS client protocol, our end: what a server says, read from bytes in any pieces, and what we say to it.
//!
//! Source: the NATS documentation, "Client Protocol" (INFO, CONNECT, PUB, SUB, MSG, HMSG, PING, PONG, +OK, -ERR) and
//! ADR-4 (headers). Sans I/O. Invariants: a message is given when all of it is there; no byte is looked at twice for
//! the end of a line; nothing longer than the bounds here is held. Not a server's end: it reads no PUB.

use bytes::{Buf, Bytes, BytesMut};

/// Longest line of the protocol, bytes: INFO lists the servers of a cluster.
pub const LINE_MAX: usize = 64 << 10;
/// Largest message, headers included, bytes: no server takes a larger one (`max_payload` is at most 64 MB).
pub const MESSAGE_MAX: usize = 64 << 20;
/// Most headers of a message that are read; more are left out.
pub const HEADERS_MAX: usize = 256;
/// First line of a message's headers.
const VERSION: &str = "NATS/1.0";

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// What it is: JSON.
    Info(Bytes),
    /// A message for a subscription.
    Msg(Message),
    /// It asks whether we are there.
    Ping,
    /// It is there.
    Pong,
    /// A command was taken; said only if asked for.
    Ok,
    /// Something is wrong, in its words.
    Err(String),
}

/// A message, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where it was published, or which of our requests it answers.
    pub subject: String,
    /// Where an answer goes; empty = nowhere.
    pub reply: String,
    /// Its headers as written, with their first line; empty = none.
    pub headers: Bytes,
    /// Its content.
    pub payload: Bytes,
}

/// A rule of the protocol that the server broke. The connection cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what came is no NATS: {0}")]
pub struct Broken(pub &'static str);

/// The line of a message whose content is still to come.
#[derive(Clone, Debug)]
struct Head {
    subject: String,
    reply: String,
    headers: usize,
    total: usize,
}

/// Reads what a server says.
#[derive(Debug, Default)]
pub struct Frames {
    head: Option<Head>,
    /// Bytes at the front that are known to hold no line feed.
    scanned: usize,
}

impl Frames {
    /// The next of what `buffer` holds, taken from it; `None` = more bytes are needed.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Op>, Broken> {
        loop {
            if let Some(head) = &self.head {
                if buffer.len() < head.total + 2 {
                    return Ok(None);
                }
                let Some(head) = self.head.take() else { return Ok(None) };
                return content(head, buffer).map(Some);
            }
            let unseen = buffer.get(self.scanned..).unwrap_or_default();
            let Some(end) = memchr::memchr(b'\n', unseen) else {
                self.scanned = buffer.len();
                return if buffer.len() > LINE_MAX {
                    Err(Broken("a line is longer than 64 KiB"))
                } else {
                    Ok(None)
                };
            };
            let line = buffer.split_to(self.scanned + end + 1).freeze();
            self.scanned = 0;
            if line.len() > LINE_MAX {
                return Err(Broken("a line is longer than 64 KiB"));
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            match read_line(&line, text)? {
                Line::Op(op) => return Ok(Some(op)),
                Line::Head(head) => self.head = Some(head),
            }
        }
    }
}

enum Line {
    Op(Op),
    Head(Head),
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn read_line(line: &Bytes, text: &[u8]) -> Result<Line, Broken> {
    let end = text.iter().position(is_blank).unwrap_or(text.len());
    let (verb, rest) = text.split_at(end);
    let op = match verb.to_ascii_uppercase().as_slice() {
        b"MSG" => return head(rest, false).map(Line::Head),
        b"HMSG" => return head(rest, true).map(Line::Head),
        b"PING" => Op::Ping,
        b"PONG" => Op::Pong,
        b"+OK" => Op::Ok,
        b"INFO" => Op::Info(line.slice_ref(rest.trim_ascii())),
        b"-ERR" => {
            let said = String::from_utf8_lossy(rest.trim_ascii()).into_owned();
            Op::Err(said.trim_matches('\'').to_owned())
        }
        _ => return Err(Broken("an unknown word begins a line")),
    };
    Ok(Line::Op(op))
}

/// `SUBJECT SID [REPLY] [HEADER-BYTES] BYTES`
fn head(rest: &[u8], with_headers: bool) -> Result<Head, Broken> {
    let text = std::str::from_utf8(rest).map_err(|_| Broken("a subject is not UTF-8"))?;
    let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).take(6).collect();
    let number = |word: &str| {
        // A sign is no digit.
        let all = word.bytes().all(|byte| byte.is_ascii_digit());
        word.parse::<usize>().ok().filter(|_| all).ok_or(Broken("a length is no number"))
    };
    let (names, headers, total) = match (with_headers, words.as_slice()) {
        (false, [names @ .., total]) => (names, 0, number(total)?),
        (true, [names @ .., headers, total]) => (names, number(headers)?, number(total)?),
        _ => return Err(Broken("a message has no length")),
    };
    let (subject, reply) = match names {
        [subject, _sid] => (*subject, ""),
        [subject, _sid, reply] => (*subject, *reply),
        _ => return Err(Broken("a message's line has another number of words")),
    };
    if total > MESSAGE_MAX {
        return Err(Broken("a message is larger than 64 MiB"));
    }
    if headers > total {
        return Err(Broken("headers are longer than their message"));
    }
    Ok(Head { subject: subject.to_owned(), reply: reply.to_owned(), headers, total })
}

/// What comes behind the line of a message; all of it is there.
fn content(head: Head, buffer: &mut BytesMut) -> Result<Op, Broken> {
    let Head { subject, reply, headers, total } = head;
    let mut whole = buffer.split_to(total.min(buffer.len())).freeze();
    if !buffer.starts_with(b"\r\n") {
        return Err(Broken("a message does not end where it said"));
    }
    buffer.advance(2);
    let headers = whole.split_to(headers.min(whole.len()));
    Ok(Op::Msg(Message { subject, reply, headers, payload: whole }))
}

/// Headers of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// What the server says about a request, instead of a message: 100, 404, 408, 409, 503.
    pub status: Option<u16>,
    /// The same in words.
    pub description: String,
    /// Names and values in order; at most [`HEADERS_MAX`].
    pub fields: Vec<(String, String)>,
    /// Some of it could not be read, or was too many.
    pub partial: bool,
}

impl Headers {
    /// Reads them; what is no header is left out and marks the rest as partial. Bytes that are no UTF-8 are replaced.
    pub fn read(bytes: &[u8]) -> Headers {
        let mut out = Headers::default();
        if bytes.is_empty() {
            return out;
        }
        let text = String::from_utf8_lossy(bytes);
        out.partial = matches!(text, std::borrow::Cow::Owned(_));
        let mut lines = text.split("\r\n");
        let Some(first) = lines.next().and_then(|line| line.strip_prefix(VERSION)) else {
            out.partial = true;
            return out;
        };
        let first = first.trim();
        if let Some(status) = first.get(..3).and_then(|digits| digits.parse().ok()) {
            out.status = Some(status);
            out.description = first.get(3..).unwrap_or_default().trim().to_owned();
        } else {
            out.partial |= !first.is_empty();
        }
        for line in lines.filter(|line| !line.is_empty()) {
            match line.split_once(':') {
                Some((name, value)) if out.fields.len() < HEADERS_MAX && !name.trim().is_empty() => {
                    out.fields.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                _ => out.partial = true,
            }
        }
        out
    }

    /// The first value of `name`, whatever the case of its letters.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// `SUB`: messages of `subject` from now on.
pub fn sub(subject: &str) -> Vec<u8> {
    format!("SUB {subject} 1\r\n").into_bytes()
}

/// `PUB`, to be answered at `reply` (empty = not at all).
pub fn publish(out: &mut BytesMut, subject: &str, reply: &str, payload: &[u8]) {
    let gap = if reply.is_empty() { "" } else { " " };
    out.extend_from_slice(format!("PUB {subject} {reply}{gap}{}\r\n", payload.len()).as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(stream: &[u8], step: usize) -> (Vec<Op>, Option<Broken>) {
        let (mut frames, mut buffer, mut ops) = (Frames::default(), BytesMut::new(), Vec::new());
        for part in stream.chunks(step.max(1)) {
            buffer.extend_from_slice(part);
            loop {
                match frames.next(&mut buffer) {
                    Ok(Some(op)) => ops.push(op),
                    Ok(None) => break,
                    Err(broken) => return (ops, Some(broken)),
                }
            }
        }
        (ops, None)
    }

    const TALK: &[u8] = b"INFO {\"a\":1} \r\n+OK\r\nMSG a.b 1 2\r\n\r\n\r\nmsg\tc  9 r.1 0\r\n\r\nPING\r\n\
        HMSG d 1 r 23 26\r\nNATS/1.0\r\nA: b\r\nC:d\r\n\r\nxyz\r\nHMSG e 1 16 16\r\nNATS/1.0 404\r\n\r\n\r\n-ERR 'No'\r\nPONG\r\n";

    #[test]
    fn a_talk_reads_the_same_however_it_is_cut() {
        let (ops, broken) = all(TALK, TALK.len());
        assert_eq!((ops.len(), broken), (9, None), "{ops:?}");
        assert_eq!(ops[0], Op::Info(Bytes::from_static(b"{\"a\":1}")));
        let Op::Msg(message) = &ops[2] else { panic!("{ops:?}") };
        assert_eq!((message.subject.as_str(), &message.payload[..]), ("a.b", &b"\r\n"[..]));
        let Op::Msg(message) = &ops[3] else { panic!("{ops:?}") };
        assert_eq!((message.reply.as_str(), message.payload.len()), ("r.1", 0));
        let Op::Msg(message) = &ops[5] else { panic!("{ops:?}") };
        let headers = Headers::read(&message.headers);
        assert_eq!((headers.get("a"), headers.get("C"), headers.status), (Some("b"), Some("d"), None));
        assert_eq!(&message.payload[..], b"xyz");
        let Op::Msg(message) = &ops[6] else { panic!("{ops:?}") };
        assert_eq!(Headers::read(&message.headers).status, Some(404));
        assert_eq!(ops[7], Op::Err("No".to_owned()));
        for step in 1..TALK.len() {
            assert_eq!(all(TALK, step), (ops.clone(), None), "in pieces of {step}");
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_refused_and_not_waited_for() {
        for (bytes, why) in [
            ("HTTP/1.1 400 Bad Request\r\n".to_owned(), "unknown word"),
            ("MSG a 1 99999999999\r\n".to_owned(), "larger than"),
            ("MSG a 1 +1\r\n".to_owned(), "no number"),
            ("MSG a 1 18446744073709551616\r\n".to_owned(), "no number"),
            ("MSG 1\r\n".to_owned(), "number of words"),
            ("MSG a 1 b c 1\r\n".to_owned(), "number of words"),
            ("HMSG a 1 9 8\r\n".to_owned(), "longer than their message"),
            ("MSG a 1 1\r\nxyz".to_owned(), "does not end"),
            ("I".repeat(LINE_MAX + 1), "longer than 64 KiB"),
        ] {
            let (_, broken) = all(bytes.as_bytes(), 7);
            assert!(broken.is_some_and(|broken| broken.0.contains(why)), "{why}: {broken:?}");
        }
    }

    #[test]
    fn headers_that_are_none_are_left_out_and_said() {
        let read = |text: &str| Headers::read(text.as_bytes());
        assert!(!read("NATS/1.0\r\nA:b\r\n\r\n").partial);
        assert!(read("NATS/1.0\r\nAb\r\n\r\n").partial && read("HTTP/1.1\r\nA:b\r\n\r\n").partial);
        let busy = read("NATS/1.0 409 Message Size Exceeds MaxBytes\r\nNats-Pending-Messages: 3\r\n\r\n");
        assert_eq!((busy.status, busy.description.as_str()), (Some(409), "Message Size Exceeds MaxBytes"));
        assert_eq!(busy.get("nats-pending-messages"), Some("3"));
        let many = format!("NATS/1.0\r\n{}\r\n", "A:b\r\n".repeat(HEADERS_MAX + 1));
        let many = read(&many);
        assert!(many.partial && many.fields.len() == HEADERS_MAX);
    }

    proptest! {
        #[test]
        fn what_is_published_reads_back(subject in "[a-z.]{1,9}", reply in "[a-z.]{0,9}", payload: Vec<u8>, step in 1_usize..9) {
            let mut out = BytesMut::new();
            publish(&mut out, &subject, &reply, &payload);
            // What a server passes on differs by its word and the number of the subscription.
            let text = [b"MSG ".as_slice(), subject.as_bytes(), b" 1", &out[4 + subject.len()..]].concat();
            let (ops, broken) = all(&text, step);
            prop_assert_eq!(broken, None);
            let want = Message { subject, reply, headers: Bytes::new(), payload: payload.into() };
            prop_assert_eq!(ops, vec![Op::Msg(want)]);
        }

        #[test]
        fn any_bytes_read_the_same_however_they_are_cut(bytes: Vec<u8>, step in 1_usize..20) {
            crate::fuzz::collect_nats(&[&[step as u8], bytes.as_slice()].concat());
        }
    }
}
