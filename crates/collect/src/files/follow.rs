//! One file that is followed: what was read of it, and whether it is still the same.

use super::body::Body;
use super::checkpoint::{Mark, Print};
use super::cutter::{Cutter, Framing, SNIFF_MAX, Take};
use super::{Patience, UNPACKED_MAX, WHOLE_MAX};
use crate::Keeper;
use crate::sticky::Sticky;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

/// Bytes read at once.
const READ: usize = 64 << 10;
/// Bytes that a file is known again by, at its beginning and where it was read last.
const PRINT: usize = 1_024;

/// See the module.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) mark: Mark,
    /// `None` = closed for a while.
    pub(super) body: Option<Body>,
    pub(super) packed: bool,
    framing: Framing,
    cutter: Option<Cutter>,
    /// Content that is not in a record yet, and the offset of its first byte.
    buffer: Vec<u8>,
    buffer_at: u64,
    /// The last bytes read, up to a KiB.
    tail: Vec<u8>,
    /// Length, time of change (ns) when last looked at.
    shape: (u64, i128),
    /// It may have grown since it was closed.
    pub(super) stale: bool,
    pub(super) grown: Instant,
    /// Since when no pattern leads to it.
    pub(super) gone: Option<Instant>,
    /// Everybody may write to it.
    pub(super) open_to_all: bool,
    /// All of it was read, as far as there was.
    at_end: bool,
    /// Nothing more is read of it: packed in an unknown way, broken, or too large.
    pub(super) given_up: bool,
    /// A fault of reading was told.
    pub(super) told: bool,
    /// A digest that verified says that it is as it was written.
    pub(super) proven: bool,
    /// It was held against a digest.
    judged: bool,
    /// What its records are.
    pub(super) sticky: Sticky,
    /// Given out since the last delivery.
    pub(super) touched: bool,
}

/// What became of a file since it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing, or it grew.
    Same,
    /// It is another one: cut short, or its bytes are not those that were read. So many bytes were seen and not read.
    Replaced(u64),
}

/// What a step of reading led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Go on at once.
    More,
    /// All there is was read.
    Idle,
    /// Nothing more can be read, for this reason; so many bytes of the file at least are unread.
    Broken(&'static str, u64),
}

fn print(keeper: &Keeper, end: u64, bytes: &[u8]) -> Print {
    Print { end, len: bytes.len() as u64, digest: keeper.digest(bytes).unwrap_or_default() }
}

fn shape(meta: &Metadata) -> (u64, i128) {
    (meta.len(), i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()))
}

/// Whether the file on the disk still has the bytes of `print`.
fn has(body: &Body, print: &Print, keeper: &Keeper) -> io::Result<bool> {
    if print.len == 0 {
        return Ok(true);
    }
    let bytes = body.on_disk(print.end.saturating_sub(print.len), print.len as usize)?;
    Ok(bytes.len() as u64 == print.len && keeper.digest(&bytes).unwrap_or_default() == print.digest)
}

/// Whether what `body` holds is what `mark` was made of; `false` = it is another file.
pub(super) fn resumes(mark: &Mark, body: &Body, meta: &Metadata, keeper: &Keeper) -> io::Result<bool> {
    Ok(has(body, &mark.head, keeper)?
        && (body.is_packed() || (meta.len() >= mark.tail.end && has(body, &mark.tail, keeper)?)))
}

impl Followed {
    /// A file that is read for the first time. `turn`: how many like it there were.
    pub(super) fn new(
        path: &std::path::Path,
        body: Body,
        meta: &Metadata,
        turn: u64,
        framing: Framing,
        keeper: &Keeper,
    ) -> io::Result<Followed> {
        let front = body.front(PRINT)?;
        let head = print(keeper, front.len() as u64, &front);
        let name = [
            &b"countersign file v1"[..],
            &meta.dev().to_be_bytes(),
            &meta.ino().to_be_bytes(),
            &turn.to_be_bytes(),
            &head.len.to_be_bytes(),
            &head.digest,
        ];
        let digest = keeper.digest(&name.concat()).unwrap_or_default();
        let mut id = [0; 16];
        id.copy_from_slice(digest.get(..16).unwrap_or(&[0; 16]));
        let mark = Mark {
            inode: (meta.dev(), meta.ino()),
            id,
            turn,
            head,
            seen: if body.is_packed() { 0 } else { meta.len() },
            path: path.to_owned(),
            ..Mark::default()
        };
        Ok(Followed::resumed(mark, body, meta, framing))
    }

    /// A file that was read up to its mark before.
    pub(super) fn resumed(mark: Mark, body: Body, meta: &Metadata, framing: Framing) -> Followed {
        let packed = body.is_packed();
        let begin = mark.offset.saturating_sub(PRINT as u64);
        let tail = if packed { Ok(Vec::new()) } else { body.on_disk(begin, (mark.offset - begin) as usize) };
        Followed {
            packed,
            body: Some(body),
            framing,
            cutter: None,
            buffer: Vec::new(),
            buffer_at: mark.offset,
            // One that cannot be read now is no print to know the file by.
            tail: tail.unwrap_or_default(),
            shape: if mark.done == Some(meta.len()) { shape(meta) } else { (0, 0) },
            stale: true,
            grown: Instant::now(),
            gone: None,
            open_to_all: meta.mode() & 0o002 != 0,
            at_end: false,
            given_up: false,
            told: false,
            proven: false,
            judged: false,
            sticky: Sticky::default(),
            touched: false,
            mark,
        }
    }

