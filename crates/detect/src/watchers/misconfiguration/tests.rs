use super::super::tape::*;
use super::*;
use countersign_event::{Endpoint, Principal, Tls};

fn make() -> Box<dyn Watcher> {
    Box::new(Misconfiguration::new(&BaselinesConfig::default()))
}

fn with_tls(mut event: Event, version: u64) -> Event {
    event.peer.tls = Some(Tls { version: Some(version), ..Tls::default() });
    event
}

fn secure(caller: &str, at_ns: i64) -> Event {
    with_tls(call(caller, at_ns), 0x0304)
}

#[test]
fn clear_text_and_old_tls_are_told_once_an_edge_and_once_when_they_are_over() {
    let mut tape = Tape::default();
    for n in 0..200 {
        tape.push(call("spiffe://e.org/web", BEGIN + n * S));
        tape.push(with_tls(call("spiffe://e.org/batch", BEGIN + n * S), 0x0301));
        tape.push(secure("spiffe://e.org/mail", BEGIN + n * S));
    }
    for n in 0..50 {
        tape.push(secure("spiffe://e.org/web", BEGIN + n * HOUR));
    }
    let found = tape.findings(make);
    let texts = texts(&found);
    let states: Vec<_> = found.iter().map(|f| (f.state, f.severity)).collect();
    assert_eq!(
        states[..2],
        [(FindingState::Open, Severity::Low), (FindingState::Open, Severity::Medium)],
        "{texts:?}"
    );
    assert_eq!(found.len(), 4, "{texts:?}");
    assert!(texts[0].contains("spiffe://e.org/web calls orders in clear text; wrong if"), "{texts:?}");
    assert!(texts[1].contains("by TLS version 1.0, older than 1.2"), "{texts:?}");
    assert!(found[2..].iter().all(|f| f.state == FindingState::Resolved));
}

#[test]
fn loopback_unix_sockets_newer_tls_and_unknown_ends_are_none() {
    let mut tape = Tape::default();
    for n in 0..100 {
        let now = BEGIN + n * S;
        tape.push(from(call("a", now), "127.0.0.1", ""));
        tape.push(from(call("b", now), "::1", ""));
        let mut unix = call("c", now);
        unix.peer.transport = Some(Transport::Unix);
        tape.push(unix);
        let mut to_itself = call("d", now);
        to_itself.peer.up = Some(Endpoint { ip: "127.0.0.1".parse().ok(), ..Endpoint::default() });
        tape.push(to_itself);
        let mut unknown = call("e", now);
        unknown.peer.src = None;
        tape.push(unknown);
        tape.push(with_tls(call("f", now), 0x0303));
        let mut log = call("g", now);
        log.peer.transport = None;
        tape.push(log);
    }
    assert!(tape.findings(make).is_empty(), "{:?}", texts(&tape.findings(make)));
}

#[test]
fn one_caller_without_identity_among_many_is_told_unless_it_is_for_everybody() {
    let mut tape = Tape::default();
    for n in 0..60 {
        tape.push(secure("spiffe://e.org/web", BEGIN + n * S));
    }
    let nobody = |at_ns: i64| {
        let mut event = secure("", at_ns);
        event.who.who = None;
        event
    };
    let mut health = nobody(BEGIN + 61 * S);
    health.target.res = "/healthz".to_owned();
    let mut refused = nobody(BEGIN + 62 * S);
    refused.core.outcome = Some(Outcome::Denied);
    let mut elsewhere = nobody(BEGIN + 63 * S);
    elsewhere.target.svc = "open".to_owned();
    for event in [health, refused, elsewhere] {
        tape.push(event);
    }
    assert!(tape.findings(make).is_empty(), "{:?}", texts(&tape.findings(make)));
    for n in 0..5 {
        tape.push(nobody(BEGIN + (70 + n) * S));
    }
    let found = tape.findings(make);
    assert_eq!(found.len(), 1, "{:?}", texts(&found));
    assert!(
        texts(&found)[0].contains("called GET on orders without an identity and was served"),
        "{:?}",
        texts(&found)
    );
}

