//! Server-sent events: the stream format of WHATWG HTML section 9.2.6, read as it comes.
//!
//! Not a client: nothing reconnects, and data is handed on in the spans in which it came, never gathered.
//! Invariants: linear time; what is kept of an event is its name and id, each within a bound; any split of
//! the bytes gives the same events and the same data.

use memchr::memchr2;

/// Longest event name that is kept, bytes.
pub const NAME_MAX: usize = 128;
/// Longest event id that is kept, bytes.
pub const ID_MAX: usize = 1_024;
/// Longest field name that means something: `event`, and one byte to tell longer ones.
const FIELD_MAX: usize = 6;
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Takes what a [`Reader`] finds.
pub trait Events {
    /// Content of the current event's data; lines are joined by one line feed.
    fn data(&mut self, bytes: &[u8]);
    /// The event ended, and it had data.
    fn event(&mut self, event: &Event<'_>);
}

/// What is known of an event at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its type; empty = `message`.
    pub name: &'a [u8],
    /// The last id that the stream gave, by then.
    pub id: &'a [u8],
    /// Bytes of its data.
    pub size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of the stream, so many bytes of a byte order mark seen.
    Start(usize),
    Line,
    Field,
    /// After the colon: one space may follow.
    Space,
    Value,
    /// Up to the end of the line.
    Comment,
}

/// `retry` is for clients that reconnect: it counts as any other field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Data,
    Name,
    Id,
    Other,
}

/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// The last byte was CR: an LF now belongs to it.
    cr: bool,
    field: Vec<u8>,
    kind: Field,
    name: Vec<u8>,
    id: Vec<u8>,
    /// The id of the event so far; it counts when the line is complete.
    new_id: Vec<u8>,
    lines: u64,
    size: u64,
    events: u64,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            state: State::Start(0),
            cr: false,
            field: Vec::new(),
            kind: Field::Other,
            name: Vec::new(),
            id: Vec::new(),
            new_id: Vec::new(),
            lines: 0,
            size: 0,
            events: 0,
        }
    }
}

impl Reader {
    /// Reads on.
    pub fn feed(&mut self, bytes: &[u8], to: &mut dyn Events) {
        let mut at = 0;
        while let Some(front) = bytes.get(at..)
            && let Some(first) = front.first()
        {
            at += match self.state {
                State::Start(n) => self.start(n, *first, to),
                State::Line | State::Field | State::Space => self.byte(*first, to),
                State::Value | State::Comment => self.span(front, to),
            };
        }
    }

    /// Events that ended and had data.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Whether an event has begun and not ended: at the end of the stream it is void (section 9.2.6).
    pub fn is_open(&self) -> bool {
        self.lines > 0
    }

    /// The last id that the stream gave.
    pub fn last_id(&self) -> &[u8] {
        &self.id
    }

    fn start(&mut self, n: usize, b: u8, to: &mut dyn Events) -> usize {
        if BOM.get(n) == Some(&b) {
            self.state = if n == 2 { State::Line } else { State::Start(n + 1) };
            return 1;
        }
        self.state = State::Line;
        // Part of a mark that was none belongs to the first field's name.
        let seen = BOM.get(..n).unwrap_or_default();
        for b in seen {
            self.byte(*b, to);
        }
        0
    }

    fn byte(&mut self, b: u8, to: &mut dyn Events) -> usize {
        if self.cr && b == b'\n' && self.state == State::Line {
            self.cr = false;
            return 1;
        }
        self.cr = false;
        match (self.state, b) {
            (State::Line, b'\r' | b'\n') => {
                self.dispatch(to);
                self.cr = b == b'\r';
            }
            (State::Line, b':') => self.state = State::Comment,
            (State::Line, _) => {
                self.field.clear();
                self.field.push(b);
                self.state = State::Field;
            }
            (State::Field, b':') => {
                self.begin(to);
                self.state = State::Space;
            }
            (State::Field, b'\r' | b'\n') => {
                self.begin(to);
                self.line_ends(b);
            }
            (State::Field, _) => {
                if self.field.len() < FIELD_MAX {
                    self.field.push(b);
                }
            }
            (_, b' ') => self.state = State::Value,
            (_, b'\r' | b'\n') => self.line_ends(b),
            _ => {
                self.state = State::Value;
                return 0;
            }
        }
        1
    }

