//! PostgreSQL: any split of the streams says the same, what cannot be is refused, denials are substituted.

use countersign_wire::fuzz::NoDigests;
use countersign_wire::postgres::record::{End, Form};
use countersign_wire::postgres::session::Options;
use countersign_wire::postgres::{Framer, FramerOptions, HELD_MAX, Message, Session};
use countersign_wire::stream::{Call, Framer as _, Judge, OpClass, Out, Unjudged};
use proptest::prelude::*;

fn message(tag: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend((payload.len() as u32 + 4).to_be_bytes());
    out.extend(payload);
    out
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0alice\0database\0shop\0\0";
    let mut out = (body.len() as u32 + 4).to_be_bytes().to_vec();
    out.extend(body);
    out
}

fn login() -> Vec<u8> {
    [
        message(b'R', &[0, 0, 0, 0]),
        message(b'S', b"standard_conforming_strings\0on\0"),
        message(b'K', &[0, 0, 0, 9, 1, 2, 3, 4]),
        message(b'Z', b"I"),
    ]
    .concat()
}

fn error(state: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0VERROR\0C{state}\0Mbad\0\0").as_bytes())
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{text}\0\0\0").as_bytes())
}

fn bind(portal: &str, statement: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{statement}\0\0\0\0\0\0\0").as_bytes())
}

fn execute(portal: &str) -> Vec<u8> {
    message(b'E', format!("{portal}\0\0\0\0\0").as_bytes())
}

/// Turns of a session: what the client sends, and what the server answers to it.
fn turns() -> Vec<(Vec<u8>, Vec<u8>)> {
    let sync = message(b'S', b"");
    let (parsed, bound, ready) = (message(b'1', b""), message(b'2', b""), message(b'Z', b"I"));
    let done = |tag: &str| message(b'C', format!("{tag}\0").as_bytes());
    let row = message(b'D', &[0, 1, 0, 0, 0, 1, b'7']);
    vec![
        (startup(), login()),
        (
            message(b'Q', b"select 1; insert into t values ('s'); select 1/0; select 2\0"),
            [row.clone(), done("SELECT 1"), done("INSERT 0 1"), error("22012"), ready.clone()].concat(),
        ),
        (
            [
                parse("a", "select $1 from t"),
                bind("", "a"),
                execute(""),
                bind("", "a"),
                execute(""),
                sync.clone(),
            ]
            .concat(),
            [
                parsed.clone(),
                bound.clone(),
                row.clone(),
                done("SELECT 1"),
                bound.clone(),
                done("SELECT 0"),
                ready.clone(),
            ]
            .concat(),
        ),
        (
            [
                parse("", "delete from t"),
                bind("", ""),
                execute(""),
                execute(""),
                sync.clone(),
                execute("x"),
                sync.clone(),
            ]
            .concat(),
            [parsed.clone(), bound.clone(), error("42501"), ready.clone(), error("34000"), ready.clone()]
                .concat(),
        ),
        (
            [
                message(b'Q', b"copy t from stdin\0"),
                message(b'd', b"1\n"),
                message(b'd', b"2\n"),
                message(b'c', b""),
            ]
            .concat(),
            [message(b'G', &[0, 0, 1, 0, 0]), done("COPY 2"), ready.clone()].concat(),
        ),
        (message(b'X', b""), message(b'A', b"\0\0\0\x09news\0hi\0")),
    ]
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    framed: u32,
    bytes: (Vec<u8>, Vec<u8>),
    records: Vec<String>,
}