#[test]
fn long_lives_are_told_and_short_ones_not() {
    let mut tape = Tape::default();
    for (n, (auth, days)) in
        [(Auth::Jwt, 1_400), (Auth::Jwt, 1), (Auth::ApiKey, 400), (Auth::ApiKey, 60), (Auth::Mtls, 80)]
            .into_iter()
            .enumerate()
    {
        let ends = BEGIN / S + days * 86_400;
        tape.push(with_cred(secure(&format!("id{n}"), BEGIN), auth, &format!("cred{n}"), Some(ends)));
    }
    let found = tape.findings(make);
    let said: Vec<_> = found.iter().map(|f| (f.severity, f.values[0].1.as_str())).collect();
    assert_eq!(said, [(Severity::Low, "id0"), (Severity::Informational, "id2")], "{:?}", texts(&found));
}

#[test]
fn a_certificate_that_runs_out_is_told_at_each_border_and_one_that_renews_itself_is_not() {
    let mut tape = Tape::default();
    let begin_s = BEGIN / S;
    for hour in 0..24 * 40 {
        let now = BEGIN + hour * HOUR;
        let old =
            with_cred(secure("spiffe://e.org/old", now), Auth::Mtls, "x5t:old", Some(begin_s + 40 * 86_400));
        tape.push(old);
        // Of a day, renewed at half of it; of ninety days, renewed with thirty left.
        let life = hour / 12;
        let ends = begin_s + (life + 2) * 43_200;
        tape.push(with_cred(
            secure("spiffe://e.org/svid", now),
            Auth::SpiffeSvid,
            &format!("x5t:{life}"),
            Some(ends),
        ));
        let (cert, ends) = if hour < 240 { ("x5t:a", 40) } else { ("x5t:b", 100) };
        let ends = begin_s + ends * 86_400;
        tape.push(with_cred(secure("spiffe://e.org/managed", now), Auth::Mtls, cert, Some(ends)));
    }
    let found = tape.findings(make);
    let ends: Vec<_> = found.iter().filter(|f| f.template.contains("ends in")).collect();
    let said: Vec<_> = ends.iter().map(|f| (f.severity, f.values[0].1.as_str(), f.revision)).collect();
    let old = "x5t:old";
    assert_eq!(
        said,
        [(Severity::Low, old, 1), (Severity::Medium, old, 2), (Severity::High, old, 3)],
        "{:?}",
        texts(&found)
    );
    assert!(ends.iter().all(|f| f.id == ends[0].id));
}

#[test]
fn a_grant_of_which_little_is_used_is_told_after_its_time() {
    let grant = |principal: &str, operations: &[&str]| grants::Grant {
        principal: principal.to_owned(),
        service: "orders".to_owned(),
        operations: operations.iter().map(|op| (*op).to_owned()).collect(),
    };
    let config = BaselinesConfig {
        grants: vec![grant("spiffe://e.org/*", &["GET", "PUT", "DELETE"]), grant("*", &["get"])].into(),
        grants_ns: 3 * DAY as u64,
        ..BaselinesConfig::default()
    };
    let mut tape = Tape::default();
    for hour in 0..100 {
        tape.push(secure("spiffe://e.org/web", BEGIN + hour * HOUR));
    }
    let found = tape.findings(|| -> Box<dyn Watcher> { Box::new(Misconfiguration::new(&config)) });
    assert_eq!(found.len(), 1, "{:?}", texts(&found));
    assert_eq!(found[0].severity, Severity::Low);
    assert!(
        texts(&found)[0].contains(
            "was granted 3 operations on orders and used 1 of them in 3 d; never used: PUT, DELETE"
        ),
        "{:?}",
        texts(&found)
    );
}

#[test]
fn a_flood_of_invented_callers_is_bounded_and_is_not_told_twice() {
    let mut watcher = Misconfiguration::new(&BaselinesConfig::default());
    let mut frame = crate::Baselines::with(Default::default(), crate::baselines::test_hmac(), Vec::new());
    let mut out = Vec::new();
    for n in 0..40_000u64 {
        let mut event = call("", BEGIN + n as i64 * 1_000);
        event.who.who = Some(Principal::new(format!("invented{n}x"), Verified::Claimed));
        watcher.see(&frame.call_of(n, event.core.t_obs, &event), &mut out);
    }
    assert!(watcher.stats().keys <= 4 * 16_384 && watcher.stats().evicted > 20_000);
    let told = out.len();
    for n in 0..1_000u64 {
        let mut event = call("", BEGIN + HOUR);
        event.who.who = Some(Principal::new(format!("invented{n}x"), Verified::Claimed));
        watcher.see(&frame.call_of(50_000 + n, event.core.t_obs, &event), &mut out);
    }
    assert!(out.len() - told < 50, "{}", out.len() - told);
}
