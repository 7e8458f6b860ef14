//! Suricata: EVE JSON and fast.log. Traffic that was seen passing by, so it witnesses calls that nobody reported.
//!
//! Addresses are of the packet or flow. An alert does not say how the call ended unless the engine stopped it.
//! Source: Suricata User Guide, "EVE JSON Output", "EVE JSON Format", "fast.log".

use super::bind9::{question, rcode};
use super::{Format, Record};
use crate::json::Val;
use crate::text::Cursor;
use crate::{Draft, Fault, http, time};
use countersign_event::cbor::Value;
use countersign_event::fields::detail;
use countersign_event::{Class, Decision, Kind, Outcome, Rec, Tls, Verdict};

/// The row of EVE in the table.
pub const EVE: Format = Format {
    name: "suricata-eve",
    what: "Suricata's EVE JSON: alerts, flows, HTTP, DNS, TLS and others",
    looks: looks_eve,
    parse: parse_eve,
};

/// The row of fast.log in the table.
pub const FAST: Format = Format {
    name: "suricata-fast",
    what: "Suricata's and Snort's fast.log: one line an alert",
    looks: looks_fast,
    parse: parse_fast,
};

fn looks_eve(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|root| root.get("event_type").is_some() && root.get("timestamp").is_some())
        && (record.text.contains("\"src_ip\"") || record.text.contains("\"event_type\":\"stats\""))
}

fn parse_eve(record: &Record<'_>) -> Result<Draft, Fault> {
    let root = record.object()?;
    let text = |name: &str| root.get(name).and_then(|value| value.text()).unwrap_or_default();
    let mut draft = Draft::new();
    draft.time(time::rfc3339(&text("timestamp")));
    let kind = root.get("event_type").and_then(|value| value.text()).ok_or(Fault::new(0, "no event_type"))?;
    ends(&mut draft, root);
    let core = &mut draft.event.core;
    core.kind = Some(Kind::L4);
    kind.as_ref().clone_into(&mut core.op);
    core.proto = text("app_proto").into_owned();
    draft.event.links.corr = root.get("flow_id").and_then(|id| id.word()).unwrap_or_default().into_owned();
    draft.rest("event_type", &kind);
    if let Some(http) = root.get("http") {
        exchange(&mut draft, http);
    }
    if let Some(dns) = root.get("dns") {
        asked(&mut draft, dns);
    }
    if let Some(tls) = root.get("tls") {
        handshake(&mut draft, tls);
    }
    if let Some(flow) = root.get("flow").or_else(|| root.get("netflow")) {
        flowed(&mut draft, flow, kind.ends_with("flow"));
    }
    match kind.as_ref() {
        // Counters of the engine.
        "stats" => (draft.event.core.rec, draft.event.core.kind) = (Some(Rec::Raw), None),
        "alert" => alert(&mut draft, root),
        "drop" => refused(&mut draft),
        _ => {}
    }
    if draft.event.peer.src.is_none() && kind != "stats" {
        draft.partial("an address is missing");
    }
    Ok(draft)
}

fn ends(draft: &mut Draft, root: Val<'_, '_>) {
    let get = |name: &str| root.get(name).and_then(|value| value.text()).unwrap_or_default();
    if draft.src(&get("src_ip"))
        && let Some(src) = &mut draft.event.peer.src
    {
        src.port = port(root.get("src_port"));
    }
    if draft.dst(&get("dest_ip"))
        && let Some(dst) = &mut draft.event.peer.dst
    {
        dst.port = port(root.get("dest_port"));
    }
    let transport = get("proto");
    draft.transport(&transport);
    if draft.event.peer.transport.is_none() && !transport.is_empty() {
        draft.rest("proto", &transport);
    }
}

fn port(value: Option<Val<'_, '_>>) -> Option<u16> {
    value.and_then(|value| value.uint()).and_then(|port| port.try_into().ok())
}

fn exchange(draft: &mut Draft, http: Val<'_, '_>) {
    let get = |name: &str| http.get(name).and_then(|value| value.text()).unwrap_or_default();
    let (method, url) = (get("http_method"), get("url"));
    if method.is_empty() && url.is_empty() {
        return;
    }
    let address = draft.event.peer.dst.clone();
    http::request(draft, &method, &url, &get("protocol"));
    http::host(draft, &get("hostname"));
    // What the client wrote in Host does not move the address that was seen.
    if let (Some(seen), Some(dst)) = (address, &mut draft.event.peer.dst) {
        (dst.ip, dst.port) = (seen.ip, seen.port);
    }
    draft.header("user-agent", get("http_user_agent"));
    draft.header("referer", get("http_refer"));
    if let Some(status) = http.get("status").and_then(|status| status.uint()) {
        http::status(draft, status);
    }
    if let Some(length) = http.get("length").and_then(|length| length.uint()) {
        draft.sizes(None, Some(length));
    }
}

