//! The PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`): who connected to the proxy before us.
//!
//! Not a reason to believe it: that is the caller's choice, by the peer that sent it. Invariants: the header is
//! judged only at the very start of a connection; an incomplete one is never guessed; at most
//! [`V1_MAX_BYTES`] or [`V2_MAX_BYTES`] bytes are looked at; nothing is allocated but the texts of a good
//! header, each under its bound.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest version 1 line, with its line end, bytes (section 2.1).
pub const V1_MAX_BYTES: usize = 107;
/// Longest version 2 header that is accepted, bytes; the format would allow 65,551.
pub const V2_MAX_BYTES: usize = 16 + 4096;
/// Longest text that is kept of one TLV, bytes.
pub const TLV_TEXT_MAX_BYTES: usize = 256;
/// Most TLVs in one header, inner ones included.
pub const TLVS_MAX: usize = 64;

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_SIGNATURE: &[u8; 6] = b"PROXY ";

/// What the start of a connection turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxied {
    /// Not decided yet: read more.
    More,
    /// No header: the connection's own bytes begin here.
    Absent,
    /// A header of this many bytes; the connection's own bytes follow.
    Header {
        /// What it says.
        header: Box<Header>,
        /// Its length in bytes.
        len: usize,
    },
}

/// How the connection reached the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Not told.
    #[default]
    Unknown,
    /// TCP over IPv4 or IPv6.
    Stream,
    /// UDP over IPv4 or IPv6.
    Datagram,
    /// A Unix socket; its paths are not kept.
    Unix,
}

/// What a header says. Nothing of it is proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// 1 or 2.
    pub version: u8,
    /// The proxy itself is the caller (a health check): the socket's own addresses count.
    pub local: bool,
    /// How the connection reached the proxy.
    pub transport: Transport,
    /// Who connected to the proxy.
    pub source: Option<SocketAddr>,
    /// The address that was connected to.
    pub destination: Option<SocketAddr>,
    /// Host name that the client asked for (`PP2_TYPE_AUTHORITY`), at most 255 bytes.
    pub authority: Option<String>,
    /// Protocol that was negotiated (`PP2_TYPE_ALPN`), lossy text.
    pub alpn: Option<String>,
    /// Id of the connection (`PP2_TYPE_UNIQUE_ID`), at most 128 bytes.
    pub unique_id: Option<Vec<u8>>,
    /// What the proxy says of its TLS session with the client.
    pub tls: Option<Tls>,
    /// TLVs of other types.
    pub others: usize,
}

/// `PP2_TYPE_SSL`: the proxy's TLS session with the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The client connected over TLS.
    pub secured: bool,
    /// The client showed a certificate over this connection, or in the session that it resumes.
    pub certificate: bool,
    /// The proxy says that it verified the certificate.
    pub verified: bool,
    /// TLS version as text.
    pub version: Option<String>,
    /// Common name of the client's certificate.
    pub common_name: Option<String>,
    /// Cipher as text.
    pub cipher: Option<String>,
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// A version 1 line without an end in its first [`V1_MAX_BYTES`] bytes.
    #[error("proxy header of version 1 has no end")]
    Endless,
    /// A version 1 line out of form.
    #[error("proxy header of version 1 is out of form")]
    Line,
    /// An address or port that is none.
    #[error("proxy header holds an address that is none")]
    Address,
    /// Another version than 2 after the binary signature.
    #[error("proxy header has an unknown version")]
    Version,
    /// A command other than LOCAL and PROXY.
    #[error("proxy header has an unknown command")]
    Command,
    /// A family or transport that is not defined.
    #[error("proxy header has an unknown address family")]
    Family,
    /// Longer than [`V2_MAX_BYTES`].
    #[error("proxy header is longer than 4,112 bytes")]
    Long,
    /// The addresses do not fit into the stated length.
    #[error("proxy header is shorter than its addresses")]
    Short,
    /// A TLV that leaves the header, or too many of them.
    #[error("proxy header has a broken extension")]
    Tlv,
    /// The stated checksum is not the header's.
    #[error("proxy header has a wrong checksum")]
    Checksum,
}

