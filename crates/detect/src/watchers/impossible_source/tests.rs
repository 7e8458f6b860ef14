use super::super::tape::*;
use super::*;
use countersign_event::{Principal, Rec, Tls};

fn make() -> Box<dyn Watcher> {
    Box::new(ImpossibleSource::new(1 << 24))
}

const WEB: &str = "spiffe://e.org/web";

fn at_zone(caller: &str, at_ns: i64, zone: &str, workload: &str) -> Event {
    let mut event = from(call(caller, at_ns), "10.0.0.1", workload);
    let mut src = event.peer.src.clone().unwrap();
    src.zone = zone.to_owned();
    event.peer.src = Some(src);
    event
}

/// An hour of `web` in two zones.
fn usual() -> Tape {
    let mut tape = Tape::default();
    for n in 0..120 {
        let zone = if n % 2 == 0 { "eu-1a" } else { "eu-1b" };
        tape.push(at_zone(WEB, BEGIN + n * 30 * S, zone, &format!("web-{}", n % 2)));
    }
    tape
}

#[test]
fn a_new_place_while_the_old_one_is_active_is_one_finding_that_ends() {
    let mut tape = usual();
    for n in 0..20 {
        tape.push(at_zone(WEB, BEGIN + HOUR + n * 20 * S, "us-9", "tools-1"));
        tape.push(at_zone(WEB, BEGIN + HOUR + n * 20 * S + 5 * S, "eu-1a", "web-0"));
    }
    tape.push(at_zone(WEB, BEGIN + 30 * HOUR, "eu-1a", "web-0"));
    tape.push(at_zone(WEB, BEGIN + 30 * HOUR + 5 * S, "eu-1a", "web-0"));
    let found = tape.findings(make);
    let states: Vec<_> = found.iter().map(|f| f.state).collect();
    assert_eq!(states, [FindingState::Open, FindingState::Resolved], "{:?}", texts(&found));
    assert_eq!((found[0].evidence.first, found[0].id), (120, found[1].id));
    assert_eq!(
        (found[0].severity, found[0].query.as_str()),
        (Severity::Medium, "who:\"spiffe://e.org/web\"")
    );
    let text = &texts(&found)[0];
    assert!(
        text.contains("seen from us-9 (10.0.0.1), where it never was, and 5.00 s later still from eu-1a"),
        "{text}"
    );
}

#[test]
fn it_notifies_once_the_callers_service_has_been_learned() {
    let mut tape = usual();
    for n in 0..3 {
        tape.push(at_zone(WEB, BEGIN + HOUR + n * 20 * S, "us-9", "tools-1"));
        tape.push(at_zone(WEB, BEGIN + HOUR + n * 20 * S + 5 * S, "eu-1a", "web-0"));
    }
    for (_, _, event) in &mut tape.0 {
        event.who.who.as_mut().unwrap().svc = "web".to_owned();
    }
    let found = tape.findings(make);
    assert!(found.len() == 1 && found[0].notifies(), "{:?}", found[0].flags);
}

#[test]
fn a_move_a_replica_an_announced_change_and_a_near_address_are_none() {
    let mut moved = usual();
    for n in 0..400 {
        moved.push(at_zone(WEB, BEGIN + HOUR + n * 20 * S, "eu-1c", "web-elsewhere"));
    }
    assert!(moved.findings(make).is_empty(), "{:?}", texts(&moved.findings(make)));

    let mut replica = usual();
    let mut announced = usual();
    let mut change = tick(BEGIN + HOUR);
    (change.core.rec, change.core.op) = (Some(Rec::Platform), "deploy".to_owned());
    announced.push(change);
    for n in 0..50 {
        for (tape, workload) in [(&mut replica, "web-7"), (&mut announced, "other")] {
            tape.push(at_zone(WEB, BEGIN + HOUR + n * 20 * S, "eu-1c", workload));
            tape.push(at_zone(WEB, BEGIN + HOUR + n * 20 * S + 5 * S, "eu-1a", "web-0"));
        }
    }
    assert!(replica.findings(make).is_empty(), "{:?}", texts(&replica.findings(make)));
    assert!(announced.findings(make).is_empty(), "{:?}", texts(&announced.findings(make)));

    let mut near = Tape::default();
    for n in 0..200 {
        near.push(from(call(WEB, BEGIN + n * 20 * S), &format!("198.51.{}.7", n % 100), ""));
    }
    assert!(near.findings(make).is_empty(), "{:?}", texts(&near.findings(make)));
}

#[test]
fn a_certificate_speaks_for_one_identity() {
    let with_cert = |caller: &str, at_ns: i64, auth: Auth, cert: u8| {
        let mut event = with_cred(call(caller, at_ns), auth, "x5t:a", None);
        event.peer.tls = Some(Tls { peer_cert: Some([cert; 32]), ..Tls::default() });
        event
    };
    let mut tape = Tape::default();
    for n in 0..30 {
        tape.push(with_cert(WEB, BEGIN + n * S, Auth::SpiffeSvid, 1));
        tape.push(with_cert("jwt:i#user", BEGIN + n * S, Auth::Jwt, 1));
    }
    assert!(tape.findings(make).is_empty(), "a token travels over another's connection");
    (0..5).for_each(|n| tape.push(with_cert("spiffe://e.org/admin", BEGIN + (60 + n) * S, Auth::Mtls, 1)));
    let found = tape.findings(make);
    assert_eq!(found.len(), 1, "{:?}", texts(&found));
    assert!(
        texts(&found)[0]
            .contains("spiffe://e.org/admin came with the client certificate of spiffe://e.org/web")
    );
}

#[test]
fn claims_are_not_kept_and_a_flood_is_bounded() {
    let mut watcher = ImpossibleSource::new(1_000 * IDENTITY_BYTES * 2);
    let mut frame = crate::Baselines::with(Default::default(), crate::baselines::test_hmac(), Vec::new());
    let mut out = Vec::new();
    for n in 0..6_000u64 {
        let mut event = at_zone(WEB, BEGIN + n as i64 * S, "eu-1a", "");
        let verified = if n < 3_000 { Verified::Claimed } else { Verified::Checked };
        event.who.who = Some(Principal::new(format!("invented{n}x"), verified));
        watcher.see(&frame.call_of(n, event.core.t_obs, &event), &mut out);
        assert!(n != 2_999 || watcher.stats().keys == 0);
    }
    assert!(watcher.stats().keys <= 2_000 && watcher.stats().evicted > 1_000 && out.is_empty());
}
