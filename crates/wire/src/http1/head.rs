//! Where a head ends, and what its framing fields say. Called once for each head; refuses, never repairs.

use super::{FIELDS_MAX, HEAD_MAX, Rule, target};
use httparse::{EMPTY_HEADER, Header, ParserConfig, Status};
use memchr::memchr;
use std::mem::MaybeUninit;

/// How far the search for the end of a head (or trailer section) has come. Reset for each section.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    scanned: usize,
    line_start: usize,
}

impl Scan {
    /// Length of the section that begins at `buf[0]` and ends with an empty line; `None` = hold and read on.
    ///
    /// Each byte is looked at once, however the stream is split. `empty` allows the section to be only
    /// the empty line, which is right for trailers and wrong for heads.
    pub(super) fn end(&mut self, buf: &[u8], empty: bool) -> Result<Option<usize>, Rule> {
        loop {
            let rest = buf.get(self.scanned..).unwrap_or_default();
            let Some(at) = memchr(b'\n', rest) else {
                self.scanned = buf.len();
                return if buf.len() > HEAD_MAX { Err(Rule::HeadTooLarge) } else { Ok(None) };
            };
            let newline = self.scanned + at;
            if newline == 0 || buf.get(newline - 1) != Some(&b'\r') {
                return Err(Rule::BareLf);
            }
            if newline >= HEAD_MAX {
                return Err(Rule::HeadTooLarge);
            }
            let blank = newline - self.line_start == 1;
            if blank && self.line_start == 0 && !empty {
                return Err(Rule::EmptyLine);
            }
            if blank {
                return Ok(Some(newline + 1));
            }
            self.line_start = newline + 1;
            self.scanned = newline + 1;
        }
    }
}

/// How the length of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// No body.
    None,
    /// So many bytes; never 0.
    Bytes(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the connection closes; responses only.
    UntilClose,
}

/// What framing needs of a request head.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestHead {
    pub(super) length: Length,
    pub(super) head_method: bool,
    pub(super) connect: bool,
    pub(super) upgrade: bool,
    /// The client will send no further request on this connection.
    pub(super) last: bool,
}

/// What framing needs of a response head.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseHead<'h> {
    pub(super) status: u16,
    fields: Framing<'h>,
    version: u8,
}

/// Reads a complete request head.
pub(super) fn request(head: &[u8]) -> Result<RequestHead, Rule> {
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, &mut slots) {
        Ok(Status::Complete(n)) if n == head.len() => {}
        Ok(_) => return Err(Rule::RequestLine),
        Err(e) => return Err(classify(e, head, Rule::RequestLine)),
    }
    let (Some(method), Some(path), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Rule::RequestLine);
    };
    // A fragment never travels in a target (RFC 9112 section 3.2): some readers cut it off, others keep it.
    if !path.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b'#') {
        return Err(Rule::TargetChars);
    }
    let framing = Framing::read(parsed.headers, |field| is_tight(head, field))?;
    let connect = method == "CONNECT";
    check_target(&framing, version, method, path)?;
    let length = framing.length(version)?.unwrap_or(Length::None);
    if length != Length::None && (connect || method == "TRACE") {
        return Err(Rule::BodyNotAllowed);
    }
    let upgrade = framing.upgrade && framing.connection_upgrade && version == 1;
    let last = framing.close || (version == 0 && !framing.keep_alive);
    Ok(RequestHead {
        length,
        head_method: method == "HEAD",
        connect,
        upgrade,
        last: last && !upgrade && !connect,
    })
}

/// Reads a complete response head.
pub(super) fn response(head: &[u8]) -> Result<ResponseHead<'_>, Rule> {
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    match ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, &mut slots) {
        Ok(Status::Complete(n)) if n == head.len() => {}
        Ok(_) => return Err(Rule::StatusLine),
        Err(e) => return Err(classify(e, head, Rule::StatusLine)),
    }
    let (Some(status), Some(version)) = (parsed.code, parsed.version) else {
        return Err(Rule::StatusLine);
    };
    if !(100..=999).contains(&status) {
        return Err(Rule::StatusLine);
    }
    Ok(ResponseHead { status, version, fields: Framing::read(parsed.headers, |_| true)? })
}

impl ResponseHead<'_> {
    /// Length of the body of a final response that is not to HEAD and not a tunnel.
    pub(super) fn length(&self) -> Result<Length, Rule> {
        let length = self.fields.length(self.version)?;
        match self.status {
            100..=199 | 204 => match length {
                None | Some(Length::None) => Ok(Length::None),
                Some(_) => Err(Rule::BodyNotAllowed),
            },
            304 => Ok(Length::None),
            _ => Ok(length.unwrap_or(Length::UntilClose)),
        }
    }
}