/// Judges the first bytes of a connection.
///
/// # Errors
/// A header that begins right and goes wrong: the connection must be closed, since its next bytes have no
/// defined meaning.
pub fn parse(first: &[u8]) -> Result<Proxied, ProxyError> {
    if begins(first, V2_SIGNATURE) {
        return if first.len() < 16 { Ok(Proxied::More) } else { version_2(first) };
    }
    if begins(first, V1_SIGNATURE) {
        return version_1(first);
    }
    Ok(Proxied::Absent)
}

/// Whether `bytes` is the signature, or could become it with more bytes.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    let n = bytes.len().min(signature.len());
    bytes.get(..n) == signature.get(..n)
}

fn version_1(first: &[u8]) -> Result<Proxied, ProxyError> {
    let window = first.get(..V1_MAX_BYTES).unwrap_or(first);
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() == V1_MAX_BYTES { Err(ProxyError::Endless) } else { Ok(Proxied::More) };
    };
    let line = window.get(..end).and_then(|l| l.strip_suffix(b"\r")).ok_or(ProxyError::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| ProxyError::Line)?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return Err(ProxyError::Line);
    }
    let mut header = Header { version: 1, ..Header::default() };
    match words.next() {
        // What follows UNKNOWN must be ignored, and the socket's own addresses count.
        Some("UNKNOWN") => header.local = true,
        Some(family @ ("TCP4" | "TCP6")) => {
            let [Some(src), Some(dst), Some(sport), Some(dport), None] =
                std::array::from_fn(|_| words.next())
            else {
                return Err(ProxyError::Line);
            };
            header.transport = Transport::Stream;
            header.source = Some(text_address(family, src, sport)?);
            header.destination = Some(text_address(family, dst, dport)?);
        }
        _ => return Err(ProxyError::Line),
    }
    Ok(Proxied::Header { header: Box::new(header), len: end + 1 })
}

