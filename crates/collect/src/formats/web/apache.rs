//! Apache HTTP Server: a `LogFormat` compiled, and `vhost_combined` as Debian and Ubuntu ship it.
//!
//! Source: Apache HTTP Server 2.4, mod_log_config, "Custom Log Formats". `common` and `combined` are
//! [`crate::formats::access`]. `%u` may be bogus when the status is 401, and is claimed.

use super::{Clock, Compiled, Known, Role, read_known};
use crate::formats::Format;
use crate::plan::{Builder, Escape, FormatError, Span};
use std::net::IpAddr;
use std::sync::LazyLock;

/// Directives of one letter without an argument.
const LETTERS: &[(char, &str, Role)] = &[
    ('a', "client_ip", Role::Client),
    ('h', "remote_host", Role::Client),
    ('A', "local_ip", Role::Local),
    ('p', "port", Role::LocalPort),
    ('l', "ident", Role::Skip),
    ('u', "user", Role::User),
    ('t', "time", Role::Time(Clock::Clf)),
    ('r', "request", Role::Request),
    ('m', "method", Role::Method),
    ('U', "path", Role::Uri),
    ('q', "query", Role::Query),
    ('H', "protocol", Role::Protocol),
    ('s', "status", Role::Status),
    ('b', "bytes", Role::Sent),
    ('B', "bytes", Role::Sent),
    ('I', "received", Role::Received),
    ('O', "sent", Role::Rest),
    ('S', "transferred", Role::Rest),
    ('D', "microseconds", Role::Took(1_000)),
    ('T', "seconds", Role::Took(1_000_000_000)),
    ('v', "server", Role::Host),
    ('V', "server", Role::Host),
    ('L', "log_id", Role::RequestId),
    ('f', "file", Role::Rest),
    ('k', "keepalives", Role::Rest),
    ('P', "pid", Role::Rest),
    ('R', "handler", Role::Rest),
    ('X', "connection", Role::Rest),
];

/// Compiles the text of a `LogFormat`, with its quotation marks no longer escaped by the configuration file
/// (`\"` is accepted too).
///
/// # Errors
/// The place and the reason: an unknown directive, `%{` that does not end, two directives with nothing between.
pub fn compile(format: &str) -> Result<Compiled, FormatError> {
    let mut builder = Builder::new(format, Escape::Backslash)?;
    let mut at = 0;
    while let Some(rest) = format.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some(escaped) = ["\\\"", "\\\\"].into_iter().find(|escaped| rest.starts_with(escaped)) {
            builder.literal(escaped.get(1..).unwrap_or_default());
            at += 2;
        } else if rest.starts_with("%%") {
            builder.literal("%");
            at += 2;
        } else if rest.starts_with('%') {
            at += directive(&mut builder, rest, at)?;
        } else {
            let end = rest.find(['%', '\\']).unwrap_or(rest.len()).max(1);
            builder.literal(rest.get(..end).unwrap_or(rest));
            at += end;
        }
    }
    let known: Vec<&str> = LETTERS.iter().map(|(_, name, _)| *name).collect();
    let mut compiled = Compiled::new(builder.done()?, &known);
    // Headers, notes and environment have names of any kind.
    compiled.unknown.clear();
    Ok(compiled)
}

/// One directive; gives its length.
fn directive(builder: &mut Builder<Role>, rest: &str, at: usize) -> Result<usize, FormatError> {
    let mut length = 1;
    let behind = |from: usize| rest.get(from..).unwrap_or_default();
    // `!200,304` restricts by status, `<` and `>` choose the first or the last of internal redirects.
    length += behind(length)
        .find(|c: char| !matches!(c, '<' | '>' | '!' | ',') && !c.is_ascii_digit())
        .unwrap_or(0);
    let mut argument = "";
    if let Some(inner) = behind(length).strip_prefix('{') {
        let end = inner.find('}').ok_or_else(|| FormatError::new(at, "`%{` without its `}`"))?;
        argument = inner.get(..end).unwrap_or_default();
        length += end + 2;
    }
    let Some(letter) = behind(length).chars().next() else {
        return Err(FormatError::new(at, "`%` without a directive behind it"));
    };
    length += letter.len_utf8();
    // `%^FU` and `%^FB`: three letters.
    if letter == '^' {
        let name = behind(length).chars().take(2).collect::<String>();
        builder.field(at, format!("^{name}"), Role::Rest, Span::Plain)?;
        return Ok(length + name.len());
    }
    let (name, role) =
        if argument.is_empty() { plain(letter, at)? } else { with_argument(letter, argument, at)? };
    // `%t` stands with its brackets.
    let brackets = letter == 't' && argument.is_empty();
    if brackets {
        builder.literal("[");
    }
    let span = if role == Role::Forwarded { Span::List } else { Span::Plain };
    builder.field(at, name, role, span)?;
    if brackets {
        builder.literal("]");
    }
    Ok(length)
}

