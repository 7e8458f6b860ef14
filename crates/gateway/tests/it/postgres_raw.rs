//! A PostgreSQL client on a raw socket, for what no driver does: messages are bytes, answers are tags and
//! payloads ("Message Formats" in PostgreSQL's documentation).

use crate::support::Client;
use countersign_wire::postgres::message::failure;
use std::net::SocketAddr;

/// A message of the server: tag and payload.
pub(crate) type Answer = (u8, Vec<u8>);

/// A message of the client.
pub(crate) fn message(tag: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend((payload.len() as u32 + 4).to_be_bytes());
    out.extend(payload);
    out
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &text(sql))
}

/// Parse of `sql` as the statement `name`.
pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[text(name), text(sql), vec![0, 0]].concat())
}

/// Bind of the unnamed portal to the statement `name`, without parameters.
pub(crate) fn bind(name: &str) -> Vec<u8> {
    message(b'B', &[text(""), text(name), vec![0; 6]].concat())
}

/// Execute of the unnamed portal.
pub(crate) fn execute() -> Vec<u8> {
    message(b'E', &[text(""), vec![0; 4]].concat())
}

/// Parse, Bind and Execute of `sql` without names.
pub(crate) fn run(sql: &str) -> Vec<u8> {
    [parse("", sql), bind(""), execute()].concat()
}

pub(crate) fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// FunctionCall with one argument of text and a result of text.
pub(crate) fn call(oid: u32, argument: &str) -> Vec<u8> {
    let oid = oid.to_be_bytes();
    let length = (argument.len() as u32).to_be_bytes();
    message(b'F', &[&oid[..], &[0, 0, 0, 1], &length[..], argument.as_bytes(), &[0, 0]].concat())
}

/// Tags of `answers` in order.
pub(crate) fn tags(answers: &[Answer]) -> String {
    answers.iter().map(|(tag, _)| char::from(*tag)).collect()
}

/// SQLSTATE of the first error in `answers`.
pub(crate) fn state(answers: &[Answer]) -> String {
    let error = answers.iter().find(|(tag, _)| *tag == b'E');
    error.map_or(String::new(), |(_, payload)| String::from_utf8_lossy(failure(payload).state).into_owned())
}

/// Transaction state of the ReadyForQuery that ends `answers`.
pub(crate) fn transaction(answers: &[Answer]) -> char {
    let (tag, payload) = answers.last().unwrap();
    assert_eq!(*tag, b'Z');
    char::from(payload[0])
}

/// Completion tags of `answers`.
pub(crate) fn completions(answers: &[Answer]) -> Vec<String> {
    let done = answers.iter().filter(|(tag, _)| *tag == b'C');
    done.map(|(_, payload)| String::from_utf8_lossy(payload).trim_end_matches('\0').to_owned()).collect()
}

/// See the module's documentation.
pub(crate) struct Raw(pub(crate) Client);

impl Raw {
    /// Logs in as the superuser, whom the server trusts.
    pub(crate) fn login(address: SocketAddr) -> Raw {
        let mut client = Client::new(address);
        let settings = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
        client.send([&(settings.len() as u32 + 4).to_be_bytes()[..], settings].concat());
        let mut raw = Raw(client);
        assert_eq!(transaction(&raw.ready()), 'I');
        raw
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.send(bytes);
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> Answer {
        let head = self.0.read(5);
        let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        (head[0], self.0.read(len - 4))
    }

    /// All up to ReadyForQuery.
    pub(crate) fn ready(&mut self) -> Vec<Answer> {
        let mut out = Vec::new();
        while out.last().is_none_or(|(tag, _)| *tag != b'Z') {
            let next = self.next();
            out.push(next);
        }
        out
    }

    /// What a Query is answered with.
    pub(crate) fn ask(&mut self, sql: &str) -> Vec<Answer> {
        self.send(query(sql));
        self.ready()
    }

    /// What messages and a Sync are answered with.
    pub(crate) fn pipeline(&mut self, messages: &[Vec<u8>]) -> Vec<Answer> {
        self.send([messages.concat(), sync()].concat());
        self.ready()
    }
}
