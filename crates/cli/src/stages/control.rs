//! Reads again what changes while the server runs: certificates of listeners, identities, policies, issuers' keys.
//!
//! Never on a data thread. A file that is wrong leaves the old state in force and is told once; every change
//! that takes effect is an event, so that a record's configuration can be named. SIGHUP asks for it at once.

use crate::exit::CliError;
use crate::signals;
use countersign_event::{Class, Event, Kind, Outcome, Rec};
use countersign_gateway::TlsFiles;
use countersign_identity::{Identities, RefresherHandle, ServerTls, WorkloadHandle};
use countersign_ledger::Source;
use countersign_policy::PolicySet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often a signal and the end are looked for.
const STEP: Duration = Duration::from_millis(100);

/// The control thread. Ends when dropped.
pub(crate) struct Control {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Fetches issuers' keys on a thread of its own.
    _keys: Option<RefresherHandle>,
    /// Follows the Workload API on a thread of its own.
    _workload: Option<WorkloadHandle>,
}

/// What it looks after.
pub(crate) struct Watched {
    /// Identities.
    pub(crate) identities: Arc<Identities>,
    /// Policies, when there are any.
    pub(crate) policies: Option<Arc<PolicySet>>,
    /// Certificates of listeners.
    pub(crate) tls: TlsFiles,
    /// Certificates of inputs, by name.
    pub(crate) inputs: Vec<(String, Arc<ServerTls>)>,
    /// Keeps following the Workload API.
    pub(crate) workload: Option<WorkloadHandle>,
}

/// Starts looking; changes are recorded with `source`.
pub(crate) fn start(mut watched: Watched, source: Source) -> Result<Control, CliError> {
    let fail = |e| CliError::new("cannot start the control thread", e, "close other programs and try again");
    let clock = || crate::access::time::now_ns() / 1_000_000_000;
    let keys = watched.identities.refresher().map(|refresher| {
        refresher.start(clock, |status| {
            let error = status.error.clone().unwrap_or_default();
            tracing::warn!(issuer = %status.issuer, error, "keys of an issuer could not be fetched");
        })
    });
    let keys = keys.transpose().map_err(fail)?;
    let workload = watched.workload.take();
    let stop = Arc::new(AtomicBool::new(false));
    let ours = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("control".into()).spawn(move || {
        let mut told = Default::default();
        let (mut looked, mut signals_seen) = (Instant::now(), signals::reloads());
        while !ours.load(Ordering::Relaxed) {
            std::thread::sleep(STEP);
            let asked = signals::reloads();
            if asked == signals_seen && looked.elapsed() < LOOK {
                continue;
            }
            look(&watched, asked != signals_seen, &source, &mut told);
            (looked, signals_seen) = (Instant::now(), asked);
        }
    });
    Ok(Control { stop, thread: Some(thread.map_err(fail)?), _keys: keys, _workload: workload })
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look(watched: &Watched, asked: bool, source: &Source, told: &mut [String; 3]) {
    let [identity, policy, tls] = told;
    let now_s = crate::access::time::now_ns() / 1_000_000_000;
    if asked || watched.identities.changed() {
        let result = watched.identities.reload(now_s).map_err(|e| e.to_string());
        tell("identity", result.map(|()| true), source, identity);
    }
    for (listener, result) in watched.tls.reload() {
        let result = result.map(|()| true).map_err(|e| e.to_string());
        tell(&format!("tls/{listener}"), result, source, tls);
    }
    for (input, files) in watched.inputs.iter().filter(|(_, files)| asked || files.changed()) {
        let result = files.reload().map(|()| true).map_err(|e| e.to_string());
        tell(&format!("tls/{input}"), result, source, tls);
    }
    if let Some(policies) = &watched.policies {
        tell("policy", policies.reload().map_err(|e| e.to_string()), source, policy);
        adoptions(policies, source);
    }
}

/// Records what became of signed proposals since the last look, also at the start.
fn adoptions(policies: &PolicySet, source: &Source) {
    let now_ns = u64::try_from(crate::access::time::now_ns()).unwrap_or(0);
    let events: Vec<Event> = policies.adoptions().iter().map(|adoption| adoption.event(now_ns)).collect();
    if !events.is_empty()
        && let Err(e) = source.record(events, Box::new(|_| {}))
    {
        tracing::error!(error = %e, "an adoption could not be recorded");
    }
}

/// Records a change, or a refusal that was not told yet.
fn tell(what: &str, result: Result<bool, String>, source: &Source, told: &mut String) {
    let error = match result {
        Ok(changed) => {
            told.clear();
            if !changed {
                return;
            }
            String::new()
        }
        Err(error) if error == *told => return,
        Err(error) => {
            tracing::error!(what, error, "reload refused; what was in force stays");
            told.clone_from(&error);
            error
        }
    };
    let result = if error.is_empty() { Ok(()) } else { Err(error.as_str()) };
    lifecycle("reload", what, result, source);
}

/// Records something that happened to this process itself.
pub(crate) fn lifecycle(op: &str, what: &str, result: Result<(), &str>, source: &Source) {
    let mut event = Event::default();
    event.core.t_obs = u64::try_from(crate::access::time::now_ns()).unwrap_or(0);
    event.core.rec = Some(Rec::Platform);
    event.core.kind = Some(Kind::Lifecycle);
    event.core.op = op.to_owned();
    event.core.class = Some(Class::Admin);
    event.core.outcome = Some(if result.is_ok() { Outcome::Success } else { Outcome::CallerError });
    event.target.svc = "countersign".to_owned();
    event.target.res = what.to_owned();
    event.content.err = result.err().unwrap_or_default().to_owned();
    if let Err(e) = source.record(vec![event], Box::new(|_| {})) {
        tracing::error!(error = %e, op, "could not be recorded");
    }
}
