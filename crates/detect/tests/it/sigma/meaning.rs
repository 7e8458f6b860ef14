//! What each construct of a rule means: one vector for each row of the tables in docs/reference/sigma.md.

use super::{compile, event, holds, rule, rules, run, stream};
use countersign_event::{Kind, Principal, Verified};

/// A detection, and source fields for which it holds, and for which it does not.
type Vector = (
    &'static str,
    &'static [&'static [(&'static str, &'static str)]],
    &'static [&'static [(&'static str, &'static str)]],
);

const VECTORS: &[Vector] = &[
    ("f: abc", &[&[("f", "\"ABC\"")]], &[&[("f", "\"abcd\"")], &[], &[("f", "null")]]),
    ("f: 'ÄRGER'", &[&[("f", "\"ärger\"")]], &[&[("f", "\"arger\"")]]),
    ("f|cased: Abc", &[&[("f", "\"Abc\"")]], &[&[("f", "\"abc\"")]]),
    ("f: [a, b]", &[&[("f", "\"b\"")], &[("f", "[\"x\",\"a\"]")]], &[&[("f", "\"c\"")]]),
    ("f: 5", &[&[("f", "5")], &[("f", "\"5\"")], &[("f", "5.0")]], &[&[("f", "6")], &[("f", "\"x5\"")]]),
    ("f: '5'", &[&[("f", "5")], &[("f", "\"5\"")]], &[&[("f", "50")]]),
    ("f: true", &[&[("f", "true")], &[("f", "\"yes\"")]], &[&[("f", "false")], &[("f", "\"x\"")]]),
    ("f: ''", &[&[("f", "\"\"")]], &[&[], &[("f", "null")], &[("f", "\"a\"")]]),
    ("f: null", &[&[], &[("f", "null")]], &[&[("f", "\"\"")], &[("f", "0")]]),
    ("f|exists: true", &[&[("f", "\"\"")], &[("f", "null")]], &[&[]]),
    ("f|exists: false", &[&[]], &[&[("f", "null")], &[("f", "1")]]),
    ("f|neq: a", &[&[("f", "\"b\"")], &[("f", "null")]], &[&[("f", "\"A\"")], &[]]),
    ("f|neq: [a, b]", &[&[("f", "\"c\"")]], &[&[("f", "\"b\"")], &[("f", "[\"c\",\"a\"]")]]),
    ("f: 'a*c'", &[&[("f", "\"abc\"")], &[("f", "\"a\\nC\"")], &[("f", "\"ac\"")]], &[&[("f", "\"abcd\"")]]),
    ("f: 'a?c'", &[&[("f", "\"aXc\"")], &[("f", "\"aéc\"")]], &[&[("f", "\"ac\"")], &[("f", "\"abbc\"")]]),
    (r"f: 'a\*c'", &[&[("f", "\"a*c\"")]], &[&[("f", "\"abc\"")]]),
    (r"f: 'a\\*'", &[&[("f", "\"a\\\\b\"")]], &[&[("f", "\"ab\"")]]),
    (r"f: 'a\'", &[&[("f", "\"a\\\\\"")]], &[&[("f", "\"a\"")]]),
    ("f: '*'", &[&[("f", "\"x\"")], &[("f", "\"\"")]], &[&[], &[("f", "null")]]),
    ("f: '??'", &[&[("f", "\"xy\"")]], &[&[("f", "\"x\"")]]),
    ("f|contains: bc", &[&[("f", "\"aBCd\"")]], &[&[("f", "\"b c\"")]]),
    ("f|contains: 'b*d'", &[&[("f", "\"abcde\"")]], &[&[("f", "\"dcb\"")]]),
    ("f|contains: ''", &[&[("f", "\"\"")], &[("f", "7")]], &[&[]]),
    ("f|contains: 5", &[&[("f", "152")]], &[&[("f", "12")]]),
    ("f|startswith: ab", &[&[("f", "\"ABc\"")]], &[&[("f", "\"xab\"")]]),
    ("f|startswith: 'a*c'", &[&[("f", "\"abcd\"")]], &[&[("f", "\"xabc\"")]]),
    ("f|endswith: bc", &[&[("f", "\"aBc\"")], &[("f", "\"bcbc\"")]], &[&[("f", "\"bcd\"")]]),
    ("f|endswith: 'a*c'", &[&[("f", "\"xabc\"")]], &[&[("f", "\"abcd\"")]]),
    ("f|contains|all: [a, b]", &[&[("f", "\"xbxa\"")], &[("f", "[\"a\",\"b\"]")]], &[&[("f", "\"a\"")]]),
    ("f|re: '^a.c$'", &[&[("f", "\"abc\"")]], &[&[("f", "\"ABC\"")], &[("f", "\"xabc\"")]]),
    ("f|re: 'b+'", &[&[("f", "\"abbc\"")]], &[&[("f", "\"ac\"")]]),
    ("f|re|i: 'ABC'", &[&[("f", "\"xabc\"")]], &[]),
    ("f|re|m: '^b'", &[&[("f", "\"a\\nb\"")]], &[]),
    ("f|re: '^b'", &[], &[&[("f", "\"a\\nb\"")]]),
    ("f|re|s: 'a.b'", &[&[("f", "\"a\\nb\"")]], &[]),
    ("f|re|i|m|s: '^B.C'", &[&[("f", "\"a\\nb\\nc\"")]], &[]),
    ("f|cidr: 10.0.0.0/8", &[&[("f", "\"10.1.2.3\"")]], &[&[("f", "\"11.1.2.3\"")], &[("f", "\"x\"")]]),
    ("f|cidr: ['10.0.0.0/8', '2001:db8::/32']", &[&[("f", "\"2001:db8::1\"")]], &[&[("f", "\"::1\"")]]),
    ("f|gt: 5", &[&[("f", "6")], &[("f", "\"5.5\"")]], &[&[("f", "5")], &[("f", "\"x\"")], &[]]),
    ("f|gte: 5", &[&[("f", "5")]], &[&[("f", "4.9")]]),
    ("f|lt: 5", &[&[("f", "-1")]], &[&[("f", "5")], &[]]),
    ("f|lte: '5'", &[&[("f", "5")]], &[&[("f", "6")]]),
    ("f|minute: 30", &[&[("f", "\"2026-01-01T12:30:00Z\"")]], &[&[("f", "\"2026-01-01T12:31:00Z\"")]]),
    ("f|hour: [3, 4]", &[&[("f", "\"2026-01-01T04:30:00Z\"")]], &[&[("f", "\"2026-01-01T05:00:00Z\"")]]),
    ("f|day: 1", &[&[("f", "\"2026-01-01 04:30:00\"")]], &[&[("f", "\"soon\"")]]),
    ("f|week: 1", &[&[("f", "1767225600")]], &[&[("f", "1769904000")]]),
    ("f|month: 1", &[&[("f", "1767225600000")]], &[&[("f", "1769904000000")]]),
    ("f|year: '2026'", &[&[("f", "1767225600")]], &[&[("f", "1735689600")]]),
    ("f|base64: foo", &[&[("f", "\"Zm9v\"")]], &[&[("f", "\"xZm9v\"")]]),
    ("f|base64|contains: foobar", &[&[("f", "\"x Zm9vYmFy y\"")]], &[&[("f", "\"foobar\"")]]),
    // `xfoobarx`, `xxfoobar` and `foobar` in Base64.
    (
        "f|base64offset|contains: foobar",
        &[&[("f", "\"eGZvb2Jhcng=\"")], &[("f", "\"eHhmb29iYXI=\"")], &[("f", "\"Zm9vYmFy\"")]],
        &[&[("f", "\"Zm9vYmE=\"")]],
    ),
    (
        "f|wide|base64offset|contains: ab",
        &[&[("f", "\"YQBiAA==\"")], &[("f", "\"eGEAYgA=\"")]],
        &[&[("f", "\"YWI=\"")]],
    ),
    ("f|utf16le|base64: ab", &[&[("f", "\"YQBiAA==\"")]], &[]),
    ("f|utf16be|base64: ab", &[&[("f", "\"AGEAYg==\"")]], &[]),
    ("f|utf16|base64: ab", &[&[("f", "\"//5hAGIA\"")]], &[]),
    ("f|windash|contains: ' -a'", &[&[("f", "\"x /a\"")], &[("f", "\"x –A\"")]], &[&[("f", "\"x a\"")]]),
    ("f|windash: '-a*'", &[&[("f", "\"/abc\"")]], &[&[("f", "\"x-a\"")]]),
    ("f|expand: '%admins%'", &[&[("f", "\"root\"")], &[("f", "\"Admin\"")]], &[&[("f", "\"%admins%\"")]]),
    ("f|expand|startswith: 'x-%admins%'", &[&[("f", "\"x-root-y\"")]], &[&[("f", "\"root\"")]]),
    ("f: '%admins%'", &[&[("f", "\"%admins%\"")]], &[&[("f", "\"root\"")]]),
    (
        "f|fieldref: g",
        &[&[("f", "\"A\""), ("g", "\"a\"")], &[("f", "5"), ("g", "\"5\"")]],
        &[&[("f", "\"a\"")], &[]],
    ),
    ("f|fieldref|cased: g", &[&[("f", "\"a\""), ("g", "\"a\"")]], &[&[("f", "\"a\""), ("g", "\"A\"")]]),
    ("f|fieldref|contains: g", &[&[("f", "\"xAx\""), ("g", "\"a\"")]], &[&[("f", "\"a\""), ("g", "\"xa\"")]]),
    (
        "f|fieldref|startswith: g",
        &[&[("f", "\"ab\""), ("g", "\"a\"")]],
        &[&[("f", "\"ba\""), ("g", "\"a\"")]],
    ),
    ("f|fieldref|endswith: g", &[&[("f", "\"ba\""), ("g", "\"a\"")]], &[&[("f", "\"ab\""), ("g", "\"a\"")]]),
    ("f|fieldref|neq: g", &[&[("f", "\"a\""), ("g", "\"b\"")]], &[&[("f", "\"a\""), ("g", "\"A\"")], &[]]),
    ("f|fieldref: [g, h]", &[&[("f", "\"a\""), ("h", "\"a\"")]], &[&[("f", "\"a\""), ("h", "\"b\"")]]),
];