fn plain(letter: char, at: usize) -> Result<(String, Role), FormatError> {
    match LETTERS.iter().find(|(known, ..)| *known == letter) {
        Some((_, name, role)) => Ok(((*name).to_owned(), *role)),
        None => {
            let other = if letter.is_ascii_lowercase() {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            };
            let nearest =
                LETTERS.iter().find(|(known, ..)| *known == other).map(|(known, ..)| format!("%{known}"));
            Err(FormatError { at, what: format!("unknown directive `%{letter}`"), nearest })
        }
    }
}

fn with_argument(letter: char, argument: &str, at: usize) -> Result<(String, Role), FormatError> {
    let lower = argument.to_ascii_lowercase();
    let role = match (letter, lower.as_str()) {
        ('i', "host") => Role::Host,
        ('i', "x-forwarded-for") => Role::Forwarded,
        ('i', "traceparent") => Role::Trace,
        ('i', "referer" | "user-agent" | "x-request-id") => Role::Header,
        ('o' | 'e', "x-request-id" | "unique_id") => Role::RequestId,
        ('a', "c") => Role::Rest,
        ('p', "remote") => Role::ClientPort,
        ('p', "local") => Role::LocalPort,
        ('p', "canonical") => Role::Rest,
        ('T', "ms") => Role::Took(1_000_000),
        ('T', "us") => Role::Took(1_000),
        ('T', "s") => Role::Took(1_000_000_000),
        ('t', "sec") => Role::Time(Clock::Unix(1_000_000_000)),
        ('t', "msec") => Role::Time(Clock::Unix(1_000_000)),
        ('t', "usec") => Role::Time(Clock::Unix(1_000)),
        ('t', "%y-%m-%dt%h:%m:%s%z" | "begin:%y-%m-%dt%h:%m:%s%z") => Role::Time(Clock::Iso),
        ('t', _) => Role::Time(Clock::Any),
        ('x', "ssl_protocol") => Role::TlsVersion,
        ('x', "ssl_cipher") => Role::Cipher,
        ('x', "ssl_client_s_dn") => Role::PeerSubject,
        ('x', "ssl_tls_sni") => Role::Sni,
        ('C' | 'e' | 'i' | 'n' | 'o' | 'P' | 'x' | 'c' | 'g' | 'h', _) => Role::Rest,
        ('^', _) => Role::Rest,
        _ => return Err(FormatError::new(at, format!("`%{{{argument}}}{letter}` is no directive"))),
    };
    Ok((if matches!(role, Role::Header) { lower } else { format!("{argument}.{letter}") }, role))
}

static VHOST: Known =
    LazyLock::new(|| compile(r#"%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i""#));

/// Debian's `vhost_combined`.
pub const VHOST_COMBINED: Format = Format {
    name: "apache-vhost",
    what: "Apache's vhost_combined: the combined log format behind host and port",
    looks: |record| {
        // `host:port address`: an address with a port is no host.
        let mut words = record.text.split(' ');
        let (host, client) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        host.rsplit_once(':')
            .is_some_and(|(name, port)| port.parse::<u16>().is_ok() && name.parse::<IpAddr>().is_err())
            && client.parse::<IpAddr>().is_ok()
    },
    parse: |record| read_known(&VHOST, record, record.text),
};

#[cfg(test)]
mod tests {
    use super::super::tests::{parsed, with};
    use super::*;

    #[test]
    fn a_virtual_host_s_line_names_host_and_port() {
        let draft = parsed(
            &VHOST_COMBINED,
            r#"shop.example:443 192.0.2.7 - bob [13/Mar/2024:12:08:33 +0000] "GET /x\"y HTTP/1.1" 401 5 "-" "curl/8""#,
        );
        let dst = draft.event.peer.dst.as_ref().unwrap();
        assert_eq!((dst.host.as_str(), dst.port), ("shop.example", Some(443)));
        assert_eq!(draft.event.target.raw, "/x\"y");
        assert_eq!(draft.partial, None);
    }

    #[test]
    fn an_operator_s_own_format_is_read() {
        let format = compile(
            r#"%a:%{remote}p %{usec}t %D \"%m %U%% %q\" %>s %b %{X-Forwarded-For}i %!200,304{Foo}e %{SSL_PROTOCOL}x"#,
        )
        .unwrap();
        let draft = with(
            r#"2001:db8::1:51234 1710331713250000 1500 "GET /a% ?b=1" 500 - 203.0.113.9, 198.51.100.2 foo TLSv1.2"#,
            |record| format.parse(record),
        )
        .unwrap();
        let event = &draft.event;
        assert_eq!((event.core.dur, event.core.t_event), (Some(1_500_000), Some(1_710_331_713_250_000_000)));
        assert_eq!((event.target.raw.as_str(), event.peer.hops.len()), ("/a", 2));
        assert_eq!(event.content.unmapped.len(), 2, "{:?}", event.content.unmapped);
    }

    #[test]
    fn what_is_no_directive_is_refused_with_its_place() {
        let error = compile("%h %Q").unwrap_err();
        assert_eq!((error.at, error.nearest.as_deref()), (3, Some("%q")));
        assert!(compile("%{x").is_err() && compile("%").is_err() && compile("%h%u").is_err());
    }
}