    /// Where the next byte is read.
    fn read_at(&self) -> u64 {
        self.buffer_at + self.buffer.len() as u64
    }

    /// Notices growth by what a directory says.
    pub(super) fn noticed(&mut self, meta: &Metadata) {
        self.stale |= shape(meta) != self.shape;
        self.open_to_all = meta.mode() & 0o002 != 0;
    }

    /// Opens it again if it was closed and may have grown. `false` = nothing to read from.
    pub(super) fn reopen(&mut self) -> io::Result<bool> {
        if self.body.is_some() {
            return Ok(true);
        }
        if !self.stale {
            return Ok(false);
        }
        let (body, meta) = Body::open(&self.mark.path)?;
        if (meta.dev(), meta.ino()) == self.mark.inode {
            self.body = Some(body);
        }
        Ok(self.body.is_some())
    }

    /// Whether it is still the file that was read so far.
    pub(super) fn change(&mut self, keeper: &Keeper) -> io::Result<Change> {
        let Some(body) = &mut self.body else { return Ok(Change::Same) };
        let meta = body.meta()?;
        let now = shape(&meta);
        self.open_to_all = meta.mode() & 0o002 != 0;
        if now == self.shape {
            return Ok(Change::Same);
        }
        let replaced =
            Change::Replaced(self.mark.seen.saturating_sub(self.buffer_at + self.buffer.len() as u64));
        if self.mark.done.take().is_some() && !self.packed {
            // It was read as a whole.
            return Ok(Change::Replaced(0));
        }
        if self.packed {
            if !has(body, &self.mark.head, keeper)? || now.0 < self.shape.0 {
                return Ok(Change::Replaced(0));
            }
            body.rewind();
        } else {
            let end = self.buffer_at + self.buffer.len() as u64;
            let tail = body.on_disk(end.saturating_sub(self.tail.len() as u64), self.tail.len())?;
            if now.0 < end || tail != self.tail || !has(body, &self.mark.head, keeper)? {
                return Ok(replaced);
            }
            self.mark.seen = now.0;
        }
        if self.mark.head.len < PRINT as u64 {
            let front = body.front(PRINT)?;
            if front.len() as u64 > self.mark.head.len {
                self.mark.head = print(keeper, front.len() as u64, &front);
            }
        }
        self.shape = now;
        self.grown = Instant::now();
        (self.stale, self.at_end, self.told) = (false, false, false);
        Ok(Change::Same)
    }

    /// Gives records of what was read, then reads more.
    pub(super) fn step(
        &mut self,
        most: usize,
        patience: &Patience,
        take: &mut Take<'_>,
    ) -> io::Result<Progress> {
        if self.given_up || self.mark.done.is_some() {
            return Ok(Progress::Idle);
        }
        if self.cutter.is_none() && !self.choose()? {
            return self.fill(patience);
        }
        let Some(cutter) = &mut self.cutter else { return Ok(Progress::Idle) };
        if cutter.is_whole() && !self.at_end {
            return self.fill(patience);
        }
        let end = cutter.is_whole() && self.at_end;
        let (taken, more) = cutter.cut(&self.buffer, self.buffer_at, end, most, take);
        self.touched = true;
        self.drop_front(taken);
        if more {
            return Ok(Progress::More);
        }
        if end || self.at_end {
            return Ok(Progress::Idle);
        }
        self.fill(patience)
    }

    /// Chooses the framing once enough is there to tell. A file that is taken up again is told by its beginning too.
    fn choose(&mut self) -> io::Result<bool> {
        let Some(body) = &mut self.body else { return Ok(false) };
        if let Some(what) = body.unreadable()? {
            self.given_up = true;
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        let mut front = vec![0; SNIFF_MAX];
        let resumed = self.mark.offset > 0;
        if resumed {
            let mut filled = 0;
            while let Some(rest) = front.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match body.read(filled as u64, rest)? {
                    0 => break,
                    read => filled += read,
                }
            }
            front.truncate(filled);
        } else {
            front.clone_from(&self.buffer);
        }
        let kind = match self.framing {
            Framing::Auto => Framing::sniff(&front, self.at_end && self.is_over()),
            given => Some(given),
        };
        let Some(kind) = kind else { return Ok(false) };
        let mut cutter = Cutter::new(kind);
        if resumed {
            cutter.prime(&front);
        }
        if cutter.is_whole() {
            // Its records are found from its beginning; those that are durable are left out.
            self.buffer.clear();
            (self.buffer_at, self.at_end) = (0, false);
        }
        self.cutter = Some(cutter);
        Ok(true)
    }

    fn is_over(&self) -> bool {
        self.packed || self.gone.is_some()
    }

