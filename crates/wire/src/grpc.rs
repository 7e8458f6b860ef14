//! gRPC over HTTP/2 (the `PROTOCOL-HTTP2` document of grpc/grpc): path, status, deadline, messages.
//!
//! Not protobuf, and not HTTP/2: it reads field values and body bytes that others took apart. Messages of a
//! body are counted over any split of it ([`Messages`]); only the first can be kept, up to a bound.

/// Bytes before each message: compressed flag and length.
pub const PREFIX_LEN: usize = 5;
/// Longest service or method name that is still taken for one, bytes.
pub const NAME_MAX: usize = 256;
/// Digits of a `grpc-timeout`.
const TIMEOUT_DIGITS_MAX: usize = 8;

/// Whether a content type is gRPC's: `application/grpc`, alone or with `+format` or parameters. gRPC-Web has
/// its status in the body, so it is not.
pub fn is_grpc(content_type: &[u8]) -> bool {
    const ESSENCE: &[u8] = b"application/grpc";
    match content_type.split_at_checked(ESSENCE.len()) {
        Some((essence, rest)) => {
            essence.eq_ignore_ascii_case(ESSENCE) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
        }
        None => false,
    }
}

/// `/package.Service/Method` in its two parts; `None` for any other path.
pub fn path(path: &[u8]) -> Option<(&str, &str)> {
    let path = std::str::from_utf8(path).ok()?.strip_prefix('/')?;
    let (service, method) = path.rsplit_once('/')?;
    (is_name(service, true) && is_name(method, false)).then_some((service, method))
}

/// Identifiers of protobuf, and what other generators make of them.
fn is_name(name: &str, dots: bool) -> bool {
    let allowed =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-') || dots && matches!(b, b'.' | b'/');
    !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(allowed)
}

/// A `grpc-status`: decimal digits.
pub fn status(value: &[u8]) -> Option<u32> {
    if value.is_empty() || value.len() > 10 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Name of a status code; `None` = not defined.
pub fn status_name(code: u32) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied()
}

/// A `grpc-timeout` in ns: one to eight digits and a unit. Saturates.
pub fn timeout(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > TIMEOUT_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let ns = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    Some(n.saturating_mul(ns))
}

/// A `grpc-message`, percent-decoded, of at most `max` bytes. What is no escape stays as it is.
pub fn message(value: &[u8], max: usize) -> String {
    let mut out = Vec::with_capacity(value.len().min(max));
    let mut rest = value;
    while let Some((first, tail)) = rest.split_first()
        && out.len() < max
    {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(h, l)| h << 4 | l),
            _ => None,
        };
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    let mut text = String::from_utf8_lossy(&out).into_owned();
    // A replacement character is longer than the byte that it replaces.
    while text.len() > max {
        text.pop();
    }
    text
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// The messages of one direction of a call, counted as its body passes.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    prefix: [u8; PREFIX_LEN],
    have: usize,
    left: u64,
    whole: u64,
    compressed: u64,
    broken: bool,
    keep: usize,
    first: Vec<u8>,
    first_compressed: bool,
}

impl Messages {
    /// Counts only.
    pub fn new() -> Messages {
        Messages::default()
    }

    /// Counts, and keeps the first message when it is at most `max` bytes.
    pub fn keeping(max: usize) -> Messages {
        Messages { keep: max, ..Messages::default() }
    }

    /// The next bytes of the body, in any pieces.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.broken {
            if self.left > 0 {
                let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                let (taken, rest) = bytes.split_at(n);
                if self.whole == 0 && self.keep > 0 {
                    self.first.extend_from_slice(taken);
                }
                self.left -= n as u64;
                bytes = rest;
                if self.left == 0 {
                    self.whole += 1;
                }
                continue;
            }
            let (taken, rest) = bytes.split_at((PREFIX_LEN - self.have).min(bytes.len()));
            if let Some(room) = self.prefix.get_mut(self.have..self.have + taken.len()) {
                room.copy_from_slice(taken);
            }
            self.have += taken.len();
            bytes = rest;
            if self.have == PREFIX_LEN {
                self.have = 0;
                self.begin();
            }
        }
    }

    fn begin(&mut self) {
        let [flag, l0, l1, l2, l3] = self.prefix;
        if flag > 1 {
            self.broken = true;
            return;
        }
        self.left = u64::from(u32::from_be_bytes([l0, l1, l2, l3]));
        self.compressed += u64::from(flag);
        if self.whole == 0 {
            self.first_compressed = flag == 1;
            if self.left > self.keep as u64 {
                self.keep = 0;
            }
        }
        if self.left == 0 {
            self.whole += 1;
        }
    }

    /// Whole messages so far.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    /// Messages begun with the compressed flag.
    pub fn compressed(&self) -> u64 {
        self.compressed
    }

    /// Whether the body so far ends inside a message.
    pub fn is_inside(&self) -> bool {
        self.left > 0 || self.have > 0
    }

    /// A prefix had a flag that is not defined: nothing was counted from there on.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The first message and whether it is compressed, once whole and if it was to be kept.
    pub fn first(&self) -> Option<(&[u8], bool)> {
        (self.whole > 0 && self.keep > 0).then_some((self.first.as_slice(), self.first_compressed))
    }
}
