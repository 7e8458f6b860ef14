use super::join::{Join, Runtime};
use super::*;
use crate::fuzz;
use proptest::prelude::*;

fn texts(framer: &mut dyn Framer, bytes: &[u8]) -> (Vec<String>, Option<&'static str>) {
    let (records, _, broken) = collect(framer, bytes, bytes.len());
    (records.iter().map(|(record, _)| String::from_utf8_lossy(record).into_owned()).collect(), broken)
}

#[test]
fn lines_end_with_either_break_and_empty_ones_are_none() {
    assert_eq!(
        texts(&mut Lines::default(), b"a\r\n\n b\nc"),
        (vec!["a".into(), " b".into(), "c".into()], None)
    );
}

#[test]
fn a_line_that_is_too_long_is_cut_and_its_rest_is_counted() {
    let mut bytes = vec![b'x'; RECORD_MAX + 10];
    bytes.extend_from_slice(b"\nnext\n");
    let (records, lost, _) = collect(&mut Lines::default(), &bytes, 5000);
    assert_eq!((records[0].0.len(), records[0].1, lost), (RECORD_MAX, true, 10));
    assert_eq!(records[1], (b"next".to_vec(), false));
}

#[test]
fn counted_messages_keep_their_line_breaks() {
    let found = texts(&mut Octets::default(), b"8 <1>1 - \n9 <1>1 - -x");
    assert_eq!(found, (vec!["<1>1 - \n".into(), "<1>1 - -x".into()], None));
}

#[test]
fn a_sender_of_lines_may_begin_one_with_a_number() {
    let found = texts(&mut Octets::default(), b"<13>first\n12 drummers\n<13>last\n");
    assert_eq!(found, (vec!["<13>first".into(), "12 drummers".into(), "<13>last".into()], None));
}

#[test]
fn absurd_and_missing_counts_break_the_framing() {
    assert!(texts(&mut Octets::default(), b"1233423432 abc").1.is_some());
    assert!(texts(&mut Octets::default(), b"1048577 <1>").1.is_some());
    assert!(texts(&mut Octets::default(), b"5 <1>hihello").1.is_some());
    assert!(texts(&mut Octets::default(), b"50 <1>short").1.is_some());
    assert_eq!(
        texts(&mut Octets::default(), b"2023-06-03T00:00:00Z x"),
        (vec!["2023-06-03T00:00:00Z x".into()], None)
    );
}

#[test]
fn a_line_break_inside_quotation_marks_is_part_of_a_csv_record() {
    let found = texts(&mut Csv::default(), b"a,\"select\n1, \"\"x\"\"\n\",b\nc,d\n");
    assert_eq!(found.0, vec!["a,\"select\n1, \"\"x\"\"\n\",b", "c,d"]);
}

#[test]
fn a_csv_record_that_is_too_long_ends_where_its_quotation_marks_do() {
    let mut bytes = b"\"".to_vec();
    bytes.resize(RECORD_MAX, b'x');
    bytes.extend_from_slice(b"\"\"\n2024-01-01 forged\"\nnext\n");
    for step in [1 << 16, bytes.len()] {
        let (records, _, _) = collect(&mut Csv::default(), &bytes, step);
        assert_eq!(records.len(), 2);
        assert_eq!(records[1].0, b"next");
    }
}

fn binary(name: &str, content: &[u8]) -> Vec<u8> {
    let mut field = format!("{name}\n").into_bytes();
    field.extend_from_slice(&(content.len() as u64).to_le_bytes());
    field.extend_from_slice(content);
    field.push(b'\n');
    field
}

#[test]
fn binary_fields_of_a_journal_may_hold_anything() {
    let mut bytes = binary("MESSAGE", b"a\n\nb=");
    bytes.extend_from_slice(b"_PID=1\n\n\nMESSAGE=next\n");
    let (records, lost, broken) = collect(&mut Journal::default(), &bytes, 3);
    assert_eq!((records.len(), lost, broken), (2, 0, None));
    assert!(records[0].0.ends_with(b"_PID=1\n"));
    assert_eq!(records[1].0, b"MESSAGE=next\n");
}

