//! Audit records of platforms from outside: batches cut, parts joined, secrets kept nowhere, nothing believed more.

use crate::score::trusted;
use countersign_collect::formats::{by_name, cloudtrail, k8s_audit};
use countersign_collect::joins::Joiner;
use countersign_collect::json::split;
use countersign_collect::{KeepRaw, observe};
use countersign_event::{CaptureConf, Event, Outcome, Verified};

const SECOND: u64 = 1_000_000_000;

fn stage(stage: &str, more: &str) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a-1","stage":"{stage}","verb":"get",
        "requestURI":"/api/v1/pods","user":{{"username":"bob"}},"sourceIPs":["192.0.2.1"],
        "requestReceivedTimestamp":"2024-03-13T12:08:33.000000Z","stageTimestamp":"2024-03-13T12:08:33.5Z"{more}}}"#
    )
}

fn merged(event: &Event) -> u64 {
    event.body.cap.as_ref().unwrap().merged.unwrap_or(1)
}

fn conf(event: &Event) -> Option<CaptureConf> {
    event.body.cap.as_ref().unwrap().conf
}

#[test]
fn stages_of_a_kubernetes_request_are_one_event() {
    let (input, keeper) = trusted();
    let mut joiner = Joiner::default();
    let format = by_name("k8s-audit");
    let mut take = |text: &str| joiner.observe(text.as_bytes(), format, &input, &keeper, SECOND);
    assert!(take(&stage("RequestReceived", "")).is_empty());
    assert!(take(&stage("ResponseStarted", r#","responseStatus":{"code":200}"#)).is_empty());
    let events = take(&stage("ResponseComplete", r#","responseStatus":{"code":200}"#));
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((merged(event), conf(event)), (3, Some(CaptureConf::Full)));
    assert_eq!((event.core.outcome, event.core.dur), (Some(Outcome::Success), Some(SECOND / 2)));
    assert_eq!(event.body.cap.as_ref().unwrap().source_id, "a-1");
}

#[test]
fn a_stage_whose_end_never_came_is_partial_and_has_no_outcome() {
    let (input, keeper) = trusted();
    let mut joiner = Joiner::new(SECOND);
    let received = stage("RequestReceived", "");
    assert!(joiner.observe(received.as_bytes(), by_name("k8s-audit"), &input, &keeper, SECOND).is_empty());
    let events = joiner.expire(&input, &keeper, 3 * SECOND);
    assert_eq!((events.len(), conf(&events[0])), (1, Some(CaptureConf::Partial)));
    assert_eq!(events[0].core.outcome, None);
}

#[test]
fn vaults_request_and_response_are_one_event_that_began_with_the_request() {
    let (input, keeper) = trusted();
    let mut joiner = Joiner::default();
    let entry = |kind: &str, at: &str| {
        format!(
            r#"{{"time":"2024-03-13T12:08:{at}Z","type":"{kind}","auth":{{"client_token":"hmac-sha256:a","display_name":"app"}},
            "request":{{"id":"q","operation":"read","path":"secret/data/x","remote_address":"192.0.2.1"}}}}"#
        )
    };
    let mut take = |text: &str| joiner.observe(text.as_bytes(), None, &input, &keeper, SECOND);
    assert!(take(&entry("request", "33.0")).is_empty());
    let events = take(&entry("response", "33.25"));
    assert_eq!((merged(&events[0]), conf(&events[0])), (2, Some(CaptureConf::Full)));
    assert_eq!(events[0].core.dur, Some(SECOND / 4));
    let alone = take(&entry("response", "34.0").replace("\"q\"", "\"other\""));
    assert_eq!(conf(&alone[0]), Some(CaptureConf::Partial));
}

#[test]
fn files_and_lists_are_cut_into_records_that_parse() {
    let (input, keeper) = trusted();
    let trail = r#"{"eventVersion":"1.08","eventTime":"2024-03-13T12:08:33Z","eventName":"GetObject","eventSource":"s3.amazonaws.com",
        "eventType":"AwsApiCall","eventID":"e","userIdentity":{"type":"Root","accountId":"1"}}"#;
    let file = format!(r#"{{"Records":[{}]}}"#, vec![trail; 2_000].join(","));
    let list = format!(
        r#"{{"kind":"EventList","metadata":{{}},"items":[{},{}]}}"#,
        stage("ResponseComplete", ""),
        stage("RequestReceived", "")
    );
    for (text, member, count, name) in
        [(&file, cloudtrail::MEMBER, 2_000, "cloudtrail"), (&list, k8s_audit::MEMBER, 2, "k8s-audit")]
    {
        let spans: Result<Vec<_>, _> = split::elements(text.as_bytes(), Some(member)).collect();
        let spans = spans.unwrap();
        assert_eq!(spans.len(), count);
        for span in spans.into_iter().take(3) {
            let event = observe(&text.as_bytes()[span], None, &input, &keeper, SECOND);
            assert_eq!(event.body.cap.as_ref().unwrap().fmt, name);
        }
    }
}

#[test]
fn secrets_that_only_the_format_knows_are_kept_nowhere() {
    let (mut input, keeper) = trusted();
    input.keep_raw = KeepRaw::All;
    let trail = r#"{"eventName":"AssumeRole","eventSource":"sts.amazonaws.com","userIdentity":{"type":"Root","accountId":"1"},
        "responseElements":{"credentials":{"sessionToken":"plain-words-no-rule-knows"}}}"#;
    let secret = stage(
        "ResponseComplete",
        r#","objectRef":{"resource":"secrets"},"requestObject":{"data":{"p":"plain-words-no-rule-knows"}}"#,
    );
    let vault = r#"{"time":"2024-03-13T12:08:33Z","type":"response","auth":{"client_token":"root"},"request":{"id":"q",
        "operation":"update","path":"secret/x","data":{"p":"plain-words-no-rule-knows"}}}"#;
    for text in [trail, &secret, vault] {
        let event = observe(text.as_bytes(), None, &input, &keeper, SECOND);
        assert_eq!(conf(&event).map(|conf| conf == CaptureConf::RawOnly), Some(false), "{text}");
        assert!(!format!("{event:?}").contains("plain-words"), "{event:?}");
        let raw = event.body.raw.as_ref().unwrap();
        assert!(raw.bytes.is_empty() && raw.digest.is_some() && raw.length.is_some());
    }
}

