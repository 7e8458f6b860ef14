//! The input itself: looks, reads, delivers, and writes down how far it is.

use super::body::Body;
use super::checkpoint::{self, Mark, Print};
use super::follow::{Change, Followed, Progress};
use super::trail::Trail;
use super::{FilesError, HANDLES_MAX, LOOK_EVERY, POLL, Settings};
use crate::Input;
use crate::intake::{Item, Keys, Refusal};
use crate::joins::{Joiner, Place};
use crate::receivers::{Port, now};
use crate::sticky::Sticky;
use countersign_event::{CaptureConf, Class, Event, Kind, Outcome, Rec, Unmapped, Verified};
use countersign_ledger::GapReason;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Records and bytes that are handed to the ledger at once, about.
const BATCH: usize = 4_096;
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of one file that are read before the next one's turn.
const TURN: usize = 4 << 20;
/// How often the checkpoint is written while files grow.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How long a delivery is waited for at the end.
const GRACE: Duration = Duration::from_secs(5);
/// Field id of `body.raw`, for `content.cut`.
const RAW: u64 = 6 * 256 + 3;

/// See [`super`]. Dropped without [`Follower::close`], it leaves what a crash leaves.
#[derive(Debug)]
pub struct Follower {
    pub(super) port: Arc<Port>,
    pub(super) settings: Settings,
    pub(super) files: BTreeMap<u64, Followed>,
    pub(super) numbers: HashMap<(u64, u64), u64>,
    pub(super) next: u64,
    /// Files that are no longer there, or were not found yet.
    pub(super) away: HashMap<(u64, u64), Mark>,
    /// The patterns were expanded at least once.
    pub(super) looked: bool,
    pub(super) told_full: bool,
    batch: Batch,
    joiner: Joiner,
    pub(super) trail: Option<Trail>,
    /// Marks changed since the checkpoint was written.
    pub(super) dirty: bool,
    saved: Instant,
}

/// What waits to be delivered.
#[derive(Debug, Default)]
struct Batch {
    items: Vec<Item>,
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.items.len() >= BATCH || self.bytes >= BATCH_BYTES
    }
}

/// What records of a file are made with.
struct Desk<'a> {
    port: &'a Port,
    input: Input,
    joiner: &'a mut Joiner,
    sticky: &'a mut Sticky,
    batch: &'a mut Batch,
}

impl Desk<'_> {
    /// The file's events: `number` and `path` of its place.
    fn take(&mut self, number: u64, file: (&[u8; 16], &str), at: u64, record: &[u8], cut: bool) {
        let place = (number, at);
        self.batch.bytes += record.len();
        for (own, mut event) in self.observe(place, record) {
            if own == place {
                self.learn(&event, file.1);
            }
            if cut && own == place {
                event.content.cut.push((RAW, crate::RECORD_MAX as u64));
            }
            place_event(&mut event, file, own.1);
            self.batch.items.push(Item { key: Keys::default().next(&event), event });
        }
    }

    /// By the configured format, else by the one of the file's other records, else by whichever takes it.
    fn observe(&mut self, place: Place, record: &[u8]) -> Vec<(Place, Event)> {
        let (input, keeper, at) = (&self.input, &self.port.keeper, now());
        let usual = self.sticky.format().filter(|_| self.port.format.is_none());
        if usual.is_some() {
            let placed = self.joiner.observe_at(place, record, usual, input, keeper, at);
            let raw = |event: &Event| conf(event) == Some(CaptureConf::RawOnly);
            if !placed.iter().any(|(own, event)| *own == place && raw(event)) {
                return placed;
            }
        }
        self.joiner.observe_at(place, record, self.port.format, input, keeper, at)
    }

    /// What the file's records are is told once it is known.
    fn learn(&mut self, event: &Event, path: &str) {
        let Some(capture) = event.body.cap.as_ref().filter(|_| self.port.format.is_none()) else { return };
        if let Some(choice) = self.sticky.saw(&capture.fmt, capture.conf) {
            let mut event = told(Path::new(path), "input.detected", "");
            event.core.outcome = Some(Outcome::Success);
            choice.format.name.clone_into(&mut event.target.id);
            let score = format!("0.{:03}", choice.score.min(999));
            let score = if choice.score == 1_000 { "1".to_owned() } else { score };
            event.content.unmapped.insert("/score".to_owned(), Unmapped::Token(score));
            self.batch.items.push(Item { event, key: None });
        }
    }
}

