use super::super::tape::*;
use super::*;
use countersign_event::{Event, Tls};

fn make() -> Box<dyn Watcher> {
    Box::new(TokenReplay::new(1 << 20))
}

/// A call with token `n` from this workload and address, in a request of its own.
fn with_token(n: u32, at_ns: i64, ip: &str, workload: &str, request: &str) -> Event {
    let cred = format!("kid:a/jti-sha256:{n:08x}");
    let mut event = from(call("spiffe://e.org/web", at_ns), ip, workload);
    event.links.corr = request.to_owned();
    with_cred(event, Auth::Jwt, &cred, Some((BEGIN + HOUR) / SECOND_NS))
}

fn with_cert(mut event: Event, cert: u8) -> Event {
    event.peer.tls = Some(Tls { peer_cert: Some([cert; 32]), ..Tls::default() });
    event
}

fn usual() -> Tape {
    let mut tape = Tape::default();
    for n in 0..40 {
        tape.push(with_token(1, BEGIN + n * S, "10.0.0.1", "web-1", &format!("r{n}")));
    }
    tape
}

#[test]
fn a_token_from_another_workload_is_found_once_counted_on_and_ended() {
    let mut tape = usual();
    for n in 0..12 {
        tape.push(with_token(1, BEGIN + (100 + n) * S, "10.9.9.9", "batch-7", &format!("x{n}")));
        tape.push(with_token(1, BEGIN + (100 + n) * S, "10.0.0.1", "web-1", &format!("y{n}")));
    }
    tape.push(call("spiffe://e.org/other", BEGIN + 2 * HOUR));
    tape.push(call("spiffe://e.org/other", BEGIN + 2 * HOUR + S));
    let found = tape.findings(make);
    let states: Vec<_> = found.iter().map(|f| f.state).collect();
    assert_eq!(states, [FindingState::Open, FindingState::Resolved], "{:?}", texts(&found));
    assert!(found.iter().all(|f| f.id == found[0].id && f.severity == Severity::High));
    assert_eq!((found[0].confidence, found[0].evidence.indices.as_slice()), (95, [0, 40].as_slice()));
    assert_eq!(found[0].query, "cred:\"kid:a/jti-sha256:00000001\"");
    let text = &texts(&found)[0];
    assert!(text.contains("entry 0 and now, in entry 40") && text.contains("batch-7 at 10.9.9.9"), "{text}");
    assert!(text.contains("wrong if"), "{text}");
    assert!(texts(&found)[1].contains("presented 13 times"), "{:?}", texts(&found));
}

#[test]
fn a_retry_a_renewed_certificate_a_replica_and_a_near_address_are_none() {
    let mut tape = usual();
    // The same request again, through another balancer.
    tape.push(with_token(1, BEGIN + 50 * S, "10.9.9.9", "", "r39"));
    // Another replica, another address of the node.
    tape.push(with_token(1, BEGIN + 51 * S, "10.7.0.1", "web-2", "a"));
    tape.push(with_token(2, BEGIN + 52 * S, "192.0.2.1", "", "b"));
    tape.push(with_token(2, BEGIN + 53 * S, "192.0.2.77", "", "c"));
    // One certificate behind two addresses, then renewed.
    tape.push(with_cert(with_token(3, BEGIN + 54 * S, "10.1.0.1", "", "d"), 1));
    tape.push(with_cert(with_token(3, BEGIN + 55 * S, "10.2.0.1", "", "e"), 1));
    tape.push(with_cert(with_token(3, BEGIN + 56 * S, "10.2.0.1", "", "f"), 2));
    // A client's network changes for good.
    tape.push(with_token(5, BEGIN + 56 * S, "192.0.2.1", "", "g"));
    tape.push(with_token(5, BEGIN + 56 * S, "198.51.100.1", "", "h"));
    tape.push(with_token(5, BEGIN + 56 * S, "198.51.100.1", "", "i"));
    // No token at all, and one without an id.
    for (n, ip) in ["10.3.0.1", "172.16.0.1"].into_iter().enumerate() {
        let event = from(call("key:k", BEGIN + 57 * S), ip, &format!("w{n}"));
        tape.push(with_cred(event.clone(), Auth::ApiKey, "key:k", None));
        tape.push(with_cred(event, Auth::Jwt, "kid:a", None));
    }
    assert!(tape.findings(make).is_empty(), "{:?}", texts(&tape.findings(make)));
}

#[test]
fn another_certificate_elsewhere_and_another_network_are_found_as_surely_as_they_are_known() {
    let mut tape = Tape::default();
    tape.push(with_cert(with_token(3, BEGIN, "10.1.0.1", "", "a"), 1));
    tape.push(with_cert(with_token(3, BEGIN + S, "10.2.0.1", "", "b"), 2));
    tape.push(with_token(4, BEGIN + 2 * S, "10.1.0.1", "", "c"));
    tape.push(with_token(4, BEGIN + 3 * S, "203.0.113.9", "", "d"));
    tape.push(with_token(4, BEGIN + 4 * S, "10.1.0.1", "", "e"));
    let found = tape.findings(make);
    assert_eq!(found.iter().map(|f| f.confidence).collect::<Vec<_>>(), [95, 70], "{:?}", texts(&found));
}

#[test]
fn invented_tokens_are_not_kept_and_verified_ones_leave_counted() {
    let mut tape = Tape::default();
    for n in 0..200_000u32 {
        let mut event = with_token(n, BEGIN + i64::from(n) * 1_000, "10.0.0.1", "web", "");
        let verified = if n < 100 { Verified::Checked } else { Verified::Claimed };
        event.who.who = event.who.who.clone().map(|who| Principal { verified, ..who });
        tape.0.push((u64::from(n), event.core.t_obs, event));
    }
    let mut detector = TokenReplay::new(56 * 1_000);
    let hmac = crate::baselines::test_hmac();
    let see = |detector: &mut TokenReplay, event: &Event, out: &mut Vec<Draft>| {
        let mut frame = crate::Baselines::with(crate::BaselinesConfig::default(), hmac.clone(), Vec::new());
        detector.see(&frame.call_of(0, event.core.t_obs, event), out);
    };
    let mut out = Vec::new();
    for (_, _, event) in tape.0.iter().step_by(50) {
        see(&mut detector, event, &mut out);
    }
    assert!(detector.stats().keys <= 2 && detector.stats().evicted == 0);
    for n in 0..3_000 {
        see(&mut detector, &with_token(1_000_000 + n, BEGIN, "10.0.0.1", "web", ""), &mut out);
    }
    assert!(detector.stats().keys <= 1_000 && detector.stats().evicted >= 2_000, "{:?}", detector.stats());
    see(&mut detector, &with_token(1_000_000, BEGIN, "10.9.9.9", "other", ""), &mut out);
    assert!(out.is_empty(), "one that was forgotten is unknown");
}
