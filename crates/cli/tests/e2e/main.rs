//! The real binaries, end to end: what a stranger, an auditor and an attacker would do with them.
//!
//! Each module shows one line of what must hold. Nothing here looks inside: sockets, files and exit
//! codes only.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod adoption;
mod alerts;
mod bad_input;
mod blind;
mod collect;
mod counts;
mod demo;
mod durability;
mod edge;
mod edge_ship;
mod logs;
mod mcp_wrap;
mod proofs;
mod queues;
mod rules;
mod secrets;
mod status;
mod support;
mod timeline;
mod tree;
mod two_commands;
mod upgrade;
