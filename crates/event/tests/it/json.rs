//! The JSON export: rules of the interface, nothing lost, hostile text refused.

use crate::golden::{TIME, a};
use crate::properties::config;
use crate::random::{Manner, Random};
use countersign_event::json::time::{parse_rfc3339, rfc3339};
use countersign_event::json::{base64url, from_json, hex, to_json, unbase64url, unhex};
use proptest::prelude::*;

#[test]
fn vector_a_reads_as_json() {
    let want = concat!(
        r#"{"schema":1,"core":{"eid":"39a7cf97307106bd4d78dc098d79b059","agent":"spiffe://example.org/gw","#,
        r#""stream":"101112131415161718191a1b1c1d1e1f","seq":7,"t_obs":"2026-09-21T14:13:20.000000000Z","#,
        r#""t_event":"2026-09-21T14:13:19.998500000Z","t_basis":"measured","dur":1500000,"rec":"interaction","#,
        r#""kind":"http","proto":"http/1.1","op":"GET","class":"read","outcome":"success","status":["http","200"]},"#,
        r#""who":{"who":{"id":"spiffe://example.org/billing","kind":"workload","auth":"spiffe_svid","verified":4,"#,
        r#""cred":"x509:abababababababab"}},"peer":{"src":{"ip":"10.0.0.5","port":41822},"#,
        r#""dst":{"ip":"10.0.0.9","port":8443},"transport":"tcp"},"target":{"svc":"orders","res":"/orders/{id}","#,
        r#""id":"1234"},"links":{"trace":"0af7651916cd43dd8448eb211c80319c","span":"b7ad6b7169203331","tflags":1},"#,
        r#""body":{"rsp":{"size":512},"cap":{"mode":"inline","conf":"full"}}}"#
    );
    assert_eq!(to_json(&a()), want);
    assert_eq!(from_json(want).unwrap(), a());
    let with_gaps: serde_json::Value = serde_json::from_str(want).unwrap();
    assert_eq!(from_json(&serde_json::to_string_pretty(&with_gaps).unwrap()).unwrap(), a());
}

#[test]
fn an_id_left_out_is_derived() {
    let text = r#"{"core":{"agent":"spiffe://example.org/gw","stream":"101112131415161718191a1b1c1d1e1f","seq":8,
        "t_obs":"2026-09-21T14:13:20Z"}}"#;
    let event = from_json(text).unwrap();
    assert_eq!((hex(&event.core.eid).as_str(), event.core.t_obs), ("ff81e7ff6b36ff8e0e270c0dbcfac831", TIME));
}

#[test]
fn wrong_json_is_refused_by_place() {
    let refused = |text: &str| from_json(text).unwrap_err().to_string();
    let core = r#""agent":"x","stream":"101112131415161718191a1b1c1d1e1f","seq":1,"t_obs":1"#;
    assert_eq!(refused(""), "byte 0: expected a value");
    assert_eq!(refused("{}"), "core: required");
    assert_eq!(refused(r#"{"core":{}}"#), "event.core.stream: required");
    assert_eq!(
        refused(&format!(r#"{{"core":{{{core},"opp":"GET"}}}}"#)),
        "event.core.opp: unknown field; see docs/reference/fields.md"
    );
    assert_eq!(
        refused(&format!(r#"{{"core":{{{core},"kind":"htp"}}}}"#)),
        "event.core.kind: expected a word of its list, or a number above 0"
    );
    assert_eq!(
        refused(&format!(r#"{{"core":{{{core},"dur":1.5}}}}"#)),
        "byte 89: not a whole number that fits"
    );
    assert_eq!(
        refused(&format!(r#"{{"core":{{{core},"op":null}}}}"#)),
        "byte 88: null: leave an absent field out"
    );
    assert_eq!(
        refused(&format!(r#"{{"core":{{{core}}},"who":{{"obo":[{{}}]}}}}"#)),
        "event.who.obo[0].verified: required"
    );
    assert_eq!(refused(r#"{"core":1,"core":1}"#), "event.core: given twice");
    assert!(refused(&"[".repeat(1 << 20)).contains("nested too deep"));
    assert!(from_json(r#"{"core":"\ud800"}"#).is_err());
    assert!(from_json(r#"{"core":"\ud800\ue000"}"#).is_err());
    assert!(from_json(r#"{"core":"\u12"#).is_err());
    assert!(from_json("{\"core\":\"\\u1é00\"}").is_err());
}

#[test]
fn times_have_nine_digits_and_the_calendar_is_right() {
    let known = [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
        (4_107_542_399_999_999_999, "2100-02-28T23:59:59.999999999Z"),
        (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
        (i128::from(u64::MAX), "2554-07-21T23:34:33.709551615Z"),
        (i128::from(i64::MIN), "1677-09-21T00:12:43.145224192Z"),
        (-62_167_219_200_000_000_000, "0000-01-01T00:00:00.000000000Z"),
        (253_402_300_799_999_999_999, "9999-12-31T23:59:59.999999999Z"),
    ];
    for (ns, text) in known {
        assert_eq!(rfc3339(ns).as_deref(), Some(text));
        assert_eq!(parse_rfc3339(text), Some(ns));
    }
    assert_eq!(rfc3339(253_402_300_800_000_000_000), None);
    for wrong in [
        "2100-02-29T00:00:00Z",
        "2000-13-01T00:00:00Z",
        "2000-01-01T24:00:00Z",
        "2000-01-01T00:00:60Z",
        "2000-01-01T00:00:00",
        "2000-01-01T00:00:00+00:00",
        "2000-01-01T00:00:00.Z",
        "2000-01-01T00:00:00.0000000001Z",
        "2000-01-00T00:00:00Z",
        "200é-01-01T00:00:0Z",
    ] {
        assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
    }
}

#[test]
fn spellings_of_bytes_are_strict() {
    assert_eq!(base64url(b"\x00\xff\xfe"), "AP_-");
    assert_eq!(unbase64url("AP8"), Some(vec![0, 0xff]));
    assert_eq!(unbase64url("AP9"), None, "spare bits");
    assert_eq!(unbase64url("A"), None);
    assert_eq!(unbase64url("AP8="), None);
    assert_eq!(unhex("0aF"), None);
    assert_eq!(unhex("0aFf"), Some(vec![10, 255]));
    assert_eq!(unhex("+1"), None);
}

proptest! {
    #![proptest_config(config(10_000))]

    #[test]
    fn an_event_survives_json(seed in any::<u64>()) {
        let event = Random::new(seed, Manner::Tidy).event();
        let text = to_json(&event);
        prop_assert_eq!(&from_json(&text).unwrap(), &event);
        prop_assert!(!text.contains('\n'));
    }

    #[test]
    fn bytes_survive_base64url(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
        prop_assert_eq!(unbase64url(&base64url(&bytes)), Some(bytes));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}\":,\\\\u0-9a-ftrue\\-. ]{0,60}") {
        let _ = from_json(&text);
    }
}