/// Feeds all turns with blocks of the sizes in `sizes`, over and over.
fn feed(turns: &[(Vec<u8>, Vec<u8>)], sizes: &[usize], whole: bool) -> Told {
    let mut framer = Framer::new(FramerOptions { whole, ..FramerOptions::default() });
    let mut session = Session::new(Box::new(NoDigests), Options::default());
    let mut told = Told { framed: 0, bytes: Default::default(), records: Vec::new() };
    let mut sizes = sizes.iter().cycle();
    for (up, down) in turns {
        for (is_up, all) in [(true, up), (false, down)] {
            let mut held: Vec<u8> = Vec::new();
            let mut rest = all.as_slice();
            while !rest.is_empty() {
                let (block, more) = rest.split_at(sizes.next().map_or(1, |n| (*n).clamp(1, rest.len())));
                rest = more;
                held.extend(block);
                loop {
                    if held.is_empty() {
                        break;
                    }
                    let step = if is_up { framer.up(&held, &mut Unjudged) } else { framer.down(&held) };
                    // What is missing then fails the comparison.
                    let Ok(step) = step else { return told };
                    if step.len == 0 {
                        break;
                    }
                    told.framed += step.records;
                    let passed: Vec<u8> = held.drain(..step.len).collect();
                    match is_up {
                        true => session.up(&passed, 1),
                        false => session.down(&passed, 1),
                    }
                    if is_up { told.bytes.0.extend(passed) } else { told.bytes.1.extend(passed) }
                }
            }
            assert!(held.is_empty());
        }
    }
    session.end(2);
    while let Some(message) = session.told() {
        told.records.push(match message {
            Message::Executed(run) => format!(
                "{:?} {:?} {} {:?} {} {} {}",
                run.form,
                run.end,
                run.tag,
                run.tag_rows,
                run.rows,
                run.prepared,
                run.statement.map_or(String::new(), |s| s.facts.operation.clone())
            ),
            Message::Opened(opened) => {
                format!("opened {} {} {}", opened.user, opened.database, opened.accepted)
            }
            Message::Notified { channel, payload, .. } => format!("notified {channel} {payload}"),
            Message::Key { .. } => continue,
            other => format!("{other:?}"),
        });
    }
    told
}

#[test]
fn a_session_is_told_statement_by_statement() {
    let told = feed(&turns(), &[1 << 20], false);
    let expected = [
        "opened alice shop true",
        "Simple Done SELECT Some(1) 1  SELECT",
        "Simple Done INSERT Some(1) 0  INSERT",
        "Simple Failed  None 0  SELECT",
        "Simple NotRun  None 0  SELECT",
        "Extended Done SELECT Some(1) 1 a SELECT",
        "Extended Done SELECT Some(0) 0 a SELECT",
        "Extended Failed  None 0  DELETE",
        "Extended NotRun  None 0  DELETE",
        "Extended Failed  None 0  ",
        "Simple Done COPY Some(2) 0  COPY",
        "notified news 2",
    ];
    assert_eq!(told.records, expected);
    // Two of the session, and the NotRun statement of the simple Query is not foreseen.
    assert_eq!(told.framed as usize, 2 + expected.len() - 1 - 1);
    let turns = turns();
    assert_eq!(told.bytes.0, turns.iter().flat_map(|t| t.0.clone()).collect::<Vec<_>>());
    assert_eq!(told.bytes.1, turns.iter().flat_map(|t| t.1.clone()).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn any_split_tells_the_same(sizes in proptest::collection::vec(1_usize..40, 1..20), whole: bool) {
        prop_assert_eq!(feed(&turns(), &sizes, whole), feed(&turns(), &[1 << 20], false));
    }
}

#[test]
fn first_packets_come_in_any_pieces() {
    let cancel = [&16_u32.to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), &[0, 0, 0, 7], &[1; 4]].concat();
    for packet in [cancel, startup()] {
        for at in 1..packet.len() {
            let mut framer = Framer::default();
            assert_eq!(framer.up(&packet[..at], &mut Unjudged).unwrap().len, 0);
            assert_eq!(framer.up(&packet, &mut Unjudged).unwrap().len, packet.len());
        }
    }
}

#[test]
fn what_no_server_takes_is_refused_for_ever() {
    let too_short = [b"Q".as_slice(), &3_u32.to_be_bytes()].concat();
    let too_long = [b"Q".as_slice(), &0x4000_0000_u32.to_be_bytes()].concat();
    let sync_with_much = [b"S".as_slice(), &20_000_u32.to_be_bytes()].concat();
    let unknown = message(b'?', b"");
    for bytes in [too_short, too_long, sync_with_much, unknown] {
        let mut framer = Framer::default();
        framer.up(&startup(), &mut Unjudged).unwrap();
        framer.down(&login()).unwrap();
        let refusal = framer.up(&bytes, &mut Unjudged).unwrap_err();
        assert!(refusal.answer.windows(6).any(|w| w == b"C08P01"), "{refusal:?}");
        assert_eq!(framer.up(&message(b'S', b""), &mut Unjudged).unwrap_err(), refusal);
    }
    for first in [
        &b"\0\0\0\x07\0\x03\0"[..],
        b"\xff\xff\xff\xff\0\0\0\0",
        b"\0\0\0\x08\0\x02\0\0",
        b"GET / HTTP/1.1\r\n",
    ] {
        assert!(Framer::default().up(first, &mut Unjudged).is_err(), "{first:?}");
    }
}

