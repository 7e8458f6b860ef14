//! Files: what is refused, where it says so, and that the old policies stay.

use crate::support::{all, call, enforcing, payments, sources, try_set};
use countersign_event::Mode;
use countersign_policy::{
    DEPTH_MAX, ID_MAX, Modes, Policy, PolicyConfig, PolicySet, REASON_MAX, Sources, check, refuses,
    schema_text,
};
use std::fs;

/// Line, column and text of the first problem.
fn problem(policies: &str) -> (usize, usize, String) {
    let problems = check(&sources(policies)).unwrap_err();
    (problems[0].line, problems[0].column, problems[0].to_string())
}

#[test]
fn a_syntax_error_names_file_line_and_column() {
    let (line, column, text) =
        problem("permit(principal, action, resource);\n\npermit(principal, action resource);");
    assert_eq!((line, column), (3, 26), "{text}");
    assert!(text.starts_with("policies/shop.cedar:3:26: "), "{text}");
}

#[test]
fn every_broken_policy_of_a_file_is_reported() {
    let problems =
        check(&sources("permit(;\nallow(principal, action, resource);\nforbid(principal)")).unwrap_err();
    let lines: Vec<usize> = problems.iter().map(|p| p.line).collect();
    assert_eq!(lines, [1, 2, 3]);
}

