//! gRPC with its own Python implementation on both sides: direct and through are the same, and records equal
//! the server's own log.

use crate::h2_support::{rig, uint};
use crate::support::{Rig, until};
use countersign_event::{Event, Kind, Outcome, StatusSpace, Unmapped};
use countersign_gateway::GrpcFields;
use countersign_testkit::grpc::GrpcServer;

fn of<'e>(events: &'e [Event], method: &str) -> Vec<&'e Event> {
    events.iter().filter(|e| e.target.raw == format!("/test.v1.Echo/{method}")).collect()
}

fn counts(e: &Event) -> (Option<u64>, Option<u64>) {
    (uint(e, 0), uint(e, 1))
}

fn code(e: &Event) -> Option<&str> {
    e.core.status.as_ref().filter(|(space, _)| *space == StatusSpace::Grpc).map(|(_, code)| code.as_str())
}

#[test]
fn calls_of_every_kind_are_the_same_direct_and_through_and_each_is_one_record() {
    let server = GrpcServer::start().unwrap();
    let rig = Rig::new(server.address);
    let direct = server.client(server.address, &["every"]).unwrap();
    let before = server.calls().len();
    let through = server.client(rig.address, &["every"]).unwrap();
    assert_eq!(direct, through);
    let n = through.len();
    assert_eq!(n, 20, "{through:#?}");
    let events = rig.memory.wait(n);
    assert!(events.iter().all(|e| e.core.kind == Some(Kind::Grpc) && e.core.proto == "grpc"));

    // The server's handlers log every call but those of the health service and of methods it lacks.
    until("the server has logged", || server.calls().len() >= before + n - 3);
    let mut theirs: Vec<_> = server.calls()[before..].iter().map(|l| of_log(l)).collect();
    let mut ours: Vec<_> = events
        .iter()
        .filter(|e| e.target.raw.starts_with("/test") && !e.target.raw.ends_with("Nothing"))
        .map(|e| e.core.op.clone())
        .collect();
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs);

    let unary = of(&events, "Unary");
    assert!(unary.iter().take(4).all(|e| counts(e) == (Some(1), Some(1)) && code(e) == Some("0")));
    assert!(unary.iter().all(|e| e.target.res == "/test.v1.Echo/Unary" && e.target.id.is_empty()));
    let failed: Vec<_> = unary[4..].iter().map(|e| (code(e).unwrap(), e.core.outcome.unwrap())).collect();
    use Outcome::{CallerError, Denied, ServerError};
    assert_eq!(
        failed,
        [("3", CallerError), ("5", CallerError), ("7", Denied), ("13", ServerError), ("16", Denied)]
    );
    assert_eq!(unary[4].content.err, "asked to fail: café");
    assert_eq!(unary[2].body.req.as_ref().unwrap().size, Some((3 << 20) + 5), "split over DATA frames");
    let nothing = of(&events, "Nothing")[0];
    assert_eq!((code(nothing), nothing.core.outcome), (Some("12"), Some(ServerError)));
    let streamed: Vec<_> = of(&events, "ServerStream").iter().map(|e| counts(e)).collect();
    assert_eq!(streamed, [(Some(1), Some(50)), (Some(1), Some(0)), (Some(1), Some(20))]);
    let collected: Vec<_> = of(&events, "ClientStream").iter().map(|e| counts(e)).collect();
    assert_eq!(collected, [(Some(40), Some(1)), (Some(0), Some(1))]);
    assert_eq!(counts(of(&events, "Bidi")[0]), (Some(100), Some(100)));

    let slow = of(&events, "Slow");
    let deadline = uint(slow[0], 2).expect("the deadline was announced");
    assert!((100_000_000..=1_000_000_000).contains(&deadline), "{deadline}");
    assert_eq!(slow[0].core.outcome, Some(Outcome::Timeout), "{:?}", slow[0]);
    assert_eq!((slow[1].core.outcome, uint(slow[1], 3)), (Some(Outcome::Cancelled), Some(8)));
    let health: Vec<_> = events.iter().filter(|e| e.target.raw == "/grpc.health.v1.Health/Check").collect();
    assert_eq!((code(health[0]), code(health[1])), (Some("0"), Some("5")));
}

/// The method that a line of the server's log names.
fn of_log(line: &str) -> String {
    line.split("\"method\": \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[test]
fn many_calls_at_once_make_as_many_records() {
    let server = GrpcServer::start().unwrap();
    let rig = rig(server.address);
    let n = if std::env::var_os("COUNTERSIGN_TORTURE").is_some() { 20_000 } else { 2_000 };
    let out = server.client(rig.address, &["many", &n.to_string()]).unwrap();
    assert_eq!(out, [format!("{{\"answers\": {n}}}")]);
    let events = rig.memory.wait(n);
    assert!(
        events.iter().all(|e| e.core.outcome == Some(Outcome::Success) && counts(e) == (Some(1), Some(1)))
    );
    assert_eq!(server.calls().len(), n);
}

/// Each is put where a call carries something; none may be in a frame.
const MARKS: [&str; 4] =
    ["tok3n-BearerMarkQ1w2E3r4T5y6U7i8O9p0", "apikeyMarkPo0Iu9Yt8", "binMarkZx9Cv8Bn7", "bodyMarkRt5Yu6Io7"];

#[test]
fn secrets_in_metadata_and_messages_are_in_no_event() {
    let server = GrpcServer::start().unwrap();
    let rig = rig(server.address);
    let marks = format!("[{}]", MARKS.map(|m| format!("\"{m}\"")).join(","));
    server.client(rig.address, &["secrets", &marks]).unwrap();
    for (i, mut event) in rig.memory.wait(2).into_iter().enumerate() {
        assert!(event.content.redacted.contains(&("header".to_owned(), 2)), "{:?}", event.content.redacted);
        event.core.agent = "a".into();
        event.core.seq = i as u64 + 1;
        let frame = event.encode().unwrap().to_bytes();
        let text = String::from_utf8_lossy(&frame).into_owned() + &format!("{event:?}");
        for mark in MARKS {
            assert!(!text.contains(mark), "{mark} in {event:#?}");
        }
    }
}

#[test]
fn fields_that_a_route_names_are_kept_and_nothing_else() {
    let server = GrpcServer::start().unwrap();
    let fields = |names: &[&str]| {
        Some(GrpcFields {
            descriptors: server.descriptors.clone(),
            fields: names.iter().map(|n| (*n).to_owned()).collect(),
        })
    };
    let rig = Rig::with(server.address, |c| c.listeners[0].grpc = fields(&["service", "status"]));
    server.client(rig.address, &["every"]).unwrap();
    let events = rig.memory.wait(20);
    let health: Vec<_> = events.iter().filter(|e| e.target.raw.ends_with("Health/Check")).collect();
    let token = |text: &str| Some(Unmapped::Token(text.to_owned()));
    let kept = |e: &Event, pointer: &str| e.content.unmapped.get(pointer).cloned();
    assert_eq!(kept(health[0], "/grpc/request/service"), token("\"orders\""));
    assert_eq!(kept(health[0], "/grpc/response/status"), token("1"));
    assert_eq!(kept(health[1], "/grpc/response/status"), None, "no message came back");
    assert!(of(&events, "Unary").iter().all(|e| e.content.unmapped.is_empty()));
    let refused = std::panic::catch_unwind(|| {
        Rig::with(server.address, |c| c.listeners[0].grpc = fields(&["no.such.field"]))
    });
    assert!(refused.is_err(), "a field that no message has is an error at the start");
}
