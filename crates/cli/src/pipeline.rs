//! The whole data path, top to bottom: what starts, in which order, and what is handed to what.
//!
//! ```text
//! prepared (files read, nothing written) → ledger → downstream (store, alerts, live tail, detectors)
//!                                                 → gateway → web
//! ```
//! Everything below the ledger is fed by it, in order, and can neither delay nor lose an acknowledged
//! event; findings and delivery states go back in through the front door. An edge is the same without what
//! is downstream. Stopping is the same list from its end. What each step does lies in `stages/`, what each
//! part is in its own crate.

use crate::args::Role;
use crate::config::Config;
use crate::exit::CliError;
use crate::stages::downstream::Downstream;
use crate::stages::{control, gateway, ledger, prepare, recover};
use countersign_gateway::Gateway;
use countersign_ledger::Ledger;
use countersign_store::Store;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
    /// `None` on an edge.
    downstream: Option<Downstream>,
    gateway: Option<Gateway>,
    control: control::Control,
    drain: Duration,
}

impl Pipeline {
    /// Starts every part in order; `say` is told each step. A failure stops what had started.
    pub(crate) fn start(config: &Config, flavour: Flavour, say: &dyn Fn(&str)) -> Result<Pipeline, CliError> {
        // Everything that can be wrong in files is found before anything is written.
        let prepared = prepare::prepare(config)?;

        // The one writer: from here on, an acknowledged event is durable and numbered.
        let (ledger, clean) = ledger::open(config, flavour, say)?;
        if !clean {
            recover::note(config)?;
        }
        let started = Pipeline::over(ledger.clone(), config, flavour, prepared, say);
        if started.is_err() {
            // The cause is what is reported; a clean end of an idle ledger adds nothing to it.
            let _ = ledger.shutdown();
        }
        started
    }

    fn over(
        ledger: Ledger,
        config: &Config,
        flavour: Flavour,
        prepared: prepare::Prepared,
        say: &dyn Fn(&str),
    ) -> Result<Pipeline, CliError> {
        let platform = ledger::source(&ledger, "countersign:platform")?;

        // What reads the ledger: search, live tail, detectors, delivery of findings. An edge has none of it.
        let mut downstream = match config.role {
            Role::All => Some(Downstream::start(config, &ledger, prepared.webhooks, &platform, say)?),
            Role::Edge => None,
        };

        // Traffic: bytes pass, a copy is decoded, records go to the ledger.
        let identities = Arc::clone(&prepared.identities);
        let gateway = gateway::start(config, &ledger, prepared.identities, prepared.policy, say)?;

        // Files that change while it runs are read again, off the data path.
        let (tls, policies) = (gateway.tls_files(), prepared.policies);
        let control = control::start(control::Watched { identities, policies, tls }, platform.clone())?;

        // People and commands: dashboard on loopback, local socket for the command line.
        if let Some(downstream) = &mut downstream {
            downstream.open(config, flavour, &ledger, platform, say)?;
        }
        let drain = config.limits.drain_time;
        Ok(Pipeline { ledger, downstream, gateway: Some(gateway), control, drain })
    }

    /// The store, for questions; `None` on an edge.
    pub(crate) fn store(&self) -> Option<&Store> {
        self.downstream.as_ref().map(|downstream| &downstream.store)
    }

    /// Where the gateway listens, by listener.
    pub(crate) fn listeners(&self) -> Vec<(String, SocketAddr)> {
        self.gateway.as_ref().map(Gateway::addresses).unwrap_or_default()
    }

    /// A link that signs one browser in, once, within a minute; `None` without a dashboard.
    pub(crate) fn login_link(&self) -> Option<String> {
        self.downstream.as_ref()?.login_link()
    }

    /// Stops from the last part to the first; gives the counters, one line each.
    pub(crate) fn stop(mut self) -> Result<Vec<String>, CliError> {
        if let Some(downstream) = &mut self.downstream {
            downstream.close();
        }
        drop(self.control);
        let mut lines = Vec::new();
        if let Some(gateway) = self.gateway.take() {
            lines.extend(gateway::stop(gateway, self.drain));
        }
        if let Some(downstream) = self.downstream.take() {
            lines.extend(downstream.stop(&self.ledger));
        }
        self.ledger.shutdown().map_err(crate::access::directory::ledger_error)?;
        lines.push(ledger::counters(&self.ledger));
        Ok(lines)
    }
}
