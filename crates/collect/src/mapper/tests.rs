//! Mappings as an operator would write them, in the tables that TOML gives.

use super::*;
use countersign_event::{Outcome, Verified};
use proptest::prelude::*;

fn text(text: &str) -> Node {
    Node::Text(text.into())
}

fn table(rows: &[(&str, Node)]) -> Node {
    Node::Table(rows.iter().map(|(name, node)| ((*name).to_owned(), node.clone())).collect())
}

fn from(key: &str, more: &[(&str, Node)]) -> Node {
    let mut rows = vec![("from", text(key))];
    rows.extend_from_slice(more);
    table(&rows)
}

/// The example of the guide.
fn orders(fields: &[(&str, Node)]) -> Node {
    let outcomes = [
        ("2..", text("success")),
        ("401,403", text("denied")),
        ("4..", text("caller_error")),
        ("5..", text("server_error")),
    ];
    let mut all = vec![
        ("t_event", from("/ts", &[("time", text("rfc3339"))])),
        ("who.id", from("/caller", &[("prefix", text("user:orders/"))])),
        ("op", from("/verb", &[("upper", Node::Bool(true))])),
        ("target.res", from("/path", &[("template", Node::Bool(true))])),
        ("outcome", from("/code", &[("table", table(&outcomes))])),
    ];
    all.extend_from_slice(fields);
    let test = table(&[
        ("input", text(RECORD)),
        (
            "expect",
            table(&[("op", text("GET")), ("outcome", text("denied")), ("target.res", text("/orders/{id}"))]),
        ),
    ]);
    table(&[
        ("read", text("json")),
        ("when", table(&[("/type", text("audit"))])),
        ("kind", text("http")),
        ("fields", table(&all)),
        ("test", Node::List(vec![test])),
    ])
}

const RECORD: &str = r#"{"type":"audit","ts":"2024-03-13T12:08:33Z","caller":"alice","verb":"get","path":"/orders/7","code":403,"more":{"a":[1]}}"#;

fn parse(mapper: &Mapper, record: &str) -> Result<Draft, Fault> {
    let doc = crate::observe::json(record.as_bytes());
    let record = Record { json: doc.as_ref(), realm: "realm", ..Record::new(record.as_bytes(), 0) };
    let mut draft = mapper.parse(&record)?;
    crate::observe::unread(&record, &mut draft);
    Ok(draft)
}

fn refused(node: &Node) -> String {
    Mapper::new("orders", node).unwrap_err().to_string()
}

#[test]
fn a_record_becomes_an_event_and_what_no_rule_took_is_unmapped() {
    let mapper = Mapper::new("orders", &orders(&[])).unwrap();
    assert_eq!(mapper.check(), Ok(1));
    let draft = parse(&mapper, RECORD).unwrap();
    let who = draft.event.who.who.as_ref().unwrap();
    assert_eq!((who.id.as_str(), who.verified), ("user:orders/alice", Verified::Claimed));
    assert_eq!((draft.event.core.outcome, draft.partial), (Some(Outcome::Denied), None));
    let unmapped: Vec<&String> = draft.event.content.unmapped.keys().collect();
    assert_eq!(unmapped, ["/more"]);
}

