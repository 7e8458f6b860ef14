use super::*;

fn label(scenario: &str, attack: bool, intensity: Intensity, (start, end): (u64, u64)) -> Label {
    Label {
        scenario: scenario.to_owned(),
        attack,
        intensity,
        strength: 0.5,
        start,
        end,
        callers: vec!["spiffe://a/mallory".to_owned()],
        services: vec!["orders".to_owned()],
        events: vec![[7; 16]],
        more: 0,
        note: String::new(),
    }
}

fn finding(rule: &str, (first, decided): (u64, u64), caller: &str, service: &str) -> Finding {
    Finding {
        rule: rule.to_owned(),
        decided_ns: decided,
        first_evidence_ns: first,
        caller: caller.to_owned(),
        service: service.to_owned(),
        evidence: Vec::new(),
        notifies: true,
    }
}

fn run(labels: Vec<Label>, findings: Vec<Finding>) -> Judged {
    Judged { seed: 1, labels, findings, background: 20_000, days: 2.0 }
}

const MALLORY: &str = "spiffe://a/mallory";

#[test]
fn a_finding_in_time_that_names_caller_service_or_event_is_a_hit() {
    let attack = label("replay", true, Intensity::Easy, (100, 200));
    let events: HashSet<[u8; 16]> = [[7; 16]].into();
    let hit = |f: &Finding| attack.hit_by(f, &events, 10);
    assert_eq!(hit(&finding("r", (110, 120), MALLORY, "")), Some(Match::Caller));
    assert_eq!(hit(&finding("r", (110, 120), "", "orders")), Some(Match::Service));
    let mut by_event = finding("r", (110, 120), "", "");
    by_event.evidence = vec![[1; 16], [7; 16]];
    assert_eq!(hit(&by_event), Some(Match::Event));
    // Evidence from before counts when the decision falls into the attack, and grace is added to its end.
    assert_eq!(hit(&finding("r", (10, 100), MALLORY, "")), Some(Match::Caller));
    assert_eq!(hit(&finding("r", (209, 500), MALLORY, "")), Some(Match::Caller));
}

#[test]
fn a_finding_out_of_time_or_about_others_is_none() {
    let attack = label("replay", true, Intensity::Easy, (100, 200));
    let events: HashSet<[u8; 16]> = [[7; 16]].into();
    let hit = |f: &Finding| attack.hit_by(f, &events, 10);
    assert_eq!(hit(&finding("r", (10, 99), MALLORY, "orders")), None);
    assert_eq!(hit(&finding("r", (210, 220), MALLORY, "orders")), None);
    assert_eq!(hit(&finding("r", (110, 120), "bob", "billing")), None);
    // Another caller of the same service, or the same caller elsewhere, is another matter.
    assert_eq!(hit(&finding("r", (110, 120), "bob", "orders")), None);
    assert_eq!(hit(&finding("r", (110, 120), MALLORY, "billing")), None);
    // Nothing named is nothing hit, even where a label lists an empty name.
    let mut blank = attack.clone();
    blank.callers = vec![String::new()];
    assert_eq!(blank.hit_by(&finding("r", (110, 120), "", ""), &events, 10), None);
}

#[test]
fn recall_counts_notified_attacks_by_intensity() {
    let found = run(
        vec![label("replay", true, Intensity::Easy, (100, 200))],
        vec![finding("a", (110, 120), MALLORY, ""), finding("b", (130, 140), MALLORY, "")],
    );
    let mut quiet = finding("a", (110, 120), MALLORY, "");
    quiet.notifies = false;
    let unheard = run(vec![label("replay", true, Intensity::Hard, (100, 200))], vec![quiet]);
    let missed = run(vec![label("replay", true, Intensity::Hard, (100, 200))], Vec::new());
    let score = score(&[found, unheard, missed], 0);
    let replay = &score.scenarios["replay"];
    assert_eq!((replay.staged, replay.found, replay.seen), ([2, 1], [0, 1], 2));
    assert_eq!(replay.recall_by_intensity(), [Some(0.0), Some(1.0)]);
    assert_eq!((replay.from_start.clone(), replay.from_evidence.clone()), (vec![20], vec![10]));
    assert_eq!(score.false_findings(), 0);
    assert_eq!(score.attacks(), [3, 1]);
}

#[test]
fn what_notifies_without_an_attack_is_false_near_miss_or_not() {
    let judged = run(
        vec![label("replay", false, Intensity::Easy, (100, 200))],
        vec![
            finding("a", (110, 120), MALLORY, ""),
            finding("b", (500, 600), MALLORY, ""),
            Finding { notifies: false, ..finding("c", (110, 120), MALLORY, "") },
        ],
    );
    let score = score(&[judged], 0);
    assert_eq!(score.false_findings(), 2);
    assert_eq!(score.false_on_near_miss["replay"], 1);
    assert_eq!(score.scenarios["replay"].near_misses, [1, 1]);
    assert_eq!(score.scenarios["replay"].recall(), None);
    assert!((score.false_per_10_000() - 1.0).abs() < 1e-9);
    assert!((score.false_per_day() - 1.0).abs() < 1e-9);
}

#[test]
fn the_share_of_a_catch_all_rule_is_shown_and_taken_away() {
    let attack = || label("replay", true, Intensity::Easy, (100, 200));
    let both = run(
        vec![attack()],
        vec![finding("catch-all", (110, 120), "", "orders"), finding("exact", (110, 120), MALLORY, "")],
    );
    let one = run(vec![attack()], vec![finding("catch-all", (110, 120), "", "orders")]);
    let score = score(&[both, one], 0);
    assert_eq!((score.largest.as_str(), score.found_without_largest), ("catch-all", 1));
    assert_eq!(score.rules["catch-all"], [2, 2]);
    assert_eq!(score.scenarios["replay"].found_precisely, 1);
    assert_eq!(score.scenarios["replay"].without_largest, 1);
    assert!(score.to_string().contains("| catch-all | 2 | 67 % | 0 |"), "{score}");
}

#[test]
fn the_order_of_findings_and_runs_changes_nothing() {
    let findings = vec![
        finding("b", (110, 120), MALLORY, ""),
        finding("a", (110, 120), "", "orders"),
        finding("c", (500, 510), "bob", ""),
    ];
    let first = run(vec![label("replay", true, Intensity::Easy, (100, 200))], findings.clone());
    let mut turned = first.clone();
    turned.findings.reverse();
    let other = run(vec![label("beacon", true, Intensity::Hard, (100, 200))], Vec::new());
    assert_eq!(score(&[first, other.clone()], 0), score(&[other, turned], 0));
}

#[test]
fn quantiles_are_values_that_were_seen() {
    assert_eq!(quantile(&[], 0.5), None);
    assert_eq!(quantile(&[4], 0.95), Some(4));
    assert_eq!(quantile(&[1, 2, 3, 4], 0.5), Some(2));
    assert_eq!(quantile(&[1, 2, 3, 4], 0.95), Some(4));
}
