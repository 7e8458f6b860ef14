//! Where statements end, what they do to the session, whose secrets they carry, what their comments say.

use countersign_wire::sql::{Effect, IDENTIFIER_MAX, TAG_VALUE_MAX, TAGS_MAX, classify, comment_tags, split};
use std::fmt::Write;

fn parts(text: &str, conforming: bool) -> Vec<&str> {
    split(text, conforming).into_iter().map(|r| &text[r]).collect()
}

#[test]
fn statements_end_at_semicolons_outside_of_everything() {
    for (text, wanted) in [
        ("", &[][..]),
        (" ; ;; -- x\n ; /* y; */ ", &[]),
        ("a", &["a"]),
        (" a ; b;", &["a", "b"]),
        ("select ';'; select \";\"; select 1", &["select ';'", "select \";\"", "select 1"]),
        ("a /* ; /* ; */ ; */ ; b -- ;\n;c", &["a /* ; /* ; */ ; */", "b -- ;", "c"]),
        ("/*k='v'*/ a; b /*k='w'*/", &["/*k='v'*/ a", "b /*k='w'*/"]),
        ("$$;$$; $a$;$$;$b$;$a$; $1;$2", &["$$;$$", "$a$;$$;$b$;$a$", "$1", "$2"]),
        ("a$b$;c$b$;d", &["a$b$", "c$b$", "d"]),
        ("E'\\';';'\\';';';'", &["E'\\';'", "'\\'", "';'", "'"]),
        ("E'a'\n  'b\\';'; c", &["E'a'\n  'b\\';'", "c"]),
        ("E'a' -- x\n -- y\n 'b\\';'; c", &["E'a' -- x\n -- y\n 'b\\';'", "c"]),
        ("E'a' 'b\\'; c", &["E'a' 'b\\'", "c"]),
        ("U&'\\';U&\"\\\"; b'';x'';n';'", &["U&'\\'", "U&\"\\\"", "b''", "x''", "n';'"]),
        ("'it''s;'; b", &["'it''s;'", "b"]),
        ("create rule r as on insert to t do (a; b); c", &["create rule r as on insert to t do (a; b)", "c"]),
        ("a); b", &["a)", "b"]),
        ("begin; select 1; end; c", &["begin", "select 1", "end", "c"]),
        (
            "create function f() begin atomic select case when a then b end; select c; end; d",
            &["create function f() begin atomic select case when a then b end; select c; end", "d"],
        ),
        (
            "create or replace procedure p() BEGIN /* x */ ATOMIC select t.end, 1 as case; end; d",
            &["create or replace procedure p() BEGIN /* x */ ATOMIC select t.end, 1 as case; end", "d"],
        ),
        ("select 1 as begin, atomic; b", &["select 1 as begin, atomic", "b"]),
        ("create table begin (atomic int); b", &["create table begin (atomic int)", "b"]),
        ("1$a$;$a$; b", &["1$a$;$a$", "b"]),
        ("a 'x;y", &["a 'x;y"]),
        ("é'ü;';ö", &["é'ü;'", "ö"]),
    ] {
        assert_eq!(parts(text, true), wanted, "{text}");
    }
}

#[test]
fn a_backslash_escapes_where_strings_do_not_conform() {
    assert_eq!(parts(r"select 'a\'; b'; c", true), [r"select 'a\'", "b'; c"]);
    assert_eq!(parts(r"select 'a\'; b'; c", false), [r"select 'a\'; b'", "c"]);
    assert_eq!(parts(r"select n'a\'; b'; c", false), [r"select n'a\'; b'", "c"]);
    assert_eq!(parts(r"select $$a\$$; b", false), [r"select $$a\$$", "b"]);
    assert_eq!(classify(r"SELECT 'a\'; DELETE FROM t --'", false).operation, "SELECT");
    assert!(!classify(r"SELECT 'a\'; DELETE FROM t --'", false).incomplete);
    assert!(classify(r"SELECT 'a\'; DELETE FROM t --'", true).incomplete);
}

