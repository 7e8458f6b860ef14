//! WebSocket frames (RFC 6455), read as they pass: messages, control frames, and what breaks the protocol.
//!
//! Not an endpoint: nothing is answered or refused; a fault is reported once and reading that direction ends,
//! while the bytes go on. Payload is handed on unmasked in spans and never gathered. With an extension that
//! changes payloads (permessage-deflate, RFC 7692) the payload stays opaque, but is counted. Invariants:
//! linear time, fixed memory, any split of the bytes gives the same messages.

/// Longest payload of a control frame, bytes (RFC 6455 section 5.5).
pub const CONTROL_MAX: u64 = 125;
/// Bytes unmasked at once.
const SPAN: usize = 4 << 10;
/// Longest header: 2 bytes, 8 of length, 4 of mask.
const HEADER_MAX: usize = 14;

/// Who sends the bytes of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Must mask.
    Client,
    /// Must not mask.
    Server,
}

/// What a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// UTF-8 text.
    Text,
    /// Anything.
    Binary,
}

/// A control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Close, with its code if it has one.
    Close(Option<u16>),
    /// Ping.
    Ping,
    /// Pong.
    Pong,
}

/// Takes what a [`Reader`] finds.
pub trait Messages {
    /// Payload of the current message, unmasked; `opaque` = an extension has changed it.
    fn payload(&mut self, content: Content, opaque: bool, bytes: &[u8]);
    /// A message ended; `size` = bytes of payload in all its frames.
    fn message(&mut self, content: Content, opaque: bool, size: u64);
    /// A control frame, which may stand between the frames of a message.
    fn control(&mut self, control: Control);
}

/// What breaks the protocol. Each is to be answered with close code 1002 by the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A reserved bit that no extension explains.
    ReservedBit,
    /// A reserved operation code.
    Opcode,
    /// The client did not mask.
    Unmasked,
    /// The server masked.
    Masked,
    /// A control frame of more than [`CONTROL_MAX`] bytes.
    ControlSize,
    /// A control frame in fragments.
    ControlFragment,
    /// A continuation of nothing.
    Continuation,
    /// A new message before the last one ended.
    Interleaved,
    /// A length not in its shortest form, or above 2^63.
    Length,
    /// A close frame with one byte, or a code that must not be sent.
    CloseCode,
    /// Bytes after a close frame.
    AfterClose,
}

impl Fault {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Fault::ReservedBit => "ws-reserved-bit",
            Fault::Opcode => "ws-opcode",
            Fault::Unmasked => "ws-unmasked",
            Fault::Masked => "ws-masked",
            Fault::ControlSize => "ws-control-size",
            Fault::ControlFragment => "ws-control-fragment",
            Fault::Continuation => "ws-continuation",
            Fault::Interleaved => "ws-interleaved",
            Fault::Length => "ws-length",
            Fault::CloseCode => "ws-close-code",
            Fault::AfterClose => "ws-after-close",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    Payload { left: u64, mask: Option<[u8; 4]>, at: usize },
    Failed(Fault),
}

/// A message whose last frame has not come.
#[derive(Clone, Copy, Debug)]
struct Open {
    content: Content,
    opaque: bool,
    size: u64,
}

/// Reads one direction.
#[derive(Debug)]
pub struct Reader {
    sender: Sender,
    deflate: bool,
    state: State,
    header: [u8; HEADER_MAX],
    have: usize,
    fin: bool,
    control: Option<u8>,
    open: Option<Open>,
    /// The first two bytes of a close frame.
    close: [u8; 2],
    close_have: usize,
    closed: bool,
}

impl Reader {
    /// For the direction of `sender`; `deflate` = permessage-deflate was agreed on.
    pub fn new(sender: Sender, deflate: bool) -> Reader {
        Reader {
            sender,
            deflate,
            state: State::Header,
            header: [0; HEADER_MAX],
            have: 0,
            fin: false,
            control: None,
            open: None,
            close: [0; 2],
            close_have: 0,
            closed: false,
        }
    }

