//! What is not evaluated as written is refused, with the place and the reason; nothing is skipped silently.

use super::{compile, event, rule, run, stream};
use countersign_detect::sigma::{RULES_MAX, TESTS_MAX};
use proptest::prelude::*;

/// A refused text as one line.
fn reason(text: &str) -> String {
    let compiled = compile(text);
    assert_eq!(compiled.refused.len(), 1, "{text}\n{:?}", compiled.refused);
    compiled.refused[0].to_string()
}

#[test]
fn a_detection_that_cannot_be_decided_is_refused_with_its_reason() {
    for (detection, part) in [
        (
            "f|expand: '%nobody%'",
            "placeholder %nobody% has no value; give it values in [[detect.placeholder]]",
        ),
        ("f|containz: a", "unknown modifier `containz`; did you mean `contains`?"),
        ("f|not: a", "`not` stands in the condition"),
        ("f|re: '(?=a)b'", "look-around"),
        ("f|re: '(a)\\1'", "backreferences are not supported"),
        ("f|re: 'a{99999}'", "regular expression"),
        ("f|cidr: 10.0.0.0/40", "is not a block of addresses"),
        ("f|gt: many", "wants a number"),
        ("f|gt: null", "wants a number"),
        ("f|hour: noon", "wants a number"),
        ("f|re: null", "wants a text"),
        ("f|contains|startswith: a", "`contains|startswith` cannot be combined"),
        ("f|re|contains: a", "`re|contains` cannot be combined"),
        ("f|cidr|base64: 10.0.0.0/8", "`base64` changes nothing with `cidr`"),
        ("f|cased|gt: 5", "`cased` changes nothing with `gt`"),
        ("f|i: a", "`i` only with `re`"),
        ("f|all: a", "`all` wants more than one value"),
        ("f|contains|contains: a", "stands twice"),
        ("f|wide: a", "add `base64offset`"),
        ("f|wide|utf16|base64: a", "cannot be combined"),
        ("f|base64|base64offset: a", "cannot be combined"),
        ("f|base64offset|endswith: a", "looks anywhere"),
        ("f|base64: 'a*'", "wildcards cannot be encoded"),
        ("f|contains: true", "are not texts"),
        ("f|contains: null", "are not texts"),
        ("f|exists: maybe", "wants true or false"),
        ("f|exists|neq: true", "stands alone"),
        ("f|contains|fieldref: g", "`fieldref` comes before"),
        ("f|fieldref: 'g*'", "has no wildcards"),
        ("f: []", "an empty list"),
        ("f: {a: b}", "a value is a text"),
        ("f: [[a]]", "a value is a text"),
        ("'|exists': true", "wants a field"),
        ("f: .nan", "not a finite number"),
    ] {
        let reason = reason(&rule(detection));
        assert!(reason.contains(part), "{detection}: {reason}");
        assert!(reason.contains("rule r \"t\": detection.sel"), "{reason}");
    }
}

