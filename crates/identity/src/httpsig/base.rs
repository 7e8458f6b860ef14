//! The signature base (RFC 9421, sections 2 and 2.5): the bytes that a signature covers.
//!
//! For requests only. Invariant: one request and one list of components have one base; a component that is
//! missing, ambiguous or not known is an error and never an empty line.

use super::sf::{self, Bare, Item, Params};
use crate::refusal::Refusal;
use crate::request::HttpRequest;
use crate::uri;

/// Longest signature base, bytes.
const BASE_MAX_BYTES: usize = 64 << 10;

/// Fields whose structured type is known, for `;sf` (RFC 9421, section 2.1.1): dictionaries.
const DICTIONARIES: [&str; 7] = [
    "content-digest",
    "repr-digest",
    "want-content-digest",
    "want-repr-digest",
    "signature",
    "signature-input",
    "priority",
];
/// As [`DICTIONARIES`]: lists and items.
const LISTS: [&str; 4] = ["accept-signature", "cache-status", "proxy-status", "client-cert-chain"];
const ITEMS: [&str; 2] = ["client-cert", "idempotency-key"];

/// The base of `covered`, in order, closed by the signature's own parameters.
pub(crate) fn signature_base(
    request: &HttpRequest<'_>,
    covered: &[Item],
    params: &Params,
) -> Result<Vec<u8>, Refusal> {
    let mut base = Vec::new();
    let mut seen: Vec<String> = Vec::with_capacity(covered.len());
    for item in covered {
        let mut id = String::new();
        sf::write_item(item, &mut id);
        if seen.contains(&id) {
            return Err("it covers a component twice".into());
        }
        base.extend_from_slice(id.as_bytes());
        base.extend_from_slice(b": ");
        base.extend_from_slice(&component(request, item)?);
        base.push(b'\n');
        if base.len() > BASE_MAX_BYTES {
            return Err("what it covers is longer than 65,536 bytes".into());
        }
        seen.push(id);
    }
    let mut last = "\"@signature-params\": ".to_owned();
    sf::write_inner(covered, params, &mut last);
    base.extend_from_slice(last.as_bytes());
    Ok(base)
}

/// A covered component's value.
fn component(request: &HttpRequest<'_>, item: &Item) -> Result<Vec<u8>, Refusal> {
    let Bare::String(name) = &item.bare else {
        return Err("it covers something that is no component name".into());
    };
    if item.params.iter().any(|(key, _)| key == "req") {
        return Err("it covers a part of another message (;req), which a request has not".into());
    }
    if item.params.iter().any(|(key, _)| key == "tr") {
        return Err("it covers a trailer (;tr), which is not checked here".into());
    }
    if name.starts_with('@') {
        return derived(request, name, &item.params).map(String::into_bytes);
    }
    field(request, name, &item.params)
}

fn derived(request: &HttpRequest<'_>, name: &str, params: &Params) -> Result<String, Refusal> {
    if name != "@query-param" && !params.is_empty() {
        return Err("it covers a derived component with parameters that are not known here".into());
    }
    let (path, query) = match request.path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.path_and_query, None),
    };
    let authority = || {
        uri::authority(request.authority, &request.scheme.to_ascii_lowercase())
            .ok_or_else(|| Refusal::from("the request's own authority is out of form"))
    };
    let value = match name {
        "@method" => request.method.to_owned(),
        "@authority" => authority()?,
        "@scheme" => request.scheme.to_ascii_lowercase(),
        "@target-uri" => {
            let asterisk = if path == "*" { "" } else { request.path_and_query };
            format!("{}://{}{asterisk}", request.scheme.to_ascii_lowercase(), authority()?)
        }
        "@request-target" => request.target.unwrap_or(request.path_and_query).to_owned(),
        "@path" => if path.is_empty() { "/" } else { path }.to_owned(),
        "@query" => format!("?{}", query.unwrap_or_default()),
        "@query-param" => query_param(query.unwrap_or_default(), params)?,
        "@status" => return Err("it covers a status (@status), which a request has not".into()),
        _ => return Err("it covers a derived component that is not known here".into()),
    };
    if value.bytes().any(|b| b.is_ascii_control()) {
        return Err("it covers a value with control characters".into());
    }
    Ok(value)
}