    /// Reads on; after a fault, bytes are ignored.
    pub fn feed(&mut self, bytes: &[u8], to: &mut dyn Messages) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.state {
                State::Failed(_) => return,
                State::Header => self.header(rest),
                State::Payload { left, mask, at } => Ok(self.payload(rest, left, mask, at, to)),
            };
            match taken.and_then(|n| self.frame_ends(to).map(|()| n)) {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(fault) => self.state = State::Failed(fault),
            }
        }
    }

    /// What broke, if something did.
    pub fn fault(&self) -> Option<Fault> {
        match self.state {
            State::Failed(fault) => Some(fault),
            _ => None,
        }
    }

    /// Whether the stream is between frames and messages.
    pub fn is_clean(&self) -> bool {
        matches!(self.state, State::Header) && self.have == 0 && self.open.is_none()
    }

    /// Collects a header.
    fn header(&mut self, rest: &[u8]) -> Result<usize, Fault> {
        if self.closed {
            return Err(Fault::AfterClose);
        }
        let mut taken = 0;
        for b in rest {
            if let Some(place) = self.header.get_mut(self.have) {
                *place = *b;
            }
            self.have += 1;
            taken += 1;
            if self.have == 2 {
                self.check()?;
            }
            if self.have >= self.header_len() {
                self.frame_begins()?;
                break;
            }
        }
        Ok(taken)
    }

    /// Bytes of the header, as far as it is known.
    fn header_len(&self) -> usize {
        let [_, second, ..] = self.header;
        if self.have < 2 {
            return 2;
        }
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if second & 0x80 == 0 { 0 } else { 4 }
    }

    /// The rules that the first two bytes must keep.
    fn check(&self) -> Result<(), Fault> {
        let [first, second, ..] = self.header;
        let (opcode, control) = (first & 0x0f, first & 0x08 != 0);
        let masked = second & 0x80 != 0;
        let first_of_message = matches!(opcode, 1 | 2);
        let reserved = first & 0x70;
        match opcode {
            0..=2 | 8..=10 => {}
            _ => return Err(Fault::Opcode),
        }
        if reserved != 0 && !(reserved == 0x40 && self.deflate && first_of_message) {
            return Err(Fault::ReservedBit);
        }
        match (self.sender, masked) {
            (Sender::Client, false) => return Err(Fault::Unmasked),
            (Sender::Server, true) => return Err(Fault::Masked),
            _ => {}
        }
        if control && second & 0x7f > 125 {
            return Err(Fault::ControlSize);
        }
        if control && first & 0x80 == 0 {
            return Err(Fault::ControlFragment);
        }
        if opcode == 0 && self.open.is_none() {
            return Err(Fault::Continuation);
        }
        if first_of_message && self.open.is_some() {
            return Err(Fault::Interleaved);
        }
        Ok(())
    }

    /// The header is complete.
    fn frame_begins(&mut self) -> Result<(), Fault> {
        let [first, second, tail @ ..] = self.header;
        let (left, mask_at) = match (second & 0x7f, tail) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 2),
            (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 8),
            (n, _) => (u64::from(n), 0),
        };
        let shortest = match second & 0x7f {
            126 => left > 125,
            127 => left > 0xffff && left <= i64::MAX as u64,
            _ => true,
        };
        if !shortest {
            return Err(Fault::Length);
        }
        let mask = tail.get(mask_at..mask_at + 4).filter(|_| second & 0x80 != 0);
        let mask = mask.and_then(|m| <[u8; 4]>::try_from(m).ok());
        let opcode = first & 0x0f;
        self.fin = first & 0x80 != 0;
        self.control = (opcode >= 8).then_some(opcode);
        self.close_have = 0;
        match opcode {
            1 | 2 => {
                let content = if opcode == 1 { Content::Text } else { Content::Binary };
                self.open = Some(Open { content, opaque: first & 0x40 != 0, size: left });
            }
            0 => {
                if let Some(open) = &mut self.open {
                    open.size = open.size.saturating_add(left);
                }
            }
            _ => {}
        }
        self.have = 0;
        self.state = State::Payload { left, mask, at: 0 };
        Ok(())
    }

    fn payload(
        &mut self,
        rest: &[u8],
        left: u64,
        mask: Option<[u8; 4]>,
        at: usize,
        to: &mut dyn Messages,
    ) -> usize {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len()).min(SPAN);
        let mut plain = [0; SPAN];
        for (i, (place, b)) in plain.iter_mut().zip(rest.iter().take(take)).enumerate() {
            let key = mask.and_then(|m| m.get((at + i) % 4).copied()).unwrap_or(0);
            *place = b ^ key;
        }
        let plain = plain.get(..take).unwrap_or_default();
        match (self.control, self.open) {
            (Some(8), _) => {
                for b in plain {
                    if let Some(place) = self.close.get_mut(self.close_have) {
                        *place = *b;
                        self.close_have += 1;
                    }
                }
            }
            (Some(_), _) | (None, None) => {}
            (None, Some(open)) => to.payload(open.content, open.opaque, plain),
        }
        self.state = State::Payload { left: left - take as u64, mask, at: (at + take) % 4 };
        take
    }

    /// When nothing is left of the current frame, what it was.
    fn frame_ends(&mut self, to: &mut dyn Messages) -> Result<(), Fault> {
        let State::Payload { left: 0, .. } = self.state else { return Ok(()) };
        self.state = State::Header;
        match self.control.take() {
            Some(8) => {
                self.closed = true;
                let code = u16::from_be_bytes(self.close);
                match self.close_have {
                    0 => to.control(Control::Close(None)),
                    2 if may_be_sent(code) => to.control(Control::Close(Some(code))),
                    _ => return Err(Fault::CloseCode),
                }
            }
            Some(9) => to.control(Control::Ping),
            Some(_) => to.control(Control::Pong),
            None if self.fin => {
                if let Some(open) = self.open.take() {
                    to.message(open.content, open.opaque, open.size);
                }
            }
            None => {}
        }
        Ok(())
    }
}

