//! Properties over generated texts.

use countersign_wire::sql::{STATEMENT_MAX, classify, comment_tags, normalise, shape, split};
use countersign_wire::stream::OpClass;
use proptest::prelude::*;

const MARK: &str = "zqx7";

/// A literal with the mark in it, in every spelling.
fn literal() -> impl Strategy<Value = String> {
    let noise =
        proptest::sample::select(vec!["", " ", "''", "--", "/*", "*/", ";", "\"", "$$", "(", "é", "\n", "?"]);
    (0..11, noise.clone(), noise).prop_map(|(kind, a, b)| match kind {
        0 => format!("'{a}{MARK}{b}'"),
        1 => format!("E'{a}\\'{MARK}\\\\{b}'"),
        2 => format!("e'{MARK}'\n '{a}{MARK}\\'{b}'"),
        3 => format!("U&'{a}{MARK}{b}'"),
        4 => format!("N'{a}{MARK}{b}'"),
        5 => format!("$t${a}{MARK}{b}$t$"),
        6 => format!("${MARK}z$ {} ${MARK}z$", a.replace('$', "")),
        7 => format!("B'{MARK}'"),
        8 => format!("7{MARK}"),
        9 => format!("0x7{MARK}"),
        _ => format!("X'{MARK}' '{b}{MARK}'"),
    })
}

fn piece() -> impl Strategy<Value = String> {
    let words = vec![
        "SELECT", "FROM", "t", "a.b", "IN (", ")", "(", "VALUES", ",", "[", "]", "=", "-", "ARRAY[",
        "/* x */", "-- y\n", "\"Q\"", "$1", "::int", ";", "CASE", "AS", "WITH", "DELETE", "PASSWORD", "SET",
        "CREATE", "ALTER", "f(", "+",
    ];
    prop_oneof![2 => literal(), 3 => proptest::sample::select(words).prop_map(str::to_owned)]
}

