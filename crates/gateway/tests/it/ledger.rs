//! With a real ledger: every request is a durable entry, and the entries' frames can be read back.

use crate::support::{Client, get, ok, response};
use countersign_gateway::{Gateway, GatewayConfig, Listener, Upstream};
use countersign_identity::{Identities, IdentityConfig};
use countersign_ledger::{Feed, Kek, Ledger, Options, Payload};
use countersign_policy::PolicySet;
use std::sync::Arc;
use std::time::Duration;

const REQUESTS: usize = 300;

#[test]
fn every_request_becomes_a_durable_entry() {
    let dir = tempfile::tempdir().unwrap();
    let kek = Kek::from_bytes([3; 32]);
    let (ledger, _) =
        Ledger::open(&dir.path().join("data"), kek, Options::new("example.org/gw-test/1")).unwrap();
    let (upstream, _) = ok("x");
    let mut config = GatewayConfig::new("spiffe://example.org/gw");
    config.workers = 1;
    let to = Upstream::new("localhost", upstream.port());
    config.listeners.push(Listener::new("main", "127.0.0.1:0".parse().unwrap(), to));
    let identities = Arc::new(Identities::new(IdentityConfig::default(), 0).unwrap());
    let gateway = Gateway::start(config, &ledger, identities, PolicySet::allow_all()).unwrap();
    let mut client = Client::new(gateway.addresses()[0].1);
    for i in 0..REQUESTS {
        client.send(get(&format!("/items/{i}")));
        client.expect(response("x"));
    }
    drop(client);
    gateway.shutdown(Duration::from_secs(10));
    let mut reader = ledger.reader(0);
    let mut paths = Vec::new();
    while paths.len() < REQUESTS {
        let feed = reader.next(Duration::from_secs(10)).unwrap();
        let Some(Feed::Batch(batch)) = feed else { panic!("{} of {REQUESTS}: {feed:?}", paths.len()) };
        for record in &batch.records {
            if let Payload::Event { event, .. } = &record.payload {
                paths.push(event.target.raw.clone());
                assert_eq!(event.core.agent, "spiffe://example.org/gw");
            }
        }
    }
    assert_eq!(paths, (0..REQUESTS).map(|i| format!("/items/{i}")).collect::<Vec<_>>());
    let source = ledger.sources().pop().unwrap();
    ledger.shutdown().unwrap();
    assert_eq!(source.last_seq, REQUESTS as u64);
    assert!(ledger.gaps().is_empty());
}
