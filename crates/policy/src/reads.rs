//! Which attributes a policy's conditions read, found from its syntax tree.
//!
//! Two uses: only these are built for an evaluation, and the verdict cache's key holds all of them. Both are
//! safe only if nothing read is ever missed, so the walk looks at names alone: an attribute counts as read
//! wherever its name stands, and the bare `context` counts as all of it.
//!
//! Attributes of caller and resource are moved into the context before evaluation ([`inline`]): for Cedar
//! they are entities, whose construction costs several times the evaluation.

use serde_json::{Map, Value, json};

macro_rules! attributes {
    ($($name:ident = $bit:literal $word:literal),+ $(,)?) => {
        impl Reads { $(pub(crate) const $name: Reads = Reads(1 << $bit);)+ }
        const NAMES: &[(&str, Reads)] = &[$(($word, Reads::$name)),+];
    };
}

/// A set of attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads(u32);

attributes! {
    ID = 0 "id", VERIFIED = 1 "verified", METHOD = 2 "method", GROUPS = 3 "groups", ISS = 4 "iss", SVC = 5 "svc",
    SERVICE = 6 "service", TYPE = 7 "type", NAMESPACE = 8 "namespace", NAME = 9 "name",
    CLASS = 10 "class", TIME = 11 "time", HOUR = 12 "hour", WEEKDAY = 13 "weekday", PEER = 14 "peer",
    TLS = 15 "tls", ROUTE = 16 "route", PURPOSE = 17 "purpose", DELEGATION = 18 "delegation",
    DEPTH = 19 "delegation_depth", BEHALF = 20 "behalf", CHAIN = 21 "chain_verified",
    // Whether the context is used as a whole.
    WHOLE = 29 "context",
    // Whether it is asked of something else than one of the three variables.
    LITERAL = 30 "in …",
    // Whether the hierarchy of one of the three is asked about in a condition.
    IN = 31 "in",
}

impl Reads {
    /// Attributes of the caller.
    pub(crate) const PRINCIPAL: Reads = Reads(0x3f);
    /// Attributes of the resource.
    pub(crate) const RESOURCE: Reads = Reads(0xf << 6);
    /// Attributes of the context.
    pub(crate) const CONTEXT: Reads = Reads(0xfff << 10);
    /// All attributes.
    pub(crate) const ALL: Reads = Reads(!(1 << 29));

    pub(crate) fn any(self, of: Reads) -> bool {
        self.0 & of.0 != 0
    }

    pub(crate) fn add(&mut self, more: Reads) {
        self.0 |= more.0;
    }

    /// What a condition reads, from Cedar's JSON form of a policy.
    pub(crate) fn of(conditions: &Value) -> Reads {
        let mut reads = Reads::default();
        walk(conditions, false, &mut reads);
        reads
    }
}

/// How the context's name of a moved attribute begins; no policy may use it.
pub(crate) const MOVED: char = '\u{1}';

/// The context's name of a moved attribute.
pub(crate) fn moved(name: &str) -> String {
    format!("{MOVED}{name}")
}

/// Turns `principal.verified` and `resource has name` into the same of the context, where the attribute is
/// one of the schema and the left side is the variable itself. `false` = a policy uses a name of ours.
pub(crate) fn inline(value: &mut Value) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().all(inline),
        Value::Object(map) => map.iter_mut().all(|(key, value)| match value {
            Value::Object(access) if matches!(key.as_str(), "." | "has") && access.contains_key("left") => {
                inline_access(access)
            }
            value => inline(value),
        }),
        _ => true,
    }
}

fn inline_access(access: &mut Map<String, Value>) -> bool {
    let attr = access.get("attr").and_then(Value::as_str).unwrap_or("").to_owned();
    if attr.starts_with(MOVED) {
        return false;
    }
    let left = access.get("left").and_then(|left| left.get("Var")).and_then(Value::as_str);
    let of = match left {
        Some("principal") => Reads::PRINCIPAL,
        Some("resource") => Reads::RESOURCE,
        _ => return access.values_mut().all(inline),
    };
    if NAMES.iter().any(|(name, bit)| *name == attr && of.any(*bit)) {
        access.insert("left".to_owned(), json!({ "Var": "context" }));
        access.insert("attr".to_owned(), Value::String(moved(&attr)));
    }
    true
}

