//! BIND 9's log: queries, and what was denied: `[TIME] [CATEGORY:] [SEVERITY:] client [@0x…] ADDRESS#PORT[/key NAME]
//! [(NAME)]: [view NAME: ] MESSAGE`. Source: BIND 9 Administrator Reference Manual, "logging"; lib/ns/client.c.

use super::{Format, Record};
use crate::text::Cursor;
use crate::{Draft, Fault, time};
use countersign_event::cbor::Value;
use countersign_event::fields::detail;
use countersign_event::{Class, Kind, Outcome, PrincipalKind, StatusSpace, Transport, Verified};

/// The row of the table.
pub const BIND9: Format = Format {
    name: "bind9",
    what: "BIND 9: queries, and queries, transfers and updates denied",
    looks,
    parse,
};

/// Types by their numbers (IANA, "Resource Record TYPEs").
pub(crate) const TYPES: &[(&str, u64)] = &[
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DNAME", 39),
    ("DS", 43),
    ("RRSIG", 46),
    ("DNSKEY", 48),
    ("TLSA", 52),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("IXFR", 251),
    ("AXFR", 252),
    ("ANY", 255),
    ("CAA", 257),
];

/// Response codes by their numbers (RFC 6895 section 2.3).
pub(crate) const RCODES: &[(&str, u64)] = &[
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("NOTAUTH", 9),
];

/// Sets what a response code says. A name that does not exist was answered.
pub(crate) fn rcode(draft: &mut Draft, name: &str) {
    let Some((name, code)) = RCODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
        return;
    };
    draft.event.content.detail.insert(detail::dns::RCODE, Value::Uint(*code));
    draft.event.core.status = Some((StatusSpace::Dns, (*name).to_owned()));
    draft.event.core.outcome = Some(match code {
        0 | 3 => Outcome::Success,
        5 | 9 => Outcome::Denied,
        2 => Outcome::ServerError,
        _ => Outcome::CallerError,
    });
}

/// Sets the name and the type that were asked for.
pub(crate) fn question(draft: &mut Draft, name: &str, of: &str) {
    let target = &mut *draft.event.target;
    name.clone_into(&mut target.res);
    name.clone_into(&mut target.raw);
    "domain".clone_into(&mut target.rtype);
    let number = TYPES.iter().find(|(known, _)| *known == of).map(|(_, number)| *number);
    let number = number.or_else(|| of.strip_prefix("TYPE")?.parse().ok());
    match number {
        Some(number) => drop(draft.event.content.detail.insert(detail::dns::QTYPE, Value::Uint(number))),
        None if !of.is_empty() => draft.rest("qtype", of),
        None => {}
    }
}

fn looks(record: &Record<'_>) -> bool {
    let text = record.text;
    record.by("named") && text.contains("client ") && text.contains('#') && text.contains(": ")
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut line = Cursor::new(record.text);
    let mut draft = Draft::new();
    head(&mut draft, &mut line)?;
    line.skip("client ");
    if line.skip("@0x") {
        let _pointer = line.word()?;
    }
    let client = line.rest();
    let end = client.find(['/', ' ', ':'].as_slice()).map(|end| {
        // An IPv6 address holds colons; the port ends it.
        client.find('#').filter(|hash| *hash > end).map_or(end, |hash| {
            hash + 1 + client[hash + 1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(0)
        })
    });
    let (address, rest) = client.split_at(end.unwrap_or(client.len()));
    let (ip, port) = address.split_once('#').ok_or(line.fault("a client has no port"))?;
    if !draft.src(ip) {
        return Err(line.fault("an address cannot be read"));
    }
    draft.event.peer.src.get_or_insert_default().port = port.parse().ok();
    let core = &mut draft.event.core;
    (core.kind, core.class) = (Some(Kind::Dns), Some(Class::Read));
    let rest = named(&mut draft, rest).ok_or(line.fault("a client's message does not begin"))?;
    if !message(&mut draft, rest) {
        draft.event.core.class = None;
        draft.rest("message", rest);
        draft.partial("a message of BIND that is not known");
    }
    Ok(draft)
}

/// Time, category and severity, each of which may be missing.
fn head(draft: &mut Draft, line: &mut Cursor<'_>) -> Result<(), Fault> {
    let text = line.rest();
    let at = text.find("client ").ok_or(line.fault("no client"))?;
    let head = &text[..at];
    let _ = line.until(head);
    let mut rest = head.trim();
    let mut words = rest.splitn(3, ' ');
    if let (Some(day), Some(clock)) = (words.next(), words.next()) {
        let parts: Vec<&str> = day.split('-').collect();
        let stamp = match parts.as_slice() {
            [day, month, year] if year.len() == 4 => {
                time::month(month).and_then(|m| time::parts(year, m, day, clock))
            }
            [_, _, _] => time::rfc3339(&format!("{day} {clock}")),
            _ => None,
        };
        if stamp.is_some() {
            draft.time(stamp);
            rest = words.next().unwrap_or_default();
        }
    }
    for (name, word) in ["category", "severity"].iter().zip(rest.split(": ").map(|w| w.trim_end_matches(':')))
    {
        if !word.is_empty() {
            draft.rest(name, word);
        }
    }
    Ok(())
}

/// `[/key NAME] [(NAME)]: [view NAME: ]`; what is behind.
fn named<'a>(draft: &mut Draft, rest: &'a str) -> Option<&'a str> {
    let mut rest = rest;
    if let Some(key) = rest.strip_prefix("/key ") {
        let end = key.find([' ', ':'])?;
        let (name, behind) = key.split_at(end);
        // A TSIG key: the server has checked the signature.
        let who = draft.who(format!("key:{name}"), PrincipalKind::Service, Verified::Asserted);
        name.clone_into(&mut who.name);
        rest = behind;
    }
    if let Some(inner) = rest.strip_prefix(" (") {
        rest = inner.split_once("): ").map(|(_, behind)| behind)?;
    } else {
        rest = rest.strip_prefix(": ")?;
    }
    if let Some(view) = rest.strip_prefix("view ") {
        let (name, behind) = view.split_once(": ")?;
        draft.rest("view", name);
        rest = behind;
    }
    Some(rest)
}

