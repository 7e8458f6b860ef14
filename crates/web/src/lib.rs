//! The dashboard and the HTTP interface: they translate and draw, and hold no business logic.
//!
//! Every answer comes from `store`, `ledger` and `proof` through the same calls that the command line uses.
//! Captured data is hostile: it reaches a page as escaped, isolated text with invisible characters drawn,
//! under a policy that runs no script but our own files (`guard`). Reading is audited (`audit`): an answer
//! whose reading cannot be recorded is refused. Invariants: loopback or a local socket only; every answer
//! carries the headers of `guard::HEADERS`; every queue, session table and stream has a named bound.

mod api;
mod assets;
mod audit;
mod dictionary;
mod error;
mod frame;
mod graph;
mod guard;
mod hub;
pub mod layout;
pub mod login;
mod pages;
mod params;
mod problem;
mod rows;
mod server;
mod state;
mod text;
mod time;

pub use api::{Desk, DeskError};
pub use assets::{paths as asset_paths, url as asset_url};
pub use error::WebError;
pub use guard::{Access, HEADERS};
pub use hub::TailHub;
pub use server::{router, serve, serve_unix};
pub use state::{Announce, AppState, Recording, WebOptions};
pub use text::{belongs, visible};