/// Section 2.2.8: a parameter of the query, decoded as a form and encoded again.
fn query_param(query: &str, params: &Params) -> Result<String, Refusal> {
    let [(key, Bare::String(wanted))] = params.as_slice() else {
        return Err("it covers a query parameter without a name".into());
    };
    if key != "name" {
        return Err("it covers a query parameter without a name".into());
    }
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(name, _)| recode(name) == *wanted).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(recode(value)),
        (None, _) => Err("it covers a query parameter that is not there".into()),
        _ => Err("it covers a query parameter that stands more than once".into()),
    }
}

/// Undoes form encoding (`+` is a space) and encodes again, everything but letters, digits, `*-._`.
fn recode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digit = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                at += 3;
            }
            (b'+', _, _) => {
                decoded.push(b' ');
                at += 1;
            }
            (other, _, _) => {
                decoded.push(*other);
                at += 1;
            }
        }
    }
    let mut out = String::with_capacity(decoded.len());
    for byte in String::from_utf8_lossy(&decoded).bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'-' | b'.' | b'_') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Section 2.1: a header's value, all lines of it.
fn field(request: &HttpRequest<'_>, name: &str, params: &Params) -> Result<Vec<u8>, Refusal> {
    if name.is_empty() || !name.bytes().all(|b| sf::is_tchar(b) && !b.is_ascii_uppercase()) {
        return Err("it covers a header whose name is out of form".into());
    }
    let lines = lines(request, name)?;
    match params.as_slice() {
        [] => Ok(joined(&lines)),
        [(key, Bare::Boolean(true))] if key == "bs" => {
            let mut out = String::new();
            for (i, line) in lines.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                sf::write_bare(&Bare::Bytes(line.clone()), &mut out);
            }
            Ok(out.into_bytes())
        }
        [(key, Bare::Boolean(true))] if key == "sf" => {
            let value = joined(&lines);
            let written = if DICTIONARIES.contains(&name) {
                sf::dictionary(&value).map(|d| sf::write_dictionary(&d))
            } else if LISTS.contains(&name) {
                sf::list(&value).map(|l| sf::write_list(&l))
            } else if ITEMS.contains(&name) {
                sf::item(&value).map(|i| sf::write_list(&[sf::Member::Item(i)]))
            } else {
                return Err(
                    "it covers a header as a structured field (;sf) whose type is not known here".into()
                );
            };
            Ok(written
                .map_err(|why| format!("it covers a header that is no structured field: {why}"))?
                .into_bytes())
        }
        [(key, Bare::String(member))] if key == "key" => {
            let dictionary = sf::dictionary(&joined(&lines))
                .map_err(|why| format!("it covers a member of a header that is no dictionary: {why}"))?;
            let (_, value) = dictionary
                .iter()
                .find(|(known, _)| known == member)
                .ok_or("it covers a member (;key) that is not there")?;
            let mut out = String::new();
            sf::write_member(value, &mut out);
            Ok(out.into_bytes())
        }
        _ => Err("it covers a header in a way that is not known here".into()),
    }
}

/// The lines of a field, each trimmed, with line folds as one space; the caller of the gateway sends none.
fn lines(request: &HttpRequest<'_>, name: &str) -> Result<Vec<Vec<u8>>, Refusal> {
    let values = request.headers.values(name);
    if values.is_empty() {
        return Err("it covers a header that is not there".into());
    }
    if values.len() != request.headers.count(name) {
        return Err("it covers a repeated header of which not every line is at hand".into());
    }
    if values.iter().any(|v| v.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))) {
        return Err("it covers a header with a line break".into());
    }
    Ok(values.iter().map(|v| v.trim_ascii().to_vec()).collect())
}

fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.join(&b", "[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_are_encoded_again_as_the_rfc_shows() {
        let query = "var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&a=1&a=2&e";
        let get = |name: &str| query_param(query, &vec![("name".to_owned(), Bare::String(name.to_owned()))]);
        assert_eq!(get("var").unwrap(), "this%20is%20a%20big%0Amultiline%20value");
        assert_eq!(get("bar").unwrap(), "with%20plus%20whitespace");
        assert_eq!(get("fa%C3%A7ade%22%3A%20").unwrap(), "something");
        assert_eq!(get("e").unwrap(), "");
        assert!(get("a").unwrap_err().why.contains("more than once"));
        assert!(get("none").unwrap_err().why.contains("not there"));
    }
}