/// Codes that may stand in a close frame (RFC 6455 section 7.4 and IANA's registry).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq)]
    struct All(Vec<String>, Vec<u8>);

    impl Messages for All {
        fn payload(&mut self, _: Content, _: bool, bytes: &[u8]) {
            self.1.extend_from_slice(bytes);
        }
        fn message(&mut self, content: Content, opaque: bool, size: u64) {
            let bytes = std::mem::take(&mut self.1);
            assert_eq!(bytes.len() as u64, size);
            self.0.push(format!("{content:?} {opaque} {}", String::from_utf8_lossy(&bytes)));
        }
        fn control(&mut self, control: Control) {
            self.0.push(format!("{control:?}"));
        }
    }

    fn read(sender: Sender, deflate: bool, bytes: &[u8]) -> (Vec<String>, Option<Fault>) {
        let mut all = All::default();
        let mut reader = Reader::new(sender, deflate);
        reader.feed(bytes, &mut all);
        let fault = reader.fault();
        // Byte by byte the same.
        let mut split = All::default();
        let mut reader = Reader::new(sender, deflate);
        bytes.iter().for_each(|b| reader.feed(&[*b], &mut split));
        assert_eq!((&split, reader.fault()), (&all, fault));
        (all.0, fault)
    }

    #[test]
    fn reads_the_examples_of_the_rfc() {
        // Section 5.7.
        let text = ["Text false Hello".to_owned()];
        assert_eq!(read(Sender::Server, false, b"\x81\x05Hello"), (text.to_vec(), None));
        let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(read(Sender::Client, false, masked), (text.to_vec(), None));
        let (found, fault) = read(Sender::Server, false, b"\x01\x03Hel\x89\x00\x80\x02lo\x88\x02\x03\xe8");
        assert_eq!(found, ["Ping", "Text false Hello", "Close(Some(1000))"]);
        assert_eq!(fault, None);
        let long = [&b"\x82\x7e\x01\x00"[..], &[b'x'; 256]].concat();
        assert_eq!(read(Sender::Server, false, &long).0.len(), 1);
        let longer = [&b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"[..], &[b'x'; 65_536]].concat();
        assert_eq!(read(Sender::Server, false, &longer).0.len(), 1);
    }

    #[test]
    fn compressed_payload_is_opaque_and_counted() {
        let (found, fault) = read(Sender::Server, true, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
        assert_eq!((found.len(), fault), (1, None));
        assert!(found[0].starts_with("Text true"));
        assert_eq!(read(Sender::Server, false, b"\xc1\x01x").1, Some(Fault::ReservedBit));
    }

    #[test]
    fn each_breach_has_its_name() {
        use Fault::*;
        for (sender, bytes, fault) in [
            (Sender::Client, &b"\x81\x05Hello"[..], Unmasked),
            (Sender::Server, b"\x81\x85\x37\xfa\x21\x3d", Masked),
            (Sender::Server, b"\x83\x00", Opcode),
            (Sender::Server, b"\x8b\x00", Opcode),
            (Sender::Server, b"\xa1\x00", ReservedBit),
            (Sender::Server, b"\x89\x7e\x00\x7e", ControlSize),
            (Sender::Server, b"\x09\x00", ControlFragment),
            (Sender::Server, b"\x80\x00", Continuation),
            (Sender::Server, b"\x01\x00\x01\x00", Interleaved),
            (Sender::Server, b"\x81\x7e\x00\x05", Length),
            (Sender::Server, b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", Length),
            (Sender::Server, b"\x88\x01\x03", CloseCode),
            (Sender::Server, b"\x88\x02\x03\xee", CloseCode),
            (Sender::Server, b"\x88\x00\x81\x00", AfterClose),
        ] {
            assert_eq!(read(sender, false, bytes).1, Some(fault), "{bytes:?}");
        }
    }
}
