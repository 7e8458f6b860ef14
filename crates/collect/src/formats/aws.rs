//! JSON logs of AWS services other than CloudTrail: web ACL traffic of WAF, DNS queries of Route 53 Resolver.
//!
//! Source: AWS WAF Developer Guide, "Log fields for protection pack (web ACL) traffic"; Route 53 Developer Guide,
//! "Values that appear in Resolver query logs". Inside a trusted input the client's address is the service's own
//! view; headers are the client's and claimed. Credentials in headers are dropped.

use super::{Format, Record, cloud};
use crate::json::{Kind as Json, Val};
use crate::{Draft, Fault, http, time};
use countersign_event::cbor::Value;
use countersign_event::fields::detail::dns;
use countersign_event::{Class, Decision, Kind, Mode, Outcome, StatusSpace, Verdict, Verified};

/// Requests that a web ACL judged.
pub const WAF: Format =
    Format { name: "aws-waf", what: "AWS WAF web ACL traffic", looks: looks_waf, parse: waf };
/// Queries that a VPC's resolver answered.
pub const RESOLVER: Format = Format {
    name: "aws-resolver",
    what: "Route 53 Resolver query log (VPC DNS)",
    looks: looks_resolver,
    parse: resolver,
};

fn looks_waf(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|entry| entry.has("webaclId") && entry.has("httpRequest"))
}

fn waf(record: &Record<'_>) -> Result<Draft, Fault> {
    let entry = record.object()?;
    let request = entry.get("httpRequest").ok_or(Fault::new(0, "no httpRequest"))?;
    let mut draft = Draft::new();
    draft.event.core.kind = Some(Kind::Http);
    let stamp = entry.get("timestamp").and_then(|stamp| match stamp.int() {
        Some(ms) => time::unix(ms, 1_000_000),
        None => time::rfc3339(&stamp.text()?),
    });
    draft.time(stamp);
    let uri = cloud::text(request, "uri").unwrap_or_default();
    let url = match cloud::text(request, "args") {
        Some(query) => format!("{uri}?{query}"),
        None => uri.into_owned(),
    };
    match cloud::text(request, "httpMethod") {
        Some(method) => {
            let version = cloud::text(request, "httpVersion").unwrap_or_default();
            http::request(&mut draft, &method, &url, &version);
        }
        None => {
            http::target(&mut draft, &url);
            draft.partial("a required field is missing");
        }
    }
    match cloud::text(request, "clientIp") {
        Some(address) => cloud::source(&mut draft, &address),
        None => draft.partial("a required field is missing"),
    }
    draft.event.links.corr = cloud::text(request, "requestId").unwrap_or_default().into_owned();
    headers(&mut draft, request);
    judged(&mut draft, entry);
    draft.event.peer.ja4 = cloud::text(entry, "ja4Fingerprint").unwrap_or_default().into_owned();
    Ok(draft)
}

fn judged(draft: &mut Draft, entry: Val<'_, '_>) {
    let rule = cloud::text(entry, "terminatingRuleId").map(|rule| rule.into_owned());
    let verdict = match cloud::text(entry, "action").as_deref() {
        // That a request was let through does not say how it ended.
        Some("ALLOW") => Verdict::Allow,
        // A challenge that was not met is an answer in the server's place.
        Some("BLOCK" | "CAPTCHA" | "CHALLENGE") => {
            draft.outcome(Outcome::Denied);
            Verdict::Deny
        }
        _ => return draft.partial("an unknown action"),
    };
    let decision = Decision {
        verdict: Some(verdict),
        mode: Some(Mode::Enforce),
        policies: rule.into_iter().collect(),
        ..Decision::default()
    };
    draft.event.core.decision = Some(decision.into());
    if let Some(code) = entry.get("responseCodeSent").and_then(|code| code.uint()) {
        draft.event.core.status = Some((StatusSpace::Http, code.to_string()));
    }
}

fn headers(draft: &mut Draft, request: Val<'_, '_>) {
    for header in request.get("headers").into_iter().flat_map(|all| all.elements()) {
        let Some(name) = header.get("name").and_then(|name| name.peek()) else { continue };
        let name = name.to_ascii_lowercase();
        let value = || cloud::text(header, "value").unwrap_or_default();
        match name.as_str() {
            "host" => http::host(draft, &value()),
            "user-agent" | "referer" | "content-type" => draft.header(&name, value()),
            "x-forwarded-for" => {
                value().split(',').for_each(|hop| draft.hop(hop.trim(), Verified::Claimed));
            }
            "authorization" | "proxy-authorization" | "cookie" | "x-api-key" | "x-amz-security-token" => {
                if value() != "REDACTED" {
                    draft.secret("credential-header");
                }
            }
            _ => continue,
        }
        header.take();
    }
}

fn looks_resolver(record: &Record<'_>) -> bool {
    record
        .object()
        .is_ok_and(|entry| entry.has("query_name") && entry.has("query_type") && entry.has("srcaddr"))
}

