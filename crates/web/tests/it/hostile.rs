//! Captured data is written by attackers: whatever they put into any field comes back as text.

use crate::support::{World, call};
use countersign_event::*;

const CORPUS: [&str; 9] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'-alert(1)-'\"</title><svg/onload=alert(1)>",
    "</textarea></pre><iframe src=//evil.example>",
    "javascript:alert(1)",
    "\u{202e}txt.exe\u{2066}abc\u{2069}",
    "\u{1b}[31mred\u{1b}[0m\u{7}\u{9b}2J",
    "zero\u{200b}width\u{feff}\u{e0041}",
    "{{7*7}}${7*7}<!--#exec-->&amp;&#x3c;",
];

fn everywhere(text: &str) -> Event {
    let mut event = call(&format!("user:realm/{text}"), text, text, text, Outcome::CallerError);
    event.core.proto = text.chars().take(16).collect();
    event.core.status = Some((StatusSpace::Http, text.to_owned()));
    event.core.labels = vec![text.chars().take(16).collect()];
    event.core.route = text.to_owned();
    event.core.decision = Some(
        Decision { reason: text.to_owned(), policies: vec![text.to_owned()], ..Decision::default() }.into(),
    );
    let who = event.who.who.as_mut().unwrap();
    (who.name, who.iss, who.cred, who.svc) =
        (text.to_owned(), text.to_owned(), text.to_owned(), text.to_owned());
    event.who.also = vec![Principal::new(format!("key:{text}"), Verified::Claimed)];
    event.who.obo = vec![Principal::new(format!("jwt:{text}"), Verified::Claimed)];
    event.peer.src =
        Some(Endpoint { host: text.to_owned(), workload: text.to_owned(), ..Endpoint::default() });
    event.peer.tls = Some(Tls { sni: text.to_owned(), alpn: text.to_owned(), ..Tls::default() });
    event.peer.hops = vec![(text.to_owned(), Verified::Claimed)];
    event.target.raw = text.to_owned();
    event.target.rtype = text.to_owned();
    event.target.id = text.to_owned();
    (event.links.corr, event.links.sess, event.links.msg) =
        (text.to_owned(), text.to_owned(), text.to_owned());
    event.content.err = text.to_owned();
    event.content.stmt = text.to_owned();
    event.content.headers = vec![("x-evil".to_owned(), text.to_owned())];
    event.content.unmapped.insert(format!("/{text}"), Unmapped::Token("1".to_owned()));
    event.body.req = Some(Payload { content_type: text.to_owned(), ..Payload::default() });
    event
}

fn finding(text: &str) -> Event {
    let mut event = everywhere(text);
    event.core.rec = Some(Rec::Finding);
    event.core.sys.insert(fields::sys::finding::SEVERITY, cbor::Value::Uint(3));
    event
}

/// The corpus in every field of an interaction, and of a finding.
pub fn events() -> Vec<Event> {
    CORPUS.iter().map(|text| everywhere(text)).chain(CORPUS.iter().map(|text| finding(text))).collect()
}

/// The page may hold only the elements that it makes itself, and no character that hides.
fn assert_harmless(path: &str, page: &str) {
    for bad in [
        "<script>",
        "<img",
        "<iframe",
        "onerror=alert(1)>",
        "<svg/",
        "<!--",
        "href=\"javascript:",
        "src=\"//",
    ] {
        assert!(!page.contains(bad), "{bad} in {path}");
    }
    for c in page.chars() {
        let hidden = (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
        // Attributes that scripts and forms read carry the exact value, escaped; they are not shown.
        assert!(!hidden || is_in_attribute(page, c), "{:04x} in {path}", u32::from(c));
    }
}

fn is_in_attribute(page: &str, c: char) -> bool {
    page.split('<').skip(1).all(|tag| tag.split_once('>').is_none_or(|(_, text)| !text.contains(c)))
}

#[test]
fn hostile_text_in_every_field_comes_back_as_text() {
    let world = World::new();
    let first = world.record(events());
    let client = world.login();
    let mut paths: Vec<String> =
        ["/", "/events", "/tail", "/map", "/alerts", "/coverage", "/integrity"].map(str::to_owned).to_vec();
    paths.extend((0..2 * CORPUS.len() as u64).map(|at| format!("/events/{}", first + at)));
    for text in CORPUS {
        let q: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
        paths.extend([
            format!("/events?q={q}"),
            format!("/tail?q={q}"),
            format!("/{q}"),
            format!("/events?{q}={q}"),
            format!("/events/{q}"),
        ]);
    }
    for path in paths {
        let answer = client.get(&path);
        assert!(answer.status < 500, "{path}: {}", answer.text());
        assert_harmless(&path, &answer.text());
    }
}

#[test]
fn json_answers_are_never_taken_for_pages() {
    let world = World::new();
    let first = world.record(vec![everywhere(CORPUS[0])]);
    let client = world.login();
    for path in [format!("/api/v1/events/{first}"), "/api/v1/events".to_owned(), "/api/v1/map".to_owned()] {
        let answer = client.get(&path);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let _ = answer.json();
    }
    let file = client.get(&format!("/api/v1/events/{first}/proof"));
    assert_eq!(file.header("content-type"), Some("application/octet-stream"));
    assert!(file.header("content-disposition").unwrap().starts_with("attachment"));
}
