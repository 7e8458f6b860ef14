//! The common and the combined log format: nginx by default, Apache, Traefik, Caddy, gunicorn and many more.
//!
//! `host ident user [time] "request" status bytes` and, combined, `"referer" "user agent"`; what stands behind goes
//! to `unmapped` whole. Source: Apache HTTP Server, mod_log_config, "Common Log Format"; nginx,
//! ngx_http_log_module, `combined`.
//!
//! The remote address is the server's own view (asserted in a trusted input). `user` is what the client sent in its
//! Authorization header, and is claimed.

use super::{Format, Record};
use crate::text::{Cursor, given, unescaped};
use crate::{Draft, Fault, http, time};
use countersign_event::{Auth, Verified};

/// The row of the table.
pub const COMBINED: Format = Format {
    name: "combined",
    what: "common and combined access log (nginx, Apache, Traefik, gunicorn)",
    looks,
    parse,
};

fn looks(record: &Record<'_>) -> bool {
    record.text.contains(" [") && record.text.contains("] \"")
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut line = Cursor::new(record.text);
    let mut draft = Draft::new();
    let client = line.word()?;
    let _ident = line.word()?;
    // A user's name may hold blanks: it ends where the time begins.
    let user = line.until(" [")?;
    draft.time(time::clf(line.until("] ")?));
    let request = line.quoted()?;
    let status = line.word()?;
    let bytes = line.word()?;
    if !draft.src(client) {
        draft.event.peer.src.get_or_insert_default().host = client.to_owned();
    }
    if let Some(user) = given(user) {
        draft.user(record.realm, &unescaped(user), Some(Auth::Basic), Verified::Claimed);
    }
    request_line(&mut draft, request);
    let status = status.parse().map_err(|_| Fault::new(line.offset(), "a status is no number"))?;
    http::status(&mut draft, status);
    let size = given(bytes).map(str::parse).transpose();
    draft.sizes(None, size.map_err(|_| Fault::new(line.offset(), "a size is no number"))?);
    if line.is_end() {
        return Ok(draft);
    }
    for name in ["referer", "user-agent"] {
        if let Some(value) = given(line.quoted()?) {
            draft.header(name, unescaped(value));
        }
    }
    if let Some(rest) = given(line.rest()) {
        draft.rest("rest", rest);
    }
    Ok(draft)
}

/// `GET /path HTTP/1.1` as logged. What is no request line (TLS sent to a plain port, a scanner's bytes) is kept as
/// the target, and the record is partial.
pub(crate) fn request_line(draft: &mut Draft, request: &str) {
    let plain = unescaped(request);
    let Some((method, rest)) = plain.split_once(' ').filter(|(method, _)| is_token(method)) else {
        draft.event.core.kind = Some(countersign_event::Kind::Http);
        if given(&plain).is_some() {
            plain.as_ref().clone_into(&mut draft.event.target.raw);
            draft.partial("what the client sent was no request line");
        }
        return;
    };
    // A target with blanks is the client's fault, not the log's: the version is behind the last one.
    match rest.rsplit_once(' ').filter(|(_, version)| version.starts_with("HTTP/")) {
        Some((target, version)) => http::request(draft, method, target, version),
        None => http::request(draft, method, rest, ""),
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