/// Checks a trailer section, its last empty line included.
pub(super) fn trailers(section: &[u8]) -> Result<(), Rule> {
    let mut slots = [EMPTY_HEADER; FIELDS_MAX];
    let fields = match httparse::parse_headers(section, &mut slots) {
        Ok(Status::Complete((n, fields))) if n == section.len() => fields,
        Ok(_) => return Err(Rule::FieldName),
        Err(e) => return Err(classify(e, section, Rule::FieldName)),
    };
    let forbidden = ["content-length", "transfer-encoding", "host", "connection", "upgrade"];
    if fields.iter().any(|f| forbidden.iter().any(|name| f.name.eq_ignore_ascii_case(name))) {
        return Err(Rule::TrailerForbidden);
    }
    Ok(())
}

/// The fields that decide where a message ends and whom it is for.
#[derive(Clone, Copy, Debug, Default)]
struct Framing<'h> {
    content_length: Option<u64>,
    chunked: bool,
    host: Option<&'h [u8]>,
    upgrade: bool,
    connection_upgrade: bool,
    close: bool,
    keep_alive: bool,
}

impl<'h> Framing<'h> {
    /// `is_tight` is asked about each field that says how long a body is.
    fn read(fields: &[Header<'h>], is_tight: impl Fn(&Header<'_>) -> bool) -> Result<Framing<'h>, Rule> {
        let mut framing = Framing::default();
        for field in fields {
            if framing.field(field.name, field.value)? && !is_tight(field) {
                return Err(Rule::FramingSpace);
            }
        }
        if framing.content_length.is_some() && framing.chunked {
            return Err(Rule::ClTe);
        }
        Ok(framing)
    }

    /// Takes one field in; whether it is one that says how long a body is.
    fn field(&mut self, name: &str, value: &'h [u8]) -> Result<bool, Rule> {
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.set_host(value)?,
            7 if name.eq_ignore_ascii_case("upgrade") => self.upgrade = true,
            10 if name.eq_ignore_ascii_case("connection") => self.options(value),
            14 if name.eq_ignore_ascii_case("content-length") => {
                self.set_length(value)?;
                return Ok(true);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                if self.chunked {
                    return Err(Rule::TeDuplicate);
                }
                self.chunked = transfer_encoding(value, self.content_length.is_some())?;
                return Ok(true);
            }
            14 | 17 if is_framing_alias(name) => return Err(Rule::FramingAlias),
            _ => {}
        }
        Ok(false)
    }

    fn options(&mut self, value: &[u8]) {
        for option in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            self.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn set_length(&mut self, value: &[u8]) -> Result<(), Rule> {
        let before = self.content_length.replace(content_length(value)?);
        match before {
            None => Ok(()),
            Some(_) if self.chunked => Err(Rule::ClTe),
            Some(_) => Err(Rule::ClDuplicate),
        }
    }

    fn set_host(&mut self, value: &'h [u8]) -> Result<(), Rule> {
        if !target::is_authority(value) {
            return Err(Rule::HostInvalid);
        }
        if self.host.replace(value).is_some() { Err(Rule::HostDuplicate) } else { Ok(()) }
    }

    /// What the framing fields say; `None` = nothing.
    fn length(&self, version: u8) -> Result<Option<Length>, Rule> {
        match (self.chunked, self.content_length) {
            (true, _) if version == 0 => Err(Rule::TeHttp10),
            (true, _) => Ok(Some(Length::Chunked)),
            (false, Some(0)) => Ok(Some(Length::None)),
            (false, Some(n)) => Ok(Some(Length::Bytes(n))),
            (false, None) => Ok(None),
        }
    }
}

fn check_target(framing: &Framing<'_>, version: u8, method: &str, path: &str) -> Result<(), Rule> {
    if framing.host.is_none() && version == 1 {
        return Err(Rule::HostMissing);
    }
    let path = path.as_bytes();
    let authority = match (target::form(path).ok_or(Rule::TargetForm)?, method) {
        (target::Form::Authority, "CONNECT") if target::has_port(path) => path,
        (_, "CONNECT") | (target::Form::Authority, _) => return Err(Rule::TargetForm),
        (target::Form::Origin, _) | (target::Form::Asterisk, "OPTIONS") => return Ok(()),
        (target::Form::Asterisk, _) => return Err(Rule::TargetForm),
        (target::Form::Absolute, _) => target::authority(path).ok_or(Rule::TargetForm)?,
    };
    match framing.host {
        Some(host) if !host.eq_ignore_ascii_case(authority) => Err(Rule::AbsoluteFormMismatch),
        _ => Ok(()),
    }
}

