//! The reader against `serde_json`, and its bounds.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn same(ours: Val<'_, '_>, theirs: &Value) -> bool {
    match (ours.kind(), theirs) {
        (Kind::Null, Value::Null) => true,
        (Kind::Bool, Value::Bool(b)) => ours.bool() == Some(*b),
        (Kind::Number, Value::Number(_)) => serde_json::from_str::<Value>(ours.token()).is_ok(),
        (Kind::Text, Value::String(s)) => ours.text().as_deref() == Some(s),
        (Kind::Array, Value::Array(items)) => {
            ours.elements().count() == items.len() && ours.elements().zip(items).all(|(a, b)| same(a, b))
        }
        (Kind::Object, Value::Object(map)) => {
            map.iter().all(|(k, v)| ours.get(k).is_some_and(|o| same(o, v)))
        }
        _ => false,
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..12)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_writes_is_read_alike(value in any_json()) {
        let text = value.to_string();
        let doc = Doc::parse(text.as_bytes()).unwrap();
        prop_assert!(same(doc.root(), &value), "{text}");
        prop_assert!(!doc.ambiguous());
    }

    #[test]
    fn any_bytes_are_judged_without_panic_and_never_more_generously_than_serde(bytes in any::<Vec<u8>>()) {
        if Doc::parse(&bytes).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }

    #[test]
    fn a_cut_text_is_refused(value in any_json(), part in 0.0..1.0f64) {
        let text = format!("[{value}]");
        let cut = (text.len() as f64 * part) as usize;
        if text.is_char_boundary(cut) {
            prop_assert!(Doc::parse(&text.as_bytes()[..cut]).is_err());
        }
    }
}

#[test]
fn what_no_rule_read_is_given_by_pointer_and_own_spelling() {
    let text = br#"{"a":1.50,"b":{"c":null,"d/e~":"x"},"f":[1,{"g":2}],"h":{"i":{}}}"#;
    let doc = Doc::parse(text).unwrap();
    doc.root().at("b/c").unwrap().take();
    doc.root().get("f").unwrap().elements().next().unwrap().int().unwrap();
    let mut left = Vec::new();
    doc.unread(&mut |pointer, token| left.push((pointer.to_owned(), token)));
    let want = [("/a", "1.50"), ("/b/d~1e~0", "\"x\""), ("/f/1", r#"{"g":2}"#), ("/h", r#"{"i":{}}"#)];
    assert_eq!(left, want.map(|(p, t)| (p.to_owned(), t)));
}

#[test]
fn a_name_given_twice_is_seen_and_the_last_counts() {
    for text in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#] {
        let doc = Doc::parse(text.as_bytes()).unwrap();
        assert!(doc.ambiguous(), "{text}");
        assert_eq!(doc.root().get("a").unwrap().int(), Some(2), "{text}");
    }
    let many: Vec<String> = (0..40).map(|n| format!("\"k{}\":0", n % 39)).collect();
    assert!(Doc::parse(format!("{{{}}}", many.join(",")).as_bytes()).unwrap().ambiguous());
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    let cases: [(&[u8], usize); 12] = [
        (b"", 0),
        (b"{", 1),
        (b"{\"a\":}", 5),
        (b"[1,]", 3),
        (b"[01]", 2),
        (b"\"\xff\"", 1),
        (b"\"\\ud800\"", 7),
        (b"\"a\x00\"", 2),
        (b"[1] x", 4),
        (b"nul", 0),
        (b"1.", 2),
        (b"\"abc", 4),
    ];
    for (text, at) in cases {
        let fault = Doc::parse(text).unwrap_err();
        assert_eq!(fault.offset, at, "{:?}: {}", String::from_utf8_lossy(text), fault.rule);
    }
}

#[test]
fn nesting_and_items_have_bounds() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(Doc::parse(deep(DEPTH_MAX).as_bytes()).is_ok());
    assert!(Doc::parse(deep(DEPTH_MAX + 1).as_bytes()).is_err());
    let wide = |n: usize| format!("[{}]", vec!["0"; n].join(","));
    assert!(Doc::parse(wide(ITEMS_MAX - 1).as_bytes()).is_ok());
    assert!(Doc::parse(wide(ITEMS_MAX).as_bytes()).is_err());
}
