//! The whole data path, top to bottom: what starts, in which order, and what is handed to what.
//!
//! ```text
//! prepared (files read, nothing written) → ledger → downstream (store, alerts, live tail, detectors)
//!                                                 → gateway → inputs → web
//! ```
//! Everything below the ledger is fed by it, in order, and can neither delay nor lose an acknowledged
//! event; findings and delivery states go back in through the front door. An edge is the same without what
//! is downstream. Stopping is the same list from its end. What each step does lies in `stages/`, what each
//! part is in its own crate.

use crate::args::Role;
use crate::config::Config;
use crate::exit::CliError;
use crate::local::{self, LocalServer};
use crate::stages::downstream::Downstream;
use crate::stages::{control, gateway, inputs, ledger, prepare, recover, ship};
use crate::upgrade::{Inherited, PidFile, Predecessor, Successor, TakeOver, notify};
use countersign_collect::ship::Shipper;
use countersign_ledger::{Ledger, PassedSource, Source};
use countersign_store::Store;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// How much longer than its own drain time the process before this one may take for its last records.
const PREDECESSOR: Duration = Duration::from_secs(60);

/// What differs between `run` and `demo`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flavour {
    /// Small files and the word "demo" on every page.
    pub(crate) demo: bool,
}

/// A running system. Stop it with [`Pipeline::stop`], or pass it on with [`Pipeline::suspend`].
pub(crate) struct Pipeline {
    /// The ledger, for proofs and counters.
    pub(crate) ledger: Ledger,
    /// `None` on an edge.
    downstream: Option<Downstream>,
    gateway: gateway::Started,
    /// Records of other processes of this machine.
    local: LocalServer,
    /// Records of everything else that logs.
    inputs: inputs::Inputs,
    /// An edge's way to its core.
    shipper: Option<Shipper>,
    control: control::Control,
    platform: Source,
    /// The process that this one took over from, while it drains.
    predecessor: Option<Predecessor>,
    /// What the gateway asks.
    in_force: prepare::InForce,
    _pid: Option<PidFile>,
    drain: Duration,
}

/// Where traffic comes from when the rest starts.
enum Traffic {
    /// Nothing passes yet; listening sockets to take.
    New(Vec<TcpListener>),
    /// It never stopped.
    Running(Box<gateway::Started>),
}

impl Pipeline {
    /// Starts every part in order; `say` is told each step. A failure stops what had started.
    pub(crate) fn start(config: &Config, flavour: Flavour, say: &dyn Fn(&str)) -> Result<Pipeline, CliError> {
        // Everything that can be wrong in files is found before anything is written.
        let prepared = prepare::prepare(config)?;
        Pipeline::launch(config, flavour, prepared, Inherited::default(), say).map(|(pipeline, _)| pipeline)
    }

    /// As [`Pipeline::start`], in the place of the process that asked for it; returns once connections are
    /// accepted.
    pub(crate) fn take_over(
        config: &Config,
        flavour: Flavour,
        from: TakeOver,
        say: &dyn Fn(&str),
    ) -> Result<Pipeline, CliError> {
        let prepared = prepare::prepare(config)?;
        let inherited = from.wait()?;
        let (mut pipeline, sources) = Pipeline::launch(config, flavour, prepared, inherited, say)?;
        pipeline.predecessor = Some(from.serve(sources)?);
        control::lifecycle("upgrade", "process", Ok(()), &pipeline.platform);
        Ok(pipeline)
    }

    /// Gives the running system and the inherited sources, `None` for one that did not fit the log.
    fn launch(
        config: &Config,
        flavour: Flavour,
        prepared: prepare::Prepared,
        inherited: Inherited,
        say: &dyn Fn(&str),
    ) -> Result<(Pipeline, Vec<Option<Source>>), CliError> {
        let streams: Vec<[u8; 16]> = inherited.sources.iter().map(PassedSource::stream).collect();

        // The one writer: from here on, an acknowledged event is durable and numbered.
        let ledger = Pipeline::writer(config, flavour, inherited.sources, say)?;
        let sources = streams.iter().map(|stream| ledger.resumed(stream)).collect();
        let traffic = Traffic::New(inherited.sockets);
        let started = Pipeline::over(ledger.clone(), config, flavour, prepared, traffic, say);
        if started.is_err() {
            // The cause is what is reported; a clean end of an idle ledger adds nothing to it.
            let _ = ledger.shutdown();
        }
        started.map(|pipeline| (pipeline, sources))
    }