    fn begin(&mut self, to: &mut dyn Events) {
        self.kind = match self.field.as_slice() {
            b"data" => Field::Data,
            b"event" => Field::Name,
            b"id" => Field::Id,
            _ => Field::Other,
        };
        match self.kind {
            Field::Data => {
                if self.lines > 0 {
                    to.data(b"\n");
                    self.size += 1;
                }
                self.lines += 1;
            }
            Field::Name => self.name.clear(),
            Field::Id => self.new_id.clear(),
            Field::Other => {}
        }
    }

    fn span(&mut self, front: &[u8], to: &mut dyn Events) -> usize {
        let end = memchr2(b'\r', b'\n', front).unwrap_or(front.len());
        let span = front.get(..end).unwrap_or_default();
        if self.state == State::Value && !span.is_empty() {
            match self.kind {
                Field::Data => {
                    self.size += span.len() as u64;
                    to.data(span);
                }
                Field::Name => keep(&mut self.name, span, NAME_MAX),
                Field::Id => keep(&mut self.new_id, span, ID_MAX),
                Field::Other => {}
            }
        }
        match front.get(end) {
            None => end,
            Some(b) => {
                if self.state == State::Comment {
                    self.kind = Field::Other;
                }
                self.line_ends(*b);
                end + 1
            }
        }
    }

    fn line_ends(&mut self, b: u8) {
        // An id with a NUL is ignored.
        if self.kind == Field::Id && !self.new_id.contains(&0) {
            std::mem::swap(&mut self.id, &mut self.new_id);
        }
        self.kind = Field::Other;
        self.cr = b == b'\r';
        self.state = State::Line;
    }

    /// A blank line.
    fn dispatch(&mut self, to: &mut dyn Events) {
        if self.lines > 0 {
            self.events += 1;
            to.event(&Event { name: &self.name, id: &self.id, size: self.size });
        }
        self.name.clear();
        self.lines = 0;
        self.size = 0;
    }
}

fn keep(place: &mut Vec<u8>, bytes: &[u8], max: usize) {
    let room = max.saturating_sub(place.len());
    place.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq)]
    struct All(Vec<(String, String, String)>, Vec<u8>);

    impl Events for All {
        fn data(&mut self, bytes: &[u8]) {
            self.1.extend_from_slice(bytes);
        }
        fn event(&mut self, event: &Event<'_>) {
            let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
            let data = std::mem::take(&mut self.1);
            self.0.push((text(event.name), text(event.id), text(&data)));
        }
    }

    fn read(bytes: &[u8]) -> Vec<(String, String, String)> {
        let mut all = All::default();
        Reader::default().feed(bytes, &mut all);
        all.0
    }

    fn event(name: &str, id: &str, data: &str) -> (String, String, String) {
        (name.to_owned(), id.to_owned(), data.to_owned())
    }

    #[test]
    fn reads_the_examples_of_the_specification() {
        let stream =
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
        let wanted =
            [event("", "1", "first event"), event("", "", "second event"), event("", "", " third event")];
        assert_eq!(read(stream), wanted);
        assert_eq!(read(b"data\n\ndata\ndata\n\ndata:"), [event("", "", ""), event("", "", "\n")]);
        assert_eq!(read(b"data:test\n\ndata: test\n\n"), [event("", "", "test"), event("", "", "test")]);
        let stocks = b"data: YHOO\ndata: +2\ndata: 10\n\n";
        assert_eq!(read(stocks), [event("", "", "YHOO\n+2\n10")]);
    }

    #[test]
    fn ends_lines_at_cr_lf_and_both_and_drops_a_byte_order_mark() {
        let wanted = [event("a", "7", "1\n2")];
        for end in ["\n", "\r", "\r\n"] {
            let lines = ["\u{feff}event: a", "id: 7", "data: 1", "data: 2", "", ""];
            assert_eq!(read(lines.join(end).as_bytes()), wanted, "{end:?}");
        }
        assert_eq!(read(b"\xef\xbbdata: 1\n\n"), []);
        assert_eq!(read("data: \u{feff}1\n\n".as_bytes()), [event("", "", "\u{feff}1")]);
    }

    #[test]
    fn an_event_without_data_or_end_is_none_but_its_id_stays() {
        let mut all = All::default();
        let mut reader = Reader::default();
        reader.feed(b"event: x\nid: 9\n\nid: a\0b\ndata: 1", &mut all);
        assert_eq!((reader.events(), reader.is_open(), reader.last_id()), (0, true, &b"9"[..]));
        assert_eq!(all.0, []);
    }

    #[test]
    fn longer_names_are_other_fields() {
        assert_eq!(read(b"dataX: 1\neventeventevent: 2\ndata: 3\n\n"), [event("", "", "3")]);
    }
}
