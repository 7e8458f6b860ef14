//! Headers of streamable HTTP that repeat the message (revision 2026-07-28, "Standard request headers").
//!
//! A header that disagrees with the body is how a caller makes the intermediary that reads the header and the
//! server that reads the body see two different calls.

use super::{STATELESS, methods};
use crate::jsonrpc::{Kind, Message};
use std::borrow::Cow;

/// Marks of a value in base64.
const OPENS: &[u8] = b"=?base64?";
const CLOSES: &[u8] = b"?=";

/// The headers of one request, as they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `MCP-Protocol-Version`.
    pub revision: Option<&'a [u8]>,
    /// `Mcp-Method`.
    pub method: Option<&'a [u8]>,
    /// `Mcp-Name`.
    pub name: Option<&'a [u8]>,
    /// One of them stands there more than once.
    pub repeated: bool,
}

/// How headers and message disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// A header stands there twice.
    Repeated,
    /// `Mcp-Method` is another method than the body's.
    Method,
    /// `Mcp-Method` is missing, where the revision demands it.
    NoMethod,
    /// `Mcp-Name` names another thing than the body.
    Name,
    /// `Mcp-Name` is missing, where the revision demands it.
    NoName,
    /// `MCP-Protocol-Version` is another revision than the body's.
    Revision,
    /// A batch cannot be described by the headers.
    Batch,
}

impl Mismatch {
    /// In words, without a byte of the request.
    pub fn name(self) -> &'static str {
        match self {
            Mismatch::Repeated => "a routing header stands there twice",
            Mismatch::Method => "Mcp-Method disagrees with the body's method",
            Mismatch::NoMethod => "Mcp-Method is missing",
            Mismatch::Name => "Mcp-Name disagrees with the body",
            Mismatch::NoName => "Mcp-Name is missing",
            Mismatch::Revision => "MCP-Protocol-Version disagrees with the body",
            Mismatch::Batch => "Mcp-Method on a batch",
        }
    }
}

impl Headers<'_> {
    /// How they disagree with `message`, which is alone in its body unless `batch`.
    pub fn mismatch(&self, message: &Message, batch: bool) -> Option<Mismatch> {
        if self.repeated {
            return Some(Mismatch::Repeated);
        }
        if batch {
            return (self.method.is_some() || self.name.is_some()).then_some(Mismatch::Batch);
        }
        let stateless = self.revision == Some(STATELESS.as_bytes());
        let method = message.method.as_deref();
        match self.method {
            Some(header) if Some(header) != method.map(str::as_bytes) => return Some(Mismatch::Method),
            None if stateless && message.kind() == Kind::Request => return Some(Mismatch::NoMethod),
            _ => {}
        }
        // In `initialize` the body proposes a revision; the header, if any, belongs to another one.
        let proposed = method == Some("initialize");
        if let (Some(header), Some(body)) = (self.revision, &message.revision)
            && !proposed
            && method.is_some()
            && header != body.as_bytes()
        {
            return Some(Mismatch::Revision);
        }
        self.name_mismatch(message, stateless)
    }

    fn name_mismatch(&self, message: &Message, stateless: bool) -> Option<Mismatch> {
        let method = message.method.as_deref().and_then(methods::method)?;
        let body = match method.name {
            "tools/call" | "prompts/get" => message.name.as_deref(),
            n if n.starts_with("resources/") => message.uri.as_deref(),
            // For other methods the header has no meaning, so it cannot mislead by disagreeing.
            _ => return None,
        };
        let demanded = matches!(method.name, "tools/call" | "prompts/get" | "resources/read");
        match (self.name, body) {
            (Some(header), body) if name_value(header).as_deref() != body => Some(Mismatch::Name),
            (None, Some(_)) if stateless && demanded => Some(Mismatch::NoName),
            _ => None,
        }
    }
}

/// The text that a header's value stands for: itself, or what `=?base64?…?=` holds. `None` = neither.
pub fn name_value(header: &[u8]) -> Option<Cow<'_, str>> {
    let Some(inner) = header.strip_prefix(OPENS).and_then(|h| h.strip_suffix(CLOSES)) else {
        return std::str::from_utf8(header).ok().map(Cow::Borrowed);
    };
    String::from_utf8(base64(inner)?).ok().map(Cow::Owned)
}

/// Canonical base64 (RFC 4648 section 4) with its padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|b| **b == b'=').count();
    let (digits, _) = text.split_at_checked(text.len() - padding)?;
    if padding > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits) = (0_u32, 0);
    for b in digits {
        held = (held << 6) | u32::from(digit(*b)?);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xff).unwrap_or_default());
        }
        held &= (1 << bits) - 1;
    }
    // Bits that no byte takes must be zero, or one text would have several spellings.
    (held == 0).then_some(out)
}

fn digit(b: u8) -> Option<u8> {
    Some(match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> Message {
        crate::jsonrpc::read(json.as_bytes()).0.remove(0)
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}}"#;

    #[test]
    fn headers_that_repeat_the_body_agree() {
        let call = message(CALL);
        let stateless = Headers {
            revision: Some(b"2026-07-28"),
            method: Some(b"tools/call"),
            name: Some(b"add"),
            repeated: false,
        };
        assert_eq!(stateless.mismatch(&call, false), None);
        assert_eq!(Headers { name: Some(b"=?base64?YWRk?="), ..stateless }.mismatch(&call, false), None);
        assert_eq!(Headers::default().mismatch(&call, false), None);
        let old = Headers { revision: Some(b"2025-06-18"), ..Headers::default() };
        assert_eq!(old.mismatch(&call, false), None);
    }

    #[test]
    fn each_disagreement_has_its_name() {
        let call = message(CALL);
        let good = Headers {
            revision: Some(b"2026-07-28"),
            method: Some(b"tools/call"),
            name: Some(b"add"),
            repeated: false,
        };
        for (headers, batch, wanted) in [
            (Headers { method: Some(b"tools/list"), ..good }, false, Mismatch::Method),
            (Headers { method: Some(b"Tools/call"), ..good }, false, Mismatch::Method),
            (Headers { method: None, ..good }, false, Mismatch::NoMethod),
            (Headers { name: Some(b"sub"), ..good }, false, Mismatch::Name),
            (Headers { name: Some(b"=?base64?YWRl?="), ..good }, false, Mismatch::Name),
            (Headers { name: Some(b"=?base64?YWR?="), ..good }, false, Mismatch::Name),
            (Headers { name: None, ..good }, false, Mismatch::NoName),
            (Headers { repeated: true, ..good }, false, Mismatch::Repeated),
            (good, true, Mismatch::Batch),
        ] {
            assert_eq!(headers.mismatch(&call, batch), Some(wanted));
        }
        let other = message(
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2025-11-25"}}}"#,
        );
        let headers = Headers { method: Some(b"ping"), name: None, ..good };
        assert_eq!(headers.mismatch(&other, false), Some(Mismatch::Revision));
    }

    #[test]
    fn only_canonical_base64_is_a_name() {
        assert_eq!(name_value(b"=?base64?w6k=?=").as_deref(), Some("é"));
        assert_eq!(name_value(b"=?base64??=").as_deref(), Some(""));
        for bad in [&b"=?base64?w6l=?="[..], b"=?base64?w6k?=", b"=?base64?====?=", b"=?base64?/w==?="] {
            assert_eq!(name_value(bad), None);
        }
        assert_eq!(name_value(b"plain").as_deref(), Some("plain"));
        assert_eq!(name_value(b"\xff"), None);
    }
}
