//! Who is calling: TLS peers, SPIFFE ids, JWTs and API keys become [`Principal`]s with a `verified` level.
//!
//! Not authorisation (that is `policy`), and no sockets: certificates and headers come in, principals go out.
//! Invariants: a level is given once, by what was checked here (4 bound, 3 checked, 1 claimed); a credential
//! that fails its check keeps the claimed identity at level 1 with a reason; no secret and no token is
//! stored, logged or put into an error; every input has a named bound.
//!
//! `docs/guide/identity.md` shows the same from the operator's side.

pub mod authority;
pub mod fuzz;

mod apikey;
mod config;
mod error;
mod identities;
mod jwks;
mod jwt;
mod provider;
mod spiffe;
mod text;
mod tls;
mod who;
mod x509;

pub use apikey::{API_KEY_PREFIX, mint_api_key};
pub use config::{IdentityConfig, JwtIssuer, TrustBundle};
pub use countersign_event::{Principal, Who};
pub use error::IdentityError;
pub use identities::{Failure, HeaderLookup, HttpIdentity, Identities, TlsIdentity};
pub use spiffe::SpiffeId;
pub use tls::{ClientAuth, client_tls, server_tls};
pub use who::who_of;
