//! The private channel between the process that serves and the one that takes over: messages and sockets.
//!
//! A socket pair, whose far end the new process has as its standard input: nobody else can open it, and no path
//! is left behind. A message is its length (u32, big-endian) and one canonical CBOR array `[number, …]`;
//! listening sockets follow the message that announces them, by SCM_RIGHTS (unix(7)). Later versions add numbers
//! and fields at the end; a number that is not known ends the channel.

use countersign_event::cbor::{Value, decode, encode};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use zeroize::Zeroizing;

/// Longest message, bytes.
pub(crate) const MESSAGE_MAX: usize = 64 << 20;
/// Most listening sockets that pass.
pub(crate) const SOCKETS_MAX: usize = 1_024;
/// Sockets in one system message; the kernel's bound is 253 (SCM_MAX_FD).
const SOCKETS_AT_ONCE: usize = 64;

/// What the two processes tell each other.
#[derive(Debug)]
pub(crate) enum Message {
    /// New: my configuration, files and keys are fine; this is my version.
    Checked(String),
    /// Old: so many listening sockets follow.
    Sockets(usize),
    /// New: I have them, and wait for the ledger.
    Ready,
    /// Old: the ledger is yours; these sources go on.
    Go(Vec<Zeroizing<Vec<u8>>>),
    /// New: I accept connections; send what comes of yours.
    Serving,
    /// Old: canonical frames of events of source `source`. With `numbered` the number of the first is asked for.
    Events { source: usize, id: u64, numbered: bool, frames: Vec<Vec<u8>> },
    /// New: the first event of `id` has this sequence number.
    Taken { id: u64, first: u64 },
    /// New: `id` is durable but for these positions; `None` = it never will be.
    Acked { id: u64, rejected: Option<Vec<usize>> },
    /// Old: so many promised events of `source` were dropped.
    Dropped { source: usize, n: u64 },
    /// Old: that was all.
    Finished,
    /// New: all of it is durable.
    Whole,
}

fn text(e: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e.to_string())
}

fn number(value: Option<&Value>) -> Option<u64> {
    value.and_then(Value::as_uint)
}

fn small(value: Option<&Value>) -> Option<usize> {
    usize::try_from(number(value)?).ok()
}

impl Message {
    fn into_value(self) -> Value {
        let uint = |n: &u64| Value::Uint(*n);
        let size = |n: &usize| Value::Uint(*n as u64);
        let fields = match self {
            Message::Checked(version) => vec![Value::Uint(1), Value::Text(version)],
            Message::Sockets(n) => vec![Value::Uint(2), size(&n)],
            Message::Ready => vec![Value::Uint(3)],
            Message::Go(sources) => {
                vec![Value::Uint(4), Value::Array(sources.iter().map(|s| Value::Bytes(s.to_vec())).collect())]
            }
            Message::Serving => vec![Value::Uint(5)],
            Message::Events { source, id, numbered, frames } => {
                let frames = Value::Array(frames.into_iter().map(Value::Bytes).collect());
                vec![Value::Uint(6), size(&source), uint(&id), Value::Bool(numbered), frames]
            }
            Message::Taken { id, first } => vec![Value::Uint(7), uint(&id), uint(&first)],
            Message::Acked { id, rejected } => {
                let rejected = rejected.as_ref().map(|r| Value::Array(r.iter().map(size).collect()));
                [Some(Value::Uint(8)), Some(uint(&id)), rejected].into_iter().flatten().collect()
            }
            Message::Dropped { source, n } => vec![Value::Uint(9), size(&source), uint(&n)],
            Message::Finished => vec![Value::Uint(10)],
            Message::Whole => vec![Value::Uint(11)],
        };
        Value::Array(fields)
    }

    fn from_value(value: &Value) -> Option<Message> {
        let fields = value.as_array()?;
        let at = |n: usize| fields.get(n);
        Some(match number(at(0))? {
            1 => Message::Checked(at(1)?.as_text()?.to_owned()),
            2 => Message::Sockets(small(at(1)).filter(|n| *n <= SOCKETS_MAX)?),
            3 => Message::Ready,
            4 => {
                let sources = at(1)?.as_array()?.iter();
                Message::Go(
                    sources.map(|s| Some(Zeroizing::new(s.as_bytes()?.to_vec()))).collect::<Option<_>>()?,
                )
            }
            5 => Message::Serving,
            6 => Message::Events {
                source: small(at(1))?,
                id: number(at(2))?,
                numbered: matches!(at(3)?, Value::Bool(true)),
                frames: at(4)?
                    .as_array()?
                    .iter()
                    .map(|f| Some(f.as_bytes()?.to_vec()))
                    .collect::<Option<_>>()?,
            },
            7 => Message::Taken { id: number(at(1))?, first: number(at(2))? },
            8 => Message::Acked {
                id: number(at(1))?,
                rejected: match at(2) {
                    Some(list) => {
                        Some(list.as_array()?.iter().map(|n| small(Some(n))).collect::<Option<_>>()?)
                    }
                    None => None,
                },
            },
            9 => Message::Dropped { source: small(at(1))?, n: number(at(2))? },
            10 => Message::Finished,
            11 => Message::Whole,
            _ => return None,
        })
    }
}

