//! Pages are whole before any script, link only to what exists, and teach when empty.

use crate::support::{World, call, some_calls};
use countersign_event::Outcome;
use std::collections::{BTreeSet, VecDeque};

const PAGES: [&str; 7] = ["/", "/events", "/tail", "/map", "/alerts", "/coverage", "/integrity"];
/// Pages that the link check visits at most.
const VISITS_MAX: usize = 300;

#[test]
fn empty_pages_teach_the_first_step() {
    let world = World::new();
    let client = world.login();
    for path in ["/", "/events", "/map"] {
        let text = client.get(path).text();
        // Signing in is the first event; what is left out of lists must not count as data.
        assert!(text.contains("countersign run --proxy") || path == "/events", "{path}");
    }
    assert!(client.get("/alerts").text().contains("stays quiet while it learns what is normal"));
    assert!(
        client.get("/coverage").text().contains("[[witness]]"),
        "nobody looks, and the page says how one does"
    );
}

#[test]
fn every_page_is_whole_without_scripts() {
    let world = World::new();
    let first = world.record(some_calls(60));
    let client = world.login();
    let event = format!("/events/{first}");
    for path in PAGES.iter().copied().chain([event.as_str(), "/events/0"]) {
        let answer = client.get(path);
        let text = answer.text();
        assert_eq!(answer.status, 200, "{path}: {text}");
        assert!(text.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{path}");
        assert_eq!(text.matches("<h1").count(), 1, "{path}");
        for part in ["<main", "<nav", "class=\"skip-link\"", "role=\"search\"", "<title>"] {
            assert!(text.contains(part), "{part} in {path}");
        }
        for banned in [" style=", "<style", "onclick=", "onload=", "javascript:", "http://www.w3"] {
            assert!(!text.contains(banned), "{banned} in {path}");
        }
        assert_eq!(
            text.matches("<script").count(),
            text.matches("<script type=\"module\" src=\"/assets/").count(),
            "{path}"
        );
        assert!(text.len() < 400 << 10, "{path} is {} bytes", text.len());
    }
}

#[test]
fn an_event_is_told_in_one_sentence() {
    let world = World::new();
    let first = world.record(vec![call(
        "spiffe://example.org/payments-api",
        "orders-db",
        "DELETE",
        "/v1/orders/17",
        Outcome::Denied,
    )]);
    let text = world.login().get(&format!("/events/{first}")).text();
    let words: String =
        text.split("class=\"sentence\"").nth(1).unwrap().split("</p>").next().unwrap().to_owned();
    for part in
        ["payments-api", "<strong>deleted</strong>", "/v1/orders/17", "orders-db", "denied", "403", "1.5 ms"]
    {
        assert!(words.contains(part), "{part} in {words}");
    }
    for part in [
        "checked, and bound to this channel",
        "spiffe svid",
        "Evidence file",
        "countersign-verify",
        "core",
        "who",
        "target",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn the_map_shows_each_pair_in_picture_and_table() {
    let world = World::new();
    world.record(some_calls(30));
    let client = world.login();
    let text = client.get("/map").text();
    for part in ["<svg", "spiffe://example.org/web", "orders-db", "The same as a table", "4 bound"] {
        assert!(text.contains(part), "{part}");
    }
    let link =
        text.split("href=\"/map?sel=").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let chosen = client.get(&format!("/map?sel={link}").replace("#chosen", "")).text();
    assert!(chosen.contains("The newest events of this pair"), "{link}");
}

#[test]
fn a_mistake_in_the_query_keeps_the_page_and_names_the_right_word() {
    let world = World::new();
    world.record(some_calls(3));
    let answer = world.login().get("/events?q=idenity:x");
    let text = answer.text();
    assert_eq!(answer.status, 200);
    assert!(
        text.contains("idenity") && text.contains("identity") && text.contains("role=\"alert\""),
        "{text}"
    );
}

#[test]
fn an_empty_result_names_the_range_that_has_hits() {
    let world = World::new();
    world.record(some_calls(3));
    let text = world.login().get("/events?q=op:GET&from=now&to=now").text();
    assert!(text.contains("No event matches") && text.contains("in 24 h"), "{text}");
}

#[test]
fn unknown_parameters_are_named_and_a_foreign_pin_is_refused() {
    let world = World::new();
    world.record(some_calls(3));
    let client = world.login();
    assert!(client.get("/events?zz=1").text().contains("Not understood and ignored"));
    let answer = client.get("/events?at=2.0123456789abcdef");
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("0123456789abcdef"));
}

#[test]
fn every_link_leads_somewhere() {
    let world = World::new();
    world.record(some_calls(12));
    let client = world.login();
    let mut queue: VecDeque<String> = PAGES.iter().map(|path| (*path).to_owned()).collect();
    let mut seen: BTreeSet<String> = queue.iter().cloned().collect();
    let mut visited = 0;
    while let Some(path) = queue.pop_front() {
        visited += 1;
        if visited > VISITS_MAX {
            break;
        }
        let answer = client.get(&path);
        assert!([200, 303].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        if answer.header("content-type") != Some("text/html; charset=utf-8") {
            continue;
        }
        let text = answer.text();
        for attribute in ["href=\"/", "src=\"/", "data-evidence=\"/", "data-url=\"/"] {
            for part in text.split(attribute).skip(1) {
                let link = format!("/{}", part.split('"').next().unwrap()).replace("&amp;", "&");
                let link = link.split('#').next().unwrap().to_owned();
                if !link.starts_with("/api/v1/tail") && seen.insert(link.clone()) {
                    queue.push_back(link);
                }
            }
        }
    }
    assert!(visited > 40, "{visited}");
}
