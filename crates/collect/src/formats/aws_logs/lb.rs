//! Access logs of AWS load balancers: application, classic (HTTP and TCP) and network (TLS).
//!
//! Sources: Elastic Load Balancing user guides, "Access logs for your Application Load Balancer", "… Network Load
//! Balancer", "… Classic Load Balancer". The balancer itself saw the client's address; nobody is named. The time is
//! that of the request's beginning where the log has it (`request_creation_time`), else that of the answer.

use super::later;
use crate::formats::web::{Clock, Compiled, Exchange, Known, Role, nginx};
use crate::formats::{Format, Record};
use crate::plan::{Escape, FormatError};
use crate::text::given;
use crate::{Draft, Fault, time};
use countersign_event::Outcome;
use std::sync::LazyLock;

const NAMES: &[(&str, Role)] = &[
    ("type", Role::Rest),
    ("time", Role::Rest),
    ("elb", Role::Rest),
    ("client", Role::Client),
    ("target", Role::Upstream),
    ("elb_status_code", Role::Status),
    ("received_bytes", Role::Received),
    ("sent_bytes", Role::Sent),
    ("request", Role::Request),
    ("user_agent", Role::Header),
    ("ssl_cipher", Role::Cipher),
    ("ssl_protocol", Role::TlsVersion),
    ("domain_name", Role::Sni),
    ("trace_id", Role::RequestId),
    ("request_creation_time", Role::Time(Clock::Iso)),
    ("answer_time", Role::Time(Clock::Iso)),
    ("destination", Role::Upstream),
    ("connection_time", Role::Took(1_000_000)),
    ("error_reason", Role::Error),
];

fn compile(format: &str) -> Result<Compiled, FormatError> {
    let role = |name: &str| {
        let role = NAMES.iter().find(|(known, _)| *known == name).map_or(Role::Rest, |(_, role)| *role);
        (if name == "user_agent" { "user-agent" } else { name }.to_owned(), role)
    };
    nginx::dollars(format, Escape::Backslash, &role, &[])
}

static ALB_FIELDS: Known = LazyLock::new(|| {
    compile(
        "$type $time $elb $client $target $request_processing $target_processing $response_processing \
         $elb_status_code $target_status_code $received_bytes $sent_bytes \"$request\" \"$user_agent\" $ssl_cipher \
         $ssl_protocol $target_group_arn \"$trace_id\" \"$domain_name\" \"$chosen_cert_arn\" $matched_rule_priority \
         $request_creation_time \"$actions_executed\" \"$redirect_url\" \"$error_reason\"",
    )
});
static CLB_FIELDS: Known = LazyLock::new(|| {
    compile(
        "$answer_time $elb $client $target $request_processing $target_processing $response_processing \
         $elb_status_code $target_status_code $received_bytes $sent_bytes \"$request\" \"$user_agent\" $ssl_cipher \
         $ssl_protocol",
    )
});
const NLB_FORMAT: &str = "$type $version $answer_time $elb $listener $client $destination $connection_time \
                          $tls_handshake_time $received_bytes $sent_bytes $incoming_tls_alert $chosen_cert_arn \
                          $chosen_cert_serial $ssl_cipher $ssl_protocol $tls_named_group $domain_name";
/// Version 1.0 ends with the name.
static NLB_1: Known = LazyLock::new(|| compile(NLB_FORMAT));
static NLB_2: Known = LazyLock::new(|| {
    compile(&format!("{NLB_FORMAT} $alpn_fe_protocol $alpn_be_protocol $alpn_client_preference_list $later"))
});

/// Application load balancer.
pub const ALB: Format = Format {
    name: "aws-alb",
    what: "access log of an AWS application load balancer",
    looks: |record| {
        let kind = record.text.split(' ').next().unwrap_or_default();
        matches!(kind, "http" | "https" | "h2" | "grpcs" | "ws" | "wss") && record.text.contains(" app/")
    },
    parse: |record| {
        let mut draft = read(&ALB_FIELDS, record)?;
        let (kind, text) = record.text.split_once(' ').ok_or(Fault::new(0, "no type"))?;
        // `time` is that of the answer, and nobody needs it beside the beginning unless that is missing.
        if draft.event.core.t_event.is_none() {
            draft.time(text.split(' ').next().and_then(time::rfc3339));
        }
        if !matches!(kind, "http" | "https" | "h2" | "grpcs" | "ws" | "wss") {
            return Err(Fault::new(0, "no type of an application load balancer"));
        }
        // gRPC's own status is in the trailers, which this log does not have: HTTP's says nothing about the call.
        if kind == "grpcs" && draft.event.core.outcome == Some(Outcome::Success) {
            draft.event.core.outcome = None;
            draft.partial("a call of gRPC whose own status is not in the log");
        }
        Ok(draft)
    },
};
/// Classic load balancer.
pub const CLB: Format = Format {
    name: "aws-clb",
    what: "access log of an AWS classic load balancer",
    looks: |record| {
        record.text.starts_with("2") && record.text.get(10..11) == Some("T") && record.text.contains("Z ")
    },
    parse: |record| read(&CLB_FIELDS, record),
};
/// Network load balancer, connections with TLS.
pub const NLB: Format = Format {
    name: "aws-nlb",
    what: "access log of an AWS network load balancer (TLS listeners)",
    looks: |record| record.text.starts_with("tls ") && record.text.contains(" net/"),
    parse: network,
};

