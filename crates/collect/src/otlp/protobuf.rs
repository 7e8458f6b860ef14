//! OTLP in Protobuf, both ways. Field numbers are those of opentelemetry-proto; each message keeps what it does not
//! know.

use super::*;
use crate::Fault;
use crate::proto::{Fields, Wire, Writer};

/// Most attributes, values, events and links of one record, of a resource or of a scope, nested ones counted: each takes
/// many times the two bytes that it may be long.
pub const VALUES_MAX: usize = 4_096;

/// How many of [`VALUES_MAX`] may still come.
#[derive(Debug)]
pub struct Left(std::cell::Cell<usize>);

impl Default for Left {
    fn default() -> Left {
        Left(std::cell::Cell::new(VALUES_MAX))
    }
}

impl Left {
    /// One more.
    fn take(&self) -> Result<(), Fault> {
        let left = self.0.get().checked_sub(1).ok_or(Fault::new(0, "more values than the bound"))?;
        self.0.set(left);
        Ok(())
    }
}

/// A record that knows its Protobuf form. Sealed: only this crate's records.
pub trait Coded {
    #[doc(hidden)]
    fn read(bytes: &[u8], left: &Left) -> Result<Self, Fault>
    where
        Self: Sized;
    #[doc(hidden)]
    fn write(&self, out: &mut Writer);
}

/// Reads an export request.
///
/// # Errors
/// The rule broken, at an offset inside the message that breaks it.
pub fn from_protobuf<T: Item>(bytes: &[u8]) -> Result<Request<T>, Fault> {
    // Of each list below there is one member: a receiver has taken requests apart.
    let mut request = Request { groups: Vec::with_capacity(1) };
    let mut fields = Fields::new(bytes);
    while let Some((number, wire)) = fields.read()? {
        if number == 1 {
            request.groups.push(group(wire.bytes())?);
        }
    }
    Ok(request)
}

/// Writes an export request, fields by their numbers, unknown ones last.
pub fn to_protobuf<T: Item>(request: &Request<T>) -> Vec<u8> {
    let mut out = Writer::new();
    for group in &request.groups {
        out.message(1, |out| {
            if let Some(resource) = &group.resource {
                out.message(1, |out| resource.write(out));
            }
            for scoped in &group.scopes {
                out.message(2, |out| {
                    if let Some(scope) = &scoped.scope {
                        out.message(1, |out| scope.write(out));
                    }
                    scoped.items.iter().for_each(|item| out.message(2, |out| item.write(out)));
                    out.bytes(3, scoped.schema_url.as_bytes());
                    out.whole(&scoped.unknown);
                });
            }
            out.bytes(3, group.schema_url.as_bytes());
            out.whole(&group.unknown);
        });
    }
    out.done()
}

/// Calls `take` with each field; those that it does not know go to the bytes that are returned.
fn each<'a>(
    bytes: &'a [u8],
    mut take: impl FnMut(u32, Wire<'a>) -> Result<bool, Fault>,
) -> Result<Vec<u8>, Fault> {
    let mut fields = Fields::new(bytes);
    let mut unknown = Vec::new();
    while let Some((number, wire, whole)) = fields.read_whole()? {
        if !take(number, wire)? {
            unknown.extend_from_slice(whole);
        }
    }
    Ok(unknown)
}

