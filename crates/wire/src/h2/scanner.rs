//! Follows one direction of an HTTP/2 connection from frame head to frame head (RFC 9113 section 4.1), in
//! whatever pieces the bytes come. Holds at most [`HEAD_LEN`] + [`WORD_LEN`] bytes; payloads are skipped.

/// Bytes of a frame's head.
pub const HEAD_LEN: usize = 9;
/// Bytes of a payload that are shown: enough for RST_STREAM (4) and GOAWAY (8).
pub const WORD_LEN: usize = 8;
/// What a client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bits of [`Frame::flags`].
pub mod flags {
    /// END_STREAM of DATA and HEADERS.
    pub const END_STREAM: u8 = 0x1;
    /// ACK of SETTINGS and PING.
    pub const ACK: u8 = 0x1;
    /// END_HEADERS of HEADERS, PUSH_PROMISE and CONTINUATION.
    pub const END_HEADERS: u8 = 0x4;
}

/// Type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 0x0
    Data,
    /// 0x1
    Headers,
    /// 0x2, deprecated
    Priority,
    /// 0x3
    RstStream,
    /// 0x4
    Settings,
    /// 0x5
    PushPromise,
    /// 0x6
    Ping,
    /// 0x7
    GoAway,
    /// 0x8
    WindowUpdate,
    /// 0x9
    Continuation,
    /// Any other: ignored by whoever does not know it.
    Other(u8),
}

impl From<u8> for Kind {
    fn from(byte: u8) -> Kind {
        match byte {
            0x0 => Kind::Data,
            0x1 => Kind::Headers,
            0x2 => Kind::Priority,
            0x3 => Kind::RstStream,
            0x4 => Kind::Settings,
            0x5 => Kind::PushPromise,
            0x6 => Kind::Ping,
            0x7 => Kind::GoAway,
            0x8 => Kind::WindowUpdate,
            0x9 => Kind::Continuation,
            other => Kind::Other(other),
        }
    }
}

/// A frame whose head, and for RST_STREAM and GOAWAY also the first word, has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: Kind,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 = the connection.
    pub stream: u32,
    /// Length of its payload, bytes.
    pub len: u32,
    word: [u8; WORD_LEN],
    held: usize,
}

impl Frame {
    /// Whether `flag` is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Error code of RST_STREAM or GOAWAY; `None` for other frames and short ones.
    pub fn error_code(&self) -> Option<u32> {
        match self.kind {
            Kind::RstStream => self.number(0),
            Kind::GoAway => self.number(4),
            _ => None,
        }
    }

    /// Last stream that the sender of GOAWAY took; `None` for other frames and short ones.
    pub fn last_stream(&self) -> Option<u32> {
        if self.kind == Kind::GoAway { self.number(0).map(|id| id & 0x7fff_ffff) } else { None }
    }

    /// The server of this direction answered in HTTP/1: its status line, read as a frame head.
    pub fn is_http1_status_line(&self) -> bool {
        self.len == u32::from_be_bytes([0, b'H', b'T', b'T']) && self.kind == Kind::Other(b'P')
    }

    fn number(&self, at: usize) -> Option<u32> {
        let bytes = self.word.get(..self.held)?.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    /// Of the preface, still to come.
    preface: usize,
    head: [u8; HEAD_LEN],
    have: usize,
    /// Of a frame whose head is complete: what of its word is wanted, and the frame so far.
    open: Option<(Frame, usize)>,
    /// Of its payload, still to come.
    skip: usize,
}

impl Scanner {
    /// The client's direction: begins with the [`PREFACE`], whose bytes are not compared.
    pub fn client() -> Scanner {
        Scanner { preface: PREFACE.len(), ..Scanner::default() }
    }

    /// The server's direction.
    pub fn server() -> Scanner {
        Scanner::default()
    }

    /// Shows each frame of the next `bytes` to `each`, in order, as soon as its head (and word) is there.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        let preface = self.preface.min(bytes.len());
        self.preface -= preface;
        bytes = bytes.get(preface..).unwrap_or_default();
        while !bytes.is_empty() {
            bytes = match self.open.take() {
                Some((frame, want)) => self.read_word(frame, want, bytes, &mut each),
                None if self.skip > 0 => {
                    let n = self.skip.min(bytes.len());
                    self.skip -= n;
                    bytes.get(n..).unwrap_or_default()
                }
                None => self.read_head(bytes, &mut each),
            };
        }
    }

    fn read_head<'b>(&mut self, bytes: &'b [u8], each: &mut impl FnMut(Frame)) -> &'b [u8] {
        let (taken, rest) = bytes.split_at((HEAD_LEN - self.have).min(bytes.len()));
        if let Some(room) = self.head.get_mut(self.have..self.have + taken.len()) {
            room.copy_from_slice(taken);
        }
        self.have += taken.len();
        if self.have < HEAD_LEN {
            return rest;
        }
        self.have = 0;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = self.head;
        let len = u32::from_be_bytes([0, l0, l1, l2]);
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff;
        let frame = Frame { kind: Kind::from(kind), flags, stream, len, word: [0; WORD_LEN], held: 0 };
        self.skip = len as usize;
        let want = match frame.kind {
            Kind::RstStream => 4,
            Kind::GoAway => WORD_LEN,
            _ => 0,
        };
        let want = want.min(self.skip);
        if want == 0 {
            each(frame);
        } else {
            self.open = Some((frame, want));
        }
        rest
    }

    fn read_word<'b>(
        &mut self,
        mut frame: Frame,
        want: usize,
        bytes: &'b [u8],
        each: &mut impl FnMut(Frame),
    ) -> &'b [u8] {
        let (taken, rest) = bytes.split_at((want - frame.held).min(bytes.len()));
        if let Some(room) = frame.word.get_mut(frame.held..frame.held + taken.len()) {
            room.copy_from_slice(taken);
        }
        frame.held += taken.len();
        self.skip -= taken.len();
        if frame.held < want {
            self.open = Some((frame, want));
        } else {
            each(frame);
        }
        rest
    }
}