    fn writer(
        config: &Config,
        flavour: Flavour,
        resumed: Vec<PassedSource>,
        say: &dyn Fn(&str),
    ) -> Result<Ledger, CliError> {
        let (ledger, clean) = ledger::open(config, flavour, resumed, say)?;
        if !clean {
            recover::note(config)?;
        }
        Ok(ledger)
    }

    fn over(
        ledger: Ledger,
        config: &Config,
        flavour: Flavour,
        prepared: prepare::Prepared,
        traffic: Traffic,
        say: &dyn Fn(&str),
    ) -> Result<Pipeline, CliError> {
        let platform = ledger::source(&ledger, &config.agent("countersign:platform"))?;
        let in_force = prepared.in_force();

        // Our own identity and our peers' authorities, where an agent gives them.
        let workload = prepared.follow(say)?;

        // What reads the ledger: search, live tail, detectors, delivery of findings. An edge has none of it.
        let mut downstream = match config.role {
            Role::All => {
                let told = (prepared.webhooks, prepared.receivers);
                Some(Downstream::start(config, &ledger, told, &platform, say)?)
            }
            Role::Edge => {
                recover::close_from_log(config, &ledger, &platform, say)?;
                None
            }
        };

        // Traffic: bytes pass, a copy is decoded, records go to the ledger.
        let identities = Arc::clone(&prepared.identities);
        let settings = prepared.gateway;

        // Records of other processes of this machine, which wrap servers that have no socket.
        let local = local::start(config, &ledger, settings.digest())?;
        let (gateway, sockets) = match traffic {
            Traffic::New(sockets) => {
                let (ours, rest) = sockets.into_iter().partition(|socket| listens(config, socket));
                let (identities, policy) = (prepared.identities, prepared.policy);
                (gateway::start(config, settings, &ledger, identities, policy, ours, say)?, rest)
            }
            Traffic::Running(gateway) => (*gateway, Vec::new()),
        };

        // What others logged: received, parsed, answered when it is durable.
        let store = downstream.as_ref().map(|downstream| &downstream.store);
        let inputs = inputs::start(config, &ledger, store, &identities, say)?;

        // An edge's records go on to its core, from the ledger and at its own pace.
        let shipper = ship::start(config, prepared.ship, &ledger, say)?;

        // Files that change while it runs are read again, off the data path.
        let (tls, policies) = (gateway.gateway.tls_files(), prepared.policies);
        let watched = control::Watched { identities, policies, tls, inputs: inputs.tls.clone(), workload };
        let control = control::start(watched, platform.clone())?;

        // People and commands: dashboard on loopback, local socket for the command line.
        if let Some(downstream) = &mut downstream {
            let asked = (platform.clone(), gateway.gateway.health_watch());
            downstream.open(config, flavour, &ledger, asked, sockets, say)?;
        }

        // Service managers.
        let pid = PidFile::write(&config.data).ok();
        notify();
        let drain = config.limits.drain_time;
        Ok(Pipeline {
            ledger,
            downstream,
            gateway,
            local,
            inputs,
            shipper,
            control,
            platform,
            predecessor: None,
            in_force,
            _pid: pid,
            drain,
        })
    }

    /// The store, for questions; `None` on an edge.
    pub(crate) fn store(&self) -> Option<&Store> {
        self.downstream.as_ref().map(|downstream| &downstream.store)
    }

    /// Where the gateway listens, by listener.
    pub(crate) fn listeners(&self) -> Vec<(String, SocketAddr)> {
        self.gateway.gateway.addresses()
    }

    /// A link that signs one browser in, once, within a minute; `None` without a dashboard.
    pub(crate) fn login_link(&self) -> Option<String> {
        self.downstream.as_ref()?.login_link()
    }

    /// The listening sockets, for a process that takes over.
    pub(crate) fn sockets(&self) -> Vec<TcpListener> {
        let gateway = self.gateway.gateway.sockets().iter().filter_map(|s| s.try_clone().ok());
        gateway.chain(self.downstream.as_ref().and_then(Downstream::listener)).collect()
    }

    /// Waits until the process that this one took over from has no connection left, as long as it may drain.
    pub(crate) fn wait_predecessor(&mut self) {
        if let Some(predecessor) = self.predecessor.take() {
            predecessor.finish(self.drain + PREDECESSOR);
        }
    }

    /// Records that a new process could not take over.
    pub(crate) fn upgrade_failed(&self, why: &str) {
        control::lifecycle("upgrade", "process", Err(why), &self.platform);
    }

