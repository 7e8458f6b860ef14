//! Who is calling: TLS peers, SPIFFE ids, JWTs and API keys become [`Principal`]s with a `verified` level.
//!
//! Not authorisation (that is `policy`), and no sockets: certificates and headers come in, principals go out.
//! Invariants: a level is given once, by what was checked here (4 bound, 3 checked, 1 claimed); a credential
//! that fails its check keeps the claimed identity at level 1 with a reason; no secret and no token is
//! stored, logged or put into an error; every input has a named bound.

mod error;
mod tls;
mod types;

pub use countersign_event::{Principal, Who};
pub use error::IdentityError;
pub use tls::{ClientAuth, client_tls, server_tls};
pub use types::{
    Failure, HeaderLookup, HttpIdentity, Identities, IdentityConfig, JwtIssuer, TlsIdentity, TrustBundle,
    who_of,
};
