use super::*;
use countersign_event::{CaptureConf, Class, Event, Kind, Outcome, Rec, Verified};

fn record(text: &str) -> Record<'_> {
    Record { realm: "srv", ..Record::new(text.as_bytes(), 0) }
}
fn text(line: &str) -> Draft {
    assert!(prefix::looks(&record(line)), "{line}");
    prefix::parse_common(&record(line)).unwrap()
}
fn who(event: &Event) -> (&str, Verified) {
    event.who.who.as_ref().map_or(("", Verified::Claimed), |who| (who.id.as_str(), who.verified))
}

const CSV: &str = "2024-03-13 12:08:33.123 UTC,\"app\",\"shop\",77,\"192.0.2.1:5432\",65f1.4d,3,\"SELECT\",2024-03-13 12:00:00 UTC,3/12,0,ERROR,42501,\"permission denied for table \"\"cards\"\"\",,,,,,\"select * from cards\nwhere id = 7\",,,\"billing\",\"client backend\",,0";

#[test]
fn a_csv_entry_gives_statement_caller_and_outcome() {
    assert!(looks_csv(&record(CSV)));
    let draft = parse_csv(&record(CSV)).unwrap();
    let event = &draft.event;
    assert_eq!(draft.conf(), CaptureConf::Full);
    assert_eq!(event.core.t_event, Some(1_710_331_713_123_000_000));
    assert_eq!((event.core.kind, event.core.class), (Some(Kind::Sql), Some(Class::Read)));
    assert_eq!((event.core.op.as_str(), event.core.outcome), ("SELECT", Some(Outcome::Denied)));
    assert_eq!(event.core.status.as_ref().unwrap().1, "42501");
    assert_eq!((event.target.res.as_str(), event.target.ns.as_str()), ("cards", "shop"));
    assert_eq!(event.content.stmt, "select * from cards where id = ?");
    assert_eq!(who(event), ("db:app@srv", Verified::Asserted));
    let also = &event.who.also[0];
    assert_eq!((also.svc.as_str(), also.verified), ("billing", Verified::Claimed));
    assert_eq!(event.peer.src.as_ref().unwrap().port, Some(5432));
}

#[test]
fn the_number_of_columns_follows_the_version_and_no_other() {
    let older = CSV.rsplitn(4, ',').nth(3).unwrap();
    assert!(parse_csv(&record(older)).is_ok(), "version 9");
    let fewer = older.rsplit_once(',').unwrap().0;
    assert!(parse_csv(&record(fewer)).is_err());
    assert!(parse_csv(&record(&format!("{CSV},more"))).is_err());
}

#[test]
fn a_json_entry_is_the_same_event() {
    let line = r#"{"timestamp":"2024-03-13 12:08:33.123 CET","user":"app","dbname":"shop","pid":77,"remote_host":"192.0.2.1","remote_port":5432,"session_id":"65f1.4d","line_num":3,"error_severity":"LOG","message":"duration: 1.500 ms  execute s1: delete from orders where id = $1","detail":"Parameters: $1 = 'secret value'","application_name":"billing","backend_type":"client backend","query_id":5}"#;
    let doc = crate::json::Doc::parse(line.as_bytes()).unwrap();
    let record = Record { json: Some(&doc), ..record(line) };
    assert!(looks_json(&record));
    let event = parse_json(&record).unwrap().event;
    assert_eq!(event.core.t_event, Some(1_710_328_113_123_000_000), "CET is an hour ahead");
    assert_eq!(
        (event.core.class, event.core.outcome, event.core.dur),
        (Some(Class::Delete), Some(Outcome::Success), Some(1_500_000))
    );
    assert_eq!(event.content.stmt, "delete from orders where id = $1");
    assert!(!format!("{event:?}").contains("secret value"), "values of parameters are not kept");
    assert_eq!(event.content.redacted, [("sql_parameters".to_owned(), 1)]);
}

#[test]
fn text_is_read_with_each_of_the_common_prefixes() {
    for line in [
        "2024-03-13 12:08:33.000 UTC [77] app@shop LOG:  statement: truncate orders",
        "2024-03-13 12:08:33 UTC [77]: [3-1] user=app,db=shop,app=x y,client=192.0.2.1 LOG:  statement: truncate orders",
        "2024-03-13 12:08:33 UTC:192.0.2.1(5):app@shop:[77]:LOG:  statement: truncate orders",
        "2024-03-13 12:08:33.000 UTC [77] 192.0.2.1 app@shop LOG:  statement: truncate orders",
    ] {
        let event = text(line).event;
        assert_eq!(event.core.t_event, Some(1_710_331_713_000_000_000), "{line}");
        assert_eq!(
            (who(&event), event.target.ns.as_str()),
            (("db:app@srv", Verified::Asserted), "shop"),
            "{line}"
        );
        assert_eq!((event.target.res.as_str(), event.links.sess.as_str()), ("orders", "77"), "{line}");
        assert_eq!(event.core.outcome, None, "a statement that begins has not ended: {line}");
    }
}

