//! The gateway against small servers of its own, over real sockets on 127.0.0.1.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod bodies;
mod cleaning;
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
mod mcp_sdk;
mod opaque;
mod records;
mod redis;
mod redis_suite;
mod redis_table;
mod refusals;
mod secrets;
mod slow;
mod support;
mod upgrade;
mod websocket;
