//! A real browser: the proof is computed in the page, the tail shows what arrives, no policy is violated.

use crate::support::{World, some_calls};
use countersign_testkit::Chromium;
use std::time::Duration;

/// Virtual time a page gets for its scripts.
const BUDGET: Duration = Duration::from_secs(8);

#[test]
fn a_browser_verifies_a_proof_and_sees_the_tail() {
    let world = World::new();
    let first = world.record(some_calls(20));
    let browser = Chromium::new().unwrap();
    let link = world.state.login_link(world.address).unwrap();
    let overview = browser.dump_dom(&link, BUDGET).unwrap();
    assert!(overview.contains("Ledger size"), "{overview}");

    let page = browser.dump_dom(&format!("http://{}/events/{first}", world.address), BUDGET).unwrap();
    assert_eq!(page.matches("✓ verified in this page").count(), 8, "{page}");
    assert!(page.contains("data-state=\"verified\""), "{page}");
    assert!(page.contains("Fields, decoded from the bytes that were hashed") && page.contains("spiffe_svid"), "{page}");

    // The browser remembers the tree; a later event must extend it.
    let later = world.record(some_calls(40));
    let page = browser.dump_dom(&format!("http://{}/events/{later}", world.address), BUDGET).unwrap();
    assert!(page.contains("extends the tree of size"), "{page}");

    let tail = browser.dump_dom_after(&format!("http://{}/tail", world.address), Duration::from_secs(4)).unwrap();
    assert!(tail.contains("listening at"), "{tail}");
}
