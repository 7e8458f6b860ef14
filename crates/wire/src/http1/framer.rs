//! Message boundaries of one connection, both directions, and which response answers which request.
//!
//! The caller keeps the bytes. It shows the front of a direction's unread bytes; the framer says how many
//! of them to let through and what they are, or to hold them, or refuses. Once a direction was refused
//! the connection must end: the framer then repeats the refusal for ever.

use super::body::{Body, Part};
use super::head::{self, Length, Scan};
use super::{INTERIM_MAX, PIPELINE_MAX, Rule};
use std::collections::VecDeque;

/// What the front of the shown bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes to let through; 0 for [`PieceKind::More`] and [`PieceKind::Blocked`].
    pub len: usize,
    /// What they are.
    pub kind: PieceKind,
    /// The message ends with this piece.
    pub end: bool,
}

/// Kinds of [`Piece`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Not decided: hold the bytes and read more of this direction.
    More,
    /// Requests must wait: [`PIPELINE_MAX`] are open, or a switch of protocols is undecided. Hold the
    /// bytes, do not read this direction, ask again after the next response.
    Blocked,
    /// A complete request head, or final response head.
    Head,
    /// A complete interim (1xx) response head.
    Interim,
    /// Body content.
    Data,
    /// Chunk lines and trailers.
    Framing,
    /// Bytes after a switch of protocols.
    Tunnel,
}

/// What the end of a direction means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eof {
    /// Between messages.
    Clean,
    /// It ended a response body that lasts until close.
    EndsBody,
    /// Inside a message.
    Truncated(Rule),
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Head(Scan),
    Body(Body),
    Refused(Rule),
}

/// A request whose response has not ended.
#[derive(Clone, Copy, Debug)]
struct Open {
    head_method: bool,
    connect: bool,
    upgrade: bool,
    interim: u32,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Framer {
    request: Side,
    response: Side,
    /// At most [`PIPELINE_MAX`].
    open: VecDeque<Open>,
    /// The last request asked for another protocol, and the answer is not yet there.
    switch_pending: bool,
    /// A request said that it was the last.
    last_seen: bool,
    tunnel: bool,
}

impl Default for Framer {
    fn default() -> Framer {
        Framer {
            request: Side::Head(Scan::default()),
            response: Side::Head(Scan::default()),
            open: VecDeque::new(),
            switch_pending: false,
            last_seen: false,
            tunnel: false,
        }
    }
}

impl Framer {
    /// Requests that still wait for the end of their response.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether the oldest open request is a HEAD: an answer to it must have no body.
    pub fn front_is_head(&self) -> bool {
        self.open.front().is_some_and(|open| open.head_method)
    }

    /// Whether both sides agreed on another protocol: from here on bytes pass unread.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel
    }

    /// Whether a request's head has passed and its body has not yet ended.
    pub fn in_request(&self) -> bool {
        matches!(self.request, Side::Body(_))
    }

    /// Whether a final response's head has passed and its body has not yet ended.
    pub fn in_response(&self) -> bool {
        matches!(self.response, Side::Body(_))
    }

    /// Judges the front of the client's unread bytes.
    ///
    /// # Errors
    /// The rule that the bytes break. None of the bytes shown may pass then.
    pub fn request(&mut self, buf: &[u8]) -> Result<Piece, Rule> {
        if self.tunnel {
            return Ok(piece(buf.len(), PieceKind::Tunnel, false));
        }
        let result = self.request_inner(buf);
        if let Err(rule) = result {
            self.request = Side::Refused(rule);
        }
        result
    }

    fn request_inner(&mut self, buf: &[u8]) -> Result<Piece, Rule> {
        match &mut self.request {
            Side::Refused(rule) => Err(*rule),
            Side::Body(body) => {
                let piece = of_part(body.next(buf)?);
                if piece.end {
                    self.request = Side::Head(Scan::default());
                }
                Ok(piece)
            }
            Side::Head(_) if self.switch_pending || self.open.len() >= PIPELINE_MAX => {
                Ok(piece(0, PieceKind::Blocked, false))
            }
            Side::Head(_) if buf.is_empty() => Ok(MORE),
            // A server that obeys would not answer them, one that does not would: nobody may guess.
            Side::Head(_) if self.last_seen => Err(Rule::AfterLast),
            Side::Head(scan) => {
                let Some(len) = scan.end(buf, false)? else { return Ok(MORE) };
                let parsed = head::request(buf.get(..len).unwrap_or_default())?;
                self.open.push_back(Open {
                    head_method: parsed.head_method,
                    connect: parsed.connect,
                    upgrade: parsed.upgrade,
                    interim: 0,
                });
                self.switch_pending = parsed.upgrade || parsed.connect;
                self.last_seen = parsed.last;
                let body = Body::new(parsed.length);
                self.request = body.map_or(Side::Head(Scan::default()), Side::Body);
                Ok(piece(len, PieceKind::Head, body.is_none()))
            }
        }
    }

