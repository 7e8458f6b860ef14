//! Personal data and an operator's own rules: looked for where they are asked for, replaced, counted, never kept.

use crate::support::{Rig, ok, response};
use countersign_gateway::{Gateway, GatewayConfig, Redaction};
use std::path::{Path, PathBuf};

const CARD: &str = "4111 1111 1111 1111";
const CARD_BARE: &str = "4111111111111111";

fn key(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("pseudonyms");
    std::fs::write(&path, text).unwrap();
    path
}

fn redaction(pseudonym_key: Option<PathBuf>) -> Redaction {
    let own = vec![("badge".to_owned(), "BADGE-".to_owned(), "BADGE-[0-9]{4}".to_owned())];
    Redaction { personal: vec!["card-number".to_owned()], own, pseudonym_key }
}

/// The records of a call that holds a card number and a badge, as text.
fn record(redaction: Redaction) -> String {
    let (upstream, _) = ok("x");
    let rig = Rig::with(upstream, |c| c.redaction = redaction);
    let mut client = rig.client();
    client.send(format!(
        "GET /pay/{CARD_BARE} HTTP/1.1\r\nHost: a\r\nUser-Agent: till {CARD} BADGE-4711\r\n\r\n"
    ));
    client.expect(response("x"));
    format!("{:?}", rig.memory.wait(1))
}

#[test]
fn without_a_rule_they_are_kept_and_with_one_they_are_not() {
    let kept = record(Redaction::default());
    assert!(kept.contains(CARD) && kept.contains(CARD_BARE) && kept.contains("BADGE-4711"), "{kept}");
    let cleaned = record(redaction(None));
    assert!(!cleaned.contains("4111") && !cleaned.contains("4711"), "{cleaned}");
    assert!(cleaned.contains("till {redacted} {redacted}"), "{cleaned}");
}

#[test]
fn with_a_key_they_become_pseudonyms_that_join() {
    let dir = tempfile::tempdir().unwrap();
    let path = key(dir.path(), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n");
    let (one, two) = (record(redaction(Some(path.clone()))), record(redaction(Some(path))));
    for text in [&one, &two] {
        assert!(!text.contains("4111") && !text.contains("4711"), "{text}");
    }
    let token = |text: &str| {
        let at = text.find("tok:card-number:").unwrap();
        text[at..at + "tok:card-number:".len() + 26].to_owned()
    };
    assert_eq!(token(&one), token(&two));
    assert!(one.contains("tok:badge:"), "{one}");
}

#[test]
fn what_cannot_be_used_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let short = key(dir.path(), "c2hvcnQ=");
    let absent = dir.path().join("absent");
    let with = |change: fn(&mut Redaction), key: Option<&PathBuf>| {
        let mut redaction = redaction(key.cloned());
        change(&mut redaction);
        let config = GatewayConfig { redaction, ..GatewayConfig::new("test") };
        Gateway::check(&config).map_err(|e| e.to_string())
    };
    assert_eq!(with(|_| {}, None), Ok(()));
    for (found, why) in [
        (with(|_| {}, Some(&short)), "32 to 64 random bytes"),
        (with(|_| {}, Some(&absent)), "absent"),
        (with(|r| r.personal.push("cards".into()), None), "no kind of personal data"),
        (with(|r| r.own.push(("x".into(), "X-".into(), "(".into())), None), "redaction rule x"),
    ] {
        let found = found.unwrap_err();
        assert!(found.contains(why), "{found}");
    }
}