#[test]
fn every_modifier_means_what_the_specification_says() {
    for (detection, yes, no) in VECTORS {
        for fields in *yes {
            assert!(holds(detection, fields), "`{detection}` holds for {fields:?}");
        }
        for fields in *no {
            assert!(!holds(detection, fields), "`{detection}` does not hold for {fields:?}");
        }
    }
}

/// Which of the rules' detections hold, as a word of the names that do.
fn condition(condition: &str, held: &str) -> bool {
    let text = format!(
        "title: t\nid: r\ndetection:\n  a: {{a: 1}}\n  b: {{b: 1}}\n  c: {{c: 1}}\n  _d: {{d: 1}}\n  condition: {condition}\n"
    );
    let fields: Vec<(String, &str)> = held.chars().map(|c| (c.to_string(), "1")).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, token)| (name.as_str(), *token)).collect();
    !run(&mut rules(&text), &stream(&[(0, event(&fields))])).is_empty()
}

#[test]
fn every_form_of_condition_counts_what_it_says() {
    let all = ["", "a", "b", "ab", "abc", "d", "ad", "cd", "abcd"];
    let cases: &[(&str, &[&str])] = &[
        ("a", &["a", "ab", "abc", "ad", "abcd"]),
        ("a and b", &["ab", "abc", "abcd"]),
        ("a or c", &["a", "ab", "abc", "ad", "cd", "abcd"]),
        ("not a", &["", "b", "d", "cd"]),
        ("a and not b", &["a", "ad"]),
        ("not (a or b) and _d", &["d", "cd"]),
        ("1 of them", &["a", "b", "ab", "abc", "ad", "cd", "abcd"]),
        ("any of them", &["a", "b", "ab", "abc", "ad", "cd", "abcd"]),
        ("all of them", &["abc", "abcd"]),
        ("2 of them", &["ab", "abc", "abcd"]),
        ("not 1 of them", &["", "d"]),
        ("1 of _*", &["d", "ad", "cd", "abcd"]),
        ("all of *", &["abcd"]),
        ("3 of *", &["abc", "abcd"]),
        ("[a, c]", &["a", "ab", "abc", "ad", "cd", "abcd"]),
    ];
    for (text, yes) in cases {
        for held in all {
            assert_eq!(condition(text, held), yes.contains(&held), "`{text}` of {held:?}");
        }
    }
}

