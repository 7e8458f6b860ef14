//! Gateway and ledger in one process, nothing else: what an edge node runs. `edge DIR LISTENER...` with each
//! listener `PROTOCOL,LISTEN,UPSTREAM[,CERT,KEY]` and protocol `auto`, `http1`, `http2`, `postgres`, `redis`,
//! `opaque`, with `+strict` or `+gap` behind it for how it records; one data thread. SIGINT ends it; it then
//! prints how many records the ledger holds.
//!
//! Not the product: the binary adds the store, detection and the dashboard. `cargo xtask bench gateway`
//! measures with it what the path of a request costs through ACK.
#![expect(clippy::unwrap_used, reason = "a measurement ends by panicking")]

use countersign_event::Rec;
use countersign_gateway::{Durability, Gateway, GatewayConfig, Listener, ListenerTls, Protocol, Upstream};
use countersign_identity::{ClientAuth, Identities, IdentityConfig};
use countersign_ledger::{Feed, Kek, Ledger, Options, Payload, SealedSegment};
use countersign_policy::PolicySet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Leaves of the only kind of part that is sealed here.
const PART: u64 = 65_536;
/// Recent batches that the ledger keeps in memory for readers that come later; ours is always up to date, and
/// memory that is used again soon is still in the processor's caches.
const FEED_BYTES: usize = 4 << 20;
/// How long connections may take to end.
const DRAIN: Duration = Duration::from_secs(2);

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(args.next().unwrap());
    let mut options = Options::new("bench/edge/1");
    options.limits.feed_bytes = FEED_BYTES;
    let (ledger, _) = Ledger::open(&dir, Kek::from_bytes([7; 32]), options).unwrap();
    let mut config = GatewayConfig::new("spiffe://bench/edge");
    config.workers = 1;
    config.listeners = args.map(|spec| listener(&spec)).collect();
    config.limits.connections_listener = 20_000;
    let identities = Arc::new(Identities::new(IdentityConfig::default(), 0).unwrap());
    let gateway = Gateway::start(config, &ledger, identities, PolicySet::allow_all()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let consumer = std::thread::Builder::new().name("consumer".to_owned()).spawn({
        let (ledger, stop) = (ledger.clone(), Arc::clone(&stop));
        move || consume(&ledger, &stop)
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tokio::signal::ctrl_c()).unwrap();
    let stats = gateway.stats();
    gateway.shutdown(DRAIN);
    stop.store(true, Ordering::Relaxed);
    let records = consumer.unwrap().join().unwrap();
    let sync = ledger.stats();
    println!("fdatasync {} calls, p50 < {:?}, p99 < {:?}", sync.fsyncs, sync.fsync_p50, sync.fsync_p99);
    println!("{stats:?}");
    ledger.shutdown().unwrap();
    println!("records {records}");
}

fn listener(spec: &str) -> Listener {
    let parts: Vec<&str> = spec.split(',').collect();
    let to: SocketAddr = parts[2].parse().unwrap();
    let mut listener =
        Listener::new(parts[0], parts[1].parse().unwrap(), Upstream::new(to.ip().to_string(), to.port()));
    let (protocol, durability) = parts[0].split_once('+').unwrap_or((parts[0], ""));
    listener.durability = match durability {
        "strict" => Durability::Strict,
        "gap" => Durability::Gap,
        _ => Durability::Bounded,
    };
    listener.protocol = match protocol {
        "http1" => Protocol::Http1,
        "http2" => Protocol::Http2,
        "postgres" => Protocol::Postgres,
        "redis" => Protocol::Redis,
        "opaque" => Protocol::Opaque,
        _ => Protocol::Auto,
    };
    if let [cert, key] = parts[3..] {
        listener.tls = Some(ListenerTls {
            cert: cert.into(),
            key: key.into(),
            client_ca: Vec::new(),
            client_auth: ClientAuth::None,
            ..ListenerTls::default()
        });
    }
    listener
}

/// Reads what is durable, as the shipper of an edge node does, lets the log be recycled, and counts the
/// interactions.
fn consume(ledger: &Ledger, stop: &AtomicBool) -> u64 {
    let mut reader = ledger.reader(0);
    let mut records = 0;
    loop {
        match reader.next(Duration::from_millis(100)).unwrap() {
            Some(Feed::Batch(batch)) => {
                for record in &batch.records {
                    if let Payload::Event { event, .. } = &record.payload
                        && matches!(event.core.rec, Some(Rec::Interaction | Rec::Outcome | Rec::Cut))
                    {
                        records += event.core.n.unwrap_or(1);
                    }
                }
            }
            Some(Feed::PartClosed { first, end }) if end - first == PART => seal(ledger, first, end),
            None if stop.load(Ordering::Relaxed) => return records,
            _ => {}
        }
    }
}

/// Logs the part as sealed by the root that the ledger already has of it.
fn seal(ledger: &Ledger, first: u64, end: u64) {
    let at = first / PART;
    let tile = countersign_proof::Tile::hashes(2, at / 256, (at % 256 + 1) as u16).unwrap();
    let bytes = ledger.tile_path(&tile.path()).unwrap().unwrap();
    let roots = vec![bytes[bytes.len() - 32..].try_into().unwrap()];
    let segment = SealedSegment {
        first,
        end,
        version: 1,
        file_digest: [0; 32],
        file_len: 0,
        min_time: 0,
        max_time: 0,
        roots,
    };
    ledger.sealed(segment).unwrap();
}