    /// Judges the front of the server's unread bytes.
    ///
    /// # Errors
    /// The rule that the bytes break. None of the bytes shown may pass then.
    pub fn response(&mut self, buf: &[u8]) -> Result<Piece, Rule> {
        if self.tunnel {
            return Ok(piece(buf.len(), PieceKind::Tunnel, false));
        }
        let result = self.response_inner(buf);
        match result {
            Err(rule) => self.response = Side::Refused(rule),
            Ok(Piece { end: true, .. }) => self.answered(),
            Ok(_) => {}
        }
        result
    }

    fn response_inner(&mut self, buf: &[u8]) -> Result<Piece, Rule> {
        match &mut self.response {
            Side::Refused(rule) => Err(*rule),
            Side::Body(body) => Ok(of_part(body.next(buf)?)),
            Side::Head(_) if buf.is_empty() => Ok(MORE),
            Side::Head(_) if self.open.is_empty() => Err(Rule::Unsolicited),
            Side::Head(scan) => {
                let Some(len) = scan.end(buf, false)? else { return Ok(MORE) };
                self.response = Side::Head(Scan::default());
                self.response_head(buf.get(..len).unwrap_or_default())
            }
        }
    }

    fn response_head(&mut self, bytes: &[u8]) -> Result<Piece, Rule> {
        let parsed = head::response(bytes)?;
        let len = bytes.len();
        let last = self.open.len() == 1 && !matches!(self.request, Side::Body(_));
        let Some(front) = self.open.front_mut() else { return Err(Rule::Unsolicited) };
        let length = match parsed.status {
            101 => {
                if !front.upgrade || !last {
                    return Err(Rule::UnexpectedSwitch);
                }
                parsed.length()?;
                self.tunnel = true;
                return Ok(piece(len, PieceKind::Head, true));
            }
            100..=199 => {
                parsed.length()?;
                front.interim += 1;
                let fine = front.interim <= INTERIM_MAX;
                return if fine {
                    Ok(piece(len, PieceKind::Interim, false))
                } else {
                    Err(Rule::TooManyInterim)
                };
            }
            200..=299 if front.connect => {
                if !last {
                    return Err(Rule::UnexpectedSwitch);
                }
                self.tunnel = true;
                return Ok(piece(len, PieceKind::Head, true));
            }
            _ if front.head_method => {
                parsed.length()?;
                Length::None
            }
            _ => parsed.length()?,
        };
        let body = Body::new(length);
        if let Some(body) = body {
            self.response = Side::Body(body);
        }
        Ok(piece(len, PieceKind::Head, body.is_none()))
    }

    /// The response at the front has ended.
    fn answered(&mut self) {
        self.response = Side::Head(Scan::default());
        if let Some(open) = self.open.pop_front()
            && (open.upgrade || open.connect)
        {
            self.switch_pending = false;
        }
    }

    /// The client's direction ended; `held` = whether bytes of it were shown and not let through.
    pub fn request_eof(&self, held: bool) -> Eof {
        match self.request {
            _ if self.tunnel => Eof::Clean,
            Side::Body(_) => Eof::Truncated(Rule::TruncatedBody),
            Side::Head(_) if held && !self.switch_pending => Eof::Truncated(Rule::TruncatedHead),
            Side::Head(_) => Eof::Clean,
            Side::Refused(rule) => Eof::Truncated(rule),
        }
    }

    /// The server's direction ended; `held` as for [`Framer::request_eof`].
    pub fn response_eof(&mut self, held: bool) -> Eof {
        match self.response {
            _ if self.tunnel => Eof::Clean,
            Side::Body(Body::UntilClose) => {
                self.answered();
                Eof::EndsBody
            }
            Side::Body(_) => Eof::Truncated(Rule::TruncatedBody),
            Side::Head(_) if held => Eof::Truncated(Rule::TruncatedHead),
            Side::Head(_) => Eof::Clean,
            Side::Refused(rule) => Eof::Truncated(rule),
        }
    }
}

const MORE: Piece = Piece { len: 0, kind: PieceKind::More, end: false };

fn piece(len: usize, kind: PieceKind, end: bool) -> Piece {
    Piece { len, kind, end }
}

fn of_part(part: Part) -> Piece {
    match part {
        Part::More => MORE,
        Part::Data { len, end } => piece(len, PieceKind::Data, end),
        Part::Framing { len, end } => piece(len, PieceKind::Framing, end),
    }
}