#[test]
fn a_gigabyte_passes_by_its_head_alone() {
    let mut framer = Framer::default();
    framer.up(&startup(), &mut Unjudged).unwrap();
    framer.down(&login()).unwrap();
    framer.up(&message(b'Q', b"select big\0"), &mut Unjudged).unwrap();
    let head = [b"D".as_slice(), &(1_u32 << 29).to_be_bytes()].concat();
    assert_eq!(framer.down(&head).unwrap().len, 5);
    let block = vec![0; 1 << 20];
    let mut left = (1_usize << 29) - 4;
    while left > 0 {
        let n = left.min(block.len());
        assert_eq!(framer.down(&block[..n]).unwrap().len, n);
        left -= n;
    }
    assert_eq!(framer.down(&message(b'C', b"SELECT 1\0")).unwrap().records, 0);
}

/// Denies what changes data, and what nobody knows.
struct ReadsOnly(Vec<String>);

impl Judge for ReadsOnly {
    fn asks(&self) -> bool {
        true
    }
    fn denies(&mut self, call: &Call<'_>) -> bool {
        self.0.push(format!("{} {} {:?} {:?}", call.user, call.operation, call.class, call.resources));
        call.class != Some(OpClass::Read)
    }
}

#[test]
fn a_denied_message_is_replaced_and_its_error_becomes_42501() {
    let mut framer = Framer::default();
    let mut judge = ReadsOnly(Vec::new());
    framer.up(&startup(), &mut judge).unwrap();
    framer.down(&login()).unwrap();
    let query = message(b'Q', b"select 1; delete from t\0");
    let step = framer.up(&query, &mut judge).unwrap();
    assert_eq!((step.len, step.records), (query.len(), 1));
    let Out::Instead(sent) = step.out else { panic!("it passed") };
    assert!(sent.starts_with(b"Q") && !sent.windows(6).any(|w| w == b"delete"));
    let down = framer.down(&[error("42601"), message(b'Z', b"I")].concat()).unwrap();
    assert_eq!(down.len, error("42601").len());
    framer.down(&message(b'Z', b"I")).unwrap();
    let Out::Instead(told) = down.out else { panic!("not rewritten") };
    assert!(told.windows(6).any(|w| w == b"C42501"));
    assert_eq!(judge.0[1], "alice DELETE Some(Delete) [\"t\"]");
    // In a pipeline, an error before it takes the denied one along: nothing is rewritten.
    let up = [bind("", "none"), parse("b", "delete from t"), message(b'S', b"")].concat();
    let mut at = 0;
    while at < up.len() {
        at += framer.up(&up[at..], &mut judge).unwrap().len;
    }
    let answer = [error("26000"), message(b'Z', b"I"), error("22012")].concat();
    assert_eq!(framer.down(&answer).unwrap().out, Out::Same);
}

