//! Texts of their own: Traefik's extended common log format, and Zoraxy's.
//!
//! Sources: Traefik, "Access logs", format `common`; Zoraxy, `dynamicproxy` access logger.

use super::{Clock, Compiled, Exchange, Known, Role, nginx, read_known};
use crate::formats::{Format, Record};
use crate::plan::{Escape, FormatError};
use crate::text::Cursor;
use crate::{Draft, Fault};
use std::borrow::Cow;
use std::sync::LazyLock;

fn traefik_plan() -> Result<Compiled, FormatError> {
    const NAMES: [(&str, Role); 11] = [
        ("client", Role::Client),
        ("user", Role::User),
        ("time", Role::Time(Clock::Clf)),
        ("request", Role::Request),
        ("status", Role::Status),
        ("size", Role::Sent),
        ("referer", Role::Header),
        ("agent", Role::Header),
        ("router", Role::Rest),
        ("server", Role::Upstream),
        ("took", Role::Took(1_000_000)),
    ];
    let role = |name: &str| match NAMES.iter().find(|(known, _)| *known == name) {
        Some((known, role)) => (if *known == "agent" { "user-agent" } else { *known }.to_owned(), *role),
        None => (name.to_owned(), Role::Rest),
    };
    nginx::dollars(
        "$client - $user [$time] \"$request\" $status $size \"$referer\" \"$agent\" $count \"$router\" \"$server\" ${took}ms",
        Escape::Backslash,
        &role,
        &[],
    )
}

static TRAEFIK: Known = LazyLock::new(traefik_plan);

/// Traefik's `common` format: combined with the number of the request, router, server and time.
pub const TRAEFIK_COMMON: Format = Format {
    name: "traefik",
    what: "access log of Traefik, format common",
    looks: |record| record.text.trim_end().ends_with("ms") && record.text.contains("] \""),
    parse: |record| read_known(&TRAEFIK, record, record.text),
};

/// Zoraxy.
pub const ZORAXY: Format = Format {
    name: "zoraxy",
    what: "access log of Zoraxy",
    looks: |record| record.text.contains("] [origin:") && record.text.contains("] [client: "),
    parse: zoraxy,
};

/// `[time] [router:class] [origin:host] [client: address] [useragent: text] METHOD uri status`, behind the time of
/// Go's logger or not.
fn zoraxy(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut line = Cursor::new(record.text.trim_end());
    line.until("[")?;
    let mut exchange = Exchange::new(record);
    let mut take = |role, name, text| exchange.take(role, name, Cow::Borrowed(text));
    take(Role::Time(Clock::Iso), "time", line.until("] ")?);
    for (open, name, role) in [
        ("[router:", "router", Role::Rest),
        ("[origin:", "origin", Role::Host),
        ("[client: ", "client", Role::Client),
    ] {
        line.literal(open)?;
        take(role, name, line.until("] ")?);
    }
    line.literal("[useragent: ")?;
    // What a client calls itself may hold brackets: the last ones end it.
    let (agent, request) = line.rest().rsplit_once("] ").ok_or_else(|| line.fault("a field does not end"))?;
    take(Role::Header, "user-agent", agent);
    let (method, rest) = request.split_once(' ').ok_or_else(|| line.fault("no method"))?;
    let (uri, status) = rest.rsplit_once(' ').ok_or_else(|| line.fault("no status"))?;
    take(Role::Method, "method", method);
    take(Role::Uri, "uri", uri);
    take(Role::Status, "status", status);
    exchange.done()
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn traefik_s_line_names_the_server_that_answered_and_its_time() {
        let draft = parsed(
            &TRAEFIK_COMMON,
            r#"192.0.2.3 - - [13/Mar/2024:12:08:33 +0000] "GET /a HTTP/1.1" 200 17 "-" "x \"y\"" 42 "shop@docker" "http://172.17.0.3:80" 2ms"#,
        );
        let event = &draft.event;
        assert_eq!(draft.partial, None);
        assert_eq!(event.peer.up.as_ref().map(|up| up.port), Some(Some(80)));
        assert_eq!(event.core.dur, Some(2_000_000));
        assert_eq!(event.content.headers, [("user-agent".to_owned(), "x \"y\"".to_owned())]);
    }

    #[test]
    fn zoraxy_s_line_holds_brackets_where_a_client_wrote_them() {
        let draft = parsed(
            &ZORAXY,
            "[2025-05-01 16:35:59.720038] [router:host-http] [origin:a.example] [client: 192.0.2.1] [useragent: x] y] z] GET /robots.txt?a 200",
        );
        assert_eq!(draft.event.content.headers[0].1, "x] y] z");
        assert_eq!(draft.event.target.raw, "/robots.txt");
    }
}
