use super::*;
use crate::formats::access;
use countersign_event::{CaptureConf, Event, Outcome, Rec};

const NOW: i64 = 1_710_331_713_000_000_000; // 2024-03-13T12:08:33Z

fn draft(text: &str) -> Draft {
    parse(&Record { realm: "r", ..Record::new(text.as_bytes(), NOW) }).unwrap()
}
fn kept(event: &Event, pointer: &str) -> String {
    match event.content.unmapped.get(pointer) {
        Some(countersign_event::Unmapped::Token(token)) => token.trim_matches('"').to_owned(),
        _ => String::new(),
    }
}

#[test]
fn every_field_of_a_message_is_kept() {
    let draft = draft(
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 77 ID47 [exampleSDID@32473 iut=\"3\" x=\"a\\\"b\\]\"][e@1] \u{feff}An application event",
    );
    let event = &draft.event;
    assert_eq!(draft.conf(), CaptureConf::Full);
    assert_eq!(event.core.t_event, Some(1_065_910_455_003_000_000));
    let names = ["hostname", "appname", "procid", "msgid", "facility", "severity", "version"];
    let got: Vec<String> = names.iter().map(|name| kept(event, &format!("/syslog/{name}"))).collect();
    assert_eq!(got, ["mymachine.example.com", "evntslog", "77", "ID47", "20", "5", "1"]);
    assert_eq!(kept(event, "/syslog/sd/exampleSDID@32473/iut"), "3");
    assert_eq!(kept(event, "/syslog/sd/exampleSDID@32473/x"), "a\\\"b]");
    assert_eq!(kept(event, "/message"), "An application event");
    let who = event.who.who.as_ref().unwrap();
    assert_eq!((who.id.as_str(), who.verified), ("user:mymachine.example.com/evntslog", Verified::Claimed));
    assert_eq!((event.core.rec, event.core.outcome, event.core.kind), (Some(Rec::Raw), None, None));
}

#[test]
fn each_rule_broken_is_named_and_the_rest_is_read() {
    for (text, host) in [
        ("<192>1 - h - - - -", "h"),
        ("<01>1 - h - - - -", "h"),
        ("<1>1 2003-08-24t05:14:15Z h - - - -", "h"),
        ("<1>1 2003-08-24T05:14:60Z h - - - -", "h"),
        ("<1>1 2003-08-24T05:14:15.1234567Z h - - - -", "h"),
        ("<1>1  - h - - - -", "h"),
        ("<1>1 - h - - - ", "h"),
        ("<1>1 - h - - -", "h"),
        ("<1>1 - h - - - [a b=c]", "h"),
        ("<1>1 - h - - - [a b=\"]\"]", "h"),
        ("<1>1 - h - - - [a b=\"c\"", "h"),
        ("<1>1 - h - - - -text", "h"),
        ("1 2003-08-24T05:14:15Z h app - - -", "h"),
    ] {
        let draft = draft(text);
        assert_eq!(draft.conf(), CaptureConf::Partial, "{text}");
        assert_eq!(kept(&draft.event, "/syslog/hostname"), host, "{text}");
    }
}

#[test]
fn the_old_form_is_read_as_programs_write_it() {
    for (text, host, app, pid, message) in [
        ("<34>Mar 13 12:08:33 m su[12]: hi", "m", "su", "12", "hi"),
        ("Mar 13 12:08:33 m postfix/smtpd[12]: hi", "m", "postfix/smtpd", "12", "hi"),
        ("<34>Mar 13 12:08:33 su: hi", "", "su", "", "hi"),
        ("<34>Mar 13 2024 12:08:33 m hi there", "m", "", "", "hi there"),
        ("2024-03-13T12:08:33.000000+00:00 m kernel: [1.2] hi", "m", "kernel", "", "[1.2] hi"),
    ] {
        let draft = draft(text);
        let event = &draft.event;
        assert_eq!(draft.conf(), CaptureConf::Full, "{text}");
        assert_eq!(event.core.t_event, Some(NOW), "{text}");
        let got =
            ["/syslog/hostname", "/syslog/appname", "/syslog/procid", "/message"].map(|p| kept(event, p));
        assert_eq!(got, [host, app, pid, message], "{text}");
    }
    let who = draft("<34>Mar 13 12:08:33 su: hi").event.who.who.clone().unwrap();
    assert_eq!(who.id, "user:r/su", "without a host the input's realm");
    assert_eq!(draft("<13>hello").conf(), CaptureConf::Partial);
}

#[test]
fn lines_of_other_logs_are_not_taken_for_syslog() {
    for text in [
        "2024-03-13T12:08:33.000000+00:00 INFO module: started",
        "2024-03-13 12:08:33.000 UTC [1] LOG:  ready",
        "12 drummers drumming",
        "Marching orders: none",
        "<html>",
    ] {
        assert!(!looks(&Record::new(text.as_bytes(), NOW)), "{text}");
    }
}

#[test]
fn what_it_carries_is_read_and_nobody_in_it_is_more_than_claimed() {
    let line = "<190>Mar 13 12:08:33 web1 nginx: 192.0.2.1 - alice [13/Mar/2024:12:08:30 +0000] \"GET /a HTTP/1.1\" 200 3 \"-\" \"curl\"";
    let draft = draft(line);
    assert_eq!((draft.inner, draft.conf()), (access::COMBINED.name, CaptureConf::Full));
    let event = &draft.event;
    assert_eq!(event.core.outcome, Some(Outcome::Success));
    assert_eq!(event.core.t_event, Some(NOW - 3_000_000_000));
    assert_eq!(event.peer.dst.as_ref().unwrap().host, "web1");
    assert_eq!(event.target.svc, "nginx");
    assert_eq!(kept(event, "/syslog/severity"), "6");
    let who = event.who.who.as_ref().unwrap();
    assert_eq!((who.id.as_str(), who.verified), ("user:web1/alice", Verified::Claimed));
}

#[test]
fn a_message_that_is_not_what_the_configuration_says_is_partial() {
    let mut record = Record::new(b"<190>Mar 13 12:08:33 web1 nginx: hello", NOW);
    record.inner = Some(&access::COMBINED);
    assert_eq!(parse(&record).unwrap().conf(), CaptureConf::Partial);
}

#[test]
fn octets_that_are_no_text_are_marked() {
    let record = Record::new(b"<1>1 - h - - - - \xff", NOW);
    let draft = parse(&record).unwrap();
    assert_eq!(
        (draft.conf(), kept(&draft.event, "/syslog/hostname")),
        (CaptureConf::Partial, "h".to_owned())
    );
}
