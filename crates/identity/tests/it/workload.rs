//! The SPIFFE Workload API: SVIDs that rotate under load, agents that go away, deny or talk nonsense.

use crate::NOW;
use crate::agent::{Agent, Says};
use crate::certificates::{now_s, shake};
use bytes::Bytes;
use countersign_identity::authority::Authority;
use countersign_identity::{
    ClientAuth, ClientTls, ClientTlsConfig, Identities, IdentityConfig, Presented, ServerTls,
    ServerTlsConfig, SpiffePeers, Trusted, WorkloadHandle, WorkloadSource,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

/// Waits for something that another thread does.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

struct Live {
    agent: Agent,
    authority: Authority,
    source: Arc<WorkloadSource>,
    identities: Arc<Identities>,
    _handle: WorkloadHandle,
}

impl Live {
    fn new() -> Live {
        let agent = Agent::new();
        let authority = Authority::new("example.org", now_s()).unwrap();
        let source = WorkloadSource::new(Some(&agent.endpoint)).unwrap();
        let identities = Arc::new(Identities::new(IdentityConfig::default(), NOW).unwrap());
        let follows = identities.clone();
        let changed = move |s: &WorkloadSource| follows.set_workload_authorities(s.authorities()).unwrap();
        let handle = source.start(changed).unwrap();
        Live { agent, authority, source, identities, _handle: handle }
    }

    /// The agent gives a fresh SVID; returns when it is here.
    fn rotate(&self) {
        let serial = self.source.serial();
        let svid = self.authority.issue("/gateway", &["127.0.0.1"]).unwrap();
        self.agent.issue(&svid, &[&self.authority], &[]);
        eventually("the update arrives", || self.source.serial() > serial);
    }

    fn server(&self) -> ServerTls {
        ServerTls::new(ServerTlsConfig {
            presented: Presented::Workload(self.source.clone(), None),
            trusted: Trusted::Workload(self.source.clone()),
            client_auth: ClientAuth::Required,
            alpn: Vec::new(),
        })
        .unwrap()
    }

    fn client(&self, id: &str) -> ClientTls {
        ClientTls::new(ClientTlsConfig {
            presented: Some(Presented::Workload(self.source.clone(), None)),
            trusted: Trusted::Workload(self.source.clone()),
            spiffe: Some(SpiffePeers { ids: vec![id.into()], trust_domains: Vec::new() }),
            alpn: Vec::new(),
        })
        .unwrap()
    }
}

const ID: &str = "spiffe://example.org/gateway";

#[test]
fn svids_serve_listeners_and_upstreams_and_their_authorities_identify_callers() {
    let live = Live::new();
    let (server, client) = (live.server(), live.client(ID));
    assert!(server.config().is_none() && client.config().is_none(), "there is no certificate yet");
    live.rotate();
    assert!(live.source.wait_ready(LONG));
    assert_eq!(live.source.ids(), [ID]);
    assert!(live.source.expires_s().unwrap() > now_s() && server.config().is_some());
    let done = shake(server.config().unwrap(), client.config().unwrap(), "whatever").unwrap();
    let who = live.identities.from_tls(done.server.peer_certificates().unwrap()).principal.unwrap();
    assert_eq!((who.id.as_str(), who.cred_exp), (ID, live.source.expires_s()));
    assert_eq!(server.expires_s(), live.source.expires_s());
    let calls = live.agent.calls.lock().unwrap().clone();
    assert_eq!(
        calls,
        [("/SpiffeWorkloadAPI/FetchX509SVID".to_owned(), true)],
        "with the metadata of the standard"
    );
    let other = live.client("spiffe://example.org/other");
    assert!(shake(server.config().unwrap(), other.config().unwrap(), "whatever").is_err());
    assert!(!format!("{:?}", live.source).contains("PRIVATE"));
}

#[test]
fn rotation_under_load_fails_no_handshake() {
    let live = Live::new();
    live.rotate();
    let (server, client) = (Arc::new(live.server()), Arc::new(live.client(ID)));
    let stop = Arc::new(AtomicBool::new(false));
    let (on, with, ends) = (server.clone(), client.clone(), stop.clone());
    let load = std::thread::spawn(move || {
        let (mut done, mut shown) = (0, std::collections::HashSet::new());
        while !ends.load(Ordering::SeqCst) || done < 20 {
            let done_now = shake(on.config().unwrap(), with.config().unwrap(), "any").unwrap();
            shown.insert(done_now.shown().to_vec());
            done += 1;
        }
        shown.len()
    });
    for _ in 0..10 {
        live.rotate();
        shake(server.config().unwrap(), client.config().unwrap(), "any").unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    assert!(load.join().unwrap() >= 1);
    assert_eq!(live.source.status().updates, 11);
    assert_eq!(live.source.status().failures, 0);
}

#[test]
fn a_federated_bundle_speaks_for_its_own_trust_domain_only() {
    let live = Live::new();
    let partner = Authority::new("partner.example", now_s()).unwrap();
    let svid = live.authority.issue("/gateway", &[]).unwrap();
    live.agent.issue(&svid, &[&live.authority], &[&partner]);
    assert!(live.source.wait_ready(LONG));
    eventually("identities follow", || {
        let der = |a: &Authority, uri: &str| {
            let issued = a.issue_named("x", &[uri.to_owned()], &[]).unwrap();
            CertificateDer::from_pem_slice(issued.cert_pem.as_bytes()).unwrap()
        };
        let knows = |cert| live.identities.from_tls(&[cert]).principal.is_some();
        knows(der(&partner, "spiffe://partner.example/a"))
            && knows(der(&live.authority, "spiffe://example.org/a"))
            && !knows(der(&partner, "spiffe://example.org/a"))
            && !knows(der(&live.authority, "spiffe://partner.example/a"))
    });
}

#[test]
fn a_broken_connection_keeps_the_svid_and_is_made_again() {
    let live = Live::new();
    live.rotate();
    let server = live.server();
    live.agent.say(Says::Status(14));
    eventually("the failure is noted", || live.source.status().failures > 0);
    assert!(live.source.is_ready() && server.config().is_some());
    assert!(live.source.status().error.is_some());
    live.rotate();
    assert_eq!(live.source.status().error, None);
}

#[test]
fn permission_denied_takes_the_svids_back_until_there_are_new_ones() {
    let live = Live::new();
    live.rotate();
    let server = live.server();
    assert!(server.config().is_some());
    live.agent.say(Says::Status(7));
    eventually("the SVID is gone", || !live.source.is_ready());
    assert!(server.config().is_none());
    live.rotate();
    assert!(live.source.wait_ready(LONG) && server.config().is_some());
}

#[test]
fn an_update_that_is_out_of_form_changes_nothing() {
    let live = Live::new();
    live.rotate();
    let serial = live.source.serial();
    for (round, bytes) in [&b"\x0a\x02\x0a\x00"[..], b"\xff\xff\xff", b""].into_iter().enumerate() {
        live.agent.say(Says::Update(Bytes::copy_from_slice(bytes)));
        eventually("the failure is noted", || live.source.status().failures > round as u64);
        assert_eq!((live.source.serial(), live.source.is_ready()), (serial, true));
    }
}

#[test]
fn an_endpoint_out_of_form_is_refused() {
    for endpoint in ["", "agent.sock", "http://127.0.0.1/", "unix:relative"] {
        assert!(WorkloadSource::new(Some(endpoint)).is_err(), "{endpoint}");
    }
}