/// Whether nothing but spaces stands before the value of `field` in `head`, and nothing behind it.
fn is_tight(head: &[u8], field: &Header<'_>) -> bool {
    let start = head.as_ptr() as usize;
    let offset = |p: *const u8| (p as usize).checked_sub(start).filter(|at| *at <= head.len());
    let (Some(name), Some(value)) = (offset(field.name.as_ptr()), offset(field.value.as_ptr())) else {
        return false;
    };
    let between = head.get(name + field.name.len()..value).and_then(|b| b.strip_prefix(b":"));
    let behind = head.get(value + field.value.len()..).and_then(<[u8]>::first);
    between.is_some_and(|b| b.iter().all(|b| *b == b' ')) && behind == Some(&b'\r')
}

/// 1 to 19 digits and nothing else.
fn content_length(value: &[u8]) -> Result<u64, Rule> {
    if memchr(b',', value).is_some() {
        return Err(Rule::ClList);
    }
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Rule::ClInvalid);
    }
    let number = value.iter().fold(0_u64, |n, digit| n * 10 + u64::from(digit - b'0'));
    if number > i64::MAX as u64 { Err(Rule::ClInvalid) } else { Ok(number) }
}

/// Only `chunked` alone is let through; `with_length` names the graver rule when both are there.
fn transfer_encoding(value: &[u8], with_length: bool) -> Result<bool, Rule> {
    if with_length {
        return Err(Rule::ClTe);
    }
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(true);
    }
    let last = value.rsplit(|b| *b == b',').next().unwrap_or_default().trim_ascii();
    Err(if last.eq_ignore_ascii_case(b"chunked") { Rule::TeUnknown } else { Rule::TeNotChunked })
}

/// `Content_Length`, `Transfer.Encoding`: servers that map fields to variables read them as the real ones.
fn is_framing_alias(name: &str) -> bool {
    let dashed = |b: u8| if b.is_ascii_alphanumeric() { b.to_ascii_lowercase() } else { b'-' };
    ["content-length", "transfer-encoding"]
        .iter()
        .any(|known| known.len() == name.len() && name.bytes().map(dashed).eq(known.bytes()))
}

/// Names the rule behind a parser error by looking at the lines again. Runs for refused heads only.
fn classify(error: httparse::Error, head: &[u8], line: Rule) -> Rule {
    if error == httparse::Error::TooManyHeaders {
        return Rule::TooManyFields;
    }
    if memchr(0, head).is_some() {
        return Rule::Nul;
    }
    let mut at = 0;
    for cr in memchr::memchr_iter(b'\r', head) {
        if head.get(cr + 1) != Some(&b'\n') {
            return Rule::BareCr;
        }
        let text = head.get(at..cr).unwrap_or_default();
        let first = at == 0;
        at = cr + 2;
        // A start line that is wrong is named before any later field.
        let start_line = matches!(line, Rule::RequestLine | Rule::StatusLine);
        if first && start_line {
            match error {
                httparse::Error::Version if names_version(text) => return Rule::Version,
                httparse::Error::Version => return line,
                httparse::Error::Token | httparse::Error::Status => return line,
                _ => continue,
            }
        }
        if let Some(rule) = field_line(text, first) {
            return rule;
        }
    }
    match error {
        httparse::Error::HeaderValue => Rule::FieldValue,
        httparse::Error::HeaderName => Rule::FieldName,
        _ => line,
    }
}

/// Whether a word of a start line is an HTTP version, however odd: then the version is what is wrong.
fn names_version(start_line: &[u8]) -> bool {
    let version = |word: &[u8]| match word.strip_prefix(b"HTTP/") {
        Some([major, b'.', minor]) => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    };
    let mut words = start_line.split(|b| *b == b' ');
    words.next().is_some_and(version) || (words.nth(1).is_some_and(version) && words.next().is_none())
}

fn field_line(text: &[u8], first: bool) -> Option<Rule> {
    match text.first() {
        None => return None,
        Some(b' ' | b'\t') => return Some(if first { Rule::FieldName } else { Rule::ObsFold }),
        Some(_) => {}
    }
    let Some(colon) = memchr(b':', text) else { return Some(Rule::FieldName) };
    let name = text.get(..colon).unwrap_or_default();
    match name.last() {
        None => Some(Rule::FieldName),
        Some(b' ' | b'\t') => Some(Rule::SpaceBeforeColon),
        Some(_) => None,
    }
}