#[test]
fn lists_and_maps_nest() {
    let text = "title: t\nid: r\ndetection:\n  sel:\n    - a: 1\n      b: 1\n    - c: [1, 2]\n    - word\n  condition: sel\n";
    let held = |fields: &[(&str, &str)]| !run(&mut rules(text), &stream(&[(0, event(fields))])).is_empty();
    assert!(held(&[("a", "1"), ("b", "1")]) && held(&[("c", "2")]) && held(&[("z", "\"some words\"")]));
    assert!(!held(&[("a", "1")]) && !held(&[("b", "1"), ("c", "3")]));
}

#[test]
fn keywords_look_into_the_listed_texts_and_nowhere_else() {
    let text = "title: t\nid: r\ndetection:\n  keywords: [DROP TABLE, 'x*z', 42]\n  condition: keywords\n";
    let mut event = event(&[]);
    event.content.stmt = "drop table users".into();
    let found =
        |event: &countersign_event::Event| !run(&mut rules(text), &stream(&[(0, event.clone())])).is_empty();
    assert!(found(&event));
    event.content.stmt = "select 'a x y z'".into();
    assert!(found(&event), "a pattern is looked for anywhere");
    event.content.stmt = "select 142".into();
    assert!(found(&event));
    event.content.stmt.clear();
    event.core.tenant = "drop table".into();
    assert!(!found(&event));
    let all = "title: t\nid: r\ndetection:\n  keywords:\n    '|all': [one, two]\n  condition: keywords\n";
    let both = super::event(&[("x", "\"one\""), ("y", "\"two\"")]);
    assert_eq!(run(&mut rules(all), &stream(&[(0, both), (1, super::event(&[("x", "\"one\"")]))])).len(), 1);
}

