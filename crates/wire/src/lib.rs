//! Sans-I/O parsers of network protocols: bytes in, messages out.
//!
//! Every protocol has two readers (decision 2 of the gateway's design): a **framer**, inline on the
//! data path, which finds message boundaries and refuses every ambiguous form, and a **decoder**, off
//! the path, which reads the fields of a message that the framer let through.
//!
//! What this crate must never do: I/O, read a clock, know a runtime, allocate without a named bound,
//! panic on any input, or take more than linear time over it.

pub mod detect;
pub mod edge;
pub mod fuzz;
pub mod grpc;
pub mod h2;
pub mod http1;
pub mod ingest;
pub mod ja4;
pub mod jsonrpc;
pub mod mcp;
pub mod postgres;
pub mod proxy;
pub mod redis;
pub mod scram;
pub mod sql;
pub mod sse;
pub mod stream;
pub mod trace;
pub mod websocket;
