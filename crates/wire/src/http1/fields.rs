//! The decoder's view of a head that the framer let through: start line and fields, borrowed, nothing kept.

use super::FIELDS_MAX;
use crate::h2::packed_iter;
use httparse::{Header, Status};
use std::mem::MaybeUninit;

/// Room for the fields of one head; the caller keeps it while it reads them. Three kilobytes, so it begins
/// empty and not filled.
pub struct Slots<'h>([MaybeUninit<Header<'h>>; FIELDS_MAX]);

impl Default for Slots<'_> {
    fn default() -> Self {
        Slots([const { MaybeUninit::uninit() }; FIELDS_MAX])
    }
}

/// A request head.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method as sent.
    pub method: &'a str,
    /// Target as sent.
    pub target: &'a [u8],
    /// Minor version, 0 or 1.
    pub version: u8,
    /// The fields.
    pub fields: Fields<'a>,
}

/// A response head.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// Status code.
    pub status: u16,
    /// Minor version, 0 or 1.
    pub version: u8,
    /// The fields.
    pub fields: Fields<'a>,
}

/// Fields in wire order: of a parsed HTTP/1 head, or of an HTTP/2 header block.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(Inner<'a>);

#[derive(Clone, Copy, Debug)]
enum Inner<'a> {
    Parsed(&'a [Header<'a>]),
    Packed(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// The fields of a [`Packed`](crate::h2::Packed) list.
    pub fn packed(bytes: &'a [u8]) -> Fields<'a> {
        Fields(Inner::Packed(bytes))
    }

    /// Name as sent and value without surrounding white space.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let (parsed, packed) = match self.0 {
            Inner::Parsed(headers) => (headers, &[][..]),
            Inner::Packed(bytes) => (&[][..], bytes),
        };
        parsed.iter().map(|f| (f.name, f.value)).chain(packed_iter(packed))
    }

    /// Value of the first field of that name, in any case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Reads a request head; `None` for anything that the framer would not have let through.
pub fn request<'a>(head: &'a [u8], slots: &'a mut Slots<'a>) -> Option<Request<'a>> {
    let mut parsed = httparse::Request::new(&mut []);
    let read = parsed.parse_with_uninit_headers(head, &mut slots.0);
    let Ok(Status::Complete(_)) = read else { return None };
    let (method, target, version) = (parsed.method?, parsed.path?, parsed.version?);
    Some(Request {
        method,
        target: target.as_bytes(),
        version,
        fields: Fields(Inner::Parsed(parsed.headers)),
    })
}

/// Reads a response head; `None` for anything that the framer would not have let through.
pub fn response<'a>(head: &'a [u8], slots: &'a mut Slots<'a>) -> Option<Response<'a>> {
    let mut parsed = httparse::Response::new(&mut []);
    let read =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, &mut slots.0);
    let Ok(Status::Complete(_)) = read else { return None };
    Some(Response {
        status: parsed.code?,
        version: parsed.version?,
        fields: Fields(Inner::Parsed(parsed.headers)),
    })
}
