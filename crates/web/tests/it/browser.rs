//! A real browser: the proof is computed in the page, the tail shows what arrives, nothing breaks the policy.

use crate::devtools::Browser;
use crate::hostile;
use crate::support::{World, some_calls};

#[test]
fn a_browser_computes_the_proof_and_remembers_the_tree() {
    let world = World::new();
    let first = world.record(some_calls(20));
    let mut browser = Browser::start();
    browser.open(&world.state.login_link(world.address).unwrap());
    assert_eq!(browser.value("location.pathname"), "/");
    let verified = "document.querySelector('#proof').dataset.state === 'verified'";
    let ticks = "document.querySelectorAll('#proof-lines .state.ok').length";

    browser.open(&format!("http://{}/events/{first}", world.address));
    browser.wait(verified);
    assert_eq!(browser.value(ticks), 8);
    let fields = browser.value("document.querySelector('#proof-fields').innerText");
    for part in [
        "decoded from the bytes that were hashed",
        "spiffe_svid",
        "spiffe://example.org/billing",
        "10.0.0.5",
        "GET",
    ] {
        assert!(fields.as_str().unwrap().contains(part), "{part} in {fields}");
    }
    assert_eq!(browser.trouble(), Vec::<String>::new());

    let later = world.record(some_calls(40));
    browser.open(&format!("http://{}/events/{later}", world.address));
    browser.wait(verified);
    let lines = browser.value("document.querySelector('#proof-lines').innerText");
    assert!(lines.as_str().unwrap().contains("extends the tree of size"), "{lines}");

    // A tree that does not extend the remembered one is a fork, in red.
    browser.value("localStorage.setItem('countersign.head.example.org/web-test/1', JSON.stringify({ size: 3, root: '00'.repeat(32), vkey: document.querySelector('#proof').dataset.vkey }))");
    browser.open(&format!("http://{}/events/{first}", world.address));
    browser.wait("document.querySelector('#proof').dataset.state === 'failed'");
    assert_eq!(browser.value("document.querySelector('#proof-fields').innerText"), "");
}

#[test]
fn a_browser_sees_the_tail_move_and_its_sums_hold() {
    let world = World::new();
    world.record(some_calls(5));
    let mut browser = Browser::start();
    browser.open(&world.state.login_link(world.address).unwrap());
    browser.open(&format!("http://{}/tail", world.address));
    browser.wait("document.querySelector('#tail-state').textContent.startsWith('listening at')");
    let first = world.record(some_calls(9));
    browser.wait(&format!("document.querySelector('#tail-rows a[href=\"/events/{}\"]') !== null", first + 8));
    let sums = "['received', 'shown', 'filtered', 'skipped'].map((n) => Number(document.getElementById('tail-' + n).textContent))";
    let hold = format!("((s) => s[0] === s[1] + s[2] + s[3] && s[1] === 9)({sums})");
    browser.wait(&hold);
    browser.key(".");
    assert_eq!(browser.value("document.getElementById('tail-pause').textContent"), "Resume");
    let later = world.record(some_calls(3));
    browser.wait(&format!("((s) => s[0] === s[1] + s[2] + s[3] && s[1] === 12)({sums})"));
    let hidden = format!("document.querySelector('#tail-rows a[href=\"/events/{later}\"]') === null");
    assert_eq!(browser.value(&hidden), true);
    browser.key(".");
    browser.wait(&format!("!({hidden})"));
    assert_eq!(browser.trouble(), Vec::<String>::new());
}

#[test]
fn hostile_text_breaks_no_policy_and_keys_lead_through_the_pages() {
    let world = World::new();
    let first = world.record(hostile::events());
    let mut browser = Browser::start();
    browser.open(&world.state.login_link(world.address).unwrap());
    for path in ["/", "/events", "/map", "/alerts", "/coverage", "/integrity", "/tail"] {
        browser.open(&format!("http://{}{path}", world.address));
        assert_eq!(browser.trouble(), Vec::<String>::new(), "{path}");
    }
    for index in first..first + hostile::events().len() as u64 {
        browser.open(&format!("http://{}/events/{index}", world.address));
        browser.wait("document.querySelector('#proof').dataset.state === 'verified'");
        assert_eq!(browser.trouble(), Vec::<String>::new(), "event {index}");
    }
    browser.key("g");
    browser.key("m");
    browser.wait("location.pathname === '/map' && document.readyState === 'complete'");
    let view = "document.querySelector('#map-picture').getAttribute('viewBox')";
    let before = browser.value(view);
    browser.value("document.querySelector('#map-in').click()");
    assert_ne!(browser.value(view), before);
    browser.key("?");
    assert_eq!(browser.value("document.querySelector('#help').open"), true);
}
