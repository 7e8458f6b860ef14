//! The old process's end of the channel once the new one has the ledger: records go over, acknowledgements
//! come back.
//!
//! Invariants: what was sent and not acknowledged is told as never durable when the other process ends; a full
//! ledger there is a full socket here, so the caller waits as it would at home.

use super::channel::{self, Message};
use countersign_event::Event;
use countersign_gateway::Durable;
use countersign_ledger::Source;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most bytes of frames in one message that has more than one.
const PART_BYTES: usize = 4 << 20;

/// Who is told what became of a message's events.
enum Told {
    /// Records that are refused are owed no more.
    Owner(Source),
    /// Positions in what the caller gave: of the events that were sent, and of those that have no encoding.
    Caller { durable: Durable, sent: Vec<usize>, refused: Vec<usize> },
}

impl Told {
    fn tell(self, rejected: Option<Vec<usize>>) {
        match self {
            Told::Owner(owner) => {
                let n = rejected.map_or(0, |r| r.len() as u64);
                if n > 0 {
                    owner.folded(n);
                }
            }
            Told::Caller { durable, sent, refused } => durable(rejected.map(|there| {
                let there = there.into_iter().filter_map(|at| sent.get(at).copied());
                refused.into_iter().chain(there).collect()
            })),
        }
    }
}

#[derive(Default)]
struct State {
    sent: HashMap<u64, Told>,
    /// First sequence numbers that somebody waits for.
    numbers: HashMap<u64, u64>,
    whole: bool,
}

/// See the module's documentation.
pub(crate) struct Link {
    stream: UnixStream,
    /// Held while a message is written, so that messages do not mix.
    out: Mutex<()>,
    state: Mutex<State>,
    news: Condvar,
    up: AtomicBool,
    next: AtomicU64,
}

impl Link {
    /// Takes over the channel after [`Message::Serving`].
    pub(crate) fn new(stream: UnixStream) -> io::Result<Arc<Link>> {
        stream.set_read_timeout(None)?;
        let link = Arc::new(Link {
            stream,
            out: Mutex::default(),
            state: Mutex::default(),
            news: Condvar::new(),
            up: AtomicBool::new(true),
            next: AtomicU64::new(1),
        });
        let reading = Arc::clone(&link);
        std::thread::Builder::new().name("upgrade-link".into()).spawn(move || reading.read())?;
        Ok(link)
    }

    /// Whether the other process still takes records.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// As [`Link::is_up`], by a look at the socket itself: a process that has died is known at once, before the
    /// thread that reads comes to its turn.
    pub(crate) fn is_up_now(&self) -> bool {
        let mut byte = [0];
        let look = rustix::net::recv(&self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.is_up() && look.map_or_else(|e| e == Errno::AGAIN || e == Errno::INTR, |(n, _)| n > 0)
    }

    /// Sends events of source `at`, which are owed by `owner`.
    pub(crate) fn record(&self, at: usize, events: Vec<Event>, owner: &Source) -> io::Result<()> {
        let (mut frames, mut bytes, mut refused) = (Vec::new(), 0, 0);
        for mut event in events {
            stamp(&mut event);
            let Ok(frame) = event.encode() else {
                refused += 1;
                continue;
            };
            let frame = frame.to_bytes();
            if bytes + frame.len() > PART_BYTES && !frames.is_empty() {
                self.send_frames(at, std::mem::take(&mut frames), Told::Owner(owner.clone()), false)?;
                bytes = 0;
            }
            bytes += frame.len();
            frames.push(frame);
        }
        if refused > 0 {
            owner.folded(refused);
        }
        self.send_frames(at, frames, Told::Owner(owner.clone()), false).map(drop)
    }

    /// Sends intents of source `at`; gives the sequence number of the first. `durable` is told which are.
    pub(crate) fn record_intents(&self, at: usize, events: Vec<Event>, durable: Durable) -> io::Result<u64> {
        let (mut frames, mut sent, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (position, mut event) in events.into_iter().enumerate() {
            stamp(&mut event);
            match event.encode() {
                Ok(frame) => {
                    frames.push(frame.to_bytes());
                    sent.push(position);
                }
                Err(_) => refused.push(position),
            }
        }
        let id = self.send_frames(at, frames, Told::Caller { durable, sent, refused }, true)?;
        let mut state = self.lock();
        loop {
            if let Some(first) = state.numbers.remove(&id) {
                return Ok(first);
            }
            if !self.is_up() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Declares `n` promised events of source `at` dropped.
    pub(crate) fn dropped(&self, at: usize, n: u64) -> io::Result<()> {
        self.send(Message::Dropped { source: at, n })
    }

    /// Says that nothing more comes, and waits until all of it is durable; `false` when it is not in time.
    pub(crate) fn finish(&self, longest: Duration) -> bool {
        if self.send(Message::Finished).is_err() {
            return false;
        }
        let deadline = Instant::now() + longest;
        let mut state = self.lock();
        while !state.whole && self.is_up() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.whole
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: Message) -> io::Result<()> {
        let _turn = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        channel::send(&self.stream, message)
    }

    /// Gives the id under which the answer comes.
    fn send_frames(&self, at: usize, frames: Vec<Vec<u8>>, told: Told, numbered: bool) -> io::Result<u64> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().sent.insert(id, told);
        let result = self.send(Message::Events { source: at, id, numbered, frames });
        // When the reading thread has ended meanwhile, it may have missed this one.
        if result.is_err() || !self.is_up() {
            self.lock().sent.remove(&id);
            return Err(result.err().unwrap_or(io::ErrorKind::BrokenPipe.into()));
        }
        Ok(id)
    }

    fn read(&self) {
        while let Ok(message) = channel::receive(&self.stream) {
            match message {
                Message::Taken { id, first } => drop(self.lock().numbers.insert(id, first)),
                Message::Acked { id, rejected } => self.acked(id, rejected),
                Message::Whole => self.lock().whole = true,
                _ => break,
            }
            self.news.notify_all();
        }
        self.up.store(false, Ordering::Release);
        let lost: Vec<Told> = self.lock().sent.drain().map(|(_, told)| told).collect();
        lost.into_iter().for_each(|told| told.tell(None));
        self.news.notify_all();
    }

    fn acked(&self, id: u64, rejected: Option<Vec<usize>>) {
        let told = self.lock().sent.remove(&id);
        if let Some(told) = told {
            told.tell(rejected);
        }
    }
}

/// What the encoding requires and the ledger's own source sets anew.
fn stamp(event: &mut Event) {
    event.core.agent = "-".to_owned();
    (event.core.stream, event.core.seq, event.core.eid) = ([1; 16], 1, [1; 16]);
}
