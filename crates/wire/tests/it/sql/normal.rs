//! Statements without their literals.

use countersign_wire::sql::{STATEMENT_MAX, normalise, shape};

fn normal(text: &str) -> String {
    normalise(text, true).text
}

#[test]
fn literals_become_question_marks() {
    for (text, wanted) in [
        ("SELECT 1, -2, +3.5e-7, .5, 0xff, 1_000", "SELECT ?, ?, ?, ?, ?, ?"),
        ("SELECT 'a', E'b\\'c', U&'d', N'e', B'01', X'ff', $$f$$, $t$g$t$", "SELECT ?, ?, ?, ?, ?, ?, ?, ?"),
        ("SELECT 'a'\n'b'", "SELECT ?"),
        ("SELECT a-1, a - 1, -a, (-1), a * -1, a=-1", "SELECT a-?, a - ?, -a, (?), a * ?, a=?"),
        ("SELECT current_date - 1", "SELECT current_date - ?"),
        ("SELECT  \n a /* c1 */ , b -- c2\n FROM\tt ;", "SELECT a, b FROM t"),
        ("SELECT a/**/b", "SELECT a b"),
        ("SELECT $1, $2::int, \"Q x\".\"Y\"", "SELECT $1, $2::int, \"Q x\".\"Y\""),
        ("SELECT date '2020-01-01', interval '1' day", "SELECT date ?, interval ? day"),
        (
            "SELECT * FROM t WHERE a IN (1, 2, -3) AND b IN ('x','y')",
            "SELECT * FROM t WHERE a IN (?) AND b IN (?)",
        ),
        ("SELECT * FROM t WHERE a IN (1, b, 2, 3)", "SELECT * FROM t WHERE a IN (?, b, ?)"),
        (
            "SELECT * FROM t WHERE (a, b) IN ((1, 2), (3,4), ( 5, 6 ))",
            "SELECT * FROM t WHERE (a, b) IN ((?, ?))",
        ),
        ("SELECT ARRAY[1, 2, 3], f(1, 2)", "SELECT ARRAY[?], f(?, ?)"),
        (
            "INSERT INTO t (a, b) VALUES (1, 'x'), (2,'y'), (3, 'z') RETURNING a",
            "INSERT INTO t (a, b) VALUES (?, ?) RETURNING a",
        ),
        ("INSERT INTO t VALUES (1, f(2)), (3, g(4)), (5, g(6))", "INSERT INTO t VALUES (?, f(?)), (?, g(?))"),
        ("VALUES ($1, $2), ($3, $4)", "VALUES ($1, $2), ($3, $4)"),
        ("SELECT 123abc, 1e5, 5..10", "SELECT ?, ?, ?.?"),
        ("DO $$ secret $$", "DO ?"),
        ("SELECT 'secret", "SELECT ?"),
        ("SELECT \"secret", "SELECT ?"),
        ("SELECT $x$ secret", "SELECT ?"),
        ("SELECT 1 /* secret", "SELECT ? ?"),
        ("SELECT a ? 'b', a::jsonb -> 'c'", "SELECT a ? ?, a::jsonb -> ?"),
        ("COPY t FROM '/x' WITH (DELIMITER ',')", "COPY t FROM ? WITH (DELIMITER ?)"),
        ("", ""),
        (";", ""),
    ] {
        assert_eq!(normal(text), wanted, "{text}");
    }
}

#[test]
fn backslashes_hide_quotes_where_strings_do_not_conform() {
    assert_eq!(normalise(r"SELECT 'a\' secret ', b", false).text, "SELECT ?, b");
}

/// Passwords are written without quotes, or with the wrong ones, by mistake; the server refuses them, the
/// record must not keep them. Values of the user's settings need no quotes at all.
#[test]
fn secrets_that_are_no_literals_go_too() {
    for (text, wanted) in [
        ("ALTER USER joe PASSWORD secret", "ALTER USER joe PASSWORD ?"),
        (
            "ALTER USER joe WITH ENCRYPTED PASSWORD \"secret\" LOGIN",
            "ALTER USER joe WITH ENCRYPTED PASSWORD ? LOGIN",
        ),
        ("ALTER USER joe PASSWORD NULL", "ALTER USER joe PASSWORD NULL"),
        ("SET app.token = secret", "SET app.token = ?"),
        ("SET LOCAL app.token TO secret, \"secret\"", "SET LOCAL app.token TO ?, ?"),
        ("ALTER ROLE joe SET app.token TO secret", "ALTER ROLE joe SET app.token TO ?"),
        ("SET search_path TO app, public", "SET search_path TO app, public"),
        ("SET a.b TO DEFAULT", "SET a.b TO DEFAULT"),
        ("UPDATE t SET a.b = c", "UPDATE t SET a.b = c"),
        ("SELECT password FROM t", "SELECT password FROM t"),
    ] {
        assert_eq!(normal(text), wanted, "{text}");
    }
}

#[test]
fn one_shape_for_statements_that_differ_in_literals_and_looks() {
    let same = [
        "SELECT a, b FROM T WHERE x = 1 AND y IN (1, 2)",
        "select a,b from t where x=-99 and y in('p')",
        "Select A , B\nFrom t /* c */ Where X=E'\\'' And Y In (1,2,3,4,5) ;",
    ];
    for text in same {
        assert_eq!(shape(text, true), "select a, b from t where x = ? and y in (?)", "{text}");
    }
    assert_eq!(shape("insert into t values ($1,$2),($3,$4)", true), "insert into t values ($, $)");
    assert_eq!(shape("select * from t where a in ($1, $2, $3)", true), "select * from t where a in ($)");
    let others =
        ["SELECT \"A\" FROM t", "SELECT a FROM t", "SELECT a FROM t t", "SELECT a FROM t WHERE b = ?"];
    let shapes: std::collections::HashSet<_> = others.iter().map(|t| shape(t, true)).collect();
    assert_eq!(shapes.len(), others.len());
}

#[test]
fn what_is_kept_is_bounded_and_says_what_was_cut() {
    let text = format!("SELECT {}", "é".repeat(STATEMENT_MAX));
    let cut = normalise(&text, true);
    assert!(cut.text.len() <= STATEMENT_MAX && cut.text.len() > STATEMENT_MAX - 4);
    assert_eq!(cut.truncated, Some(text.len() as u64));
    assert!(shape(&text, true).len() <= STATEMENT_MAX);
    assert_eq!(normalise("SELECT 1", true).truncated, None);

    let rows = format!("INSERT INTO t VALUES {}(1, 'x')", "(1, 'x'), ".repeat(100_000));
    let folded = normalise(&rows, true);
    assert_eq!((folded.text.as_str(), folded.truncated), ("INSERT INTO t VALUES (?, ?)", None));
}
