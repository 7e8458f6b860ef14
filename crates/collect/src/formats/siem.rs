//! CEF (ArcSight Common Event Format) and LEEF (IBM QRadar Log Event Extended Format), as appliances write them.
//!
//! The header names a product and its own event; only the extension's registered keys are understood, all others go
//! to `unmapped`. Who the names in it were shown to is not said, so they are claimed. Sources: "Micro Focus ArcSight
//! Common Event Format", version 26; IBM, "LEEF events overview".

use super::{Format, Record};
use crate::time::{self, Stamp};
use crate::{Draft, Fault, http};
use countersign_event::{Decision, Kind, Outcome, PrincipalKind, Verdict, Verified};
use std::borrow::Cow;

/// The row of CEF in the table.
pub const CEF: Format = Format {
    name: "cef",
    what: "ArcSight Common Event Format",
    looks: |record| record.text.starts_with("CEF:0|") || record.text.starts_with("CEF:1|"),
    parse: parse_cef,
};
/// The row of LEEF in the table.
pub const LEEF: Format = Format {
    name: "leef",
    what: "IBM Log Event Extended Format, versions 1 and 2",
    looks: |record| record.text.starts_with("LEEF:1.0|") || record.text.starts_with("LEEF:2.0|"),
    parse: parse_leef,
};

/// Most fields of an extension.
const PAIRS_MAX: usize = 1024;

/// Fields of both, by our meaning: the two spellings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Src,
    SrcPort,
    SrcHost,
    Dst,
    DstPort,
    DstHost,
    User,
    Transport,
    Action,
    Outcome,
    Time,
    Url,
    Method,
    In,
    Out,
    Id,
    Agent,
    Application,
    Reason,
}

/// Keys, with what they mean.
const KEYS: &[(&str, Role)] = &[
    ("src", Role::Src),
    ("c6a2", Role::Src),
    ("spt", Role::SrcPort),
    ("srcPort", Role::SrcPort),
    ("shost", Role::SrcHost),
    ("dst", Role::Dst),
    ("c6a3", Role::Dst),
    ("dpt", Role::DstPort),
    ("dstPort", Role::DstPort),
    ("dhost", Role::DstHost),
    ("suser", Role::User),
    ("usrName", Role::User),
    ("proto", Role::Transport),
    ("act", Role::Action),
    ("action", Role::Action),
    ("outcome", Role::Outcome),
    ("rt", Role::Time),
    ("devTime", Role::Time),
    ("request", Role::Url),
    ("url", Role::Url),
    ("requestMethod", Role::Method),
    ("method", Role::Method),
    ("in", Role::In),
    ("srcBytes", Role::In),
    ("out", Role::Out),
    ("dstBytes", Role::Out),
    ("externalId", Role::Id),
    ("requestClientApplication", Role::Agent),
    ("app", Role::Application),
    ("reason", Role::Reason),
];

/// The header's parts: a backslash takes a bar with it.
fn header(text: &str, parts: usize) -> Option<(Vec<Cow<'_, str>>, &str)> {
    let (mut found, mut rest) = (Vec::new(), text);
    while found.len() < parts {
        let bytes = rest.as_bytes();
        let mut at = 0;
        loop {
            at += memchr::memchr2(b'|', b'\\', bytes.get(at..)?)?;
            if bytes.get(at) == Some(&b'|') {
                break;
            }
            at += 2;
        }
        let part = &rest[..at];
        let plain = part.contains('\\').then(|| part.replace("\\|", "|").replace("\\\\", "\\"));
        found.push(plain.map_or(Cow::Borrowed(part), Cow::Owned));
        rest = &rest[at + 1..];
    }
    Some((found, rest))
}

fn parse_cef(record: &Record<'_>) -> Result<Draft, Fault> {
    let (parts, rest) = header(record.text, 7).ok_or(Fault::new(0, "a header has not its parts"))?;
    let mut draft = Draft::new();
    let names = ["version", "vendor", "product", "product_version", "signature_id", "name", "severity"];
    noted(&mut draft, &names, &parts);
    let mut found = Vec::new();
    extension(rest.trim(), &mut |key, value| found.push((key, value)));
    if found.len() > PAIRS_MAX {
        return Err(Fault::new(0, "more fields than a record may have"));
    }
    mapped(&mut draft, record.realm, &found);
    Ok(draft)
}

/// `key=value key=value`: a value may hold blanks and ends where the next key begins; `\=`, `\\`, `\n`, `\r` are escapes.
fn extension<'a>(text: &'a str, take: &mut dyn FnMut(&'a str, Cow<'a, str>)) {
    let bytes = text.as_bytes();
    // Key and where its value begins.
    let mut open: Option<(&str, usize)> = None;
    let (mut at, mut begin) = (0, 0);
    while let Some(stop) = bytes.get(at..).and_then(|rest| memchr::memchr3(b'=', b'\\', b' ', rest)) {
        at += stop;
        match bytes.get(at) {
            Some(b'\\') => {
                at += 2;
                continue;
            }
            Some(b' ') => {
                at += 1;
                begin = at;
                continue;
            }
            _ => {}
        }
        let key = text.get(begin..at).unwrap_or_default();
        let is_key =
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-[]".contains(&b));
        // An equals sign inside a value that nobody escaped: no key begins there.
        if is_key && open.is_none_or(|(_, from)| begin >= from) {
            if let Some((before, from)) = open {
                take(before, plain(text.get(from..begin).unwrap_or_default().trim_end()));
            }
            open = Some((key, at + 1));
        }
        at += 1;
    }
    if let Some((key, from)) = open {
        take(key, plain(text.get(from..).unwrap_or_default()));
    }
}

fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        match (c, c == '\\') {
            (_, true) => match letters.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn parse_leef(record: &Record<'_>) -> Result<Draft, Fault> {
    let fault = Fault::new(0, "a header has not its parts");
    let (parts, mut rest) = header(record.text, 5).ok_or(fault)?;
    let mut separator = '\t';
    if parts.first().is_some_and(|version| version == "LEEF:2.0") {
        // The character, or its number in hexadecimal: `^`, `x5E`, `0x5E`; empty = a tab.
        let (text, behind) = rest.split_once('|').ok_or(fault)?;
        rest = behind;
        let digits =
            text.strip_prefix("0x").or_else(|| text.strip_prefix('x')).filter(|digits| !digits.is_empty());
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
        separator = number.or_else(|| text.chars().next()).unwrap_or('\t');
    }
    let mut draft = Draft::new();
    noted(&mut draft, &["version", "vendor", "product", "product_version", "signature_id"], &parts);
    let pairs = rest.split(separator).filter_map(|pair| pair.split_once('='));
    let found: Vec<_> =
        pairs.take(PAIRS_MAX + 1).map(|(key, value)| (key.trim(), Cow::Borrowed(value))).collect();
    if found.len() > PAIRS_MAX {
        return Err(Fault::new(0, "more fields than a record may have"));
    }
    mapped(&mut draft, record.realm, &found);
    Ok(draft)
}

fn noted(draft: &mut Draft, names: &[&str], parts: &[Cow<'_, str>]) {
    for (name, part) in names.iter().zip(parts).skip(1) {
        if !part.is_empty() {
            draft.rest(name, part);
        }
    }
    let product =
        parts.get(1).into_iter().chain(parts.get(2)).map(AsRef::as_ref).collect::<Vec<&str>>().join(" ");
    draft.rest("device", &product);
}

/// Milliseconds since 1970, `MMM dd yyyy HH:mm:ss[.SSS][ zone]`, or ISO 8601.
fn stamp(text: &str) -> Option<Stamp> {
    if let Ok(ms) = text.parse() {
        return time::unix(ms, 1_000_000);
    }
    time::rfc3339(text).or_else(|| {
        let mut words = text.split_ascii_whitespace();
        let (month, day, year, clock) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let zone = words.next().unwrap_or_default();
        let month = time::month(month)?;
        time::parts(year, month, day, &format!("{clock}{zone}")).or_else(|| {
            let stamp = time::parts(year, month, day, clock)?;
            Some(Stamp { basis: countersign_event::TimeBasis::Derived, ..stamp })
        })
    })
}

fn mapped(draft: &mut Draft, realm: &str, found: &[(&str, Cow<'_, str>)]) {
    let role = |key: &str| KEYS.iter().find(|(known, _)| *known == key).map(|(_, role)| *role);
    let get = |wanted: Role| {
        found
            .iter()
            .find(|(key, value)| role(key) == Some(wanted) && !value.is_empty())
            .map(|(_, value)| value.as_ref())
    };
    draft.src(get(Role::Src).unwrap_or_default());
    draft.dst(get(Role::Dst).unwrap_or_default());
    let peer = &mut *draft.event.peer;
    for (host, port, end) in
        [(Role::SrcHost, Role::SrcPort, &mut peer.src), (Role::DstHost, Role::DstPort, &mut peer.dst)]
    {
        if get(host).is_some() || get(port).is_some() {
            let end = end.get_or_insert_default();
            get(host).unwrap_or_default().clone_into(&mut end.host);
            end.port = get(port).and_then(|port| port.parse().ok());
        }
    }
    draft.transport(get(Role::Transport).unwrap_or_default());
    if let Some(when) = get(Role::Time) {
        draft.time(stamp(when));
    }
    if let Some(user) = get(Role::User) {
        let who = draft.who(format!("user:{realm}/{user}"), PrincipalKind::User, Verified::Claimed);
        user.clone_into(&mut who.name);
    }
    let number = |role: Role| get(role).and_then(|bytes| bytes.parse().ok());
    draft.sizes(number(Role::In), number(Role::Out));
    let (method, url) = (get(Role::Method), get(Role::Url));
    if method.is_some() || url.is_some_and(|url| url.contains("://") || url.starts_with('/')) {
        let dst = draft.event.peer.dst.clone();
        http::request(draft, method.unwrap_or_default(), url.unwrap_or_default(), "");
        if let (Some(seen), Some(dst)) = (dst, &mut draft.event.peer.dst) {
            (dst.ip, dst.port) = (seen.ip, seen.port.or(dst.port));
        }
    } else if draft.event.peer.src.is_some() && draft.event.peer.dst.is_some() {
        draft.event.core.kind = Some(Kind::L4);
    }
    draft.header("user-agent", get(Role::Agent).unwrap_or_default());
    draft.event.core.proto =
        crate::seal::clipped(get(Role::Application).unwrap_or_default().to_ascii_lowercase(), 64);
    get(Role::Reason).unwrap_or_default().clone_into(&mut draft.event.content.err);
    get(Role::Id).unwrap_or_default().clone_into(&mut draft.source_id);
    ended(draft, get(Role::Outcome).unwrap_or_default(), get(Role::Action).unwrap_or_default());
    for (number, (key, value)) in found.iter().enumerate() {
        // What has a place of its own is there; the rest, and words for the outcome, stay.
        let placed = role(key)
            .is_some_and(|role| !matches!(role, Role::Action | Role::Outcome | Role::Url | Role::Transport));
        if placed && found.iter().position(|(other, _)| role(other) == role(key)) == Some(number) {
            continue;
        }
        if !value.is_empty() {
            draft.rest(key, value);
        }
    }
}

fn ended(draft: &mut Draft, outcome: &str, action: &str) {
    let action = action.to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| action.starts_with(word));
    let verdict = if is(&["block", "den", "drop", "reject", "prevent", "refus"]) {
        Some(Verdict::Deny)
    } else if is(&["allow", "permit", "accept", "pass"]) {
        Some(Verdict::Allow)
    } else {
        None
    };
    draft.event.core.decision =
        verdict.map(|verdict| Decision { verdict: Some(verdict), ..Decision::default() }.into());
    let said = match outcome.to_ascii_lowercase().as_str() {
        "success" | "succeeded" => Some(Outcome::Success),
        "failure" | "failed" | "fail" => Some(Outcome::CallerError),
        _ => None,
    };
    draft.event.core.outcome = if verdict == Some(Verdict::Deny) { Some(Outcome::Denied) } else { said };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, parse: fn(&Record<'_>) -> Result<Draft, Fault>) -> countersign_event::Event {
        parse(&Record { realm: "r", ..Record::new(text.as_bytes(), 0) }).unwrap().event
    }
    fn kept(event: &countersign_event::Event, pointer: &str) -> String {
        match event.content.unmapped.get(pointer) {
            Some(countersign_event::Unmapped::Token(token)) => token.clone(),
            _ => String::new(),
        }
    }

    #[test]
    fn a_header_and_its_extension_are_read_with_their_escapes() {
        let event = read(
            r"CEF:0|Sec\|urity|threat\\manager|1.0|100|worm stopped|10|src=192.0.2.1 spt=5 dst=2001:db8::2 dpt=443 suser=bob jones act=blocked a \= b msg=one\ntwo= three rt=1710331713000 proto=TCP",
            parse_cef,
        );
        assert_eq!(kept(&event, "/vendor"), "\"Sec|urity\"");
        assert_eq!(kept(&event, "/product"), "\"threat\\\\manager\"");
        assert_eq!(
            (event.core.outcome, event.core.t_event),
            (Some(Outcome::Denied), Some(1_710_331_713_000_000_000))
        );
        let who = event.who.who.as_ref().unwrap();
        assert_eq!((who.id.as_str(), who.verified), ("user:r/bob jones", Verified::Claimed));
        assert_eq!(kept(&event, "/act"), "\"blocked a = b\"");
        assert_eq!(event.peer.dst.as_ref().unwrap().port, Some(443));
    }

    #[test]
    fn both_versions_of_leef_are_read() {
        for text in [
            "LEEF:1.0|V|P|1|E7|src=192.0.2.1\tdst=192.0.2.2\tdstPort=80\tusrName=bob\taction=allow",
            "LEEF:2.0|V|P|1|E7|x5E|src=192.0.2.1^dst=192.0.2.2^dstPort=80^usrName=bob^action=allow",
            "LEEF:2.0|V|P|1|E7|^|src=192.0.2.1^dst=192.0.2.2^dstPort=80^usrName=bob^action=allow",
        ] {
            let event = read(text, parse_leef);
            assert_eq!(event.peer.dst.as_ref().unwrap().port, Some(80), "{text}");
            assert_eq!(event.core.decision.as_ref().unwrap().verdict, Some(Verdict::Allow), "{text}");
            assert_eq!(event.core.outcome, None, "that a call was let through says nothing of its end");
        }
    }

    #[test]
    fn a_header_that_does_not_end_is_a_fault() {
        assert!(parse_cef(&Record::new(b"CEF:0|V|P|1|100|name", 0)).is_err());
        assert!(parse_leef(&Record::new(b"LEEF:2.0|V|P|1|E7|src=1", 0)).is_err());
    }
}
