//! The gateway's own answers: problem details (RFC 9457) with fixed texts, never a byte of the request.

use bytes::Bytes;

/// A complete response that ends the connection. `head_only` for answers to HEAD.
pub(crate) fn problem(status: u16, why: &str, head_only: bool) -> Bytes {
    let title = title(status);
    let body = problem_body(status, why);
    let head = format!(
        "HTTP/1.1 {status} {title}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    Bytes::from(if head_only { head } else { head + &body })
}

/// The document alone.
pub(crate) fn problem_body(status: u16, why: &str) -> String {
    let title = title(status);
    format!(
        "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"detail\":\"countersign gateway: {why}\"}}"
    )
}

/// A complete response with `body` that ends the connection.
pub(crate) fn rejected(status: u16, content_type: &str, body: &str) -> Bytes {
    let (title, length) = (title(status), body.len());
    Bytes::from(format!(
        "HTTP/1.1 {status} {title}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}
