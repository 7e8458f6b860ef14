//! Personal data by its checksums.

use countersign_redact::{Options, Scanner};

fn rules(text: &str) -> Vec<String> {
    let scanner = Scanner::new(Options { personal: true, ..Options::default() }).unwrap();
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