fn resolver(record: &Record<'_>) -> Result<Draft, Fault> {
    let entry = record.object()?;
    let mut draft = Draft::new();
    let name = cloud::text(entry, "query_name").ok_or(Fault::new(0, "no query_name"))?;
    let kind = cloud::text(entry, "query_type").ok_or(Fault::new(0, "no query_type"))?;
    draft.time(cloud::text(entry, "query_timestamp").and_then(|text| time::rfc3339(&text)));
    draft.event.core.kind = Some(Kind::Dns);
    draft.event.core.class = Some(Class::Read);
    let target = &mut *draft.event.target;
    target.res = name.to_string();
    target.raw = name.into_owned();
    target.ns = cloud::text(entry, "account_id").unwrap_or_default().into_owned();
    target.region = cloud::text(entry, "region").unwrap_or_default().into_owned();
    if let Some(address) = cloud::text(entry, "srcaddr") {
        cloud::source(&mut draft, &address);
    }
    let port = entry.get("srcport").and_then(|port| port.uint()).and_then(|port| u16::try_from(port).ok());
    let instance = cloud::text(entry, "srcids/instance").unwrap_or_default().into_owned();
    let network = cloud::text(entry, "vpc_id").unwrap_or_default().into_owned();
    let src = draft.event.peer.src.get_or_insert_default();
    (src.port, src.workload, src.ns) = (port, instance, network);
    draft.transport(&cloud::text(entry, "transport").unwrap_or_default());
    answer(&mut draft, entry);
    let number = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&kind)).map(|(_, number)| *number);
    if let Some(number) = number {
        draft.event.content.detail.insert(dns::QTYPE, Value::Uint(number));
    }
    draft.event.core.op = kind.into_owned();
    Ok(draft)
}

/// Numbers of record types (IANA, "DNS Parameters").
const TYPES: [(&str, u64); 16] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DS", 43),
    ("RRSIG", 46),
    ("DNSKEY", 48),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("ANY", 255),
];

/// Response codes (RFC 1035 section 4.1.1) and how a query with them ended.
const CODES: [(&str, u64, Outcome); 6] = [
    ("NOERROR", 0, Outcome::Success),
    ("FORMERR", 1, Outcome::CallerError),
    ("SERVFAIL", 2, Outcome::ServerError),
    ("NXDOMAIN", 3, Outcome::CallerError),
    ("NOTIMP", 4, Outcome::CallerError),
    ("REFUSED", 5, Outcome::Denied),
];

fn answer(draft: &mut Draft, entry: Val<'_, '_>) {
    if let Some(code) = cloud::text(entry, "rcode") {
        let known = CODES.iter().find(|(name, ..)| *name == code);
        if let Some((_, number, outcome)) = known {
            draft.outcome(*outcome);
            draft.event.content.detail.insert(dns::RCODE, Value::Uint(*number));
        }
        draft.event.core.status = Some((StatusSpace::Dns, code.into_owned()));
    }
    if cloud::text(entry, "firewall_rule_action").as_deref() == Some("BLOCK") {
        draft.outcome(Outcome::Denied);
        draft.event.core.decision =
            Some(Decision { verdict: Some(Verdict::Deny), ..Decision::default() }.into());
    }
    let Some(answers) = entry.get("answers") else { return };
    // One answer is an object in exports that flatten lists of one.
    let all: Vec<Val<'_, '_>> =
        if answers.kind() == Json::Object { vec![answers] } else { answers.elements().collect() };
    let data =
        all.into_iter().filter_map(|answer| Some(Value::Text(cloud::text(answer, "Rdata")?.into_owned())));
    let data: Vec<Value> = data.collect();
    if !data.is_empty() {
        draft.event.content.detail.insert(dns::ANSWERS, Value::Array(data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::draft;

    #[test]
    fn a_blocked_request_names_its_rule_and_its_credentials_are_dropped() {
        let text = r#"{"timestamp":1710331713000,"webaclId":"arn:x","terminatingRuleId":"r1","action":"BLOCK",
            "responseCodeSent":403,"httpRequest":{"clientIp":"192.0.2.1","uri":"/a","args":"t=1","httpVersion":"HTTP/2.0",
            "httpMethod":"GET","requestId":"q","headers":[{"name":"Host","value":"shop.example"},
            {"name":"Cookie","value":"sid=s3cr3t"},{"name":"X-Forwarded-For","value":"1.1.1.1, 2.2.2.2"},
            {"name":"X-Other","value":"o"}]}}"#;
        let draft = draft(&WAF, text);
        let event = &draft.event;
        assert_eq!(event.core.outcome, Some(Outcome::Denied));
        assert_eq!(event.core.decision.as_ref().unwrap().policies, ["r1"]);
        assert_eq!(
            event.peer.hops.iter().map(|(_, level)| *level).collect::<Vec<_>>(),
            [Verified::Claimed; 2]
        );
        assert!(draft.private && !format!("{event:?}").contains("s3cr3t"));
        assert!(format!("{:?}", event.content.unmapped).contains("X-Other"));
    }

    #[test]
    fn a_request_that_was_let_through_has_a_decision_and_no_outcome() {
        let text = r#"{"timestamp":1710331713000,"webaclId":"a","action":"ALLOW","httpRequest":{"clientIp":"1.1.1.1","uri":"/","httpMethod":"GET"}}"#;
        let draft = draft(&WAF, text);
        let verdict = draft.event.core.decision.as_ref().unwrap().verdict;
        assert_eq!((draft.event.core.outcome, verdict), (None, Some(Verdict::Allow)));
    }

    #[test]
    fn a_query_names_what_was_asked_by_whom_and_what_came_back() {
        let text = r#"{"version":"1.1","account_id":"1","region":"r","vpc_id":"vpc-1","query_timestamp":"2024-03-13T12:08:33Z",
            "query_name":"example.org.","query_type":"AAAA","query_class":"IN","rcode":"NXDOMAIN","answers":[{"Rdata":"x","Type":"AAAA"}],
            "srcaddr":"10.0.0.1","srcport":"53000","transport":"UDP","srcids":{"instance":"i-1"}}"#;
        let draft = draft(&RESOLVER, text);
        let src = draft.event.peer.src.as_ref().unwrap();
        assert_eq!((src.port, src.workload.as_str()), (Some(53_000), "i-1"));
        assert_eq!(draft.event.core.outcome, Some(Outcome::CallerError));
        assert_eq!(draft.event.content.detail.get(&dns::QTYPE), Some(&Value::Uint(28)));
    }
}