#[test]
fn another_record_is_not_taken_and_a_value_that_no_rule_knows_stays_and_makes_it_partial() {
    let mapper = Mapper::new("orders", &orders(&[])).unwrap();
    assert!(parse(&mapper, r#"{"type":"other"}"#).is_err());
    assert!(parse(&mapper, "no json").is_err());
    let draft = parse(&mapper, &RECORD.replace("403", "999").replace("12:08", "99:08")).unwrap();
    assert!(
        draft.partial.is_some() && draft.event.core.outcome.is_none() && draft.event.core.t_event.is_none()
    );
    assert!(draft.event.content.unmapped.contains_key("/code"));
    assert!(draft.event.content.unmapped.contains_key("/ts"));
}

#[test]
fn each_way_of_reading_gives_values_by_name() {
    let fields = |key: &str| ("fields", table(&[("op", from(key, &[])), ("who.name", from("user", &[]))]));
    let columns = ("columns", Node::List(vec![text("verb"), text("user"), text("rest")]));
    for (node, record) in [
        (table(&[("read", text("logfmt")), fields("verb")]), r#"verb=get user="a \"b\"" rest=x"#),
        (
            table(&[("read", text("delimited")), ("delimiter", text("\t")), columns.clone(), fields("verb")]),
            "get\ta \"b\"\tx",
        ),
        (table(&[("read", text("csv")), columns, fields("verb")]), "get,\"a \"\"b\"\"\",x"),
        (
            table(&[("read", text("kv")), ("between", text(";")), ("equals", text(":")), fields("verb")]),
            "verb: get; user: a \"b\"; rest: x",
        ),
        (
            table(&[
                ("read", text("regex")),
                ("pattern", text(r"(?P<verb>\w+) <(?P<user>[^>]*)> (?P<rest>.*)")),
                fields("verb"),
            ]),
            "get <a \"b\"> x",
        ),
    ] {
        let mapper = Mapper::new("orders", &node).unwrap();
        let draft = parse(&mapper, record).unwrap_or_else(|fault| panic!("{fault}: {record}"));
        assert_eq!(draft.event.core.op, "get", "{record}");
        assert_eq!(draft.event.who.who.as_ref().unwrap().id, "user:realm/a \"b\"", "{record}");
        assert!(draft.event.content.unmapped.contains_key("/rest"), "{record}");
        assert!(parse(&mapper, "").is_err());
    }
}

#[test]
fn a_pattern_must_match_the_whole_record() {
    let node = table(&[
        ("read", text("regex")),
        ("pattern", text("(?P<a>x|xy)")),
        ("fields", table(&[("op", from("a", &[]))])),
    ]);
    let mapper = Mapper::new("orders", &node).unwrap();
    assert!(parse(&mapper, "xyz").is_err());
    assert_eq!(parse(&mapper, "xy").unwrap().event.core.op, "xy");
}

#[test]
fn what_is_wrong_is_refused_with_its_place_and_the_nearest_right_name() {
    let with = |name: &str, node: Node| refused(&orders(&[(name, node)]));
    for (message, want) in [
        (
            with("targt.id", from("/a", &[])),
            "format.orders.fields.targt.id: unknown key `targt.id`; nearest right name: target.id",
        ),
        (with("dur", from("/a", &[("nubmer", text("ms"))])), "nearest right name: number"),
        (with("dur", from("/a", &[("number", text("msec"))])), "none of plain, ns"),
        (with("class", table(&[("const", text("raed"))])), "nearest right name: read"),
        (with("verified", table(&[("const", text("4"))])), "cannot set it"),
        (with("seq", from("/a", &[])), "cannot set it"),
        (with("src", from("a", &[])), "JSON pointer"),
        (with("src", table(&[])), "needs `from` or `const`"),
        (refused(&table(&[("read", text("jsn"))])), "nearest right name: json"),
        (
            refused(&table(&[("read", text("regex")), ("pattern", text("(a")), ("fields", table(&[]))])),
            "not a pattern",
        ),
        (
            refused(&table(&[("read", text("regex")), ("pattern", text("a")), ("fields", table(&[]))])),
            "named captures",
        ),
        (
            refused(&table(&[("read", text("json")), ("pattern", text("a")), ("fields", table(&[]))])),
            "does not belong",
        ),
        (Mapper::new("combined", &orders(&[])).unwrap_err().to_string(), "there is a format of this name"),
    ] {
        assert!(message.contains(want), "{message}, wanted {want}");
    }
}

#[test]
fn a_test_that_does_not_hold_is_named_with_what_was_found() {
    let mut node = orders(&[]);
    if let Node::Table(rows) = &mut node {
        rows.retain(|(name, _)| name != "test");
        let test = table(&[("input", text(RECORD)), ("expect", table(&[("outcome", text("success"))]))]);
        rows.push(("test".into(), Node::List(vec![test])));
    }
    let error = Mapper::new("orders", &node).unwrap().check().unwrap_err();
    assert_eq!(error, "format `orders`, test 1: outcome is `denied`, expected `success`");
}

proptest! {
    #[test]
    fn any_record_is_read_or_refused(record in any::<String>(), read in 0..3_usize) {
        let node = match read {
            0 => orders(&[]),
            1 => table(&[("read", text("logfmt")), ("fields", table(&[("op", from("a", &[]))]))]),
            _ => table(&[("read", text("kv")), ("fields", table(&[("src", from("a", &[("host_port", Node::Bool(true))]))]))]),
        };
        let mapper = Mapper::new("orders", &node).unwrap();
        let _ = parse(&mapper, &record);
    }
}
