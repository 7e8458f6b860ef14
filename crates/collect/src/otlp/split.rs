//! One export request taken apart into requests of one record each, of the bytes that came.

use super::json::{field, list};
use crate::Fault;
use crate::json::Doc;
use crate::proto::{Fields, Writer};

/// Most items of a request in JSON (members, elements, containers); a node of each costs about 40 bytes.
pub const BATCH_ITEMS_MAX: usize = 1 << 20;

/// Most bytes that the records of one request may have together, each with its resource: a request of many records
/// with one large resource unfolds to the product.
pub const UNFOLDED_MAX: usize = 128 << 20;

/// Which records a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `ExportLogsServiceRequest`
    Logs,
    /// `ExportTraceServiceRequest`
    Traces,
}

impl Signal {
    fn lists(self) -> [&'static str; 3] {
        match self {
            Signal::Logs => <super::LogRecord as super::Item>::LISTS,
            Signal::Traces => <super::Span as super::Item>::LISTS,
        }
    }
}

/// The records of `request`: JSON if it is an object, else Protobuf. Each is a request of its own, in the same
/// encoding, with the resource and scope of the record.
///
/// # Errors
/// The request as a whole is not of its encoding.
pub fn split(signal: Signal, request: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    if is_json(request) { split_json(signal, request) } else { split_protobuf(request) }
}

/// Whether these bytes are a request in JSON. No message of OTLP begins with `{` (a group's beginning).
pub(super) fn is_json(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'{')
}

/// Of a request in Protobuf; logs and traces have the same shape.
///
/// # Errors
/// The rule broken, at an offset inside the message that breaks it.
pub fn split_protobuf(request: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let (mut out, mut unfolded) = (Vec::new(), 0);
    let mut groups = Fields::new(request);
    while let Some((number, wire)) = groups.read()? {
        if number == 1 {
            group(wire.bytes(), &mut out, &mut unfolded)?;
        }
    }
    Ok(out)
}

/// Fields of a message: those number 2, and all others as they lie.
fn seconds(bytes: &[u8]) -> Result<(Vec<&[u8]>, Vec<u8>), Fault> {
    let (mut inner, mut others) = (Vec::new(), Vec::new());
    let mut fields = Fields::new(bytes);
    while let Some((number, wire, whole)) = fields.read_whole()? {
        match number {
            2 => inner.push(wire.bytes()),
            _ => others.extend_from_slice(whole),
        }
    }
    Ok((inner, others))
}

fn push(out: &mut Vec<Vec<u8>>, record: Vec<u8>, unfolded: &mut usize) -> Result<(), Fault> {
    *unfolded += record.len();
    if *unfolded > UNFOLDED_MAX {
        return Err(Fault::new(0, "the records with their resource are larger than the bound"));
    }
    out.push(record);
    Ok(())
}

fn group(bytes: &[u8], out: &mut Vec<Vec<u8>>, unfolded: &mut usize) -> Result<(), Fault> {
    let (scopes, around_scopes) = seconds(bytes)?;
    for scope in scopes {
        let (items, around_items) = seconds(scope)?;
        for item in items {
            let of_scope = around_items.len() + length(item.len());
            let of_resource = around_scopes.len() + length(of_scope);
            let mut one = Writer::with_capacity(length(of_resource));
            one.open(1, of_resource);
            one.whole(&around_scopes);
            one.open(2, of_scope);
            one.whole(&around_items);
            one.bytes_always(2, item);
            push(out, one.done(), unfolded)?;
        }
    }
    Ok(())
}

/// Bytes of a field that holds so many: a tag of one byte, the length, and these.
fn length(bytes: usize) -> usize {
    let bits = (u64::BITS - (bytes as u64).leading_zeros()).max(1);
    1 + bits.div_ceil(7) as usize + bytes
}

/// Of a request in JSON.
///
/// # Errors
/// It is no JSON, or has more items than [`BATCH_ITEMS_MAX`].
pub fn split_json(signal: Signal, request: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let doc = Doc::parse_batch(request, BATCH_ITEMS_MAX)?;
    let [resources, scopes, items] = signal.lists();
    let (mut out, mut unfolded) = (Vec::new(), 0);
    for of_resource in list(&doc.root(), resources) {
        let around_scopes = around(&of_resource, &["resource", "schemaUrl"], scopes);
        for of_scope in list(&of_resource, scopes) {
            let around_items = around(&of_scope, &["scope", "schemaUrl"], items);
            for item in list(&of_scope, items) {
                let item = item.spelled();
                let one = format!(
                    "{{\"{resources}\":[{{{around_scopes}\"{scopes}\":[{{{around_items}\"{items}\":[{item}]}}]}}]}}"
                );
                push(&mut out, one.into_bytes(), &mut unfolded)?;
            }
        }
    }
    Ok(out)
}

/// Members of `value` before its list: the `known` ones by their names, then those that nobody knows.
fn around(value: &crate::json::Val<'_, '_>, known: &[&str], inner: &str) -> String {
    let mut out = String::new();
    let mut push = |name: &str, token: &str| {
        out.push_str(&crate::draft::json_text(name));
        out.push(':');
        out.push_str(token);
        out.push(',');
    };
    for name in known {
        if let Some(member) = field(value, name) {
            push(name, member.spelled());
        }
    }
    for member in value.members() {
        let name = member.name();
        let is = |known: &str| name == known || name.replace('_', "") == known.to_ascii_lowercase();
        if !known.iter().any(|known| is(known)) && !is(inner) {
            push(&name, member.spelled());
        }
    }
    out
}