#[test]
fn a_prefix_of_the_operators_own_is_compiled() {
    let prefix = compile("%p|%-8u|%x %q%c %% %s > ").unwrap();
    let line = "77|app     |900 65f1.4d % 2024-03-13 12:00:00 UTC > ERROR:  duplicate key value violates unique constraint \"k\"";
    // Neither time nor envelope: the time is missing.
    assert!(prefix.parse(&record(line)).is_err());
    let event = prefix.parse(&Record { app: "postgres", ..record(line) }).unwrap().event;
    assert_eq!((who(&event).0, event.links.sess.as_str()), ("db:app@srv", "65f1.4d"));
    assert_eq!(event.core.outcome, Some(Outcome::CallerError));
    let background = "78||0 LOG:  checkpoint starting: time";
    let event = prefix.parse(&Record { app: "postgres", ..record(background) }).unwrap().event;
    assert_eq!((event.core.rec, &event.who.who), (Some(Rec::Raw), &None));
    for wrong in ["%z ", "%u%d ", "%m [%p]%u"] {
        assert!(compile(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn logins_that_were_refused_are_claimed_and_denied() {
    for (message, user) in [
        ("password authentication failed for user \"eve\"", "db:eve@srv"),
        (
            "no pg_hba.conf entry for host \"192.0.2.1\", user \"eve\", database \"shop\", no encryption",
            "db:eve@srv",
        ),
        ("role \"eve\" is not permitted to log in", "db:eve@srv"),
        ("SCRAM authentication failed for user \"a\" user \"b\"", "db:a\" user \"b@srv"),
    ] {
        let event = text(&format!("2024-03-13 12:08:33.000 UTC [77] FATAL:  {message}")).event;
        assert_eq!(
            (event.core.kind, event.core.outcome),
            (Some(Kind::Auth), Some(Outcome::Denied)),
            "{message}"
        );
        assert_eq!(who(&event), (user, Verified::Claimed), "{message}");
    }
}

#[test]
fn connections_are_opened_authorised_and_closed() {
    let line = |message: &str| text(&format!("2024-03-13 12:08:33.000 UTC [77] LOG:  {message}")).event;
    let event = line("connection received: host=192.0.2.1 port=5");
    assert_eq!(
        (event.core.rec, event.peer.src.as_ref().unwrap().port, &event.who.who),
        (Some(Rec::SessionOpen), Some(5), &None)
    );
    let event = line(
        "connection authorized: user=app database=shop application_name=x y SSL enabled (protocol=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384, bits=256)",
    );
    assert_eq!(
        (who(&event), event.core.outcome),
        (("db:app@srv", Verified::Asserted), Some(Outcome::Success))
    );
    assert_eq!((event.target.ns.as_str(), event.peer.tls.as_ref().unwrap().version), ("shop", Some(0x0304)));
    let event = line("disconnection: session time: 0:01:02.500 user=app database=shop host=192.0.2.1 port=5");
    assert_eq!((event.core.rec, event.core.dur), (Some(Rec::SessionClose), Some(62_500_000_000)));
}

#[test]
fn an_audit_record_gives_class_object_and_shape_and_no_values() {
    let event = text("2024-03-13 12:08:33.000 UTC [77] app@shop LOG:  AUDIT: SESSION,1,1,WRITE,UPDATE,TABLE,public.account,\"update account set \"\"pin\"\" = '4711', x = $1\",4712").event;
    assert_eq!((event.core.op.as_str(), event.core.class), ("UPDATE", Some(Class::Modify)));
    assert_eq!((event.target.res.as_str(), event.target.rtype.as_str()), ("public.account", "table"));
    assert!(!format!("{event:?}").contains("471"), "neither literals nor parameters are kept");
    assert_eq!(event.core.outcome, None);
    let draft = text("2024-03-13 12:08:33.000 UTC [77] LOG:  AUDIT: SESSION,1,1,READ");
    assert_eq!(draft.conf(), CaptureConf::Partial);
}

#[test]
fn lines_about_an_entry_before_are_no_interactions() {
    let event = text("2024-03-13 12:08:33.000 UTC [77] STATEMENT:  select 'x'\n\tfrom t").event;
    assert_eq!((event.core.rec, event.content.stmt.as_str()), (Some(Rec::Progress), "select ? from t"));
    let event = text("2024-03-13 12:08:33.000 UTC [77] DETAIL:  parameters: $1 = 'v'").event;
    assert!(!format!("{event:?}").contains("'v'"));
}
