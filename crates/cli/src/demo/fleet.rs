//! The cast: seven services, eight callers, their credentials from a throw-away authority, and the
//! configuration of the product that stands between them. The product is told nothing but what a
//! configuration file can say.

use super::client::{Caller, Credential};
use super::home::Home;
use super::hook::{self, Received};
use super::network::Network;
use super::print::Say;
use super::random::Random;
use super::server::Server;
use super::services::{self, SERVICES};
use crate::access::time;
use crate::args::Global;
use crate::config::{self, Config, Identity, JwtIssuer, Listener, ListenerTls, SecretSource, Webhook};
use crate::exit::CliError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_identity::authority::{Authority, AuthorityFiles};
use countersign_identity::{client_tls, mint_api_key};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Trust domain of the fleet; `.example` belongs to nobody.
const TRUST_DOMAIN: &str = "demo.example";
/// What tokens must be meant for.
const AUDIENCE: &str = "shop";
/// How long tokens are good for, seconds; as long as the certificates.
const TOKEN_LIFE_S: i64 = 7 * 86_400;
/// The listener of `customers` that asks nobody for anything: somebody forgot it.
pub(super) const FORGOTTEN_DOOR: &str = "customers-plain";
/// Learning of new edges ends this long after the first call: the opening has shown every ordinary one.
pub(super) const LEARNING: Duration = Duration::from_millis(4_500);
/// Least number of calls in it; the opening alone makes more.
const LEARNING_EVENTS: u64 = 12;

/// How a caller proves who it is.
enum Proof {
    /// A certificate with this SPIFFE path.
    Certificate(&'static str),
    /// A token of the authority.
    Token,
    /// An API key.
    Key,
    /// Not at all.
    Nothing,
}

/// Who calls. Three of them are services as well.
const CALLERS: [(&str, Proof); 8] = [
    ("ingress", Proof::Certificate("/ns/edge/sa/ingress")),
    ("storefront", Proof::Certificate("/ns/shop/sa/storefront")),
    ("orders", Proof::Certificate("/ns/shop/sa/orders")),
    ("shipping", Proof::Certificate("/ns/logistics/sa/shipping")),
    ("ops", Proof::Certificate("/ns/payments/sa/ops")),
    ("reporting", Proof::Token),
    ("warehouse", Proof::Key),
    ("cron", Proof::Nothing),
];

/// The running programs around the product.
pub(super) struct Fleet {
    /// Their wires.
    pub(super) network: Arc<Network>,
    /// What came to the receiver of alerts.
    pub(super) received: Arc<Received>,
    servers: Vec<Server>,
}

/// The fleet, its services listening, and the configuration of the product for it.
pub(super) fn raise(home: &Home, seed: u64, say: &Arc<Say>) -> Result<(Fleet, Config), CliError> {
    let now_s = time::now_ns() / 1_000_000_000;
    let authority = Authority::new(TRUST_DOMAIN, now_s).map_err(failed)?;
    let files = authority.write(&home.fleet).map_err(failed)?;
    let maker = Maker { authority, files, dir: &home.fleet, now_s };
    let mut config = config::resolve(&Global::default())?;
    config.data.clone_from(&home.data);
    config.kek.clone_from(&home.kek);
    config.learning = (LEARNING, LEARNING_EVENTS);
    let (callers, api_keys) = maker.callers()?;
    config.identity = maker.identity(&api_keys)?;
    let network = Arc::new(Network::new(callers, Random::new(seed, 1)));
    let received = Arc::new(Received::default());
    let mut servers = Vec::new();
    let tls = maker.listener_tls()?;
    for (name, least, most) in SERVICES {
        let code = services::handler(name, (least, most), Arc::clone(&network));
        let server = Server::start(name, code).map_err(failed)?;
        config.listeners.push(listener(name, name, server.address, Some(tls.clone())).map_err(failed)?);
        if name == "customers" {
            config.listeners.push(listener(FORGOTTEN_DOOR, name, server.address, None).map_err(failed)?);
        }
        servers.push(server);
    }
    let (webhook, receiver) = receiver(home, say, &received)?;
    config.webhooks.push(webhook);
    servers.push(receiver);
    Ok((Fleet { network, received, servers }, config))
}

impl Fleet {
    /// Everybody hangs up: afterwards no call is open.
    pub(super) fn hang_up(&self) {
        self.network.close();
    }

