//! Parsing, printing, SQL and the bounds, example by example and by generated trees.

use super::*;
use proptest::prelude::*;

fn sql(text: &str) -> String {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_sql()
}
fn error(text: &str) -> FilterError {
    parse(text).unwrap_err()
}

#[test]
fn the_examples_of_the_guide_give_the_sql_of_the_guide() {
    for (filter, expected) in [
        (
            "who:payments-api class:delete outcome:denied",
            "who = 'payments-api' AND class = 'delete' AND outcome = 'denied'",
        ),
        (
            "duration:>250ms dst:(orders-db OR users-db)",
            "coalesce(duration_ns > 250000000, false) AND dst IN ('orders-db', 'users-db')",
        ),
        ("status:500..599 -who:*", "coalesce(status_code BETWEEN 500 AND 599, false) AND who IS NULL"),
        (
            "resource:/v1/orders/* -op:GET",
            "coalesce(resource LIKE '/v1/orders/%', false) AND op IS DISTINCT FROM 'GET'",
        ),
        (
            "verified:<3 tls:none src.ip:10.0.0.0/8",
            "coalesce(verified < 3, false) AND tls = 'none' AND in_cidr(src_ip, '10.0.0.0/8')",
        ),
        ("", "true"),
        ("#42", "\"index\" = 42"),
        (
            "op:get KIND",
            "op = 'GET' AND has_text('KIND', who, src, dst, service, resource, op, error, statement)",
        ),
        ("who:it's", "who = 'it''s'"),
        ("resource:a_b*", "coalesce(resource LIKE 'a\\_b%', false)"),
    ] {
        assert_eq!(sql(filter), expected, "{filter}");
    }
}

#[test]
fn and_binds_tighter_than_or_and_spaces_mean_and() {
    assert_eq!(parse("a b OR c").unwrap(), parse("(a AND b) OR c").unwrap());
    assert_ne!(parse("a b OR c").unwrap(), parse("a (b OR c)").unwrap());
    assert_eq!(parse("-a").unwrap(), parse("NOT a").unwrap());
    assert_eq!(parse("  ").unwrap(), parse("").unwrap());
    assert_eq!(parse("who:spiffe://a/b").unwrap().to_string(), "who:spiffe://a/b");
    assert_eq!(parse("spiffe://a/b").unwrap().to_sql(), parse("\"spiffe://a/b\"").unwrap().to_sql());
    assert_eq!(parse("latency:>1.5s").unwrap().to_string(), "duration:>1500ms");
    assert_eq!(parse("header.x-id:1 raw.\"/a b\":*").unwrap().to_string(), "header.x-id:1 raw.\"/a b\":*");
}

#[test]
fn mistakes_are_named_with_their_place_and_the_nearest_name() {
    let unknown = error("idenity:x");
    assert_eq!((unknown.code(), unknown.column, unknown.len), ("unknown-field", 1, 7));
    assert_eq!(unknown.suggestions[0], "identity");
    assert_eq!(
        unknown.to_string(),
        "unknown field `idenity` in the filter, column 1: did you mean `identity`?"
    );
    for (filter, code, column) in [
        ("a outcome:deny", "bad-value", 11),
        ("(a", "query-syntax", 1),
        ("a)", "query-syntax", 2),
        ("a OR", "query-syntax", 5),
        ("OR a", "query-syntax", 1),
        ("\"a", "query-syntax", 1),
        ("who:>a", "query-syntax", 5),
        ("duration:>5", "bad-value", 11),
        ("verified:9", "bad-value", 10),
        ("src.ip:10.0.0.0/33", "bad-value", 8),
        ("trace:zz", "bad-value", 7),
        ("who:\"a\"b", "query-syntax", 8),
        ("Status:500", "unknown-field", 1),
        ("header:x", "query-syntax", 1),
        ("who:~(", "query-syntax", 6),
        ("who:~\"(\"", "bad-value", 6),
        ("who:()", "query-syntax", 5),
        ("-", "query-syntax", 2),
        ("who:(a *)", "query-syntax", 8),
        ("kind:h*", "bad-value", 6),
        ("NOT(a)", "query-syntax", 1),
        ("\"\\x\"", "query-syntax", 2),
    ] {
        let error = error(filter);
        assert_eq!((error.code(), error.column), (code, column), "{filter}: {error}");
    }
}

#[test]
fn every_bound_is_an_error_that_names_it() {
    for (filter, names) in [
        ("x".repeat(TEXT_MAX + 1), "4096"),
        ("a ".repeat(TERMS_MAX + 1), "256 terms"),
        (format!("{}a{}", "(".repeat(40), ")".repeat(40)), "deeper than 32"),
        (format!("{}a", "-".repeat(40)), "deeper than 32"),
        (format!("who:({})", "a ".repeat(VALUES_MAX + 1)), "100 values"),
        ("a*b*c*d*e*f*g*h*i*j*k".to_owned(), "8 stars"),
        (format!("who:~{}", "a".repeat(REGEX_MAX + 1)), "512 bytes"),
        ("who:~(?:a{1000}){1000}".replace('(', "\\(").replace(')', "\\)"), ""),
        ("who:~\"(?:\\\\w{200}){200}\"".to_owned(), "1 MiB"),
    ] {
        match parse(&filter) {
            Err(error) => assert!(error.to_string().contains(names), "{error}"),
            Ok(_) => assert!(names.is_empty(), "{names} was not enforced"),
        }
    }
}

#[test]
fn the_fuzz_body_survives_its_seeds() {
    let seeds: [&[u8]; 12] = [
        b"who:a* -b OR (c d)",
        b"\"\\u{1f600}\"",
        b"raw.\"a\\\"b\":x",
        b"-(-(-()))",
        b"#1 #x",
        b"\\*\\ \\:",
        b"who:\\~x",
        b"a..b",
        b"status:\"a\"..\"b\"",
        b"who:\"..\"",
        b"x:y://z",
        b"\xff",
    ];
    seeds.iter().for_each(|seed| fuzz::filter(seed));
}

/// Pieces that a filter is likely made of, in any order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "who:",
            "status:",
            "duration:",
            "raw.",
            "header.x:",
            "-",
            "(",
            ")",
            " ",
            " OR ",
            " AND ",
            "NOT ",
            "\"",
            "\\",
            "*",
            "..",
            ">",
            "<=",
            "~",
            ":",
            "#",
            "5",
            "250ms",
            "x",
            "GET",
            "10.0.0.0/8",
            ".",
            "verified:",
            "id:",
            "seen:",
            "2026-01-01T00:00:00Z",
            "op:get",
            "src.ip:",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_is_read_prints_as_something_that_reads_the_same(text in soup()) {
        fuzz::filter(text.as_bytes());
    }

    #[test]
    fn any_value_survives_print_and_parse(value in "\\PC{1,20}", bare in any::<bool>()) {
        let node = if bare {
            Node::Text(Glob::text(&value))
        } else {
            let field = fields::find("who").unwrap();
            Node::Pred(Pred { field, key: None, test: Test::Any(vec![Value::Text(Glob::text(&value))]) })
        };
        let filter = Filter { root: node };
        prop_assert_eq!(parse(&filter.to_string()), Ok(filter.clone()), "{}", filter);
    }
}