fn conf(event: &Event) -> Option<CaptureConf> {
    event.body.cap.as_ref().and_then(|capture| capture.conf)
}

/// Says where in which file a record lies; that is also what a repeat is known by, if it has no id of its own.
fn place_event(event: &mut Event, (id, path): (&[u8; 16], &str), at: u64) {
    let capture = event.body.cap.get_or_insert_default();
    if capture.source_id.is_empty() {
        capture.source_id = format!("{}/{at}", checkpoint::hex(id));
    }
    capture.offset = Some(at);
    crate::seal::clipped(path.to_owned(), 1_024).clone_into(&mut capture.path);
}

/// Follows files until `stop` says true.
pub async fn run(mut follower: Follower, mut stop: watch::Receiver<bool>) {
    let mut round: u32 = 0;
    while !*stop.borrow() {
        let late = async {
            crate::receivers::told(&mut stop.clone()).await;
            tokio::time::sleep(GRACE).await;
        };
        let look = round.is_multiple_of(LOOK_EVERY);
        round = round.wrapping_add(1);
        let more = tokio::select! {
            more = follower.poll(look) => more,
            () = late => break,
        };
        match more {
            Ok(true) => {}
            // Either way it is time to look again.
            Ok(false) => drop(tokio::time::timeout(POLL, crate::receivers::told(&mut stop)).await),
            Err(error) => {
                tracing::error!(input = follower.port.input.name, %error, "files are no longer followed");
                break;
            }
        }
    }
    follower.close();
}

impl Follower {
    /// Takes up reading where the checkpoint says.
    ///
    /// # Errors
    /// The checkpoint cannot be read or written, or is damaged.
    pub fn open(port: Arc<Port>, settings: Settings) -> Result<Follower, FilesError> {
        let marks = checkpoint::load(&settings.checkpoint)?;
        // That it can be written is better known now.
        checkpoint::store(&settings.checkpoint, marks.iter())
            .map_err(|error| FilesError::Disk { path: settings.checkpoint.clone(), error })?;
        Ok(Follower {
            trail: settings.trail.clone().map(Trail::new),
            port,
            settings,
            files: BTreeMap::new(),
            numbers: HashMap::new(),
            next: 1,
            away: marks.into_iter().map(|mark| (mark.inode, mark)).collect(),
            looked: false,
            told_full: false,
            batch: Batch::default(),
            joiner: Joiner::default(),
            dirty: false,
            saved: Instant::now(),
        })
    }

    /// One round over all files; with `look`, patterns are expanded first. Gives whether there is more to read at once.
    /// What it read is durable when it returns, but for what waits for its rest.
    ///
    /// # Errors
    /// The ledger takes nothing any more.
    pub async fn poll(&mut self, look: bool) -> Result<bool, Refusal> {
        if look {
            self.look().await?;
        }
        let (mut more, mut late) = (false, false);
        let numbers: Vec<u64> = self.files.keys().copied().collect();
        for number in &numbers {
            more |= self.turn(*number).await?;
        }
        for number in &numbers {
            late |= self.expire(*number);
        }
        self.expire_joins();
        self.deliver().await?;
        self.end_gone(&numbers).await?;
        if self.dirty && (late || self.saved.elapsed() >= SAVE_EVERY) {
            self.save();
        }
        Ok(more)
    }

    /// Writes the last checkpoint. What waits for its rest is read again at the next start.
    pub fn close(mut self) {
        self.save();
    }

