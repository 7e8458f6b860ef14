//! What an edge sends to its core, and the answer: the bodies of `POST /v1/edge`.
//!
//! Numbers are big-endian. A batch names the log that it comes from, the runs (streams) whose records it holds, and
//! the records in the order of that log:
//!
//! | part of a batch | bytes |
//! |---|---|
//! | magic, version | `CSNEDGE`, u8 1 |
//! | origin of the edge's log | u16 length, text |
//! | leaves of that log which it covers | u64 first, u64 end |
//! | runs | u16 count; each u16 length and agent, 16 bytes stream |
//! | records | u32 count; each u8 kind, u16 run, u64 seq, u32 length and content |
//!
//! | kind | seq | content |
//! |---|---|---|
//! | 1 event | its number | the canonical frame (`docs/reference/fields.md`), as committed at the edge |
//! | 3 end | last number | the SOURCE_CKPT or GAP body that ended the run at the edge |
//! | 4 gap | first missing number | the GAP body of the edge's log (`docs/reference/data-directory.md`) |
//!
//! A batch without records asks. Every success is answered by marks: `CSNMARK`, u8 1 · u16 length and the core's
//! origin · u64 its size · u16 count · each 16 bytes stream, u64 the last number that is durable at the core.
//!
//! Only the form: what it means, and who may send it, is `countersign-collect`'s. Not a stream: the HTTP layer says
//! where a body ends, and one that is cut is refused. Invariants: nothing is kept that was not there; a count is
//! never believed for an allocation beyond the bytes that could hold it; what is read writes back as it was.

use std::collections::HashMap;

/// Where batches are sent.
pub const PATH: &str = "/v1/edge";
/// Media type of both bodies.
pub const MEDIA_TYPE: &str = "application/vnd.countersign.edge";
/// Version of both bodies.
pub const VERSION: u8 = 1;
/// Largest batch, bytes.
pub const BATCH_MAX: usize = 8 << 20;
/// Most records of one batch.
pub const RECORDS_MAX: usize = 4_096;
/// Most runs of one batch, and marks of one answer.
pub const STREAMS_MAX: usize = 1_024;
/// Longest origin of a log, bytes.
pub const ORIGIN_MAX: usize = 1_024;
/// Longest agent, bytes.
pub const AGENT_MAX: usize = 256;
/// Largest answer, bytes.
pub const MARKS_MAX: usize = 64 << 10;

const BATCH: &[u8; 7] = b"CSNEDGE";
const MARKS: &[u8; 7] = b"CSNMARK";
/// Fewest bytes of a run and of a record.
const STREAM_MIN: usize = 2 + 16;
const RECORD_MIN: usize = 1 + 2 + 8 + 4;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An event frame.
    Event = 1,
    /// The run has ended.
    End = 3,
    /// A named loss.
    Gap = 4,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Event, Kind::End, Kind::Gap].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A run of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream<'a> {
    /// Agent of its events.
    pub agent: &'a str,
    /// Its number.
    pub stream: [u8; 16],
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is.
    pub kind: Kind,
    /// Place of its run in [`Batch::streams`].
    pub run: usize,
    /// Sequence number in its run.
    pub seq: u64,
    /// See the table of the module.
    pub content: &'a [u8],
}

/// A batch, borrowed from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Origin of the edge's log.
    pub origin: &'a str,
    /// First leaf of that log which the batch covers.
    pub first: u64,
    /// One past the last.
    pub end: u64,
    /// Runs, each once.
    pub streams: Vec<Stream<'a>>,
    /// Records, in the order of the log.
    pub records: Vec<Record<'a>>,
}

/// What a core has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Origin of the core's log.
    pub origin: String,
    /// Durable leaves of the core's log.
    pub size: u64,
    /// Last durable number of each run that was asked about; 0 = none.
    pub marks: Vec<([u8; 16], u64)>,
}

