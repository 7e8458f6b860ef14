//! The mapping table: nothing is lost, what is exported is valid, what contradicts itself is not believed.

use crate::properties::{cases, config};
use crate::random::{Manner, Random};
use countersign_event::map::{OtelLog, OtelValue, ROWS, from_ocsf, from_otel, markdown, to_ocsf, to_otel};
use countersign_event::*;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// A loose one may have no encoding (a map with one key twice); then a tidy one of the same seed.
fn random_event(seed: u64) -> Event {
    let manner = if seed.is_multiple_of(2) { Manner::Tidy } else { Manner::Loose };
    let event = Random::new(seed, manner).event();
    if event.encode().is_ok() { event } else { Random::new(seed, Manner::Tidy).event() }
}

/// A gateway's record of an HTTP call, with most of what such a record has.
fn sample() -> Event {
    let mut event = crate::golden::a();
    event.core.t_event = Some(1_789_999_999_998_500_001);
    event.core.t_obs += 1;
    event.peer.hops = vec![("192.0.2.9".to_owned(), Verified::Asserted)];
    event.content.headers = vec![("user-agent".to_owned(), "curl/8".to_owned())];
    event.content.unmapped.insert("/x".to_owned(), Unmapped::Token("1.50".to_owned()));
    event.content.unmapped.insert("/y".to_owned(), Unmapped::Bytes(vec![0, 255]));
    event
}

fn ocsf(event: &Event) -> Json {
    serde_json::from_str(&to_ocsf(event)).unwrap()
}

fn import(record: &Json) -> map::Import {
    from_ocsf(record.to_string().as_bytes()).unwrap()
}