    /// Files followed and files open.
    pub fn counts(&self) -> (usize, usize) {
        (self.files.len(), self.files.values().filter(|file| file.body.is_some()).count())
    }

    fn input_for(&self, file: &Followed) -> Input {
        let mut input = self.port.input.clone();
        if file.open_to_all || (self.trail.is_some() && !file.proven) {
            // Whoever can write to it can be anybody in it.
            input.level = Verified::Claimed;
        }
        input
    }

    /// Calls `with` with a file and what its records go to.
    fn at_desk<T>(
        &mut self,
        number: u64,
        with: impl FnOnce(&mut Followed, &Settings, &mut super::cutter::Take<'_>) -> T,
    ) -> Option<T> {
        let input = self.input_for(self.files.get(&number)?);
        let file = self.files.get_mut(&number)?;
        let mut sticky = std::mem::take(&mut file.sticky);
        let (joiner, batch) = (&mut self.joiner, &mut self.batch);
        let mut desk = Desk { port: &self.port, input, joiner, sticky: &mut sticky, batch };
        let (id, path) = (file.mark.id, file.mark.path.to_string_lossy().into_owned());
        let result = with(file, &self.settings, &mut |at, record, cut| {
            desk.take(number, (&id, &path), at, record, cut);
        });
        file.sticky = sticky;
        Some(result)
    }

    /// One file's turn; whether it has more.
    async fn turn(&mut self, number: u64) -> Result<bool, Refusal> {
        if let (Some(trail), Some(file)) = (&self.trail, self.files.get(&number))
            && trail.waits(&file.mark.path)
        {
            return Ok(false);
        }
        match self.ready(number) {
            Ok(None) => return Ok(false),
            Ok(Some(Change::Same)) => {}
            Ok(Some(Change::Replaced(lost))) => {
                self.replaced(number, lost).await?;
                return Ok(true);
            }
            Err(error) => {
                self.tell_fault(number, &error);
                return Ok(false);
            }
        }
        let mut bytes = 0;
        while bytes < TURN {
            self.prove(number).await?;
            let before = self.batch.bytes;
            let step =
                self.at_desk(number, |file, settings, take| file.step(BATCH, &settings.patience, take));
            bytes += self.batch.bytes.saturating_sub(before);
            if self.batch.is_full() {
                self.deliver().await?;
            }
            match step {
                Some(Ok(Progress::More)) => {}
                None | Some(Ok(Progress::Idle)) => return Ok(false),
                Some(Ok(Progress::Broken(why, unread))) => {
                    self.deliver().await?;
                    self.lost(number, "input.unreadable", why, Some(unread)).await?;
                    return Ok(false);
                }
                Some(Err(error)) => {
                    self.tell_fault(number, &error);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Holds a file that is read as a whole against the digest that names it, once all of it is there.
    async fn prove(&mut self, number: u64) -> Result<(), Refusal> {
        let (Some(trail), Some(file)) = (&self.trail, self.files.get_mut(&number)) else { return Ok(()) };
        let Some(content) = file.unproven() else { return Ok(()) };
        let result = trail.prove(&file.mark.path, content);
        file.judged(result.is_ok());
        match result {
            Ok(()) => Ok(()),
            Err(why) => self.lost(number, "input.unproven", why, None).await,
        }
    }

    /// Opens the file if need be, within the bound, and asks whether it is still the same; `None` = nothing to do.
    fn ready(&mut self, number: u64) -> io::Result<Option<Change>> {
        let closed = self.files.get(&number).is_some_and(|file| file.body.is_none() && file.stale);
        if closed {
            self.make_room();
        }
        let Some(file) = self.files.get_mut(&number) else { return Ok(None) };
        if !file.reopen()? {
            return Ok(None);
        }
        file.change(&self.port.keeper).map(Some)
    }

    /// Closes the file that grew longest ago while there are as many open as may be.
    pub(super) fn make_room(&mut self) {
        while self.counts().1 >= HANDLES_MAX {
            let open = self.files.values_mut().filter(|file| file.body.is_some());
            let Some(oldest) = open.min_by_key(|file| file.grown) else { return };
            (oldest.body, oldest.stale) = (None, true);
        }
    }

    fn tell_fault(&mut self, number: u64, error: &io::Error) {
        let Some(file) = self.files.get_mut(&number) else { return };
        if !file.told {
            tracing::warn!(path = %file.mark.path.display(), %error, "a file cannot be read");
            file.told = true;
            let packed = error.kind() == io::ErrorKind::Unsupported;
            let event = told(&file.mark.path, "input.unreadable", &error.to_string());
            self.batch.items.push(Item { event, key: None });
            if packed {
                self.port.intake.rejected(1, "packed");
            }
        }
    }

    /// What was read of the old file is a record, what was not is declared; then the new one begins.
    async fn replaced(&mut self, number: u64, lost: u64) -> Result<(), Refusal> {
        self.at_desk(number, |file, _, take| file.finish(take));
        self.deliver().await?;
        let why = "it was cut short or replaced; what was appended since the last look is not known";
        self.lost(number, "input.truncated", why, Some(lost).filter(|lost| *lost > 0)).await?;
        let Some(file) = self.files.remove(&number) else { return Ok(()) };
        self.numbers.remove(&file.mark.inode);
        let (mark, gone) = (file.mark, file.gone);
        let body = match file.body {
            Some(body) => body,
            None => return Ok(()),
        };
        match body.meta() {
            Ok(meta) if meta.len() > 0 => {
                self.begin(&mark.path.clone(), body, &meta, Some(&mark), gone);
                self.save();
            }
            // An empty one has no identity yet; the next look finds it, as one that comes after this, whatever is in it.
            _ => {
                let head = Print { end: 1, len: 1, digest: [0; 32] };
                self.away.insert(mark.inode, Mark { gone: Some(seconds()), head, ..mark });
            }
        }
        Ok(())
    }

    /// Follows a file from its first byte. `before`: the one with the same inode.
    pub(super) fn begin(
        &mut self,
        path: &Path,
        body: Body,
        meta: &std::fs::Metadata,
        before: Option<&Mark>,
        gone: Option<Instant>,
    ) {
        let turn = before.map_or(0, |mark| mark.turn + 1);
        match Followed::new(path, body, meta, turn, self.settings.framing, &self.port.keeper) {
            Ok(mut file) => {
                file.gone = gone;
                self.add(file);
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "a file cannot be read"),
        }
    }

    pub(super) fn add(&mut self, file: Followed) {
        self.numbers.insert(file.mark.inode, self.next);
        self.files.insert(self.next, file);
        self.next += 1;
        self.dirty = true;
    }

    /// Declares what was lost of a file: a GAP where something was, and an event that says what is known.
    pub(super) async fn lost(
        &mut self,
        number: u64,
        op: &str,
        why: &str,
        bytes: Option<u64>,
    ) -> Result<(), Refusal> {
        let Some(file) = self.files.get(&number) else { return Ok(()) };
        let path = file.mark.path.clone();
        self.declare(&path, op, why, bytes).await
    }

    /// See [`Follower::lost`].
    pub(super) async fn declare(
        &mut self,
        path: &Path,
        op: &str,
        why: &str,
        bytes: Option<u64>,
    ) -> Result<(), Refusal> {
        let mut text = why.to_owned();
        if let Some(bytes) = bytes {
            // How many records that were is not known; the event gives the bytes.
            self.port.intake.lost(1, GapReason::Unexplained)?;
            text = format!("{why}; {bytes} bytes that were there are lost");
        }
        tracing::warn!(path = %path.display(), op, "{text}");
        self.batch.items.push(Item { event: told(path, op, &text), key: None });
        self.deliver().await
    }

    /// Makes durable what waits, and moves the marks of the files it came from.
    async fn deliver(&mut self) -> Result<(), Refusal> {
        let Batch { items, bytes } = std::mem::take(&mut self.batch);
        if !items.is_empty() {
            let room = self.port.intake.wait_room(bytes as u64).await?;
            self.port.intake.record_patiently(items, room).await?;
        }
        let mut waits: HashMap<u64, u64> = HashMap::new();
        for (number, at) in self.joiner.places() {
            let least = waits.entry(number).or_insert(at);
            *least = at.min(*least);
        }
        for (number, file) in self.files.iter_mut().filter(|(_, file)| file.touched) {
            let before = (file.mark.offset, file.mark.tail);
            file.durable(waits.get(number).copied(), &self.port.keeper);
            self.dirty |= before != (file.mark.offset, file.mark.tail);
        }
        Ok(())
    }

    fn expire(&mut self, number: u64) -> bool {
        let late = self.at_desk(number, |file, settings, take| file.expire(&settings.patience, take));
        late.unwrap_or(false)
    }

    /// First parts whose last one has not come in time.
    fn expire_joins(&mut self) {
        let placed = self.joiner.expire_at(&self.port.input, &self.port.keeper, now());
        let mut freed: Vec<u64> = Vec::new();
        for ((number, at), mut event) in placed {
            if let Some(file) = self.files.get(&number) {
                place_event(&mut event, (&file.mark.id, &file.mark.path.to_string_lossy()), at);
            }
            freed.push(number);
            self.batch.items.push(Item { key: Keys::default().next(&event), event });
        }
        for number in freed {
            if let Some(file) = self.files.get_mut(&number) {
                file.touched = true;
            }
        }
    }

    /// Ends files that no path leads to and that do not grow any more.
    async fn end_gone(&mut self, numbers: &[u64]) -> Result<(), Refusal> {
        for number in numbers {
            let patience = self.settings.patience.gone;
            let over = self.files.get(number).is_some_and(|file| {
                file.gone.is_some_and(|since| since.elapsed() >= patience) && file.grown.elapsed() >= patience
            });
            if !over {
                continue;
            }
            self.at_desk(*number, |file, _, take| file.finish(take));
            self.deliver().await?;
            // Parts that wait for others hold it.
            if self.joiner.places().any(|(file, _): Place| file == *number) {
                continue;
            }
            if let Some(file) = self.files.remove(number) {
                self.numbers.remove(&file.mark.inode);
                self.away.insert(file.mark.inode, Mark { gone: Some(seconds()), ..file.mark });
                self.dirty = true;
            }
        }
        Ok(())
    }

    /// Writes the checkpoint. One that cannot be written is tried again: until then a crash leads to more repeats.
    pub(super) fn save(&mut self) {
        let now = seconds();
        self.away.retain(|_, mark| mark.gone.is_none_or(|at| now < at.saturating_add(checkpoint::GONE_KEPT)));
        let marks = self.files.values().map(|file| &file.mark).chain(self.away.values());
        match checkpoint::store(&self.settings.checkpoint, marks) {
            Ok(()) => self.dirty = false,
            Err(error) => {
                tracing::error!(path = %self.settings.checkpoint.display(), %error, "a checkpoint was not written");
            }
        }
        self.saved = Instant::now();
    }
}

/// Our clock, s since 1970.
pub(super) fn seconds() -> u64 {
    now() / 1_000_000_000
}

/// Something that happened to an input of files, not a record of one.
fn told(path: &Path, op: &str, why: &str) -> Event {
    let mut event = Event::default();
    event.core.t_obs = now();
    event.core.rec = Some(Rec::Platform);
    event.core.kind = Some(Kind::Lifecycle);
    event.core.class = Some(Class::Admin);
    event.core.outcome = Some(Outcome::ServerError);
    op.clone_into(&mut event.core.op);
    "countersign".clone_into(&mut event.target.svc);
    event.target.res = crate::seal::clipped(path.to_string_lossy().into_owned(), 1_024);
    event.content.err = crate::seal::clipped(why.to_owned(), 1_024);
    event
}