#[test]
fn what_the_schema_lacks_is_refused_at_its_place() {
    let (line, _, text) = problem("permit(principal, action, resource)\nwhen { principal.verifed >= 3 };");
    assert_eq!(line, 2, "{text}");
    assert!(text.contains("verifed") && text.contains("verified"), "it names the nearest: {text}");
    let all =
        check(&sources("permit(principal, action, resource) when { principal.verifed >= 3 };")).unwrap_err();
    assert_eq!(all.len(), 1, "not once for each type of caller");
    for wrong in [
        "permit(principal == Shop::Robot::\"r\", action, resource);",
        "permit(principal is Countersign::Robot, action, resource);",
        "permit(principal, action == Action::\"read\", resource);",
        "permit(principal, action == Action::\"http/1.1:GET\", resource);",
        "permit(principal, action == Action::\"htp:GET\", resource);",
        "permit(principal, action in Action::\"class:wipe\", resource);",
        "permit(principal, action == Shop::Action::\"http:GET\", resource);",
        "permit(principal, action, resource) when { principal.verified >= \"3\" };",
        "permit(principal, action, resource) when { context.peer == \"10.0.0.1\" };",
        "permit(principal, action, resource) when { ip(\"300.0.0.1\") == context.peer };",
        "permit(principal, action, resource) when { context.nothing };",
        // Behind a true left side, too.
        "permit(principal, action, resource) when { action in Action::\"class:read\" || context.nothing };",
        "permit(principal, action, resource) when { action == Action::\"http:GET\" || context.nothing };",
        "permit(principal == ?principal, action, resource);",
        // The context as a whole, and a name of ours.
        "permit(principal, action, resource) when { context == context };",
        "permit(principal, action, resource) when { { \".\": context } == { \".\": context } };",
        "permit(principal, action, resource) when { context has \"\\u{1}verified\" };",
    ] {
        assert!(check(&sources(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn a_rule_that_can_never_apply_is_a_warning() {
    let never = "permit(principal, action, resource) when { false };";
    assert_eq!(check(&sources(never)).unwrap().len(), 1);
    assert_eq!(enforcing(never).warnings()[0].line, 1);
    assert!(check(&sources("permit(principal, action, resource);")).unwrap().is_empty());
}

#[test]
fn annotations_are_bounded_and_printable() {
    let long =
        |name: &str, n: usize| format!("@{name}(\"{}\") permit(principal, action, resource);", "x".repeat(n));
    assert!(
        check(&sources(&long("id", ID_MAX))).is_ok() && check(&sources(&long("id", ID_MAX + 1))).is_err()
    );
    assert!(
        check(&sources(&long("reason", REASON_MAX))).is_ok()
            && check(&sources(&long("reason", REASON_MAX + 1))).is_err()
    );
    for wrong in [
        "@id(\"\")",
        "@id(\"a\\nb\")",
        "@reason(\"\\u{1b}[31m\")",
        "@reason(\"policy error: none\")",
        "@advice(\"a\\0\")",
    ] {
        assert!(
            check(&sources(&format!("{wrong} permit(principal, action, resource);"))).is_err(),
            "{wrong}"
        );
    }
    let huge = long("whatever", 10 << 20);
    assert!(problem(&huge).2.contains("longer than"));
}

#[test]
fn ids_are_unique_over_all_files_and_made_from_the_file_otherwise() {
    let who = payments();
    let decision = enforcing(
        "forbid(principal is Countersign::User, action, resource);\npermit(principal, action, resource);",
    )
    .decide(&call(&who));
    assert_eq!(decision.policies, ["shop#2"]);
    let permit = "@id(\"a\") permit(principal, action, resource);";
    let two = |a: &str, b: &str| Sources {
        policies: vec![("a.cedar".into(), a.into()), ("b.cedar".into(), b.into())],
        entities: None,
    };
    let problems = check(&two(permit, permit)).unwrap_err();
    assert!(problems[0].to_string().starts_with("b.cedar:1:1: two policies are called"), "{}", problems[0]);
    assert!(check(&two(permit, &permit.replace("\"a\"", "\"b\""))).is_ok());
}

#[test]
fn deep_and_chained_policies_are_refused_before_anything_recurses() {
    for condition in [
        format!("1{} == 1", " + 1".repeat(20_000)),
        format!("{}true{}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("true{}", " && true".repeat(7_000)),
        format!("{}true{}", "if true then ".repeat(2_500), " else true".repeat(2_500)),
        format!("{}true", "!".repeat(20_000)),
        format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000)),
        format!("context{} == 1", ".a".repeat(20_000)),
    ] {
        assert!(
            check(&sources(&format!("permit(principal, action, resource) when {{ {condition} }};"))).is_err()
        );
    }
    // Just below the bound it loads, decides and is dropped.
    let chain = format!(
        "permit(principal, action, resource) when {{ context.hour >= 0{} }};",
        " && true".repeat(DEPTH_MAX - 6)
    );
    let who = payments();
    let decision = enforcing(&chain).decide(&call(&who));
    assert!(!refuses(&decision), "{}", decision.reason);
    assert!(check(&sources(&chain.replace(" };", &format!("{} }};", " && true".repeat(9))))).is_err());
    let many = format!("permit(principal, action, resource) {};", "when { context.tls } ".repeat(DEPTH_MAX));
    assert!(problem(&many).2.contains("levels deep"));
    let wide: Vec<String> = (0..4_000).map(|n| format!("\"/r/{n}\"")).collect();
    let wide = format!(
        "permit(principal, action, resource) when {{ [{}].contains(resource.name) }};",
        wide.join(",")
    );
    assert!(refuses(&enforcing(&wide).decide(&call(&who))));
}

#[test]
fn a_bad_reload_is_refused_and_the_old_policies_stay() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.cedar");
    fs::write(&file, "@id(\"one\") permit(principal, action, resource);").unwrap();
    fs::write(dir.path().join("notes.txt"), "not a policy").unwrap();
    let modes = Modes { default: Mode::Enforce, ..Modes::default() };
    let config = PolicyConfig { policies: vec![dir.path().to_owned()], modes, ..PolicyConfig::default() };
    let set = PolicySet::load(config).unwrap();
    let who = payments();
    assert_eq!(set.decide(&call(&who)).policies, ["one"]);
    let digest = set.digest();
    assert!(!set.reload().unwrap(), "nothing changed");

    fs::write(
        &file,
        "@id(\"one\") permit(principal, action, resource);\n  forbid(principal, action, resorce);",
    )
    .unwrap();
    let error = set.reload().unwrap_err();
    assert!(error.to_string().contains("the policies in force stay in force"), "{error}");
    assert_eq!((error.problems()[0].line, error.problems()[0].column), (2, 29), "{error}");
    assert_eq!((set.decide(&call(&who)).policies, set.digest()), (vec!["one".to_owned()], digest.clone()));

    fs::write(&file, [0x70, 0xff]).unwrap();
    assert!(set.reload().unwrap_err().to_string().contains("UTF-8"));
    fs::remove_dir_all(dir.path()).unwrap();
    assert!(set.reload().is_err(), "missing files are no empty policy set");
    assert_eq!(set.decide(&call(&who)).policies, ["one"]);

    fs::create_dir(dir.path()).unwrap();
    fs::write(&file, "@id(\"two\") @reason(\"closed\") forbid(principal, action, resource);").unwrap();
    assert!(set.reload().unwrap());
    let decision = set.decide(&call(&who));
    assert_eq!((decision.policies, decision.reason), (vec!["two".to_owned()], "closed".to_owned()));
    assert_ne!(set.digest(), digest);
    assert_eq!((set.stats().reloads, set.stats().refused_reloads), (2, 3));
}

#[test]
fn a_missing_file_is_an_error_with_its_name() {
    let config = PolicyConfig { policies: vec!["/nonexistent/shop.cedar".into()], ..all(Mode::Enforce) };
    let error = PolicySet::load(config).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/shop.cedar: cannot be read"), "{error}");
}

#[test]
fn the_digest_covers_every_text() {
    let digest = |policies: &str, entities: Option<&str>| {
        let entities = entities.map(|text| ("e.json".to_owned(), text.to_owned()));
        PolicySet::from_sources(&Sources { entities, ..sources(policies) }, PolicyConfig::default())
            .unwrap()
            .digest()
    };
    let permit = "permit(principal, action, resource);";
    let base = digest(permit, None);
    assert_eq!(base.len(), 64);
    assert_eq!(base, digest(permit, None));
    let others = [digest("", None), digest(&format!("{permit} "), None), digest(permit, Some("{}"))];
    assert!(others.iter().all(|other| *other != base));
}

#[test]
fn entities_files_are_checked() {
    let problem = |text: &str| {
        let entities = Some(("e.json".to_owned(), text.to_owned()));
        check(&Sources { entities, ..sources("") }).unwrap_err().remove(0)
    };
    assert_eq!(problem("{\n \"groups\": {").line, 2);
    for wrong in [
        "[]",
        "{\"group\": {}}",
        "{\"groups\": []}",
        "{\"groups\": {\"a\": \"b\"}}",
        "{\"groups\": {\"a\": [1]}}",
        "{\"groups\": {\"\": []}}",
        "{\"groups\": {\"a\": [\"a\"]}}",
        "{\"groups\": {\"a\": [\"b\"], \"b\": [\"c\"], \"c\": [\"a\"]}}",
    ] {
        assert!(problem(wrong).file == "e.json", "{wrong}");
    }
    let many: Vec<String> = (0..300).map(|n| format!("\"g{n}\"")).collect();
    assert!(
        problem(&format!("{{\"principals\": {{\"p\": [{}]}}}}", many.join(",")))
            .why
            .contains("more than 256")
    );
}

#[test]
fn ten_thousand_policies_load_and_decide() {
    let whole = std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|how| how == "full");
    let count = if whole { 10_000 } else { 1_000 };
    let text: String = (0..count)
        .map(|n| {
            format!(
                "@id(\"p{n}\") permit(principal == Countersign::Workload::\"w{}\", action == Action::\"mcp:tool-{n}\",\n\
                 resource) when {{ principal.verified >= 3 }};\n",
                n % 100
            )
        })
        .collect();
    let set = try_set(&text, Mode::Enforce).unwrap();
    assert_eq!(set.len(), count);
    let mut who = payments();
    who.id = "w42".into();
    let request =
        countersign_policy::Request { protocol: "mcp/2025-11-25", operation: "tool-142", ..call(&who) };
    assert_eq!(set.decide(&request).policies, ["p142"]);
}

#[test]
fn the_schema_can_be_printed_and_parsed() {
    assert!(schema_text().contains("entity Service, Workload, User"));
    assert!(check(&Sources::default()).unwrap().is_empty());
}
