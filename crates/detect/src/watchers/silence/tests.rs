use super::super::tape::*;
use super::*;
use countersign_event::Event;

fn make() -> Box<dyn Watcher> {
    Box::new(Silence::new(1 << 30, 2 * DAY as u64, 100))
}

fn at(agent: &str, caller: &str, at_ns: i64) -> Event {
    let mut event = call(caller, at_ns);
    event.core.agent = agent.to_owned();
    event
}

/// Three days of two sources; `a` sees two callers, `b` one. `kept` decides which events come.
fn days(kept: impl Fn(&str, &str, i64) -> bool) -> Tape {
    let mut tape = Tape::default();
    for n in 0..(3 * DAY / (20 * S)) {
        let now = n * 20 * S;
        for (agent, caller) in [("a", "web"), ("a", "batch"), ("b", "mail")] {
            if kept(agent, caller, now) {
                tape.push(at(agent, caller, BEGIN + now));
            }
        }
    }
    tape
}

fn down(now: i64) -> bool {
    (2 * DAY + 10 * HOUR..2 * DAY + 12 * HOUR).contains(&now)
}

#[test]
fn a_source_that_stops_is_one_finding_without_its_edges_and_resolves_on_return() {
    let found = days(|agent, _, now| agent != "a" || !down(now)).findings(make);
    let states: Vec<_> = found.iter().map(|f| f.state).collect();
    assert_eq!(states, [FindingState::Open, FindingState::Resolved], "{:?}", texts(&found));
    assert_eq!(found[0].id, found[1].id);
    assert_eq!(found[0].evidence.indices, found[1].evidence.indices);
    assert_eq!((found[0].window.0, found[0].query.as_str()), (found[1].window.0, "agent:\"a\""));
    let waited = found[0].decided_ns as i64 - (BEGIN + 2 * DAY + 10 * HOUR);
    assert!((0..5 * MINUTE).contains(&waited), "{}", span_text(waited));
    assert!(texts(&found)[0].starts_with("Open no event from a for "), "{:?}", texts(&found));
    assert!(texts(&found)[0].contains("normal gap 10.0 s") && texts(&found)[0].contains("wrong if"));
    assert!(texts(&found)[1].contains("a reports again after 2 h"), "{:?}", texts(&found));
}

#[test]
fn a_caller_that_stops_while_its_source_goes_on_is_an_edge() {
    let found = days(|_, caller, now| caller != "batch" || !down(now)).findings(make);
    assert_eq!(found.len(), 2, "{:?}", texts(&found));
    assert!(texts(&found)[0].contains("no call of orders by batch"), "{:?}", texts(&found));
    assert_eq!(found[0].subject.who.who.as_ref().unwrap().id, "batch");
}

#[test]
fn only_ticks_find_it_too_and_a_wake_is_asked_for() {
    let mut tape = days(|_, _, now| now < 2 * DAY + 12 * HOUR);
    let end = BEGIN + 2 * DAY + 12 * HOUR;
    for n in 1..60 {
        tape.push(tick(end + n * 10 * S));
    }
    let found = tape.findings(make);
    let names: Vec<_> = found.iter().map(|f| f.query.as_str()).collect();
    assert_eq!(names.len(), 2, "{:?}", texts(&found));
    let mut silence = Silence::new(1 << 30, 2 * DAY as u64, 100);
    let mut frame = crate::Baselines::with(Default::default(), crate::baselines::test_hmac(), Vec::new());
    let mut out = Vec::new();
    for (index, ns, event) in &tape.0[..tape.0.len() - 59] {
        silence.see(&frame.call_of(*index, *ns, event), &mut out);
    }
    silence.advance(end, end as u64, &mut out);
    let wake = silence.wake_ns().unwrap();
    assert!(out.is_empty() && (0..5 * MINUTE).contains(&(wake - end)), "{}", wake - end);
}

#[test]
fn an_announced_stop_a_quiet_hour_and_learning_say_nothing() {
    let mut announced = Tape::default();
    let mut told = false;
    for (_, _, event) in days(|agent, _, now| agent != "a" || !down(now)).0 {
        if !told && event.core.t_obs as i64 >= BEGIN + 2 * DAY + 10 * HOUR {
            let mut change = tick(event.core.t_obs as i64);
            (change.core.op, change.core.dur) = ("change.window".to_owned(), Some(3 * HOUR as u64));
            change.target.svc = "orders".to_owned();
            announced.push(change);
            told = true;
        }
        announced.push(event);
    }
    assert!(announced.findings(make).is_empty(), "{:?}", texts(&announced.findings(make)));

    let quiet = |now: i64| (10 * HOUR..12 * HOUR).contains(&(now % DAY));
    let every_day = days(|_, _, now| !quiet(now) || now % (10 * MINUTE) == 0);
    assert!(every_day.findings(make).is_empty(), "{:?}", texts(&every_day.findings(make)));

    let early = days(|agent, _, now| agent != "a" || !(DAY + 3 * HOUR..DAY + 5 * HOUR).contains(&now));
    assert!(early.findings(make).is_empty(), "{:?}", texts(&early.findings(make)));
}

#[test]
fn a_flood_of_invented_edges_is_bounded_and_the_established_one_is_still_missed() {
    let mut tape = days(|_, caller, now| caller != "batch" || !down(now));
    let from = tape.0.len() * 5 / 6;
    for (n, (_, _, event)) in tape.0.iter_mut().enumerate() {
        if event.core.agent == "b" && n < from {
            event.who.who.as_mut().unwrap().id = format!("invented{n}x");
        }
    }
    let small = || -> Box<dyn Watcher> { Box::new(Silence::new(64 * EDGE_BYTES, 2 * DAY as u64, 100)) };
    let found = tape.findings(small);
    let texts = texts(&found);
    assert!(texts.iter().any(|t| t.contains("no call of orders by batch")), "{texts:?}");
    assert!(!texts.iter().any(|t| t.contains("invented")), "{texts:?}");
}
