//! The whole data path, top to bottom: what starts, in which order, and what is handed to what.
//!
//! ```text
//! prepared (files read, nothing written) → ledger → store → alerts → followers (live tail, detectors)
//!                                                    → gateway → web
//! ```
//! Everything below the ledger is fed by it, in order, and can neither delay nor lose an acknowledged
//! event; findings and delivery states go back in through the front door. Stopping is the same list from
//! its end. What each step does lies in `stages/`, what each part is in its own crate.

use crate::config::Config;
use crate::exit::CliError;
use crate::stages::{alerts, control, follow, gateway, ledger, prepare, recover, web};
use countersign_alert::Alerts;
use countersign_gateway::Gateway;
use countersign_ledger::Ledger;
use countersign_store::Store;
use countersign_web::TailHub;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the detectors to have seen the last event before the stop goes on.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// Longest wait for the store to have read back what the last run left.
const CATCH_UP: Duration = Duration::from_secs(60);

/// What differs between `run` and `demo`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flavour {
    /// Small files and the word "demo" on every page.
    pub(crate) demo: bool,
}

/// A running system. Stop it with [`Pipeline::stop`].
pub(crate) struct Pipeline {
    /// The ledger, for proofs and counters.
    pub(crate) ledger: Ledger,
    /// The store, for questions.
    pub(crate) store: Store,
    alerts: Arc<Alerts>,
    tail: follow::Follower,
    detect: follow::Follower,
    gateway: Option<Gateway>,
    control: control::Control,
    web: web::Web,
    drain: Duration,
}

impl Pipeline {
    /// Starts every part in order; `say` is told each step. A failure stops what had started.
    pub(crate) fn start(config: &Config, flavour: Flavour, say: &dyn Fn(&str)) -> Result<Pipeline, CliError> {
        // Everything that can be wrong in files is found before anything is written.
        let prepared = prepare::prepare(config)?;

        // The one writer: from here on, an acknowledged event is durable and numbered.
        let (ledger, clean) = ledger::open(config, flavour, say)?;
        let started = Pipeline::over(ledger.clone(), clean, config, flavour, prepared, say);
        if started.is_err() {
            // The cause is what is reported; a clean end of an idle ledger adds nothing to it.
            let _ = ledger.shutdown();
        }
        started
    }

    fn over(
        ledger: Ledger,
        clean: bool,
        config: &Config,
        flavour: Flavour,
        prepared: prepare::Prepared,
        say: &dyn Fn(&str),
    ) -> Result<Pipeline, CliError> {
        // The contents: hot tail in memory, sealed segments, one table `events`.
        let store = ledger::store(config, &ledger)?;

        // What the last run left in the log is searchable before anybody can ask: an answer is never a
        // part of one without saying so.
        if !store.wait_visible(ledger.size(), CATCH_UP) {
            say(&format!(
                "  store      still reading back {} entries",
                ledger.size().saturating_sub(store.visible())
            ));
        }

        // Findings leave by webhooks; what becomes of them returns as platform events.
        let platform = ledger::source(&ledger, "countersign:platform")?;
        let alerts = Arc::new(alerts::start(config, &ledger, prepared.webhooks, platform.clone())?);

        // A strict route's intents that a dead run left without an outcome are closed as unknown.
        let closed = if clean { 0 } else { recover::close_intents(&store, &platform)? };
        if closed > 0 {
            say(&format!(
                "  recovery   {closed} calls of strict routes have no outcome: recorded as unknown"
            ));
        }

        // Two followers read committed batches at their own pace: the live tail and the detectors.
        let hub = TailHub::new();
        let tail = follow::tail(&ledger, hub.clone())?;
        let detect = follow::detect(config, &ledger, &store, Arc::clone(&alerts))?;

        // Traffic: bytes pass, a copy is decoded, records go to the ledger.
        let identities = Arc::clone(&prepared.identities);
        let gateway = gateway::start(config, &ledger, prepared.identities, prepared.policy, say)?;

        // Files that change while it runs are read again, off the data path.
        let (tls, policies) = (gateway.tls_files(), prepared.policies);
        let control = control::start(control::Watched { identities, policies, tls }, platform.clone())?;

        // People and commands: dashboard on loopback, local socket for the command line.
        let web = web::start(
            config,
            flavour,
            web::Parts { ledger: ledger.clone(), store: store.clone(), hub, source: platform },
            say,
        )?;
        let drain = config.limits.drain_time;
        Ok(Pipeline { ledger, store, alerts, tail, detect, gateway: Some(gateway), control, web, drain })
    }

    /// Where the gateway listens, by listener.
    pub(crate) fn listeners(&self) -> Vec<(String, SocketAddr)> {
        self.gateway.as_ref().map(Gateway::addresses).unwrap_or_default()
    }

    /// A link that signs one browser in, once, within a minute; `None` without a dashboard.
    pub(crate) fn login_link(&self) -> Option<String> {
        self.web.login_link()
    }

    /// Stops from the last part to the first; gives the counters, one line each.
    pub(crate) fn stop(mut self) -> Result<Vec<String>, CliError> {
        self.web.stop();
        drop(self.control);
        let mut lines = Vec::new();
        if let Some(gateway) = self.gateway.take() {
            lines.extend(gateway::stop(gateway, self.drain));
        }
        self.detect.finish(self.ledger.size(), LAST_EVENTS);
        self.tail.finish(0, Duration::ZERO);
        self.alerts.shutdown();
        lines.push(alerts::counters(&self.alerts));
        self.store.shutdown();
        self.ledger.shutdown().map_err(crate::access::directory::ledger_error)?;
        lines.push(ledger::counters(&self.ledger));
        Ok(lines)
    }
}
