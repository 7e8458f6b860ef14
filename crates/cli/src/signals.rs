//! Ctrl-C and SIGTERM: the first asks for a clean end, the second ends at once. SIGHUP asks to read files again,
//! SIGUSR2 to pass everything to a new process.

use crate::exit::CliError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How often SIGHUP came.
static RELOADS: AtomicU64 = AtomicU64::new(0);

/// SIGUSR2 came and nobody has acted on it.
static UPGRADE: AtomicBool = AtomicBool::new(false);

/// Whether an upgrade was asked for by signal; once for any number of signals.
pub(crate) fn take_upgrade() -> bool {
    UPGRADE.swap(false, Ordering::Relaxed)
}

/// How often a reload was asked for by signal.
pub(crate) fn reloads() -> u64 {
    RELOADS.load(Ordering::Relaxed)
}

/// Exit code after a second signal: the end was not clean.
const IMPATIENT: i32 = 2;

/// Whether an end was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<(Mutex<bool>, Condvar)>);

impl Interrupt {
    /// Listens for signals on a thread of its own.
    pub(crate) fn install() -> Result<Interrupt, CliError> {
        let fail = |e: std::io::Error| {
            CliError::new("cannot listen for signals", e, "close other programs and try again")
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
        let (mut interrupt, mut terminate, mut hangup, mut upgrade) = {
            let _guard = runtime.enter();
            let listen = |kind| signal(kind).map_err(fail);
            (
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::hangup())?,
                listen(SignalKind::user_defined2())?,
            )
        };
        let asked = Interrupt::default();
        let ours = asked.clone();
        let listen = move || {
            runtime.block_on(async {
                let mut times = 0;
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => times += 1,
                        _ = terminate.recv() => times += 1,
                        _ = hangup.recv() => {
                            RELOADS.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        _ = upgrade.recv() => {
                            UPGRADE.store(true, Ordering::Relaxed);
                            ours.wake();
                            continue;
                        }
                    }
                    if times > 1 {
                        std::process::exit(IMPATIENT);
                    }
                    ours.ask();
                }
            });
        };
        std::thread::Builder::new().name("signals".into()).spawn(listen).map_err(fail)?;
        Ok(asked)
    }

    /// Asks for an end.
    pub(crate) fn ask(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Ends a wait without asking for an end.
    fn wake(&self) {
        self.0.1.notify_all();
    }

    /// Whether an end was asked for.
    pub(crate) fn is_asked(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until an end is asked for, at most `longest` or until an upgrade is; `true` = an end was.
    pub(crate) fn wait(&self, longest: Duration) -> bool {
        let start = Instant::now();
        let mut asked = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*asked {
            let Some(left) = longest.checked_sub(start.elapsed()) else { return false };
            asked = self.0.1.wait_timeout(asked, left).unwrap_or_else(PoisonError::into_inner).0;
            if UPGRADE.load(Ordering::Relaxed) {
                return *asked;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_when_asked_or_when_the_time_is_over() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.wait(Duration::from_millis(5)));
        interrupt.ask();
        assert!(interrupt.is_asked() && interrupt.wait(Duration::from_secs(60)));
    }
}
