//! Protobuf files: the methods of their services, and nothing else.
//!
//! A small reader of our own: comments and texts are passed over, `package`, `service` and `rpc` are read, everything
//! else is skipped with its braces. Invariants: time is linear in the text; nesting is bounded; a file whose braces or
//! services do not add up is refused with its line.

use super::{Document, Expected, Operation};
use crate::documents::Refused;

/// Deepest nesting of braces.
pub const PROTO_NESTING_MAX: usize = 100;

/// One method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rpc {
    /// Full name of the service: `shop.v1.Orders`.
    pub service: String,
    /// Method: `Get`.
    pub method: String,
    /// Message types as written, and whether they are streams: request, response.
    pub types: [(String, bool); 2],
}

pub(super) fn read(into: &mut Expected, of: &Document<'_>) -> Result<(), Refused> {
    let rpcs = rpcs(of.text).map_err(|(line, why)| Refused::new(of.source, format!("line {line}"), why))?;
    for Rpc { service, method, .. } in rpcs {
        let short = service.rsplit('.').next().unwrap_or(&service);
        let name = if of.service.is_empty() { short } else { of.service };
        into.operation(of.source, name, Operation::new(&format!("{service}/{method}")))?;
        into.alias(&service, name);
    }
    Ok(())
}

/// The methods of all services of a protobuf text, in order.
///
/// # Errors
/// Line and reason.
pub fn rpcs(text: &str) -> Result<Vec<Rpc>, (usize, String)> {
    let mut tokens = Tokens { text, at: 0, line: 1 };
    let (mut package, mut service, mut depth) = (String::new(), None::<(String, usize)>, 0usize);
    let mut out = Vec::new();
    let mut begins = true;
    while let Some(token) = tokens.next()? {
        let line = tokens.line;
        match token {
            "{" => {
                depth += 1;
                if depth > PROTO_NESTING_MAX {
                    return Err((line, format!("more than {PROTO_NESTING_MAX} braces open")));
                }
            }
            "}" => {
                depth = depth.checked_sub(1).ok_or((line, "a brace closes that none opened".to_owned()))?;
                if service.as_ref().is_some_and(|(_, at)| depth < *at) {
                    service = None;
                }
            }
            "package" if begins && depth == 0 => package = tokens.name("a package")?,
            "service" if begins && depth == 0 => {
                let name = tokens.name("a service")?;
                let full = if package.is_empty() { name } else { format!("{package}.{name}") };
                service = Some((full, 1));
            }
            "rpc" if begins && depth == 1 => {
                if let Some((service, _)) = &service {
                    let (method, request) = (tokens.name("a method")?, tokens.message()?);
                    tokens.expect("returns")?;
                    let types = [request, tokens.message()?];
                    out.push(Rpc { service: service.clone(), method, types });
                }
            }
            _ => {}
        }
        // A word is a keyword only where a statement begins.
        begins = matches!(token, "{" | "}" | ";") || matches!(token, "package" | "service" | "rpc") && begins;
    }
    match depth {
        0 => Ok(out),
        _ => Err((tokens.line, "a brace is not closed".to_owned())),
    }
}

struct Tokens<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl<'t> Tokens<'t> {
    /// The next name, number, text or single character.
    fn next(&mut self) -> Result<Option<&'t str>, (usize, String)> {
        self.blanks()?;
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let length = match first {
            '"' | '\'' => {
                let mut escaped = false;
                let end = rest[1..].find(|c: char| {
                    let ends = c == first && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                end.ok_or((self.line, "a text does not end".to_owned()))? + 2
            }
            c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let token = &rest[..length];
        self.line += token.bytes().filter(|b| *b == b'\n').count();
        self.at += length;
        Ok(Some(token))
    }

    fn blanks(&mut self) -> Result<(), (usize, String)> {
        loop {
            let rest = &self.text[self.at..];
            let length = if let Some(comment) = rest.strip_prefix("/*") {
                comment.find("*/").ok_or((self.line, "a comment does not end".to_owned()))? + 4
            } else if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else {
                rest.len() - rest.trim_start().len()
            };
            if length == 0 {
                return Ok(());
            }
            self.line += rest[..length].bytes().filter(|b| *b == b'\n').count();
            self.at += length;
        }
    }

    fn name(&mut self, what: &str) -> Result<String, (usize, String)> {
        match self.next()? {
            Some(name) if name.starts_with(is_name) => Ok(name.to_owned()),
            _ => Err((self.line, format!("expected the name of {what}"))),
        }
    }

    fn expect(&mut self, wanted: &str) -> Result<(), (usize, String)> {
        match self.next()? {
            Some(token) if token == wanted => Ok(()),
            _ => Err((self.line, format!("expected `{wanted}`"))),
        }
    }

    /// `( [stream] Type )`
    fn message(&mut self) -> Result<(String, bool), (usize, String)> {
        self.expect("(")?;
        let first = self.name("a message")?;
        let next = self.next()?.map(str::to_owned);
        match next.as_deref() {
            Some(")") => Ok((first, false)),
            Some(name) if first == "stream" && name.starts_with(is_name) => {
                self.expect(")")?;
                Ok((name.to_owned(), true))
            }
            _ => Err((self.line, "expected `)`".to_owned())),
        }
    }
}

/// Names with their dots: `.shop.v1.Order`.
fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}