/// One question; version 2 has it in `dns` itself, version 3 in `queries`.
fn asked(draft: &mut Draft, dns: Val<'_, '_>) {
    let first = dns.get("queries").and_then(|queries| queries.elements().next()).unwrap_or(dns);
    let get =
        |of: Val<'_, '_>, name: &str| of.get(name).and_then(|v| v.text()).unwrap_or_default().into_owned();
    let core = &mut draft.event.core;
    (core.kind, core.class) = (Some(Kind::Dns), Some(Class::Read));
    "QUERY".clone_into(&mut core.op);
    question(draft, &get(first, "rrname"), &get(first, "rrtype"));
    rcode(draft, &get(dns, "rcode"));
}

fn handshake(draft: &mut Draft, tls: Val<'_, '_>) {
    let get = |name: &str| tls.get(name).and_then(|value| value.text()).unwrap_or_default();
    let version = match get("version").as_ref() {
        "SSLv3" => Some(0x0300),
        "TLSv1" | "TLS 1.0" => Some(0x0301),
        "TLS 1.1" => Some(0x0302),
        "TLS 1.2" => Some(0x0303),
        "TLS 1.3" => Some(0x0304),
        _ => None,
    };
    draft.event.peer.tls = Some(Tls { version, sni: get("sni").into_owned(), ..Tls::default() });
    draft.event.core.class = Some(Class::Connect);
}

/// Counters of a flow; the flow's own record begins when the flow did.
fn flowed(draft: &mut Draft, flow: Val<'_, '_>, own: bool) {
    let bytes = |name: &str| flow.get(name).and_then(|value| value.uint());
    let (up, down) = (bytes("bytes_toserver"), bytes("bytes_toclient"));
    if draft.event.core.kind == Some(Kind::L4) {
        for (key, bytes) in [(detail::l4::UP, up), (detail::l4::DOWN, down)] {
            if let Some(bytes) = bytes {
                draft.event.content.detail.insert(key, Value::Uint(bytes));
            }
        }
    }
    if !own {
        return;
    }
    draft.event.core.class = Some(Class::Connect);
    let time =
        |name: &str| flow.get(name).and_then(|value| value.text()).and_then(|text| time::rfc3339(&text));
    if let (Some(start), end) = (time("start"), time("end")) {
        draft.event.core.dur = end.and_then(|end| u64::try_from(end.ns - start.ns).ok());
        draft.time(Some(start));
    }
}

fn alert(draft: &mut Draft, root: Val<'_, '_>) {
    let action = root.at("alert/action").and_then(|value| value.text()).unwrap_or_default();
    if action == "blocked" {
        refused(draft);
    } else if action == "allowed" {
        draft.event.core.decision =
            Some(Decision { verdict: Some(Verdict::Allow), ..Decision::default() }.into());
    }
}

fn refused(draft: &mut Draft) {
    draft.outcome(Outcome::Denied);
    draft.event.core.decision = Some(Decision { verdict: Some(Verdict::Deny), ..Decision::default() }.into());
}

fn looks_fast(record: &Record<'_>) -> bool {
    record.text.contains(" [**] [") && record.text.contains("} ") && record.text.contains(" -> ")
}

/// `MM/DD/YYYY-hh:mm:ss.ffffff  [Drop] [**] [GID:SID:REV] TEXT [**] [Classification: TEXT] [Priority: N] {PROTO}
/// ADDRESS:PORT -> ADDRESS:PORT`
fn parse_fast(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut line = Cursor::new(record.text);
    let mut draft = Draft::new();
    let (day, clock) = line.word()?.split_once('-').ok_or(line.fault("not a time"))?;
    let mut day = day.split('/');
    let (month, of_month) = (day.next().and_then(|month| month.parse().ok()), day.next());
    draft.time(match (month, of_month, day.next()) {
        (Some(month), Some(of_month), Some(year)) => time::parts(year, month, of_month, clock),
        _ => None,
    });
    let action = line.until("[**] [")?.trim();
    let rule = line.until("] ")?;
    // The text is the rule's; the addresses are looked for from the right all the same.
    let rest = line.rest();
    let (rest, ends) = rest.rsplit_once(" {").ok_or(line.fault("no protocol"))?;
    let (text, rest) = rest.split_once(" [**]").ok_or(line.fault("a text does not end"))?;
    let (protocol, ends) = ends.split_once("} ").ok_or(line.fault("no protocol"))?;
    let (src, dst) = ends.split_once(" -> ").ok_or(line.fault("no addresses"))?;
    draft.event.peer.src = end(src);
    draft.event.peer.dst = end(dst.trim_end());
    if draft.event.peer.src.is_none() || draft.event.peer.dst.is_none() {
        return Err(line.fault("an address cannot be read"));
    }
    draft.transport(protocol);
    let core = &mut draft.event.core;
    core.kind = Some(Kind::L4);
    "alert".clone_into(&mut core.op);
    if matches!(action, "[Drop]" | "[wDrop]") {
        draft.rest("action", action.trim_matches(['[', ']']));
        if action == "[Drop]" {
            refused(&mut draft);
        }
    }
    draft.rest("rule", rule);
    draft.rest("signature", text);
    draft.rest("protocol", protocol);
    for (name, before) in [("classification", "[Classification: "), ("priority", "[Priority: ")] {
        if let Some(value) = super::login::between(rest, before, "]") {
            draft.rest(name, value);
        }
    }
    Ok(draft)
}

