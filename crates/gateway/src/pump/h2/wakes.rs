//! Which parts of an HTTP/2 connection have something to do. One task runs a connection with up to hundreds
//! of streams; each part has a waker of its own, so that only what was woken is polled.
//!
//! Wakers belong to slots and are used again for the next stream in the slot: a late wake costs one idle poll.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// The parts that were woken, and whom to tell.
#[derive(Default)]
pub(super) struct Hub(Mutex<State>);

#[derive(Default)]
struct State {
    ready: Vec<usize>,
    task: Option<Waker>,
    /// The task is looking at `ready` anyway.
    polling: bool,
}

/// One part.
struct Token {
    hub: Arc<Hub>,
    index: usize,
    queued: AtomicBool,
}

impl Hub {
    /// A panic between lock and unlock leaves whole values, so a poisoned lock is sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task begins to work.
    pub(super) fn enter(&self, task: &Waker) {
        let mut state = self.lock();
        state.polling = true;
        if !state.task.as_ref().is_some_and(|t| t.will_wake(task)) {
            state.task = Some(task.clone());
        }
    }

    /// The task is about to sleep; `false` = something was woken since it last looked.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.lock();
        state.polling = false;
        state.ready.is_empty()
    }

    /// Swaps what was woken into `batch`, which must be empty.
    pub(super) fn take(&self, batch: &mut Vec<usize>) {
        std::mem::swap(&mut self.lock().ready, batch);
    }
}

impl Wake for Token {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut state = self.hub.lock();
        state.ready.push(self.index);
        if !state.polling
            && let Some(task) = state.task.clone()
        {
            drop(state);
            task.wake();
        }
    }
}

/// The wakers of all parts, by index.
pub(super) struct Wakers {
    pub(super) hub: Arc<Hub>,
    tokens: Vec<(Arc<Token>, Waker)>,
}

impl Wakers {
    pub(super) fn new() -> Wakers {
        Wakers { hub: Arc::default(), tokens: Vec::new() }
    }

    /// The waker of part `index`, made when it is first asked for.
    pub(super) fn get(&mut self, index: usize) -> Waker {
        while self.tokens.len() <= index {
            let (hub, index) = (Arc::clone(&self.hub), self.tokens.len());
            let token = Arc::new(Token { hub, index, queued: AtomicBool::new(false) });
            let waker = Waker::from(Arc::clone(&token));
            self.tokens.push((token, waker));
        }
        self.tokens.get(index).map_or_else(|| Waker::noop().clone(), |(_, waker)| waker.clone())
    }

    /// Part `index` is being polled: from now on it can be woken again.
    pub(super) fn polled(&self, index: usize) {
        if let Some((token, _)) = self.tokens.get(index) {
            token.queued.store(false, Ordering::Release);
        }
    }

    pub(super) fn wake(&mut self, index: usize) {
        self.get(index).wake();
    }
}
