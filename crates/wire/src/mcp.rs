//! The Model Context Protocol's words: revisions, methods, what its HTTP headers repeat of a message.
//!
//! Not the transport ([`crate::http1`], [`crate::sse`]) and not the messages ([`crate::jsonrpc`]). Sources: the
//! specification's revisions 2024-11-05 (HTTP with SSE), 2025-03-26, 2025-06-18, 2025-11-25 (streamable HTTP
//! with sessions) and 2026-07-28 (stateless, `Mcp-Method` and `Mcp-Name` mandatory).

mod headers;
mod methods;

pub use headers::{Headers, Mismatch, name_value};
pub use methods::{METHODS, Method, Named, method};

use crate::jsonrpc::{Id, Message};

/// Every released revision, oldest first.
pub const REVISIONS: [&str; 5] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];
/// The first revision without sessions, whose headers must repeat the message.
pub const STATELESS: &str = "2026-07-28";
/// Error code of a denied request: of the range that JSON-RPC leaves to implementations (section 5.1), and
/// none of those that the protocol gives a meaning.
pub const DENIED: i32 = -32_003;
/// JSON-RPC error code of a call that was not sent on because it could not be recorded. Of the range that
/// JSON-RPC leaves to implementations (section 5.1).
pub const UNRECORDED: i32 = -32_004;

/// The released revision of that name; `None` = not one that is known, so not to be repeated in a record.
pub fn revision(name: &str) -> Option<&'static str> {
    REVISIONS.iter().find(|r| **r == name).copied()
}

/// What a request, or a message about one, is about: type of the resource and its name.
pub fn target(message: &Message) -> Option<(&'static str, &str)> {
    let named = message.method.as_deref().and_then(method).map_or(Named::Nothing, |m| m.named);
    let (kind, name) = match named {
        Named::Nothing => return None,
        Named::Tool => ("tool", message.name.as_ref()),
        Named::Prompt => ("prompt", message.name.as_ref()),
        Named::Resource => ("resource", message.uri.as_ref()),
        Named::Task => ("task", message.task.as_ref()),
        Named::Reference => match (&message.ref_name, &message.ref_uri) {
            (Some(name), _) => ("prompt", Some(name)),
            (None, uri) => ("resource", uri.as_ref()),
        },
    };
    name.map(|name| (kind, name.as_str()))
}

/// The body of a refusal: a JSON-RPC error with the request's id (`null` when there is none to name).
pub fn refusal(id: Option<&Id>, code: i32, why: &str) -> String {
    let mut id_text = String::new();
    match id {
        None | Some(Id::Null) => id_text.push_str("null"),
        Some(Id::Number(token)) => id_text.push_str(token),
        Some(Id::Text(text)) => quote(&mut id_text, text),
    }
    let mut message = String::new();
    quote(&mut message, why);
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id_text},\"error\":{{\"code\":{code},\"message\":{message}}}}}")
}

/// `text` as a JSON string.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_repeats_the_id_as_it_was() {
        fn with(id: Option<&Id>) -> String {
            refusal(id, DENIED, "no")
        }
        let tail = ",\"error\":{\"code\":-32003,\"message\":\"no\"}}";
        assert_eq!(with(None), format!("{{\"jsonrpc\":\"2.0\",\"id\":null{tail}"));
        assert_eq!(with(Some(&Id::Number("1.0".into()))), format!("{{\"jsonrpc\":\"2.0\",\"id\":1.0{tail}"));
        let text = Id::Text("a\"\\\n\u{0}é".into());
        assert_eq!(
            with(Some(&text)),
            format!("{{\"jsonrpc\":\"2.0\",\"id\":\"a\\\"\\\\\\u000a\\u0000é\"{tail}")
        );
        let (read, end) = crate::jsonrpc::read(with(Some(&text)).as_bytes());
        assert_eq!((end, read[0].id.clone()), (Ok(()), Some(text)));
    }
}
