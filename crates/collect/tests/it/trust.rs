//! No record says more about an identity than its input may.

use crate::score::trusted;
use countersign_collect::{Input, formats, observe};
use countersign_event::Verified;

const LINE: &str =
    r#"192.0.2.1 - alice [13/Mar/2024:12:08:33 +0000] "GET / HTTP/1.1" 200 3 "-" "verified: 4""#;

#[test]
fn what_a_client_can_set_is_claimed_even_in_a_trusted_input() {
    let (input, keeper) = trusted();
    let event = observe(LINE.as_bytes(), formats::by_name("combined"), &input, &keeper, 1);
    assert_eq!(event.who.who.unwrap().verified, Verified::Claimed);
}

#[test]
fn an_input_that_claims_to_be_bound_gives_asserted_at_most() {
    let (mut input, keeper) = trusted();
    input.level = Verified::Bound;
    for format in formats::FORMATS {
        let event = observe(LINE.as_bytes(), Some(format), &input, &keeper, 1);
        assert!(event.who.who.is_none_or(|who| who.verified <= Verified::Asserted), "{}", format.name);
    }
}

#[test]
fn an_input_of_which_nothing_is_known_is_claimed() {
    assert_eq!(Input::new("x").level, Verified::Claimed);
}
