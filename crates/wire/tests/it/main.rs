//! Integration tests of the sans-I/O parsers.

mod ambiguous;
mod edge;
mod framing;
mod fuzz;
mod h2;
mod ingest;
mod ja4;
mod messages;
mod postgres;
mod postgres_login;
mod proxy;
mod redis;
mod scram;
mod sql;
mod support;