#[test]
fn ten_thousand_random_events_come_back_from_ocsf_byte_for_byte() {
    for seed in 0..10_000 {
        let event = random_event(seed);
        let text = to_ocsf(&event);
        let back = from_ocsf(text.as_bytes()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(back.disagreements, [""; 0], "seed {seed}");
        assert!(back.event.encode() == event.encode(), "seed {seed}");
    }
}

#[test]
fn ten_thousand_random_events_come_back_from_otel_byte_for_byte() {
    for seed in 0..10_000 {
        let event = random_event(seed);
        let log = to_otel(&event);
        let back = from_otel(&log).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(back.disagreements, [""; 0], "seed {seed}");
        assert!(back.event.encode() == event.encode(), "seed {seed}");
    }
}

#[test]
fn exports_are_valid_records_of_ocsf() {
    let records: Vec<String> = (0..10_000).map(|seed| to_ocsf(&random_event(seed))).collect();
    let answer = countersign_testkit::ocsf::validate(&records).unwrap();
    let answer: Json = serde_json::from_str(&answer).unwrap();
    println!("{answer}");
    assert_eq!((&answer["count"], &answer["invalid"]), (&json!(10_000), &json!(0)), "{:#}", answer["faults"]);
    for class in map::CLASSES {
        assert!(
            answer["classes"][class.uid.to_string()].as_u64() > Some(100),
            "{} was not tried",
            class.name
        );
    }
}

#[test]
fn the_judge_of_exports_finds_faults() {
    let broken = |change: fn(&mut Json)| {
        let mut record = ocsf(&sample());
        change(&mut record);
        record.to_string()
    };
    let records = [
        broken(|record| drop(record.as_object_mut().unwrap().remove("severity_id"))),
        broken(|record| record["src_endpoint"]["port"] = json!(65536)),
        broken(|record| record["invented"] = json!(1)),
        broken(|record| record["metadata"]["profiles"] = json!([])),
        broken(|_| ()),
    ];
    let answer: Json = serde_json::from_str(&countersign_testkit::ocsf::validate(&records).unwrap()).unwrap();
    assert_eq!(answer["invalid"], 4, "{answer:#}");
}

#[test]
fn an_http_call_reads_as_http_activity() {
    let record = ocsf(&sample());
    let want = json!({
        "class_uid": 4002, "category_uid": 4, "type_uid": 400203, "activity_id": 3, "severity_id": 1,
        "time": 1_789_999_999_998_u64, "status_id": 1, "status_code": "200",
    });
    for (name, value) in want.as_object().unwrap() {
        assert_eq!(&record[name], value, "{name}");
    }
    assert_eq!(record["metadata"]["version"], "1.8.0");
    assert_eq!(record["http_request"]["http_method"], "GET");
    assert_eq!(record["http_request"]["user_agent"], "curl/8");
    assert_eq!(record["http_request"]["x_forwarded_for"], json!(["192.0.2.9"]));
    assert_eq!(record["actor"]["user"]["uid"], "spiffe://example.org/billing");
    assert_eq!(record["src_endpoint"], json!({"ip": "10.0.0.5", "port": 41822}));
    assert_eq!(record["unmapped"]["/x"], json!(1.5));
    assert!(to_ocsf(&sample()).contains("\"/x\":1.50"), "as the source spelled it");
    let extension = &record["unmapped"]["countersign"];
    assert_eq!(extension["core"]["t_event"], "2026-09-21T14:13:19.998500001Z", "what ms cannot say");
    assert_eq!(extension["who"]["who"]["verified"], 4);
    assert_eq!(extension["core"].get("op"), None, "what OCSF gives back is not written twice");
}

#[test]
fn a_log_record_has_the_audit_attributes() {
    let log = to_otel(&sample());
    let find =
        |name: &str| log.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let text = |text: &str| Some(OtelValue::Text(text.to_owned()));
    assert_eq!(find("audit.record.id"), text("39a7cf97307106bd4d78dc098d79b059"));
    assert_eq!(find("audit.actor.id"), text("spiffe://example.org/billing"));
    assert_eq!(find("audit.actor.type"), text("service"));
    assert_eq!(find("audit.action"), text("GET"));
    assert_eq!(find("audit.outcome"), text("success"));
    assert_eq!(find("http.response.status_code"), Some(OtelValue::Int(200)));
    assert_eq!(find("audit.sequence.number"), Some(OtelValue::Int(7)));
    assert!(
        !log.attributes.iter().any(|(name, _)| name.starts_with("audit.integrity")),
        "none without a proof"
    );
    assert_eq!((log.event_name.as_str(), log.time), ("http.read", 1_789_999_999_998_500_001));
    assert_eq!(
        log.resource,
        [("service.instance.id".to_owned(), OtelValue::Text("spiffe://example.org/gw".to_owned()))]
    );
}

#[test]
fn a_changed_twin_wins_is_named_and_costs_the_level() {
    let event = sample();
    let changes: [(&str, Json, &str); 5] = [
        ("/time", json!(1_000), "core.t_event"),
        ("/metadata/logged_time", json!(2_000), "core.t_obs"),
        ("/actor/user/type_id", json!(1), "who.who.kind"),
        ("/status_code", json!("500"), "core.status"),
        ("/class_uid", json!(6003), "core.kind"),
    ];
    for (pointer, value, field) in changes {
        let mut record = ocsf(&event);
        *record.pointer_mut(pointer).unwrap() = value;
        let back = import(&record);
        assert!(back.disagreements.iter().any(|known| known == field), "{pointer}: {:?}", back.disagreements);
        assert_eq!(back.event.who.who.as_ref().unwrap().verified, Verified::Claimed, "{pointer}");
        assert_eq!(back.event.peer.hops[0].1, Verified::Claimed, "{pointer}");
    }
    let mut record = ocsf(&event);
    record["time"] = json!(1_000);
    assert_eq!(import(&record).event.core.t_event, Some(1_000_000_000));
}

#[test]
fn a_changed_extension_does_not_win() {
    let mut record = ocsf(&sample());
    record["unmapped"]["countersign"]["core"]["t_event"] = json!("2020-01-01T00:00:00.000000001Z");
    record["unmapped"]["countersign"]["who"]["who"]["id"] = json!("spiffe://example.org/other");
    let back = import(&record);
    assert_eq!(back.disagreements, ["core.t_event", "who.who.id"]);
    assert_eq!(back.event.core.t_event, Some(1_789_999_999_998_000_000));
    assert_eq!(back.event.who.who.as_ref().unwrap().id, "spiffe://example.org/billing");
    assert_eq!(back.event.who.who.as_ref().unwrap().verified, Verified::Claimed);
}

#[test]
fn a_twin_taken_away_is_not_made_up_for() {
    let mut record = ocsf(&sample());
    record["actor"]["user"].as_object_mut().unwrap().remove("type_id");
    let back = import(&record);
    assert_eq!(back.disagreements, ["who.who.kind"]);
    assert_eq!(back.event.who.who.as_ref().unwrap().kind, None);
}

#[test]
fn a_value_that_looks_like_a_filler_comes_back() {
    let mut event = sample();
    event.core.op = "unknown".to_owned();
    event.who.who =
        Some(Principal { kind: Some(PrincipalKind::Service), ..Principal::new("unknown", Verified::Bound) });
    event.core.kind = Some(Kind::Rpc);
    event.core.t_event = Some(event.core.t_obs as i64);
    event.peer.src = Some(Endpoint { host: "unknown".to_owned(), ..Endpoint::default() });
    assert_eq!(from_otel(&to_otel(&event)).unwrap().event.encode(), event.encode());
    let back = from_ocsf(to_ocsf(&event).as_bytes()).unwrap();
    assert_eq!((back.disagreements.len(), back.event.encode()), (0, event.encode()));
}

#[test]
fn in_otel_a_changed_twin_wins_too() {
    let change = |name: &str, value: OtelValue| {
        let mut log = to_otel(&sample());
        log.attributes.iter_mut().find(|(known, _)| known == name).unwrap().1 = value;
        from_otel(&log).unwrap()
    };
    let back = change("audit.action", OtelValue::Text("PUT".to_owned()));
    assert_eq!(back.disagreements, ["core.op"]);
    let back = change("audit.actor.type", OtelValue::Text("user".to_owned()));
    assert_eq!(back.disagreements, ["who.who.kind"]);
    assert_eq!(back.event.who.who.as_ref().unwrap().verified, Verified::Claimed);
    let mut log = to_otel(&sample());
    log.event_name = "sql.read".to_owned();
    assert_eq!(from_otel(&log).unwrap().disagreements, ["core.kind"]);
}

#[test]
fn what_others_add_on_the_way_is_kept_apart() {
    let mut record = ocsf(&sample());
    record["observables"] = json!([{"name": "x", "type_id": 1}]);
    record["src_endpoint"]["location"] = json!({"country": "NO"});
    let back = import(&record);
    assert_eq!(back.disagreements, [""; 0]);
    let token = |pointer: &str| back.event.content.unmapped.get(pointer).cloned();
    assert_eq!(token("/observables/0/name"), Some(Unmapped::Token("\"x\"".to_owned())));
    assert_eq!(token("/src_endpoint/location/country"), Some(Unmapped::Token("\"NO\"".to_owned())));
    assert_eq!(token("/y"), Some(Unmapped::Bytes(vec![0, 255])));
    let mut log = to_otel(&sample());
    log.attributes.push(("k8s.pod.name".to_owned(), OtelValue::Text("a".to_owned())));
    let back = from_otel(&log).unwrap();
    assert_eq!(
        back.event.content.unmapped.get("/attributes/k8s.pod.name"),
        Some(&Unmapped::Token("\"a\"".to_owned()))
    );
}

#[test]
fn anothers_record_gives_what_it_says_and_no_more() {
    let record = json!({
        "class_uid": 6003, "activity_id": 2, "type_uid": 600302, "category_uid": 6, "severity_id": 1,
        "time": 1_700_000_000_123_u64, "status_id": 2, "cloud": {"provider": "AWS", "region": "eu-north-1"},
        "metadata": {"version": "1.1.0", "product": {"name": "CloudTrail", "uid": "x"}, "uid": "their-id"},
        "api": {"operation": "GetObject", "service": {"name": "s3.amazonaws.com"}},
        "actor": {"user": {"uid": "AIDA", "name": "bob", "type_id": 1}},
        "src_endpoint": {"ip": "192.0.2.1"}, "unmapped": {"a": 1},
    });
    let back = import(&record);
    assert!(!back.ours);
    let event = &back.event;
    assert_eq!((event.core.kind, event.core.class), (Some(Kind::CloudApi), Some(Class::Read)));
    assert_eq!((event.core.op.as_str(), event.target.svc.as_str()), ("GetObject", "s3.amazonaws.com"));
    assert_eq!(event.core.t_event, Some(1_700_000_000_123_000_000));
    let who = event.who.who.as_ref().unwrap();
    assert_eq!((who.id.as_str(), who.name.as_str(), who.verified), ("AIDA", "bob", Verified::Claimed));
    assert_eq!(
        (event.core.agent.as_str(), event.core.seq, event.core.eid),
        ("", 0, [0; 16]),
        "not theirs to give"
    );
    assert_eq!(event.core.outcome, None, "a failure without a name is not given one here");
    let token = |pointer: &str| event.content.unmapped.contains_key(pointer);
    assert!(token("/status_id") && token("/metadata/uid") && token("/unmapped/a") && token("/class_uid"));
    assert!(!token("/api/operation") && !token("/time"));
    assert!(back.taken.contains(&"/api/operation".to_owned()));
}

#[test]
fn a_value_of_anothers_that_is_none_stays_where_it_was() {
    let wrong = json!({
        "class_uid": 4002, "time": "yesterday", "duration": -1, "count": 1, "status_detail": "Bad password",
        "src_endpoint": {"ip": "nowhere", "port": 70_000}, "dst_endpoint": {"ip": "::FFFF:192.0.2.1", "port": "x"},
        "connection_info": {"protocol_name": "TCP"}, "trace": {"uid": "abc"}, "http_response": {"code": 0},
        "metadata": {"tenant_uid": "theirs", "labels": ["x"]}, "raw_data": "x", "tls": {"version": "TLSv1.2"},
        "unmapped": {"countersign": 5}, "actor": {"user": {"type_id": 2, "name": null}}, "activity_id": 1.5,
    });
    let back = import(&wrong);
    let event = &back.event;
    assert!(!back.ours);
    assert_eq!(event.peer.src, None);
    assert_eq!(event.peer.dst.as_ref().unwrap().ip.unwrap().to_string(), "192.0.2.1");
    assert_eq!(event.peer.transport, Some(Transport::Tcp));
    assert_eq!(event.peer.tls.as_ref().unwrap().version, Some(0x0303));
    assert_eq!(
        (event.core.t_event, event.core.n, event.core.outcome, event.links.trace),
        (None, None, None, None)
    );
    assert_eq!(
        (event.core.tenant.as_str(), event.core.labels.len(), event.body.raw.is_none()),
        ("", 0, true)
    );
    assert!(event.who.who.is_none());
    for pointer in ["/time", "/count", "/src_endpoint/ip", "/trace/uid", "/raw_data", "/metadata/labels/0"] {
        assert!(event.content.unmapped.contains_key(pointer), "{pointer}");
    }
    assert_eq!(event.content.unmapped.get("/activity_id"), Some(&Unmapped::Token("1.5".to_owned())));
}

#[test]
fn what_is_no_record_is_refused() {
    let refused = |text: &str| from_ocsf(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(refused("{}"), "class_uid: required");
    assert_eq!(refused("[1"), "byte 2: expected ,");
    assert!(refused(r#"{"class_uid":4002,"unmapped":{"countersign":{"core":5}}}"#).contains("core"));
    assert!(refused(&format!("{{\"class_uid\":0,\"a\":{}", "[".repeat(1 << 20))).contains("nested too deep"));
    assert!(from_ocsf(b"\xff").is_err());
    assert!(from_otel(&OtelLog::default()).is_err());
    // A level that no event can have, and a list beyond its bound.
    let mut record = ocsf(&sample());
    record["unmapped"]["countersign"]["who"]["who"]["verified"] = json!(0);
    assert!(from_ocsf(record.to_string().as_bytes()).is_err());
}

#[test]
fn every_row_names_a_registered_field() {
    for row in ROWS {
        assert!(row.registered().is_some(), "{}", row.field);
    }
    let row = ROWS.iter().find(|row| row.field == "peer.src.ip").unwrap();
    assert_eq!(row.registered().map(|field| (field.home, field.name)), Some(("endpoint", "ip")));
}

#[test]
fn a_record_of_very_many_names_is_read_and_one_beyond_the_bound_is_not() {
    let names = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("\"a{n}\":{n}")).collect();
        from_ocsf(format!("{{\"class_uid\":0,{}}}", names.join(",")).as_bytes())
    };
    assert_eq!(names(200_000).unwrap().event.content.unmapped.len(), 200_001);
    let wide = format!("{{\"class_uid\":0,\"a\":[{}1]}}", "1,".repeat(1 << 21));
    assert!(from_ocsf(wide.as_bytes()).unwrap_err().to_string().contains("too many values"));
    assert!(from_ocsf(&vec![b' '; map::OCSF_MAX + 1]).is_err());
}

#[test]
fn the_page_of_the_mapping_is_what_the_table_prints() {
    crate::registry::compare("../../docs/reference/mapping.md", &markdown());
}

#[test]
fn seeds_hold_and_so_do_their_pieces() {
    for seed in 0..u64::from(cases(200)) {
        let text = to_ocsf(&random_event(seed));
        fuzz::map_ocsf(text.as_bytes());
        for at in (0..text.len()).step_by(97).filter(|at| text.is_char_boundary(*at)) {
            fuzz::map_ocsf(&text.as_bytes()[..at]);
        }
    }
}

proptest! {
    #![proptest_config(config(5_000))]

    #[test]
    fn changed_exports_never_panic(seed in any::<u64>(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = to_ocsf(&random_event(seed)).into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        fuzz::map_ocsf(&bytes);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}\":,\\\\u0-9a-ftrueclass_id\\-. ]{0,80}") {
        fuzz::map_ocsf(text.as_bytes());
    }
}