fn effect(text: &str) -> Option<Effect> {
    classify(text, true).effect
}

fn name(text: &str) -> String {
    text.to_owned()
}

#[test]
fn effects_on_the_session_are_told() {
    use Effect as E;
    for (text, wanted) in [
        ("EXECUTE P(1)", Some(E::ExecutePrepared { name: name("p") })),
        ("EXECUTE \"P\"\"q\"", Some(E::ExecutePrepared { name: name("P\"q") })),
        ("EXPLAIN ANALYZE EXECUTE p", Some(E::ExecutePrepared { name: name("p") })),
        ("CREATE TABLE t AS EXECUTE p(1)", Some(E::ExecutePrepared { name: name("p") })),
        ("EXPLAIN EXECUTE p", None),
        ("DEALLOCATE p", Some(E::Deallocate { name: name("p") })),
        ("DEALLOCATE PREPARE p", Some(E::Deallocate { name: name("p") })),
        ("DEALLOCATE prepare", Some(E::Deallocate { name: name("prepare") })),
        ("DEALLOCATE ALL", Some(E::DeallocateAll)),
        ("DEALLOCATE \"all\"", Some(E::Deallocate { name: name("all") })),
        ("DISCARD ALL", Some(E::DiscardAll)),
        ("DISCARD PLANS", None),
        ("BEGIN", Some(E::Begin)),
        ("END", Some(E::Commit)),
        ("ABORT", Some(E::Rollback)),
        ("ROLLBACK TO s", Some(E::RollbackTo { name: name("s") })),
        ("ROLLBACK WORK TO SAVEPOINT s", Some(E::RollbackTo { name: name("s") })),
        ("RELEASE s", Some(E::Release { name: name("s") })),
        ("LISTEN \"C h\"", Some(E::Listen { channel: name("C h") })),
        ("UNLISTEN *", Some(E::Unlisten { channel: None })),
        ("UNLISTEN c", Some(E::Unlisten { channel: Some(name("c")) })),
        ("NOTIFY c, 'x'", Some(E::Notify { channel: name("c") })),
        ("COPY t FROM STDIN", Some(E::CopyIn)),
        ("COPY t FROM '/x'", None),
        ("COPY t TO STDOUT", Some(E::CopyOut)),
        ("COPY t TO PROGRAM 'x'", Some(E::CopyProgram)),
        ("SET standard_conforming_strings = off", Some(E::SetStandardConforming(false))),
        ("SET LOCAL Standard_Conforming_Strings TO 'on'", Some(E::SetStandardConforming(true))),
        ("SET standard_conforming_strings TO DEFAULT", None),
        ("DECLARE C CURSOR FOR SELECT 1", Some(E::DeclareCursor { name: name("c") })),
        ("FETCH 3 FROM c", Some(E::Fetch { name: name("c") })),
        ("CLOSE ALL", Some(E::CloseCursor { name: None })),
        ("CLOSE c", Some(E::CloseCursor { name: Some(name("c")) })),
        ("SELECT 'DISCARD ALL'", None),
    ] {
        assert_eq!(effect(text), wanted, "{text}");
    }
}

#[test]
fn the_prepared_text_is_what_the_server_prepares() {
    for (text, wanted_name, wanted) in [
        ("PREPARE p AS SELECT 1", "p", "SELECT 1"),
        (
            "prepare \"P\" (int, text) as /* x */ insert into t values ($1) /* y */ ;",
            "P",
            "insert into t values ($1)",
        ),
        (
            "PREPARE p(numeric(1,2)) AS WITH a AS (SELECT 1) SELECT 2 AS x",
            "p",
            "WITH a AS (SELECT 1) SELECT 2 AS x",
        ),
    ] {
        let Some(Effect::Prepare { name, body }) = effect(text) else { panic!("{text}") };
        assert_eq!((name.as_str(), &text[body]), (wanted_name, wanted));
    }
}