    /// Stops everything but traffic and closes the ledger; gives what another process needs to go on with it.
    pub(crate) fn suspend(mut self) -> Result<(Suspended, Vec<PassedSource>), CliError> {
        self.wait_predecessor();
        if let Some(downstream) = &mut self.downstream {
            downstream.close();
        }
        drop(self.control);
        drop(self.local);
        self.inputs.stop();
        drop(self.shipper.take());
        if let Some(downstream) = self.downstream.take() {
            downstream.stop(&self.ledger);
        }
        // From here on bytes pass and their records wait.
        self.gateway.relays.iter().for_each(|relay| relay.hold());
        let passing = Suspended { gateway: self.gateway, in_force: self.in_force, drain: self.drain };
        if let Err(error) = self.ledger.shutdown() {
            passing.give_up();
            return Err(crate::access::directory::ledger_error(error));
        }
        let passed = passing.gateway.relays.iter().filter_map(|relay| relay.pass()).collect();
        Ok((passing, passed))
    }

    /// Stops from the last part to the first; gives the counters, one line each.
    pub(crate) fn stop(mut self) -> Result<Vec<String>, CliError> {
        if let Some(downstream) = &mut self.downstream {
            downstream.close();
        }
        drop(self.control);
        let mut lines = Vec::new();
        lines.extend(self.inputs.stop());
        lines.extend(gateway::stop(self.gateway.gateway, self.drain));
        if let Some(predecessor) = self.predecessor.take() {
            predecessor.finish(self.drain);
        }
        drop(self.local);
        if let Some(downstream) = self.downstream.take() {
            lines.extend(downstream.stop(&self.ledger));
        }
        self.gateway.relays.iter().for_each(|relay| relay.settle());
        lines.extend(self.shipper.take().map(|shipper| ship::counters(&shipper)));
        self.ledger.shutdown().map_err(crate::access::directory::ledger_error)?;
        lines.push(ledger::counters(&self.ledger));
        Ok(lines)
    }
}

/// Whether `socket` is that of one of the gateway's listeners.
fn listens(config: &Config, socket: &TcpListener) -> bool {
    socket.local_addr().is_ok_and(|address| config.listeners.iter().any(|l| l.listen == address))
}

/// Traffic without a ledger, in the middle of an upgrade: bytes pass, records wait.
pub(crate) struct Suspended {
    gateway: gateway::Started,
    in_force: prepare::InForce,
    drain: Duration,
}

impl Suspended {
    /// The other process did not start: opens the ledger again and goes on. When even that fails, traffic ends.
    pub(crate) fn resume(
        self,
        config: &Config,
        flavour: Flavour,
        passed: Vec<PassedSource>,
        say: &dyn Fn(&str),
    ) -> Result<Pipeline, CliError> {
        match self.reopen(config, flavour, passed, say) {
            Ok((prepared, ledger)) => {
                let traffic = Traffic::Running(Box::new(self.gateway));
                Pipeline::over(ledger, config, flavour, prepared, traffic, say)
            }
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    fn reopen(
        &self,
        config: &Config,
        flavour: Flavour,
        passed: Vec<PassedSource>,
        say: &dyn Fn(&str),
    ) -> Result<(prepare::Prepared, Ledger), CliError> {
        // The gateway never stopped: identities, policies and SVIDs go on being renewed in the objects that it holds.
        let prepared = prepare::prepare(config)?.going_on(self.in_force.clone());
        let ledger = Pipeline::writer(config, flavour, passed, say)?;
        for relay in &self.gateway.relays {
            let missing =
                || CliError::Failed("a source of this process is not in the log it wrote".to_owned());
            relay.to_ledger(ledger.resumed(&relay.stream()).ok_or_else(missing)?);
        }
        Ok((prepared, ledger))
    }

    /// Records that wait must not wait for ever.
    fn give_up(&self) {
        self.gateway.relays.iter().for_each(|relay| relay.give_up());
    }

    /// Another process accepts connections: those that are open here end in order, and their records go there, from
    /// when `passed` is called.
    /// Gives what passed, in one line, and whether every record is durable there.
    pub(crate) fn drain(self, to: &Successor, passed: &dyn Fn()) -> (String, bool) {
        to.take(&self.gateway.relays);
        passed();
        let gateway = self.gateway.gateway;
        let counters = gateway::counters(&gateway.stats());
        gateway.hand_over(self.drain);
        (counters, to.finish())
    }
}