proptest! {
    #[test]
    fn no_byte_of_a_literal_survives(pieces in proptest::collection::vec(piece(), 0..40)) {
        let text = pieces.join(" ");
        prop_assert!(!normalise(&text, true).text.contains(MARK), "{text}");
        prop_assert!(!shape(&text, true).contains(MARK), "{text}");
    }

    /// Cut anywhere, a literal is unterminated, and nothing behind its beginning is kept.
    #[test]
    fn no_byte_of_a_cut_literal_survives(pieces in proptest::collection::vec(piece(), 1..10), cut in any::<prop::sample::Index>()) {
        let text = pieces.join(" ");
        let at = cut.index(text.len().max(1));
        let head = (0..=at).rev().find_map(|i| text.get(..i)).unwrap_or_default();
        prop_assert!(!normalise(head, true).text.contains(MARK), "{head}");
    }

    #[test]
    fn normal_texts_are_normal(pieces in proptest::collection::vec(piece(), 0..20)) {
        let text = pieces.join(" ");
        prop_assert_eq!(shape(&text, true), shape(&format!("  {text}"), true));
        for conforming in [true, false] {
            let once = shape(&text, conforming);
            prop_assert!(once.len() <= STATEMENT_MAX && !once.contains('\''));
        }
    }

    #[test]
    fn ranges_are_ordered_disjoint_and_inside(text in "\\PC{0,200}", conforming in any::<bool>()) {
        let mut last = 0;
        for range in split(&text, conforming) {
            prop_assert!(last <= range.start && range.start < range.end && range.end <= text.len());
            prop_assert!(text.get(range.clone()).is_some_and(|s| !s.trim().is_empty()));
            last = range.end;
        }
    }

    /// What is between the statements is white space, comments and semicolons: nothing that runs is lost.
    #[test]
    fn nothing_that_runs_lies_between_statements(pieces in proptest::collection::vec(piece(), 0..30)) {
        let text = pieces.join(" ");
        let mut rest = String::new();
        let mut last = 0;
        for range in split(&text, true) {
            rest.push_str(&text[last..range.start]);
            last = range.end;
        }
        rest.push_str(&text[last..]);
        prop_assert_eq!(shape(&rest, true).replace([';', ' '], ""), "");
    }

    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,300}", conforming in any::<bool>()) {
        let _ = (classify(&text, conforming), normalise(&text, conforming), comment_tags(&text));
    }

    /// A pure query stays one or becomes unknown when something unknown is put into it; a write stays a write.
    #[test]
    fn an_unknown_call_is_never_read(depth in 0_usize..40, place in 0_usize..6) {
        let call = format!("{}evil(1){}", "lower(".repeat(depth), ")".repeat(depth));
        let text = match place {
            0 => format!("SELECT {call}"),
            1 => format!("SELECT * FROM t WHERE a = {call} OR b"),
            2 => format!("WITH a AS (SELECT {call}) SELECT 1"),
            3 => format!("SELECT (SELECT CASE WHEN {call} THEN 1 END)"),
            4 => format!("SELECT count(*) FILTER (WHERE {call}) OVER (PARTITION BY {call})"),
            _ => format!("SELECT * FROM a JOIN b ON {call}, LATERAL (VALUES ({call})) x"),
        };
        prop_assert_eq!(classify(&text, true).class, None);
        prop_assert_eq!(classify(&text.replace("evil(1)", "upper('x')"), true).class, Some(OpClass::Read));
    }

    /// A data-modifying query is found wherever a statement may have it.
    #[test]
    fn a_delete_in_a_with_is_always_found(before in 0_usize..5, nested in 0_usize..5) {
        let lists = "x AS (SELECT f.a FROM f), ".repeat(before);
        let inner = format!("{}DELETE FROM t RETURNING *", "WITH y AS (SELECT 1) ".repeat(nested.min(1)));
        let text = format!("WITH {lists}d AS ({inner}) SELECT * FROM d");
        let found = classify(&text, true);
        prop_assert_eq!((found.class, found.operation), (Some(OpClass::Delete), "DELETE"));
        prop_assert!(found.tables.iter().any(|t| t.name == "t" && t.written));
    }
}

/// The public grammar as a second opinion: what it takes for a query, an insertion and so on, is one here.
#[test]
fn the_kind_of_statement_is_that_of_a_public_grammar() {
    use sqlparser::ast::Statement as S;
    use sqlparser::{dialect::PostgreSqlDialect, parser::Parser};
    let mut compared = 0;
    for (class, operation, _, text) in super::table().filter(|(class, ..)| !class.starts_with('!')) {
        let Ok(parsed) = Parser::parse_sql(&PostgreSqlDialect {}, text) else { continue };
        let [statement] = parsed.as_slice() else { panic!("{text}") };
        let agrees = match statement {
            S::Query(_) => {
                operation.starts_with("SELECT")
                    || ["INSERT", "UPDATE", "DELETE", "MERGE"].contains(&operation)
            }
            S::Insert(_) => operation == "INSERT" || class == "delete",
            S::Update { .. } => operation == "UPDATE",
            S::Delete(_) => operation == "DELETE",
            S::Merge { .. } => operation == "MERGE",
            S::Copy { .. } => operation == "COPY",
            S::Truncate { .. } => operation == "TRUNCATE",
            S::CreateTable { .. } => {
                operation.starts_with("CREATE TABLE") || operation == "CREATE FOREIGN TABLE"
            }
            S::Drop { .. } => operation.starts_with("DROP"),
            S::Grant { .. } => class == "admin",
            S::Prepare { .. } => operation == "PREPARE",
            S::Execute { .. } => operation == "EXECUTE",
            _ => true,
        };
        assert!(agrees, "{text}: {operation}, but {statement:?}");
        compared += 1;
    }
    assert!(compared > 150, "{compared} statements were understood by both");
}