/// `attribute_of` says that the value is the left side of an attribute access.
fn walk(value: &Value, attribute_of: bool, reads: &mut Reads) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, false, reads)),
        Value::Object(map) => {
            for (key, value) in map {
                let access = matches!(key.as_str(), "." | "has");
                match (key.as_str(), value) {
                    ("Var", Value::String(name)) if name == "context" && !attribute_of => {
                        reads.add(Reads::CONTEXT);
                        reads.add(Reads::WHOLE);
                    }
                    ("attr", Value::String(name)) => reads.add(named(name)),
                    // Extended `has` has a list of names.
                    ("attr", Value::Array(names)) => {
                        names.iter().filter_map(Value::as_str).for_each(|name| reads.add(named(name)));
                    }
                    ("in" | "is", value) => {
                        reads.add(Reads::IN);
                        if value.get("left").is_none_or(|left| left.get("Var").is_none()) {
                            reads.add(Reads::LITERAL);
                        }
                        walk(value, false, reads);
                    }
                    (_, value) => walk_key(key, value, access, attribute_of, reads),
                }
            }
        }
        _ => {}
    }
}

fn walk_key(key: &str, value: &Value, access: bool, attribute_of: bool, reads: &mut Reads) {
    match value {
        // `{ ".": { "left": …, "attr": … } }`
        Value::Object(inner) if access && inner.contains_key("left") => {
            for (key, value) in inner {
                match (key.as_str(), value) {
                    ("left", Value::Object(left)) => {
                        let bare = left.get("Var").is_some_and(Value::is_string) && left.len() == 1;
                        walk(value, bare, reads);
                    }
                    ("attr", Value::String(name)) => reads.add(named(name)),
                    ("attr", Value::Array(names)) => {
                        names.iter().filter_map(Value::as_str).for_each(|name| reads.add(named(name)));
                    }
                    (_, value) => walk(value, false, reads),
                }
            }
        }
        value => walk(value, attribute_of && key == "Var", reads),
    }
}

fn named(name: &str) -> Reads {
    if name.starts_with(MOVED) {
        return Reads::default();
    }
    // A field of a record, or a name that the schema lacks: everything counts as read.
    NAMES.iter().find(|(word, _)| *word == name).map_or(Reads::ALL, |(_, bit)| *bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedar_policy::Policy;

    fn of(condition: &str) -> Reads {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        let json = Policy::parse(None, text).unwrap().to_json().unwrap();
        Reads::of(json.get("conditions").unwrap())
    }

    fn set(bits: &[Reads]) -> Reads {
        let mut all = Reads::default();
        bits.iter().for_each(|b| all.add(*b));
        all
    }

    #[test]
    fn every_way_to_read_an_attribute_is_found() {
        assert_eq!(of("principal.verified >= 3"), Reads::VERIFIED);
        assert_eq!(of("context.tls && context has peer"), set(&[Reads::TLS, Reads::PEER]));
        assert_eq!(
            of("(if context.tls then principal else principal).iss == \"x\""),
            set(&[Reads::TLS, Reads::ISS])
        );
        assert_eq!(of("resource[\"name\"] like \"/a*\""), Reads::NAME);
        assert_eq!(of("context.time > datetime(\"2026-01-01\")"), Reads::TIME);
        assert_eq!(of("[context.hour, 3].contains(4)"), Reads::HOUR);
        assert_eq!(of("{ a: context.purpose }.a == \"x\""), Reads::ALL, "a name of no schema: everything");
        let whole = set(&[Reads::CONTEXT, Reads::WHOLE]);
        assert_eq!(of("context == context"), whole);
        assert_eq!(of("{ \".\": context } == { \".\": context }"), whole);
        assert!(of("(if true then context else context).route == \"x\"").any(Reads::ROUTE));
        assert_eq!(of("principal in Countersign::Group::\"x\""), Reads::IN);
        let both = set(&[Reads::IN, Reads::LITERAL]);
        assert_eq!(of("Countersign::Group::\"a\" in Countersign::Group::\"x\""), both);
        assert_eq!(of("1 == 1"), Reads::default());
    }
}