#[test]
fn a_document_that_is_no_rule_is_refused_with_its_place() {
    let good = rule("f: 1");
    for (text, part) in [
        ("title: t\nid: r\n".to_owned(), "has no `detection`, `correlation` or `filter`"),
        (good.replace("title: t\n", ""), "title: is missing"),
        (good.replace("id: r\n", ""), "id: is missing"),
        (
            good.replace("condition: sel", "condition: sell"),
            "no detection is called `sell`; did you mean `sel`?",
        ),
        (good.replace("condition: sel", "condition: 2 of s*"), "can never hold"),
        (good.replace("condition: sel", "condition: 1 of x*"), "takes no detection"),
        (good.replace("condition: sel", "condition: sel | count() > 5"), "write a correlation"),
        (good.replace("  condition: sel\n", ""), "detection.condition: is missing"),
        (good.replace("condition: sel", "condition: sel\n  timeframe: 5m"), "write a correlation"),
        (good.replace("    f: 1\n", "    {}\n"), "would match everything"),
        (format!("{good}level: hgih\n"), "`hgih` is not a level; did you mean `high`?"),
        (format!("{good}sigma-version: 3\n"), "only version 2"),
        (format!("{good}rsigma.suppress: 5m\n"), "an extension"),
        (format!("{good}countersign: {{window: session}}\n"), "an extension"),
        (format!("{good}logsource: {{produkt: aws}}\n"), "unknown key `produkt`; did you mean `product`?"),
        (format!("{good}---\n{good}"), "id: another rule has it"),
        (format!("{good}---\n- a\n"), "not a map"),
        (format!("{good}---\na: [\n"), "not YAML"),
        (
            format!("{good}---\ntitle: f\nid: f\nfilter: {{rules: [x], s: {{a: 1}}, condition: s}}\n"),
            "no rule that runs is called `x`",
        ),
        (
            format!("{good}---\ntitle: f\nid: f\nfilter: {{s: {{a: 1}}, condition: s}}\n"),
            "filter.rules: is missing",
        ),
    ] {
        let reason = reason(&text);
        assert!(reason.contains(part), "{text}\n{reason}");
    }
}

/// A correlation of the rule `r`, with these lines in it.
fn correlation(lines: &str) -> String {
    let base = rule("f: 1");
    format!("{base}---\ntitle: c\nid: c\ncorrelation:\n  {}\n", lines.replace('\n', "\n  "))
}

#[test]
fn a_correlation_that_cannot_be_decided_is_refused_with_its_reason() {
    let good = "type: event_count\nrules: [r]\ngroup-by: [g]\ntimespan: 5m\ncondition: {gte: 3}";
    assert!(compile(&correlation(good)).refused.is_empty());
    let temporal = "type: temporal\nrules: [r]\ntimespan: 5m";
    for (lines, part) in [
        (good.replace("event_count", "event_cout"), "unknown kind `event_cout`; did you mean `event_count`?"),
        (good.replace("[r]", "[q]"), "no rule is called `q`; did you mean `r`?"),
        (good.replace("[r]", "[r, r]"), "stands twice"),
        (good.replace("5m", "5 parsecs"), "is not a whole number and"),
        (good.replace("5m", "5M"), "is not a whole number and"),
        (good.replace("5m", "400d"), "is not within"),
        (good.replace("5m", "0s"), "is not within"),
        (good.replace("timespan: 5m\n", ""), "timespan: is missing"),
        (good.replace("{gte: 3}", "{}"), "has none of gt"),
        (good.replace("{gte: 3}", "{gte: many}"), "not a number"),
        (good.replace("{gte: 3}", "{gte: 100000}"), "is never reached"),
        (good.replace("{gte: 3}", "{lt: 0}"), "is never reached"),
        (good.replace("{gte: 3}", "{gte: 3, field: x}"), "unknown key `field`"),
        (good.replace("{gte: 3}", "r and r"), "not a map"),
        (good.replace("event_count", "value_count"), "field: is missing"),
        (
            good.replace("event_count", "value_sum").replace("gte: 3", "gte: 3, field: [a, b]"),
            "from one field",
        ),
        (
            good.replace("event_count", "value_percentile")
                .replace("gte: 3", "gte: 3, field: a, percentile: 101"),
            "within 0 and 100",
        ),
        (format!("{good}\nwindow: session"), "unknown key"),
        (format!("{good}\naliases: {{h: {{r: x}}}}"), "`h` is not in `group-by`"),
        (format!("{good}\naliases: {{g: {{q: x}}}}"), "`q`, which is not in `rules`"),
        (good.replace("[r]", "[c]"), "counts itself"),
        (format!("{temporal}\ncondition: not r"), "holds when no rule matched"),
        (format!("{temporal}\ncondition: r and q"), "`q` is not in `rules`"),
        (format!("{temporal}\ncondition: 1 of them"), "names each rule"),
        (temporal.replace("temporal", "temporal_ordered") + "\ncondition: {gte: 1}", "wants all its rules"),
    ] {
        let reason = reason(&correlation(&lines));
        assert!(reason.contains(part), "{lines}\n{reason}");
    }
    let base = correlation(good);
    let over = |inner: &str, lines: &str| {
        format!("{base}---\ntitle: d\nid: d\ncorrelation: {{{lines}, rules: [{inner}]}}\n")
    };
    let count = "type: event_count, timespan: 5m, condition: {gte: 2}";
    assert!(compile(&over("c", count)).refused.is_empty());
    assert!(reason(&over("c", &format!("{count}, group-by: [h]"))).contains("does not group by `h`"));
    let sum = "type: value_sum, timespan: 5m, condition: {gte: 2, field: x}";
    assert!(reason(&over("c", sum)).contains("no field to take values from"));
    let mut chain = base;
    for (inner, outer) in [("c", "d"), ("d", "e"), ("e", "h"), ("h", "i")] {
        chain.push_str(&format!("---\ntitle: x\nid: {outer}\ncorrelation: {{{count}, rules: [{inner}]}}\n"));
    }
    assert!(reason(&chain).contains("a chain of more than 4"));
}

