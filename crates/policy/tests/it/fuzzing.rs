//! The fuzz bodies, from noise, from near-good text and from mutated seeds.

use countersign_policy::{fuzz, schema_text};
use proptest::prelude::*;

const SEEDS: [&str; 5] = [
    "@id(\"a;b\") permit(principal == Countersign::Workload::\"p\", action in [Action::\"http:GET\", Action::\"class:read\"], resource)\n\
     when { principal.verified >= 3 && context.peer.isInRange(ip(\"10.0.0.0/8\")) } unless { context.purpose == \"x\" };",
    "forbid(principal is Countersign::User in Countersign::Group::\"a\", action, resource == Countersign::Resource::\"orders/orders/{id}\");",
    "// comment\rpermit(principal, action, resource) when { if context.tls then resource.name like \"/a*\\*\" else -1 < 2 };",
    "permit(principal, action, resource) when { {a: [1, 2], \"b c\": context}.a.containsAny([2]) && principal has verified };",
    "permit(principal, action, resource) when { context.time.offset(duration(\"-1d\")).toDate() < datetime(\"2026-01-01\") };",
];

const ENTITIES: &str =
    "{\"groups\":{\"a\":[\"b\"],\"c\":[]},\"principals\":{\"p\":[\"c\"]},\"services\":{\"orders\":[\"b\"]}}";

fn mutated(seed: &str, edits: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = seed.as_bytes().to_vec();
    for (place, byte) in edits {
        let place = place % bytes.len();
        match byte % 3 {
            0 => bytes[place] = *byte & 0x7f,
            1 => bytes.insert(place, *byte & 0x7f),
            _ if bytes.len() > 1 => drop(bytes.remove(place)),
            _ => {}
        }
    }
    bytes
}

#[test]
fn seeds_are_handled() {
    SEEDS.iter().for_each(|seed| fuzz::policy_text(seed.as_bytes()));
    fuzz::policy_text(schema_text().as_bytes());
    fuzz::policy_text(SEEDS.concat().as_bytes());
    fuzz::entities_json(ENTITIES.as_bytes());
}

#[test]
fn a_comment_ends_where_cedar_ends_it() {
    // A splitter that reads on would drop the forbid without a word.
    for end in ["\r", "\n", "\r\n"] {
        let text = format!("// all may read{end}forbid(principal, action, resource);");
        let sources =
            countersign_policy::Sources { policies: vec![("a.cedar".into(), text)], entities: None };
        let set = countersign_policy::PolicySet::from_sources(&sources, Default::default()).unwrap();
        assert_eq!(set.len(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|how| how == "full") { 3_000 } else { 300 },
        ..ProptestConfig::default()
    })]

    #[test]
    fn noise_is_handled(data in proptest::collection::vec(any::<u8>(), 0..300), text in "[a-z(){};\"\\\\/ \n@.,:!&|<=>]{0,200}") {
        fuzz::policy_text(&data);
        fuzz::policy_text(text.as_bytes());
        fuzz::entities_json(&data);
    }

    #[test]
    fn damaged_seeds_are_handled(n in 0..SEEDS.len(), edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        fuzz::policy_text(&mutated(SEEDS[n], &edits));
        fuzz::entities_json(&mutated(ENTITIES, &edits));
    }
}
