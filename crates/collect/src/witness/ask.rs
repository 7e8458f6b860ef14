//! Asks a Redis server for its clients: one connection, one answer, closed again.
//!
//! In clear text: for a server behind TLS, give [`super::redis`] the text that its own tool printed.

use super::TEXT_MAX;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest line of an answer, bytes.
const LINE_MAX: u64 = 4_096;

/// The text of `CLIENT LIST`. `login` = user and password; `wait` bounds connecting and each read.
///
/// # Errors
/// No connection, no answer within `wait`, an error of the server (in its words), more than [`TEXT_MAX`] bytes.
pub fn ask_redis(server: SocketAddr, login: Option<(&str, &str)>, wait: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, wait)?;
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(wait))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    if let Some((user, password)) = login {
        stream.write_all(&command(&["AUTH", user, password]))?;
        line(&mut answers, '+')?;
    }
    stream.write_all(&command(&["CLIENT", "LIST"]))?;
    let length: usize = line(&mut answers, '$')?.parse().map_err(|_| broken("no length of a text"))?;
    if length > TEXT_MAX {
        return Err(broken("the list is longer than its bound"));
    }
    let mut text = Vec::new();
    answers.take(length as u64).read_to_end(&mut text)?;
    if text.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    out
}

/// One line of an answer of this kind, without its first character.
fn line(answers: &mut BufReader<TcpStream>, kind: char) -> io::Result<String> {
    let mut bytes = Vec::new();
    answers.take(LINE_MAX).read_until(b'\n', &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_end();
    match text.strip_prefix(kind) {
        Some(rest) => Ok(rest.to_owned()),
        None if text.starts_with('-') => Err(io::Error::other(text.to_owned())),
        None => Err(broken("not an answer of Redis")),
    }
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
