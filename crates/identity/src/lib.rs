//! Who is calling: TLS peers, SPIFFE ids, JWTs and API keys become [`Principal`]s with a `verified` level.
//!
//! Not authorisation (that is `policy`), and no sockets on a data thread: certificates and requests come in,
//! principals go out. Two sources use the network from threads of their own: issuers' keys ([`Refresher`]) and
//! the SPIFFE Workload API ([`WorkloadSource`]).
//! Invariants: a level is given once, by what was checked here (4 bound, 3 checked, 1 claimed); a credential
//! that fails its check keeps the claimed identity at level 1 with a reason; no secret and no token is
//! stored, logged or put into an error; every input has a named bound.
//!
//! `docs/guide/identity.md` shows the same from the operator's side.

pub mod authority;
pub mod fuzz;

mod apikey;
mod certificates;
mod claims;
mod config;
mod disagreement;
mod dpop;
mod error;
mod forwarded;
mod httpsig;
mod identities;
mod jwks;
mod jwt;
mod provider;
mod refusal;
mod remote;
mod replay;
mod request;
mod spiffe;
mod text;
mod tls;
mod uri;
mod watch;
mod who;
mod wimse;
mod workload;
mod x509;

pub use apikey::{API_KEY_PREFIX, mint_api_key};
pub use certificates::{
    CertificateFiles, ClientTls, ClientTlsConfig, Presented, ServerTls, ServerTlsConfig, SpiffePeers, Trusted,
};
pub use claims::TokenClaims;
pub use config::{
    DpopConfig, Forwarder, IdentityConfig, JwtIssuer, RemoteKeySet, SignatureConfig, SignatureKey,
    TrustBundle, WimseConfig, WimseTrust,
};
pub use countersign_event::{Principal, Who};
pub use disagreement::{Disagreement, disagreement};
pub use error::IdentityError;
pub use identities::{HttpIdentity, Identities, TlsIdentity};
pub use refusal::{Failure, FailureKind};
pub use remote::{Refresher, RefresherHandle, RemoteStatus};
pub use request::{BodyDigests, ContentDigest, HeaderLookup, HttpRequest};
pub use spiffe::SpiffeId;
pub use tls::{ClientAuth, client_tls, server_tls};
pub use who::who_of;
pub use workload::{WorkloadHandle, WorkloadSource, WorkloadStatus};
pub use x509::Authorities;
