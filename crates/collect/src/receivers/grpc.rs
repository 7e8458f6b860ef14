//! gRPC over the HTTP/2 server of an input: messages in their frames, and statuses.
//!
//! Source: "gRPC over HTTP2" (PROTOCOL-HTTP2.md), `google/rpc/error_details.proto`. No service is described here;
//! `otlp.rs` and `als.rs` read the messages. Compression: gzip or none.

use super::body::{BODY_MAX, BodyError, gunzip};
use super::http::Reply;
use super::reply::Whole;
use crate::intake::Refusal;
use crate::proto::Writer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, HeaderValue, Response};

/// Bytes before each message: whether it is packed, and its length.
const HEAD: usize = 5;

/// Status codes used here (`google/rpc/code.proto`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    InvalidArgument = 3,
    Unimplemented = 12,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// Why a message cannot be had: the status and fixed words.
pub(super) type Bad = (Code, &'static str);

/// Whether a request is gRPC by its content type.
pub(super) fn is(headers: &HeaderMap) -> bool {
    headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Messages of a stream, whatever its pieces. At most one message and one piece are held.
#[derive(Debug, Default)]
pub(super) struct Messages {
    buffer: Vec<u8>,
    gzip: bool,
}

impl Messages {
    /// Packed as the request's headers say.
    pub(super) fn new(headers: &HeaderMap) -> Messages {
        let gzip = headers.get("grpc-encoding").is_some_and(|encoding| encoding.as_bytes() == b"gzip");
        Messages { buffer: Vec::new(), gzip }
    }

    /// The next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// Whether part of a message is here.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next whole message, unpacked; `None` = more bytes are needed.
    ///
    /// # Errors
    /// It is too large, or packed in a way that the headers did not say.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, Bad> {
        let Some((head, rest)) = self.buffer.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [packed, length @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > BODY_MAX {
            return Err((Code::InvalidArgument, "a message is larger than 32 MiB"));
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let message = match packed {
            0 => message.to_vec(),
            1 if self.gzip => gunzip(message).map_err(|error| match error {
                BodyError::TooLarge => (Code::InvalidArgument, "a message is larger than 32 MiB"),
                _ => (Code::InvalidArgument, "a message is not the gzip that it says"),
            })?,
            1 => return Err((Code::Unimplemented, "only gzip and identity are known")),
            _ => return Err((Code::InvalidArgument, "a message's flag is neither 0 nor 1")),
        };
        self.buffer.drain(..HEAD + length);
        Ok(Some(message))
    }
}

/// The one message of a request.
///
/// # Errors
/// There is none, more than one, or as [`Messages::next`].
pub(super) fn unary(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Bad> {
    let mut messages = Messages::new(headers);
    messages.push(body);
    match messages.next()? {
        Some(message) if messages.is_empty() => Ok(message),
        Some(_) => Err((Code::InvalidArgument, "more than one message")),
        None => Err((Code::InvalidArgument, "no whole message")),
    }
}

/// A message and status OK behind it.
pub(super) fn answer(message: &[u8]) -> Reply {
    let mut body = Vec::with_capacity(HEAD + message.len());
    body.push(0);
    body.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(Code::Ok as u16));
    reply(Whole::new(body).with_trailers(trailers))
}

/// A status and nothing else. `why` is in fixed words of printable ASCII without `%`.
pub(super) fn refuse(code: Code, why: &str) -> Reply {
    let mut reply = reply(Whole::default());
    let headers = reply.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(code as u16));
    if let Ok(why) = HeaderValue::from_str(why) {
        headers.insert("grpc-message", why);
    }
    reply
}

/// UNAVAILABLE, with the time after which to come again (`google.rpc.RetryInfo`).
pub(super) fn come_again(refusal: &Refusal) -> Reply {
    let (_, seconds) = super::http::again(refusal);
    let mut reply = refuse(Code::Unavailable, &refusal.to_string());
    let mut status = Writer::new();
    status.uint(1, Code::Unavailable as u64);
    status.bytes(2, refusal.to_string().as_bytes());
    status.message(3, |any| {
        any.bytes(1, b"type.googleapis.com/google.rpc.RetryInfo");
        any.message(2, |info| info.message(1, |delay| delay.uint(1, seconds.unwrap_or(1))));
    });
    if let Ok(details) = HeaderValue::from_str(&STANDARD_NO_PAD.encode(status.done())) {
        reply.headers_mut().insert("grpc-status-details-bin", details);
    }
    reply
}

fn reply(body: Whole) -> Reply {
    let mut reply = Response::new(body);
    reply.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    reply
}

/// All messages of `stream` given in pieces of `step` bytes, and how it ended. For fuzzing.
pub(crate) fn collect(stream: &[u8], step: usize) -> (Vec<Vec<u8>>, Option<&'static str>) {
    let mut messages = Messages { buffer: Vec::new(), gzip: true };
    let mut out = Vec::new();
    for piece in stream.chunks(step.max(1)) {
        messages.push(piece);
        loop {
            match messages.next() {
                Ok(Some(message)) => out.push(message),
                Ok(None) => break,
                Err((_, why)) => return (out, Some(why)),
            }
        }
    }
    (out, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_split_of_a_stream_gives_the_same_messages(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            rest in prop::collection::vec(any::<u8>(), 0..9), step in 1..60_usize
        ) {
            let mut stream: Vec<u8> = messages.iter().flat_map(|message| {
                [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
            }).collect();
            stream.extend_from_slice(&rest);
            let whole = collect(&stream, stream.len());
            prop_assert!(whole.0.starts_with(&messages));
            prop_assert_eq!(collect(&stream, step), whole);
        }
    }

    #[test]
    fn a_ledger_that_is_held_back_is_unavailable_with_a_time_to_come_again() {
        use crate::proto::Fields;
        for refusal in [Refusal::Busy("x"), Refusal::Late, Refusal::Stopped] {
            let reply = come_again(&refusal);
            assert_eq!(reply.headers()["grpc-status"], "14");
            let details = STANDARD_NO_PAD.decode(&reply.headers()["grpc-status-details-bin"]).unwrap();
            let mut bytes = details.as_slice();
            // Status.details, Any.value, RetryInfo.retry_delay.
            for number in [3, 2, 1] {
                let mut fields = Fields::new(bytes);
                bytes = std::iter::from_fn(|| fields.read().unwrap())
                    .find(|(of, _)| *of == number)
                    .map(|(_, wire)| wire.bytes())
                    .unwrap();
            }
            let seconds = Fields::new(bytes).read().unwrap().unwrap().1.uint();
            assert_eq!(Some(seconds), super::super::http::again(&refusal).1);
        }
    }

    #[test]
    fn a_message_that_says_what_it_is_not_is_refused() {
        let headers = HeaderMap::new();
        assert_eq!(unary(&headers, &[1, 0, 0, 0, 0]).unwrap_err().0, Code::Unimplemented);
        assert_eq!(unary(&headers, &[2, 0, 0, 0, 0]).unwrap_err().0, Code::InvalidArgument);
        assert_eq!(unary(&headers, &[0, 255, 0, 0, 0]).unwrap_err().0, Code::InvalidArgument);
        assert_eq!(unary(&headers, &[0, 0, 0, 0, 1]).unwrap_err().1, "no whole message");
        assert_eq!(unary(&headers, &[0; 10]).unwrap_err().1, "more than one message");
        assert_eq!(unary(&headers, &[0, 0, 0, 0, 1, 7]), Ok(vec![7]));
    }
}
