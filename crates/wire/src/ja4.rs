//! JA4: a fingerprint of the TLS client, from its ClientHello (FoxIO's technical details; BSD-3-Clause).
//!
//! Only JA4; the other JA4+ methods are under another licence and are not here. A fingerprint is a hint and
//! never an identity. Invariants: nothing is decrypted or changed; GREASE values (RFC 8701) never count; at most
//! [`HELLO_MAX_BYTES`] are kept; a ClientHello whose lengths do not agree has no fingerprint.

use sha2::{Digest, Sha256};

/// Longest ClientHello that is looked at, bytes, without its record headers.
pub const HELLO_MAX_BYTES: usize = 16 << 10;
/// Most TLS records that one ClientHello may be spread over.
pub const RECORDS_MAX: usize = 32;
/// Most cipher suites, extensions or signature algorithms that are counted in.
pub const ITEMS_MAX: usize = 1024;

/// Digits of a digest that the fingerprint keeps.
const HASH_DIGITS: usize = 12;

/// What carried the ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TLS over TCP.
    Tcp,
    /// QUIC.
    Quic,
    /// DTLS.
    Dtls,
}

/// The first handshake message of a connection, as far as it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// More bytes are needed.
    More,
    /// A whole ClientHello: the handshake message's body, without its four-byte header.
    Whole(Vec<u8>),
    /// Not a ClientHello, or beyond a bound.
    Other,
}

/// What of a ClientHello goes into the fingerprint, in wire order, GREASE removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Highest version offered.
    pub version: u16,
    /// Cipher suites.
    pub ciphers: Vec<u16>,
    /// Extension types.
    pub extensions: Vec<u16>,
    /// Signature algorithms.
    pub signature_algorithms: Vec<u16>,
    /// First protocol of the ALPN extension.
    pub alpn: Option<Vec<u8>>,
    /// A server name was given.
    pub sni: bool,
    /// The server name, lower case (RFC 6066, section 3); `None` = none, or none that a host can have.
    pub server_name: Option<String>,
}

/// Puts the ClientHello together from the TLS records at the start of a connection (RFC 8446, section 5.1).
pub fn hello(stream: &[u8]) -> Hello {
    let mut message: Vec<u8> = Vec::new();
    let mut rest = stream;
    for _ in 0..RECORDS_MAX {
        let Some(([kind, major, _, high, low], after)) = rest.split_first_chunk::<5>() else {
            return if rest.first().is_some_and(|k| *k != 22) { Hello::Other } else { Hello::More };
        };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind != 22
            || *major != 3
            || len == 0
            || len > HELLO_MAX_BYTES
            || message.len() + len > HELLO_MAX_BYTES + 4
        {
            return Hello::Other;
        }
        let there = after.len().min(len);
        message.extend_from_slice(after.get(..there).unwrap_or_default());
        if let Some(([kind, a, b, c], body)) = message.split_first_chunk::<4>() {
            let want = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if *kind != 1 || want > HELLO_MAX_BYTES {
                return Hello::Other;
            }
            if let Some(whole) = body.get(..want) {
                return Hello::Whole(whole.to_vec());
            }
        }
        if there < len {
            return Hello::More;
        }
        rest = after.get(len..).unwrap_or_default();
    }
    Hello::Other
}

/// Reads a ClientHello's body (RFC 8446, section 4.1.2). `None` = its lengths do not agree.
pub fn parse(body: &[u8]) -> Option<ClientHello> {
    let mut r = Reader(body);
    let mut hello = ClientHello { version: r.u16()?, ..ClientHello::default() };
    r.take(32)?;
    r.vec8()?;
    hello.ciphers = numbers(r.vec16()?)?;
    r.vec8()?;
    if !r.0.is_empty() {
        let mut extensions = Reader(r.vec16()?);
        if !r.0.is_empty() {
            return None;
        }
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let data = extensions.vec16()?;
            if !is_grease(kind) && hello.extensions.len() < ITEMS_MAX {
                hello.extensions.push(kind);
                read_extension(&mut hello, kind, data)?;
            }
        }
    }
    Some(hello)
}

