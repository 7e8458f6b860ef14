//! Certificates, through real handshakes in memory.

use crate::{NOW, World};
use countersign_event::{Auth, IdentityFrom, Verified};
use countersign_identity::authority::{Authority, Issued};
use countersign_identity::{
    ClientAuth, Identities, IdentityConfig, TlsIdentity, TrustBundle, client_tls, server_tls, who_of,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

fn der(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.cert_pem.as_bytes()).unwrap()
}

fn identify(world: &World, issued: &Issued) -> TlsIdentity {
    world.identities.from_tls_at(&[der(issued)], NOW)
}

#[test]
fn an_svid_is_level_four_under_its_lowered_trust_domain() {
    let world = World::new();
    let issued = world.authority.issue("/ns/Shop/sa/payments", &["127.0.0.1"]).unwrap();
    let found = identify(&world, &issued);
    assert_eq!(found.failures, []);
    let who = found.principal.unwrap();
    assert_eq!(who.id, "spiffe://example.org/ns/Shop/sa/payments");
    assert_eq!(
        (who.verified, who.auth, who.from),
        (Verified::Bound, Some(Auth::SpiffeSvid), Some(IdentityFrom::Tls))
    );
    assert_eq!((who.iss.as_str(), who.svc.as_str()), ("example.org", "payments"));
    assert!(who.cred.starts_with("x5t#S256:") && who.cred.len() == 9 + 43);
    assert_eq!(who.cred_exp, Some(NOW + 7 * 86_400));
}

#[test]
fn what_breaks_the_rules_of_an_svid_names_nobody() {
    let world = World::new();
    let own = "spiffe://example.org/a".to_owned();
    let cases: Vec<(Vec<String>, &str)> = vec![
        (vec![own.clone(), "spiffe://example.org/b".into()], "more than one URI"),
        (vec![own.clone(), "https://example.org/".into()], "more than one URI"),
        (vec!["https://example.org/".into(), own.clone()], "more than one URI"),
        (vec!["spiffe://example.org".into()], "no path"),
        (vec!["spiffe://example.org/a/../b".into()], "'..'"),
        (vec!["spiffe://other.example/a".into()], "no authority is configured"),
    ];
    for (uris, reason) in cases {
        let found = identify(&world, &world.authority.issue_named("x", &uris, &[]).unwrap());
        assert_eq!(found.principal, None, "{uris:?}");
        assert!(found.failures[0].reason.contains(reason), "{}", found.failures[0].reason);
        let who = who_of(found.found()).who.unwrap();
        assert_eq!(who.verified, Verified::Claimed);
        assert!(who.id.starts_with("spiffe://"));
    }
}

#[test]
fn an_authority_speaks_for_its_own_trust_domain_only() {
    let world = World::new();
    let foreign = Authority::new("other.example", NOW).unwrap();
    let foreign_ca = world.dir.path().join("foreign.pem");
    std::fs::write(&foreign_ca, foreign.ca_pem()).unwrap();
    let config = IdentityConfig {
        trust: vec![
            world.authority.trust(&world.files),
            TrustBundle { trust_domain: Some("other.example".into()), ca_pem: foreign_ca },
        ],
        ..IdentityConfig::default()
    };
    let identities = Identities::new(config, NOW).unwrap();
    let good = foreign.issue("/a", &[]).unwrap();
    assert!(identities.from_tls_at(&[der(&good)], NOW).principal.is_some());
    // Both authorities are trusted, each for itself; this one signs a name of the other.
    let stolen = foreign.issue_named("x", &["spiffe://example.org/payments".into()], &[]).unwrap();
    let found = identities.from_tls_at(&[der(&stolen)], NOW);
    assert_eq!(found.principal, None);
    assert!(found.failures[0].reason.contains("does not lead to an authority of its trust domain"));
}

#[test]
fn a_certificate_out_of_its_time_names_nobody() {
    let world = World::new();
    let issued = world.authority.issue("/a", &[]).unwrap();
    for (at, accepted) in
        [(NOW - 301, false), (NOW - 299, true), (NOW + 7 * 86_400 - 1, true), (NOW + 7 * 86_400 + 1, false)]
    {
        assert_eq!(world.identities.from_tls_at(&[der(&issued)], at).principal.is_some(), accepted, "{at}");
    }
}

#[test]
fn a_plain_certificate_is_known_by_its_key() {
    let world = World::new();
    let ca = TrustBundle { trust_domain: None, ca_pem: world.files.ca.clone() };
    let plain =
        Identities::new(IdentityConfig { trust: vec![ca], ..IdentityConfig::default() }, NOW).unwrap();
    let issued = world.authority.issue_named("billing.internal", &[], &["billing.internal"]).unwrap();
    let who = plain.from_tls_at(&[der(&issued)], NOW).principal.unwrap();
    assert!(who.id.starts_with("x509:") && who.id.len() == 5 + 64);
    assert_eq!(
        (who.name.as_str(), who.verified, who.auth),
        ("billing.internal", Verified::Bound, Some(Auth::Mtls))
    );
    assert!(who.iss.contains("throw-away authority"));
    // An SVID without a bundle of its trust domain: the key counts, the SPIFFE id stays a claim.
    let svid = world.authority.issue("/a", &[]).unwrap();
    let found = plain.from_tls_at(&[der(&svid)], NOW);
    let who = who_of(found.found());
    assert!(who.who.unwrap().id.starts_with("x509:"));
    assert_eq!(
        (who.also[0].id.as_str(), who.also[0].verified),
        ("spiffe://example.org/a", Verified::Claimed)
    );
    // With bundles of trust domains alone, a certificate without a SPIFFE id is nobody's.
    assert_eq!(identify(&world, &issued).principal, None);
}

