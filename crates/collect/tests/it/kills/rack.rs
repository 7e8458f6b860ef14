//! A ledger with an input for each protocol, as the program has them.

use super::clients::{PROTOCOLS, Serves};
use crate::push::StillDisk;
use countersign_collect::intake::{Intake, IntakeLimits, Keys};
use countersign_collect::receivers::{Access, Audit, Port, fluent, http};
use countersign_collect::{Input, Keeper};
use countersign_event::Event;
use countersign_ledger::{Feed, Kek, Ledger, Options, Parts, Payload, SourceSpec};
use countersign_redact::Scanner;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

pub(super) struct Rack {
    pub(super) addresses: Vec<SocketAddr>,
    ledger: Ledger,
    ports: Vec<Arc<Port>>,
    stop: watch::Sender<bool>,
    runtime: tokio::runtime::Runtime,
    served: Vec<tokio::task::JoinHandle<()>>,
}

fn open(dir: &Path, disk: Arc<StillDisk>) -> Ledger {
    let parts = Parts { disk, ..Parts::default() };
    let options = Options::new("example.org/collect/1");
    Ledger::open_with(&dir.join("data"), Kek::from_bytes([3; 32]), options, parts).unwrap().0
}

/// Every event of a ledger, in order.
fn read(ledger: &Ledger) -> Vec<Event> {
    let (size, mut reader, mut events) = (ledger.size(), ledger.reader(0), Vec::new());
    while reader.position() < size {
        if let Some(Feed::Batch(batch)) = reader.next(Duration::from_secs(5)).unwrap() {
            for record in &batch.records {
                if let Payload::Event { event, .. } = &record.payload {
                    events.push((**event).clone());
                }
            }
        }
    }
    events
}

/// Every event of the ledger in `dir`, which nobody has open.
pub(super) fn events(dir: &Path) -> Vec<Event> {
    let ledger = open(dir, Arc::default());
    let events = read(&ledger);
    ledger.shutdown().unwrap();
    events
}

impl Rack {
    /// Remembers what an earlier process recorded, if it `remembers`, then listens.
    pub(super) fn start(
        dir: &Path,
        disk: Arc<StillDisk>,
        limits: IntakeLimits,
        addresses: &[SocketAddr],
        remembers: bool,
    ) -> Rack {
        let ledger = open(dir, disk);
        let before = if remembers { read(&ledger) } else { Vec::new() };
        let keeper = Arc::new(Keeper::new(Scanner::default(), &[7; 32]));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, _) = watch::channel(false);
        let mut rack =
            Rack { addresses: Vec::new(), ledger, ports: Vec::new(), stop, runtime, served: Vec::new() };
        let mut listeners = Vec::new();
        for (number, (protocol, address)) in PROTOCOLS.iter().zip(addresses).enumerate() {
            let identity = format!("input:{}", protocol.name);
            // A run has a stream of its own.
            let mut stream = [number as u8; 16];
            stream[..8].copy_from_slice(&(rack.ledger.sources().len() as u64 + 1).to_be_bytes());
            let source = rack.ledger.register(SourceSpec { identity: identity.clone(), stream }).unwrap();
            let intake = Intake::new(source, limits);
            let mut keys = Keys::default();
            for event in before.iter().filter(|event| event.core.agent == identity) {
                keys.next(event).into_iter().for_each(|key| intake.remember(key));
            }
            rack.ports.push(Arc::new(Port {
                input: Input::new(protocol.name),
                format: None,
                intake,
                keeper: Arc::clone(&keeper),
                access: Access::open(),
            }));
            listeners.push(rack.runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap());
        }
        for ((protocol, port), listener) in PROTOCOLS.iter().zip(&rack.ports).zip(listeners) {
            rack.addresses.push(listener.local_addr().unwrap());
            let (port, stop) = (Arc::clone(port), rack.stop.subscribe());
            let settings = http::Settings { audit: Some(Audit::default()), ..http::Settings::default() };
            rack.served.push(match protocol.serves {
                Serves::Http => rack.runtime.spawn(http::serve(listener, port, settings, stop)),
                Serves::Fluent => rack.runtime.spawn(fluent::serve(listener, port, settings, None, stop)),
            });
        }
        rack
    }

    /// Ends it in order.
    pub(super) fn stop(self) {
        self.stop.send_replace(true);
        for task in self.served {
            self.runtime.block_on(task).unwrap();
        }
        for port in self.ports {
            assert!(port.intake.counts().adds_up(), "{}", port.input.name);
        }
        self.ledger.shutdown().unwrap();
    }
}