#[test]
fn a_refused_rule_refuses_what_counts_it_and_nothing_else() {
    let text = format!(
        "{}---\n{}",
        correlation("type: event_count\nrules: [r]\ntimespan: 5m\ncondition: {gte: 1}")
            .replace("f: 1", "f|bad: 1"),
        rule("f: 1").replace("id: r", "id: other")
    );
    let mut compiled = compile(&text);
    let refused: Vec<&str> = compiled.refused.iter().map(|refused| refused.id.as_str()).collect();
    assert_eq!(refused, ["r", "c"]);
    assert!(
        compiled.refused[1].what.contains("no rule is called")
            || compiled.refused[1].what.contains("refused")
    );
    assert_eq!(run(&mut compiled.rules, &stream(&[(0, event(&[("f", "1")]))])).len(), 1);
}

#[test]
fn too_much_is_refused_with_the_bound_named() {
    let many: Vec<String> = (0..=TESTS_MAX).map(|n| format!("v{n}")).collect();
    assert!(reason(&rule(&format!("f: [{}]", many.join(", ")))).contains("more than 512 tests"));
    let one = |n: usize| rule("f: 1").replace("id: r", &format!("id: r{n}"));
    let texts: Vec<String> = (0..RULES_MAX / 500 + 1)
        .map(|file| (0..500).map(|n| one(file * 500 + n) + "---\n").collect::<String>())
        .collect();
    let texts: Vec<_> = texts
        .iter()
        .map(|text| countersign_detect::sigma::RuleText { source: "many.yml", text: text.as_str() })
        .collect();
    let compiled = countersign_detect::sigma::RuleSet::compile(&texts, &super::options());
    assert_eq!((compiled.rules.rules().len(), compiled.refused.len()), (RULES_MAX, 500));
    assert!(compiled.refused[0].what.contains("more than 10000 rules"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_rule_text_is_evaluated_or_refused(
        key in "[a-z|*]{0,12}(\\|(contains|re|i|cidr|all|gt|base64offset|wide|windash|exists|fieldref|neq|hour|expand))*",
        value in "[ -~\\n]{0,20}", condition in "(sel|not|and|or|1|of|them|all|\\(|\\)| |s\\*){0,8}") {
        let value = format!("\"{}\"", value.escape_default());
        let text = format!("title: t\nid: r\ndetection:\n  sel:\n    '{key}': {value}\n  condition: '{condition}'\n");
        countersign_detect::fuzz::sigma_rules(text.as_bytes());
    }

    #[test]
    fn any_bytes_are_no_rule_or_one(text in any::<Vec<u8>>()) {
        countersign_detect::fuzz::sigma_rules(&text);
    }
}
