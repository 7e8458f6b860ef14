//! The gateway against small servers of its own, over real sockets on 127.0.0.1.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

// The fake Workload API of the identity crate's tests, less of which is needed here.
#[expect(dead_code, reason = "its own crate's tests look at more of it")]
#[path = "../../../identity/tests/it/agent.rs"]
mod agent;
mod bodies;
mod cleaning;
mod credentials;
mod denied;
mod durability;
mod faults;
mod fidelity;
mod h2_bounds;
mod h2_edges;
mod h2_fuzz;
mod h2_grpc;
mod h2_real;
mod h2_streams;
mod h2_support;
mod h2_tls;
mod http1_clauses;
mod http1_clauses_backends;
mod http1_clauses_nginx;
mod http1_clauses_sequences;
mod identity;
mod ledger;
mod load;
mod mcp;
mod mcp_h2;
mod mcp_sdk;
mod opaque;
mod pool;
mod postgres;
mod postgres_audit;
mod postgres_bound;
mod postgres_denied;
mod postgres_drivers;
mod postgres_durability;
mod postgres_log;
mod postgres_login;
mod postgres_oracle;
mod postgres_raw;
mod postgres_rust;
mod postgres_slow;
mod postgres_suite;
mod postgres_tls;
mod records;
mod redaction;
mod redis;
mod redis_suite;
mod redis_table;
mod refusals;
mod secrets;
mod slow;
mod sni;
mod strict_words;
mod support;
mod torture;
mod torture_load;
mod torture_rig;
mod torture_storage;
mod upgrade;
mod websocket;
mod workload;
