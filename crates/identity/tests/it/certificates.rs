//! Certificates that change while handshakes go on: files, names, authorities, protocols.

use crate::NOW;
use countersign_identity::authority::Authority;
use countersign_identity::{
    CertificateFiles, ClientAuth, ClientTls, ClientTlsConfig, Identities, IdentityConfig, Presented,
    ServerTls, ServerTlsConfig, SpiffePeers, TrustBundle, Trusted,
};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a handshake came to.
pub(crate) struct Done {
    pub(crate) server: ServerConnection,
    pub(crate) client: ClientConnection,
}

impl Done {
    /// The leaf that the server showed.
    pub(crate) fn shown(&self) -> CertificateDer<'static> {
        self.client.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

/// A handshake in memory, and the session tickets after it.
pub(crate) fn shake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: &str,
) -> Result<Done, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut front = &bytes[..];
        while !front.is_empty() {
            server.read_tls(&mut front).unwrap();
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut front = &bytes[..];
        while !front.is_empty() {
            client.read_tls(&mut front).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Done { server, client })
}

pub(crate) fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

struct Place {
    dir: tempfile::TempDir,
    authority: Authority,
    ca: PathBuf,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("example.org", now_s()).unwrap();
        let ca = authority.write(dir.path()).unwrap().ca;
        Place { dir, authority, ca }
    }

    fn issue(&self, by: &Authority, file: &str, hosts: &[&str]) -> CertificateFiles {
        let issued = by.issue(&format!("/{file}"), hosts).unwrap();
        let (cert, key) = issued.write(self.dir.path(), file).unwrap();
        CertificateFiles { cert, key }
    }

    fn server(&self, files: Vec<CertificateFiles>, client_auth: ClientAuth) -> ServerTlsConfig {
        let trusted = Trusted::Files(vec![self.ca.clone()]);
        let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        ServerTlsConfig { presented: Presented::Files(files), trusted, client_auth, alpn }
    }

    fn client(&self, presented: Option<CertificateFiles>) -> ClientTls {
        ClientTls::new(ClientTlsConfig {
            presented: presented.map(|files| Presented::Files(vec![files])),
            trusted: Trusted::Files(vec![self.ca.clone()]),
            spiffe: None,
            alpn: vec![b"http/1.1".to_vec()],
        })
        .unwrap()
    }
}

fn config<T>(config: Option<Arc<T>>) -> Arc<T> {
    config.unwrap()
}