/// An address and its port behind the last colon, IPv6 without brackets.
fn end(text: &str) -> Option<countersign_event::Endpoint> {
    if let Some((ip, port)) = text.rsplit_once(':')
        && let (Some(ip), Ok(port)) = (crate::draft::ip(ip), port.parse())
    {
        return Some(countersign_event::Endpoint { ip: Some(ip), port: Some(port), ..Default::default() });
    }
    crate::draft::endpoint(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Doc;

    fn eve(text: &str) -> Draft {
        let doc = Doc::parse(text.as_bytes()).unwrap();
        let record = Record { json: Some(&doc), ..Record::new(text.as_bytes(), 0) };
        assert!(looks_eve(&record));
        parse_eve(&record).unwrap()
    }

    #[test]
    fn an_http_record_is_an_http_call_at_the_address_seen() {
        let event = eve(r#"{"timestamp":"2024-03-13T12:08:33.000000+0000","flow_id":7,"event_type":"http","src_ip":"192.0.2.1","src_port":5,"dest_ip":"192.0.2.2","dest_port":80,"proto":"TCP","http":{"hostname":"203.0.113.9:99","url":"/a/7?b=c","http_user_agent":"curl","http_method":"GET","protocol":"HTTP/1.1","status":403,"length":9}}"#).event;
        assert_eq!((event.core.kind, event.core.outcome), (Some(Kind::Http), Some(Outcome::Denied)));
        let dst = event.peer.dst.as_ref().unwrap();
        assert_eq!((dst.ip, dst.port), ("192.0.2.2".parse().ok(), Some(80)));
        assert_eq!((event.target.raw.as_str(), event.links.corr.as_str()), ("/a/7", "7"));
    }

    #[test]
    fn a_flow_begins_when_it_did_and_counts_its_bytes() {
        let event = eve(r#"{"timestamp":"2024-03-13T12:09:00.000000+0000","flow_id":7,"event_type":"flow","src_ip":"2001:db8::1","src_port":5,"dest_ip":"2001:db8::2","dest_port":443,"proto":"UDP","app_proto":"quic","flow":{"pkts_toserver":1,"bytes_toserver":10,"bytes_toclient":20,"start":"2024-03-13T12:08:33.000000+0000","end":"2024-03-13T12:08:35.500000+0000"}}"#).event;
        assert_eq!(
            (event.core.t_event, event.core.dur),
            (Some(1_710_331_713_000_000_000), Some(2_500_000_000))
        );
        assert_eq!(event.content.detail[&detail::l4::DOWN], Value::Uint(20));
    }

    #[test]
    fn dns_answers_and_blocked_alerts_have_an_outcome_and_allowed_ones_none() {
        let dns = eve(r#"{"timestamp":"2024-03-13T12:08:33.000000+0000","event_type":"dns","src_ip":"192.0.2.1","dest_ip":"192.0.2.2","proto":"UDP","dns":{"type":"answer","rrname":"a.example","rrtype":"AAAA","rcode":"REFUSED"}}"#).event;
        assert_eq!((dns.core.outcome, dns.target.res.as_str()), (Some(Outcome::Denied), "a.example"));
        for (action, outcome) in [("blocked", Some(Outcome::Denied)), ("allowed", None)] {
            let text = format!(
                r#"{{"timestamp":"2024-03-13T12:08:33.000000+0000","event_type":"alert","src_ip":"192.0.2.1","dest_ip":"192.0.2.2","proto":"TCP","alert":{{"action":"{action}"}}}}"#
            );
            assert_eq!(eve(&text).event.core.outcome, outcome);
        }
    }

    #[test]
    fn a_fast_line_gives_its_ends_even_in_ipv6() {
        let line = "03/13/2024-12:08:33.000001  [Drop] [**] [1:2:3] a {b} -> c [**] [Classification: (null)] [Priority: 3] {TCP} 2001:db8::1:80 -> 2001:db8::2:443";
        let event = parse_fast(&Record::new(line.as_bytes(), 0)).unwrap().event;
        assert_eq!(
            (event.core.t_event, event.core.outcome),
            (Some(1_710_331_713_000_001_000), Some(Outcome::Denied))
        );
        let src = event.peer.src.as_ref().unwrap();
        assert_eq!((src.ip, src.port), ("2001:db8::1".parse().ok(), Some(80)));
    }
}
