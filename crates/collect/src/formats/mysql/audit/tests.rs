use super::*;

fn json(text: &str) -> Draft {
    let doc = crate::json::Doc::parse(text.as_bytes()).unwrap();
    let record = Record { json: Some(&doc), realm: "srv", ..Record::new(text.as_bytes(), 0) };
    assert!(looks_json(&record));
    parse_json(&record).unwrap()
}
fn record(text: &str) -> Record<'_> {
    Record { realm: "srv", ..Record::new(text.as_bytes(), 0) }
}
const TIME: Option<i64> = Some(1_710_331_713_000_000_000);

#[test]
fn a_statement_is_the_same_in_every_spelling_and_keeps_no_literal() {
    let percona = json(
        r#"{"audit_record":{"name":"Query","record":"7_x","timestamp":"2024-03-13T12:08:33 UTC","command_class":"select","connection_id":"37","status":0,"sqltext":"select \"secret\" from `cards` where a='x\\'secret'","user":"app[app] @ web1 [192.0.2.1]","host":"web1","ip":"192.0.2.1","db":"shop"}}"#,
    );
    let enterprise = json(
        r#"{"timestamp":"2024-03-13 12:08:33","id":0,"class":"general","event":"status","connection_id":37,"account":{"user":"app","host":"web1"},"login":{"user":"app","os":"","ip":"192.0.2.1","proxy":""},"general_data":{"command":"Query","sql_command":"select","query":"select \"secret\" from `cards` where a='x\\'secret'","status":0}}"#,
    );
    let new = parse_xml(&record("<AUDIT_RECORD>\n <TIMESTAMP>2024-03-13T12:08:33 UTC</TIMESTAMP>\n <RECORD_ID>7_x</RECORD_ID>\n <NAME>Query</NAME>\n <CONNECTION_ID>37</CONNECTION_ID>\n <STATUS>0</STATUS>\n <USER>app[app] @ web1 [192.0.2.1]</USER>\n <IP>192.0.2.1</IP>\n <COMMAND_CLASS>select</COMMAND_CLASS>\n <SQLTEXT>select &quot;secret&quot; from `cards` where a=&apos;secret&apos;</SQLTEXT>\n</AUDIT_RECORD>")).unwrap();
    let old = parse_xml(&record("<AUDIT_RECORD TIMESTAMP=\"2024-03-13T12:08:33 UTC\" RECORD=\"7_x\" NAME=\"Query\" CONNECTION_ID=\"37\" STATUS=\"0\" SQLTEXT=\"select &quot;secret&quot; from `cards`\" USER=\"app[app] @ web1 [192.0.2.1]\" IP=\"192.0.2.1\"/>")).unwrap();
    let mariadb = parse_server_audit(&record("20240313 12:08:33,srv1,app,192.0.2.1,37,99,QUERY,shop,'select \"secret\" from `cards` where a=\\'secret\\'',0")).unwrap();
    for draft in [percona, enterprise, new, old, mariadb] {
        let event = draft.event;
        assert_eq!(
            (event.core.t_event, event.core.class, event.core.outcome),
            (TIME, Some(Class::Read), Some(Outcome::Success)),
            "{event:?}"
        );
        let who = event.who.who.as_ref().unwrap();
        assert_eq!((who.id.as_str(), who.verified), ("db:app@srv", Verified::Asserted));
        assert_eq!(event.peer.src.as_ref().unwrap().ip, "192.0.2.1".parse().ok());
        assert_eq!((event.target.res.as_str(), event.links.sess.as_str()), ("cards", "37"));
        assert!(!format!("{event:?}").contains("secret"), "{event:?}");
    }
}

#[test]
fn logins_end_as_the_server_says() {
    let event =
        parse_server_audit(&record("20240313 12:08:33,srv1,eve,192.0.2.1,37,0,FAILED_CONNECT,,,1045"))
            .unwrap()
            .event;
    assert_eq!((event.core.kind, event.core.outcome), (Some(Kind::Auth), Some(Outcome::Denied)));
    assert_eq!(event.who.who.as_ref().unwrap().verified, Verified::Claimed);
    let event = parse_server_audit(&record("20240313 12:08:33,srv1,app,192.0.2.1,37,0,CONNECT,shop,,0"))
        .unwrap()
        .event;
    assert_eq!(
        (event.core.outcome, event.who.who.as_ref().unwrap().verified),
        (Some(Outcome::Success), Verified::Asserted)
    );
}

#[test]
fn a_table_touched_is_named() {
    let event = parse_server_audit(&record("20240313 12:08:33,srv1,app,192.0.2.1,37,99,WRITE,shop,cards,"))
        .unwrap()
        .event;
    assert_eq!(
        (event.target.res.as_str(), event.core.class, event.core.outcome),
        ("cards", Some(Class::Modify), None)
    );
}