fn message(draft: &mut Draft, text: &str) -> bool {
    if let Some(query) = text.strip_prefix("query: ") {
        return asked(draft, query).is_some();
    }
    // What was denied: `WHAT 'NAME/TYPE/CLASS' denied[ (WHY)]`.
    if let Some((what, rest)) = text.split_once(" '")
        && let Some((subject, end)) = rest.rsplit_once("' ")
        && end.starts_with("denied")
    {
        // A name may hold a slash, escaped or not: type and class are the last two.
        let mut parts = subject.rsplitn(3, '/');
        let (_class, of, name) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
        question(draft, name.unwrap_or(of), if name.is_some() { of } else { "" });
        draft.outcome(Outcome::Denied);
        let core = &mut draft.event.core;
        let op = match what {
            "zone transfer" => "AXFR",
            "update" | "update forwarding" => "UPDATE",
            "notify" => "NOTIFY",
            _ => "QUERY",
        };
        op.clone_into(&mut core.op);
        core.class = Some(if op == "UPDATE" { Class::Modify } else { Class::Read });
        draft.event.content.err = format!("{what} {end}");
        return true;
    }
    // `query failed (SERVFAIL) for NAME/CLASS/TYPE at query.c:1234`
    if let Some(rest) = text.strip_prefix("query failed (")
        && let Some((code, rest)) = rest.split_once(") for ")
    {
        let mut parts = rest.split(" at ").next().unwrap_or_default().rsplitn(3, '/');
        let (of, _class, name) =
            (parts.next().unwrap_or_default(), parts.next(), parts.next().unwrap_or_default());
        question(draft, name, of);
        "QUERY".clone_into(&mut draft.event.core.op);
        rcode(draft, code);
        return true;
    }
    false
}

/// `NAME CLASS TYPE FLAGS (SERVER)[ [ECS …]]`
fn asked(draft: &mut Draft, query: &str) -> Option<()> {
    let mut words = query.split(' ');
    let (name, class, of, flags) = (words.next()?, words.next()?, words.next()?, words.next()?);
    question(draft, name, of);
    "QUERY".clone_into(&mut draft.event.core.op);
    if class != "IN" {
        draft.rest("class", class);
    }
    if !flags.starts_with(['+', '-']) {
        return None;
    }
    draft.rest("flags", flags);
    draft.event.peer.transport = Some(if flags.contains('T') { Transport::Tcp } else { Transport::Udp });
    let server = words.next().and_then(|word| word.strip_prefix('(')?.strip_suffix(')'));
    if let Some(server) = server {
        draft.dst(server);
    }
    let rest = words.collect::<Vec<_>>().join(" ");
    if !rest.is_empty() {
        draft.rest("rest", &rest);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::CaptureConf;

    fn draft(text: &str) -> Draft {
        parse(&Record::new(text.as_bytes(), 0)).unwrap()
    }

    #[test]
    fn a_query_gives_client_name_type_and_server() {
        let draft = draft(
            "13-Mar-2024 12:08:33.250 queries: info: client @0x7f1 2001:db8::1#53211 (www.example.com): view internal: query: www.example.com IN AAAA +E(0)TK (192.0.2.53)",
        );
        let event = &draft.event;
        assert_eq!(draft.conf(), CaptureConf::Full);
        assert_eq!(event.core.t_event, Some(1_710_331_713_250_000_000));
        assert_eq!(event.peer.src.as_ref().unwrap().port, Some(53211));
        assert_eq!(
            (event.target.res.as_str(), event.peer.transport),
            ("www.example.com", Some(Transport::Tcp))
        );
        assert_eq!(event.content.detail[&detail::dns::QTYPE], Value::Uint(28));
        assert_eq!(event.core.outcome, None);
    }

    #[test]
    fn what_was_denied_is_denied() {
        for (text, op) in [
            ("client 192.0.2.1#5/key dhcp (a.example): update 'a.example/IN' denied", "UPDATE"),
            ("client @0x1 192.0.2.1#5 (a.example): zone transfer 'a.example/AXFR/IN' denied", "AXFR"),
            (
                "client @0x1 192.0.2.1#5 (a.example): query (cache) 'a.example/A/IN' denied (allow-query-cache did not match)",
                "QUERY",
            ),
        ] {
            let event = draft(text).event;
            assert_eq!((event.core.op.as_str(), event.core.outcome), (op, Some(Outcome::Denied)), "{text}");
            assert_eq!(event.target.res, "a.example", "{text}");
        }
    }

    #[test]
    fn a_query_that_failed_says_how() {
        let event = draft("client @0x1 192.0.2.1#5 (a.example): query failed (SERVFAIL) for a.example/IN/A at ../query.c:77").event;
        assert_eq!(
            (event.core.outcome, event.target.res.as_str()),
            (Some(Outcome::ServerError), "a.example")
        );
    }

    #[test]
    fn other_messages_are_partial() {
        assert_eq!(draft("client 192.0.2.1#5: something new").conf(), CaptureConf::Partial);
    }
}
