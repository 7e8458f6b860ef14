//! Secrets by form, by name, by armour and by look.

use countersign_redact::forms::{Chars, FORMS};
use countersign_redact::{HITS_MAX, Options, Pseudonyms, REDACTED, Scanner, fuzz};
use proptest::prelude::*;

/// A token of a form, not all one character.
fn token(start: &str, chars: Chars, n: usize) -> String {
    let alphabet: Vec<char> = (b'!'..=b'~').filter(|b| chars.has(*b)).map(char::from).collect();
    start.chars().chain((0..n).map(|i| alphabet[(i * 7 + i / 3) % alphabet.len()])).collect()
}

#[test]
fn every_documented_form_is_found_in_a_sentence_and_nothing_of_it_stays() {
    let scanner = Scanner::default();
    for form in FORMS {
        for n in [form.min.max(4), form.max.min(form.min + 40)] {
            let token = token(form.start, form.chars, n.clamp(form.min, form.max));
            let text = format!("before {token} after");
            let cleaned = scanner.clean(text.as_bytes(), 8_192);
            assert!(cleaned.count() > 0, "{} {token}", form.rule);
            let tail = &token[form.start.len()..];
            assert!(tail.len() < 4 || !cleaned.text.contains(tail), "{}: {}", form.rule, cleaned.text);
            assert!(
                cleaned.text.starts_with("before ") && cleaned.text.ends_with("after"),
                "{}",
                cleaned.text
            );
        }
    }
}

#[test]
fn there_are_two_hundred_rules_with_distinct_beginnings() {
    let mut starts: Vec<_> = FORMS.iter().map(|f| f.start).collect();
    starts.sort_unstable();
    starts.dedup();
    assert_eq!(starts.len(), FORMS.len());
    assert!(FORMS.len() + countersign_redact::assigned::NAMES.len() >= 200, "{}", FORMS.len());
}

#[test]
fn assigned_secrets_are_found_in_the_ways_people_write_them() {
    let scanner = Scanner::default();
    for text in [
        "password=hunter22",
        "db_password = hunter22",
        "PGPASSWORD=hunter22 psql",
        r#"{"client_secret": "hunter22", "a": 1}"#,
        r#"{"token":"hunter22\"still"}"#,
        "X-Api-Key: hunter22",
        "?a=1&access_token=hunter22&b=2",
        "postgres://app:hunter22@db/x",
        "--password 'hunter22'",
        "secret: hunter22;",
        "https://hunter22@host/path",
    ] {
        let cleaned = scanner.clean(text.as_bytes(), 512);
        assert!(
            !cleaned.text.contains("hunter22") && cleaned.text.contains(REDACTED),
            "{text}: {}",
            cleaned.text
        );
    }
}

#[test]
fn prose_names_and_ids_are_left_alone() {
    let scanner = Scanner::default();
    for text in [
        "the password was changed by the user",
        "secretary=Smith",
        "token: no",
        "550e8400-e29b-41d4-a716-446655440000",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "how-to-build-a-rather-long-slug-in-2026",
        "select * from orders where id = $1",
        "/v1/orders/17?page=2",
        "http://example.org/a@b",
        "AKIA is a prefix",
        "SKIP",
        "arn:aws:sts::111122223333:assumed-role/AWSServiceRoleForAmazonEKSNodegroup/EKS",
        "Client.InvalidDeliveryChannelNameException",
        "aws-reserved/sso.amazonaws.com/us-west-2/AWSReservedSSO_DevAdmin_635426549a280cc6",
    ] {
        assert_eq!(scanner.find(text.as_bytes()), [], "{text}");
    }
}

#[test]
fn a_private_key_is_one_hit_from_armour_to_armour_even_when_its_end_is_missing() {
    let scanner = Scanner::default();
    for kind in ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "] {
        let key = format!(
            "-----BEGIN {kind}PRIVATE KEY-----\nMIIBVQIBADANBg\nqhkiG9w0\n-----END {kind}PRIVATE KEY-----"
        );
        let text = format!("x\n{key}\ny");
        let cleaned = scanner.clean(text.as_bytes(), 4_096);
        assert_eq!(cleaned.text, format!("x\n{REDACTED}\ny"));
        let open = scanner.clean(&key.as_bytes()[..50], 4_096);
        assert!(!open.text.contains("MII"), "{}", open.text);
    }
}

#[test]
fn a_secret_cut_by_the_bound_is_still_found() {
    let text = format!("{} ghp_16C7e42F292c6912E7710c838347Ae178B4a", "x".repeat(100));
    let cleaned = Scanner::default().clean(text.as_bytes(), 110);
    assert!(!cleaned.text.contains("ghp_16"), "{}", cleaned.text);
    assert_eq!(cleaned.count(), 1);
}

#[test]
fn too_many_hits_drop_the_rest_of_the_text() {
    let text = "password=hunter22 ".repeat(2 * HITS_MAX);
    let cleaned = Scanner::default().clean(text.as_bytes(), 1 << 20);
    assert!(!cleaned.text.contains("hunter22"));
    assert!(cleaned.hits.iter().any(|(rule, _)| rule == "too-many"));
}

#[test]
fn hits_that_overlap_do_not_hide_what_comes_behind_them() {
    for flood in
        ["password=".repeat(400), "eyJ-".repeat(2_000), "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6 ".repeat(600)]
    {
        let text = format!("{flood} password=hunter22");
        assert!(!Scanner::default().clean(text.as_bytes(), 1 << 20).text.contains("hunter22"));
    }
}

#[test]
fn an_operators_own_rule_is_compiled_or_refused_with_its_name() {
    let own = |pattern: &str| Options {
        own: vec![("badge".into(), "BADGE-".into(), pattern.into())],
        ..Options::default()
    };
    let scanner = Scanner::new(own("BADGE-[0-9]{6}")).unwrap();
    assert_eq!(scanner.clean(b"see BADGE-123456.", 64).text, format!("see {REDACTED}."));
    let error = Scanner::new(own("BADGE-(")).unwrap_err().to_string();
    assert!(error.starts_with("redaction rule badge:"), "{error}");
}

#[test]
fn pseudonyms_join_and_do_not_read() {
    let (a, b) = (Pseudonyms::new(&[1; 32]), Pseudonyms::new(&[2; 32]));
    assert_eq!(a.of("email", b"x@y"), a.of("email", b"x@y"));
    assert_ne!(a.of("email", b"x@y"), b.of("email", b"x@y"));
    assert_ne!(a.of("email", b"x@y"), a.of("phone", b"x@y"));
    assert_eq!(a.of("email", b"x@y").len(), "tok:email:".len() + 26);
}

#[test]
fn scanning_takes_linear_time_on_hostile_text() {
    for piece in [
        "-----BEGIN PRIVATE KEY-----",
        "PRIVATE KEY-----",
        "password=",
        "://a:",
        "eyJ",
        "1 ",
        "DE",
        "sk-",
        "'",
    ] {
        fuzz::scan(piece.repeat(200_000 / piece.len()).as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_scanned_within_bounds(data in proptest::collection::vec(any::<u8>(), 0..2_048)) {
        fuzz::scan(&data);
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands(before in "[ -~]{0,40}", after in "[ -~]{0,40}") {
        let secret = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
        let text = format!("{before} {secret} {after}");
        let cleaned = Scanner::default().clean(text.as_bytes(), 512);
        prop_assert!(!cleaned.text.contains("16C7e42F292c6912"));
    }
}
