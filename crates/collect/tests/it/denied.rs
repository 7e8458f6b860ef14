//! A credential that does not pass is an event: whom it claims, at level 1, and never what it holds.

use crate::push::{Rig, request};
use countersign_event::{Event, Kind, Outcome, Rec, Verified};

fn number(events: &[&Event]) -> u64 {
    events.iter().map(|event| event.core.n.unwrap_or(1)).sum()
}

#[test]
fn every_refusal_is_in_an_event_with_whom_it_claimed_and_a_flood_is_folded() {
    let dir = tempfile::tempdir().unwrap();
    let (rig, key) = Rig::guarded(dir.path());
    let line = b"x";
    let ask = |headers: &str| request(rig.address, "POST", "/v1/events", headers, line).0;
    for _ in 0..20 {
        assert_eq!(ask("Authorization: Bearer csk.shipper.hunter2hunter2\r\n"), 401);
    }
    for _ in 0..3 {
        assert_eq!(ask(""), 401);
    }
    assert_eq!(ask("X-Api-Key: nonsense-hunter2\r\n"), 401);
    assert_eq!(ask(&format!("Authorization: Bearer {key}\r\n")), 200);
    let counts = rig.port.intake.counts();
    assert_eq!((counts.received, counts.recorded, counts.rejected), (25, 1, 24));
    let events = rig.events();
    assert!(!format!("{events:?}").contains("hunter2"), "nothing of a secret");
    let denied: Vec<&Event> = events.iter().filter(|event| event.core.kind == Some(Kind::Auth)).collect();
    assert_eq!(events.len() - denied.len(), 1, "and what was let in");
    assert!(denied.len() <= 6, "two a kind at most: {}", denied.len());
    for event in &denied {
        assert_eq!((event.core.rec, event.core.outcome), (Some(Rec::Interaction), Some(Outcome::Denied)));
        assert_eq!(event.who.who.as_ref().unwrap().verified, Verified::Claimed);
        assert_eq!(event.peer.src.as_ref().unwrap().ip.unwrap().to_string(), "127.0.0.1");
        assert!(!event.content.err.is_empty() && event.core.route == "test");
    }
    let of = |id: &str, labelled: bool| -> Vec<&Event> {
        let is = |event: &&&Event| {
            event.who.who.as_ref().unwrap().id == id && event.core.labels.is_empty() != labelled
        };
        denied.iter().filter(is).copied().collect()
    };
    assert_eq!(number(&of("key:shipper", true)), 20);
    assert_eq!(number(&of("anon:", false)), 3, "no credential at all");
    assert_eq!(number(&of("anon:", true)), 1, "one that cannot be read");
}