#[test]
fn a_log_source_decides_which_events_a_rule_sees() {
    let text = "title: t\nid: r\nlogsource: {product: countersign, category: sql}\ndetection: {s: {op: SELECT}, condition: s}\n";
    let mut select = event(&[]);
    select.core.op = "select".into();
    let mut sql = select.clone();
    sql.core.kind = Some(Kind::Sql);
    let matches = run(&mut rules(text), &stream(&[(0, select), (1, sql)]));
    assert_eq!(matches.iter().map(|m| m.index).collect::<Vec<_>>(), [1]);
    let foreign = text.replace("countersign, category: sql", "windows, category: process_creation");
    assert!(compile(&foreign).warnings[0].what.contains("can never match"));
}

#[test]
fn vendor_names_reach_our_fields() {
    let text = "title: t\nid: r\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  s: {eventName: StopLogging, eventSource: cloudtrail.amazonaws.com, userIdentity.type|neq: Root}\n  condition: s\n";
    let mut event = event(&[("userIdentity.type", "\"IAMUser\"")]);
    event.core.op = "StopLogging".into();
    event.target.svc = "cloudtrail.amazonaws.com".into();
    let capture = countersign_event::Capture { fmt: "cloudtrail".into(), ..Default::default() };
    event.body.cap = Some(capture.into());
    assert_eq!(run(&mut rules(text), &stream(&[(0, event)])).len(), 1);
}

#[test]
fn own_fields_are_compared_as_what_they_are() {
    let mut event = event(&[]);
    event.who.who = Some(Principal::new("spiffe://td/web", Verified::Claimed));
    event.core.dur = Some(250);
    let held =
        |detection: &str| !run(&mut rules(&rule(detection)), &stream(&[(0, event.clone())])).is_empty();
    assert!(held("verified|lt: 3") && held("verified: claimed") && !held("verified|gte: 3"));
    assert!(held("duration|gt: 200") && held("who|startswith: 'spiffe://td/'") && held("user.id: '*web'"));
    assert!(held("time|year: 2026") && held("tls: null") && !held("tls|exists: true"));
}

#[test]
fn a_filter_narrows_the_rules_it_names_and_changes_their_hash() {
    let base = rule("f: 1");
    let filter = |rules: &str, more: &str| {
        format!(
            "{base}---\ntitle: f\nid: f1\n{more}filter:\n  rules: {rules}\n  ok: {{g: safe}}\n  condition: not ok\n"
        )
    };
    let found = |text: &str| {
        let events = [(0, event(&[("f", "1")])), (1, event(&[("f", "1"), ("g", "\"safe\"")]))];
        run(&mut rules(text), &stream(&events)).len()
    };
    assert_eq!((found(&base), found(&filter("[r]", "")), found(&filter("any", ""))), (2, 1, 1));
    assert_eq!(found(&filter("any", "logsource: {product: aws}\n")), 2, "of another log source");
    assert_ne!(rules(&base).rules()[0].hash, rules(&filter("[r]", "")).rules()[0].hash);
}

#[test]
fn forgetting_values_changes_no_match() {
    let text = rule("f|contains: abc");
    let mut set = rules(&text);
    let events = stream(&[(0, event(&[("f", "\"xabcx\"")])), (1, event(&[("f", "\"abc\"")]))]);
    let before = run(&mut set, &events);
    set.forget_values();
    assert_eq!(run(&mut set, &events), before);
}