#[test]
fn an_execute_is_judged_by_the_statement_it_runs() {
    let mut framer = Framer::default();
    let mut judge = ReadsOnly(Vec::new());
    framer.up(&startup(), &mut judge).unwrap();
    framer.down(&login()).unwrap();
    for (bytes, passes) in [
        (parse("r", "select * from t"), true),
        (bind("", "r"), true),
        (execute(""), true),
        (execute("unknown"), false),
        (parse("w", "update t set a = 1"), false),
        (message(b'Q', b"execute r\0"), true),
        (message(b'Q', b"execute nobody\0"), false),
    ] {
        let step = framer.up(&bytes, &mut judge).unwrap();
        assert_eq!(step.len, bytes.len());
        assert_eq!(step.out == Out::Same, passes, "{:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_statement_too_long_to_be_judged_is_denied_unheld() {
    let mut framer = Framer::default();
    let mut judge = ReadsOnly(Vec::new());
    framer.up(&startup(), &mut judge).unwrap();
    framer.down(&login()).unwrap();
    let long = message(b'Q', &vec![b'x'; 2 << 20]);
    let step = framer.up(&long[..1_000], &mut judge).unwrap();
    assert_eq!(step.len, 1_000);
    assert!(matches!(step.out, Out::Instead(ref bytes) if bytes.starts_with(b"Q")));
    let rest = framer.up(&long[1_000..], &mut judge).unwrap();
    assert_eq!((rest.len, rest.out), (long.len() - 1_000, Out::Instead(Vec::new())));
}

#[test]
fn forms_are_told_apart() {
    let mut session = Session::new(Box::new(NoDigests), Options::default());
    session.up(&startup(), 1);
    session.down(&login(), 2);
    session.up(&[parse("", "selec"), bind("", ""), execute(""), message(b'S', b"")].concat(), 3);
    session.down(&[error("42601"), message(b'Z', b"I")].concat(), 4);
    let mut forms = Vec::new();
    while let Some(message) = session.told() {
        if let Message::Executed(run) = message {
            forms.push((run.form, run.end, run.state));
        }
    }
    assert_eq!(forms, [(Form::Parse, End::Failed, b'I'), (Form::Extended, End::NotRun, b'I')]);
}

fn seed(turns: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    turns.iter().flat_map(|(up, down)| [up.as_slice(), &[0xfe], down.as_slice(), &[0xfe]].concat()).collect()
}

#[test]
fn fuzz_bodies_return_for_sessions_and_their_neighbours() {
    let seed = seed(&turns());
    for first in [0, 7, 0x80, 0x8b] {
        for at in (0..seed.len()).step_by(3) {
            let mut changed = [&[first][..], &seed].concat();
            changed[at + 1] = changed[at + 1].wrapping_add(1 + (at % 7) as u8 * 36);
            countersign_wire::fuzz::postgres_conversation(&changed);
            countersign_wire::fuzz::postgres_conversation(&changed[..at + 1]);
        }
    }
}

proptest! {
    #[test]
    fn values_of_any_type_are_bounded_texts(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        countersign_wire::fuzz::postgres_value(&data);
    }
}

#[test]
fn where_intents_come_first_no_byte_of_a_statement_passes_before_its_last_one_is_there() {
    let mut framer = Framer::new(FramerOptions { whole: true, ..FramerOptions::default() });
    framer.up(&startup(), &mut Unjudged).unwrap();
    framer.down(&login()).unwrap();
    let text = format!("select '{}'\0", "x".repeat(40_000));
    let query = message(b'Q', text.as_bytes());
    let ahead = [parse("", "select 1"), bind("", "")].concat();
    for n in [1, 4, 5, 6, 40_000, query.len() - 1] {
        // What came before it and runs nothing does not wait.
        let both = [&ahead[..], &query[..n]].concat();
        let step = framer.up(&both, &mut Unjudged).unwrap();
        assert_eq!((step.len, step.records), (ahead.len(), 0), "{n} bytes");
        let step = framer.up(&query[..n], &mut Unjudged).unwrap();
        assert_eq!((step.len, step.records), (0, 0), "{n} bytes");
    }
    let step = framer.up(&query, &mut Unjudged).unwrap();
    assert_eq!((step.len, step.records), (query.len(), 1));
    // Longer than what is held: it passes as it comes, announced by its first byte.
    let long = [&b"Q"[..], &(HELD_MAX + 1).to_be_bytes(), b"select"].concat();
    let step = framer.up(&long, &mut Unjudged).unwrap();
    assert_eq!((step.len, step.records), (long.len(), 1));
}

#[test]
fn a_long_parameter_keeps_its_front_and_its_length_and_those_behind_it_are_kept_too() {
    use countersign_wire::postgres::statement::PARAMETER_MAX;
    let options = Options { parameters: true, ..Options::default() };
    let mut session = Session::new(Box::new(NoDigests), options);
    session.up(&startup(), 1);
    session.down(&login(), 1);
    let long = vec![b'y'; 200_000];
    let values =
        [&200_000_u32.to_be_bytes()[..], &long, &u32::MAX.to_be_bytes(), &[0, 0, 0, 1, b'z']].concat();
    let bound = message(b'B', &[&b"\0\0\0\0\0\x03"[..], &values, &[0, 0]].concat());
    let sync = message(b'S', b"");
    session.up(&[parse("", "select $1, $2, $3"), bound, execute(""), sync].concat(), 2);
    let said = [message(b'1', b""), message(b'2', b""), message(b'C', b"SELECT 0\0"), message(b'Z', b"I")];
    session.down(&said.concat(), 3);
    let run = std::iter::from_fn(|| session.told()).find_map(|told| match told {
        Message::Executed(run) => Some(run),
        _ => None,
    });
    let kept = run.unwrap().portal.as_ref().unwrap().parameters().unwrap();
    let seen: Vec<_> = kept.values.iter().map(|v| v.as_ref().map(|v| (v.front.len(), v.length))).collect();
    assert_eq!(seen, [Some((PARAMETER_MAX, 200_000)), None, Some((1, 1))]);
}