    fn fill(&mut self, patience: &Patience) -> io::Result<Progress> {
        let at = self.read_at();
        let Some(body) = &mut self.body else { return Ok(Progress::Idle) };
        let whole = self.cutter.as_ref().is_some_and(Cutter::is_whole);
        if whole && self.buffer.len() > WHOLE_MAX {
            return Ok(self.give_up("it is larger than can be read as a whole"));
        }
        if self.packed && at > UNPACKED_MAX {
            return Ok(self.give_up("it unfolds to more than 16 GiB"));
        }
        let filled = self.buffer.len();
        self.buffer.resize(filled + READ, 0);
        let read = body.read(at, self.buffer.get_mut(filled..).unwrap_or_default());
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => {
                let at_rest = self.grown.elapsed() >= patience.rest || self.is_over();
                if whole && !at_rest {
                    return Ok(Progress::Idle);
                }
                self.at_end = true;
                if let (true, Some(cutter)) = (whole, &mut self.cutter) {
                    cutter.skip_to(&self.buffer, self.mark.offset);
                    return Ok(Progress::More);
                }
                // A packed file ends for good: so does its last line.
                Ok(if self.packed && self.cutter.is_none() && !self.buffer.is_empty() {
                    Progress::More
                } else {
                    Progress::Idle
                })
            }
            Ok(_) => {
                let from = self.buffer.len().saturating_sub(PRINT);
                let new = self.buffer.get(filled.max(from)..).unwrap_or_default();
                self.tail.extend_from_slice(new);
                let over = self.tail.len().saturating_sub(PRINT);
                self.tail.drain(..over);
                Ok(Progress::More)
            }
            Err(error) if self.packed => {
                let unended = error.kind() == io::ErrorKind::UnexpectedEof;
                if unended && self.grown.elapsed() < patience.rest {
                    body.rewind();
                    return Ok(Progress::Idle);
                }
                Ok(self.give_up(if unended {
                    "a packed file breaks off"
                } else {
                    "a packed file is damaged"
                }))
            }
            Err(error) => Err(error),
        }
    }

    fn give_up(&mut self, why: &'static str) -> Progress {
        self.given_up = true;
        let length = self.body.as_ref().and_then(|body| body.meta().ok()).map_or(0, |meta| meta.len());
        Progress::Broken(why, if self.packed { 0 } else { length.saturating_sub(self.buffer_at) })
    }

    fn drop_front(&mut self, taken: usize) {
        self.buffer.drain(..taken.min(self.buffer.len()));
        self.buffer_at += taken as u64;
    }

    /// Gives what has waited too long: parts of a text, the end of a line. Whether there was any.
    pub(super) fn expire(&mut self, patience: &Patience, take: &mut Take<'_>) -> bool {
        let late = self.cutter.as_mut().is_some_and(|cutter| cutter.expire(patience.partial, take));
        let quiet = !self.buffer.is_empty() && self.grown.elapsed() >= patience.unended;
        let over = self.packed && self.at_end && !self.buffer.is_empty();
        let whole = self.cutter.as_ref().is_some_and(Cutter::is_whole);
        if (quiet || over) && !whole {
            self.finish(take);
        }
        self.touched |= late;
        late || ((quiet || over) && !whole)
    }

    /// Gives everything that was read, as if nothing more came.
    pub(super) fn finish(&mut self, take: &mut Take<'_>) {
        if self.cutter.is_none() && !self.buffer.is_empty() {
            let kind = Framing::sniff(&self.buffer, true).unwrap_or(Framing::Lines);
            self.cutter = Some(Cutter::new(kind));
        }
        self.touched = true;
        let Some(cutter) = &mut self.cutter else { return };
        loop {
            let (taken, more) = cutter.cut(&self.buffer, self.buffer_at, true, usize::MAX, take);
            self.buffer.drain(..taken.min(self.buffer.len()));
            self.buffer_at += taken as u64;
            if !more {
                break;
            }
        }
        cutter.flush(take);
    }

    /// All of a file that is read as a whole, if it was not held against a digest yet.
    pub(super) fn unproven(&self) -> Option<&[u8]> {
        let whole = self.cutter.as_ref().is_some_and(Cutter::is_whole);
        (whole && self.at_end && !self.judged && !self.buffer.is_empty()).then_some(&self.buffer)
    }

    /// What came of it.
    pub(super) fn judged(&mut self, proven: bool) {
        (self.judged, self.proven) = (true, proven);
    }

    /// Everything given out is durable, but for what waits from `waits` on.
    pub(super) fn durable(&mut self, waits: Option<u64>, keeper: &Keeper) {
        let done = self.cutter.as_ref().map_or(self.buffer_at, |cutter| cutter.done_to(self.buffer_at));
        self.mark.offset = waits.map_or(done, |waits| waits.min(done)).max(self.mark.offset);
        if !self.packed {
            self.mark.tail = print(keeper, self.read_at(), &self.tail);
        }
        let once = self.packed || self.cutter.as_ref().is_some_and(Cutter::is_whole);
        if once && self.at_end && self.buffer.is_empty() && waits.is_none() {
            self.mark.done = Some(self.shape.0);
        }
        self.touched = false;
    }
}