fn read_extension(hello: &mut ClientHello, kind: u16, data: &[u8]) -> Option<()> {
    let mut r = Reader(data);
    match kind {
        0x0000 => {
            hello.sni = true;
            hello.server_name = server_name(data);
        }
        0x000d => hello.signature_algorithms = numbers(r.vec16()?)?,
        0x0010 => hello.alpn = Reader(r.vec16()?).vec8().map(<[u8]>::to_vec),
        0x002b => {
            if let Some(highest) = numbers(r.vec8()?)?.into_iter().max() {
                hello.version = highest;
            }
        }
        _ => {}
    }
    Some(())
}

/// The first host name of a `server_name` extension.
fn server_name(data: &[u8]) -> Option<String> {
    let mut list = Reader(Reader(data).vec16()?);
    while let Some(kind) = list.take(1) {
        let name = list.vec16()?;
        if kind == [0] {
            return host_name(name);
        }
    }
    None
}

/// A DNS name as it can stand for a host, in lower case: letters, digits, `-` and `_` in labels of 1 to 63 bytes,
/// 253 bytes in all.
pub fn host_name(name: &[u8]) -> Option<String> {
    let is_label = |label: &[u8]| {
        (1..=63).contains(&label.len())
            && label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let fits = name.len() <= 253 && name.split(|b| *b == b'.').all(is_label);
    fits.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

/// The fingerprint, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`.
pub fn ja4(hello: &ClientHello, carrier: Carrier) -> String {
    let carrier = match carrier {
        Carrier::Tcp => 't',
        Carrier::Quic => 'q',
        Carrier::Dtls => 'd',
    };
    let mut ciphers = hello.ciphers.clone();
    ciphers.sort_unstable();
    // The server name and the protocol are told by the first part; without them one client has one hash.
    let mut extensions: Vec<u16> =
        hello.extensions.iter().copied().filter(|e| !matches!(e, 0x0000 | 0x0010)).collect();
    extensions.sort_unstable();
    let mut third = list(&extensions);
    if !third.is_empty() && !hello.signature_algorithms.is_empty() {
        third.push('_');
        third.push_str(&list(&hello.signature_algorithms));
    }
    format!(
        "{carrier}{}{}{:02}{:02}{}_{}_{}",
        version(hello.version),
        if hello.sni { 'd' } else { 'i' },
        hello.ciphers.len().min(99),
        hello.extensions.len().min(99),
        protocol(hello.alpn.as_deref().unwrap_or_default()),
        hash(&list(&ciphers)),
        hash(&third),
    )
}

/// The fingerprint of the client at the start of this stream; `None` = no whole ClientHello.
pub fn of_stream(stream: &[u8]) -> Option<String> {
    match hello(stream) {
        Hello::Whole(body) => parse(&body).map(|hello| ja4(&hello, Carrier::Tcp)),
        Hello::More | Hello::Other => None,
    }
}

fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

/// First and last character of the protocol; of its hex digits where one of them is no letter or digit.
fn protocol(alpn: &[u8]) -> String {
    let (Some(first), Some(last)) = (alpn.first(), alpn.last()) else { return "00".to_owned() };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [char::from(*first), char::from(*last)].iter().collect()
    } else {
        let digits = |b: u8| format!("{b:02x}");
        let (first, last) = (digits(*first), digits(*last));
        first.chars().take(1).chain(last.chars().skip(1)).collect()
    }
}

fn list(numbers: &[u16]) -> String {
    let words: Vec<String> = numbers.iter().map(|n| format!("{n:04x}")).collect();
    words.join(",")
}

fn hash(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(HASH_DIGITS);
    }
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(HASH_DIGITS / 2).map(|b| format!("{b:02x}")).collect()
}

/// Whether a value is one of RFC 8701's sixteen.
fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// A vector's 16-bit numbers without GREASE; `None` = an odd length.
fn numbers(bytes: &[u8]) -> Option<Vec<u16>> {
    let pairs = bytes.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    let number = |pair: &[u8]| Some(u16::from_be_bytes([*pair.first()?, *pair.get(1)?]));
    Some(pairs.filter_map(number).filter(|n| !is_grease(*n)).take(ITEMS_MAX).collect())
}

/// Bytes that are left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]))
    }
    fn vec8(&mut self) -> Option<&'a [u8]> {
        let n = usize::from(*self.take(1)?.first()?);
        self.take(n)
    }
    fn vec16(&mut self) -> Option<&'a [u8]> {
        let n = usize::from(self.u16()?);
        self.take(n)
    }
}