#[test]
fn forwarded_addresses_and_names_that_a_caller_chose_are_claimed() {
    let (input, keeper) = trusted();
    let forged = stage("ResponseComplete", "").replace(r#"["192.0.2.1"]"#, r#"["10.0.0.1","192.0.2.1"]"#);
    let vault = r#"{"time":"2024-03-13T12:08:33Z","type":"response","request":{"id":"q","operation":"read","path":"x",
        "headers":{"x-forwarded-for":["10.0.0.1"]}}}"#;
    let waf = r#"{"timestamp":1,"webaclId":"a","action":"ALLOW","httpRequest":{"clientIp":"192.0.2.1","uri":"/",
        "httpMethod":"GET","headers":[{"name":"x-forwarded-for","value":"10.0.0.1"}]}}"#;
    for text in [&forged, vault, waf] {
        let event = observe(text.as_bytes(), None, &input, &keeper, SECOND);
        assert_eq!(event.peer.hops, [("10.0.0.1".to_owned(), Verified::Claimed)], "{text}");
    }
    let source = r#"{"eventName":"GetObject","eventSource":"s3","userIdentity":{"type":"AssumedRole","arn":"arn:a",
        "sessionContext":{"sourceIdentity":"ceo"}}}"#;
    let event = observe(source.as_bytes(), None, &input, &keeper, SECOND);
    assert_eq!(event.who.obo[0].verified, Verified::Claimed);
}

#[test]
fn an_event_can_be_encoded_however_long_a_field_of_the_record_is() {
    let long = "a".repeat(300 << 10);
    for seed in crate::seeds_platforms::PLATFORMS {
        let values: Vec<_> = seed.match_indices(":\"").map(|(at, _)| at + 2).collect();
        for at in values {
            let text = format!("{}{long}{}", &seed[..at], &seed[at..]);
            let detect = u8::try_from(countersign_collect::formats::FORMATS.len()).unwrap();
            countersign_collect::fuzz::collect_record(&[&[detect], text.as_bytes()].concat());
        }
    }
}
