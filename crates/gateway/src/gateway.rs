//! A running gateway: its threads, its listeners, its end.

use crate::config::{Durability, GatewayConfig, Listener, Protocol};
use crate::decode::grpc_fields::PayloadFields;
use crate::decode::mcp::Sessions;
use crate::decode::{Context, Decoder, RouteFacts};
use crate::error::GatewayError;
use crate::listen::accept;
use crate::pump::worker::{Drain, WorkerParts};
use crate::pump::{Route, Worker, postgres};
use crate::recorder::{BodyKey, Recorder, SourceRecorder};
use crate::ring::Ring;
use crate::stats::{Counters, GatewayStats};
use crate::tls::{Followed, RouteTls, Stamp, TlsFiles};
use arc_swap::ArcSwap;
use countersign_identity::Identities;
use countersign_ledger::{Clock, Ledger, SourceSpec, SystemClock};
use countersign_policy::Policy;
use ring::rand::{SecureRandom, SystemRandom};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime;
use tokio::sync::watch;

/// How often dropped records are declared: a GAP is at most this late.
const REPORT: Duration = Duration::from_secs(1);
/// How often a shutdown looks whether the last connection has ended.
const DRAIN_STEP: Duration = Duration::from_millis(10);
/// Connections that wait to be accepted, at most; the system may bound it further (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;
/// After the deadline of a drain, how long connections have to notice that they are cut.
const CUT_TIME: Duration = Duration::from_secs(2);

/// What a gateway works with besides its configuration.
pub struct Parts {
    /// One recorder for each data thread, in order; as many as there are data threads.
    pub recorders: Vec<Arc<dyn Recorder>>,
    /// The same for the records of strict routes; empty when there is no such route.
    pub strict: Vec<Arc<dyn Recorder>>,
    /// Key of body digests.
    pub key: BodyKey,
    /// Who is calling.
    pub identities: Arc<Identities>,
    /// May they.
    pub policy: Arc<dyn Policy>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Listening sockets of a process before this one, taken instead of binding where the address is the same.
    pub sockets: Vec<TcpListener>,
}

/// A running gateway. Shut it down: dropping it ends its threads without draining.
pub struct Gateway {
    addresses: Vec<(String, SocketAddr)>,
    /// For a process that takes over.
    sockets: Vec<TcpListener>,
    files: TlsFiles,
    counters: Arc<Counters>,
    drain: Arc<Drain>,
    stop: watch::Sender<Stop>,
    rings: Vec<Arc<Ring>>,
    threads: Vec<JoinHandle<()>>,
    decoders: Vec<JoinHandle<()>>,
    mcp: Arc<Sessions>,
    /// For each listener, the fields of gRPC messages that are kept.
    grpc: Vec<Option<Arc<PayloadFields>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Stop {
    Run,
    /// Accept nothing more.
    Drain,
    /// End the runtime.
    End,
}

impl Gateway {
    /// Starts listening; every data thread becomes a source of `ledger`.
    ///
    /// # Errors
    /// The first listener, file or thread that does not work.
    pub fn start(
        config: GatewayConfig,
        ledger: &Ledger,
        identities: Arc<Identities>,
        policy: Arc<dyn Policy>,
    ) -> Result<Gateway, GatewayError> {
        Gateway::start_on(config, ledger, identities, policy, Vec::new())
    }

    /// As [`Gateway::start`], on the listening sockets of the process that this one takes over from
    /// ([`Gateway::sockets`]); an address that is not among them is bound.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn start_on(
        config: GatewayConfig,
        ledger: &Ledger,
        identities: Arc<Identities>,
        policy: Arc<dyn Policy>,
        sockets: Vec<TcpListener>,
    ) -> Result<Gateway, GatewayError> {
        let mut recorders: Vec<Arc<dyn Recorder>> = Vec::new();
        let mut strict: Vec<Arc<dyn Recorder>> = Vec::new();
        let source = || -> Result<_, GatewayError> {
            Ok(ledger.register(SourceSpec { identity: config.agent.clone(), stream: random()? })?)
        };
        let any_strict = config.listeners.iter().any(|l| l.durability == Durability::Strict);
        for _ in 0..workers(&config) {
            recorders.push(Arc::new(SourceRecorder::new(source()?)));
            if any_strict {
                let recorder = SourceRecorder::unpromised(source()?).map_err(GatewayError::Recorder)?;
                strict.push(Arc::new(recorder));
            }
        }
        let key = BodyKey::Ledger(ledger.digest_key());
        let clock = Arc::new(SystemClock::default());
        Gateway::start_with(config, Parts { recorders, strict, key, identities, policy, clock, sockets })
    }

