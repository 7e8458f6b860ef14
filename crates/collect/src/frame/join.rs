//! Lines that belong together: what a container runtime cut, what goes on behind a tab, a header and its lines.
//!
//! Lines in, records out: the lines of one text, as they came, with LF between. The two output streams of a
//! container are joined apart, for they interleave. What never ends comes out at [`RECORD_MAX`] bytes or when the
//! caller's patience does ([`Join::flush`]); its parser then says `partial`.

use super::RECORD_MAX;

/// Longest header of a Zeek log, bytes.
const HEADER_MAX: usize = 64 << 10;

/// How the parts are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// `TIME STREAM TAGS TEXT`: the tag `P` says that more follows (Kubernetes, "CRI container log format").
    Cri,
    /// `{"log":"TEXT","stream":…,"time":…}`: a text without a line break at its end goes on (docker, `json-file`).
    Docker,
    /// A line that begins with a tab belongs to the one before: PostgreSQL's text log. So a line waits for the next.
    Indented,
    /// Zeek: each line of data comes out behind the lines of its header, which begin with `#`.
    Zeek,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Join {
    runtime: Runtime,
    /// Of stdout and of stderr.
    pending: [Vec<u8>; 2],
    /// Where the first line of each begins, as the caller counts.
    begun: [u64; 2],
}

impl Join {
    /// With nothing pending.
    pub fn new(runtime: Runtime) -> Join {
        Join { runtime, pending: [Vec::new(), Vec::new()], begun: [0; 2] }
    }

    /// Takes one line and calls `out` for each record that is whole now.
    pub fn push(&mut self, line: &[u8], out: &mut dyn FnMut(&[u8])) {
        self.push_at(0, line, &mut |_, record| out(record));
    }

    /// As [`Join::push`], of a line that begins at `at`; `out` is told where its record begins.
    pub fn push_at(&mut self, at: u64, line: &[u8], out: &mut dyn FnMut(u64, &[u8])) {
        let (stream, more) = match self.runtime {
            Runtime::Cri => cri(line),
            Runtime::Docker => docker(line),
            Runtime::Indented => return self.indented(at, line, out),
            Runtime::Zeek => return self.zeek(at, line, out),
        };
        let begun = &mut self.begun[usize::from(stream)];
        let pending = &mut self.pending[usize::from(stream)];
        if pending.is_empty() && !more {
            return out(at, line);
        }
        if pending.len() + line.len() >= RECORD_MAX && !pending.is_empty() {
            out(*begun, pending);
            pending.clear();
        }
        if pending.is_empty() {
            *begun = at;
        } else {
            pending.push(b'\n');
        }
        pending.extend_from_slice(line);
        if !more || pending.len() >= RECORD_MAX {
            out(*begun, pending);
            pending.clear();
        }
    }

    fn indented(&mut self, at: u64, line: &[u8], out: &mut dyn FnMut(u64, &[u8])) {
        let ([pending, _], [begun, _]) = (&mut self.pending, &mut self.begun);
        let goes_on = line.first() == Some(&b'\t') && !pending.is_empty();
        if goes_on && pending.len() + line.len() < RECORD_MAX {
            pending.push(b'\n');
            return pending.extend_from_slice(line);
        }
        if !pending.is_empty() {
            out(*begun, pending);
            pending.clear();
        }
        *begun = at;
        pending.extend_from_slice(line);
    }

    /// The header is the first of the two, and stays when the rest is given out.
    fn zeek(&mut self, at: u64, line: &[u8], out: &mut dyn FnMut(u64, &[u8])) {
        let [header, record] = &mut self.pending;
        if line.starts_with(b"#") {
            if line.starts_with(b"#separator") || header.len() + line.len() > HEADER_MAX {
                header.clear();
            }
            header.extend_from_slice(line);
            return header.push(b'\n');
        }
        record.extend_from_slice(header);
        record.extend_from_slice(line);
        record.truncate(RECORD_MAX);
        out(at, record);
        record.clear();
    }

    /// Gives out what waits for its end: after 5 s, at the end of a file. A header is not what waits.
    pub fn flush(&mut self, out: &mut dyn FnMut(&[u8])) {
        self.flush_at(&mut |_, record| out(record));
    }

    /// As [`Join::flush`]; `out` is told where each record begins.
    pub fn flush_at(&mut self, out: &mut dyn FnMut(u64, &[u8])) {
        if self.runtime == Runtime::Zeek {
            return;
        }
        for (pending, begun) in self.pending.iter_mut().zip(self.begun) {
            if !pending.is_empty() {
                out(begun, pending);
                pending.clear();
            }
        }
    }

    /// Where the earliest line that waits begins; `None` = none waits. A header is not what waits.
    pub fn waits_from(&self) -> Option<u64> {
        if self.runtime == Runtime::Zeek {
            return None;
        }
        let waiting = self.pending.iter().zip(self.begun).filter(|(pending, _)| !pending.is_empty());
        waiting.map(|(_, begun)| begun).min()
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.pending.iter().map(Vec::len).sum()
    }
}

/// Whether the line is of stderr, and whether more follows. A line of another form is whole.
fn cri(line: &[u8]) -> (bool, bool) {
    let mut words = line.splitn(4, |b| *b == b' ').skip(1);
    let (Some(stream), Some(tags)) = (words.next(), words.next()) else { return (false, false) };
    let known = matches!(stream, b"stdout" | b"stderr");
    (stream == b"stderr", known && tags.split(|b| *b == b':').next() == Some(b"P"))
}

/// As [`cri`]. A quotation mark inside the text is escaped, so what is looked for is never part of it.
fn docker(line: &[u8]) -> (bool, bool) {
    let Some(at) = memchr::memmem::find(line, b"\",\"stream\":\"") else { return (false, false) };
    let (text, rest) = line.split_at(at);
    let slashes =
        text.strip_suffix(b"n").map_or(0, |text| text.iter().rev().take_while(|b| **b == b'\\').count());
    (rest.starts_with(b"\",\"stream\":\"stderr\""), slashes % 2 == 0)
}
