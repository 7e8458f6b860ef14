//! Zeek's logs: JSON lines, and tab-separated values with their header.
//!
//! Traffic that was seen passing by, so it witnesses calls that nobody reported; a user in it is what somebody sent.
//! A line of the tab-separated form means nothing without its header, so a record is the header's lines and one
//! line of data, as [`crate::frame::join`] gives them. Source: Zeek documentation, "Zeek Log Formats and
//! Inspection", "Log Files".

use super::bind9::{question, rcode};
use super::{Format, Record};
use crate::text::unescaped;
use crate::{Draft, Fault, http, time};
use countersign_event::cbor::Value;
use countersign_event::fields::detail;
use countersign_event::{Class, Kind, Outcome, Tls, Verified};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The row of JSON in the table.
pub const JSON: Format = Format {
    name: "zeek-json",
    what: "Zeek's logs as JSON: connections, HTTP, DNS, TLS, SSH and others",
    looks: |record| {
        record.object().is_ok_and(|root| root.get("id.orig_h").is_some() && root.get("ts").is_some())
    },
    parse: parse_json,
};
/// The row of tab-separated values in the table.
pub const TSV: Format = Format {
    name: "zeek",
    what: "Zeek's logs as tab-separated values, one line with the lines of its header",
    looks: |record| {
        record.text.starts_with("#separator ")
            || (record.text.starts_with('#') && record.text.contains("\n#fields\t"))
    },
    parse: parse_tsv,
};

/// Most columns of a log.
const COLUMNS_MAX: usize = 256;

/// The fields of a line by their names; what is taken is removed.
type Line<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

fn parse_json(record: &Record<'_>) -> Result<Draft, Fault> {
    let root = record.object()?;
    let mut line = Line::new();
    for member in root.members() {
        // Sets and vectors: their text as it stands; answers of DNS are read below.
        let value = member.word().unwrap_or_else(|| Cow::Borrowed(member.token()));
        line.insert(member.name(), value);
    }
    draft(line)
}

fn parse_tsv(record: &Record<'_>) -> Result<Draft, Fault> {
    let (mut names, mut unset, mut empty, mut path) = (Vec::new(), "-", "(empty)", "");
    let mut data = None;
    for line in record.text.lines() {
        match line.strip_prefix('#').map(|header| header.split_once('\t').unwrap_or((header, ""))) {
            Some(("fields", rest)) => names = rest.split('\t').take(COLUMNS_MAX).collect(),
            Some(("unset_field", text)) => unset = text,
            Some(("empty_field", text)) => empty = text,
            Some(("path", text)) => path = text,
            Some(_) => {}
            None => data = Some(line),
        }
    }
    let data = data.ok_or(Fault::new(0, "a header without a line"))?;
    let values: Vec<&str> = data.split('\t').take(COLUMNS_MAX + 1).collect();
    if names.is_empty() || names.len() != values.len() {
        return Err(Fault::new(0, "a line has not the columns of its header"));
    }
    let given = names.into_iter().zip(values).filter(|(_, value)| *value != unset && *value != empty);
    let mut line: Line<'_> = given.map(|(name, value)| (Cow::Borrowed(name), unescaped(value))).collect();
    if !path.is_empty() {
        line.insert(Cow::Borrowed("_path"), Cow::Borrowed(path));
    }
    draft(line)
}

fn take(line: &mut Line<'_>, name: &str) -> String {
    line.remove(name).unwrap_or_default().into_owned()
}

fn number(line: &mut Line<'_>, name: &str) -> Option<u64> {
    let number = line.get(name)?.parse().ok()?;
    line.remove(name);
    Some(number)
}