/// Why bytes are no batch or no marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Another magic: something else speaks.
    #[error("it is no message of an edge")]
    Magic,
    /// A version that is not known here.
    #[error(
        "it has version {0}, and only version 1 is known: the newer of the two programs must be the core"
    )]
    Version(u8),
    /// It ends too early.
    #[error("it ends too early, in its {0}")]
    Short(&'static str),
    /// Something lies behind its end.
    #[error("bytes follow its end")]
    Long,
    /// A bound is exceeded.
    #[error("its {0} is beyond the bound")]
    Bound(&'static str),
    /// A text is no UTF-8, a run is named twice or not at all, a kind is unknown, a range runs backwards.
    #[error("its {0} is out of form")]
    Form(&'static str),
}

/// Takes bytes from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], Fault> {
        let (front, rest) = self.0.split_at_checked(n).ok_or(Fault::Short(what))?;
        self.0 = rest;
        Ok(front)
    }
    fn fixed<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Fault> {
        let (front, rest) = self.0.split_first_chunk::<N>().ok_or(Fault::Short(what))?;
        self.0 = rest;
        Ok(*front)
    }
    fn u16(&mut self, what: &'static str) -> Result<usize, Fault> {
        Ok(usize::from(u16::from_be_bytes(self.fixed(what)?)))
    }
    fn u64(&mut self, what: &'static str) -> Result<u64, Fault> {
        Ok(u64::from_be_bytes(self.fixed(what)?))
    }
    fn text(&mut self, max: usize, what: &'static str) -> Result<&'a str, Fault> {
        let len = self.u16(what)?;
        if len > max {
            return Err(Fault::Bound(what));
        }
        std::str::from_utf8(self.take(len, what)?).map_err(|_| Fault::Form(what))
    }
    /// A count of things of at least `min` bytes each.
    fn count(&self, count: usize, max: usize, min: usize, what: &'static str) -> Result<usize, Fault> {
        match count {
            n if n > max => Err(Fault::Bound(what)),
            n if n.saturating_mul(min) > self.0.len() => Err(Fault::Short(what)),
            n => Ok(n),
        }
    }
    fn head(&mut self, magic: &[u8; 7]) -> Result<(), Fault> {
        if self.fixed::<7>("magic")? != *magic {
            return Err(Fault::Magic);
        }
        match self.fixed("version")? {
            [VERSION] => Ok(()),
            [other] => Err(Fault::Version(other)),
        }
    }
    fn end(self) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(Fault::Long) }
    }
}

impl<'a> Batch<'a> {
    /// Reads a whole body, in time linear in its length.
    ///
    /// # Errors
    /// Where and why it is out of form.
    pub fn parse(bytes: &'a [u8]) -> Result<Batch<'a>, Fault> {
        if bytes.len() > BATCH_MAX {
            return Err(Fault::Bound("length"));
        }
        let mut bytes = Bytes(bytes);
        bytes.head(BATCH)?;
        let origin = bytes.text(ORIGIN_MAX, "origin")?;
        let (first, end) = (bytes.u64("range")?, bytes.u64("range")?);
        if first > end {
            return Err(Fault::Form("range"));
        }
        let count = bytes.u16("count of runs")?;
        let count = bytes.count(count, STREAMS_MAX, STREAM_MIN, "count of runs")?;
        let mut streams: Vec<Stream<'_>> = Vec::with_capacity(count);
        let mut known = std::collections::HashSet::with_capacity(count);
        for _ in 0..count {
            let agent = bytes.text(AGENT_MAX, "agent")?;
            let stream: [u8; 16] = bytes.fixed("run")?;
            if agent.is_empty() || !known.insert(stream) {
                return Err(Fault::Form("run"));
            }
            streams.push(Stream { agent, stream });
        }
        let count = u32::from_be_bytes(bytes.fixed("count of records")?);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let count = bytes.count(count, RECORDS_MAX, RECORD_MIN, "count of records")?;
        let mut records = Vec::with_capacity(count);
        for _ in 0..count {
            let [kind] = bytes.fixed("record")?;
            let kind = Kind::from_byte(kind).ok_or(Fault::Form("kind of a record"))?;
            let run = bytes.u16("record")?;
            if run >= streams.len() {
                return Err(Fault::Form("run of a record"));
            }
            let seq = bytes.u64("record")?;
            let len = u32::from_be_bytes(bytes.fixed("record")?);
            let content = bytes.take(usize::try_from(len).unwrap_or(usize::MAX), "record")?;
            records.push(Record { kind, run, seq, content });
        }
        bytes.end()?;
        Ok(Batch { origin, first, end, streams, records })
    }
}

/// Builds the bytes of a batch within the bounds.
#[derive(Debug)]
pub struct Builder {
    origin: String,
    first: u64,
    runs: HashMap<[u8; 16], u16>,
    streams: Vec<u8>,
    records: Vec<u8>,
    count: u32,
}

impl Builder {
    /// A batch of the log `origin`, from leaf `first` on. An origin beyond [`ORIGIN_MAX`] is cut to nothing.
    pub fn new(origin: &str, first: u64) -> Builder {
        let origin = if origin.len() <= ORIGIN_MAX { origin.to_owned() } else { String::new() };
        Builder { origin, first, runs: HashMap::new(), streams: Vec::new(), records: Vec::new(), count: 0 }
    }

