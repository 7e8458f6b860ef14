//! The inline proxy: it passes every byte as it came, watches a copy, and makes one record of each exchange.
//!
//! ```text
//! listener → TLS → first bytes → pump client→upstream: read → framer → write the same bytes
//!                                pump upstream→client: the same        │ clone of Bytes (refcount)
//!                                     ring, bounded in bytes ─► decoder thread → event → Recorder (ledger)
//! ```
//! Not a load balancer and not a rewriter: one upstream connection to each client connection, nothing
//! re-serialised. Invariants: no byte of a refused message reaches the server; an answer reaches the client
//! only after its record is owed ([`Recorder::owe`]); a tapped exchange is never skipped (a full ring stops
//! the reading instead); no secret is in an event, a log line or an error; a connection never changes its
//! thread; a panic ends one connection, which is recorded as cut.

mod config;
mod decode;
mod error;
mod gateway;
mod health;
mod listen;
mod login;
mod pump;
mod recorder;
mod ring;
mod stats;
pub mod stdio;
mod tls;

pub mod fuzz;

pub use config::{
    BodyCapture, Durability, GatewayConfig, GrpcFields, Limits, Listener, ListenerTls, NamedRoute,
    PostgresLogin, PostgresOptions, Protocol, Purpose, Record, Redaction, Scram, ServerNames, Upstream,
    UpstreamTls, Workload,
};
pub use countersign_redact::personal::KINDS as PERSONAL_KINDS;
pub use error::GatewayError;
pub use gateway::{Gateway, Parts};
pub use health::{Health, HealthWatch};
pub use recorder::{BodyKey, Durable, RecordError, Recorder, SourceRecorder, Taking};
pub use stats::GatewayStats;
pub use tls::TlsFiles;
