//! The registry may only grow, knows what the codec knows, and is the documentation.

use countersign_event::cbor::{self, Value};
use countersign_event::fields::{self, FIELDS, detail, sys};
use countersign_event::{Event, GROUP_NAMES, codec};
use std::path::Path;

/// One line a field, a registered key and an enum value: what a release may never change.
fn registry() -> String {
    let mut lines: Vec<String> = FIELDS
        .iter()
        .map(|f| {
            format!(
                "field {} {} {} ({}) bound {}{}",
                f.home,
                f.key,
                f.name,
                f.ty,
                f.bound,
                if f.required { " required" } else { "" }
            )
        })
        .collect();
    for (of, tables) in [("detail", detail::TABLES), ("sys", sys::TABLES)] {
        for (name, keys) in tables {
            lines.extend(keys.iter().map(|key| format!("{of} {name} {} {} ({})", key.key, key.name, key.ty)));
        }
    }
    lines.extend(fields::enums().iter().map(|(name, code, word)| format!("enum {name} {code} {word}")));
    lines.join("\n") + "\n"
}

/// Compares with a file of the repository; `COUNTERSIGN_WRITE=1` writes it.
pub(crate) fn compare(path: &str, want: &str) {
    let path = Path::new(path);
    if std::env::var_os("COUNTERSIGN_WRITE").is_some() {
        std::fs::write(path, want).unwrap();
    }
    let have = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        have == want,
        "{} is not what the registry says; COUNTERSIGN_WRITE=1 writes it again",
        path.display()
    );
}

#[test]
fn the_registry_only_ever_grows() {
    let now = registry();
    for line in include_str!("../fixtures/fields-1.txt").lines() {
        assert!(now.lines().any(|have| have == line), "released, and changed or gone: {line}");
    }
    // what this version adds is released with it
    compare("tests/fixtures/fields-1.txt", &now);
}

#[test]
fn keys_ascend_from_0_without_a_hole_in_every_map() {
    for pair in FIELDS.windows(2) {
        let next = if pair[0].home == pair[1].home { pair[0].key + 1 } else { 0 };
        assert_eq!(pair[1].key, next, "{} {}", pair[1].home, pair[1].name);
    }
    for (name, keys) in detail::TABLES.iter().chain(sys::TABLES) {
        assert!(keys.iter().enumerate().all(|(i, key)| key.key == i as u64), "{name}");
    }
}

#[test]
fn field_ids_are_group_times_256_plus_key() {
    let id = |home: &str, name: &str| FIELDS.iter().find(|f| f.home == home && f.name == name).unwrap().id();
    assert_eq!(id("core", "eid"), Some(1));
    assert_eq!(id("content", "stmt"), Some(0x501));
    assert_eq!(id("principal", "cred"), None);
    assert_eq!(fields::by_id(0x401).map(|field| field.name), Some("span"));
    assert_eq!(fields::by_id(0x7ff), None);
}

#[test]
fn the_codec_knows_exactly_the_registered_keys_of_each_group() {
    for (g, group) in GROUP_NAMES.iter().enumerate().skip(1) {
        let last = FIELDS.iter().filter(|field| field.home == *group).count() as u64 - 1;
        // no field takes a negative number as its value, so a known key refuses it and an unknown one carries it
        let with = |key: u64| cbor::encode(&Value::Map(vec![(Value::Uint(key), Value::Nint(0))])).unwrap();
        for key in 0..=last {
            assert!(
                codec::decode_group(g, &with(key), &mut Event::default()).is_err(),
                "{group} {key} is unknown to the codec"
            );
        }
        assert!(
            codec::decode_group(g, &with(last + 1), &mut Event::default()).is_ok(),
            "{group} {} is unregistered",
            last + 1
        );
    }
}

#[test]
fn the_page_of_fields_is_what_the_registry_prints() {
    compare("../../docs/reference/fields.md", &fields::markdown());
}

#[test]
fn the_schema_text_names_every_field() {
    let cddl = include_str!("../../../../docs/schema/event.cddl");
    for field in FIELDS {
        let start =
            cddl.find(&format!("\n{} = {{\n", field.home)).unwrap_or_else(|| panic!("no map {}", field.home));
        let map = &cddl[start..start + cddl[start..].find("\n}").unwrap()];
        let optional = if field.required { "" } else { "? " };
        let named = map.lines().any(|line| {
            let comment = line.rsplit_once("; ").map_or("", |(_, comment)| comment);
            line.starts_with(&format!("  {optional}{} => ", field.key))
                && comment.split([',', ':']).next() == Some(field.name)
        });
        assert!(named, "{} {} {} is missing or different", field.home, field.key, field.name);
    }
}