    /// As [`Gateway::start`], with everything given.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn start_with(config: GatewayConfig, mut parts: Parts) -> Result<Gateway, GatewayError> {
        if let Some(listener) = config.server_names.keys().next() {
            let why = "routes and certificates by server name are not built".to_owned();
            return Err(GatewayError::Config { listener: listener.clone(), why });
        }
        let mut sockets = Vec::new();
        let (mut routes, mut followed) = (Vec::new(), Vec::new());
        for (index, listener) in config.listeners.iter().enumerate() {
            let stamp = Stamp::of(listener);
            let route = Arc::new(route(index, listener)?);
            followed.push(Followed::new(listener.clone(), Arc::clone(&route), stamp));
            routes.push(route);
            sockets.push(match inherited(&mut parts.sockets, listener) {
                Some(socket) => socket,
                None => bind(listener)?,
            });
        }
        let addresses = config.listeners.iter().zip(&sockets);
        let addresses = addresses.filter_map(|(l, s)| Some((l.name.clone(), s.local_addr().ok()?))).collect();
        let (stop, _) = watch::channel(Stop::Run);
        let kept = sockets.iter().map(TcpListener::try_clone).collect::<Result<_, _>>();
        let kept = kept.map_err(|source| GatewayError::Thread { what: "data", source })?;
        let mut gateway = Gateway {
            addresses,
            sockets: kept,
            files: TlsFiles::new(followed),
            counters: Arc::default(),
            drain: Arc::default(),
            stop,
            rings: Vec::new(),
            threads: Vec::new(),
            decoders: Vec::new(),
            mcp: Arc::default(),
            grpc: config.listeners.iter().map(payload_fields).collect::<Result<_, _>>()?,
        };
        let limits = Arc::new(config.limits.clone());
        let by_identity = Arc::new(Mutex::new(std::collections::HashMap::new()));
        let run = random::<8>()?;
        for (at, recorder) in parts.recorders.iter().enumerate() {
            let strict = parts.strict.get(at).unwrap_or(recorder);
            let ring = Arc::new(Ring::new(limits.ring));
            gateway.rings.push(Arc::clone(&ring));
            gateway.decoder(&config, &parts, Arc::clone(&ring), [recorder, strict].map(Arc::clone), run)?;
            let worker = Worker::new(WorkerParts {
                ring,
                recorder: Arc::clone(recorder),
                counters: Arc::clone(&gateway.counters),
                clock: Arc::clone(&parts.clock),
                limits: Arc::clone(&limits),
                identities: Arc::clone(&parts.identities),
                policy: Arc::clone(&parts.policy),
                enforce: config.enforce,
                by_identity: Arc::clone(&by_identity),
                drain: Arc::clone(&gateway.drain),
            });
            gateway.worker(Arc::new(worker), &routes, &sockets)?;
        }
        Ok(gateway)
    }

    /// Names and addresses of the listeners.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.addresses.clone()
    }

    /// The certificate files of all listeners, for whoever looks after changes.
    pub fn tls_files(&self) -> TlsFiles {
        self.files.clone()
    }

    /// The listening sockets, for a process that takes over: connections that come while neither accepts wait in
    /// their queues and are not refused.
    pub fn sockets(&self) -> &[TcpListener] {
        &self.sockets
    }

    /// As [`Gateway::shutdown`], so that no client fails: nothing more is accepted, each connection ends with an
    /// answer that says `Connection: close`, and idle ones stay until their next request or the end of `drain`.
    pub fn hand_over(self, drain: Duration) {
        self.drain.set_gentle();
        self.shutdown(drain);
    }

    /// Counters since start.
    pub fn stats(&self) -> GatewayStats {
        self.counters.read()
    }

    /// Stops accepting, lets open exchanges end for at most `drain`, cuts the rest, and returns when every
    /// record was handed over. Blocks.
    pub fn shutdown(mut self, drain: Duration) {
        self.stop.send_replace(Stop::Drain);
        self.drain.end(false);
        self.wait_closed(drain);
        self.drain.end(true);
        self.wait_closed(CUT_TIME);
        self.join();
    }

    fn wait_closed(&self, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        while self.counters.open.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            std::thread::sleep(DRAIN_STEP);
        }
    }

    /// Data threads first: their last taps must be in the rings before these are closed.
    fn join(&mut self) {
        self.stop.send_replace(Stop::End);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.rings.iter().for_each(|ring| ring.close());
        for thread in self.decoders.drain(..) {
            let _ = thread.join();
        }
    }

    fn decoder(
        &mut self,
        config: &GatewayConfig,
        parts: &Parts,
        ring: Arc<Ring>,
        [recorder, strict]: [Arc<dyn Recorder>; 2],
        run: [u8; 8],
    ) -> Result<(), GatewayError> {
        let facts = |(l, grpc): (&Listener, &Option<Arc<PayloadFields>>)| RouteFacts {
            name: l.name.clone(),
            service: service(l),
            strict: l.durability == Durability::Strict,
            purpose: l.purpose.clone(),
            record: l.record,
            capture: l.capture,
            parameters: l.postgres.parameters,
            mcp: l.protocol == Protocol::Mcp,
            grpc: grpc.clone(),
        };
        let context = Context {
            routes: config.listeners.iter().zip(&self.grpc).map(facts).collect(),
            identities: Arc::clone(&parts.identities),
            policy: Arc::clone(&parts.policy),
            key: parts.key.clone(),
            clock: Arc::clone(&parts.clock),
            config: config.digest(),
            run,
            templates: Default::default(),
            checks: Default::default(),
            mcp: Arc::clone(&self.mcp),
            wall_offset: 0,
            extra: 0,
            intents: Vec::new(),
        };
        let decoder = Decoder::new(ring, recorder, strict, Arc::clone(&self.counters), context);
        let thread = std::thread::Builder::new().name("gw-decoder".to_owned());
        let thread = thread.spawn(move || decoder.run());
        self.decoders.push(thread.map_err(|source| GatewayError::Thread { what: "decoder", source })?);
        Ok(())
    }

    fn worker(
        &mut self,
        worker: Arc<Worker>,
        routes: &[Arc<Route>],
        sockets: &[TcpListener],
    ) -> Result<(), GatewayError> {
        let fail = |source| GatewayError::Thread { what: "data", source };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
        let mut stop = self.stop.subscribe();
        let mut listeners = Vec::new();
        for (route, socket) in routes.iter().zip(sockets) {
            // One socket for all threads, so that a port in use is an error and not silently shared.
            let socket = socket.try_clone().map_err(fail)?;
            let _entered = runtime.enter();
            listeners.push((Arc::clone(route), tokio::net::TcpListener::from_std(socket).map_err(fail)?));
        }
        let thread = std::thread::Builder::new().name("gw-data".to_owned());
        let thread = thread.spawn(move || {
            runtime.block_on(async move {
                let accepting: Vec<_> = listeners
                    .into_iter()
                    .map(|(route, listener)| tokio::spawn(accept(Arc::clone(&worker), route, listener)))
                    .collect();
                let reports = Arc::clone(&worker);
                tokio::spawn(async move {
                    let mut every = tokio::time::interval(REPORT);
                    loop {
                        every.tick().await;
                        reports.report_dropped();
                    }
                });
                let _ = stop.wait_for(|s| *s >= Stop::Drain).await;
                accepting.iter().for_each(|task| task.abort());
                let _ = stop.wait_for(|s| *s >= Stop::End).await;
                worker.report_dropped();
                // Promises that no answer asked for yet.
                let _ = worker.owe();
            });
        });
        self.threads.push(thread.map_err(fail)?);
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.drain.end(true);
        self.join();
    }
}