fn group<T: Item>(bytes: &[u8]) -> Result<Group<T>, Fault> {
    let mut group = Group {
        resource: None,
        scopes: Vec::with_capacity(1),
        schema_url: String::new(),
        unknown: Vec::new(),
    };
    group.unknown = each(bytes, |number, wire| {
        match number {
            1 => group.resource = Some(Resource::read(wire.bytes(), &Left::default())?),
            2 => group.scopes.push(scoped(wire.bytes())?),
            3 => group.schema_url = wire.text().into_owned(),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(group)
}

fn scoped<T: Item>(bytes: &[u8]) -> Result<Scoped<T>, Fault> {
    let mut scoped =
        Scoped { scope: None, items: Vec::with_capacity(1), schema_url: String::new(), unknown: Vec::new() };
    scoped.unknown = each(bytes, |number, wire| {
        match number {
            1 => scoped.scope = Some(Scope::read(wire.bytes(), &Left::default())?),
            2 => scoped.items.push(T::read(wire.bytes(), &Left::default())?),
            3 => scoped.schema_url = wire.text().into_owned(),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(scoped)
}

fn any(bytes: &[u8], depth: usize, left: &Left) -> Result<Any, Fault> {
    left.take()?;
    if depth > VALUE_DEPTH_MAX {
        return Err(Fault::new(0, "a value is nested deeper than the bound"));
    }
    let mut value = Any::Empty;
    each(bytes, |number, wire| {
        value = match number {
            1 => Any::Text(wire.text().into_owned()),
            2 => Any::Bool(wire.uint() != 0),
            3 => Any::Int(wire.int()),
            4 => Any::Double(wire.double()),
            5 => Any::Array(list(wire.bytes(), |one| any(one, depth + 1, left))?),
            6 => Any::Map(list(wire.bytes(), |one| pair(one, depth + 1, left))?),
            7 => Any::Bytes(wire.bytes().to_vec()),
            _ => return Ok(false),
        };
        Ok(true)
    })?;
    Ok(value)
}

/// `ArrayValue` and `KeyValueList`: field 1, repeated.
fn list<T>(bytes: &[u8], mut one: impl FnMut(&[u8]) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
    let mut out = Vec::new();
    each(bytes, |number, wire| {
        if number == 1 {
            out.push(one(wire.bytes())?);
        }
        Ok(number == 1)
    })?;
    Ok(out)
}

fn pair(bytes: &[u8], depth: usize, left: &Left) -> Result<Pair, Fault> {
    left.take()?;
    let mut pair = Pair::default();
    each(bytes, |number, wire| {
        match number {
            1 => pair.key = wire.text().into_owned(),
            2 => pair.value = Some(any(wire.bytes(), depth, left)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(pair)
}

fn write_any(value: &Any, out: &mut Writer) {
    match value {
        Any::Empty => {}
        Any::Text(text) => out.bytes_always(1, text.as_bytes()),
        Any::Bool(value) => out.uint_always(2, u64::from(*value)),
        Any::Int(value) => out.uint_always(3, *value as u64),
        Any::Double(value) => out.fixed64_always(4, value.to_bits()),
        Any::Array(values) => {
            out.message(5, |out| values.iter().for_each(|value| out.message(1, |out| write_any(value, out))));
        }
        Any::Map(pairs) => out.message(6, |out| write_pairs(1, pairs, out)),
        Any::Bytes(bytes) => out.bytes_always(7, bytes),
    }
}

fn write_pairs(number: u32, pairs: &[Pair], out: &mut Writer) {
    for pair in pairs {
        out.message(number, |out| {
            out.bytes(1, pair.key.as_bytes());
            if let Some(value) = &pair.value {
                out.message(2, |out| write_any(value, out));
            }
        });
    }
}

impl Coded for Resource {
    fn read(bytes: &[u8], left: &Left) -> Result<Resource, Fault> {
        let mut resource = Resource::default();
        resource.unknown = each(bytes, |number, wire| {
            match number {
                1 => resource.attributes.push(pair(wire.bytes(), 0, left)?),
                2 => resource.dropped = wire.uint() as u32,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(resource)
    }
    fn write(&self, out: &mut Writer) {
        write_pairs(1, &self.attributes, out);
        out.uint(2, u64::from(self.dropped));
        out.whole(&self.unknown);
    }
}

impl Coded for Scope {
    fn read(bytes: &[u8], left: &Left) -> Result<Scope, Fault> {
        let mut scope = Scope::default();
        scope.unknown = each(bytes, |number, wire| {
            match number {
                1 => scope.name = wire.text().into_owned(),
                2 => scope.version = wire.text().into_owned(),
                3 => scope.attributes.push(pair(wire.bytes(), 0, left)?),
                4 => scope.dropped = wire.uint() as u32,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(scope)
    }
    fn write(&self, out: &mut Writer) {
        out.bytes(1, self.name.as_bytes());
        out.bytes(2, self.version.as_bytes());
        write_pairs(3, &self.attributes, out);
        out.uint(4, u64::from(self.dropped));
        out.whole(&self.unknown);
    }
}

impl Coded for LogRecord {
    fn read(bytes: &[u8], left: &Left) -> Result<LogRecord, Fault> {
        let mut log = LogRecord::default();
        log.unknown = each(bytes, |number, wire| {
            match number {
                1 => log.time = wire.uint(),
                2 => log.severity = wire.int() as i32,
                3 => log.severity_text = wire.text().into_owned(),
                5 => log.body = Some(any(wire.bytes(), 0, left)?),
                6 => log.attributes.push(pair(wire.bytes(), 0, left)?),
                7 => log.dropped = wire.uint() as u32,
                8 => log.flags = wire.uint() as u32,
                9 => log.trace = wire.bytes().to_vec(),
                10 => log.span = wire.bytes().to_vec(),
                11 => log.observed = wire.uint(),
                12 => log.event_name = wire.text().into_owned(),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(log)
    }
    fn write(&self, out: &mut Writer) {
        out.fixed64(1, self.time);
        out.uint(2, i64::from(self.severity) as u64);
        out.bytes(3, self.severity_text.as_bytes());
        if let Some(body) = &self.body {
            out.message(5, |out| write_any(body, out));
        }
        write_pairs(6, &self.attributes, out);
        out.uint(7, u64::from(self.dropped));
        out.fixed32(8, self.flags);
        out.bytes(9, &self.trace);
        out.bytes(10, &self.span);
        out.fixed64(11, self.observed);
        out.bytes(12, self.event_name.as_bytes());
        out.whole(&self.unknown);
    }
}

impl Coded for Span {
    fn read(bytes: &[u8], left: &Left) -> Result<Span, Fault> {
        let mut span = Span::default();
        span.unknown = each(bytes, |number, wire| {
            match number {
                1 => span.trace = wire.bytes().to_vec(),
                2 => span.id = wire.bytes().to_vec(),
                3 => span.state = wire.text().into_owned(),
                4 => span.parent = wire.bytes().to_vec(),
                5 => span.name = wire.text().into_owned(),
                6 => span.kind = wire.int() as i32,
                7 => span.start = wire.uint(),
                8 => span.end = wire.uint(),
                9 => span.attributes.push(pair(wire.bytes(), 0, left)?),
                10 => span.dropped = wire.uint() as u32,
                11 => span.events.push(SpanEvent::read(wire.bytes(), left)?),
                12 => span.dropped_events = wire.uint() as u32,
                13 => span.links.push(Link::read(wire.bytes(), left)?),
                14 => span.dropped_links = wire.uint() as u32,
                15 => span.status = Some(Status::read(wire.bytes(), left)?),
                16 => span.flags = wire.uint() as u32,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(span)
    }
    fn write(&self, out: &mut Writer) {
        out.bytes(1, &self.trace);
        out.bytes(2, &self.id);
        out.bytes(3, self.state.as_bytes());
        out.bytes(4, &self.parent);
        out.bytes(5, self.name.as_bytes());
        out.uint(6, i64::from(self.kind) as u64);
        out.fixed64(7, self.start);
        out.fixed64(8, self.end);
        write_pairs(9, &self.attributes, out);
        out.uint(10, u64::from(self.dropped));
        self.events.iter().for_each(|event| out.message(11, |out| event.write(out)));
        out.uint(12, u64::from(self.dropped_events));
        self.links.iter().for_each(|link| out.message(13, |out| link.write(out)));
        out.uint(14, u64::from(self.dropped_links));
        if let Some(status) = &self.status {
            out.message(15, |out| status.write(out));
        }
        out.fixed32(16, self.flags);
        out.whole(&self.unknown);
    }
}

impl Coded for SpanEvent {
    fn read(bytes: &[u8], left: &Left) -> Result<SpanEvent, Fault> {
        left.take()?;
        let mut event = SpanEvent::default();
        event.unknown = each(bytes, |number, wire| {
            match number {
                1 => event.time = wire.uint(),
                2 => event.name = wire.text().into_owned(),
                3 => event.attributes.push(pair(wire.bytes(), 0, left)?),
                4 => event.dropped = wire.uint() as u32,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(event)
    }
    fn write(&self, out: &mut Writer) {
        out.fixed64(1, self.time);
        out.bytes(2, self.name.as_bytes());
        write_pairs(3, &self.attributes, out);
        out.uint(4, u64::from(self.dropped));
        out.whole(&self.unknown);
    }
}

impl Coded for Link {
    fn read(bytes: &[u8], left: &Left) -> Result<Link, Fault> {
        left.take()?;
        let mut link = Link::default();
        link.unknown = each(bytes, |number, wire| {
            match number {
                1 => link.trace = wire.bytes().to_vec(),
                2 => link.span = wire.bytes().to_vec(),
                3 => link.state = wire.text().into_owned(),
                4 => link.attributes.push(pair(wire.bytes(), 0, left)?),
                5 => link.dropped = wire.uint() as u32,
                6 => link.flags = wire.uint() as u32,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(link)
    }
    fn write(&self, out: &mut Writer) {
        out.bytes(1, &self.trace);
        out.bytes(2, &self.span);
        out.bytes(3, self.state.as_bytes());
        write_pairs(4, &self.attributes, out);
        out.uint(5, u64::from(self.dropped));
        out.fixed32(6, self.flags);
        out.whole(&self.unknown);
    }
}

impl Coded for Status {
    fn read(bytes: &[u8], _: &Left) -> Result<Status, Fault> {
        let mut status = Status::default();
        status.unknown = each(bytes, |number, wire| {
            match number {
                2 => status.message = wire.text().into_owned(),
                3 => status.code = wire.int() as i32,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(status)
    }
    fn write(&self, out: &mut Writer) {
        out.bytes(2, self.message.as_bytes());
        out.uint(3, i64::from(self.code) as u64);
        out.whole(&self.unknown);
    }
}
