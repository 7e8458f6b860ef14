//! Hostile texts of a megabyte: what is not linear, or recurses, does not come back from these.

use countersign_wire::sql::{classify, comment_tags, normalise, shape, split};

const SIZE: usize = 1024 * 1024;

fn all(text: &str) {
    for conforming in [true, false] {
        for range in split(text, conforming) {
            assert!(!text[range].trim().is_empty());
        }
        assert_ne!(classify(text, conforming).class, Some(countersign_wire::stream::OpClass::Read));
        let _ = (normalise(text, conforming), shape(text, conforming));
    }
    let _ = comment_tags(text);
}

#[test]
fn a_megabyte_of_anything_is_read_in_linear_time() {
    for unit in [
        "(",
        ")",
        "[",
        "/*",
        "*/",
        "/*/",
        "$a$",
        "$",
        "$a",
        "$1",
        "'",
        "''",
        "E'\\",
        "\"",
        "\"\"",
        "-",
        "--",
        "--\n",
        "+-",
        "-+!",
        "/",
        "*",
        "f(",
        "CAST(",
        "SELECT (",
        "SELECT 1 UNION ",
        "FROM a,",
        "a.",
        "a,",
        ",",
        ".",
        ":",
        ";",
        "case ",
        "begin atomic ",
        "WITH a AS (",
        "a AS (SELECT 1),",
        "IN (1,",
        "1,",
        "(1),",
        "((1),(2)),",
        "'a'\n",
        "'a'--\n",
        "U&'\\",
        "e'\\''",
        "\u{e9}",
        "\0",
        "/*a='b',*/",
        "/*a:b,",
        "'password=",
        "x://y:z@",
        "= ",
        "1e",
        "1.",
        "OVER (",
        "AS (",
        "JOIN (",
        "PASSWORD ",
    ] {
        for prefix in [
            "",
            "SELECT ",
            "SELECT * FROM ",
            "WITH ",
            "INSERT INTO t VALUES ",
            "CREATE FUNCTION f() begin atomic ",
        ] {
            let head = format!("{prefix}{}", unit.repeat(SIZE / 64 / unit.len()));
            if classify(&head, true).incomplete {
                all(&head);
            }
        }
    }
    for unit in ["(", "/*", "$a$", "'", "f(", "(1),", "+-", "$ab", "'a'\n"] {
        let text = format!("SELECT {}evil()", unit.repeat(SIZE / unit.len()));
        all(&text);
    }
}