fn network(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut draft = read(&NLB_2, record).or_else(|_| read(&NLB_1, record))?;
    // The 22nd field is when the connection began.
    if let Some(stamp) = record.text.trim_end().split(' ').nth(21).and_then(time::rfc3339) {
        draft.time(Some(stamp));
    }
    let alert = draft.event.content.unmapped.contains_key("/incoming_tls_alert");
    draft.event.core.outcome = match (draft.event.peer.up.is_some(), alert) {
        (true, false) => Some(Outcome::Success),
        // Which side broke the handshake is not said.
        _ => None,
    };
    Ok(draft)
}

/// Reads by `known`. Times that a balancer took are seconds, -1 where it did not come so far.
fn read(known: &Known, record: &Record<'_>) -> Result<Draft, Fault> {
    let compiled = known.as_ref().map_err(|_| Fault::new(0, "a format of ours does not compile"))?;
    let mut exchange = Exchange::new(record);
    let mut took = [None; 3];
    let end = compiled.fields(record.text, &mut |role, name, text| {
        let part = ["request_processing", "target_processing", "response_processing"]
            .iter()
            .position(|n| *n == name);
        match part.and_then(|part| took.get_mut(part)) {
            Some(place) => *place = time::seconds(&text),
            // A TCP listener of a classic balancer writes a request of dashes.
            None if text.trim() == "- - -" => {}
            None => exchange.take(role, name, text),
        }
    })?;
    let mut draft = exchange.done()?;
    if let [Some(queued), Some(upstream), Some(rest)] = took {
        draft.event.core.dur = Some(queued.saturating_add(upstream).saturating_add(rest));
        draft.event.core.lat = Some([queued, queued.saturating_add(upstream), upstream]);
    }
    // `arn:…:elasticloadbalancing:region:account:targetgroup/name/id`
    if let Some(countersign_event::Unmapped::Token(arn)) =
        draft.event.content.unmapped.get("/target_group_arn")
    {
        let mut parts = arn.trim_matches('"').splitn(6, ':');
        let (region, account, group) = (parts.nth(3), parts.next(), parts.next());
        let target = &mut *draft.event.target;
        region.unwrap_or_default().clone_into(&mut target.region);
        account.unwrap_or_default().clone_into(&mut target.ns);
        let name = group.and_then(|group| group.split('/').nth(1)).and_then(given);
        name.unwrap_or_default().clone_into(&mut target.svc);
    }
    later(&mut draft, record.text.get(end..).unwrap_or_default());
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::web::tests::parsed;
    use countersign_event::Kind;

    #[test]
    fn a_classic_balancer_s_http_and_tcp_lines_are_read() {
        let http = parsed(
            &CLB,
            "2015-05-13T23:39:43.945958Z my-lb 192.0.2.39:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29 \
             \"GET http://www.example.com:80/ HTTP/1.1\" \"curl/7.38.0\" - -",
        );
        assert_eq!(http.event.core.dur, Some(1_178_000));
        assert_eq!(http.event.peer.dst.as_ref().map(|dst| dst.host.as_str()), Some("www.example.com"));
        let tcp = parsed(
            &CLB,
            "2015-05-13T23:39:43.945958Z my-lb 192.0.2.39:2817 10.0.0.1:80 0.001069 0.000028 0.000041 - - 82 305 \
             \"- - - \" \"-\" - -",
        );
        assert_eq!(tcp.event.core.kind, Some(Kind::L4));
        assert_eq!(tcp.partial, None);
    }

    #[test]
    fn a_network_balancer_s_connection_begins_when_its_last_field_says() {
        let line = "tls 2.0 2018-12-20T02:59:40 net/my-nlb/c6e77e28c25b2234 g3d4b5e8bb8464cd 192.0.2.154:51341 \
             172.16.0.185:443 5 2 98 246 - arn:aws:acm:us-east-2:123456789012:certificate/x - \
             ECDHE-RSA-AES128-SHA tlsv12 - my-nlb.example - - - 2018-12-20T02:59:30";
        let draft = parsed(&NLB, line);
        let event = &draft.event;
        assert_eq!((event.core.kind, event.core.outcome), (Some(Kind::L4), Some(Outcome::Success)));
        assert_eq!(event.core.t_event, time::rfc3339("2018-12-20T02:59:30Z").map(|stamp| stamp.ns));
        assert_eq!(
            event.peer.tls.as_ref().map(|tls| (tls.version, tls.sni.as_str())),
            Some((Some(0x0303), "my-nlb.example"))
        );
        assert_eq!(parsed(&NLB, &line.replace("172.16.0.185:443", "-")).event.core.outcome, None);
    }

    #[test]
    fn a_call_of_grpc_has_no_outcome_where_its_status_is_not_logged() {
        let draft = parsed(
            &ALB,
            "grpcs 2024-03-13T12:08:34Z app/a/1 192.0.2.1:5 10.0.0.1:80 0.001 0.002 0.000 200 200 5 257 \"POST \
             https://a.example:443/shop.Orders/Get HTTP/2.0\" \"grpc-go/1\" - - arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/shop/73e2 \
             \"Root=1-58\" \"a.example\" \"-\" 1 2024-03-13T12:08:33.250000Z \"forward\" \"-\" \"-\" \"10.0.0.1:80\" \"200\" \"-\" \"-\"",
        );
        assert_eq!(draft.event.core.outcome, None);
        assert_eq!(
            (draft.event.target.svc.as_str(), draft.event.target.region.as_str()),
            ("shop", "us-east-2")
        );
        assert_eq!(draft.event.core.lat, Some([1_000_000, 3_000_000, 2_000_000]));
    }
}
