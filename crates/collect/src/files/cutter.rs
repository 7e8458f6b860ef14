//! Where one record of a file ends and the next begins: a framer, and for some formats what joins its lines.
//!
//! Gives each record with the offset of its first byte, and says from where on bytes are not yet in a record that
//! was given: reading may be taken up again there. Sans I/O.

use crate::frame::join::{Join, Runtime};
use crate::frame::{Csv, Framer, Journal, Lines, RECORD_MAX, Step};
use crate::json::split;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Bytes that are looked at to find out, most.
pub(super) const SNIFF_MAX: usize = 64 << 10;

/// How the records of a file are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// By its first line.
    #[default]
    Auto,
    /// One a line.
    Lines,
    /// CSV: a line break inside quotation marks is part of the record.
    Csv,
    /// The Journal Export Format.
    Journal,
    /// Container logs of Kubernetes, parts joined.
    Cri,
    /// Container logs of docker, parts joined.
    Docker,
    /// A line that begins with a tab belongs to the one before.
    Indented,
    /// Zeek: lines behind a header.
    Zeek,
    /// `{"Records":[…]}`, read as a whole.
    Records,
}

impl Framing {
    /// All, by their names in the configuration.
    pub const ALL: [(&'static str, Framing); 9] = [
        ("auto", Framing::Auto),
        ("lines", Framing::Lines),
        ("csv", Framing::Csv),
        ("journal", Framing::Journal),
        ("cri", Framing::Cri),
        ("docker", Framing::Docker),
        ("indented", Framing::Indented),
        ("zeek", Framing::Zeek),
        ("records", Framing::Records),
    ];

    /// Of a format that is always framed so; [`Framing::Auto`] for the others.
    pub fn of_format(name: &str) -> Framing {
        match name {
            "cri" => Framing::Cri,
            "docker" => Framing::Docker,
            "postgres-csv" => Framing::Csv,
            "postgres" => Framing::Indented,
            "journald" => Framing::Journal,
            "zeek" => Framing::Zeek,
            _ => Framing::Auto,
        }
    }

    /// Of a file that begins with `front`; `None` = more must be seen. `end`: there is no more.
    pub(super) fn sniff(front: &[u8], end: bool) -> Option<Framing> {
        let begin = front.trim_ascii_start();
        let line = match memchr::memchr(b'\n', begin) {
            Some(at) => begin.get(..at).unwrap_or_default(),
            None if end || front.len() >= SNIFF_MAX => begin,
            None => return None,
        };
        if let Some(object) = begin.strip_prefix(b"{")
            && object.trim_ascii_start().starts_with(b"\"Records\"")
        {
            return Some(Framing::Records);
        }
        if line.starts_with(b"{\"log\":\"") && memchr::memmem::find(line, b"\",\"stream\":\"").is_some() {
            return Some(Framing::Docker);
        }
        if line.starts_with(b"#separator") {
            return Some(Framing::Zeek);
        }
        if line.starts_with(b"__CURSOR=") || line.starts_with(b"__REALTIME_TIMESTAMP=") {
            return Some(Framing::Journal);
        }
        let mut words = line.splitn(4, |b| *b == b' ').skip(1);
        if matches!(words.next(), Some(b"stdout" | b"stderr"))
            && matches!(words.next(), Some(b"F" | b"P"))
            && line.first().is_some_and(u8::is_ascii_digit)
        {
            return Some(Framing::Cri);
        }
        Some(if is_csvlog(line) {
            Framing::Csv
        } else if is_postgres(line) {
            Framing::Indented
        } else {
            Framing::Lines
        })
    }
}

/// `2024-03-13 12:08:33.123 UTC`
fn has_stamp(line: &[u8]) -> bool {
    const SHAPE: &[u8] = b"dddd-dd-dd dd:dd:dd.";
    line.len() > SHAPE.len()
        && SHAPE
            .iter()
            .zip(line)
            .all(|(want, byte)| if *want == b'd' { byte.is_ascii_digit() } else { want == byte })
}

/// PostgreSQL's csvlog: the time is the first field, and the third is a user's name in quotation marks or nothing.
fn is_csvlog(line: &[u8]) -> bool {
    let comma = memchr::memchr(b',', line).filter(|at| *at < 40);
    has_stamp(line)
        && comma.is_some_and(|at| matches!(line.get(at + 1), Some(b'"' | b',')))
        && memchr::memchr_iter(b',', line).take(12).count() == 12
}

/// PostgreSQL's text log: a severity with a colon and two blanks (`elog.c`, `send_message_to_server_log`).
fn is_postgres(line: &[u8]) -> bool {
    let words = ["LOG", "ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "STATEMENT", "DETAIL", "HINT"];
    has_stamp(line)
        && memchr::memmem::find(line, b":  ").is_some_and(|at| {
            let before = line.get(..at).unwrap_or_default();
            words.iter().any(|word| before.ends_with(word.as_bytes()))
        })
}

/// See the module.
pub(super) struct Cutter {
    kind: Framing,
    framer: Box<dyn Framer + Send>,
    join: Option<Join>,
    /// Where the record begins whose rest is being skipped.
    held: Option<u64>,
    /// Where a line begins before which nothing waited. Texts of two streams may lie across each other: only from here
    /// on are they put together again as they were.
    clean: u64,
    /// What waits in `join`, and since when.
    waits: Option<(u64, Instant)>,
    /// Records of a whole file that were not given yet.
    spans: Option<VecDeque<Range<usize>>>,
}

impl std::fmt::Debug for Cutter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cutter").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Takes a record: where it begins, its bytes, and whether it was cut.
pub(super) type Take<'t> = dyn FnMut(u64, &[u8], bool) + 't;

fn framer(kind: Framing) -> Box<dyn Framer + Send> {
    match kind {
        Framing::Csv => Box::new(Csv::default()),
        Framing::Journal => Box::new(Journal::default()),
        _ => Box::new(Lines::default()),
    }
}

impl Cutter {
    pub(super) fn new(kind: Framing) -> Cutter {
        let join = match kind {
            Framing::Cri => Some(Runtime::Cri),
            Framing::Docker => Some(Runtime::Docker),
            Framing::Indented => Some(Runtime::Indented),
            Framing::Zeek => Some(Runtime::Zeek),
            _ => None,
        };
        let join = join.map(Join::new);
        Cutter { kind, framer: framer(kind), join, held: None, clean: 0, waits: None, spans: None }
    }

    /// Whether it needs all of the file at once.
    pub(super) fn is_whole(&self) -> bool {
        self.kind == Framing::Records
    }

    /// Shows it the lines of the file's beginning when reading is taken up behind them: a header counts for all.
    pub(super) fn prime(&mut self, front: &[u8]) {
        if let (Framing::Zeek, Some(join)) = (self.kind, &mut self.join) {
            for line in front.split(|b| *b == b'\n').take_while(|line| line.starts_with(b"#")) {
                join.push(line, &mut |_| {});
            }
        }
    }

    /// Gives at most about `most` records of `buf`, whose first byte has offset `at`: bytes that are done with, and
    /// whether to ask again before more is read. `end`: no more will come.
    pub(super) fn cut(
        &mut self,
        buf: &[u8],
        at: u64,
        end: bool,
        most: usize,
        take: &mut Take<'_>,
    ) -> (usize, bool) {
        if self.is_whole() {
            return self.cut_whole(buf, at, end, most, take);
        }
        let (mut from, mut given) = (0, 0);
        while given < most {
            let rest = buf.get(from..).unwrap_or_default();
            let begin = at + from as u64;
            match self.framer.step(rest, end) {
                Step::More => {
                    self.wait();
                    return (from, false);
                }
                Step::Skip { taken, .. } => from += taken,
                Step::Record { record, taken, cut } => {
                    let bytes = rest.get(record).unwrap_or_default();
                    self.held = cut.then_some(begin);
                    match &mut self.join {
                        Some(join) => {
                            if join.waits_from().is_none() {
                                self.clean = begin;
                            }
                            join.push_at(begin, bytes, &mut |at, record| take(at, record, cut));
                        }
                        None => take(begin, bytes, cut),
                    }
                    from += taken;
                    given += 1;
                }
                Step::Broken(_) => {
                    let Some(length) = resync(rest, end) else { return (from, false) };
                    take(begin, rest.get(..length).unwrap_or_default(), false);
                    self.framer = framer(self.kind);
                    from += length;
                    given += 1;
                }
            }
        }
        self.wait();
        (from, true)
    }

    fn cut_whole(
        &mut self,
        buf: &[u8],
        at: u64,
        end: bool,
        most: usize,
        take: &mut Take<'_>,
    ) -> (usize, bool) {
        if !end {
            return (0, false);
        }
        let spans = self.spans.get_or_insert_with(|| elements(buf));
        for _ in 0..most {
            let Some(span) = spans.pop_front() else { return (buf.len(), false) };
            take(at + span.start as u64, buf.get(span).unwrap_or_default(), false);
        }
        (0, true)
    }

    fn wait(&mut self) {
        let from = self.join.as_ref().and_then(Join::waits_from);
        if from != self.waits.map(|(from, _)| from) {
            self.waits = from.map(|from| (from, Instant::now()));
        }
    }

    /// Gives what has waited for its rest longer than `patience`; whether there was any.
    pub(super) fn expire(&mut self, patience: Duration, take: &mut Take<'_>) -> bool {
        let late = self.waits.is_some_and(|(_, since)| since.elapsed() >= patience);
        if late {
            self.flush(take);
        }
        late
    }

    /// Gives what waits for its rest.
    pub(super) fn flush(&mut self, take: &mut Take<'_>) {
        if let Some(join) = &mut self.join {
            join.flush_at(&mut |at, record| take(at, record, false));
        }
        self.waits = None;
    }

    /// Where the first record begins that was not given in full; `unread` = offset behind what was taken.
    pub(super) fn done_to(&self, unread: u64) -> u64 {
        if let Some(next) = self.spans.as_ref().and_then(VecDeque::front) {
            return next.start as u64;
        }
        let waits = self.join.as_ref().and_then(Join::waits_from);
        let two = matches!(self.kind, Framing::Cri | Framing::Docker);
        let waits = waits.map(|from| if two { self.clean } else { from });
        [waits, self.held].into_iter().flatten().fold(unread, u64::min)
    }

    /// Leaves out the records of a whole file that begin before `offset`.
    pub(super) fn skip_to(&mut self, buf: &[u8], offset: u64) {
        if self.is_whole() && offset > 0 {
            let spans = elements(buf).into_iter().filter(|span| span.start as u64 >= offset);
            self.spans = Some(spans.collect());
        }
    }
}

/// The elements of `{"Records":[…]}`; where one does not parse as such, all from there on is one record.
fn elements(buf: &[u8]) -> VecDeque<Range<usize>> {
    let mut last = 0;
    let span = |element: Result<Range<usize>, crate::Fault>| match element {
        Ok(span) => {
            last = span.end;
            span
        }
        Err(_) => last..buf.len(),
    };
    split::elements(buf, Some(crate::formats::cloudtrail::MEMBER)).map(span).collect()
}

/// Bytes up to the next empty line, where a framing can begin anew; `None` = none is in sight yet.
fn resync(rest: &[u8], end: bool) -> Option<usize> {
    match memchr::memmem::find(rest, b"\n\n") {
        Some(at) => Some((at + 2).min(RECORD_MAX)),
        None if end || rest.len() >= RECORD_MAX => Some(rest.len().min(RECORD_MAX)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_is_told_by_its_first_line_once_that_is_whole() {
        for (front, want) in [
            ("2024-03-13T12:08:33.1Z stdout F hello\n", Framing::Cri),
            ("{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"t\"}\n", Framing::Docker),
            ("{\"Records\":[\n", Framing::Records),
            ("#separator \\x09\n", Framing::Zeek),
            ("__CURSOR=s=1\n", Framing::Journal),
            (
                "2024-03-13 12:08:33.250 UTC,\"u\",\"d\",7,\"h:1\",65f1,1,\"SELECT\",2024-03-13 12:08:00 UTC,3/4,0,LOG,00000,\"x\n",
                Framing::Csv,
            ),
            ("2024-03-13 12:08:33.250 UTC [7] LOG:  connection received\n", Framing::Indented),
            ("{\"a\":1}\n", Framing::Lines),
            ("192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] \"GET / HTTP/1.1\" 200 3\n", Framing::Lines),
        ] {
            assert_eq!(Framing::sniff(front.as_bytes(), false), Some(want), "{front}");
        }
        assert_eq!(Framing::sniff(b"2024-03-13T12:08:33.1Z std", false), None);
    }

    /// All records of `bytes` with their offsets, shown in pieces of `step`, and where reading could go on at each.
    fn all(kind: Framing, bytes: &[u8], step: usize) -> (Vec<(u64, Vec<u8>)>, Vec<u64>) {
        let (mut cutter, mut out, mut marks) = (Cutter::new(kind), Vec::new(), Vec::new());
        let (mut from, mut to) = (0, 0);
        while to < bytes.len() {
            to = (to + step).min(bytes.len());
            loop {
                let mut take = |at, record: &[u8], _| out.push((at, record.to_vec()));
                let (taken, more) =
                    cutter.cut(&bytes[from..to], from as u64, to == bytes.len(), 3, &mut take);
                from += taken;
                marks.push(cutter.done_to(from as u64));
                if !more {
                    break;
                }
            }
        }
        cutter.flush(&mut |at, record, _| out.push((at, record.to_vec())));
        (out, marks)
    }

    #[test]
    fn a_part_keeps_the_mark_at_its_beginning_until_its_rest_has_come() {
        let text = b"t stdout F a\nt stdout P b\nt stderr F c\nt stdout F d\n";
        let (records, marks) = all(Framing::Cri, text, 13);
        let offsets: Vec<u64> = records.iter().map(|(at, _)| *at).collect();
        assert_eq!(offsets, [0, 26, 13], "by the beginning of their first line");
        assert!(marks.contains(&13) && marks.last() == Some(&(text.len() as u64)));
        assert!(!marks.contains(&26), "not behind a part that waits");
    }

    #[test]
    fn the_records_of_a_whole_file_are_its_elements_and_what_is_broken_is_one_record() {
        let text = br#"{"Records":[{"a":1}, {"b":2},{"c":"#;
        let (records, _) = all(Framing::Records, text, 7);
        let texts: Vec<&[u8]> = records.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        assert_eq!(texts[..2], [&b"{\"a\":1}"[..], b"{\"b\":2}"]);
        assert!(texts[2].ends_with(b"{\"c\":"));
    }

    #[test]
    fn a_broken_journal_entry_is_one_record_and_the_next_is_whole() {
        let long = "x".repeat(300);
        let text = format!("{long}\nA=1\n\n__CURSOR=1\nMESSAGE=b\n\n");
        let (records, _) = all(Framing::Journal, text.as_bytes(), 50);
        assert_eq!(records.len(), 2);
        assert_eq!(records[1].1, b"__CURSOR=1\nMESSAGE=b\n");
    }

    proptest! {
        /// Taken up again at any mark, the records from there on are those that were not given before it.
        #[test]
        fn reading_can_be_taken_up_again_at_every_mark(
            lines in prop::collection::vec("(t (stdout|stderr) [PF] [a-c]{0,3}|\t?[a-c\",]{0,6})", 0..30),
            kind in 0..4_usize,
            step in 1..40_usize,
        ) {
            let kind = [Framing::Lines, Framing::Csv, Framing::Cri, Framing::Indented][kind];
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let (whole, marks) = all(kind, text.as_bytes(), step);
            prop_assert_eq!(&all(kind, text.as_bytes(), text.len().max(1)).0, &whole);
            for mark in marks {
                let rest = &text.as_bytes()[mark as usize..];
                let again = all(kind, rest, rest.len().max(1)).0;
                let again: Vec<_> = again.into_iter().map(|(at, bytes)| (at + mark, bytes)).collect();
                let want: Vec<_> = whole.iter().filter(|(at, _)| *at >= mark).cloned().collect();
                prop_assert_eq!(again, want);
            }
        }
    }
}