fn draft(mut line: Line<'_>) -> Result<Draft, Fault> {
    let mut draft = Draft::new();
    let when = take(&mut line, "ts");
    draft.time(time::unix_seconds(&when).or_else(|| time::rfc3339(&when)));
    if !draft.src(&take(&mut line, "id.orig_h")) || !draft.dst(&take(&mut line, "id.resp_h")) {
        return Err(Fault::new(0, "an address is missing"));
    }
    let ports = [number(&mut line, "id.orig_p"), number(&mut line, "id.resp_p")]
        .map(|p| p.and_then(|p| p.try_into().ok()));
    let peer = &mut *draft.event.peer;
    for (end, port) in [&mut peer.src, &mut peer.dst].into_iter().zip(ports) {
        if let Some(end) = end {
            end.port = port;
        }
    }
    let protocol = take(&mut line, "proto");
    draft.transport(&protocol);
    draft.event.core.kind = Some(Kind::L4);
    draft.event.links.corr = take(&mut line, "uid");
    let path = line.get("_path").map(|path| path.clone().into_owned()).unwrap_or_default();
    let is = |path_of: &str, field: &str| path == path_of || (path.is_empty() && line.contains_key(field));
    if is("conn", "conn_state") {
        connection(&mut draft, &mut line);
    } else if is("http", "uri") || is("http", "method") {
        exchange(&mut draft, &mut line);
    } else if is("dns", "qtype_name") {
        asked(&mut draft, &mut line);
    } else if is("ssl", "cipher") {
        handshake(&mut draft, &mut line);
    } else if is("ssh", "auth_attempts") {
        ssh(&mut draft, &mut line);
    } else {
        draft.event.core.op =
            if path.is_empty() { "record".to_owned() } else { crate::seal::clipped(path, 64) };
    }
    for (name, value) in line {
        draft.rest(&name, &value);
    }
    Ok(draft)
}

/// conn.log. The state says whether the other side answered, and how the two parted.
fn connection(draft: &mut Draft, line: &mut Line<'_>) {
    let core = &mut draft.event.core;
    core.class = Some(Class::Connect);
    "connect".clone_into(&mut core.op);
    core.dur = line.remove("duration").and_then(|text| time::seconds(&text));
    core.proto = take(line, "service").split(',').next().unwrap_or_default().to_owned();
    core.outcome = match line.get("conn_state").map(AsRef::as_ref) {
        Some("SF" | "S1" | "S2" | "S3") => Some(Outcome::Success),
        Some("REJ") => Some(Outcome::Denied),
        Some("S0") => Some(Outcome::Timeout),
        _ => None,
    };
    for (name, key) in [("orig_bytes", detail::l4::UP), ("resp_bytes", detail::l4::DOWN)] {
        if let Some(bytes) = number(line, name) {
            draft.event.content.detail.insert(key, Value::Uint(bytes));
        }
    }
}

fn exchange(draft: &mut Draft, line: &mut Line<'_>) {
    let seen = draft.event.peer.dst.clone();
    let version = take(line, "version");
    http::request(draft, &take(line, "method"), &take(line, "uri"), &version);
    http::host(draft, &take(line, "host"));
    // What the client wrote in Host does not move the address that was seen.
    if let (Some(seen), Some(dst)) = (seen, &mut draft.event.peer.dst) {
        (dst.ip, dst.port) = (seen.ip, seen.port);
    }
    if let Some(status) = number(line, "status_code") {
        http::status(draft, status);
    }
    draft.header("user-agent", take(line, "user_agent"));
    draft.header("referer", take(line, "referrer"));
    let sizes = (number(line, "request_body_len"), number(line, "response_body_len"));
    draft.sizes(sizes.0, sizes.1);
    let user = take(line, "username");
    if !user.is_empty() {
        let realm = draft.event.peer.dst.as_ref().map(|dst| dst.host.clone()).unwrap_or_default();
        draft.user(&realm, &user, Some(countersign_event::Auth::Basic), Verified::Claimed);
    }
    // Zeek keeps passwords only when told to; we never do.
    line.remove("password");
}

fn asked(draft: &mut Draft, line: &mut Line<'_>) {
    let core = &mut draft.event.core;
    (core.kind, core.class) = (Some(Kind::Dns), Some(Class::Read));
    "QUERY".clone_into(&mut core.op);
    core.dur = line.remove("rtt").and_then(|text| time::seconds(&text));
    let (name, of) = (take(line, "query"), take(line, "qtype_name"));
    question(draft, &name, if of == "*" { "ANY" } else { &of });
    rcode(draft, &take(line, "rcode_name"));
}

