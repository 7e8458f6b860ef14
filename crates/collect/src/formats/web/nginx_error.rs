//! nginx error log lines that belong to a request, above all those of ModSecurity's connector.
//!
//! `YYYY/MM/DD hh:mm:ss [level] pid#tid: *connection message, client: …, server: …, request: "…", host: "…"`.
//! Sources: nginx, `ngx_http_log_error`; ModSecurity-nginx and libmodsecurity, `RuleMessage`. The time is the
//! server's local one, without a zone. A warning of ModSecurity is no outcome: the request went on.

use super::Exchange;
use super::{Clock, Role};
use crate::formats::{Format, Record};
use crate::text::{Cursor, given};
use crate::{Draft, Fault, http};
use countersign_event::{Decision, Kind, Mode, Verdict};
use std::borrow::Cow;

/// Most tags and rule ids kept.
const TAGS_MAX: usize = 32;

/// The row of the table.
pub const NGINX_ERROR: Format = Format {
    name: "nginx-error",
    what: "nginx error log lines of requests, with ModSecurity's fields",
    looks: |record| record.text.contains("#") && record.text.contains(", client: "),
    parse,
};

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut line = Cursor::new(record.text.trim_end());
    let time = line.until(" [")?;
    let level = line.until("] ")?;
    let process = line.until(": ")?;
    if !process.split('#').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
        return Err(line.fault("no process before the message"));
    }
    let connection = if line.skip("*") { line.word()? } else { "" };
    let (message, context) = line
        .rest()
        .split_once(", client: ")
        .ok_or_else(|| line.fault("no client: the line belongs to no request"))?;
    let mut exchange = Exchange::new(record);
    exchange.take(Role::Time(Clock::Iso), "time", Cow::Borrowed(time));
    let (client, context) = context.split_once(", ").unwrap_or((context, ""));
    exchange.take(Role::Client, "client", Cow::Borrowed(client));
    let mut rest = vec![("level", level), ("process", process), ("connection", connection)];
    fields(context, &mut |name, value| match name {
        "request" => exchange.take(Role::Request, name, Cow::Borrowed(value)),
        "host" => exchange.take(Role::Host, name, Cow::Borrowed(value)),
        "upstream" => exchange.take(Role::Upstream, name, Cow::Borrowed(upstream(value))),
        "referrer" => exchange.take(Role::Header, "referer", Cow::Borrowed(value)),
        _ => rest.push((name, value)),
    });
    exchange.take(Role::Error, "message", Cow::Borrowed(message));
    // It does not say how the request ended, nor should it.
    exchange.take(Role::Status, "status", Cow::Borrowed("-1"));
    let mut draft = exchange.done()?;
    draft.event.core.kind = Some(Kind::Http);
    // Message and request hold what clients sent, and nginx escapes neither.
    if line.rest().matches(", client: ").count() > 1 {
        draft.partial("the line names two clients: one of them is a client's own text");
    }
    if let Some(at) = message.find("ModSecurity: ") {
        modsecurity(&mut draft, message.get(at + 13..).unwrap_or_default());
    }
    for (name, value) in rest.into_iter().filter(|(_, value)| given(value).is_some()) {
        draft.rest(name, value);
    }
    Ok(draft)
}

/// `name: "value", name: value, …`; a quoted value ends at its quotation mark.
fn fields<'a>(mut text: &'a str, give: &mut dyn FnMut(&'a str, &'a str)) {
    while let Some((name, behind)) = text.split_once(": ") {
        let (value, next) = match behind.strip_prefix('"') {
            // A request may hold quotation marks: only one before the next field ends it.
            Some(inner) => {
                inner.split_once("\", ").unwrap_or_else(|| (inner.strip_suffix('"').unwrap_or(inner), ""))
            }
            None => behind.split_once(", ").unwrap_or((behind, "")),
        };
        give(name, value);
        text = next;
    }
}

/// Host and port of the URL of an upstream.
fn upstream(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// `Access denied with code 403 (phase 2). Matched "…" [file "…"] [id "…"] …`
fn modsecurity(draft: &mut Draft, text: &str) {
    let mut decision = Decision { mode: Some(Mode::Observe), ..Decision::default() };
    if let Some(rest) = text.strip_prefix("Access denied") {
        (decision.verdict, decision.mode) = (Some(Verdict::Deny), Some(Mode::Enforce));
        let code = rest.strip_prefix(" with code ").and_then(|rest| rest.split(' ').next());
        if let Some(code) = code.and_then(|code| code.parse().ok()) {
            http::status(draft, code);
        }
        draft.outcome(countersign_event::Outcome::Denied);
    }
    for (name, value) in tags(text).take(TAGS_MAX) {
        match name {
            "id" => decision.policies.push(value.to_owned()),
            "msg" => value.clone_into(&mut decision.reason),
            "unique_id" => value.clone_into(&mut draft.event.links.corr),
            "tag" => draft.event.target.tags.push(value.to_owned()),
            _ if given(value).is_some() => draft.rest(name, value),
            _ => {}
        }
    }
    draft.event.core.decision = Some(decision.into());
}

/// Each `[name "value"]`.
fn tags(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let start = text.find(" [file \"").unwrap_or(text.len());
    let mut rest = text.get(start..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (name, behind) = rest.strip_prefix(" [").or_else(|| rest.strip_prefix('['))?.split_once(" \"")?;
        let (value, next) = behind.split_once("\"]")?;
        rest = next;
        Some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;
    use countersign_event::Outcome;

    #[test]
    fn a_request_that_was_denied_says_by_which_rule_and_a_warning_has_no_outcome() {
        let line = |what: &str| {
            format!(
                "2021/12/26 12:36:51 [error] 972#972: *18722 [client 192.0.2.240] ModSecurity: {what} Matched \"Operator `Ge' with parameter `5'\" [file \"/etc/x.conf\"] [line \"80\"] [id \"949110\"] [msg \"Score\"] [tag \"a\"] [unique_id \"17\"], client: 192.0.2.240, server: s.example, request: \"GET /?x=\", client: 1.1.1.1 HTTP/1.1\", host: \"s.example:443\""
            )
        };
        let denied = parsed(&NGINX_ERROR, &line("Access denied with code 403 (phase 2)."));
        assert!(denied.partial.is_some(), "two clients");
        let denied = denied.event;
        assert_eq!(denied.core.outcome, Some(Outcome::Denied));
        let decision = denied.core.decision.unwrap();
        assert_eq!((decision.policies, decision.verdict), (vec!["949110".to_owned()], Some(Verdict::Deny)));
        assert_eq!(denied.peer.src.as_ref().unwrap().ip, Some("192.0.2.240".parse().unwrap()));
        let warned = parsed(&NGINX_ERROR, &line("Warning.")).event;
        assert_eq!((warned.core.outcome, warned.core.decision.unwrap().verdict), (None, None));
    }

    #[test]
    fn an_upstream_that_failed_is_named() {
        let draft = parsed(
            &NGINX_ERROR,
            "2024/03/13 12:08:33 [error] 7#9: *5 connect() failed (111: Connection refused) while connecting to upstream, client: 192.0.2.1, server: , request: \"GET /a HTTP/1.1\", upstream: \"http://10.0.0.1:8080/a\", host: \"h\"",
        );
        assert_eq!(draft.event.peer.up.as_ref().unwrap().port, Some(8080));
        assert!(draft.event.content.err.starts_with("connect() failed"));
    }
}
