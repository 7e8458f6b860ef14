//! A running gateway: its threads, its listeners, its end.

use crate::config::{Durability, GatewayConfig, Listener, Protocol};
use crate::decode::causes::Causes;
use crate::decode::grpc_fields::PayloadFields;
use crate::decode::mcp::Sessions;
use crate::decode::{self, Context, Decoder, RouteFacts};
use crate::error::GatewayError;
use crate::health::{Health, HealthWatch, Watch};
use crate::listen::accept;
use crate::pump::Worker;
use crate::pump::door::{self, Door};
use crate::pump::worker::{Drain, WorkerParts};
use crate::recorder::{BodyKey, Recorder, SourceRecorder};
use crate::ring::Ring;
use crate::stats::{Counters, GatewayStats};
use crate::tls::TlsFiles;
use countersign_identity::Identities;
use countersign_ledger::{Clock, Ledger, SourceSpec, SystemClock};
use countersign_policy::Policy;
use ring::rand::{SecureRandom, SystemRandom};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
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
    watch: Arc<Watch>,
    drain: Arc<Drain>,
    stop: watch::Sender<Stop>,
    rings: Vec<Arc<Ring>>,
    threads: Vec<JoinHandle<()>>,
    decoders: Vec<JoinHandle<()>>,
    mcp: Arc<Sessions>,
    causes: Arc<Causes>,
    /// For each listener, the fields of gRPC messages that are kept.
    grpc: Vec<Option<Arc<PayloadFields>>>,
    /// What must not be kept, for every thread that makes a record.
    rules: Arc<countersign_redact::Scanner>,
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
        let any_strict = config.any_strict();
        for _ in 0..config.data_threads() {
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
        let mut sockets = Vec::new();
        let (doors, followed) = door::open_all(&config)?;
        let doors: Vec<Arc<Door>> = doors.into_iter().map(Arc::new).collect();
        for listener in &config.listeners {
            sockets.push(match inherited(&mut parts.sockets, listener) {
                Some(socket) => socket,
                None => bind(listener)?,
            });
        }
        for route in door::all_routes(&config) {
            decidable(route, config.enforce || parts.policy.holds(&route.name))?;
        }
        let addresses = config.listeners.iter().zip(&sockets);
        let addresses = addresses.filter_map(|(l, s)| Some((l.name.clone(), s.local_addr().ok()?))).collect();
        let (stop, _) = watch::channel(Stop::Run);
        let recorders = parts.recorders.iter().chain(&parts.strict).map(Arc::clone).collect();
        let kept = sockets.iter().map(TcpListener::try_clone).collect::<Result<_, _>>();
        let kept = kept.map_err(|source| GatewayError::Thread { what: "data", source })?;
        let limits = Arc::new(config.limits.clone());
        let counters = Arc::<Counters>::default();
        // Those of strict routes come behind the others.
        let lanes = parts.recorders.len() + parts.strict.len();
        let rings: Vec<_> = (0..lanes).map(|_| Arc::new(Ring::new(limits.ring))).collect();
        let causes = Causes::new(rings.clone(), Arc::clone(&counters), &config.listeners);
        let mut gateway = Gateway {
            addresses,
            sockets: kept,
            files: TlsFiles::new(followed),
            counters,
            watch: Arc::new(Watch::new(recorders)),
            drain: Arc::default(),
            stop,
            causes: Arc::new(causes),
            rings,
            threads: Vec::new(),
            decoders: Vec::new(),
            mcp: Arc::default(),
            grpc: door::all_routes(&config).into_iter().map(payload_fields).collect::<Result<_, _>>()?,
            rules: decode::redact::rules(&config.redaction)?,
        };
        let by_identity = Arc::new(Mutex::new(std::collections::HashMap::new()));
        let run = random::<8>()?;
        let rings = gateway.rings.clone();
        let (rings, strict_rings) = rings.split_at(parts.recorders.len());
        for (at, (recorder, ring)) in parts.recorders.iter().zip(rings).enumerate() {
            let strict = parts.strict.get(at).unwrap_or(recorder);
            gateway.decoder(&config, &parts, ring, [recorder, strict].map(Arc::clone), run)?;
            let strict_ring = strict_rings.get(at).unwrap_or(ring);
            if !Arc::ptr_eq(ring, strict_ring) {
                gateway.decoder(&config, &parts, strict_ring, [recorder, strict].map(Arc::clone), run)?;
            }
            let worker = Worker::new(WorkerParts {
                ring: Arc::clone(ring),
                strict_ring: Arc::clone(strict_ring),
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
            gateway.worker(Arc::new(worker), &doors, &sockets)?;
        }
        Ok(gateway)
    }

    /// Reads and compiles everything that `config` names, as a start would, and binds, connects to and writes nothing.
    ///
    /// # Errors
    /// The first listener or file that does not work.
    pub fn check(config: &GatewayConfig) -> Result<(), GatewayError> {
        decode::redact::rules(&config.redaction)?;
        door::open_all(config)?;
        door::all_routes(config).into_iter().try_for_each(|listener| payload_fields(listener).map(drop))
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
        let blocked = u64::from(self.health() != Health::Ok);
        let ring_bytes = self.rings.iter().map(|ring| ring.waiting() as u64).sum();
        GatewayStats { audit_blocked: blocked, ring_bytes, ..self.counters.read() }
    }

    /// Whether records are taken, and if not, why.
    pub fn health(&self) -> Health {
        self.watch.health()
    }

    /// To ask for the health from elsewhere; it keeps the recorders, not the gateway.
    pub fn health_watch(&self) -> HealthWatch {
        HealthWatch(Arc::clone(&self.watch))
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
        ring: &Arc<Ring>,
        [recorder, strict]: [Arc<dyn Recorder>; 2],
        run: [u8; 8],
    ) -> Result<(), GatewayError> {
        let facts = |(l, grpc): (&Listener, &Option<Arc<PayloadFields>>)| RouteFacts {
            name: l.name.clone(),
            service: l.service_name(),
            target: decode::event::target(&l.service_name()),
            strict: l.durability == Durability::Strict,
            purpose: l.purpose.clone(),
            record: l.record,
            capture: l.capture,
            parameters: l.postgres.parameters,
            mcp: l.protocol == Protocol::Mcp,
            grpc: grpc.clone(),
        };
        let context = Context {
            routes: door::all_routes(config).into_iter().zip(&self.grpc).map(facts).collect(),
            identities: Arc::clone(&parts.identities),
            policy: Arc::clone(&parts.policy),
            key: parts.key.clone(),
            clock: Arc::clone(&parts.clock),
            config: config.digest(),
            body: decode::event::captured(),
            run,
            templates: Default::default(),
            checks: Default::default(),
            mcp: Arc::clone(&self.mcp),
            causes: Arc::clone(&self.causes),
            ring: Arc::clone(ring),
            wall_offset: 0,
            extra: 0,
            intents: Vec::new(),
        };
        let decoder = Decoder::new(Arc::clone(ring), recorder, strict, Arc::clone(&self.counters), context);
        let thread = std::thread::Builder::new().name("gw-decoder".to_owned());
        let rules = Arc::clone(&self.rules);
        let thread = thread.spawn(move || {
            decode::redact::install(rules);
            decoder.run();
        });
        self.decoders.push(thread.map_err(|source| GatewayError::Thread { what: "decoder", source })?);
        Ok(())
    }

    fn worker(
        &mut self,
        worker: Arc<Worker>,
        doors: &[Arc<Door>],
        sockets: &[TcpListener],
    ) -> Result<(), GatewayError> {
        let fail = |source| GatewayError::Thread { what: "data", source };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
        let mut stop = self.stop.subscribe();
        let watcher = Arc::clone(&self.watch);
        let mut listeners = Vec::new();
        for (door, socket) in doors.iter().zip(sockets) {
            // One socket for all threads, so that a port in use is an error and not silently shared.
            let socket = socket.try_clone().map_err(fail)?;
            let _entered = runtime.enter();
            listeners.push((Arc::clone(door), tokio::net::TcpListener::from_std(socket).map_err(fail)?));
        }
        let thread = std::thread::Builder::new().name("gw-data".to_owned());
        let rules = Arc::clone(&self.rules);
        let thread = thread.spawn(move || {
            decode::redact::install(rules);
            runtime.block_on(async move {
                let accepting: Vec<_> = listeners
                    .into_iter()
                    .map(|(door, listener)| tokio::spawn(accept(Arc::clone(&worker), door, listener)))
                    .collect();
                let reports = Arc::clone(&worker);
                let watch = watcher;
                tokio::spawn(async move {
                    let mut every = tokio::time::interval(REPORT);
                    loop {
                        every.tick().await;
                        reports.report_dropped();
                        watch.look();
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

fn random<const N: usize>() -> Result<[u8; N], GatewayError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| GatewayError::Random)?;
    Ok(bytes)
}

/// Opaque bytes cannot be asked about, so a policy that enforces could only let all of them pass.
fn decidable(route: &Listener, enforces: bool) -> Result<(), GatewayError> {
    if !enforces || route.protocol != Protocol::Opaque {
        return Ok(());
    }
    let why =
        "opaque bytes cannot be decided on; name the protocol, or let the policy of this route not enforce";
    Err(GatewayError::Config { listener: route.name.clone(), why: why.to_owned() })
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