fn handshake(draft: &mut Draft, line: &mut Line<'_>) {
    let version = match take(line, "version").as_str() {
        "SSLv3" => Some(0x0300),
        "TLSv10" => Some(0x0301),
        "TLSv11" => Some(0x0302),
        "TLSv12" => Some(0x0303),
        "TLSv13" => Some(0x0304),
        _ => None,
    };
    let truth = |text: &str| match text {
        "T" | "true" => Some(true),
        "F" | "false" => Some(false),
        _ => None,
    };
    let resumed = truth(&take(line, "resumed"));
    draft.event.peer.tls = Some(Tls {
        version,
        sni: take(line, "server_name"),
        alpn: take(line, "next_protocol"),
        resumed,
        ..Tls::default()
    });
    let core = &mut draft.event.core;
    (core.class, core.outcome) = (Some(Class::Connect), None);
    "handshake".clone_into(&mut core.op);
    if line.get("established").and_then(|text| truth(text)) == Some(true) {
        draft.outcome(Outcome::Success);
    }
}

/// ssh.log: whether a login succeeded is Zeek's inference from the size of packets, and nobody is named.
fn ssh(draft: &mut Draft, line: &mut Line<'_>) {
    let core = &mut draft.event.core;
    (core.kind, core.class) = (Some(Kind::Auth), Some(Class::Authenticate));
    "ssh".clone_into(&mut core.proto);
    "login".clone_into(&mut core.op);
    core.outcome = match line.get("auth_success").map(AsRef::as_ref) {
        Some("T" | "true") => Some(Outcome::Success),
        Some("F" | "false") => Some(Outcome::Denied),
        _ => None,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_by_its_header() {
        let text = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\tlocal_orig\n#types\ttime\tstring\n1710331713.250000\tCabc\t2001:db8::1\t5\t192.0.2.2\t443\ttcp\tssl\t1.5\t10\t20\tSF\t-";
        let record = Record::new(text.as_bytes(), 0);
        assert!((TSV.looks)(&record));
        let event = parse_tsv(&record).unwrap().event;
        assert_eq!(
            (event.core.t_event, event.core.dur),
            (Some(1_710_331_713_250_000_000), Some(1_500_000_000))
        );
        assert_eq!((event.core.outcome, event.links.corr.as_str()), (Some(Outcome::Success), "Cabc"));
        assert_eq!(event.content.detail[&detail::l4::DOWN], Value::Uint(20));
        let short = text.rsplit_once('\t').unwrap().0;
        assert!(parse_tsv(&Record::new(short.as_bytes(), 0)).is_err());
    }

    fn json(text: &str) -> Draft {
        let doc = crate::json::Doc::parse(text.as_bytes()).unwrap();
        let record = Record { json: Some(&doc), ..Record::new(text.as_bytes(), 0) };
        assert!((JSON.looks)(&record));
        parse_json(&record).unwrap()
    }

    #[test]
    fn http_seen_passing_by_is_an_http_call_and_no_password_is_kept() {
        let event = json(r#"{"ts":1710331713.25,"uid":"C","id.orig_h":"192.0.2.1","id.orig_p":5,"id.resp_h":"192.0.2.2","id.resp_p":80,"method":"GET","host":"shop.example","uri":"/a/7","version":"1.1","user_agent":"curl","status_code":401,"username":"bob","password":"hunter2","tags":["x"]}"#).event;
        assert_eq!(
            (event.core.kind, event.core.outcome, event.core.proto.as_str()),
            (Some(Kind::Http), Some(Outcome::Denied), "http/1.1")
        );
        assert_eq!(event.who.who.as_ref().unwrap().verified, Verified::Claimed);
        assert!(!format!("{event:?}").contains("hunter2"));
    }

    #[test]
    fn a_name_that_was_asked_for_is_the_target() {
        let event = json(r#"{"ts":"2024-03-13T12:08:33.250000Z","uid":"C","id.orig_h":"192.0.2.1","id.orig_p":5,"id.resp_h":"192.0.2.2","id.resp_p":53,"proto":"udp","query":"a.example","qtype_name":"AAAA","rcode_name":"NXDOMAIN"}"#).event;
        assert_eq!((event.target.res.as_str(), event.core.outcome), ("a.example", Some(Outcome::Success)));
    }
}
