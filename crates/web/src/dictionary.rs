//! Names of fields and enum words for the page's own decoder, generated from the event's registry.
//!
//! The page decodes bytes that it hashed itself; this module only tells it what to call what it finds.

use countersign_event::GROUP_NAMES;
use countersign_event::fields::{FIELDS, detail, enums, sys};
use serde_json::{Map, Value, json};

/// `dictionary.js`: maps by name → key → [name, type]; words by enum → number.
pub(crate) fn module() -> String {
    let mut maps = Map::new();
    for field in FIELDS {
        insert(&mut maps, field.home, field.key, field.name, field.ty);
    }
    for (kind, keys) in detail::TABLES {
        for key in *keys {
            insert(&mut maps, &format!("detail:{kind}"), key.key, key.name, key.ty);
        }
    }
    for (kind, keys) in sys::TABLES {
        for key in *keys {
            insert(&mut maps, &format!("sys:{kind}"), key.key, key.name, key.ty);
        }
    }
    let mut words = Map::new();
    for (name, number, word) in enums() {
        let list = words.entry(name).or_insert_with(|| json!({}));
        list[number.to_string()] = json!(word);
    }
    format!(
        "// Generated from the event's field registry.\nexport const GROUPS = {};\nexport const MAPS = {};\nexport const WORDS = {};\n",
        json!(GROUP_NAMES),
        Value::Object(maps),
        Value::Object(words)
    )
}

fn insert(maps: &mut Map<String, Value>, home: &str, key: u64, name: &str, ty: &str) {
    let map = maps.entry(home).or_insert_with(|| json!({}));
    map[key.to_string()] = json!([name, ty]);
}