#[test]
fn names_are_cut_where_the_server_cuts_them() {
    let long = "é".repeat(40);
    let Some(Effect::ExecutePrepared { name }) = effect(&format!("EXECUTE {long}")) else { panic!() };
    assert_eq!(name, "é".repeat(31), "at most {IDENTIFIER_MAX} bytes, whole characters");
}

#[test]
fn secrets_are_known_by_their_place() {
    for text in [
        "CREATE USER joe PASSWORD 'x'",
        "ALTER ROLE joe WITH LOGIN ENCRYPTED PASSWORD 'x'",
        "ALTER ROLE joe PASSWORD x",
        "CREATE SUBSCRIPTION s CONNECTION 'host=h' PUBLICATION p",
        "CREATE USER MAPPING FOR joe SERVER s OPTIONS (user 'a', password 'b')",
        "ALTER SERVER s OPTIONS (SET passwd 'b')",
        "SELECT dblink_connect('x')",
        "SELECT public.crypt('x', gen_salt('bf'))",
        "SELECT pgp_sym_decrypt(a, 'key') FROM t",
        "INSERT INTO t VALUES (encrypt('a', 'key', 'aes'))",
        "SELECT * FROM f('host=h Password = x')",
        "SELECT 'postgres://joe:x@h/db'",
        "SET my.api_key = 'x'",
        "SELECT set_config('my.password', 'x', false)",
        "ALTER SYSTEM SET primary_conninfo = 'x'",
    ] {
        assert!(classify(text, true).carries_secret, "{text}");
    }
    for text in [
        "SELECT password FROM t",
        "CREATE TABLE t (password text)",
        "SELECT 'https://h/a@b:c'",
        "SELECT set_config('search_path', '', false)",
        "SET password_encryption = 'scram-sha-256'",
        "CREATE ROLE joe PASSWORD NULL",
        "CREATE TABLE t (password text DEFAULT 'x')",
    ] {
        assert!(!classify(text, true).carries_secret, "{text}");
    }
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(k, v)| (name(k), name(v))).collect()
}

#[test]
fn comments_of_both_conventions_are_read() {
    let sqlcommenter = "SELECT 1 /*action='%2Fpay%20now',framework='a%27b',traceparent='00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01'*/";
    assert_eq!(
        comment_tags(sqlcommenter),
        pairs(&[
            ("action", "/pay now"),
            ("framework", "a'b"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"),
        ])
    );
    assert_eq!(comment_tags(r"/*k='it\'s'*/ SELECT 1"), pairs(&[("k", "it's")]));
    assert_eq!(
        comment_tags("SELECT 1 /* application:Shop,controller:carts,line:/a/b.rb:12 */"),
        pairs(&[("application", "Shop"), ("controller", "carts"), ("line", "/a/b.rb:12")])
    );
}

#[test]
fn what_is_no_tag_is_not_taken_for_one() {
    for text in [
        "SELECT '/*k=''v''*/'",
        "SELECT 1 -- k='v'",
        "/* note: the password is x */ SELECT 1",
        "/*+ SeqScan(t) */ SELECT 1",
        "/*k='v*/ SELECT 1",
        "/*k='%zz'*/ SELECT 1",
        "/*k='%00'*/ SELECT 1",
        "/*='v'*/ SELECT 1",
        "/*k='v' x*/ SELECT 1",
        "/* k = 'v' */ SELECT 1",
        "/*k='v'",
    ] {
        assert_eq!(comment_tags(text), [], "{text}");
    }
}

#[test]
fn tags_are_bounded() {
    let mut many = name("/*");
    for i in 0..100 {
        let _ = write!(many, "k{i}='v',");
    }
    many.push_str("*/");
    assert_eq!(comment_tags(&many).len(), TAGS_MAX);
    let long = format!("/*a='{}',b='y'*/", "x".repeat(TAG_VALUE_MAX + 1));
    assert_eq!(comment_tags(&long), pairs(&[("b", "y")]));
}
