//! No record says more about an identity than its input may.

use crate::score::trusted;
use countersign_collect::{Input, formats, observe, otlp};
use countersign_event::Verified;

const LINE: &str =
    r#"192.0.2.1 - alice [13/Mar/2024:12:08:33 +0000] "GET / HTTP/1.1" 200 3 "-" "verified: 4""#;

#[test]
fn what_a_client_can_set_is_claimed_even_in_a_trusted_input() {
    let (input, keeper) = trusted();
    let event = observe(LINE.as_bytes(), formats::by_name("combined"), &input, &keeper, 1);
    assert_eq!(event.who.who.as_ref().unwrap().verified, Verified::Claimed);
}

#[test]
fn an_input_that_claims_to_be_bound_gives_asserted_at_most() {
    let (mut input, keeper) = trusted();
    input.level = Verified::Bound;
    for format in formats::FORMATS {
        let event = observe(LINE.as_bytes(), Some(format), &input, &keeper, 1);
        assert!(
            event.who.who.as_ref().is_none_or(|who| who.verified <= Verified::Asserted),
            "{}",
            format.name
        );
    }
}

#[test]
fn an_input_of_which_nothing_is_known_is_claimed() {
    assert_eq!(Input::new("x").level, Verified::Claimed);
}

#[test]
fn whatever_an_sdk_says_of_identities_is_claimed_even_in_a_trusted_input() {
    let (input, keeper) = trusted();
    let names =
        ["user.id", "enduser.id", "user.name", "audit.actor.id", "peer.service", "client.address", "db.user"];
    for name in names {
        let value = "spiffe://example.org/admin";
        let attribute =
            |name: &str| format!("{{\"key\":\"{name}\",\"value\":{{\"stringValue\":\"{value}\"}}}}");
        let span = format!(
            "{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{}]}},\"scopeSpans\":[{{\"spans\":[{{\"kind\":3,\"attributes\":[{},{}]}}]}}]}}]}}",
            attribute("service.name"),
            attribute(name),
            attribute("db.system"),
        );
        let event = otlp::map::observe_span(span.as_bytes(), &input, &keeper, 1).unwrap().event;
        let all = event.who.who.iter().chain(&event.who.obo).chain(&event.who.also);
        assert!(all.clone().count() > 0);
        assert!(all.clone().all(|who| who.verified == Verified::Claimed), "{name}");
        assert!(event.peer.hops.iter().all(|(_, level)| *level == Verified::Claimed), "{name}");
    }
}