/// Sends one message.
///
/// # Errors
/// The other process is gone, or the message is longer than [`MESSAGE_MAX`].
pub(crate) fn send(mut to: &UnixStream, message: Message) -> io::Result<()> {
    let body = Zeroizing::new(encode(&message.into_value()).map_err(text)?);
    let length = u32::try_from(body.len()).ok().filter(|n| *n as usize <= MESSAGE_MAX);
    let length = length.ok_or_else(|| text(format!("a message of {} bytes is too long", body.len())))?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(&body)
}

/// Waits for one message; how long is the stream's read timeout.
///
/// # Errors
/// The other process is gone or did not answer in time, or it said something that is not a message.
pub(crate) fn receive(mut from: &UnixStream) -> io::Result<Message> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MESSAGE_MAX {
        return Err(text(format!("a message of {length} bytes, at most {MESSAGE_MAX}")));
    }
    let mut body = Zeroizing::new(Vec::new());
    // Grows with what arrives, not with what was announced.
    let read = from.take(length as u64).read_to_end(&mut body)?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let value = decode(&body).map_err(text)?;
    Message::from_value(&value).ok_or_else(|| text("a message of an unknown kind or shape"))
}

/// Sends listening sockets, after [`Message::Sockets`].
///
/// # Errors
/// The other process is gone.
pub(crate) fn send_sockets(to: &UnixStream, sockets: &[TcpListener]) -> io::Result<()> {
    for some in sockets.chunks(SOCKETS_AT_ONCE) {
        let fds: Vec<_> = some.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(text("no room for the sockets"));
        }
        // At least one byte must travel with them.
        sendmsg(to, &[IoSlice::new(&[0])], &mut control, SendFlags::empty())?;
    }
    Ok(())
}

/// Receives `n` listening sockets.
///
/// # Errors
/// The other process is gone, or sent less.
pub(crate) fn receive_sockets(from: &UnixStream, n: usize) -> io::Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    while sockets.len() < n {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let got = recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let before = sockets.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                sockets.extend(fds.map(|fd: OwnedFd| TcpListener::from(fd)));
            }
        }
        if got.bytes == 0 || sockets.len() == before {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_sockets_arrive_as_they_were_sent() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listeners: Vec<TcpListener> =
            (0..SOCKETS_AT_ONCE + 3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        send(&ours, Message::Sockets(listeners.len())).unwrap();
        send_sockets(&ours, &listeners).unwrap();
        let frames = vec![vec![1, 2], vec![]];
        send(&ours, Message::Events { source: 2, id: 9, numbered: true, frames }).unwrap();
        send(&ours, Message::Acked { id: 9, rejected: None }).unwrap();
        send(&ours, Message::Acked { id: 9, rejected: Some(vec![1, 4]) }).unwrap();
        send(&ours, Message::Go(vec![Zeroizing::new(vec![1, 2])])).unwrap();

        let Message::Sockets(n) = receive(&theirs).unwrap() else { panic!("sockets first") };
        let received = receive_sockets(&theirs, n).unwrap();
        let addresses = |l: &[TcpListener]| l.iter().map(|l| l.local_addr().unwrap()).collect::<Vec<_>>();
        assert_eq!(addresses(&received), addresses(&listeners));
        let Message::Events { source: 2, id: 9, numbered: true, frames } = receive(&theirs).unwrap() else {
            panic!("events next")
        };
        assert_eq!(frames, [vec![1, 2], vec![]]);
        assert!(matches!(receive(&theirs).unwrap(), Message::Acked { id: 9, rejected: None }));
        assert!(matches!(receive(&theirs).unwrap(), Message::Acked { rejected: Some(r), .. } if r == [1, 4]));
        assert!(matches!(receive(&theirs).unwrap(), Message::Go(s) if s[0].as_slice() == [1, 2]));
    }

    #[test]
    fn what_is_not_a_message_is_an_error_and_not_a_hang() {
        for bytes in
            [&[0xff; 8][..], &[0, 0, 0, 2, 0x81, 0x18], &[0, 0, 0, 9, 1], &[0, 0, 0, 2, 0x81, 0x0f], &[]]
        {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(bytes).unwrap();
            drop(ours);
            assert!(receive(&theirs).is_err(), "{bytes:?}");
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        assert!(receive_sockets(&theirs, 1).is_err());
    }
}
