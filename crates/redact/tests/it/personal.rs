//! Personal data by its checksums.

use countersign_redact::personal::KINDS;
use countersign_redact::{Options, Pseudonyms, Scanner};

fn rules(text: &str) -> Vec<String> {
    let personal = KINDS.map(str::to_owned).to_vec();
    let scanner = Scanner::new(Options { personal, ..Options::default() }).unwrap();
    scanner.find(text.as_bytes()).into_iter().map(|h| h.rule.into_owned()).collect()
}

#[test]
fn numbers_with_the_right_checksum_are_found() {
    for (text, rule) in [
        ("pay 4111 1111 1111 1111 now", "card-number"),
        ("5555-5555-5555-4444", "card-number"),
        ("378282246310005", "card-number"),
        ("to DE89 3704 0044 0532 0130 00.", "iban"),
        ("GB82WEST12345698765432", "iban"),
        ("nhs 943 476 5919", "uk-nhs-number"),
        ("cpf 529.982.247-25".replace('.', " ").as_str(), "br-cpf"),
        ("bsn 111222333", "nl-bsn"),
        ("pesel 44051401359", "pl-pesel"),
    ] {
        assert_eq!(rules(text), [rule], "{text}");
    }
}

#[test]
fn a_wrong_digit_is_no_hit() {
    for text in [
        "4111 1111 1111 1112",
        "DE89 3704 0044 0532 0130 01",
        "943 476 5918",
        "order 1234567890123",
        "0000000000000000",
        "2026-11-22 03:04:05",
        "127.0.0.1:5432",
    ] {
        assert_eq!(rules(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn personal_data_is_looked_for_on_request_only() {
    assert!(Scanner::default().find(b"4111 1111 1111 1111").is_empty());
}

#[test]
fn each_kind_is_found_alone_when_it_alone_is_asked_for() {
    let text = b"4111 1111 1111 1111, DE89 3704 0044 0532 0130 00, 943 476 5919, 111222333, 44051401359";
    for kind in ["card-number", "iban", "uk-nhs-number", "nl-bsn", "pl-pesel"] {
        let scanner = Scanner::new(Options { personal: vec![kind.into()], ..Options::default() }).unwrap();
        let found: Vec<String> = scanner.find(text).into_iter().map(|h| h.rule.into_owned()).collect();
        assert_eq!(found, [kind]);
    }
    let wrong = Scanner::new(Options { personal: vec!["card".into()], ..Options::default() }).unwrap_err();
    assert!(wrong.to_string().contains("card-number"), "{wrong}");
}

#[test]
fn pseudonyms_join_whatever_the_grouping_and_secrets_get_none() {
    let options = Options {
        personal: vec!["card-number".into()],
        own: vec![("badge".into(), "BADGE-".into(), "BADGE-[0-9]{4}".into())],
        pseudonyms: Some(Pseudonyms::new(b"0123456789abcdef0123456789abcdef")),
    };
    let scanner = Scanner::new(options).unwrap();
    let clean = |text: &str| scanner.clean(text.as_bytes(), 512).text;
    let (spaced, whole) = (clean("pay 4111 1111 1111 1111 now"), clean("pay 4111111111111111 now"));
    assert_eq!(spaced, whole);
    assert!(spaced.starts_with("pay tok:card-number:") && spaced.ends_with(" now"), "{spaced}");
    assert_ne!(whole, clean("pay 5555555555554444 now"));
    assert!(clean("id BADGE-1234").starts_with("id tok:badge:"));
    assert_eq!(clean("password=hunter2hunter2"), "password={redacted}");
    assert_eq!(scanner.clean(b"pay 4111111111111111 now", 512).count(), 1);
}
