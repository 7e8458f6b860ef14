use super::super::tape::*;
use super::*;
use countersign_event::Rec;

fn make() -> Box<dyn Watcher> {
    Box::new(SharedCredential::new(1 << 20))
}

fn key_used(at_ns: i64, ip: &str, workload: &str) -> Event {
    with_cred(from(call("key:reports", at_ns), ip, workload), Auth::ApiKey, "key:reports", None)
}

/// Replicas of `web` use the key each minute.
fn usual() -> Tape {
    let mut tape = Tape::default();
    for n in 0..60 {
        tape.push(key_used(BEGIN + n * MINUTE, "10.0.0.1", &format!("web-{}", n % 3)));
    }
    tape
}

#[test]
fn a_key_in_two_deployments_at_a_time_is_one_finding_that_counts_and_ends() {
    let mut tape = usual();
    for n in 60..100 {
        tape.push(key_used(BEGIN + n * MINUTE, "10.0.0.1", "web-1"));
        tape.push(key_used(BEGIN + n * MINUTE + S, "10.0.0.9", "batch-7d9f8c6b5d-x2x9q"));
    }
    for n in 0..3 {
        tape.push(key_used(BEGIN + 26 * HOUR + n * MINUTE, "10.0.0.1", "web-1"));
    }
    let found = tape.findings(make);
    let states: Vec<_> = found.iter().map(|f| f.state).collect();
    assert_eq!(
        states,
        [FindingState::Open, FindingState::Updated, FindingState::Resolved],
        "{:?}",
        texts(&found)
    );
    assert!(found.iter().all(|f| f.id == found[0].id && f.severity == Severity::High));
    assert_eq!((found[0].evidence.first, found[0].confidence), (61, 90));
    let texts = texts(&found);
    assert!(
        texts[0].contains("key:reports is used by web and by batch, which used it 59.0 s before"),
        "{texts:?}"
    );
    assert!(texts[0].contains("wrong if") && texts[1].contains("10 times"), "{texts:?}");
}

#[test]
fn the_first_users_other_calls_say_that_it_still_lives() {
    let mut tape = usual();
    tape.push(key_used(BEGIN + HOUR, "10.0.0.9", "batch-1"));
    tape.push(from(call("spiffe://e.org/web", BEGIN + HOUR + 5 * S), "10.0.0.1", "web-2"));
    let found = tape.findings(make);
    assert_eq!(found.len(), 1, "{:?}", texts(&found));
    assert_eq!(found[0].query, "cred:\"key:reports\"");
    assert_eq!(found[0].subject.who.who.as_ref().unwrap().id, "key:reports");
}

#[test]
fn replicas_a_hand_over_an_announced_change_and_a_new_key_are_none() {
    let mut handed = usual();
    (60..120).for_each(|n| handed.push(key_used(BEGIN + n * MINUTE, "10.0.0.9", "batch-1")));
    assert!(handed.findings(make).is_empty(), "{:?}", texts(&handed.findings(make)));

    let mut announced = usual();
    let mut change = tick(BEGIN + HOUR);
    (change.core.rec, change.core.op) = (Some(Rec::Platform), "deploy".to_owned());
    announced.push(change);
    for n in 60..70 {
        announced.push(key_used(BEGIN + n * MINUTE, "10.0.0.1", "web-1"));
        announced.push(key_used(BEGIN + n * MINUTE + S, "10.0.0.9", "batch-1"));
    }
    assert!(announced.findings(make).is_empty(), "{:?}", texts(&announced.findings(make)));

    let mut renewed = usual();
    for n in 60..70 {
        renewed.push(key_used(BEGIN + n * MINUTE, "10.0.0.1", "web-1"));
        let new = from(call("key:new", BEGIN + n * MINUTE), "10.0.0.1", "web-2");
        renewed.push(with_cred(new, Auth::ApiKey, "key:new", None));
    }
    assert!(renewed.findings(make).is_empty());
}

#[test]
fn without_workloads_networks_are_compared_and_less_is_claimed() {
    let mut tape = Tape::default();
    for (n, ip) in ["192.0.2.1", "192.0.2.9", "203.0.113.1", "192.0.2.1"].into_iter().enumerate() {
        tape.push(key_used(BEGIN + n as i64 * MINUTE, ip, ""));
    }
    let found = tape.findings(make);
    assert_eq!(found.len(), 1, "{:?}", texts(&found));
    assert_eq!((found[0].severity, found[0].confidence), (Severity::Medium, 60));
}

#[test]
fn tokens_claims_and_invented_keys_keep_nothing_and_the_rest_is_bounded() {
    let mut small = SharedCredential::new(64 * CREDENTIAL_BYTES);
    let mut frame = crate::Baselines::with(Default::default(), crate::baselines::test_hmac(), Vec::new());
    let mut out = Vec::new();
    for n in 0..5_000u64 {
        let mut event = key_used(BEGIN + n as i64 * S, "10.0.0.1", "web");
        let mut who = event.who.who.clone().unwrap();
        who.cred = format!("key:{n}");
        who.verified = if n < 3_000 { Verified::Asserted } else { Verified::Checked };
        event.who.who = Some(who);
        small.see(&frame.call_of(n, event.core.t_obs, &event), &mut out);
        if n == 2_999 {
            assert_eq!(small.stats().keys, 0);
        }
    }
    assert!(small.stats().keys <= 64 && small.stats().evicted > 1_000 && out.is_empty());
}