    /// Closes every service and waits for its threads.
    pub(super) fn stop(&mut self) {
        self.servers.iter_mut().for_each(Server::stop);
    }
}

/// Makes credentials.
struct Maker<'a> {
    authority: Authority,
    files: AuthorityFiles,
    dir: &'a Path,
    now_s: i64,
}

impl Maker<'_> {
    /// Every caller with its credential, and the lines of the server's file of API keys.
    fn callers(&self) -> Result<(HashMap<&'static str, Caller>, String), CliError> {
        let mut callers = HashMap::new();
        let mut api_keys = String::new();
        for (name, proof) in &CALLERS {
            let credential = self.credential(name, proof, &mut api_keys)?;
            callers.insert(*name, Caller::new(credential));
        }
        Ok((callers, api_keys))
    }

    fn credential(&self, name: &str, proof: &Proof, api_keys: &mut String) -> Result<Credential, CliError> {
        let ca = std::slice::from_ref(&self.files.ca);
        Ok(match proof {
            Proof::Certificate(path) => {
                let issued = self.authority.issue(path, &[]).map_err(failed)?;
                let (cert, key) = issued.write(self.dir, name).map_err(failed)?;
                Credential::Certificate(client_tls(ca, Some((&cert, &key))).map_err(failed)?)
            }
            Proof::Token => {
                let token = self.authority.token(name, AUDIENCE, self.now_s, TOKEN_LIFE_S).map_err(failed)?;
                let tls = client_tls(ca, None).map_err(failed)?;
                Credential::Header(tls, "Authorization", format!("Bearer {token}"))
            }
            Proof::Key => {
                let (key, line) = mint_api_key(name, name, self.authority.pepper()).map_err(failed)?;
                api_keys.push_str(&format!("{line}\n"));
                Credential::Header(client_tls(ca, None).map_err(failed)?, "X-Api-Key", key)
            }
            Proof::Nothing => Credential::Nothing,
        })
    }

    fn identity(&self, api_keys: &str) -> Result<Identity, CliError> {
        let trust = self.authority.trust(&self.files);
        let jwt = self.authority.jwt(&self.files, AUDIENCE);
        let path = self.dir.join("api-keys");
        write_private(&path, api_keys.as_bytes())?;
        Ok(Identity {
            trust: vec![(trust.trust_domain, trust.ca_pem)],
            jwt: vec![JwtIssuer {
                cluster: None,
                issuer: jwt.issuer,
                audience: jwt.audience,
                keys: Some(jwt.keys),
                jwks_url: None,
                jwks_ca: None,
                algorithms: vec!["ES256".into()],
            }],
            api_keys: Some((path, self.files.pepper.clone())),
            api_key_header: config::defaults::API_KEY_HEADER.into(),
            ..Identity::default()
        })
    }

    /// The gateway's own certificate; callers may show theirs, or a token or key instead.
    fn listener_tls(&self) -> Result<ListenerTls, CliError> {
        let issued = self.authority.issue("/ns/platform/sa/gateway", &["127.0.0.1"]).map_err(failed)?;
        let (cert, key) = issued.write(self.dir, "gateway").map_err(failed)?;
        let client_ca = Some(self.files.ca.clone());
        Ok(ListenerTls { cert, key, client_ca, client_auth: "optional".into(), ..ListenerTls::default() })
    }
}

fn listener(
    name: &str,
    service: &str,
    upstream: SocketAddr,
    tls: Option<ListenerTls>,
) -> Result<Listener, String> {
    // What a listener is when nothing is said of it is told in one place.
    let spec = format!("127.0.0.1:0=http://{upstream}");
    Listener::from_proxy(&spec).map(|plain| Listener {
        name: name.into(),
        service: service.into(),
        tls,
        ..plain
    })
}

/// The receiver of alerts, and what the product must know of it.
fn receiver(home: &Home, say: &Arc<Say>, received: &Arc<Received>) -> Result<(Webhook, Server), CliError> {
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| failed("the system gave no randomness"))?;
    let file = home.fleet.join("webhook-secret");
    write_private(&file, format!("whsec_{}\n", STANDARD.encode(secret)).as_bytes())?;
    let code = hook::handler(&secret, Arc::clone(say), Arc::clone(received));
    let server = Server::start("alerts", code).map_err(failed)?;
    let url = format!("http://{}{}", server.address, hook::PATH);
    Ok((Webhook { url, secret: SecretSource::File(file) }, server))
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(failed)
}

fn failed(why: impl std::fmt::Display) -> CliError {
    CliError::new(
        "cannot raise the demo's fleet",
        why,
        "check the space and permissions of the temporary directory",
    )
}