fn text_address(family: &str, ip: &str, port: &str) -> Result<SocketAddr, ProxyError> {
    let ip = if family == "TCP4" {
        ip.parse::<Ipv4Addr>().map(IpAddr::V4)
    } else {
        ip.parse::<Ipv6Addr>().map(IpAddr::V6)
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let canonical = digits && (port.len() == 1 || !port.starts_with('0'));
    match (ip, port.parse::<u16>()) {
        (Ok(ip), Ok(port)) if canonical => Ok(SocketAddr::new(ip, port)),
        _ => Err(ProxyError::Address),
    }
}

fn version_2(first: &[u8]) -> Result<Proxied, ProxyError> {
    let at = |i: usize| first.get(i).copied().unwrap_or(0);
    let (version_command, family) = (at(12), at(13));
    if version_command >> 4 != 2 {
        return Err(ProxyError::Version);
    }
    let local = match version_command & 15 {
        0 => true,
        1 => false,
        _ => return Err(ProxyError::Command),
    };
    let len = 16 + usize::from(u16::from_be_bytes([at(14), at(15)]));
    if len > V2_MAX_BYTES {
        return Err(ProxyError::Long);
    }
    let Some(whole) = first.get(..len) else { return Ok(Proxied::More) };
    let body = whole.get(16..).unwrap_or_default();
    let mut header = Header { version: 2, local, ..Header::default() };
    let addresses = binary_addresses(family, body, &mut header, local)?;
    let tlvs = body.get(addresses..).ok_or(ProxyError::Short)?;
    // A LOCAL connection's addresses must be ignored, its extensions mean nothing either.
    if !local {
        let start = 16 + addresses;
        read_tlvs(tlvs, &mut header, whole, start)?;
    }
    Ok(Proxied::Header { header: Box::new(header), len })
}

/// Reads the address block; how many bytes it takes.
fn binary_addresses(family: u8, body: &[u8], header: &mut Header, local: bool) -> Result<usize, ProxyError> {
    let transport = match family & 15 {
        0 => Transport::Unknown,
        1 => Transport::Stream,
        2 => Transport::Datagram,
        _ => return Err(ProxyError::Family),
    };
    let size = match family >> 4 {
        // Unspecified: whatever stands there is skipped as a whole by who cannot read it.
        0 => return Ok(if local { body.len() } else { 0 }),
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(ProxyError::Family),
    };
    if local {
        return Ok(body.len());
    }
    let block = body.get(..size).ok_or(ProxyError::Short)?;
    header.transport = if size == 216 { Transport::Unix } else { transport };
    if size == 216 {
        return Ok(size);
    }
    let width = (size - 4) / 2;
    let ip = |from: usize| -> Option<IpAddr> {
        let bytes = block.get(from..from + width)?;
        match <[u8; 4]>::try_from(bytes) {
            Ok(four) => Some(IpAddr::from(four)),
            Err(_) => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        }
    };
    let port = |from: usize| Some(u16::from_be_bytes([*block.get(from)?, *block.get(from + 1)?]));
    let address = |i: usize, p: usize| Some(SocketAddr::new(ip(i)?, port(p)?));
    header.source = address(0, 2 * width);
    header.destination = address(width, 2 * width + 2);
    Ok(size)
}

/// Splits `bytes` into `(type, value)`; `None` = it does not come out even, or there are too many.
fn tlvs(
    mut bytes: &[u8],
    mut each: impl FnMut(u8, &[u8], usize) -> Result<(), ProxyError>,
) -> Result<(), ProxyError> {
    let whole = bytes.len();
    let mut seen = 0;
    while let Some((kind, rest)) = bytes.split_first() {
        seen += 1;
        let [high, low, ..] = *rest else { return Err(ProxyError::Tlv) };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let value = rest.get(2..2 + len).filter(|_| seen <= TLVS_MAX).ok_or(ProxyError::Tlv)?;
        each(*kind, value, whole - bytes.len() + 3)?;
        bytes = rest.get(2 + len..).unwrap_or_default();
    }
    Ok(())
}

fn read_tlvs(bytes: &[u8], header: &mut Header, whole: &[u8], start: usize) -> Result<(), ProxyError> {
    tlvs(bytes, |kind, value, at| {
        match kind {
            0x01 => header.alpn = Some(text(value)),
            0x02 if value.len() <= 255 => header.authority = Some(text(value)),
            0x03 => check_sum(value, whole, start + at)?,
            0x04 => {}
            0x05 if value.len() <= 128 => header.unique_id = Some(value.to_vec()),
            0x20 => header.tls = Some(read_tls(value)?),
            0x02 | 0x05 => return Err(ProxyError::Tlv),
            _ => header.others += 1,
        }
        Ok(())
    })
}

fn read_tls(value: &[u8]) -> Result<Tls, ProxyError> {
    let ([client, v0, v1, v2, v3], inner) = value.split_first_chunk::<5>().ok_or(ProxyError::Tlv)?;
    let mut tls = Tls {
        secured: client & 1 != 0,
        certificate: client & 6 != 0,
        // Zero means verified, and only means anything if a certificate was shown.
        verified: client & 6 != 0 && [v0, v1, v2, v3].iter().all(|b| **b == 0),
        ..Tls::default()
    };
    tlvs(inner, |kind, value, _| {
        match kind {
            0x21 => tls.version = Some(text(value)),
            0x22 => tls.common_name = Some(text(value)),
            0x23 => tls.cipher = Some(text(value)),
            _ => {}
        }
        Ok(())
    })?;
    Ok(tls)
}

/// The checksum covers the whole header with its own four bytes as zeros (section 2.2.3).
fn check_sum(value: &[u8], whole: &[u8], at: usize) -> Result<(), ProxyError> {
    let stated = <[u8; 4]>::try_from(value).map(u32::from_be_bytes).map_err(|_| ProxyError::Tlv)?;
    let zeroed = |i: usize, b: u8| if (at..at + 4).contains(&i) { 0 } else { b };
    let sum = crc32c(whole.iter().enumerate().map(|(i, b)| zeroed(i, *b)));
    if sum == stated { Ok(()) } else { Err(ProxyError::Checksum) }
}

/// CRC-32C (Castagnoli), bit by bit: at most 4 KiB once a connection.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn text(value: &[u8]) -> String {
    let cut = value.get(..TLV_TEXT_MAX_BYTES).unwrap_or(value);
    String::from_utf8_lossy(cut).chars().filter(|c| !c.is_control()).collect()
}
