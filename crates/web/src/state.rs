//! What every handler shares.

use crate::api::Desk;
use crate::error::WebError;
use crate::hub::TailHub;
use crate::login::Logins;
use countersign_event::Principal;
use countersign_ledger::{Clock, Ledger, Source, SystemClock};
use countersign_store::Store;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::problem::Problem;

/// Queries of one viewer that run at once.
pub(crate) const RUNNING_MAX: usize = 4;
/// Queries of one viewer that wait for their turn.
pub(crate) const WAITING_MAX: usize = 16;
/// Live tails in the process.
pub(crate) const TAILS_MAX: usize = 64;
/// Live tails of one viewer.
pub(crate) const TAILS_EACH_MAX: usize = 4;
/// Viewers whose gates are kept; more than sessions and local users together.
const VIEWERS_MAX: usize = 256;

/// Called with a new sign-in link, to show it where only the operator looks: the terminal.
pub type Announce = Arc<dyn Fn(&str) + Send + Sync>;

/// Asked whether records are taken: the word for it, and, where they are not, the cause.
pub type Recording = Arc<dyn Fn() -> (&'static str, Option<&'static str>) + Send + Sync>;

/// What may be chosen.
#[derive(Clone, Default)]
pub struct WebOptions {
    /// Everything shown comes from the demo: every page carries the word.
    pub demo: bool,
    /// Where a link that somebody asked for is printed; without it, asking is refused.
    pub announce: Option<Announce>,
    /// The gateway's own word on whether it records; without it, there is no gateway here.
    pub recording: Option<Recording>,
    /// Who answers about alerts and acts on them; without it, none are delivered here.
    pub desk: Option<Arc<dyn Desk>>,
}

impl std::fmt::Debug for WebOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebOptions").field("demo", &self.demo).finish_non_exhaustive()
    }
}

/// Handles to everything an answer needs. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// The inside of [`AppState`].
pub struct Shared {
    pub(crate) ledger: Ledger,
    pub(crate) store: Store,
    pub(crate) hub: TailHub,
    /// Reading is recorded through it.
    pub(crate) source: Source,
    pub(crate) options: WebOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) logins: Logins,
    /// Turns true when the server closes: streams end with `bye`.
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) tails: Arc<Semaphore>,
    gates: Mutex<HashMap<String, Arc<Gate>>>,
    pub(crate) coalesced: Mutex<HashMap<(String, String), u64>>,
}

impl Deref for AppState {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppState").field("origin", &self.ledger.origin()).finish_non_exhaustive()
    }
}

impl AppState {
    /// Over an open ledger and store. `source` records who read what; `hub` is fed with committed batches.
    pub fn new(ledger: Ledger, store: Store, hub: TailHub, source: Source, options: WebOptions) -> AppState {
        AppState::with_clock(ledger, store, hub, source, options, Arc::new(SystemClock::default()))
    }

    /// The same with time as a parameter.
    pub fn with_clock(
        ledger: Ledger,
        store: Store,
        hub: TailHub,
        source: Source,
        options: WebOptions,
        clock: Arc<dyn Clock>,
    ) -> AppState {
        AppState(Arc::new(Shared {
            ledger,
            store,
            hub,
            source,
            options,
            clock,
            logins: Logins::default(),
            closing: watch::Sender::new(false),
            tails: Arc::new(Semaphore::new(TAILS_MAX)),
            gates: Mutex::default(),
            coalesced: Mutex::default(),
        }))
    }

    /// A link that signs one browser in once, within 60 s, to the server at `address`.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub fn login_link(&self, address: SocketAddr) -> Result<String, WebError> {
        let code = self.logins.new_code(self.clock.monotonic_ns())?;
        Ok(format!("http://{address}/login?code={code}"))
    }

    /// Ends all live streams; new ones end at once.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Wall time, UTC ns.
    pub(crate) fn now_ns(&self) -> i64 {
        i64::try_from(self.clock.now_ns()).unwrap_or(i64::MAX)
    }

    pub(crate) fn gate(&self, principal: &str) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if gates.len() >= VIEWERS_MAX {
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        Arc::clone(gates.entry(principal.to_owned()).or_default())
    }
}

/// How much one viewer may ask at once.
#[derive(Debug)]
pub(crate) struct Gate {
    running: Arc<Semaphore>,
    asked: Arc<Semaphore>,
    pub(crate) tails: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            asked: Arc::new(Semaphore::new(RUNNING_MAX + WAITING_MAX)),
            tails: Arc::new(Semaphore::new(TAILS_EACH_MAX)),
        }
    }
}

/// The right to run one query; give it back by dropping it.
pub(crate) struct Turn {
    _running: OwnedSemaphorePermit,
    _asked: OwnedSemaphorePermit,
}

/// Who is looking.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    pub(crate) principal: Principal,
    pub(crate) gate: Arc<Gate>,
    /// The page asked for itself again: the same reading goes on.
    pub(crate) refresh: bool,
    /// The local socket: no cookie, role admin.
    pub(crate) local: bool,
}

impl Viewer {
    /// Waits for a turn; refuses when too many wait already.
    pub(crate) async fn turn(&self) -> Result<Turn, Problem> {
        let full = || {
            Problem::new(
                "too-many",
                format!("{RUNNING_MAX} of your queries run and {WAITING_MAX} wait, which is the limit"),
            )
            .hint("wait for one to end, then ask again")
        };
        let asked = Arc::clone(&self.gate.asked).try_acquire_owned().map_err(|_| full())?;
        let running = Arc::clone(&self.gate.running).acquire_owned().await.map_err(|_| full())?;
        Ok(Turn { _running: running, _asked: asked })
    }
}