    /// Names a run; records of it may follow. `false` = there is no room, or its agent is beyond the bound.
    pub fn stream(&mut self, agent: &str, stream: [u8; 16]) -> bool {
        if self.runs.contains_key(&stream) {
            return true;
        }
        let (Ok(len), Ok(number)) = (u16::try_from(agent.len()), u16::try_from(self.runs.len())) else {
            return false;
        };
        if agent.is_empty() || agent.len() > AGENT_MAX || self.runs.len() >= STREAMS_MAX {
            return false;
        }
        self.runs.insert(stream, number);
        self.streams.extend_from_slice(&len.to_be_bytes());
        self.streams.extend_from_slice(agent.as_bytes());
        self.streams.extend_from_slice(&stream);
        true
    }

    /// Adds a record of a run that was named. `false` = there is no room for it, or its run was not named.
    pub fn push(&mut self, kind: Kind, stream: &[u8; 16], seq: u64, content: &[u8]) -> bool {
        let (Some(run), Ok(len)) = (self.runs.get(stream), u32::try_from(content.len())) else {
            return false;
        };
        let more = self.len().saturating_add(RECORD_MIN).saturating_add(content.len());
        if more > BATCH_MAX || self.count as usize >= RECORDS_MAX {
            return false;
        }
        self.records.push(kind as u8);
        self.records.extend_from_slice(&run.to_be_bytes());
        self.records.extend_from_slice(&seq.to_be_bytes());
        self.records.extend_from_slice(&len.to_be_bytes());
        self.records.extend_from_slice(content);
        self.count += 1;
        true
    }

    /// Bytes of the batch as it is now.
    pub fn len(&self) -> usize {
        BATCH.len() + 1 + 2 + self.origin.len() + 16 + 2 + self.streams.len() + 4 + self.records.len()
    }

    /// Whether it has no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Records so far.
    pub fn records(&self) -> u32 {
        self.count
    }

    /// The batch, which covers leaves up to `end`.
    pub fn finish(&self, end: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        head(&mut out, BATCH, &self.origin);
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&end.max(self.first).to_be_bytes());
        // At most `STREAMS_MAX` runs.
        out.extend_from_slice(&u16::try_from(self.runs.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(&self.streams);
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.records);
        out
    }
}

fn head(out: &mut Vec<u8>, magic: &[u8; 7], origin: &str) {
    out.extend_from_slice(magic);
    out.push(VERSION);
    out.extend_from_slice(&u16::try_from(origin.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(origin.as_bytes());
}

impl Marks {
    /// The bytes; `None` beyond [`STREAMS_MAX`] or [`ORIGIN_MAX`].
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let count = u16::try_from(self.marks.len()).ok().filter(|_| self.marks.len() <= STREAMS_MAX)?;
        if self.origin.len() > ORIGIN_MAX {
            return None;
        }
        let mut out = Vec::new();
        head(&mut out, MARKS, &self.origin);
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        for (stream, seq) in &self.marks {
            out.extend_from_slice(stream);
            out.extend_from_slice(&seq.to_be_bytes());
        }
        Some(out)
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    /// Where and why it is out of form.
    pub fn parse(bytes: &[u8]) -> Result<Marks, Fault> {
        if bytes.len() > MARKS_MAX {
            return Err(Fault::Bound("length"));
        }
        let mut bytes = Bytes(bytes);
        bytes.head(MARKS)?;
        let origin = bytes.text(ORIGIN_MAX, "origin")?.to_owned();
        let size = bytes.u64("size")?;
        let count = bytes.u16("count of marks")?;
        let count = bytes.count(count, STREAMS_MAX, 24, "count of marks")?;
        let mut marks = Vec::with_capacity(count);
        for _ in 0..count {
            marks.push((bytes.fixed("mark")?, bytes.u64("mark")?));
        }
        bytes.end()?;
        Ok(Marks { origin, size, marks })
    }
}