/// Data threads for `config`: with their decoders they fill the cores.
fn workers(config: &GatewayConfig) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if config.workers > 0 { config.workers } else { (cores / 2).max(1) }
}

fn random<const N: usize>() -> Result<[u8; N], GatewayError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| GatewayError::Random)?;
    Ok(bytes)
}

fn service(listener: &Listener) -> String {
    if listener.service.is_empty() {
        format!("{}:{}", listener.upstream.host, listener.upstream.port)
    } else {
        listener.service.clone()
    }
}

/// The socket among `sockets` that listens on the address of `listener`.
fn inherited(sockets: &mut Vec<TcpListener>, listener: &Listener) -> Option<TcpListener> {
    let at = sockets.iter().position(|s| s.local_addr().is_ok_and(|a| a == listener.listen))?;
    let socket = sockets.swap_remove(at);
    socket.set_nonblocking(true).ok().map(|()| socket)
}

fn bind(listener: &Listener) -> Result<TcpListener, GatewayError> {
    let fail =
        |source| GatewayError::Listen { listener: listener.name.clone(), address: listener.listen, source };
    let socket = TcpListener::bind(listener.listen).map_err(fail)?;
    // The standard library asks for a queue of 128: a burst of clients would wait a second for their next SYN.
    rustix::net::listen(&socket, BACKLOG).map_err(|e| fail(e.into()))?;
    socket.set_nonblocking(true).map_err(fail)?;
    Ok(socket)
}

fn payload_fields(listener: &Listener) -> Result<Option<Arc<PayloadFields>>, GatewayError> {
    let Some(config) = &listener.grpc else { return Ok(None) };
    let fail = |why| GatewayError::Config { listener: listener.name.clone(), why };
    PayloadFields::load(config).map(|fields| Some(Arc::new(fields))).map_err(fail)
}

fn route(index: usize, listener: &Listener) -> Result<Route, GatewayError> {
    if listener.protocol == Protocol::Postgres {
        postgres::check(listener)?;
    }
    Ok(Route {
        index,
        name: listener.name.clone(),
        purpose: listener.purpose.clone(),
        host: listener.upstream.host.clone(),
        port: listener.upstream.port,
        protocol: listener.protocol,
        tls: ArcSwap::from_pointee(RouteTls::read(listener)?),
        no_h2: AtomicBool::new(false),
        service: service(listener),
        postgres: listener.postgres.clone(),
        durability: listener.durability,
        open: AtomicUsize::new(0),
    })
}