#[test]
fn new_handshakes_get_the_new_certificate_and_no_handshake_fails_on_the_way() {
    let place = Place::new();
    let files = place.issue(&place.authority, "server", &["127.0.0.1"]);
    let server = Arc::new(ServerTls::new(place.server(vec![files], ClientAuth::None)).unwrap());
    let client = place.client(None);
    assert!(server.expires_s().unwrap() > now_s());
    let (on, stop) = (server.clone(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let (trusts, ends) = (config(client.config()), stop.clone());
    let load = std::thread::spawn(move || {
        let mut done = 0;
        while !ends.load(std::sync::atomic::Ordering::SeqCst) || done < 20 {
            shake(config(on.config()), trusts.clone(), "127.0.0.1").unwrap();
            done += 1;
        }
        done
    });
    for _ in 0..10 {
        let before = shake(config(server.config()), config(client.config()), "127.0.0.1").unwrap().shown();
        place.issue(&place.authority, "server", &["127.0.0.1"]);
        assert!(server.changed());
        server.reload().unwrap();
        assert!(!server.changed());
        let after = shake(config(server.config()), config(client.config()), "127.0.0.1").unwrap().shown();
        assert_ne!(before, after);
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(load.join().unwrap() >= 20);
}

#[test]
fn a_torn_or_broken_pair_leaves_the_old_certificate_in_force() {
    let place = Place::new();
    let files = place.issue(&place.authority, "server", &["127.0.0.1"]);
    let other = place.issue(&place.authority, "other", &["127.0.0.1"]);
    let server = ServerTls::new(place.server(vec![files.clone()], ClientAuth::None)).unwrap();
    let client = place.client(None);
    let shown = || shake(config(server.config()), config(client.config()), "127.0.0.1").unwrap().shown();
    let first = shown();
    std::fs::copy(&other.cert, &files.cert).unwrap();
    assert!(server.changed());
    let error = server.reload().unwrap_err().to_string();
    assert!(error.contains("server.pem"), "the file is named: {error}");
    assert_eq!(shown(), first);
    assert!(!server.changed(), "the same broken pair is not tried again and again");
    std::fs::copy(&other.key, &files.key).unwrap();
    assert!(server.changed());
    server.reload().unwrap();
    assert_ne!(shown(), first);
    std::fs::write(&files.key, "broken").unwrap();
    assert!(server.reload().unwrap_err().to_string().contains("no readable private key"));
    std::fs::remove_file(&files.cert).unwrap();
    assert!(server.reload().unwrap_err().to_string().contains("server.pem"));
    assert_ne!(shown(), first);
}

#[test]
fn the_certificate_is_chosen_by_name() {
    let place = Place::new();
    let first = place.issue(&place.authority, "first", &["a.example", "127.0.0.1"]);
    let second = place.issue(&place.authority, "second", &["b.example", "*.c.example", "a.example"]);
    let server = ServerTls::new(place.server(vec![first, second], ClientAuth::None)).unwrap();
    let client = place.client(None);
    let id = |name: &str| {
        let done = shake(config(server.config()), config(client.config()), name).unwrap();
        let identities = trusting(&place.ca);
        identities.from_tls(&[done.shown()]).principal.unwrap().svc
    };
    for (name, want) in
        [("a.example", "first"), ("B.example", "second"), ("x.c.example", "second"), ("127.0.0.1", "first")]
    {
        assert_eq!(id(name), want, "{name}");
    }
    // No certificate has the name: the first is shown, and the client refuses it.
    assert!(shake(config(server.config()), config(client.config()), "x.y.c.example").is_err());
}

fn trusting(ca: &Path) -> Identities {
    let trust = vec![TrustBundle { trust_domain: Some("example.org".into()), ca_pem: ca.to_owned() }];
    Identities::new(IdentityConfig { trust, ..IdentityConfig::default() }, NOW).unwrap()
}

#[test]
fn protocols_are_negotiated_from_the_configured_list() {
    let place = Place::new();
    let files = place.issue(&place.authority, "server", &["127.0.0.1"]);
    let of = |offered: &[&str]| {
        let mut setup = place.server(vec![files.clone()], ClientAuth::None);
        setup.alpn = offered.iter().map(|p| p.as_bytes().to_vec()).collect();
        config(ServerTls::new(setup).unwrap().config())
    };
    let asking = |wanted: &[&str]| {
        let alpn = wanted.iter().map(|p| p.as_bytes().to_vec()).collect();
        let trusted = Trusted::Files(vec![place.ca.clone()]);
        let setup = ClientTlsConfig { presented: None, trusted, spiffe: None, alpn };
        config(ClientTls::new(setup).unwrap().config())
    };
    let got = |offered: &[&str], wanted: &[&str]| {
        let done = shake(of(offered), asking(wanted), "127.0.0.1").ok()?;
        Some(String::from_utf8(done.server.alpn_protocol().unwrap_or_default().to_vec()).unwrap())
    };
    assert_eq!(got(&["h2", "http/1.1"], &["http/1.1", "h2"]).as_deref(), Some("h2"));
    assert_eq!(got(&["http/1.1"], &["h2", "http/1.1"]).as_deref(), Some("http/1.1"));
    assert_eq!(got(&["postgresql"], &["postgresql"]).as_deref(), Some("postgresql"));
    assert_eq!(got(&[], &["h2"]).as_deref(), Some(""));
    assert_eq!(got(&["postgresql"], &["h2"]), None);
}

#[test]
fn a_removed_authority_counts_no_more_not_even_by_an_old_session() {
    let place = Place::new();
    let next = Authority::new("example.org", now_s()).unwrap();
    let files = place.issue(&place.authority, "server", &["127.0.0.1"]);
    let server_ca = place.dir.path().join("server-ca.pem");
    std::fs::copy(&place.ca, &server_ca).unwrap();
    let server = ServerTls::new(place.server(vec![files], ClientAuth::Required)).unwrap();
    let setup = |files| ClientTlsConfig {
        presented: Some(Presented::Files(vec![files])),
        trusted: Trusted::Files(vec![server_ca.clone()]),
        spiffe: None,
        alpn: vec![b"h2".to_vec()],
    };
    let old = ClientTls::new(setup(place.issue(&place.authority, "old", &[]))).unwrap();
    let new = ClientTls::new(setup(place.issue(&next, "new", &[]))).unwrap();
    let shakes = |client: &ClientTls| {
        shake(config(server.config()), config(client.config()), "127.0.0.1")
            .map(|done| done.server.handshake_kind())
    };
    assert_eq!(shakes(&old).unwrap(), Some(HandshakeKind::Full));
    assert_eq!(shakes(&old).unwrap(), Some(HandshakeKind::Resumed));
    assert!(shakes(&new).is_err());
    std::fs::write(&place.ca, next.ca_pem()).unwrap();
    assert!(server.changed());
    server.reload().unwrap();
    assert!(shakes(&old).is_err());
    assert!(shakes(&new).is_ok());
}

#[test]
fn an_upstream_is_known_by_its_spiffe_id() {
    let place = Place::new();
    let files = place.issue(&place.authority, "orders", &[]);
    let server = ServerTls::new(place.server(vec![files], ClientAuth::None)).unwrap();
    let accepts = |ids: &[&str], domains: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        let setup = ClientTlsConfig {
            presented: None,
            trusted: Trusted::Files(vec![place.ca.clone()]),
            spiffe: Some(SpiffePeers { ids: owned(ids), trust_domains: owned(domains) }),
            alpn: Vec::new(),
        };
        let client = ClientTls::new(setup).map_err(|e| e.to_string())?;
        shake(config(server.config()), config(client.config()), "any.name")
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    assert_eq!(accepts(&["spiffe://Example.org/orders"], &[]), Ok(()));
    assert_eq!(accepts(&[], &["example.org"]), Ok(()));
    assert!(accepts(&["spiffe://example.org/other"], &[]).is_err());
    assert!(accepts(&[], &["other.example"]).is_err());
    assert!(accepts(&[], &[]).unwrap_err().contains("at least one"));
    assert!(
        accepts(&["spiffe://a.example/x", "spiffe://b.example/x"], &[])
            .unwrap_err()
            .contains("one trust domain")
    );
    assert!(accepts(&["https://a"], &[]).is_err());
}

#[test]
fn identities_tell_when_a_file_changed_and_keep_the_old_state_when_it_is_bad() {
    let place = Place::new();
    let identities = trusting(&place.ca);
    let cert = |authority: &Authority| {
        use rustls::pki_types::pem::PemObject;
        CertificateDer::from_pem_slice(authority.issue("/a", &[]).unwrap().cert_pem.as_bytes()).unwrap()
    };
    let knows = |authority: &Authority| identities.from_tls(&[cert(authority)]).principal.is_some();
    assert!(knows(&place.authority) && !identities.changed());
    std::fs::write(&place.ca, "broken").unwrap();
    assert!(identities.changed());
    let error = identities.reload(NOW).unwrap_err().to_string();
    assert!(error.contains("ca.pem") && error.contains("BEGIN CERTIFICATE"), "{error}");
    assert!(knows(&place.authority));
    let next = Authority::new("example.org", now_s()).unwrap();
    std::fs::write(&place.ca, next.ca_pem()).unwrap();
    assert!(identities.changed());
    identities.reload(NOW).unwrap();
    assert!(knows(&next) && !knows(&place.authority) && !identities.changed());
    let identity = identities.from_tls(&[cert(&next)]);
    assert!(identity.expires_s().unwrap() > now_s(), "a connection may be closed when this is over");
}