#[test]
fn no_certificate_is_no_identity_and_rubbish_is_a_failure() {
    let world = World::new();
    assert_eq!(world.identities.from_tls_at(&[], NOW), TlsIdentity::default());
    let mut bytes = der(&world.authority.issue("/a", &[]).unwrap()).to_vec();
    bytes.push(0);
    for rubbish in [vec![], vec![0x30], bytes, vec![0; 70_000]] {
        let found = world.identities.from_tls_at(&[CertificateDer::from(rubbish)], NOW);
        assert_eq!(found.principal, None);
        assert_eq!(found.failures[0].claimed.id, "anon:");
    }
    // The authority's own certificate is no workload.
    let ca = CertificateDer::from_pem_slice(world.authority.ca_pem().as_bytes()).unwrap();
    assert_eq!(world.identities.from_tls_at(&[ca], NOW).principal, None);
}

/// Runs a handshake in memory and gives the certificates that the server saw.
fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> Result<Vec<CertificateDer<'static>>, rustls::Error> {
    let mut server = ServerConnection::new(server.clone()).unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets()?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets()?;
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    assert_eq!(server.alpn_protocol(), Some(&b"http/1.1"[..]));
    Ok(server.peer_certificates().unwrap_or_default().iter().map(|c| c.clone().into_owned()).collect())
}

/// A handshake uses the system's clock, so this authority begins now.
struct Live {
    dir: tempfile::TempDir,
    authority: Authority,
    ca: PathBuf,
}

impl Live {
    fn new() -> Live {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("example.org", now).unwrap();
        let ca = authority.write(dir.path()).unwrap().ca;
        Live { dir, authority, ca }
    }
    fn files(&self, authority: &Authority, name: &str) -> (PathBuf, PathBuf) {
        authority.issue(&format!("/{name}"), &["127.0.0.1"]).unwrap().write(self.dir.path(), name).unwrap()
    }
    fn server(&self, auth: ClientAuth) -> Arc<ServerConfig> {
        let (cert, key) = self.files(&self.authority, "server");
        server_tls(&cert, &key, std::slice::from_ref(&self.ca), auth).unwrap()
    }
    fn client(&self, identity: Option<(&Path, &Path)>) -> Arc<ClientConfig> {
        client_tls(std::slice::from_ref(&self.ca), identity).unwrap()
    }
}

#[test]
fn client_authentication_none_optional_and_required() {
    let live = Live::new();
    let (cert, key) = live.files(&live.authority, "client");
    let stranger = Authority::new("example.org", 0).unwrap();
    let (bad_cert, bad_key) = live.files(&stranger, "stranger");
    let trusted = live.client(Some((&cert, &key)));
    let unknown = live.client(Some((&bad_cert, &bad_key)));
    let bare = live.client(None);
    let seen = |auth, client| handshake(&live.server(auth), client).map(|certs| certs.len());
    assert_eq!(seen(ClientAuth::None, &trusted), Ok(0));
    assert_eq!(seen(ClientAuth::Optional, &trusted), Ok(1));
    assert_eq!(seen(ClientAuth::Optional, &bare), Ok(0));
    assert!(seen(ClientAuth::Optional, &unknown).is_err(), "a rejected proof is not the same as no proof");
    assert_eq!(seen(ClientAuth::Required, &trusted), Ok(1));
    assert!(seen(ClientAuth::Required, &bare).is_err());
    assert!(seen(ClientAuth::Required, &unknown).is_err());
}

#[test]
fn the_peer_of_a_real_handshake_is_identified() {
    let live = Live::new();
    let (cert, key) = live.files(&live.authority, "client");
    let certs = handshake(&live.server(ClientAuth::Required), &live.client(Some((&cert, &key)))).unwrap();
    let trust = vec![TrustBundle { trust_domain: Some("example.org".into()), ca_pem: live.ca.clone() }];
    let identities = Identities::new(IdentityConfig { trust, ..IdentityConfig::default() }, 0).unwrap();
    assert_eq!(identities.client_authorities(), std::slice::from_ref(&live.ca));
    assert_eq!(identities.from_tls(&certs).principal.unwrap().id, "spiffe://example.org/client");
}

#[test]
fn a_client_refuses_a_server_of_another_authority() {
    let live = Live::new();
    let other = Live::new();
    assert!(handshake(&other.server(ClientAuth::None), &live.client(None)).is_err());
}

#[test]
fn wrong_files_are_named() {
    let live = Live::new();
    let (cert, key) = live.files(&live.authority, "server");
    let (_, other_key) = live.files(&live.authority, "other");
    let none: &[PathBuf] = &[];
    let error =
        |r: Result<Arc<ServerConfig>, countersign_identity::IdentityError>| r.err().unwrap().to_string();
    assert!(error(server_tls(&cert, &other_key, none, ClientAuth::None)).contains("server.pem"));
    assert!(error(server_tls(&key, &key, none, ClientAuth::None)).contains("no BEGIN CERTIFICATE"));
    assert!(error(server_tls(&cert, &cert, none, ClientAuth::None)).contains("no readable private key"));
    assert!(error(server_tls(Path::new("absent.pem"), &key, none, ClientAuth::None)).contains("absent.pem"));
    assert!(error(server_tls(&cert, &key, none, ClientAuth::Required)).contains("client_ca"));
    assert!(client_tls(&[key], None).is_err());
}