#[test]
fn a_journal_entry_that_is_too_long_is_cut_and_the_next_one_is_whole() {
    let big = vec![b'\n'; RECORD_MAX + 100];
    let text = [b"A=".to_vec(), vec![b'x'; RECORD_MAX]].concat();
    for long in [binary("CORE", &big), [text, b"\n".to_vec()].concat()] {
        let bytes = [long, binary("B", b"\n\n"), b"C=1\n\nMESSAGE=next\n\n".to_vec()].concat();
        let (records, lost, broken) = collect(&mut Journal::default(), &bytes, 1 << 15);
        assert_eq!((records.len(), broken), (2, None));
        assert!(records[0].1 && lost > 0);
        assert_eq!(records[1].0, b"MESSAGE=next\n");
    }
}

#[test]
fn a_journal_field_without_its_line_break_breaks_the_framing() {
    let mut bytes = binary("MESSAGE", b"");
    bytes.pop();
    bytes.extend_from_slice(b"_PID=1\n\n");
    assert!(collect(&mut Journal::default(), &bytes, 100).2.is_some());
}

fn joined(runtime: Runtime, lines: &[&str]) -> Vec<String> {
    let (mut join, mut out) = (Join::new(runtime), Vec::new());
    let mut take = |record: &[u8]| out.push(String::from_utf8_lossy(record).into_owned());
    lines.iter().for_each(|line| join.push(line.as_bytes(), &mut take));
    join.flush(&mut take);
    assert_eq!(join.waiting(), 0);
    out
}

#[test]
fn partial_lines_of_two_streams_are_joined_apart() {
    let found = joined(
        Runtime::Cri,
        &["t stdout P one ", "t stderr F other", "t stdout F two", "no cri", "t stdout P open"],
    );
    assert_eq!(found, ["t stderr F other", "t stdout P one \nt stdout F two", "no cri", "t stdout P open"]);
}

#[test]
fn docker_lines_without_a_break_go_on() {
    let lines = [
        r#"{"log":"a\\n","stream":"stdout","time":"t"}"#,
        r#"{"log":"x\n","stream":"stderr","time":"t"}"#,
        r#"{"log":"b\n","stream":"stdout","time":"t"}"#,
    ];
    assert_eq!(joined(Runtime::Docker, &lines), [lines[1].to_owned(), format!("{}\n{}", lines[0], lines[2])]);
}

#[test]
fn a_line_behind_a_tab_belongs_to_the_one_before() {
    let found = joined(Runtime::Indented, &["\tlost", "a", "\tb", "\tc", "d"]);
    assert_eq!(found, ["\tlost", "a\n\tb\n\tc", "d"]);
}

#[test]
fn every_line_of_zeek_comes_with_the_header_above_it() {
    let (mut join, mut out) = (Join::new(Runtime::Zeek), Vec::new());
    for line in ["#separator x", "#fields a", "1", "2", "#close", "#separator y", "#fields b", "3"] {
        join.push(line.as_bytes(), &mut |record| out.push(String::from_utf8_lossy(record).into_owned()));
    }
    assert_eq!(
        out,
        ["#separator x\n#fields a\n1", "#separator x\n#fields a\n2", "#separator y\n#fields b\n3"]
    );
}

#[test]
fn what_never_ends_is_given_out_at_the_bound() {
    let (mut join, mut most) = (Join::new(Runtime::Cri), 0);
    let line = [b"t stdout P ".to_vec(), vec![b'x'; 16 << 10]].concat();
    for _ in 0..200 {
        join.push(&line, &mut |record| most = most.max(record.len()));
        assert!(join.waiting() <= RECORD_MAX);
    }
    assert!(most > RECORD_MAX / 2 && most <= RECORD_MAX);
}

proptest! {
    #[test]
    fn any_split_gives_the_same_records(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'"'), Just(b'<'), Just(b' '), Just(b'1'), Just(b'='), Just(0u8), any::<u8>()], 0..300), kind: u8) {
        fuzz::collect_frame(&[&[kind][..], &bytes].concat());
    }
}
