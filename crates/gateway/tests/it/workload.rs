//! The SPIFFE Workload API behind a listener and towards a server: SVIDs that rotate, and are taken back.

use crate::agent::{Agent, Says};
use crate::support::{Client, Rig, get, ok, response};
use countersign_gateway::{ListenerTls, UpstreamTls, Workload};
use countersign_identity::authority::Authority;
use countersign_identity::{
    ClientAuth, ClientTls, ClientTlsConfig, Presented, SpiffePeers, Trusted, WorkloadSource,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LONG: Duration = Duration::from_secs(30);

struct World {
    agent: Agent,
    authority: Authority,
    source: Arc<WorkloadSource>,
    _follows: countersign_identity::WorkloadHandle,
}

impl World {
    fn new() -> World {
        let agent = Agent::new();
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let authority = Authority::new("example.org", now_s).unwrap();
        let source = WorkloadSource::new(Some(&agent.endpoint)).unwrap();
        let _follows = source.start(|_| {}).unwrap();
        World { agent, authority, source, _follows }
    }

    /// The agent gives a fresh SVID.
    fn issue(&self) {
        let before = self.source.serial();
        self.agent.issue(&self.authority.issue("/gateway", &["127.0.0.1"]).unwrap(), &[&self.authority], &[]);
        crate::support::until("the update is here", || self.source.serial() > before);
    }

    fn workload(&self) -> Option<Workload> {
        Some(Workload { source: Arc::clone(&self.source), svid: Some(None), bundles: true })
    }

    /// A gateway that shows the SVID and asks its callers for one.
    fn rig(&self, upstream: SocketAddr) -> Rig {
        let workload = self.workload();
        let tls = ListenerTls { client_auth: ClientAuth::Required, workload, ..ListenerTls::default() };
        Rig::with(upstream, |c| c.listeners[0].tls = Some(tls))
    }

    /// One call by a caller that shows an SVID of this trust domain; `false` when there is no handshake.
    fn call(&self, address: SocketAddr) -> bool {
        let peers =
            SpiffePeers { ids: vec!["spiffe://example.org/gateway".into()], ..SpiffePeers::default() };
        let config = ClientTls::new(ClientTlsConfig {
            presented: Some(Presented::Workload(Arc::clone(&self.source), None)),
            trusted: Trusted::Workload(Arc::clone(&self.source)),
            spiffe: Some(peers),
            alpn: Vec::new(),
        })
        .unwrap();
        let Some(config) = config.config() else { return self.knock(address) };
        let name = ServerName::try_from("gateway.invalid").unwrap();
        let stream: TcpStream = Client::new(address).0;
        let mut tls = StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream);
        if tls.write_all(get("/").as_bytes()).is_err() {
            return false;
        }
        let mut got = vec![0; response("x").len()];
        tls.read_exact(&mut got).is_ok() && got == response("x").as_bytes()
    }

    /// Clear text at a listener with TLS: whether anything comes back that is no alert.
    fn knock(&self, address: SocketAddr) -> bool {
        let mut stream: TcpStream = Client::new(address).0;
        stream.write_all(get("/").as_bytes()).unwrap();
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        got.starts_with(b"HTTP")
    }
}

#[test]
fn a_listener_follows_the_agent_and_serves_nobody_without_it() {
    let world = World::new();
    let (upstream, _) = ok("x");
    let rig = world.rig(upstream);
    let files = rig.gateway.tls_files();
    assert!(
        !world.knock(rig.address),
        "before the agent has answered nobody is served, least of all in clear"
    );
    world.issue();
    assert!(files.reload().iter().all(|(_, result)| result.is_ok()));
    assert!(world.call(rig.address));
    for _ in 0..3 {
        world.issue();
        assert_eq!(files.reload().len(), 1, "a new SVID counts at once");
        assert!(world.call(rig.address));
    }
    assert!(files.reload().is_empty(), "and nothing is read when nothing changed");
    // 7 = permission denied: we are nobody.
    world.agent.say(Says::Status(7));
    crate::support::until("the SVIDs are taken back", || !world.source.is_ready());
    assert_eq!(files.reload().len(), 1);
    assert!(!world.call(rig.address));
}

#[test]
fn a_server_is_known_by_its_spiffe_id_and_no_other_gets_a_byte() {
    let world = World::new();
    let (inner, _) = ok("x");
    let back = world.rig(inner);
    world.issue();
    assert!(world.source.wait_ready(LONG));
    back.gateway.tls_files().reload();
    for (id, status) in [("spiffe://example.org/gateway", "200"), ("spiffe://example.org/other", "502")] {
        let front = Rig::with(back.address, |c| {
            let spiffe = Some(SpiffePeers { ids: vec![id.into()], ..SpiffePeers::default() });
            let workload = world.workload();
            c.listeners[0].upstream.tls = Some(UpstreamTls { workload, spiffe, ..UpstreamTls::default() });
        });
        let mut client = front.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.end();
        assert_eq!(client.last_status(), status, "{id}");
    }
}
